"""The page of scores: the readers of VCTK stand apart where others are there too."""

from __future__ import annotations

from retone.lab.evaluate.result import Result, Row, made_worse, only_corpus, page

QUESTION = {"corpus": "c", "sample_rate": 24000, "length": 4, "pairs": 2, "seed": 0}


def _result(*groups: str, method: str = "Input") -> Result:
    rows = [
        Row(i, group, "same source", method, {"stft": 1.0 + i}) for i, group in enumerate(groups)
    ]
    return Result(QUESTION, {"retone": "0", "date": "d"}, rows)


def test_only_rows_of_the_corpus_are_kept() -> None:
    kept = only_corpus(_result("vctk/p1", "kit/vctk", "vctk/p2"))
    assert [row.group for row in kept.rows] == ["vctk/p1", "vctk/p2"]


def test_readers_stand_apart_only_among_others() -> None:
    apart = "Only the readers of VCTK"
    assert apart in page([_result("vctk/p1", "kit/a")])
    assert apart not in page([_result("vctk/p1", "vctk/p2")])
    assert apart not in page([_result("kit/a", "kit/b")])
    assert apart not in page([_result("vctk/p1", "kit/a", method="oracle")])


def test_a_result_left_alone_is_not_made_worse_by_rounding() -> None:
    errors = {"Input": 1.0, "alone": 1.0 + 1e-5, "better": 0.9, "worse": 1.002}
    rows = [Row(0, "a", "same source", name, {"stft": value}) for name, value in errors.items()]
    said = made_worse(Result(QUESTION, {}, rows), "same source", "stft")
    assert "alone 0 of 1; better 0 of 1; worse 1 of 1" in said

"""The page of scores: the readers of VCTK stand apart where others are there too."""

from __future__ import annotations

from retone.lab.evaluate.result import Result, Row, only_corpus, page

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

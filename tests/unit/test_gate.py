"""How much of a network's change is made: what the evidence says, and nothing beyond the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conftest import MakeAudio
from retone.dsp.param import Setting
from retone.effects import MATCH_CHAIN
from retone.errors import DataError, SettingError
from retone.estimators import network as network_module
from retone.estimators.automatic import Automatic
from retone.estimators.base import Estimate, Excerpt
from retone.estimators.gate import (
    FARTHEST,
    GRID,
    Gate,
    Shares,
    blended,
    packaged,
    read,
    without_locked,
)
from retone.estimators.level_rule import Levels, levels_of, sounding
from retone.estimators.matching import NEAR_PROCESSING, Matching
from retone.estimators.network import Network
from retone.lab.evaluate.gate import (
    cross_validated,
    fit_gate,
    groups_of,
    interpolated,
    measure_pairs,
    summary,
)
from retone.lab.evaluate.methods import Estimated
from retone.lab.evaluate.synthetic import CASES
from retone.training.data.corpora import Corpus
from retone.training.data.pairs import PairMaker

RATE = 24000
TABLE = MATCH_CHAIN.params
KINDS = ("speech", "music")
GAINS = TABLE.with_role("gain")


def _gate(slopes: Sequence[float], names: tuple[str, ...] = ("a",)) -> Gate:
    """A gate whose predictions, for each of ``GRID``, are ``slopes`` times the first evidence."""
    weights = np.zeros((len(GRID), 1 + 2 * len(names)))
    weights[:, 1] = slopes
    return Gate(names, np.zeros(len(names)), np.ones(len(names)), weights, 0.0)


@pytest.mark.parametrize("best", range(len(GRID)))
def test_the_shares_with_the_least_error_are_made(best: int) -> None:
    slopes = [-1.0 if k == best else 1.0 for k in range(len(GRID))]
    assert _gate(slopes).shares({"a": 2.0, "not used": 9.0}) == pytest.approx(GRID[best])


def test_shares_move_without_jumps() -> None:
    slopes = [0.0, *np.linspace(-0.3, 0.3, len(GRID) - 1)]
    gate = _gate(slopes)
    found = np.array([gate.shares({"a": a})[:2] for a in np.linspace(-3, 3, 1201)])
    assert np.abs(np.diff(found, axis=0)).max() < 0.1
    assert np.ptp(found[:, 0]) > 0.9


def test_far_evidence_counts_as_less_far() -> None:
    gate = _gate([0.0, *np.linspace(-0.01, 0.01, len(GRID) - 1)])
    assert gate.shares({"a": 1e6}) == gate.shares({"a": FARTHEST})
    assert gate.shares({"a": 1e6}) != gate.shares({"a": 0.5 * FARTHEST})


@pytest.mark.parametrize(("favour", "made"), [(0.2, 1.0), (-0.2, 0.0)])
def test_in_doubt_a_bold_gate_makes_the_change(favour: float, made: float) -> None:
    gate = replace(_gate([0.0] * len(GRID)), favour=favour)
    assert gate.shares({"a": 1.0}) == pytest.approx((made,) * 3, abs=0.01)


def test_a_written_gate_gives_the_same_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("a", "b")
    gate = Gate(
        names, rng.normal(size=2), rng.uniform(1, 2, 2), rng.normal(size=(27, 5)) / 20, -0.1
    )
    gate.write(tmp_path / "gate.json")
    evidence = {"a": 0.3, "b": -1.0}
    assert read(tmp_path / "gate.json").shares(evidence) == pytest.approx(
        gate.shares(evidence), abs=1e-3
    )


@pytest.mark.parametrize("shares", [Shares(*s, 1) for s in ((0, 0), (1, 1), (0, 1), (1, 0))])
def test_each_share_moves_its_own_parameters(shares: Shares) -> None:
    generator = torch.Generator().manual_seed(1)
    whole = TABLE.to_physical(torch.rand(1, len(TABLE), generator=generator, dtype=torch.float64))
    made, neutral = blended(TABLE, whole, shares), TABLE.neutral(1)
    for p in TABLE:
        share = shares.tone if p.name in GAINS else shares.dynamics
        wanted = whole[p.name] if share == 1 or p.neutral is None else neutral[p.name]
        assert float(made[p.name]) == pytest.approx(float(wanted)), p.name


def test_errors_are_interpolated_between_the_rendered_shares() -> None:
    grid = np.random.default_rng(1).random((27, 3, 3, 3))
    wanted = [grid[k].flat[k] for k in range(27)]
    assert interpolated(grid, GRID) == pytest.approx(wanted)
    middle = interpolated(grid[:1], np.array([[0.25, 0.75, 0.5]]))
    assert float(middle[0]) == pytest.approx(float(grid[0, :2, 1:, 1].mean()))


def _rows(count: int, seed: int = 0) -> list[dict]:
    """Pairs whose evidence says whether the change of tone helps; dynamics always do, and a change
    of level never does."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        helps = i % 2 == 0
        tone = np.array([1.0, 0.7, 0.4]) if helps else np.array([1.0, 1.4, 1.8])
        grid = tone[:, None] + np.array([0.3, 0.15, 0.0])
        grid = grid[..., None] + np.array([0.0, 0.2, 0.4])
        evidence = {"a": (1 if helps else -1) + rng.normal(0, 0.2), "noise": rng.normal()}
        rows.append({
            "case": list(CASES)[i % 4 // 2], "pair": i, "group": f"g{i % 12}",
            "reference": f"g{i % 12}", "evidence": evidence,
            "errors": {name: grid.tolist() for name in ("stft", "rms", "lufs")},
        })  # fmt: skip
    return rows


def test_a_gate_learns_where_a_change_helps() -> None:
    gate = fit_gate(_rows(400), favour=0.0)
    helps, harms = (gate.shares({"a": a, "noise": 0.0}) for a in (1.0, -1.0))
    assert helps.tone > 0.85
    assert harms.tone < 0.15
    assert min(helps.dynamics, harms.dynamics) > 0.85


def test_a_gate_learns_that_a_level_should_stay() -> None:
    rows = _rows(400)
    found = fit_gate(rows, favour=0.0).shares({"a": 1.0, "noise": 0.0})
    assert min(found.tone, found.dynamics) > 0.85
    assert found.level == pytest.approx(0.0, abs=0.15)
    judged = summary(rows, cross_validated(rows, favour=0.0))
    assert all(cases["worse"] < 0.1 and cases["level"] < 0.15 for cases in judged.values())


def test_harm_counts_more_than_help() -> None:
    """The evidence tells nothing, and a change of tone helps half of the pairs a little more than
    it harms the others."""
    rows = _rows(400)
    for i, row in enumerate(rows):
        row["evidence"] = {"a": float(i % 4 // 2)}
        error = np.array([1.0, 0.8, 0.6] if i % 2 else [1.0, 1.2, 1.45])
        grid = np.broadcast_to(error[:, None, None], (3, 3, 3))
        row["errors"] = {metric: grid.tolist() for metric in row["errors"]}
    found = fit_gate(rows, favour=0.0).shares(rows[0]["evidence"])
    assert found.tone == pytest.approx(0.0, abs=0.1)


def test_a_gate_is_judged_on_voices_that_it_never_saw() -> None:
    rows = _rows(480)
    all_of_it = summary(rows, np.ones((len(rows), 3)))
    gated = summary(rows, cross_validated(rows, favour=0.0))
    for case in CASES:
        assert all_of_it[case]["worse"] == 0.5
        assert gated[case]["worse"] < 0.1
        assert gated[case]["stft"] < all_of_it[case]["stft"]


@pytest.fixture(scope="module")
def pair(make_audio: MakeAudio) -> tuple[Excerpt, Excerpt]:
    audio = np.asarray(make_audio(8 * RATE, RATE, seed=3), np.float32).reshape(-1)
    first, second = np.split(audio, 2)
    sides = (first, np.tanh(6 * second))
    return tuple(Excerpt(torch.from_numpy(0.25 * x / np.abs(x).max()), RATE) for x in sides)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
def test_a_shipped_gate_takes_what_its_network_knows(
    kind: str, pair: tuple[Excerpt, Excerpt]
) -> None:
    gate, network = packaged(kind), Network(weights=kind)
    source, reference = pair
    whole, evidence = network.answer(source, [reference], locks={})
    assert gate is not None and evidence is not None
    assert set(gate.names) <= set(evidence)
    shares = gate.shares(evidence)
    assert all(0 <= share <= 1 for share in shares)
    found = network.estimate(source, [reference], locks={})
    wanted = network.made(whole, shares, source, {})
    assert found.reference_level_share == shares.level
    for name, value in wanted.items():
        assert float(found.setting[name]) == pytest.approx(float(value)), name


def test_weights_come_first() -> None:
    """As the tutorial on training passes them."""
    assert Network("music").weights == Network(weights="music").weights == "music"


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("others", [(0.0, 0.0), (1.0, 0.4), (1.0, 1.0)])
def test_the_level_has_its_own_share(
    level: float, others: tuple[float, float], pair: tuple[Excerpt, Excerpt]
) -> None:
    """It moves by its share, whatever the tone and the dynamics do to it."""
    source, reference = pair
    network = Network()
    whole, _ = network.answer(source, [reference], locks={})

    def level_of(setting: Setting) -> Levels:
        found = levels_of(MATCH_CHAIN.render(source.audio[None, None], RATE, setting).audio, RATE)
        assert found is not None
        return found

    shares = Shares(*others, level)
    first = level_of(TABLE.neutral(1))
    moved = level_of(network.made(whole, shares, source, {})).over(first)
    assert moved == pytest.approx(level * level_of(whole.setting).over(first), abs=0.1)
    held = network.made(whole, shares, source, {"compressor.makeup_db": 0.0})
    assert held == blended(TABLE, whole.setting, shares)


def test_without_a_gate_the_whole_change_is_made(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, reference = pair
    network = Network()
    whole, _ = network.answer(source, [reference], locks={})
    ungated = replace(network, caution=0.0).estimate(source, [reference], locks={})
    assert ungated.reference_level_share == 1.0
    for name, value in whole.setting.items():
        assert float(ungated.setting[name]) == float(value)
    _nothing(monkeypatch)
    gated = network.estimate(source, [reference], locks={})
    assert all(abs(float(gated.setting[name])) < 1e-6 for name in GAINS)
    assert float(gated.setting["compressor.ratio"]) == pytest.approx(1.0)


def test_caution_makes_a_part_of_what_the_gate_leaves_out(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At caution 0.5 a gate that wants nothing lets half of the change pass."""
    source, reference = pair
    _nothing(monkeypatch)
    whole, _ = Network().answer(source, [reference], locks={})
    half = Network(caution=0.5).estimate(source, [reference], locks={})
    assert half.reference_level_share == pytest.approx(0.5)
    for name in GAINS:
        assert float(half.setting[name]) == pytest.approx(
            0.5 * float(whole.setting[name]), abs=1e-6
        )


def _nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that makes none of a change."""
    gate = _gate([0.0] * len(GRID), ("same source",))
    gate.weights[1:, 0] = 1.0  # not even with the most favoured shares
    monkeypatch.setattr(network_module, "packaged_gate", lambda name: gate)


@pytest.mark.parametrize("silent", [(True, False), (False, True), (False, True, True)])
def test_a_silent_recording_is_no_reason_to_refuse(
    silent: tuple[bool, ...], pair: tuple[Excerpt, Excerpt]
) -> None:
    """As without a gate: the first is the input, the others are references."""
    clips = [pair[min(i, 1)] for i in range(len(silent))]
    source, *references = (
        Excerpt(torch.zeros_like(c.audio), RATE) if quiet else c
        for c, quiet in zip(clips, silent, strict=True)
    )
    gated, whole = (
        Network(caution=caution).estimate(source, references, locks={}) for caution in (1.0, 0.0)
    )
    assert {n: float(v) for n, v in gated.setting.items()} == {
        n: float(v) for n, v in whole.setting.items()
    }


@pytest.mark.parametrize("seconds", [0.3, 4.0])
@pytest.mark.parametrize("gain", [0.0, 1e-5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_reference_among_others_counts_nowhere(
    kind: str, gain: float, seconds: float, pair: tuple[Excerpt, Excerpt]
) -> None:
    source, reference = pair
    quiet = replace(source, audio=gain * source.audio[: round(seconds * RATE)])
    network = Network(weights=kind)
    alone, *others = (
        network.answer(source, references, locks={})
        for references in ([reference], [reference, quiet], [quiet, reference, quiet])
    )
    assert alone[1] is not None
    for estimate, evidence in others:
        assert evidence == alone[1]
        assert estimate == alone[0]


def test_what_is_not_finite_is_no_silence(pair: tuple[Excerpt, Excerpt]) -> None:
    source, reference = pair
    broken = replace(source, audio=source.audio * float("nan"))
    assert sounding([broken, reference]) == [broken, reference]


def test_a_short_clip_has_no_gate(pair: tuple[Excerpt, Excerpt]) -> None:
    source, reference = (Excerpt(e.audio[: round(0.3 * RATE)], RATE) for e in pair)
    found = Network(level=None).estimate(source, [reference], locks={})
    assert found.reference_level_share == 1.0


def test_evidence_that_is_not_finite_makes_the_whole_change() -> None:
    gate = _gate([0.0, *([1.0] * (len(GRID) - 1))])
    assert gate.shares({"a": 1.0}) == Shares(0.0, 0.0, 0.0)
    assert gate.shares({"a": float("nan")}) == Shares(1.0, 1.0, 1.0)


@pytest.mark.parametrize("caution", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("kind", [Network, Automatic])
def test_caution_lies_between_none_and_full(kind: type, caution: float) -> None:
    with pytest.raises(SettingError, match=r"outside 0\.\.1"):
        kind(caution=caution)


@pytest.mark.parametrize(
    ("lock", "kept"), [("equalizer.peak_1_gain_db", 0), ("compressor.ratio", 1)]
)
def test_what_allows_for_a_lock_is_made_in_full(
    lock: str, kept: int, pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    _nothing(monkeypatch)
    source, reference = pair
    network, locks = Network(), {lock: 2.0}
    whole, _ = network.answer(source, [reference], locks=locks)
    found = network.estimate(source, [reference], locks=locks).setting
    for group, (name, neutral) in enumerate(
        (("equalizer.high_shelf_gain_db", 0.0), ("compressor.ratio", 1.0))
    ):
        wanted = float(whole.setting[name]) if group == kept else neutral
        assert float(found[name]) == pytest.approx(wanted, abs=1e-6), name


@pytest.mark.parametrize("strength", [0.0, 0.4, 0.9])
def test_a_stronger_match_is_less_cautious(
    strength: float, pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def estimate(self: Automatic, *args: object, **more: object) -> Estimate:
        asked.append(self.caution)
        return Estimate(MATCH_CHAIN, TABLE.neutral(1))

    monkeypatch.setattr(Automatic, "estimate", estimate)
    source, reference = pair
    Matching(strength=strength).estimate(source, [reference], locks={})
    assert asked == ([pytest.approx(1 - strength)] if strength < NEAR_PROCESSING else [])


def test_tables_follow_the_level_by_the_same_share(pair: tuple[Excerpt, Excerpt]) -> None:
    """The reference is 6 dB quieter: half of that is 3 dB."""
    own = pair[0].audio.numpy()
    made: Any = SimpleNamespace(input=own, target=own, reference=0.5 * own)

    class Half:
        name = "half"

        def estimate(self, *args: object, **more: object) -> Estimate:
            return Estimate(MATCH_CHAIN, TABLE.neutral(1), reference_level_share=0.5)

    out = Estimated("half", Half()).run(made, RATE)
    assert 20 * np.log10(np.abs(out).max() / np.abs(own).max()) == pytest.approx(-3.01, abs=0.02)


def test_voices_are_counted_as_inputs_and_as_references() -> None:
    rows = [{"group": a, "reference": b} for a, b in (("a", "a"), ("a", "b"), ("c", "b"))]
    assert groups_of(rows) == 3


def test_rows_of_another_question_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"question": {"seed": 1}, "rows": []}')
    corpus = Corpus("c", RATE, (), "0" * 64)
    with pytest.raises(DataError, match="Name another file"):
        measure_pairs(corpus, PairMaker(sample_rate=RATE, length=4096), Network(), pairs=1, seed=2,
                      path=path)  # fmt: skip


def test_the_user_is_told_where_most_of_a_change_is_left_out(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Shares(0.5, 1.0, 0.0).notes() == ()
    assert "only 20 % of" in Shares(0.2, 1.0, 1.0).notes()[0]
    assert "none of" in Shares(0.0, 0.0, 1.0).notes()[0]
    assert "only 0 % of" in Shares(0.0, 0.2, 1.0).notes()[0]
    _nothing(monkeypatch)
    source, reference = pair
    notes = Network().estimate(source, [reference], locks={}).notes
    assert notes == Shares(0.0, 0.0, 0.0).notes()
    assert Network(caution=0.0).estimate(source, [reference], locks={}).notes == ()


def test_a_locked_makeup_leaves_the_dynamics_their_share() -> None:
    table = MATCH_CHAIN.params
    shares = Shares(0.5, 0.25, 0.75)
    assert without_locked(table, shares, {"compressor.makeup_db"}) == shares
    assert without_locked(table, shares, {"compressor.ratio"}).dynamics == 1

"""Matching mid and side apart: the side's own tone, the width, and what stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from kinds import RATE, music
from scipy import signal

from retone.audio import Clip
from retone.dsp.third_octaves import third_octave_levels_db, tone_difference_db, used_bands
from retone.errors import AudioError
from retone.estimators.matching import Matching
from retone.process.decide import decide
from retone.process.result import Decision, Options
from retone.process.stream import render_whole


def shelf(x: np.ndarray, gain_db: float) -> np.ndarray:
    """More or less above 2 kHz."""
    high = signal.sosfilt(signal.butter(1, 2000, "high", fs=RATE, output="sos"), x)
    return np.asarray(x + (10 ** (gain_db / 20) - 1) * high)


def stereo(seed: int, width_db: float, side_shelf_db: float = 0.0) -> np.ndarray:
    """A song whose side is another one, at a level against the mid."""
    mid = music(seed).samples.astype(np.float64)
    side = shelf(music(seed + 10).samples.astype(np.float64), side_shelf_db)
    side *= 10 ** (width_db / 20) * np.sqrt((mid**2).mean() / (side**2).mean())
    return (0.5 * np.stack([mid + side, mid - side])).astype(np.float32)


def sides(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (x[0] + x[1]) / 2, (x[0] - x[1]) / 2


def width_db(x: np.ndarray) -> float:
    mid, side = sides(x)
    return float(10 * np.log10((side**2).mean() / (mid**2).mean()))


def matched(
    source: np.ndarray, reference: np.ndarray, stereo: str = "mid-side"
) -> tuple[Decision, np.ndarray]:
    estimator = Matching(strength=1.0, stereo=stereo)  # type: ignore[arg-type]
    clips = [Clip(reference, RATE)]
    decision = decide(Clip(source, RATE), clips, Options(), estimator=estimator)
    return decision, render_whole(decision.effect, source, RATE, decision.setting)


def away_db(x: np.ndarray, source: np.ndarray, reference: np.ndarray) -> float:
    """Mean difference in tone of the side to the reference's."""
    own, goal, found = (third_octave_levels_db(sides(a)[1], RATE) for a in (source, reference, x))
    used = used_bands(own, goal)
    return float(np.abs(tone_difference_db(found, goal, used)[used]).mean())


def test_the_side_follows_the_reference_s_side() -> None:
    source, reference = stereo(0, -8.0), stereo(0, -8.0, side_shelf_db=12.0)
    _, apart = matched(source, reference)
    _, linked = matched(source, reference, "linked")
    before = away_db(source, source, reference)
    assert away_db(apart, source, reference) < 0.4 * before
    assert away_db(linked, source, reference) > 0.8 * before


@pytest.mark.parametrize(("own_db", "goal_db"), [(-4.0, -12.0), (-12.0, -8.0)])
def test_the_width_follows_the_reference(own_db: float, goal_db: float) -> None:
    _, found = matched(stereo(0, own_db), stereo(1, goal_db))
    assert width_db(found) == pytest.approx(goal_db, abs=1.0)


def test_a_recording_gets_no_wider_than_the_limit() -> None:
    source = stereo(0, -20.0)
    decision, _ = matched(source, stereo(1, -2.0))
    assert float(decision.setting["mid_side.width_db"][0]) <= 6.0


@pytest.mark.parametrize("mono_input", [True, False])
def test_without_a_side_the_side_follows_the_mid(mono_input: bool) -> None:
    wide, mono = stereo(0, -8.0), music(1).samples[None]
    decision, found = matched(*((mono, wide) if mono_input else (wide, mono)))
    values = {n: float(v[0]) for n, v in decision.setting.items()}
    mid = {n.removeprefix("mid_side.mid."): v for n, v in values.items() if ".mid." in n}
    side = {n.removeprefix("mid_side.side."): v for n, v in values.items() if ".side." in n}
    assert mid == side
    assert values["mid_side.width_db"] == 0.0
    assert any("side" in note for note in decision.notes)
    assert np.isfinite(found).all()


def test_channels_that_cancel_are_refused_with_a_way_out() -> None:
    one = music(0).samples
    with pytest.raises(AudioError, match="nearly cancel.*[Mm]atch both channels alike"):
        matched(np.stack([one, -one]), stereo(1, -8.0))


def test_locks_hold_for_side_and_width() -> None:
    locks = {"mid_side.width_db": -3.0, "mid_side.side.low_shelf_gain_db": 2.0}
    decision = decide(
        Clip(stereo(0, -8.0), RATE),
        [Clip(stereo(1, -12.0), RATE)],
        Options(locks=locks),
        estimator=Matching(stereo="mid-side"),
    )
    assert {n: float(decision.setting[n][0]) for n in locks} == locks

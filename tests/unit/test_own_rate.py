"""An equaliser fitted at a network's rate has the same response at the recording's, and follows
the references above what the network hears."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retone.effects import MATCH_CHAIN, chain
from retone.effects.compressor import Compressor
from retone.effects.equalizer import Equalizer
from retone.estimators.base import Estimator, Excerpt
from retone.estimators.frames import Frames
from retone.estimators.network import Network, frames_match
from retone.estimators.own_rate import at_own_rate
from retone.process.stream import render_whole

HEARD = 24000
EQUALIZER = Equalizer()
"""The first of ``MATCH_CHAIN``."""
LOW = np.geomspace(40, 10500, 40)
LAST = np.geomspace(9000, 11000, 10)
"""The third octave below, which the gains above are relative to."""
TOP = np.geomspace(11500, 20000, 20)


def noise(rate: int, seconds: float = 4.0, top_hz: float | None = None) -> np.ndarray:
    """Pink noise, above ``top_hz`` nothing."""
    size = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(3).standard_normal(size))
    hz = np.fft.rfftfreq(size, 1 / rate)
    spectrum /= np.sqrt(np.maximum(hz, 20))
    if top_hz:
        spectrum[hz > top_hz] = 0
    audio = np.fft.irfft(spectrum, size)
    return (0.25 * audio / np.abs(audio).max()).astype(np.float32)


def excerpt(audio: np.ndarray, rate: int) -> Excerpt:
    return Excerpt(torch.from_numpy(audio), rate)


def equalized(audio: np.ndarray, rate: int, **values: float) -> np.ndarray:
    setting = EQUALIZER.params.setting(values)
    return render_whole(EQUALIZER, audio[None], rate, setting)[0]


def response_db(setting: dict[str, torch.Tensor], rate: int, hz: np.ndarray) -> np.ndarray:
    own = {n.split(".")[1]: v for n, v in setting.items() if n.startswith("equalizer.")}
    gain = EQUALIZER.response(torch.from_numpy(hz), rate, own)[0].abs()
    return np.asarray(20 * gain.log10())


def carried(
    setting: dict[str, torch.Tensor], source: Excerpt, *references: Excerpt, same: float = 1.0,
    locks: dict[str, float] | None = None,
) -> dict[str, torch.Tensor]:  # fmt: skip
    return dict(
        at_own_rate(
            MATCH_CHAIN, setting, source, references, network_rate=HEARD, kind="music",
            same_source=[same] * len(references), locks=locks or {},
        )
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([44100, 48000, 96000]),
    shelf_db=st.floats(-10, 10),
    shelf_hz=st.floats(4000, 9000),
    peak_db=st.floats(-10, 10),
    peak_hz=st.floats(300, 3000),
)
def test_what_is_heard_keeps_its_response(
    rate: int, shelf_db: float, shelf_hz: float, peak_db: float, peak_hz: float
) -> None:
    """Of one source whose spectra have the tilt of the setting, up to what the network hears."""
    values = {
        "high_shelf_gain_db": shelf_db, "high_shelf_frequency_hz": shelf_hz,
        "peak_2_gain_db": peak_db, "peak_2_frequency_hz": peak_hz,
    }  # fmt: skip
    setting = MATCH_CHAIN.params.setting({f"equalizer.{n}": v for n, v in values.items()})
    audio = noise(rate)
    found = carried(setting, excerpt(audio, rate), excerpt(equalized(audio, rate, **values), rate))
    wanted = response_db(setting, HEARD, LOW)
    assert np.abs(response_db(found, rate, LOW) - wanted).max() < 0.8
    assert {n: v for n, v in found.items() if not n.startswith("equalizer.")} == {
        n: v for n, v in setting.items() if not n.startswith("equalizer.")
    }


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("gain_db", [-9.0, 9.0])
def test_above_it_the_reference_is_followed(rate: int, gain_db: float) -> None:
    """Of one source nearly whole, of another hardly."""
    audio = noise(rate)
    bright = equalized(audio, rate, high_shelf_gain_db=gain_db, high_shelf_frequency_hz=13000)
    flat = MATCH_CHAIN.params.setting({})
    shelf = {
        "equalizer.high_shelf_gain_db": gain_db,
        "equalizer.high_shelf_frequency_hz": 13000.0,
    }

    def tilt_db(setting: dict[str, torch.Tensor]) -> np.ndarray:
        return response_db(setting, rate, TOP) - response_db(setting, rate, LAST).mean()

    true = tilt_db(MATCH_CHAIN.params.setting(shelf))
    one = tilt_db(carried(flat, excerpt(audio, rate), excerpt(bright, rate)))
    two = tilt_db(carried(flat, excerpt(audio, rate), excerpt(bright, rate), same=0.0))
    assert np.abs(one - true).mean() < 0.25 * np.abs(true).mean()
    assert np.abs(two).mean() < 0.25 * np.abs(true).mean()


def test_several_references_count_alike() -> None:
    audio = noise(44100)
    bright, dull = (
        excerpt(equalized(audio, 44100, high_shelf_gain_db=g, high_shelf_frequency_hz=13000), 44100)
        for g in (8.0, -8.0)
    )
    setting = MATCH_CHAIN.params.setting({})
    found = carried(setting, excerpt(audio, 44100), bright, dull)
    assert np.abs(response_db(found, 44100, TOP)).max() < 1.0


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_rates_that_the_network_hears_whole_are_left_alone(rate: int) -> None:
    setting = MATCH_CHAIN.params.setting({"equalizer.high_shelf_gain_db": 6.0})
    audio = excerpt(noise(rate), rate)
    assert carried(setting, audio, excerpt(noise(44100), 44100)) == setting


@pytest.mark.parametrize("empty", ["source", "reference", "low rate"])
def test_where_a_recording_holds_nothing_the_response_stays(empty: str) -> None:
    rate = 44100
    full, dull = noise(rate), noise(rate, top_hz=9000)
    source = excerpt(dull if empty == "source" else full, rate)
    reference = {
        "source": excerpt(full, rate),
        "reference": excerpt(dull, rate),
        "low rate": excerpt(noise(22050), 22050),
    }[empty]
    setting = MATCH_CHAIN.params.setting({"equalizer.high_shelf_gain_db": 5.0})
    found = carried(setting, source, reference)
    before = response_db(setting, rate, TOP)
    assert np.abs(response_db(found, rate, TOP) - before).max() < 1.0


def test_locks_hold() -> None:
    locks = {"equalizer.high_shelf_gain_db": 2.0, "equalizer.peak_1_q": 0.9}
    setting = MATCH_CHAIN.params.setting({**locks, "equalizer.high_shelf_frequency_hz": 7000.0})
    audio = noise(48000)
    bright = equalized(audio, 48000, high_shelf_gain_db=9.0, high_shelf_frequency_hz=13000)
    found = carried(setting, excerpt(audio, 48000), excerpt(bright, 48000), locks=locks)
    assert {n: float(found[n]) for n in locks} == locks
    everything = {n: float(v[0]) for n, v in setting.items()}
    assert carried(setting, excerpt(audio, 48000), excerpt(bright, 48000), locks=everything) == (
        setting
    )


def test_other_effects_are_left_alone() -> None:
    effect = chain("other", Compressor())
    setting = effect.params.setting({})
    audio = excerpt(noise(44100), 44100)
    found = at_own_rate(
        effect,
        setting,
        audio,
        [audio],
        network_rate=HEARD,
        kind="music",
        same_source=[1.0],
        locks={},
    )  # fmt: skip
    assert found is setting


@pytest.mark.parametrize(
    "estimator",
    [
        Network("speech", caution=0.0), Network("music", caution=0.0),
        Network("music", frames=None, caution=0.0), Frames("speech"), frames_match("music"),
    ],
)  # fmt: skip
def test_networks_hear_more_than_their_rate(estimator: Estimator) -> None:
    """What lies above 12 kHz in the reference reaches the setting; before, nothing did."""
    rate = 44100
    audio = noise(rate, 6.0)
    references = [
        equalized(audio, rate, high_shelf_gain_db=g, high_shelf_frequency_hz=15000)
        for g in (-12.0, 12.0)
    ]
    tops = []
    for reference in references:
        found = estimator.estimate(excerpt(audio, rate), [excerpt(reference, rate)], locks={})
        tops.append(response_db(found.setting, rate, np.array([18000.0]))[0])
    assert tops[1] - tops[0] > 6

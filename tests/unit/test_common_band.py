"""Networks compare recordings where both have content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retone.estimators.common_band import in_common_band

RATE = 24000
SECONDS = 6


def sound(seed: int, end_hz: float = RATE / 2, noise_db: float = -75.0) -> Tensor:
    """A clip of noise up to a frequency that varies like syllables, and of steady noise."""
    rng = np.random.default_rng(seed)
    count = SECONDS * RATE
    steps = np.repeat(10 ** (rng.uniform(-30, 0, SECONDS * 8) / 20), RATE // 8)
    spectrum = np.fft.rfft(rng.standard_normal(count) * steps)
    spectrum[np.fft.rfftfreq(count, 1 / RATE) > end_hz] = 0
    audio = np.fft.irfft(spectrum, count) + 10 ** (noise_db / 20) * rng.standard_normal(count)
    return torch.from_numpy((0.25 * audio / np.abs(audio).max()).astype(np.float32))[None]


def shelved(clips: Tensor, gain_db: float, from_hz: float = 5000.0) -> Tensor:
    """With a first-order high shelf."""
    hz = torch.fft.rfftfreq(clips.shape[1], 1 / RATE)
    gain = 10 ** (gain_db / 20)
    shape = (1 + gain * 1j * hz / from_hz) / (1 + 1j * hz / from_hz)
    return torch.fft.irfft(torch.fft.rfft(clips) * shape, n=clips.shape[1])


def lowpassed(clips: Tensor, at_hz: float, order: int = 3) -> Tensor:
    """With the magnitudes of a Butterworth low-pass."""
    hz = torch.fft.rfftfreq(clips.shape[1], 1 / RATE)
    gain = (1 + (hz / at_hz) ** (2 * order)).rsqrt()
    return torch.fft.irfft(torch.fft.rfft(clips) * gain, n=clips.shape[1])


def steady_noise(count: int) -> Tensor:
    return torch.randn(1, count, generator=torch.Generator().manual_seed(0))


def above_db(clips: Tensor, hz: float) -> float:
    """Level above a frequency against the whole."""
    power = torch.fft.rfft(clips).abs().square().sum(0)
    above = power[torch.fft.rfftfreq(clips.shape[1], 1 / RATE) > hz].sum()
    return float(10 * (above / power.sum() + 1e-20).log10())


@pytest.mark.parametrize("end_hz", [3400.0, 5500.0, 8000.0])
@pytest.mark.parametrize("shelf_db", [-12.0, 0.0, 12.0])
def test_the_wide_recording_loses_what_the_narrow_one_lacks(end_hz: float, shelf_db: float) -> None:
    narrow, wide = sound(0, end_hz), shelved(sound(1), shelf_db)
    for source, reference in ((narrow, wide), (wide, narrow)):
        found = in_common_band(source, [reference], RATE)
        assert 0 < found.lost < np.log2(RATE / 2 / (0.8 * end_hz)) + 0.1
        assert max(above_db(x, 1.1 * end_hz) for x in (found.source, *found.references)) < -60
        kept = torch.fft.rfft(found.source - source).abs().square()
        hz = torch.fft.rfftfreq(source.shape[1], 1 / RATE)
        assert float(kept[0, hz < 0.8 * end_hz].max()) < 1e-6 * float(kept.max() + 1)


@pytest.mark.parametrize("end_hz", [3400.0, 8000.0, RATE / 2])
@pytest.mark.parametrize("shelf_db", [-20.0, 0.0, 20.0])
def test_recordings_of_one_band_stay_as_they_are(end_hz: float, shelf_db: float) -> None:
    source, reference = sound(2, end_hz), shelved(sound(3, end_hz), shelf_db)
    found = in_common_band(source, [reference], RATE)
    assert found.lost == 0
    assert torch.equal(found.source, source)
    assert torch.equal(found.references[0], reference)


@given(st.floats(-40, 40), st.floats(-40, 40))
def test_gain_changes_nothing(first_db: float, second_db: float) -> None:
    source, reference = sound(4, 8000.0), sound(5)
    plain = in_common_band(source, [reference], RATE)
    found = in_common_band(
        source * 10 ** (first_db / 20), [reference * 10 ** (second_db / 20)], RATE
    )
    assert found.lost == plain.lost > 0


@pytest.mark.parametrize("shelf_db", [-12.0, 0.0, 12.0])
def test_images_above_an_edge_are_no_content(shelf_db: float) -> None:
    narrow = sound(12, 8000.0)
    mirrored = narrow * torch.cos(torch.pi * torch.arange(narrow.shape[1]))
    with_images = narrow + 10 ** (-50 / 20) * mirrored
    for wide in (shelved(sound(13), shelf_db), shelved(sound(14), -shelf_db)):
        assert 0.5 < in_common_band(with_images, [wide], RATE).lost < 1.0


def test_the_widest_reference_counts() -> None:
    source, narrow, wide = sound(6), sound(7, 4000.0), sound(8)
    assert in_common_band(source, [narrow, wide], RATE).lost == 0
    assert in_common_band(source, [narrow], RATE).lost > 1


def test_what_differs_between_recordings_of_one_voice_is_processing() -> None:
    source, reference = sound(10), sound(11, 4000.0)
    assert in_common_band(source, [reference], RATE, [0.98]).lost == 0
    assert in_common_band(source, [reference], RATE, [0.5]).lost > 1


def test_what_is_not_finite_is_left_to_the_network() -> None:
    source, narrow = sound(10), sound(11, 4000.0)
    for value in (float("nan"), float("inf"), 1e30):
        broken = source.clone()
        broken[0, 100] = value
        assert in_common_band(broken, [narrow], RATE).lost == 0
        assert in_common_band(narrow, [broken], RATE).lost == 0
    doubles = in_common_band(source.double(), [narrow.double()], RATE)
    assert doubles.lost == in_common_band(source, [narrow], RATE).lost > 1


def test_a_slope_is_no_end_of_content() -> None:
    """A steep low-pass takes the top below the noise, but its level does not fall at once."""
    dull = lowpassed(sound(2, noise_db=-200.0), 1500.0)
    dull += dull.abs().max() * 10 ** (-55 / 20) * steady_noise(dull.shape[1])
    assert in_common_band(dull, [sound(3)], RATE).lost == 0
    assert in_common_band(sound(2, 8000.0), [sound(3)], RATE).lost > 0


def test_gated_pauses_do_not_count() -> None:
    """Where pauses are digital silence, the level of any band varies."""
    on = (torch.arange(SECONDS * RATE) // (RATE // 2)) % 2
    smooth = torch.nn.functional.avg_pool1d(on[None, None].float(), 2401, 1, 1200)[0]
    gate = torch.where(smooth > 0.5, 2 * smooth - 1, torch.zeros(()))
    narrow, wide = sound(16, 4000.0, noise_db=-60.0), sound(17)
    plain = in_common_band(narrow, [wide], RATE).lost
    assert in_common_band(narrow * gate, [wide], RATE).lost == plain > 1


def test_what_is_far_below_the_rest_is_empty_however_it_varies() -> None:
    narrow = sound(18, 4000.0, noise_db=-200.0)
    faint = narrow + 10 ** (-85 / 20) * sound(19, noise_db=-200.0)
    assert in_common_band(faint, [sound(20)], RATE).lost > 1.5


def test_silence_and_a_moment_tell_nothing() -> None:
    source, silent, short = sound(9), torch.zeros(1, RATE), sound(9)[:, :500]
    for one, others in ((source, [silent]), (silent, [source]), (short, [source]), (source, [])):
        assert in_common_band(one, others, RATE).lost == 0

"""Style statistics: known signals, batches, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import firwin2, lfilter, resample_poly

from retone.dsp.measure import average, band_centres_hz, measure, valid_bands
from retone.effects import Equalizer
from retone.errors import AudioError

RATE = 24000
EQ = Equalizer()


def talk(seed: int, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    """Noise with a falling spectrum, syllables and pauses: statistics much like those of speech."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    taps = firwin2(513, [0, 0.02, 0.1, 0.5, 1], [0.3, 1.0, 0.5, 0.1, 0.05])
    noise = lfilter(taps, 1.0, rng.standard_normal(count))
    beats = np.repeat(rng.uniform(-22, 0, int(seconds * 6) + 1), rate // 6)[:count]
    beats = np.convolve(beats, np.hanning(rate // 30) / np.hanning(rate // 30).sum(), "same")
    x = noise * 10 ** (beats / 20)
    x[int(1.5 * rate) : int(1.8 * rate)] *= 1e-3
    return (0.25 * x / np.abs(x).max()).astype(np.float32)


def toned(audio: np.ndarray, rate: int = RATE, **values: float) -> np.ndarray:
    setting = EQ.params.setting(values)
    return EQ.render(torch.as_tensor(audio)[None, None], rate, setting).audio[0, 0].numpy()


def test_a_filter_moves_band_levels_by_its_gain_and_leaves_the_spread() -> None:
    x = talk(0)
    values = {"low_shelf_gain_db": -9.0, "peak_2_gain_db": 8.0, "high_shelf_gain_db": 10.0}
    a, b = measure(x, RATE), measure(toned(x, **values), RATE)
    centres = band_centres_hz()
    gain = EQ.response(torch.as_tensor(centres), RATE, EQ.params.setting(values))
    want = 20 * np.log10(gain.abs().numpy()[0])
    use = valid_bands(RATE) & (centres > 150)  # below, bands are narrower than the window resolves
    np.testing.assert_allclose((b.band_level_db - a.band_level_db)[0, use], want[use], atol=0.6)
    np.testing.assert_allclose(b.band_spread_db[0, use], a.band_spread_db[0, use], atol=0.4)


def test_statistics_do_not_depend_on_the_sample_rate() -> None:
    x = talk(1, rate=48000)
    high, low = measure(x, 48000), measure(resample_poly(x, 1, 2), RATE)
    use = valid_bands(RATE)
    assert np.isnan(low.band_level_db[0, ~use]).all() and not np.isnan(high.band_level_db).any()
    np.testing.assert_allclose(low.band_level_db[0, use], high.band_level_db[0, use], atol=0.3)
    np.testing.assert_allclose(low.level_percentiles_db, high.level_percentiles_db, atol=0.6)
    np.testing.assert_allclose(low.loudness_db, high.loudness_db, atol=0.3)


def test_band_powers_of_a_sine_add_up_to_its_power() -> None:
    x = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    s = measure(x, RATE)
    total = 10 * np.log10(np.nansum(10 ** (s.band_level_db / 10)))
    assert total == pytest.approx(-3.01, abs=0.05)
    assert s.level_db[0] == pytest.approx(-3.01, abs=0.02)
    assert s.crest_db[0] == pytest.approx(3.01, abs=0.02)
    assert band_centres_hz()[np.nanargmax(s.band_level_db[0])] == pytest.approx(1000, rel=0.08)


def test_loudness_agrees_with_bs1770() -> None:
    meter = pytest.importorskip("pyloudnorm").Meter(RATE)
    x = talk(2)
    assert measure(x, RATE).loudness_db[0] == pytest.approx(meter.integrated_loudness(x), abs=0.4)


def test_batches_equal_single_recordings_and_have_a_name_for_each_number() -> None:
    rows = np.stack([talk(3), talk(4)])
    both = measure(torch.as_tensor(rows), RATE)
    for i in range(2):
        np.testing.assert_allclose(
            both[i].vector(), measure(rows[i], RATE).vector(), rtol=1e-5, atol=1e-4
        )
    assert len(both.names) == len(set(both.names)) == both.vector().shape[1]


def test_average_takes_bands_from_the_recordings_that_have_them() -> None:
    high, low = measure(talk(5, rate=48000), 48000), measure(talk(6), RATE)
    mean = average([high, low], weights=[1.0, 3.0])
    use = valid_bands(RATE)
    np.testing.assert_allclose(mean.band_level_db[0, ~use], high.band_level_db[0, ~use])
    want = 0.25 * high.band_level_db[0, use] + 0.75 * low.band_level_db[0, use]
    np.testing.assert_allclose(mean.band_level_db[0, use], want)


def test_silence_and_short_recordings_are_errors() -> None:
    with pytest.raises(AudioError, match="silent"):
        measure(np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="0.5 s"):
        measure(np.ones(1000), RATE)


# Content and treatment

"""Style statistics and the untrained estimators, on signals whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.signal import firwin2, lfilter

from retone.dsp.measure import band_centres_hz, measure, valid_bands
from retone.effects import MATCH_CHAIN, Compressor, Equalizer
from retone.errors import AudioError, DataError, SettingError
from retone.estimators import compression, content_statistics, equalizer_fit, separation
from retone.estimators.base import Estimate, Estimator, Excerpt
from retone.estimators.black_box import BlackBoxFit
from retone.estimators.choose import CHOICES, estimator_named
from retone.estimators.closed_form import ClosedForm, frequencies_in_words, samples_of, smooth
from retone.estimators.refine import Refined
from retone.estimators.rules import Rules, mean_spectrum

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


def excerpt(audio: np.ndarray, rate: int = RATE) -> Excerpt:
    return Excerpt(torch.as_tensor(np.asarray(audio, dtype=np.float32)), rate)


def toned(audio: np.ndarray, rate: int = RATE, **values: float) -> np.ndarray:
    setting = EQ.params.setting(values)
    return EQ.render(torch.as_tensor(audio)[None, None], rate, setting).audio[0, 0].numpy()


def curve_db(setting: dict[str, torch.Tensor], frequency: np.ndarray) -> np.ndarray:
    h = MATCH_CHAIN.response(torch.as_tensor(frequency), RATE, setting)
    assert h is not None
    return 20 * np.log10(h.abs().numpy()[0])


# Measuring


def test_packaged_statistics_are_covariances() -> None:
    content = content_statistics.packaged()
    for matrix in (content.same, content.other, content.processing):
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-3)
        assert np.linalg.eigvalsh(matrix).min() > 0
    assert np.trace(content.other) > np.trace(content.same)
    assert content.voices >= 20


def test_content_statistics_are_learnt_saved_and_read_back(tmp_path) -> None:
    def recordings():
        for voice in range(4):
            tone = {"high_shelf_gain_db": 5.0 * voice - 7.0}
            for take in range(2):
                audio = toned(talk(10 * voice + take, 4.0), **tone)
                yield content_statistics.Recording(f"v{voice}", audio, RATE)

    learnt = content_statistics.learn(recordings(), seconds=2.0, seed=0, curves=50, voice_pairs=60)
    top = np.flatnonzero(valid_bands(RATE))[-3]
    assert learnt.other[top, top] > 4 * learnt.same[top, top]  # the shelf is a voice's own
    learnt.save(tmp_path / "content.npz")
    again = content_statistics.ContentStatistics.load(tmp_path / "content.npz")
    np.testing.assert_allclose(again.other, learnt.other, rtol=1e-5)
    (tmp_path / "content.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match="Learn them again"):
        content_statistics.ContentStatistics.load(tmp_path / "content.npz")
    with pytest.raises(DataError, match="three voices"):
        content_statistics.learn([], seconds=2.0, seed=0)


def test_a_stranger_is_believed_less_than_the_same_voice() -> None:
    source, reference = (
        measure(talk(20), RATE),
        measure(toned(talk(21), high_shelf_gain_db=12), RATE),
    )

    def size(voices: separation.Voices) -> float:
        got = separation.infer(
            source, reference, content_statistics.packaged(),
            sample_rate=RATE, scales=(1.0,), voices=voices, temper=0.3,
        )  # fmt: skip
        return float(np.ptp(got.mean_db[valid_bands(RATE)]))

    assert 0 < size("other") < size("same") < 20


def test_bands_without_energy_are_not_trusted() -> None:
    taps = firwin2(1025, [0, 0.3, 0.33, 1], [1, 1, 0, 0])
    cut = lfilter(taps, 1.0, talk(22)) + 0.0
    got = separation.infer(
        measure(cut, RATE), measure(talk(23), RATE), content_statistics.packaged(),
        sample_rate=RATE, scales=(1.0,), voices="same", temper=0.3,
    )  # fmt: skip
    centres = band_centres_hz()
    assert got.trust[centres > 6000].max() < 0.6 and got.trust[centres < 3000].min() == 1.0


# Equaliser fit


@pytest.mark.parametrize("rate", [16000, 24000, 96000])
def test_fit_recovers_the_curve_of_an_equaliser(rate: int) -> None:
    values = {
        "low_shelf_gain_db": 6.0, "peak_1_gain_db": -7.0, "peak_1_frequency_hz": 500.0,
        "peak_3_gain_db": 5.0, "peak_3_q": 1.5, "high_shelf_gain_db": -8.0,
    }  # fmt: skip
    centres = band_centres_hz()[valid_bands(rate)]
    frequency = torch.as_tensor(centres)
    want = 20 * np.log10(EQ.response(frequency, rate, EQ.params.setting(values)).abs().numpy()[0])
    found = equalizer_fit.fit(
        EQ, centres, want, 0.05 * np.eye(len(want)), rate, {}, equalizer_fit.FitRules(steps=60)
    )
    got = 20 * np.log10(EQ.response(frequency, rate, EQ.params.setting(found)).abs().numpy()[0])
    assert np.sqrt(np.mean((got - want) ** 2)) < 0.5


def test_fit_follows_the_effects_own_response_and_its_slope_is_right() -> None:
    centres = band_centres_hz()[valid_bands(RATE)]
    problem = equalizer_fit.Problem(
        EQ, centres, np.zeros(len(centres)), np.eye(len(centres)), RATE, {},
        equalizer_fit.FitRules(),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    full = problem.low + rng.uniform(0.2, 0.8, len(problem.low)) * (problem.high - problem.low)
    setting = EQ.params.setting(problem.physical(full))
    want = 20 * np.log10(EQ.response(torch.as_tensor(centres), RATE, setting).abs().numpy()[0])
    np.testing.assert_allclose(problem.evaluate(full)[0], want, atol=1e-6)
    jacobian = problem.jacobian(full)
    for i in range(len(full)):
        up, down = full.copy(), full.copy()
        up[i] += 1e-4
        down[i] -= 1e-4
        quotient = (problem.residuals(up) - problem.residuals(down)) / 2e-4
        np.testing.assert_allclose(jacobian[:, i], quotient, atol=2e-2, rtol=1e-3)


def test_fit_keeps_locks_and_limits() -> None:
    centres = band_centres_hz()[valid_bands(RATE)]
    want = np.where(centres > 2000, 40.0, -40.0)
    locks = {"peak_2_gain_db": -3.0, "peak_2_frequency_hz": 900.0, "low_shelf_q": 1.0}
    rules = equalizer_fit.FitRules(max_gain_db=10.0, max_q=2.0)
    found = equalizer_fit.fit(EQ, centres, want, np.eye(len(want)), RATE, locks, rules)
    assert {n: found[n] for n in locks} == locks
    EQ.params.setting(found)  # raises outside the table's ranges
    assert max(abs(v) for n, v in found.items() if n.endswith("gain_db")) <= 10.0 + 1e-9
    assert max(v for n, v in found.items() if n.endswith("_q")) <= 2.0 + 1e-9


# Compressor search

TIGHT = 0.3 * np.eye(16)


def test_compression_is_found_and_its_spread_matched() -> None:
    x = torch.as_tensor(talk(30))
    effect = Compressor()
    strong = effect.params.setting({"threshold_db": -45.0, "ratio": 4.0, "attack_ms": 5.0})
    squeezed = effect.render(x[None, None], RATE, strong).audio[0]
    want = compression.dynamics(measure(squeezed, RATE))[0]
    found = compression.search(
        effect, x, RATE, want, TIGHT, {}, compression.SearchRules(prior_none=0.5)
    )
    again = effect.render(x[None, None], RATE, effect.params.setting(found)).audio[0]
    before = compression.dynamics(measure(x, RATE))[0] - want
    after = compression.dynamics(measure(again, RATE))[0] - want
    assert found["ratio"] > 1.5
    assert np.abs(after).mean() < 0.35 * np.abs(before).mean()


def test_no_compression_without_need_and_locks_stay() -> None:
    x = torch.as_tensor(talk(31))
    own = compression.dynamics(measure(x, RATE))[0]
    rules = compression.SearchRules()
    assert compression.search(Compressor(), x, RATE, own, TIGHT, {}, rules)["ratio"] == 1.0
    locks = {"ratio": 3.0, "attack_ms": 11.0}
    found = compression.search(Compressor(), x, RATE, own - 4.0, TIGHT, locks, rules)
    assert {n: found[n] for n in locks} == locks


# Whole estimators


def test_estimators_have_the_protocol() -> None:
    assert all(isinstance(e, Estimator) for e in (ClosedForm(), Rules(), Refined()))


def test_closed_form_finds_the_treatment_of_the_same_voice() -> None:
    x = talk(40)
    y = x[::-1].copy()  # other sounds at every moment, the same style
    values = {
        "low_shelf_gain_db": -12.0, "low_shelf_frequency_hz": 300.0,
        "high_shelf_gain_db": 12.0, "high_shelf_frequency_hz": 4000.0,
    }  # fmt: skip
    got = ClosedForm(voices="same").estimate(excerpt(x), [excerpt(toned(y, **values))], locks={})
    frequency = band_centres_hz()[valid_bands(RATE)]
    want = MATCH_CHAIN.params.setting({f"equalizer.{n}": v for n, v in values.items()})
    error = curve_db(got.setting, frequency) - curve_db(want, frequency)
    error -= error.mean()
    flat = curve_db(want, frequency) - curve_db(want, frequency).mean()
    assert np.sqrt(np.mean(error**2)) < 0.4 * np.sqrt(np.mean(flat**2))
    assert float(got.setting["compressor.ratio"][0]) < 1.5


def test_closed_form_keeps_locks_and_repeats_itself() -> None:
    source, reference = excerpt(talk(42)), excerpt(toned(talk(43), peak_3_gain_db=9.0))
    locks = {"equalizer.peak_3_gain_db": -2.0, "compressor.ratio": 2.5, "compressor.makeup_db": 1.0}
    a = ClosedForm().estimate(source, [reference], locks=locks)
    b = ClosedForm().estimate(source, [reference], locks=locks)
    for name, value in locks.items():
        assert float(a.setting[name][0]) == value
    assert all(torch.equal(a.setting[n], b.setting[n]) for n in MATCH_CHAIN.params.names)
    assert set(a.setting) == set(MATCH_CHAIN.params.names)


def test_closed_form_takes_several_references_at_other_rates() -> None:
    seen = []
    got = ClosedForm().estimate(
        excerpt(talk(44, rate=48000), 48000),
        [excerpt(talk(45)), excerpt(talk(46, rate=16000), 16000)],
        locks={},
        progress=lambda phase, done, total: seen.append((done, total)),
    )
    MATCH_CHAIN.params.setting({n: float(v[0]) for n, v in got.setting.items()})
    assert seen[-1] == (3, 3)


def test_closed_form_refuses_what_it_cannot_use() -> None:
    with pytest.raises(AudioError, match="no reference"):
        ClosedForm().estimate(excerpt(talk(47)), [], locks={})
    with pytest.raises(AudioError, match="silent"):
        ClosedForm().estimate(excerpt(np.zeros(RATE)), [excerpt(talk(47))], locks={})
    with pytest.raises(SettingError, match="compressor.ratio"):
        ClosedForm().estimate(excerpt(talk(47)), [excerpt(talk(48))], locks={"compressor.rato": 2})


def test_smoothing_keeps_constants_and_lowers_spikes() -> None:
    centres = band_centres_hz()
    np.testing.assert_allclose(smooth(centres, np.full(len(centres), 3.0), 0.5), 3.0)
    spike = np.zeros(len(centres))
    spike[20] = 10.0
    assert smooth(centres, spike, 0.5).max() < 5.0
    assert smooth(centres, spike, 0.0) is spike


def test_rules_follow_the_spectral_ratio() -> None:
    x = talk(50)
    bright = toned(x, high_shelf_gain_db=12.0)
    got = Rules().estimate(excerpt(x), [excerpt(bright)], locks={})
    h = got.effect.response(torch.tensor([1000.0, 9000.0]), RATE, got.setting)
    assert h is not None
    tilt = float(20 * torch.log10(h.abs()[0, 1] / h.abs()[0, 0]))
    assert tilt == pytest.approx(11.0, abs=2.0)


def test_rules_reach_the_references_loudness_one_step_apart_from_the_paper() -> None:
    from retone.audio.meters.loudness import loudness_lufs

    x = talk(51)
    x *= np.float32(10 ** (-12 / 20)) / np.abs(x).max()
    dense = Compressor().render(
        torch.as_tensor(talk(52))[None, None], RATE,
        Compressor().params.setting({"threshold_db": -50.0, "ratio": 8.0, "attack_ms": 0.5}),
    ).audio[0, 0].numpy()  # fmt: skip
    fixed = Rules().estimate(excerpt(x), [excerpt(dense)], locks={})
    out = (
        fixed.effect.render(torch.as_tensor(x)[None, None], RATE, fixed.setting).audio[0, 0].numpy()
    )
    target = loudness_lufs((dense * 10 ** (-12 / 20) / np.abs(dense).max())[None], RATE)
    assert np.abs(out).max() == pytest.approx(10 ** (-12 / 20), rel=1e-3)
    assert target - loudness_lufs(out[None], RATE) <= 0.51
    paper = Rules(paper=True).estimate(excerpt(x), [excerpt(dense)], locks={})
    taps = np.array(paper.effect.members[0].taps)  # type: ignore[attr-defined]
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-9)
    assert taps.size == 63


def test_rules_keep_locks_and_never_compress_towards_a_quieter_reference() -> None:
    x = talk(53)
    same = Rules().estimate(excerpt(x), [excerpt(x)], locks={})
    assert float(same.setting["compressor.ratio"][0]) == 1.0
    locks = {"compressor.threshold_db": -33.0, "gain.gain_db": 2.0}
    got = Rules().estimate(excerpt(x), [excerpt(talk(54))], locks=locks)
    assert all(float(got.setting[n][0]) == v for n, v in locks.items())


def test_mean_spectrum_of_white_noise_is_flat() -> None:
    noise = np.random.default_rng(0).standard_normal(4 * RATE)
    level = 20 * np.log10(mean_spectrum(noise)[2000:30000])
    assert np.std(level) < 0.5


@dataclass(frozen=True)
class Neutral:
    """Leaves the recording as it is."""

    name: str = "neutral"

    def estimate(self, source, references, *, locks, progress=None) -> Estimate:
        setting = MATCH_CHAIN.params.neutral(1)
        return Estimate(MATCH_CHAIN, setting | MATCH_CHAIN.params.setting({}) | setting)


def test_refining_improves_a_poor_start_and_keeps_locks() -> None:
    x, y = talk(60, 5.0), toned(talk(61, 5.0), peak_2_gain_db=9.0, high_shelf_gain_db=-9.0)
    locks = {"equalizer.low_shelf_gain_db": 0.0}
    got = Refined(Neutral(), steps=2, prior_sd=0.5).estimate(excerpt(x), [excerpt(y)], locks=locks)
    assert float(got.setting["equalizer.low_shelf_gain_db"][0]) == 0.0
    assert float(got.setting["equalizer.peak_2_gain_db"][0]) > 2.0
    assert float(got.setting["equalizer.high_shelf_gain_db"][0]) < -2.0


def test_refining_leaves_alone_what_the_held_out_part_does_not_support() -> None:
    x = excerpt(talk(62))
    start = Neutral().estimate(x, [x], locks={})
    demanding = replace(Refined(Neutral(), steps=1), margin=0.999)
    got = demanding.estimate(x, [excerpt(talk(63))], locks={})
    assert all(torch.equal(got.setting[n], start.setting[n]) for n in start.setting)
    assert any("held-out" in note for note in got.notes)
    brief = Refined(Neutral()).estimate(excerpt(talk(64, 1.9)), [x], locks={})
    assert any("too short to refine" in note for note in brief.notes)


@pytest.mark.parametrize("name", list(CHOICES))
@pytest.mark.parametrize("length", [1, 20, 9000])
@pytest.mark.parametrize("which", ["source", "reference"])
def test_every_estimator_takes_a_recording_of_one_click(name: str, length: int, which: str) -> None:
    """As the excerpt of a click in digital silence: one half, or more, holds nothing."""
    x = np.zeros(3 * RATE, np.float32)
    x[RATE // 3 : RATE // 3 + length] = talk(70, 1.0)[:length] + 0.1
    click, voice = excerpt(0.25 * x / np.abs(x).max()), excerpt(talk(71, 3.0))
    source, reference = (click, voice) if which == "source" else (voice, click)
    found = estimator_named(name).estimate(source, [reference], locks={})
    assert all(torch.isfinite(v).all() for v in found.setting.values())
    if name in ("refined", "full-match", "faithful"):
        assert "Half of a recording is silent; the settings are not refined." in found.notes


def test_fitting_any_effect_says_why_it_needs_both_halves() -> None:
    x = np.zeros(3 * RATE, np.float32)
    x[5000] = 0.25
    with pytest.raises(AudioError, match="sound in both halves of each recording"):
        BlackBoxFit(EQ, draws=2).estimate(excerpt(x), [excerpt(talk(72))], locks={})


def test_ranges_are_told_in_words() -> None:
    centres = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])
    told = {
        (3, 4): "Above 400 Hz",
        (4,): "Above 800 Hz",
        (0, 1): "Below 400 Hz",
        (2,): "Around 400 Hz",
        (1, 2): "Between 200 Hz and 400 Hz",
        (0, 4): "Below 200 Hz and above 800 Hz",
        (0, 1, 2, 3, 4): "Between 100 Hz and 1.6 kHz",
    }
    for marked, text in told.items():
        weak = np.isin(np.arange(5), marked)
        assert frequencies_in_words(centres, weak) == text


def test_a_long_recording_is_searched_all_over() -> None:
    audio = np.arange(1000, dtype=np.float32)
    assert samples_of(audio, 2000) is audio
    part = samples_of(audio, 100)
    assert part.size == 100 and part[0] == 0 and part[-1] == 999
    np.testing.assert_array_equal(np.flatnonzero(np.diff(part) != 1), [24, 49, 74])

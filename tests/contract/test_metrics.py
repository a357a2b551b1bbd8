"""Every metric: best on identical input, worse with more damage, true units, finite silence."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from retone.errors import ShapeError
from retone.metrics import (
    ENHANCE_METRICS,
    LEVEL_FREE,
    METRICS,
    STYLE_METRICS,
    TABLE_I,
    Metric,
    perceptual,
)

RATE = 24000
GAIN = 10 ** (6.02 / 20)
PACKAGES = {"pesq": "pesq", "stoi": "pystoi", "dnsmos": "speechmos"}
BEST = {"pesq": 4.644, "stoi": 1.0, "onsets": 1.0}
OWN = tuple(METRICS.values())
NAMES = [m.name for m in OWN]
PAIRS = [m for m in OWN if m.needs == "pair"]

Array = np.ndarray


@pytest.fixture(scope="module")
def speech(make_audio: Callable[..., torch.Tensor]) -> Array:
    """Three seconds, 20 dB below full scale at most, so that damage does not clip."""
    return 0.1 * make_audio(3 * RATE, RATE, seed=3)[0, 0].numpy()


def _noise(x: Array, grade: float) -> Array:
    rng = np.random.default_rng(5)
    return x + grade * x.std() * rng.standard_normal(x.shape)


def _gain(x: Array, grade: float) -> Array:
    return x * (1 + grade)


def _squash(x: Array, grade: float) -> Array:
    limit = np.abs(x).max() * (1 - 0.3 * grade)
    return np.clip(x, -limit, limit)


def _delay(x: Array, grade: float) -> Array:
    return np.roll(x, round(4 * grade))


# The damage each metric must see, and its grades.
DAMAGE: dict[str, tuple[Callable[[Array, float], Array], tuple[float, ...]]] = {
    **{
        name: (_noise, (0.03, 0.2, 1.0))
        for name in (
            "pesq", "stft", "msd", "sce", "stoi", "mse", "log_mel", "stft_auraloss", "bandwidth",
            "bandwidth_hz", "flatness", "onsets",
        )
    },
    **{
        name: (_gain, (0.2, 1.0, 4.0))
        for name in ("rms", "rms_paper", "rms_linear", "lufs", "lufs_signed", "flux")
    },
    **{name: (_squash, (0.5, 1.0, 2.0)) for name in ("crest", "crest_paper", "crest_linear")},
    "phase": (_delay, (0.5, 1.0, 2.0)),
    "dnsmos": (_noise, (1.0,)),  # seconds a call
}  # fmt: skip


def need(metric: Metric) -> None:
    if metric.extra:
        pytest.importorskip(PACKAGES[metric.name], reason=f"extra [{metric.extra}] is absent")


def test_every_metric_has_its_damage() -> None:
    assert sorted(DAMAGE) == sorted(NAMES) and len(set(NAMES)) == len(NAMES)
    assert set(STYLE_METRICS) | set(ENHANCE_METRICS) < set(OWN)
    assert len(STYLE_METRICS) == 9 and len(ENHANCE_METRICS) == 19


@pytest.mark.parametrize("metric", OWN, ids=NAMES)
def test_worse_with_more_damage(metric: Metric, speech: Array) -> None:
    need(metric)
    damage, grades = DAMAGE[metric.name]
    values = [metric(speech, speech, RATE)] + [
        metric(damage(speech, grade), speech, RATE) for grade in grades
    ]
    errors = [metric.error(v) for v in values]
    assert all(a < b for a, b in zip(errors, errors[1:], strict=False)), values
    if metric.needs == "pair":
        assert values[0] == pytest.approx(BEST.get(metric.name, 0.0), abs=2e-3)


@pytest.mark.parametrize("metric", PAIRS, ids=[m.name for m in PAIRS])
def test_real_speech_is_no_exception(metric: Metric, shared) -> None:  # type: ignore[no-untyped-def]
    need(metric)
    soundfile = pytest.importorskip("soundfile")
    path = sorted((shared / "audio" / "speech").glob("*.flac"))[0]
    x, rate = soundfile.read(path, frames=4 * soundfile.info(path).samplerate, always_2d=True)
    x = 0.5 * x[:, 0]
    damage, grades = DAMAGE[metric.name]
    values = [metric(x, x, rate), *(metric(damage(x, g), x, rate) for g in grades[1:])]
    errors = [metric.error(v) for v in values]
    assert errors[0] < errors[1] < errors[2], values


@pytest.mark.parametrize("name", ["rms", "lufs", "lufs_signed", "flux"])
def test_a_gain_of_6_02_db_reads_6_02(name: str, speech: Array) -> None:
    metric = OWN[NAMES.index(name)]
    assert metric(GAIN * speech, speech, RATE) == pytest.approx(6.02, abs=1e-3)
    if metric.direction == "zero":
        assert metric(speech, GAIN * speech, RATE) == pytest.approx(-6.02, abs=1e-3)
    else:
        assert metric(speech, GAIN * speech, RATE) == pytest.approx(6.02, abs=1e-3)


def test_paper_scales_are_natural_logarithms(speech: Array) -> None:
    by = dict(zip(NAMES, OWN, strict=True))
    other = _squash(GAIN * speech, 1.5)
    for name in ("rms", "crest"):
        ratio = by[f"{name}_paper"](other, speech, RATE) / by[name](other, speech, RATE)
        assert ratio == pytest.approx(math.log(10), rel=1e-9)
    assert by["crest"](GAIN * speech, speech, RATE) == pytest.approx(0, abs=1e-9)


def test_loudness_equals_pyloudnorm(speech: Array) -> None:
    peer = pytest.importorskip("pyloudnorm").Meter(RATE)
    other = _squash(0.3 * speech, 2.0)
    expected = peer.integrated_loudness(other) - peer.integrated_loudness(speech)
    found = OWN[NAMES.index("lufs_signed")](other, speech, RATE)
    assert found == pytest.approx(expected, abs=0.05)


def test_centroid_of_tones() -> None:
    """Two tones on bin centres: the centroid error is their distance."""
    t = np.arange(RATE)
    low, high = (np.sin(2 * np.pi * k / 2048 * t) for k in (100, 300))
    edge = OWN[NAMES.index("sce")](high, low, RATE)
    assert edge == pytest.approx(200 * RATE / 2048, rel=0.05)  # the mirrored edges leak a little


def test_phase_of_noise_is_random() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, RATE))
    assert OWN[NAMES.index("phase")](a, b, RATE) == pytest.approx(0.5, abs=0.02)
    assert OWN[NAMES.index("phase")](-a, a, RATE) == pytest.approx(1.0, abs=1e-6)


def test_msd_equals_auraloss(speech: Array) -> None:
    freq = pytest.importorskip("auraloss.freq")
    pytest.importorskip("librosa")
    peer = freq.STFTLoss(
        65536, 65536, 65536, w_sc=0.0, w_log_mag=1.0, w_lin_mag=1.0,
        sample_rate=RATE, scale="mel", n_bins=128,
    )  # fmt: skip
    x, y = (torch.from_numpy(a).float() for a in (_noise(speech, 0.3), speech))
    found = OWN[NAMES.index("msd")](x, y, RATE)
    assert found == pytest.approx(peer(x[None, None], y[None, None]).item(), rel=1e-5)


@pytest.mark.parametrize("metric", PAIRS, ids=[m.name for m in PAIRS])
def test_silence_is_finite_or_explained(metric: Metric, speech: Array) -> None:
    need(metric)
    silence = np.zeros_like(speech)
    for x, y in ((silence, silence), (speech, silence), (silence, speech)):
        value = metric(x, y, RATE)
        if metric.name in ("pesq", "stoi"):
            score = {"pesq": perceptual.pesq_wideband, "stoi": perceptual.stoi}[metric.name]
            assert math.isfinite(value) or (math.isnan(value) and score(x, y, RATE).reason)
        else:
            assert math.isfinite(value)
    if metric.name not in ("pesq", "stoi", "onsets"):
        assert metric(silence, silence, RATE) == 0


@pytest.mark.parametrize("metric", PAIRS, ids=[m.name for m in PAIRS])
def test_kinds_of_input_agree(metric: Metric, speech: Array) -> None:
    need(metric)
    x, y = _noise(speech, 0.2)[: 2 * RATE], speech[: 2 * RATE]
    expected = metric(x, y, RATE)
    tensors = metric(torch.from_numpy(x), torch.from_numpy(y), RATE)
    stereo = metric(np.stack([x, x]), np.stack([y, y]), RATE)
    assert tensors == expected
    assert stereo == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("metric", [m for m in PAIRS if not m.extra], ids=lambda m: m.name)
def test_very_short_audio(metric: Metric) -> None:
    x = np.random.default_rng(0).standard_normal(300)
    assert math.isfinite(metric(0.5 * x, x, RATE))


def test_pesq_without_speech_has_a_reason() -> None:
    pytest.importorskip("pesq")
    x = np.random.default_rng(0).standard_normal(1000)
    for audio in (x, np.zeros(RATE), np.full(RATE, np.nan)):
        score = perceptual.pesq_wideband(audio, audio, RATE)
        assert math.isnan(score.value) and score.reason and not score.valid


def test_refusals(speech: Array) -> None:
    for metric in OWN:
        if metric.extra and importlib.util.find_spec(PACKAGES[metric.name]) is None:
            continue
        with pytest.raises(ShapeError, match=metric.name):
            metric(speech[None, None], speech[None, None], RATE)
        if metric.needs == "pair":
            with pytest.raises(ShapeError, match="T ="):
                metric(speech, speech[1:], RATE)
    with pytest.raises(ShapeError, match="empty"):
        OWN[NAMES.index("mse")](speech[:0], speech[:0], RATE)


@pytest.mark.parametrize("name", sorted(LEVEL_FREE))
def test_a_gain_changes_no_metric_that_is_said_to_ignore_it(name: str, speech: Array) -> None:
    metric = METRICS[name]
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    worse = _noise(speech, 0.1)
    value, louder = (metric(g * worse, speech, RATE) for g in (1.0, 1.5))
    assert louder == pytest.approx(value, rel=0.03, abs=2e-3)


def test_table_i_has_every_metric_of_the_paper_once() -> None:
    assert len({m.name for m in TABLE_I}) == 13 and set(TABLE_I) <= set(ENHANCE_METRICS)

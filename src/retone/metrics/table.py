"""Metrics of how close an output is to its target, from both papers.

A ``Metric`` is called with an estimate, a target and a sample rate. Waveforms are [T] or [C, T],
numpy or torch. Spectral metrics are means over channels, level metrics take all channels
together, PESQ and STOI fold to mono.

Silence gives finite numbers: levels end at -120 dB, loudness at -70 LUFS (the gate of BS.1770),
magnitudes at 1e-4; the crest factor of silence is 0 dB. Only PESQ, STOI and DNSMOS can be NaN,
for recordings they are not defined on (``retone.metrics.perceptual`` gives the reason).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from retone.dsp.spectral import (
    bandwidth_hz,
    centroid_hz,
    flatness,
    mel_filterbank,
    stft,
    stft_magnitude,
)
from retone.errors import ShapeError, expect
from retone.losses import MultiResolutionSTFT, auraloss_default
from retone.metrics import perceptual
from retone.registry import Registry, called

LEVEL_FLOOR_DB = -120.0
LOUDNESS_FLOOR_LUFS = -70.0
MSD_WINDOW = 65536
_SHAPE_STFT = (2048, 512)  # of centroid, bandwidth, flatness, phase
_FRAME_STFT = (1024, 256)  # of the log-mel metrics
_PAPER_STFT = MultiResolutionSTFT()
_AURALOSS = auraloss_default()

Direction = Literal["lower", "higher", "zero"]
Needs = Literal["pair", "alone"]


@dataclass(frozen=True)
class Metric:
    """One number about an output.

    Args:
        name: short name, a column of a report.
        unit: of the number; empty if it has none.
        direction: which values are better: "lower", "higher", or "zero" (a signed error).
        needs: "pair" (estimate and target) or "alone" (estimate; the target is ignored).
        extra: the pip extra it needs, or empty.
        help: one line.
        function: (estimate, target, sample_rate) -> number; use the metric's own call.
    """

    name: str
    unit: str
    direction: Direction
    needs: Needs
    extra: str
    help: str
    function: Callable[[Tensor, Tensor, float], float]

    def __call__(self, estimate: Any, target: Any, sample_rate: float) -> float:
        """Measure.

        Args:
            estimate: [T] or [C, T], numpy or torch, at least one sample.
            target: as the estimate; ignored (may be None) where ``needs`` is "alone".
            sample_rate: in Hz.

        Returns:
            The number in ``unit``.

        Raises:
            ShapeError: if the shapes differ or the audio is empty.
            MissingExtraError: if ``extra`` is not installed.
        """
        x = _channels(estimate, self.name)
        y = x if self.needs == "alone" else _channels(target, f"{self.name}: target")
        sizes = expect(x, "C T", self.name)
        expect(y, "C T", f"{self.name}: target", **sizes)
        if 0 in sizes.values():
            raise ShapeError(f"{self.name}: got empty audio {list(x.shape)}.")
        with torch.no_grad():
            return float(self.function(x, y, sample_rate))

    def error(self, value: float) -> float:
        """A ranking error for a value of this metric: lower is better."""
        return {"lower": value, "higher": -value, "zero": abs(value)}[self.direction]


def _channels(audio: Any, where: str) -> Tensor:
    x = audio.detach().cpu() if isinstance(audio, Tensor) else torch.as_tensor(audio)
    if x.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"{where}: expected floating-point samples, got {x.dtype}.")
    return x[None] if x.ndim == 1 else x


def _difference(measure: Callable[[Tensor, float], float]) -> Callable[..., float]:
    return lambda x, y, rate: abs(measure(x, rate) - measure(y, rate))


def _signed(measure: Callable[[Tensor, float], float]) -> Callable[..., float]:
    return lambda x, y, rate: measure(x, rate) - measure(y, rate)


def _scaled(factor: float, function: Callable[..., float]) -> Callable[..., float]:
    return lambda x, y, rate: factor * function(x, y, rate)


# Levels


def _rms(x: Tensor, rate: float) -> float:
    return float(x.double().square().mean().sqrt())


def _db(amplitude: float) -> float:
    return max(LEVEL_FLOOR_DB, 20.0 * math.log10(amplitude)) if amplitude > 0 else LEVEL_FLOOR_DB


def _rms_db(x: Tensor, rate: float) -> float:
    return _db(_rms(x, rate))


def _loudness(x: Tensor, rate: float) -> float:
    from retone.audio.meters.loudness import loudness_lufs

    value = float(loudness_lufs(x.double().numpy(), round(rate)))
    return value if value > LOUDNESS_FLOOR_LUFS else LOUDNESS_FLOOR_LUFS


def _crest(x: Tensor, rate: float) -> float:
    rms = _rms(x, rate)
    return float(x.abs().max()) / rms if rms > 10 ** (LEVEL_FLOOR_DB / 20) else 1.0


def _crest_db(x: Tensor, rate: float) -> float:
    return 20.0 * math.log10(_crest(x, rate))


def _mse(x: Tensor, y: Tensor, rate: float) -> float:
    return float((x.double() - y.double()).square().mean())


# Spectra


def _stft_paper(x: Tensor, y: Tensor, rate: float) -> float:
    return float(_PAPER_STFT(x[None].float(), y[None].float(), rate))


def _stft_auraloss(x: Tensor, y: Tensor, rate: float) -> float:
    return float(_AURALOSS(x[None].float(), y[None].float(), rate))


def _msd(x: Tensor, y: Tensor, rate: float) -> float:
    """DeepAFx-ST's current mel-spectral distance: one very long window, log plus linear."""
    bank = mel_filterbank(128, MSD_WINDOW, rate).to(x.dtype)
    a, b = (bank @ stft_magnitude(s, MSD_WINDOW, MSD_WINDOW) for s in (x, y))
    return float((a.log() - b.log()).abs().mean() + (a - b).abs().mean())


def _log_mel_db(x: Tensor, rate: float) -> Tensor:
    bank = mel_filterbank(80, _FRAME_STFT[0], rate).to(x.dtype)
    return 10.0 * (bank @ stft(x, *_FRAME_STFT).abs().square()).clamp_min(1e-10).log10()


def _log_mel_distance(x: Tensor, y: Tensor, rate: float) -> float:
    return float((_log_mel_db(x, rate) - _log_mel_db(y, rate)).abs().mean())


def _mean_over_sound(value: Tensor, magnitude: Tensor) -> float:
    """Mean over the frames that are not digital silence; 0 if there is none."""
    active = magnitude.sum(-2) > 1e-9
    return float(value[active].mean()) if bool(active.any()) else 0.0


def _centroid(x: Tensor, rate: float) -> float:
    magnitude = stft(x, *_SHAPE_STFT).abs()
    return _mean_over_sound(centroid_hz(magnitude, rate), magnitude)


def _bandwidth(x: Tensor, rate: float) -> float:
    magnitude = stft(x, *_SHAPE_STFT).abs()
    return _mean_over_sound(bandwidth_hz(magnitude, rate), magnitude)


def _bandwidth_share(x: Tensor, rate: float) -> float:
    return _bandwidth(x, rate) / (rate / 2)


def _flatness(x: Tensor, rate: float) -> float:
    return float(flatness(stft(x, *_SHAPE_STFT).abs()).mean())


def _phase_distortion(x: Tensor, y: Tensor, rate: float) -> float:
    a, b = stft(x, *_SHAPE_STFT), stft(y, *_SHAPE_STFT)
    weight = b.abs()
    total = float(weight.sum())
    angle = (a * b.conj()).angle().abs()
    return float((angle * weight).sum()) / (math.pi * total) if total > 0 else 0.0


# Transients


def _onsets(x: Tensor, rate: float) -> Tensor:
    """Onset strength: mean rise of the log-mel bands from frame to frame, 60 dB deep."""
    bands = _log_mel_db(x, rate)
    bands = bands.clamp_min(float(bands.max()) - 60.0)
    return bands.diff(dim=-1).clamp_min(0.0).mean(-2).flatten()


def _onset_correlation(x: Tensor, y: Tensor, rate: float) -> float:
    a, b = (o - o.mean() for o in (_onsets(x, rate), _onsets(y, rate)))
    norms = [float(o.norm()) if o.numel() else 0.0 for o in (a, b)]
    if min(norms) < 1e-6:  # no onsets in both, or in one of them
        return 1.0 if max(norms) < 1e-6 else 0.0
    return float(a @ b) / (norms[0] * norms[1])


def _flux_db(x: Tensor, rate: float) -> float:
    """Sum of the magnitudes' rises from frame to frame, in dB."""
    return _db(float(stft(x, *_SHAPE_STFT).abs().diff(dim=-1).clamp_min(0.0).sum()))


# Quality


def _pesq(x: Tensor, y: Tensor, rate: float) -> float:
    return perceptual.pesq_wideband(x, y, rate).value


def _stoi(x: Tensor, y: Tensor, rate: float) -> float:
    return perceptual.stoi(x, y, rate).value


def _dnsmos(x: Tensor, y: Tensor, rate: float) -> float:
    return perceptual.dnsmos(x, rate)["overall"].value


def _pair(
    name: str,
    unit: str,
    direction: Direction,
    help: str,
    function: Callable[..., float],
    extra: str = "",
) -> Metric:
    return Metric(name, unit, direction, "pair", extra, help, function)


_RMS_DB = _difference(_rms_db)
_CREST_DB = _difference(_crest_db)

_TABLE = (
    _pair("pesq", "MOS", "higher", "wide-band PESQ at 16 kHz", _pesq, "metrics"),
    _pair("stft", "", "lower", "DeepAFx-ST's multi-resolution STFT distance", _stft_paper),
    _pair("msd", "", "lower", "mel-spectral distance, one window of 65536", _msd),
    _pair("sce", "Hz", "lower", "spectral centroid error", _difference(_centroid)),
    _pair("rms", "dB", "lower", "RMS level error", _RMS_DB),
    _pair(
        "rms_paper",
        "20 ln",
        "lower",
        "RMS level error as DeepAFx-ST prints it: dB times 2.3026",
        _scaled(math.log(10.0), _RMS_DB),
    ),
    _pair("lufs", "LU", "lower", "integrated loudness error", _difference(_loudness)),
    _pair("crest", "dB", "lower", "crest factor error", _CREST_DB),
    _pair(
        "crest_paper",
        "20 ln",
        "lower",
        "crest factor error as DeepAFx-ST computes it: dB times 2.3026",
        _scaled(math.log(10.0), _CREST_DB),
    ),
    _pair("stoi", "", "higher", "short-time objective intelligibility", _stoi, "metrics"),
    _pair("mse", "", "lower", "mean squared error of the samples", _mse),
    _pair("log_mel", "dB", "lower", "mean error of 80 log-mel bands", _log_mel_distance),
    _pair("rms_linear", "", "lower", "error of the linear RMS", _difference(_rms)),
    _pair("lufs_signed", "LU", "zero", "output's loudness minus target's", _signed(_loudness)),
    _pair("stft_auraloss", "", "lower", "auraloss's default STFT distance", _stft_auraloss),
    _pair(
        "bandwidth",
        "of fs/2",
        "lower",
        "spectral bandwidth error over half the sample rate",
        _difference(_bandwidth_share),
    ),
    _pair("bandwidth_hz", "Hz", "lower", "spectral bandwidth error", _difference(_bandwidth)),
    _pair("flatness", "", "lower", "spectral flatness error", _difference(_flatness)),
    _pair(
        "phase", "of pi", "lower", "magnitude-weighted phase error; random is 0.5",
        _phase_distortion,
    ),
    _pair("onsets", "", "higher", "correlation of the onset strengths", _onset_correlation),
    _pair(
        "flux",
        "dB",
        "zero",
        "spectral flux of output over target; Table I of Diff-DEQ prints 10^(x/20)",
        _signed(_flux_db),
    ),
    _pair("crest_linear", "", "lower", "error of peak over RMS", _difference(_crest)),
    Metric(
        "dnsmos", "MOS", "higher", "alone", "metrics", "DNSMOS P.835 overall quality", _dnsmos
    ),
)  # fmt: skip
_BY_NAME = {metric.name: metric for metric in _TABLE}

METRICS: Registry[Metric] = Registry("retone.metrics", "metric", _BY_NAME, check=called(Metric))
"""Metrics by name; other packages add theirs by entry points in ``retone.metrics``."""


def _group(*names: str) -> tuple[Metric, ...]:
    return tuple(_BY_NAME[name] for name in names)


STYLE_METRICS = _group(
    "pesq", "stft", "msd", "sce", "rms", "rms_paper", "lufs", "crest", "crest_paper"
)
ENHANCE_METRICS = _group(
    "pesq", "stoi", "mse", "msd", "log_mel", "rms", "rms_linear", "lufs", "lufs_signed",
    "stft_auraloss", "sce", "bandwidth", "bandwidth_hz", "flatness", "phase", "onsets", "flux",
    "crest", "crest_linear",
)  # fmt: skip
TABLE_I = _group(
    "pesq", "stoi", "mse", "msd", "rms_linear", "lufs", "stft_auraloss", "sce", "bandwidth",
    "flatness", "phase", "onsets", "crest",
)  # fmt: skip
"""Diff-DEQ's Table I, row by row. Its "transient preservation" has values above 1 and no formula;
here it is the correlation of the onset strengths. Its signed loudness difference, where lower is
called better, is the absolute difference here (``lufs_signed`` keeps the sign)."""
LEVEL_FREE = frozenset(
    ("pesq", "stoi", "sce", "bandwidth", "bandwidth_hz", "flatness", "phase", "onsets", "crest",
     "crest_linear", "crest_paper")
)  # fmt: skip
"""Metrics that do not depend on the level of the estimate (PESQ: hardly)."""

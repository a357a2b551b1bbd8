"""Whether an export sounds like our own render: both are rendered and compared, in dB."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from retone.dsp import biquad
from retone.dsp.recursion import cascade
from retone.errors import SettingError
from retone.exports import target_named
from retone.exports.base import Exported, Target, ToolMissing, curves
from retone.exports.documented import convolved
from retone.exports.plan import Filter, Fixed, Plan, double, plan_of
from retone.process.settings_file import SettingsFile
from retone.process.stream import Renderer
from retone.units import db_to_gain

_DESIGNS = {
    "peak": biquad.peak,
    "low_shelf": biquad.low_shelf,
    "high_shelf": biquad.high_shelf,
}
_FRAME_S = 0.02
_ACTIVE_DB = -50.0
_IMPULSE = 0.05


@dataclass(frozen=True)
class Difference:
    """An export compared with our own render.

    Args:
        target: the export's name.
        eq_db: largest difference of the equaliser's response, 20 Hz to 20 kHz (or 0.45 of the
            rate), None without an equaliser.
        residual_db: RMS of the difference relative to our render, everything included.
        level_median_db, level_p95_db: median and 95th percentile of the difference between the
            levels of 20 ms frames within 50 dB of the loudest.
        notes: what the target cannot express.
        missing: why it could not be rendered.
    """

    target: str
    eq_db: float | None = None
    residual_db: float | None = None
    level_median_db: float | None = None
    level_p95_db: float | None = None
    notes: tuple[str, ...] = ()
    missing: str | None = None


def compare(name: str, settings: SettingsFile, audio: np.ndarray, sample_rate: int) -> Difference:
    """Render through a target and through retone, and measure the difference.

    Args:
        name: the target's.
        settings: what is exported.
        audio: [1, T] float32, one channel, which every target can run.
        sample_rate: of the audio, in Hz.

    Raises:
        SettingError: the audio has several channels.
    """
    if audio.ndim != 2 or audio.shape[0] != 1:
        raise SettingError(f"compare: expected audio [1, T], got {list(audio.shape)}.")
    target = target_named(name)
    plan = plan_of(settings, sample_rate=sample_rate)
    plan = Plan(plan.title, plan.stages, sample_rate, 1, settings)
    exported = target.write(plan)
    try:
        with tempfile.TemporaryDirectory(prefix="retone-export-") as folder:
            theirs = _run(target, exported, plan, audio, Path(folder))
            eq_db = _equalizer_difference(target, plan, Path(folder))
    except ToolMissing as error:
        return Difference(name, notes=exported.notes, missing=str(error))
    ours = own_render(settings, audio, sample_rate)
    count = min(theirs.shape[1], ours.shape[1])
    ours, theirs = ours[0, :count], theirs[0, :count]
    residual = _rms(theirs - ours) / max(_rms(ours), 1e-12)
    gap = _level_gap(ours, theirs, sample_rate)
    return Difference(
        name, eq_db, 20 * float(np.log10(max(residual, 1e-10))),
        float(np.median(gap)), float(np.quantile(gap, 0.95)), exported.notes,
    )  # fmt: skip


def own_render(settings: SettingsFile, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """retone's render of [C, T] with the gain after the effect, without the limiter.

    From silence, as the other programs start; `retone match` starts with a warm-up.
    """
    effect = settings.effect_at(sample_rate)
    y = Renderer(effect, settings.effective_setting(), sample_rate).whole(audio).astype(np.float64)
    gain_db = settings.level_plan.gain_db if settings.level_plan else 0.0
    return np.asarray(y * db_to_gain(gain_db))


def _run(
    target: Target, exported: Exported, plan: Plan, audio: np.ndarray, folder: Path
) -> np.ndarray:
    """What a target makes of [1, T], aligned to it."""
    for name, content in exported.files.items():
        (folder / name).write_bytes(content)
    late = sum(c.latency_samples for c in curves(plan)) if target.keeps_latency else 0
    padded = np.pad(audio, ((0, 0), (0, late)))
    return target.render(exported.text, padded, plan.sample_rate, folder)[:, late:]


def _equalizer_difference(target: Target, plan: Plan, folder: Path) -> float | None:
    """Largest difference in dB between the responses of the filters alone, from an impulse."""
    sample_rate = plan.sample_rate
    filters = plan.only(Filter, Fixed)
    if not filters.stages:
        return None
    impulse = np.zeros((1, sample_rate), np.float32)
    impulse[0, 0] = _IMPULSE
    theirs = _run(target, target.write(filters), filters, impulse, folder)
    ours = impulse.astype(np.float64)
    for f in filters.stages:
        if isinstance(f, Filter):
            values = (double(f.frequency_hz), double(f.gain_db), double(f.q))
            section = _DESIGNS[f.kind](*values, sample_rate)[:, None]
            ours = cascade(torch.from_numpy(ours), section)[0].numpy()
        elif isinstance(f, Fixed):
            late = f.latency_samples
            ours = convolved(np.pad(ours, ((0, 0), (0, late))), np.array(f.taps))[:, late:]
    frequency = np.fft.rfftfreq(sample_rate, 1 / sample_rate)
    audible = (frequency >= 20) & (frequency <= min(20000, 0.45 * sample_rate))
    level = [
        20 * np.log10(np.abs(np.fft.rfft(x[0], sample_rate))[audible] + 1e-12)
        for x in (ours, theirs)
    ]
    return float(np.abs(level[0] - level[1]).max())


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _level_gap(ours: np.ndarray, theirs: np.ndarray, sample_rate: int) -> np.ndarray:
    size = max(1, round(_FRAME_S * sample_rate))
    count = len(ours) // size

    def levels(x: np.ndarray) -> np.ndarray:
        power = (x[: count * size].reshape(count, size) ** 2).mean(axis=1)
        return np.asarray(10 * np.log10(power + 1e-14))

    own = levels(ours)
    active = own > own.max() + _ACTIVE_DB
    return np.abs(levels(theirs) - own)[active]

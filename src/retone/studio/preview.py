"""Previews: immediately a window around the playhead, then the full recording."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio.array_reader import ArrayReader
from retone.audio.meters.envelope import EnvelopeMeter
from retone.audio.meters.loudness import LevelMeter
from retone.audio.meters.spectrum import log_frequencies
from retone.process.level import gain_to, goal_loudness
from retone.process.render import Rendering
from retone.process.stream import Renderer, head_frames
from retone.report.collect import reductions
from retone.studio.intake import WAVE_POINTS, short, wave_of
from retone.studio.limits import Refused
from retone.studio.session import Recording, Session
from retone.studio.state import POINTS, State, spectrum_of

BLOCK_S = 2.0
PASSAGES = 24
PASSAGE_S = 5.0
PREROLL_S = 2.0
REDUCTION_POINTS = 800


def window(
    session: Session, recording: Recording, state: State, start_s: float, stop_s: float, end: float
) -> tuple[dict[str, Any], np.ndarray]:
    """Render a part, with a pre-roll so that filters and detectors have settled.

    Args:
        end: time (``time.monotonic``) by which it must be done.

    Returns:
        What the page needs to know, and the sound [C, T].

    Raises:
        Refused: it takes too long, or the page is gone.
    """
    rate = recording.sample_rate
    first = min(max(0, round(start_s * rate)), recording.frames)
    last = min(max(first, round(stop_s * rate)), recording.frames)
    begin = max(0, first - round(PREROLL_S * rate))
    late = state.effect.latency_samples(rate)
    audio = np.array(recording.samples()[:, begin : last + late])
    head = None if begin else audio[:, : head_frames(rate)]
    renderer = Renderer(state.effect, state.effective_setting(), rate, head=head)
    step = max(4096, round(0.5 * rate))
    parts = [audio[:, :0]]
    for _, part, _ in renderer.aligned(
        audio[:, at : at + step] for at in range(0, audio.shape[1], step)
    ):
        parts.append(part)
        if session.ended:
            raise Refused(410, "This page's session has ended.")
        if time.monotonic() > end:
            raise Refused(503, "A preview of these settings takes too long. Use fewer effects.")
    y = np.concatenate(parts, axis=1)[:, first - begin : last - begin]
    return {"start": first, "frames": y.shape[1], "channels": y.shape[0], "rate": rate}, y


def whole(
    session: Session, recording: Recording, state: State, turn: int, path: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """Render and measure the full recording; of a long one, measure passages of it.

    Args:
        turn: number of this request; a newer one of the same page ends it.
        path: a file of the session for the sound.

    Returns:
        What the page needs to know, and the sound [C, T], which lies in ``path``.

    Raises:
        Refused: a newer request came, or the page is gone.
    """
    rate, own_lufs = recording.sample_rate, recording.levels["integrated_lufs"]
    samples = passages(recording) if recording.long else recording.samples()
    reader = ArrayReader(samples, rate, recording.name)
    shape = (samples.shape[0], 0 if recording.long else samples.shape[1])
    out = np.zeros(shape, np.float32)
    if not recording.long:
        session.claim(path, 4 * shape[0] * shape[1])
        out = np.memmap(path, np.float32, "w+", shape=shape)
    rendering = Rendering(reader, state.decision, state.options, curve_points=REDUCTION_POINTS)
    wave = EnvelopeMeter(rate, points=WAVE_POINTS)
    at = 0
    for block in rendering.effect_blocks(round(BLOCK_S * rate)):
        if session.ended:
            raise Refused(410, "This page's session has ended.")
        if session.newest_render != turn:
            raise Refused(409, "A newer change is being rendered.")
        if not recording.long:
            out[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        wave.update(block.mean(axis=0, keepdims=True))
    measured = rendering.after.levels.result().to_dict()
    gain_db = gain_for(state, rendering.after.levels, own_lufs)
    if recording.long:
        measured, gain_db = _of_all(recording, samples, state, measured)
    spectrum = rendering.after.spectrum
    head = {
        "start": 0, "frames": at, "channels": len(out), "rate": rate,
        "gain_db": gain_db,
        "measured_s": samples.shape[1] / rate if recording.long else None,
        "levels": raised(measured, gain_db),
        "spectrum_db": spectrum_of(spectrum, rate, log_frequencies(rate, count=POINTS)),
        "wave": wave_of(wave),
        "reductions": [
            {"title": v.title, "css": v.css, "low": short(v.envelope.low[0], 2)}
            for v in reductions(state.effect, rendering.setting, rendering.curves)
        ],
    }  # fmt: skip
    return head, out


def passages(recording: Recording) -> np.ndarray:
    """Passages from all parts of a long recording in a row, [C, n]: none of its quietest."""
    rate, high = recording.sample_rate, np.array(recording.wave["high"], dtype=float)
    size, found = round(PASSAGE_S * rate), []
    for points in np.array_split(np.arange(len(high)), PASSAGES):
        middle = points[np.argsort(high[points])[3 * len(points) // 4]]  # loud, but not the loudest
        first = round((middle + 0.5) / len(high) * recording.frames) - size // 2
        found.append(recording.part(min(max(0, first), recording.frames - size), size))
    return np.concatenate(found, axis=1)


def _of_all(
    recording: Recording, samples: np.ndarray, state: State, measured: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Levels and gain of a long recording: as much louder than before as its passages became."""
    meter = LevelMeter(recording.sample_rate, samples.shape[0])
    meter.update(samples)
    before, own = meter.result().to_dict(), recording.levels
    levels = {n: v if None in (v, before[n], own[n]) else own[n] + v - before[n]
              for n, v in measured.items()}  # fmt: skip
    target, lufs = state.target_lufs, levels["integrated_lufs"]
    if target is None or lufs is None:
        return levels, 0.0
    return levels, round(goal_loudness(state.options, target, own["integrated_lufs"]) - lufs, 2)


def gain_for(state: State, rendered: LevelMeter, input_lufs: float | None) -> float:
    """Gain in dB after the effect that reaches the target loudness, as a rendered file gets it."""
    target = state.target_lufs
    if target is None:
        return 0.0
    return gain_to(goal_loudness(state.options, target, input_lufs), rendered) or 0.0


def raised(levels: Mapping[str, Any], gain_db: float) -> dict[str, Any]:
    """Level figures after a constant gain."""
    moved = ("lufs", "dbtp", "dbfs")
    return {n: v + gain_db if v is not None and n.endswith(moved) else v for n, v in levels.items()}

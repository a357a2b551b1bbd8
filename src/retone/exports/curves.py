"""Gain over time as CSV: what each compressor or band did to a recording, and the total."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from retone.audio import open_reader
from retone.exports.escape import csv_cell
from retone.process.settings_file import SettingsFile
from retone.process.stream import Renderer, block_frames

STEP_S = 0.01


def curves_csv(settings: SettingsFile, recording: Path) -> str:
    """CSV text with one row each 10 ms: the mean gain of every curve in dB in that stretch.

    Columns: ``time_s`` (start of the stretch), each curve's dotted name, and ``gain_db``, the
    constant gain after the effect. Makeup gains are not in the curves, as in the report.

    Args:
        settings: what to render with.
        recording: what the dynamics react to.

    Raises:
        AudioError: the recording cannot be read.
    """
    with open_reader(recording) as reader:
        rate = reader.info.sample_rate
        renderer = Renderer(settings.effect_at(rate), settings.effective_setting(), rate)
        step = max(1, round(STEP_S * rate))
        pending: dict[str, np.ndarray] = {}
        rows: dict[str, list[np.ndarray]] = {}
        for _, _, curves in renderer.aligned(reader.blocks(block_frames(reader.info.channels))):
            for name, curve in curves.items():
                all_of_it = np.concatenate([pending.get(name, np.zeros(0)), curve])
                whole = len(all_of_it) // step * step
                means = all_of_it[:whole].reshape(-1, step).mean(axis=1)
                rows.setdefault(name, []).append(means)
                pending[name] = all_of_it[whole:]
        for name, rest in pending.items():
            if len(rest):
                rows[name].append(rest.mean(keepdims=True))
        total = -(-reader.info.frames // step)
    gain_db = settings.level_plan.gain_db if settings.level_plan else 0.0
    names = sorted(rows)
    table = np.empty((total, len(names) + 2))
    table[:, 0] = np.arange(total) * step / rate
    for i, name in enumerate(names):
        table[:, i + 1] = np.concatenate(rows[name])
    table[:, -1] = gain_db
    out = io.StringIO()
    header = ",".join(["time_s", *map(csv_cell, names), "gain_db"])
    np.savetxt(out, table, fmt="%.4f", delimiter=",", header=header, comments="")
    return out.getvalue()

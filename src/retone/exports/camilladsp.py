"""CamillaDSP: filters, processors, mixers and a pipeline as YAML (devices are yours to add).

Filters are cookbook biquads. The Compressor smooths the level in dB before its curve, has no knee
and no expander, and detects the sum of its channels. Bands are built of mixers and first-order
low-passes, as retone's are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from retone.exports.base import (
    SINE_DB,
    Exported,
    Target,
    ToolMissing,
    common_notes,
    grouped,
    impulse_name,
    impulse_notes,
    impulse_wav,
    read_float,
)
from retone.exports.documented import (
    camilla_compressor,
    convolved,
    cookbook,
    first_order_low_pass,
    run_sections,
)
from retone.exports.escape import hash_comment, yaml_key
from retone.exports.plan import Bands, Dynamics, Filter, Fixed, Level, Plan

_KINDS = {"peak": "Peaking", "low_shelf": "Lowshelf", "high_shelf": "Highshelf"}
_SHAPES = {"Peaking": "peak", "Lowshelf": "low", "Highshelf": "high"}


def write(plan: Plan) -> Exported:
    notes = common_notes(plan)
    files: dict[str, bytes] = {}
    made = _Config(plan.channels, notes)
    for stage in plan.stages:
        if isinstance(stage, Filter):
            made.filter(stage)
        elif isinstance(stage, Level):
            made.gain(stage.name, stage.gain_db)
        elif isinstance(stage, Dynamics):
            made.dynamics(stage, [*range(plan.channels)])
        elif isinstance(stage, Bands):
            made.bands(stage)
        elif isinstance(stage, Fixed) and stage.points:
            name = impulse_name(plan, stage, ".wav")
            files[name] = impulse_wav(plan, stage)
            made.convolution(stage.name, name)
            notes += impulse_notes(plan, stage, late=True)
    lines = [hash_comment(f"{plan.title}, from retone; add your own 'devices' section.")]
    lines += [hash_comment(note) for note in grouped(notes)]
    return Exported("\n".join(lines) + "\n" + made.yaml(), tuple(notes), files)


class _Config:
    """The four sections, filled stage by stage."""

    def __init__(self, channels: int, notes: list[str]) -> None:
        self.channels, self.notes = channels, notes
        self.parts: dict[str, dict[str, Any]] = {"filters": {}, "mixers": {}, "processors": {}}
        self.pipeline: list[dict[str, Any]] = []

    def filter(self, f: Filter, channels: list[int] | None = None) -> None:
        values = {"type": _KINDS[f.kind], "freq": f.frequency_hz, "gain": f.gain_db, "q": f.q}
        self._add_filter(f.name, {"type": "Biquad", "parameters": values}, channels)

    def gain(self, name: str, gain_db: float, channels: list[int] | None = None) -> None:
        values = {"gain": gain_db, "inverted": False, "mute": False}
        self._add_filter(name, {"type": "Gain", "parameters": values}, channels)

    def convolution(self, name: str, file: str) -> None:
        values = {"type": "Wav", "filename": file, "channel": 0}
        self._add_filter(name, {"type": "Conv", "parameters": values}, None)

    def low_pass(self, name: str, frequency_hz: float, channels: list[int]) -> None:
        values = {"type": "LowpassFO", "freq": frequency_hz}
        self._add_filter(name, {"type": "Biquad", "parameters": values}, channels)

    def _add_filter(self, name: str, item: dict[str, Any], channels: list[int] | None) -> None:
        name = yaml_key(name)
        self.parts["filters"][name] = item
        channels = channels if channels is not None else [*range(self.channels)]
        step = {"type": "Filter", "channels": channels, "names": [name]}
        last = self.pipeline[-1] if self.pipeline else {}
        if last.get("type") == "Filter" and last["channels"] == channels:
            last["names"].append(name)
        else:
            self.pipeline.append(step)

    def dynamics(self, d: Dynamics, channels: list[int], total: int | None = None) -> None:
        if d.expands:
            self.notes.append(
                f"{d.name}: the downward expander cannot be expressed and is left out."
            )
        if d.compresses and d.ratio < 1:
            self.notes.append(f"{d.name}: upward expansion cannot be expressed and is left out.")
        if not (d.compresses and d.ratio > 1):
            if abs(d.makeup_db) > 0.005:
                self.gain(f"{d.name}.makeup", d.makeup_db, channels)
            return
        if d.knee_db > 0:
            self.notes.append(f"{d.name}: the compressor has no knee ({d.knee_db:g} dB).")
        if len(channels) > 1:
            self.notes.append(
                f"{d.name}: the compressor detects the sum of its channels, retone the loudest "
                "channel; the threshold is raised to compensate for equal channels."
            )
        shift = (SINE_DB if d.rms_ms else 0.0) + 20 * np.log10(len(channels))
        self.parts["processors"][yaml_key(d.name)] = {
            "type": "Compressor",
            "parameters": {
                "channels": total or self.channels,
                "attack": d.attack_tau_s,
                "release": d.release_tau_s,
                "threshold": d.threshold_db + float(shift),
                "factor": d.ratio,
                "makeup_gain": d.makeup_db,
                "monitor_channels": channels,
                "process_channels": channels,
            },
        }
        self.pipeline.append({"type": "Processor", "name": yaml_key(d.name)})

    def bands(self, b: Bands) -> None:
        """Copies to n + 1 bands, a low-pass on each but the last, differences, dynamics, sum."""
        if b.split != "subtracted":
            self.notes.append(
                f"{b.name}: bands are split by first-order low-passes instead of Linkwitz-Riley "
                "crossovers and overlap more."
            )
        c, n = self.channels, len(b.dynamics)
        total = c * n
        copies = {k * c + i: [(i, 1)] for k in range(n) for i in range(c)}
        self._mixer(f"{b.name}.copies", c, total, copies)
        for k, f in enumerate(b.crossovers_hz):
            self.low_pass(f"{b.name}.low_{k + 1}", f, [k * c + i for i in range(c)])
        differences = {
            k * c + i: [(k * c + i, 1)] + ([((k - 1) * c + i, -1)] if k else [])
            for k in range(n)
            for i in range(c)
        }
        self._mixer(f"{b.name}.bands", total, total, differences)
        for k, d in enumerate(b.dynamics):
            own = [k * c + i for i in range(c)]
            if (own_filter := b.filters[k]) is not None:
                self.filter(own_filter, own)
            self.dynamics(d, own, total)
        self._mixer(f"{b.name}.sum", total, c, {
            i: [(k * c + i, 1) for k in range(n)] for i in range(c)
        })  # fmt: skip

    def _mixer(
        self, name: str, inside: int, out: int, to: dict[int, list[tuple[int, int]]]
    ) -> None:
        self.parts["mixers"][yaml_key(name)] = {
            "channels": {"in": inside, "out": out},
            "mapping": [
                {
                    "dest": dest,
                    "sources": [
                        {"channel": ch, "gain": 0, "inverted": sign < 0} for ch, sign in sources
                    ],
                }
                for dest, sources in to.items()
            ],
        }
        self.pipeline.append({"type": "Mixer", "name": yaml_key(name)})

    def yaml(self) -> str:
        """Block style for names, flow style (JSON, which YAML contains) for their values."""
        lines = []
        for section, items in self.parts.items():
            if items:
                lines.append(f"{section}:")
                for name, item in items.items():
                    lines.append(f"  {name}: {json.dumps(_rounded(item))}")
        lines.append("pipeline:")
        lines += [f"  - {json.dumps(step)}" for step in self.pipeline]
        return "\n".join(lines) + "\n"


def _rounded(item: Any) -> Any:
    if isinstance(item, dict):
        return {k: _rounded(v) for k, v in item.items()}
    if isinstance(item, list):
        return [_rounded(v) for v in item]
    return float(f"{item:.9g}") if isinstance(item, float) else item


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """The YAML read back and run as CamillaDSP's documentation says."""
    config = _read(text)
    x = audio.astype(np.float64)
    for step in config["pipeline"]:
        if step["type"] == "Filter":
            items = [config["filters"][name] for name in step["names"]]
            for ch in step["channels"]:
                for item in items:
                    x[ch] = _run_filter(item, x[ch : ch + 1], sample_rate, folder)[0]
        elif step["type"] == "Mixer":
            x = _mix(config["mixers"][step["name"]], x)
        else:
            p = config["processors"][step["name"]]["parameters"]
            if p["channels"] != x.shape[0]:
                raise ToolMissing(f"{step['name']}: {p['channels']} channels, {x.shape[0]} there.")
            values = {k: p[k] for k in ("threshold", "factor", "attack", "release", "makeup_gain")}
            x = camilla_compressor(
                x, sample_rate, monitor=p["monitor_channels"], process=p["process_channels"],
                **values,
            )  # fmt: skip
    return x


def _run_filter(item: dict[str, Any], audio: np.ndarray, rate: int, folder: Path) -> np.ndarray:
    p = item["parameters"]
    if item["type"] == "Conv":
        return convolved(audio, read_float(folder / p["filename"])[p["channel"]])
    if item["type"] == "Gain":
        return np.asarray(audio * 10 ** (p["gain"] / 20))
    if p["type"] == "LowpassFO":
        return run_sections([first_order_low_pass(p["freq"], rate)], audio)
    row = cookbook(_SHAPES[p["type"]], p["freq"], p["gain"], p["q"], rate)
    return run_sections([row], audio)


def _mix(mixer: dict[str, Any], x: np.ndarray) -> np.ndarray:
    out = np.zeros((mixer["channels"]["out"], x.shape[1]))
    for row in mixer["mapping"]:
        for s in row["sources"]:
            out[row["dest"]] += (
                (-1 if s["inverted"] else 1) * 10 ** (s["gain"] / 20) * x[s["channel"]]
            )
    return out


def _read(text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise ToolMissing("pyyaml is not installed, so the YAML cannot be read back.") from None
    found: dict[str, Any] = yaml.safe_load(text)
    return found


TARGET = Target(
    name="camilladsp",
    title="CamillaDSP configuration",
    suffix=".camilladsp.yml",
    usage="camilladsp {file}, with a devices section of your own",
    write=write,
    render=render,
    keeps_latency=True,
    verified_by="the YAML read back, its documented formulas in scipy",
)

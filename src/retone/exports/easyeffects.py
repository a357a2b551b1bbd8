"""EasyEffects 7: an output preset (JSON) of LSP's equaliser and compressors.

Equaliser bands of mode "APO (DR)" are cookbook biquads. LSP reaches 70.7 % of a step in the
stated time (1.228 time constants). Bands become LSP's multiband compressor in its "Modern" mode,
whose bands are shelving filters too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from retone.exports.base import (
    Exported,
    Target,
    ToolMissing,
    call,
    common_notes,
    impulse_name,
    impulse_notes,
    impulse_wav,
    number,
    read_float,
    tool,
    write_float,
)
from retone.exports.documented import convolved
from retone.exports.plan import Bands, Dynamics, Filter, Fixed, Level, Plan

LSP_TIME = -math.log(1 - math.sqrt(0.5))
KNEE_MOST_DB = 23.99
THRESHOLD_LEAST_DB = -60.0
_TYPES = {"peak": "Bell", "low_shelf": "Lo-shelf", "high_shelf": "Hi-shelf"}
_CODES = {"Bell": 1, "Hi-shelf": 3, "Lo-shelf": 5}


def write(plan: Plan) -> Exported:
    notes = common_notes(plan)
    plugins: dict[str, dict[str, Any]] = {}
    filters: list[Filter] = []
    files: dict[str, bytes] = {}

    def flush() -> None:
        if filters:
            name = f"equalizer#{sum(n.startswith('equalizer') for n in plugins)}"
            plugins[name] = _equalizer(filters)
            filters.clear()

    for stage in plan.stages:
        if isinstance(stage, Filter):
            filters.append(stage)
            continue
        flush()
        if isinstance(stage, Dynamics):
            name = f"compressor#{sum(n.startswith('compressor') for n in plugins)}"
            plugins[name] = _compressor(stage, notes)
        elif isinstance(stage, Bands):
            plugins["multiband_compressor#0"] = _multiband(stage, notes)
        elif isinstance(stage, Fixed) and stage.points:
            name = impulse_name(plan, stage, ".irs")
            files[name] = impulse_wav(plan, stage, channels=2)  # it takes stereo responses only
            plugins[f"convolver#{sum(n.startswith('convolver') for n in plugins)}"] = {
                "bypass": False, "input-gain": 0.0, "output-gain": 0.0, "autogain": False,
                "ir-width": 100, "kernel-name": name.removesuffix(".irs"),
            }  # fmt: skip
            notes.append(f"{stage.name}: copy {name} to ~/.config/easyeffects/irs.")
            notes += impulse_notes(plan, stage, late=True)
        elif isinstance(stage, Level):
            _add_gain(plugins, stage.gain_db, notes)
    flush()
    preset = {"output": {"blocklist": [], **plugins, "plugins_order": list(plugins)}}
    return Exported(json.dumps(preset, indent=2) + "\n", tuple(notes), files)


def _equalizer(filters: list[Filter]) -> dict[str, Any]:
    bands = {
        f"band{i}": {
            "type": _TYPES[f.kind], "mode": "APO (DR)", "slope": "x1", "solo": False,
            "mute": False, "frequency": round(f.frequency_hz, 3), "gain": round(f.gain_db, 4),
            "q": round(f.q, 5),
        }
        for i, f in enumerate(filters)
    }  # fmt: skip
    return {
        "bypass": False, "input-gain": 0.0, "output-gain": 0.0, "mode": "IIR",
        "num-bands": len(filters), "split-channels": False, "left": bands, "right": bands,
    }  # fmt: skip


def _add_gain(plugins: dict[str, dict[str, Any]], gain_db: float, notes: list[str]) -> None:
    """A constant gain goes to the last plug-in's output, which takes -36..36 dB."""
    if not plugins:
        plugins["equalizer#0"] = _equalizer([Filter("none", "peak", 1000.0, 0.0, 1.0)])
    last = plugins[list(plugins)[-1]]
    total = last["output-gain"] + gain_db
    last["output-gain"] = round(min(max(total, -36.0), 36.0), 3)
    if last["output-gain"] != round(total, 3):
        notes.append(
            f"The gain of {number(total)} dB is limited to 36 dB, the maximum of an output."
        )


def _curve(d: Dynamics, notes: list[str], *, words: tuple[str, str, str]) -> dict[str, Any]:
    """Threshold, ratio, knee, times and makeup under the names of one of the two plug-ins."""
    threshold, attack, release = words
    ratio = d.ratio
    if d.compresses and d.ratio < 1:
        notes.append(f"{d.name}: upward expansion cannot be expressed and is left out.")
        ratio = 1.0
    if d.expands:
        notes.append(f"{d.name}: the downward expander cannot be expressed and is left out.")
    level = d.threshold_db
    if level < THRESHOLD_LEAST_DB and d.compresses:
        notes.append(
            f"{d.name}: the threshold {number(level)} dB is limited to -60 dB, the lowest."
        )
    knee = min(d.knee_db, KNEE_MOST_DB)
    if d.acts:
        notes.append(
            f"{d.name}: LSP smooths the level before the curve, retone after it; times are "
            "converted, the gain reduction differs slightly."
        )
    # LSP's knee reaches its width to each side of the threshold.
    return {
        threshold: round(min(max(level, THRESHOLD_LEAST_DB), 0.0), 3),
        "ratio": round(ratio, 4),
        "knee": round(-knee / 2, 3),
        attack: round(min(1000 * LSP_TIME * d.attack_tau_s, 2000), 3),
        release: round(min(1000 * LSP_TIME * d.release_tau_s, 5000), 3),
        "makeup": round(min(max(d.makeup_db, -60.0), 60.0), 3),
    }


def _compressor(d: Dynamics, notes: list[str]) -> dict[str, Any]:
    sidechain = {
        "type": "Feed-forward", "mode": "RMS" if d.rms_ms else "Peak", "source": "Middle",
        "preamp": 0.0, "reactivity": round(d.rms_ms, 3), "lookahead": 0.0,
    }  # fmt: skip
    curve = _curve(d, notes, words=("threshold", "attack", "release"))
    return {
        "bypass": False, "input-gain": 0.0, "output-gain": 0.0, "mode": "Downward", **curve,
        "dry": -100.0, "wet": 0.0, "sidechain": sidechain,
    }  # fmt: skip


def _multiband(b: Bands, notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bypass": False, "input-gain": 0.0, "output-gain": 0.0, "compressor-mode": "Modern",
        "envelope-boost": "None", "dry": -100.0, "wet": 0.0,
    }  # fmt: skip
    notes.append(
        f"{b.name}: LSP's crossovers are steeper than retone's; tone and dynamics are close, "
        "not equal."
    )
    for i in range(8):
        band: dict[str, Any] = {"compressor-enable": i < len(b.dynamics)}
        if i < len(b.dynamics):
            d = b.dynamics[i]
            words = ("attack-threshold", "attack-time", "release-time")
            band |= _curve(d, notes, words=words)
            band |= {
                "sidechain-mode": "RMS" if d.rms_ms else "Peak",
                "sidechain-reactivity": round(d.rms_ms, 3),
                "compression-mode": "Downward",
            }
            f = b.filters[i]
            if f is not None:
                band["makeup"] = round(band["makeup"] + f.gain_db, 3)
                notes.append(f"{b.title(i)}: its filter is written as a gain for the whole band.")
        if i:
            band["enable-band"] = i < len(b.dynamics)
        if 0 < i < len(b.dynamics):
            band["split-frequency"] = round(b.crossovers_hz[i - 1], 3)
        found[f"band{i}"] = band
    return found


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """The preset read back; its LSP plug-ins run by ffmpeg, one channel."""
    program = tool("ffmpeg")
    if audio.shape[0] != 1:
        raise ToolMissing("EasyEffects presets are verified on one channel.")
    preset = json.loads(text)["output"]
    filters: list[str] = []
    for name in preset["plugins_order"]:
        p = preset[name]
        if name.startswith("convolver"):
            audio = _through(program, filters, audio, sample_rate, folder)
            audio = convolved(audio, read_float(folder / f"{p['kernel-name']}.irs")[0])
            filters = [_volume(p["output-gain"])]
            continue
        if name.startswith("equalizer"):
            filters.append(_lv2("para_equalizer_x16_mono", _equalizer_ports(p)))
        elif name.startswith("compressor"):
            filters.append(_lv2("compressor_mono", _compressor_ports(p)))
        else:
            filters.append(_lv2("mb_compressor_mono", _multiband_ports(p)))
        filters.append(_volume(p["output-gain"]))
    return _through(program, filters, audio, sample_rate, folder)


def _volume(gain_db: float) -> str:
    return f"volume={number(gain_db)}dB:precision=double"


def _through(
    program: str, filters: list[str], audio: np.ndarray, sample_rate: int, folder: Path
) -> np.ndarray:
    if not filters:
        return audio
    write_float(folder / "in.wav", audio, sample_rate)
    call(
        [program, "-v", "error", "-y", "-i", str(folder / "in.wav"), "-af", ",".join(filters),
         "-c:a", "pcm_f32le", str(folder / "out.wav")]
    )  # fmt: skip
    return read_float(folder / "out.wav")


def _lv2(plugin: str, ports: dict[str, float]) -> str:
    controls = "|".join(f"{k}={v:.8g}" for k, v in ports.items())
    return f"lv2=p='http\\://lsp-plug.in/plugins/lv2/{plugin}':c={controls}"


def _db(value: float) -> float:
    return float(10 ** (value / 20))


def _equalizer_ports(p: dict[str, Any]) -> dict[str, float]:
    ports: dict[str, float] = {}
    for i in range(p["num-bands"]):
        b = p["left"][f"band{i}"]
        ports |= {
            f"ft_{i}": _CODES[b["type"]], f"fm_{i}": 6, f"s_{i}": 0, f"f_{i}": b["frequency"],
            f"g_{i}": _db(b["gain"]), f"q_{i}": b["q"],
        }  # fmt: skip
    return ports


def _compressor_ports(p: dict[str, Any]) -> dict[str, float]:
    return {
        "scm": 1 if p["sidechain"]["mode"] == "RMS" else 0, "scr": p["sidechain"]["reactivity"],
        "al": _db(p["threshold"]), "cr": p["ratio"], "kn": _db(p["knee"]), "at": p["attack"],
        "rt": p["release"], "mk": _db(p["makeup"]),
    }  # fmt: skip


def _multiband_ports(p: dict[str, Any]) -> dict[str, float]:
    ports: dict[str, float] = {"mode": 1, "envb": 0}
    for i in range(8):
        b = p[f"band{i}"]
        if i:
            ports[f"cbe_{i}"] = int(b["enable-band"])
        if not b["compressor-enable"]:
            continue
        if i:
            ports[f"sf_{i}"] = b["split-frequency"]
        ports |= {
            f"scm_{i}": 1 if b["sidechain-mode"] == "RMS" else 0,
            f"scr_{i}": b["sidechain-reactivity"], f"ce_{i}": 1,
            f"al_{i}": _db(b["attack-threshold"]), f"cr_{i}": b["ratio"],
            f"kn_{i}": _db(b["knee"]), f"at_{i}": b["attack-time"], f"rt_{i}": b["release-time"],
            f"mk_{i}": _db(b["makeup"]),
        }  # fmt: skip
    return ports


TARGET = Target(
    name="easyeffects",
    title="EasyEffects preset",
    suffix=".easyeffects.json",
    usage="copy {file} to ~/.config/easyeffects/output",
    write=write,
    render=render,
    keeps_latency=True,
    verified_by="the preset read back, its LSP plug-ins run by ffmpeg, responses by scipy",
)

"""LV2: settings as a preset bundle for retone's own plug-ins.

A bundle is a folder whose name ends in ``.lv2``; hosts look for it in ``~/.lv2``. A preset is
written for the plug-in with two channels and for the one with one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from retone.exports.base import Exported, Target, call, read_float, tool, write_float
from retone.exports.lv2_bundle import PREFIXES, decimal
from retone.exports.native import native_plan, symbol, uri
from retone.exports.plan import Plan

PRESET = "preset.ttl"
"""The text's file in a preset's bundle."""


def write(plan: Plan) -> Exported:
    found, notes, files = native_plan(plan)
    label = json.dumps(plan.title)
    rows = [
        f"        [ lv2:symbol {json.dumps(symbol(p))} ; pset:value {decimal(v)} ]"
        for p, v in zip(found.chain.table, found.values, strict=True)
    ]
    ports = " ,\n".join(rows)
    presets, heads = [], []
    for channels, name in ((2, "stereo"), (1, "mono")):
        head = (
            f"<{PRESET}#{name}>\n    a pset:Preset ;\n"
            f"    lv2:appliesTo <{uri(found.chain, channels)}> ;\n"
        )
        heads.append(f"{head}    rdfs:seeAlso <{PRESET}> .\n")
        presets.append(f"{head}    rdfs:label {label} ;\n    lv2:port\n{ports} .\n")
    manifest = (PREFIXES + "\n".join(heads)).encode()
    return Exported(PREFIXES + "\n".join(presets), notes, {"manifest.ttl": manifest, **files})


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """The plug-in with the preset's values, run by lv2apply."""
    from retone.exports.install import write_lv2

    program = tool("lv2apply")
    name = "mono" if audio.shape[0] == 1 else "stereo"
    own = text[text.index(f"<{PRESET}#{name}>") :].split(" .\n", 1)[0]
    plugin = own.partition("lv2:appliesTo <")[2].partition(">")[0]
    values = re.findall(r'lv2:symbol "(\w+)" ; pset:value ([-\d.]+)', own)
    (folder / "lv2").mkdir(exist_ok=True)
    write_lv2(folder / "lv2")
    write_float(folder / "in.wav", audio, sample_rate)
    controls = [word for s, v in values for word in ("-c", s, v)]
    call(
        [program, "-i", str(folder / "in.wav"), "-o", str(folder / "out.wav"), *controls, plugin],
        variables={"LV2_PATH": f"{folder / 'lv2'}:/usr/lib/lv2"},
    )
    return read_float(folder / "out.wav")


TARGET = Target(
    name="lv2",
    title="LV2 preset",
    suffix=".lv2",
    usage="retone plugins install; then copy the folder {file} to ~/.lv2",
    write=write,
    render=render,
    verified_by="retone's LV2 plug-in in lv2apply",
    inside=PRESET,
)

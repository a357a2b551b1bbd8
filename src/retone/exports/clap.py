"""CLAP: settings as a preset file of retone's own plug-ins, which is also their state.

Hosts that browse presets find the files in ``preset_folder``; the plug-in opens them from anywhere.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from retone.exports.base import Exported, Target, ToolMissing
from retone.exports.native import native_plan
from retone.exports.plan import Plan

SUFFIX = ".retone-preset"


def write(plan: Plan) -> Exported:
    found, notes, files = native_plan(plan)
    rows = zip(found.chain.table.names, found.values, strict=True)
    lines = [f"{found.chain.name} 1", *(f"{n} = {v:.12g}" for n, v in rows)]
    return Exported("\n".join(lines) + "\n", notes, files)


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """The plug-in with the preset as its state, run by a small host."""
    from retone.core import plugin_library
    from retone.exports.clap_host import ClapPlugin

    try:
        library = plugin_library()
    except (FileNotFoundError, RuntimeError) as error:
        raise ToolMissing(str(error)) from None
    with ClapPlugin(library, text.split()[0], audio.shape[0]) as plugin:
        plugin.load_state(text.encode())
        plugin.activate(sample_rate)
        return plugin.process(audio.astype(np.float32)).astype(np.float64)


def preset_folder() -> Path:
    """Where hosts that browse presets look (``core/plugin/clap_files.c``)."""
    system = platform.system()
    if system == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "retone" / "plugin-presets"
    if system == "Darwin":
        return Path.home() / "Library" / "Audio" / "Presets" / "retone"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "retone" / "plugin-presets"


TARGET = Target(
    name="clap",
    title="CLAP preset",
    suffix=SUFFIX,
    usage="retone plugins install; then copy {file} to the folder of presets that it prints",
    write=write,
    render=render,
    verified_by="retone's CLAP plug-in in a host of its own",
)

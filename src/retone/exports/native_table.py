"""``core/plugin/parameters.c``: the plug-ins' parameters as C tables (scripts/make_plugins.py)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from retone import __version__
from retone.dsp.biquad import TOP_OF_BAND
from retone.dsp.param import Param
from retone.dsp.views import words
from retone.effects.bands import BANDS as DYNAMICS_BANDS
from retone.effects.bands import KNEE_DB
from retone.effects.equalizer import BANDS as EQUALIZER_BANDS
from retone.effects.native import GAIN, NATIVE_CHAINS, NativeChain
from retone.exports.native import clap_id, group, stable_id, title, uri

_DYNAMICS = (
    "threshold_db", "ratio", "attack_ms", "release_ms", "knee_db", "makeup_db", "rms_ms",
    "expander_threshold_db", "expander_ratio",
)  # fmt: skip
"""The order of ``rt_design_dynamics``."""


def c_source() -> str:
    """``core/plugin/parameters.c``."""
    parts = [
        "/* Made by scripts/make_plugins.py from retone's parameter tables: do not edit it. */\n"
        "/* clang-format off */\n"
        '#include "parameters.h"\n\n'
        f"const char RETONE_VERSION[] = {json.dumps(__version__)};\n"
        f"const double TOP_OF_BAND = {TOP_OF_BAND!r};\n"
        f"const double BANDS_KNEE_DB = {KNEE_DB!r};\n"
    ]
    plugins = []
    for number, chain in enumerate(NATIVE_CHAINS):
        rows = ",\n".join(f"    {_row(p)}" for p in chain.table)
        parts.append(f"\nstatic const Parameter PARAMETERS_{number}[] = {{\n{rows}}};\n")
        plugins.append(_plugin(chain, number))
    return (
        "".join(parts) + "\nconst Plugin PLUGINS[PLUGIN_COUNT] = {\n" + ",\n".join(plugins) + "};\n"
    )


def _row(p: Param) -> str:
    member, band = group(p)
    module = "/".join(words(w) for w in (member, band) if w)
    texts = ", ".join(json.dumps(t) for t in (p.name, title(p), module, p.unit))
    numbers = ", ".join(f"{float(v)!r}" for v in (p.low, p.high, p.default))
    return f"{{{texts}, {numbers}, {stable_id(p)}u, {int(p.scale == 'log')}}}"


def _plugin(chain: NativeChain, number: int) -> str:
    names = list(chain.table.names)

    def at(name: str) -> int:
        return names.index(name) if name in names else -1

    def rows(values: Sequence[Sequence[int]]) -> str:
        return "{" + ",\n      ".join(f"{{{', '.join(map(str, v))}}}" for v in values) + "}"

    equalizer = [
        [at(f"equalizer.{band}_{what}") for what in ("frequency_hz", "gain_db", "q")]
        for band in EQUALIZER_BANDS
    ]
    d = chain.dynamics.name
    whole = f"{d}.threshold_db" in names
    starts = [f"{d}."] if whole else [f"{d}.band_{i}_" for i in range(1, DYNAMICS_BANDS + 1)]
    renamed = {} if whole else {"makeup_db": "gain_db"}
    dynamics = [
        [at(f"{d}.rms_ms" if n == "rms_ms" else s + renamed.get(n, n)) for n in _DYNAMICS]
        for s in starts
    ]
    crossovers = [at(f"{d}.crossover_{i}_hz") for i in range(1, DYNAMICS_BANDS)]
    texts = (
        chain.name, chain.title, chain.about, clap_id(chain), uri(chain, 2), uri(chain, 1)
    )  # fmt: skip
    return (
        "    {" + ",\n     ".join(json.dumps(t) for t in texts) + ",\n"
        f"     PARAMETERS_{number}, {len(names)},\n"
        f"     {{{rows(equalizer)},\n      {len(starts)}, {{{', '.join(map(str, crossovers))}}},\n"
        f"      {rows(dynamics)},\n      {at(GAIN)}}}}}"
    )

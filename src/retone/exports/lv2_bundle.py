"""The texts of the LV2 bundle of retone's plug-ins."""

from __future__ import annotations

import json
import re

from retone import __version__
from retone.dsp.param import Param
from retone.dsp.views import words
from retone.effects.native import NATIVE_CHAINS, NativeChain
from retone.exports.native import HOME, group, symbol, title, uri

PREFIXES = """@prefix doap: <http://usefulinc.com/ns/doap#> .
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pg: <http://lv2plug.in/ns/ext/port-groups#> .
@prefix pprops: <http://lv2plug.in/ns/ext/port-props#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix units: <http://lv2plug.in/ns/extensions/units#> .

"""
_UNITS = {
    "dB": "units:db", "Hz": "units:hz", "ms": "units:ms",
    ":1": '[ a units:Unit ; rdfs:label "ratio" ; units:render "%f:1" ; units:symbol ":1" ]',
}  # fmt: skip


def decimal(value: float) -> str:
    """A number as Turtle's xsd:decimal: digits, a point, no exponent."""
    text = f"{value:.9f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def bundle(binary: str) -> dict[str, str]:
    """The texts of the plug-ins' bundle by file name; ``binary`` is the library's name in it."""
    files = {"manifest.ttl": PREFIXES}
    project = f'<{HOME}>\n    a doap:Project ;\n    doap:name "retone" .\n'
    for chain in NATIVE_CHAINS:
        parts = [*(_plugin(chain, channels) for channels in (2, 1)), project, _groups(chain)]
        files[f"{chain.name}.ttl"] = PREFIXES + "\n".join(parts)
        for channels in (2, 1):
            files["manifest.ttl"] += (
                f"<{uri(chain, channels)}>\n    a lv2:Plugin ;\n    lv2:binary <{binary}> ;\n"
                f"    rdfs:seeAlso <{chain.name}.ttl> .\n\n"
            )
    return files


def _plugin(chain: NativeChain, channels: int) -> str:
    kind = "lv2:CompressorPlugin , lv2:ParaEQPlugin"
    minor, micro = (int(v) for v in re.findall(r"\d+", __version__)[1:3])
    names = {1: (("", ""),), 2: (("_left", " left"), ("_right", " right"))}[channels]
    ports = [
        f"a lv2:AudioPort , lv2:{way}Port ;\n        lv2:index {{}} ;\n"
        f'        lv2:symbol "{way.lower()}{suffix}" ;\n        lv2:name "{way}{label}"'
        for way in ("Input", "Output")
        for suffix, label in names
    ]
    ports += [_control(chain, p) for p in chain.table]
    listed = " ,\n".join(f"    [\n        {p.format(i)}\n    ]" for i, p in enumerate(ports))
    name = chain.title + (" (mono)" if channels == 1 else "")
    return (
        f"<{uri(chain, channels)}>\n    a lv2:Plugin , {kind} ;\n"
        f"    doap:name {json.dumps(name)} ;\n"
        "    doap:license <http://www.apache.org/licenses/LICENSE-2.0> ;\n"
        f"    lv2:project <{HOME}> ;\n"
        f"    lv2:minorVersion {2 * minor} ;\n    lv2:microVersion {2 * micro} ;\n"
        f"    rdfs:comment {json.dumps(chain.about)} ;\n"
        f"    lv2:optionalFeature lv2:hardRTCapable ;\n    lv2:port\n{listed} .\n"
    )


def _control(chain: NativeChain, p: Param) -> str:
    lines = [
        "a lv2:ControlPort , lv2:InputPort ;",
        "lv2:index {} ;",
        f'lv2:symbol "{symbol(p)}" ;',
        f"lv2:name {json.dumps(long_title(p))} ;",
        f"lv2:default {decimal(p.default)} ;",
        f"lv2:minimum {decimal(p.low)} ;",
        f"lv2:maximum {decimal(p.high)} ;",
        f"rdfs:comment {json.dumps(p.help)} ;",
    ]
    if p.unit:
        lines.append(f"units:unit {_UNITS[p.unit]} ;")
    if p.scale == "log":
        lines.append("lv2:portProperty pprops:logarithmic ;")
    if p.neutral is not None:
        lines.append(
            f'lv2:scalePoint [ rdfs:label "no effect" ; rdf:value {decimal(p.neutral)} ] ;'
        )
    lines.append(f"pg:group <{HOME}/plugins/{chain.name}#{_group_symbol(p)}>")
    return "\n        ".join(lines)


def long_title(p: Param) -> str:
    """A parameter's name that needs no group: ``Low shelf gain``."""
    member, band = group(p)
    start, own = band or member, title(p)
    if start == "gain":
        return own
    return f"{words(start)} {own if own == 'Q' else own[:1].lower() + own[1:]}"


def _group_symbol(p: Param) -> str:
    return "_".join(part for part in group(p) if part)


def _groups(chain: NativeChain) -> str:
    found = {_group_symbol(p): words(group(p)[1] or group(p)[0]) for p in chain.table}
    return "\n".join(
        f"<{HOME}/plugins/{chain.name}#{key}>\n    a pg:Group ;\n"
        f'    lv2:symbol "{key}" ;\n    lv2:name {json.dumps(label)} .\n'
        for key, label in found.items()
    )

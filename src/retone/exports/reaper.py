"""REAPER: a JSFX script with a slider for every parameter; exact, dynamics and bands included.

JSFX is REAPER's documented plain-text format for effects; plug-in states in an .RfxChain are
undocumented binary, so a script is written instead. It runs the same recursions as retone: cookbook
biquads, a branching one-pole that smooths decibels above the threshold or the linear gain, as the
compressor does, and bands by subtraction. Only assignments, arithmetic and ``a ? b : c`` are used,
so that ``render`` can run the text itself.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from retone.dsp.curve import POWER_FLOOR
from retone.exports.base import (
    Exported,
    Target,
    common_notes,
    curves,
    grouped,
    impulse_name,
    impulse_notes,
    impulse_wav,
    number,
)
from retone.exports.escape import jsfx_comment, jsfx_text
from retone.exports.plan import Bands, Dynamics, Filter, Level, Plan
from retone.units import DB_PER_NEPER, LN9


def write(plan: Plan) -> Exported:
    notes = common_notes(plan)
    script = _Script(min(plan.channels, 2))
    if plan.channels > 2:
        notes.append("The script runs in stereo; further channels pass unchanged.")
    for stage in plan.stages:
        if isinstance(stage, Filter):
            script.filter(stage, [f"x{c}" for c in script.channels])
        elif isinstance(stage, Level):
            script.level(stage)
        elif isinstance(stage, Dynamics):
            script.dynamics(stage, [f"x{c}" for c in script.channels])
        elif isinstance(stage, Bands):
            script.bands(stage, notes)
    files: dict[str, bytes] = {}
    for c in curves(plan):
        name = impulse_name(plan, c, ".wav")
        files[name] = impulse_wav(plan, c)
        notes.append(
            f"{c.name}: the curve is left out of the script; load {name} in ReaVerb before it, "
            "with dry at -inf and wet at 0 dB."
        )
        notes += impulse_notes(plan, c, late=False)
    if len(script.sliders) > 64:
        notes.append(f"{len(script.sliders)} sliders: REAPER 6.74 or newer is needed.")
    comments = "".join(f"{jsfx_comment(note)}\n" for note in grouped(notes))
    return Exported(script.text(plan.title, comments), tuple(notes), files)


class _Script:
    """Collects sliders and the lines of ``@slider`` and ``@sample``."""

    def __init__(self, channels: int) -> None:
        self.channels = range(channels)
        self.sliders: list[str] = []
        self.slider: list[str] = []
        self.sample = [f"x{c} = spl{c};" for c in self.channels]
        self.count = 0

    def knob(self, label: str, value: float, low: float, high: float) -> str:
        """A slider; returns its name in the code."""
        n = len(self.sliders) + 1
        step = number((high - low) / 10000)
        self.sliders.append(
            f"slider{n}:{number(value)}<{number(low)},{number(high)},{step}>{jsfx_text(label)}"
        )
        return f"slider{n}"

    def _name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def filter(self, f: Filter, rows: list[str]) -> None:
        label = f.name.replace(".", " ").replace("_", " ")
        n = self._name("f")
        freq = self.knob(f"{label} frequency (Hz)", f.frequency_hz, 20, 20000)
        gain = self.knob(f"{label} gain (dB)", f.gain_db, -24, 24)
        q = self.knob(f"{label} Q", f.q, 0.1, 10)
        self.slider += [
            f"{n}_w = 2 * $pi * min({freq}, 0.49 * srate) / srate;",
            f"{n}_a = pow(10, {gain} / 40);",
            f"{n}_c = cos({n}_w);",
            f"{n}_l = sin({n}_w) / (2 * {q});",
        ]
        a, c, al = f"{n}_a", f"{n}_c", f"{n}_l"
        if f.kind == "peak":
            rows_of = [
                f"1 + {al} * {a}", f"0 - 2 * {c}", f"1 - {al} * {a}",
                f"1 + {al} / {a}", f"0 - 2 * {c}", f"1 - {al} / {a}",
            ]  # fmt: skip
        else:
            if f.kind == "high_shelf":
                self.slider.append(f"{c} = 0 - {c};")
            self.slider.append(f"{n}_r = 2 * sqrt({a}) * {al};")
            r, side = f"{n}_r", "" if f.kind == "low_shelf" else "0 - "
            rows_of = [
                f"{a} * ({a} + 1 - ({a} - 1) * {c} + {r})",
                f"{side}2 * {a} * ({a} - 1 - ({a} + 1) * {c})",
                f"{a} * ({a} + 1 - ({a} - 1) * {c} - {r})",
                f"{a} + 1 + ({a} - 1) * {c} + {r}",
                f"{'0 - 2' if side == '' else '2'} * ({a} - 1 + ({a} + 1) * {c})",
                f"{a} + 1 + ({a} - 1) * {c} - {r}",
            ]
        self._section(n, rows_of)
        for row in rows:
            self._run_section(n, row)

    def _section(self, n: str, b_and_a: list[str]) -> None:
        names = ("b0", "b1", "b2", "a0", "a1", "a2")
        for name, value in zip(names, b_and_a, strict=True):
            self.slider.append(f"{n}_{name} = {value};")
        for name in ("b0", "b1", "b2", "a1", "a2"):
            self.slider.append(f"{n}_{name} = {n}_{name} / {n}_a0;")

    def _run_section(self, n: str, row: str) -> None:
        """Transposed direct form II."""
        z = self._name("z")
        self.sample += [
            f"y = {n}_b0 * {row} + {z}_1;",
            f"{z}_1 = {n}_b1 * {row} - {n}_a1 * y + {z}_2;",
            f"{z}_2 = {n}_b2 * {row} - {n}_a2 * y;",
            f"{row} = y;",
        ]

    def level(self, stage: Level) -> None:
        n = self._name("g")
        gain = self.knob(f"{stage.name} (dB)", stage.gain_db, -48, 48)
        self.slider.append(f"{n} = pow(10, {gain} / 20);")
        self.sample += [f"x{c} = x{c} * {n};" for c in self.channels]

    def dynamics(self, d: Dynamics, rows: list[str]) -> None:
        label = d.name.replace(".", " ").replace("_", " ")
        n = self._name("d")
        threshold = self.knob(f"{label} threshold (dB)", d.threshold_db, -100, 0)
        ratio = self.knob(f"{label} ratio (:1)", d.ratio, 0.5, 20)
        attack = self.knob(f"{label} attack 10-90 (ms)", d.attack_ms, 0.1, 200)
        release = self.knob(f"{label} release 10-90 (ms)", d.release_ms, 5, 2000)
        makeup = self.knob(f"{label} makeup (dB)", d.makeup_db, -24, 24)
        self.slider += [
            f"{n}_up = 1 - exp(0 - {LN9!r} * 1000 / (srate * {attack}));",
            f"{n}_down = 1 - exp(0 - {LN9!r} * 1000 / (srate * {release}));",
            f"{n}_slope = 1 - 1 / {ratio};",
            f"{n}_w = {number(max(d.knee_db, 1e-6))};",
            f"{n}_t = {threshold};",
            f"{n}_m = {makeup};",
        ]
        power = rows[0]
        self.sample.append(f"p = {power} * {power};")
        for row in rows[1:]:
            self.sample.append(f"p = max(p, {row} * {row});")
        if d.rms_ms:
            k = f"1 - exp(0 - {LN9!r} * 1000 / (srate * {number(d.rms_ms)}))"
            self.slider.append(f"{n}_k = {k};")
            self.sample += [f"{n}_p = {n}_p + {n}_k * (p - {n}_p);", f"p = {n}_p;"]
        self.sample.append(f"level = 10 * log10(max(p, {POWER_FLOOR:.12f}));")
        self._knee(n, f"level - {n}_t")
        if d.expands:
            low = self.knob(f"{label} expander threshold (dB)", d.expander_threshold_db, -100, 0)
            steep = self.knob(f"{label} expander ratio (:1)", d.expander_ratio, 1, 6)
            self.slider += [f"{n}_lt = {low};", f"{n}_steep = {steep} - 1;"]
        if d.smooth == "gain":
            self._smoothed_gain(n, expands=d.expands)
        else:
            self._smoothed_decibels(n, expands=d.expands)
        self.sample += [f"{row} = {row} * gain;" for row in rows]

    def _smoothed_decibels(self, n: str, *, expands: bool) -> None:
        """``gain`` from decibels above (``d``) and below the thresholds, each smoothed."""
        self._one_pole(n, "o", f"{n}_up", f"{n}_down")
        self.sample.append(f"gain = {n}_m - {n}_slope * {n}_o;")
        if expands:
            # It opens (its input falls) with the attack and closes with the release.
            self._knee(n, f"{n}_lt - level")
            self._one_pole(n, "u", f"{n}_down", f"{n}_up")
            self.sample.append(f"gain = gain - {n}_steep * {n}_u;")
        self.sample.append(f"gain = exp(gain * {1 / DB_PER_NEPER!r});")

    def _smoothed_gain(self, n: str, *, expands: bool) -> None:
        """``gain`` from the linear gain that the stronger curve asks for, smoothed."""
        self.sample.append(f"gain = 0 - {n}_slope * d;")
        if expands:
            self._knee(n, f"{n}_lt - level")
            self.sample.append(f"gain = min(gain, 0 - {n}_steep * d);")
        self.sample.append(f"d = 1 - exp(gain * {1 / DB_PER_NEPER!r});")
        self._one_pole(n, "o", f"{n}_up", f"{n}_down")
        self.sample.append(f"gain = (1 - {n}_o) * exp({n}_m * {1 / DB_PER_NEPER!r});")

    def _knee(self, n: str, over: str) -> None:
        """``d`` as the static curve's knee (``retone.dsp.curve.knee``) of ``over``."""
        self.sample += [
            f"d = {over};",
            f"k = min(max(d, 0 - {n}_w / 2), {n}_w / 2) + {n}_w / 2;",
            f"k = k * k / (2 * {n}_w);",
            f"d = d > {n}_w / 2 ? d : k;",
        ]

    def _one_pole(self, n: str, to: str, up: str, down: str) -> None:
        """The branching one-pole of ``d`` into ``n_to``."""
        self.sample += [
            f"k = d > {n}_{to} ? {up} : {down};",
            f"{n}_{to} = {n}_{to} + k * (d - {n}_{to});",
        ]

    def bands(self, b: Bands, notes: list[str]) -> None:
        if b.split != "subtracted":
            notes.append(
                f"{b.name}: bands are split by first-order low-passes instead of Linkwitz-Riley "
                "crossovers and overlap more."
            )
        lows = []
        for i, f in enumerate(b.crossovers_hz):
            n = self._name("s")
            edge = self.knob(f"{b.name} border {i + 1} (Hz)", f, 20, 20000)
            self.slider += [
                f"{n}_w = 2 * $pi * min({edge}, 0.49 * srate) / srate;",
                f"{n}_k = sin({n}_w) / (1 + cos({n}_w));",
            ]
            k = f"{n}_k"
            self._section(n, [k, k, "0", f"{k} + 1", f"{k} - 1", "0"])
            for c in self.channels:
                self.sample.append(f"low{i}_{c} = x{c};")
                self._run_section(n, f"low{i}_{c}")
            lows.append(f"low{i}")
        count = len(b.dynamics)
        for i in range(count):
            for c in self.channels:
                below = f" - low{i - 1}_{c}" if i else ""
                own = f"low{i}_{c}" if i < count - 1 else f"x{c}"
                self.sample.append(f"band{i}_{c} = {own}{below};")
        for i, d in enumerate(b.dynamics):
            rows = [f"band{i}_{c}" for c in self.channels]
            if (own_filter := b.filters[i]) is not None:
                self.filter(own_filter, rows)
            self.dynamics(d, rows)
        for c in self.channels:
            self.sample.append(f"x{c} = {' + '.join(f'band{i}_{c}' for i in range(count))};")

    def text(self, title: str, comments: str) -> str:
        sliders = "\n".join(self.sliders)
        body = [f"spl{c} = x{c};" for c in self.channels]
        pins = "".join(
            f"{way}_pin:{side}\n" for way in ("in", "out")
            for side in (("left", "right") if len(self.channels) > 1 else ("mono",))
        )  # fmt: skip
        return (
            f"desc:retone: {jsfx_text(title)}\n{comments}{sliders}\n\n{pins}\n@slider\n"
            + "\n".join(self.slider)
            + "\n\n@sample\n"
            + "\n".join([*self.sample, *body])
            + "\n"
        )


_FUNCTIONS = ("sin", "cos", "exp", "sqrt", "log10", "pow", "min", "max")


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """The script's own lines, run statement by statement (two channels at most)."""
    import math

    from retone.errors import DataError

    head, _, rest = text.partition("@slider\n")
    slider, _, sample = rest.partition("@sample\n")
    names: dict[str, float] = {"srate": float(sample_rate)}
    for n, value in re.findall(r"^slider(\d+):(-?[\d.]+)<", head, re.MULTILINE):
        names[f"slider{n}"] = float(value)
    setup = _python(slider)
    assigned = set(re.findall(r"^(\w+) =", slider + sample, re.MULTILINE))
    states = "\n".join(f"{name} = 0.0" for name in sorted(assigned))
    channels = audio.shape[0]
    known = {f: getattr(math, f) for f in _FUNCTIONS if hasattr(math, f)}
    if re.search(r"[^\w\s.=+\-*/()?:;<>,$]", slider + sample):
        raise DataError(
            "the script contains a character that retone's interpreter does not support."
        )
    lines = [
        "def run(audio, out, names):",
        *(f"    {line}" for line in states.splitlines()),
        *(f"    {name} = names['{name}']" for name in names),
        *(f"    {line}" for line in setup),
        "    for i in range(len(audio[0])):",
        *(f"        spl{c} = audio[{c}][i]" for c in range(channels)),
        *(f"        {line}" for line in _python(sample)),
        *(f"        out[{c}][i] = spl{c}" for c in range(channels)),
    ]
    scope = {**known, "min": min, "max": max, "pi": math.pi}
    exec("\n".join(lines), scope)
    out = [[0.0] * audio.shape[1] for _ in range(channels)]
    scope["run"](audio.astype(np.float64).tolist(), out, names)
    return np.array(out)


def _python(code: str) -> list[str]:
    """EEL2 assignments as Python's; the subset above needs little."""
    found = []
    for line in code.strip().splitlines():
        line = line.strip().removesuffix(";").replace("$pi", "pi")
        choice = re.fullmatch(r"(\w+) = (.+) \? (.+) : (.+)", line)
        if choice:
            target, test, yes, no = choice.groups()
            line = f"{target} = {yes} if {test} else {no}"
        if line:
            found.append(line)
    return found


TARGET = Target(
    name="reaper",
    title="REAPER script (JSFX)",
    suffix=".jsfx",
    usage="copy {file} to REAPER's Effects folder",
    write=write,
    render=render,
    verified_by="the script's own statements, run in Python",
)

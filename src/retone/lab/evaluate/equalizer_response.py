"""Diff-DEQ's Figure 1 on many clips: responses of a dynamic and a static equaliser.

No network is involved: both get the same random EQ sections, the dynamic one its random dynamics
too. A level-dependent system has no response, so one is measured: the square root of the ratio of
the averaged spectra (Welch) after and before, smoothed over 1/6 octave.

There are two targets, because the result depends on the choice. The *static* one is the EQ
sections' own response: a static equaliser reaches it by construction. The *level-dependent* one is
that times the gain that the static curves of the dynamics give for each band, averaged over the
clip's energy: no static equaliser can reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.dsp import biquad, crossover
from retone.dsp.recursion import cascade
from retone.effects import DynamicEqualizer
from retone.effects.dynamic_equalizer import BANDS
from retone.lab.evaluate.enhance_page import show
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row, interval
from retone.progress import Phase, Progress, silent
from retone.report.svg import Axis, Plot
from retone.training.data.corpora import Corpus
from retone.training.data.enhance_pairs import EnhanceMaker
from retone.training.provenance import provenance
from retone.training.recipes.diffdeq import diffdeq_paper, scoring_pairs

OCTAVES_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
GRID_HZ = 125.0 * 2 ** (np.arange(39) / 6)  # to 10.08 kHz
SIZE = 4096
FRAME_S = 0.01
STATIC, DYNAMIC = "static target", "level-dependent target"
LEVEL_REMOVED = " (level removed)"
METHODS = ("PEQ", "DEQ")


@dataclass(frozen=True)
class Curves:
    """One clip: responses in dB on ``GRID_HZ``; ``outputs`` by method, ``targets`` by case."""

    outputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]


def measure_clip(corpus: Corpus, maker: EnhanceMaker, item: int, seed: int) -> tuple[str, Curves]:
    """The voice and the responses of clip number ``item``."""
    pair = maker.make(corpus, item, seed)
    rate = maker.sample_rate
    deq = DynamicEqualizer()
    setting = deq.params.setting(pair.setting)
    clip = torch.from_numpy(pair.target)[None, None].double()
    with torch.no_grad():
        dynamic = deq.render(clip, rate, setting).audio[0, 0].numpy()
        sections = deq.sections(rate, setting)[0]
        static, _ = cascade(clip[0], sections[None])
        f = torch.from_numpy(GRID_HZ)
        eq = biquad.response(sections[:, None], f, rate).prod(0).abs()
        gains = _static_curve_gains(deq, clip, rate, setting)
        low, high, around = (
            biquad.response(s[:, :, None], f, rate)[0]
            for s in biquad.butterworth(deq.crossovers_hz(setting), rate)
        )
        bands = torch.zeros(f.numel(), dtype=torch.complex128)
        for k in range(BANDS):
            h = torch.full_like(bands, gains[k])
            for i in range(BANDS - 1):
                h = h * (high[i] ** 2 if i < k else low[i] ** 2 if i == k else around[i])
            bands = bands + h
    source = clip[0, 0].numpy()
    outputs = {
        "PEQ": response_db(source, static[0].numpy(), rate),
        "DEQ": response_db(source, dynamic, rate),
    }
    targets = {
        STATIC: 20 * np.log10(eq.numpy()),
        DYNAMIC: 20 * np.log10((eq * bands.abs()).numpy()),
    }
    return pair.group, Curves(outputs, targets)


def _static_curve_gains(
    deq: DynamicEqualizer, clip: torch.Tensor, rate: int, setting: dict[str, torch.Tensor]
) -> list[float]:
    """Each band's gain by its static curve at the band's 10 ms levels, mean over its energy."""
    bands, _ = crossover.split(clip, deq.crossovers_hz(setting), rate, None)
    sections = deq.sections(rate, setting)
    flat, _ = cascade(bands.reshape(BANDS, -1), sections.reshape(BANDS, 1, 5))
    size = max(1, round(FRAME_S * rate))
    frames = flat[:, : flat.shape[1] // size * size].reshape(BANDS, -1, size)
    power = frames.square().mean(-1)
    own = deq._band_setting(setting)
    found = []
    for k in range(BANDS):
        level = 10 * torch.log10(power[k] + 1e-10)
        band = {n: v[k : k + 1] for n, v in own.items()}
        gain_db = deq.compressor.static_curve(level, band)[0] - level
        energy = power[k].sum().clamp(min=1e-20)
        found.append(float(((power[k] * 10 ** (gain_db / 10)).sum() / energy).sqrt()))
    return found


def response_db(before: np.ndarray, after: np.ndarray, rate: int) -> np.ndarray:
    """Measured response in dB on ``GRID_HZ``: Welch spectra, 4096-point Hann, 75 % overlap."""
    from scipy.signal import welch

    spectra = [
        welch(x, rate, "hann", SIZE, SIZE * 3 // 4, detrend=False)[1] for x in (before, after)
    ]
    frequency = np.fft.rfftfreq(SIZE, 1 / rate)
    found = []
    for hz in GRID_HZ:
        near = (frequency >= hz * 2 ** (-1 / 12)) & (frequency <= hz * 2 ** (1 / 12))
        near[np.argmin(np.abs(frequency - hz))] = True
        a, b = (s[near].sum() + 1e-20 for s in spectra)
        found.append(10 * np.log10(b / a))
    return np.array(found)


def evaluate(
    corpus: Corpus,
    *,
    clips: int,
    seed: int,
    path: Path | None = None,
    workers: Workers = 1,
    progress: Progress = silent,
    made_from: Callable[[], dict[str, Any]] = provenance,
) -> Result:
    """Measure ``clips`` clips; rows hold the error at ``GRID_HZ`` and in octaves, both in dB."""
    maker = scoring_pairs(diffdeq_paper())
    question = {
        "what": "response",
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        "sample_rate": maker.sample_rate,
        "clips": clips,
        "seed": seed,
    }
    result = Result.resumed(question, made_from(), path)
    done = {r.item for r in result.rows}
    jobs = [(corpus, maker, item, seed) for item in range(clips) if item not in done]
    for number, rows in enumerate(measured(jobs, _rows, workers), start=1):
        result.rows += rows
        progress(Phase("measuring", "clips"), number, clips)
    if path is not None:
        result.save(path)
    return result


def _rows(job: tuple[Any, ...]) -> list[Row]:
    corpus, maker, item, seed = job
    group, curves = measure_clip(corpus, maker, item, seed)
    rows = []
    for case, target in curves.targets.items():
        for method, output in curves.outputs.items():
            error = output - target
            values = {
                f"{hz:.0f} Hz": round(float(e), 3) for hz, e in zip(GRID_HZ, error, strict=True)
            }
            for ending, e in (("", error), (LEVEL_REMOVED, error - error.mean())):
                for hz in OCTAVES_HZ:
                    near = np.abs(np.log2(GRID_HZ / hz)) <= 0.5
                    values[f"octave {hz:.0f}{ending}"] = round(float(np.abs(e[near]).mean()), 4)
            rows.append(Row(item, group, case, method, values))
    return rows


def section(result: Result) -> str:
    """Tables in Markdown: mean absolute error in octaves with intervals."""
    q = result.question
    lines = [
        "## Response of a dynamic and of a static equaliser (Figure 1)",
        "",
        f"{q['clips']} clips of {q['corpus']}, seed {q['seed']}, retone "
        f"{result.provenance['retone']}, {result.provenance['date']}. The same random EQ sections",
        "drive both; mean absolute error in dB of the measured response, with 95 % intervals. The",
        "static target is the sections' own response in series, which a static equaliser reaches",
        "by construction. The level-dependent target is that times the gain of the dynamics in",
        "each band, which no static equaliser can reach; neither can sections that work inside",
        "their bands only.",
    ]
    for case in result.names("case"):
        for ending in ("", LEVEL_REMOVED):
            keys = [f"octave {hz:.0f}{ending}" for hz in OCTAVES_HZ]
            lines += ["", f"{case.capitalize()}{ending}:", ""]
            lines += ["| | " + " | ".join(f"{hz:g} Hz" for hz in OCTAVES_HZ) + " |"]
            lines += ["|---|" + "---|" * len(keys)]
            for method in METHODS:
                cells = [interval(result.values(case, method, k).values()) for k in keys]
                lines.append(f"| {method} | " + " | ".join(show(c) for c in cells) + " |")
    return "\n".join(lines)


def error_plot(result: Result) -> Plot:
    """Mean absolute error over frequency against the level-dependent target, with intervals."""
    curves = {}
    for method in METHODS:
        cells = []
        for hz in GRID_HZ:
            values = result.values(DYNAMIC, method, f"{hz:.0f} Hz").values()
            cells.append(interval((g, abs(v)) for g, v in values))
        curves[method] = [np.array(c) for c in zip(*cells, strict=True)]
    top = float(np.ceil(max(high.max() for _, _, high in curves.values())))
    plot = Plot(
        "response-error", "Error of a static and a dynamic equaliser's response",
        960, 360, Axis(GRID_HZ[0], GRID_HZ[-1], "Frequency (Hz)", "Hz", log=True),
        Axis(0.0, top, "Mean absolute error (dB)", "dB"), top=30,
    )  # fmt: skip
    for method, css in (("PEQ", "reference"), ("DEQ", "after")):
        mean, low, high = curves[method]
        plot.area(GRID_HZ, low, high, css)
        plot.line(GRID_HZ, mean, css, legend=method, read=method)
    return plot


def clip_plot(corpus: Corpus, item: int, seed: int) -> Plot:
    """One clip as in the paper's figure: both responses and the level-dependent target."""
    _, curves = measure_clip(corpus, scoring_pairs(diffdeq_paper()), item, seed)
    shown = [*curves.outputs.values(), curves.targets[DYNAMIC]]
    top = 6 * np.ceil(max(c.max() for c in shown) / 6)
    bottom = 6 * np.floor(min(c.min() for c in shown) / 6)
    plot = Plot(
        "response-clip", "Responses of both equalisers on one clip, and the target",
        960, 360, Axis(GRID_HZ[0], GRID_HZ[-1], "Frequency (Hz)", "Hz", log=True),
        Axis(float(bottom), float(top), "Gain (dB)", "dB"), top=30,
    )  # fmt: skip
    plot.line(GRID_HZ, curves.outputs["PEQ"], "before", legend="PEQ", read="PEQ")
    plot.line(GRID_HZ, curves.outputs["DEQ"], "after", legend="DEQ", read="DEQ")
    plot.line(GRID_HZ, curves.targets[DYNAMIC], "reference", legend="Target", read="Target")
    return plot

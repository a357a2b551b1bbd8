"""Figures 4 and 5: the settings an estimator chooses, and how they depend on the input.

Figure 4: one recording, and one reference put into each of the five styles. Figure 5: a fixed
reference in the style Broadcast, while the input is made brighter, or more compressed, step by
step: the brighter it is, the less treble boost it needs; the more compressed it is, the higher the
threshold and the lower the ratio.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.dsp.effect import split_setting
from retone.dsp.param import Setting
from retone.effects import MATCH_CHAIN
from retone.errors import DataError
from retone.estimators.base import Estimator, Excerpt
from retone.lab.evaluate.methods import excerpt
from retone.lab.evaluate.result import interval
from retone.progress import Phase, Progress, silent
from retone.report.svg import Axis, Plot
from retone.training.data.processing import normalise
from retone.training.data.styles import FIVE, STYLES, apply_style
from retone.training.provenance import provenance

EQUALIZER, COMPRESSOR = MATCH_CHAIN.members
BRIGHTER_DB = (0.0, 6.0, 12.0, 18.0, 24.0)
"""Gain of the high shelf at ``SHELF_HZ`` that makes the input brighter."""
SHELF_HZ = 4000.0
COMPRESSED = ((0.0, 1.0), (-20.0, 2.0), (-30.0, 3.0), (-40.0, 4.0), (-50.0, 8.0))
"""Threshold in dBFS (input peak at -3) and ratio of the compressor applied to the input."""
HIGHS_HZ, MIDDLE_HZ = (6000.0, 10000.0), (500.0, 2000.0)
CSS = ("b1", "b2", "b3", "b4", "b5")


@dataclass(frozen=True)
class Chosen:
    """A chosen setting (batch of one, at a peak of -12 dBFS) and its label."""

    label: str
    setting: Setting

    @property
    def highs_db(self) -> float:
        """Gain of the equaliser at 6-10 kHz over that at 0.5-2 kHz."""
        high, middle = (
            _equalizer_db(self.setting, np.geomspace(*edges, 16)).mean()
            for edges in (HIGHS_HZ, MIDDLE_HZ)
        )
        return float(high - middle)

    def value(self, name: str) -> float:
        return float(self.setting[name][0])


@dataclass
class Trend:
    """Readings [N, steps] of N recordings, by name."""

    steps: tuple[float, ...]
    readings: dict[str, np.ndarray]
    groups: list[str] = field(default_factory=list)

    def spearman(self, name: str) -> tuple[float, float, float]:
        """Mean over recordings of the rank correlation with the step, and its 95 % interval."""
        ranks = [rank_correlation(np.array(self.steps), row) for row in self.readings[name]]
        return interval(list(zip(self.groups, ranks, strict=True)))


def save_trends(found: dict[str, Trend], estimator: str) -> str:
    """Readings as JSON text."""
    return json.dumps(
        {
            "retone_trends": 1,
            "estimator": estimator,
            "provenance": provenance(),
            "trends": {
                what: {
                    "steps": t.steps,
                    "groups": t.groups,
                    "readings": {n: np.round(v, 3).tolist() for n, v in t.readings.items()},
                }
                for what, t in found.items()
            },
        }
    )


def load_trends(path: Path) -> tuple[dict[str, Trend], str]:
    """What ``save_trends`` wrote, and the estimator's name.

    Raises:
        DataError: the file is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {
            what: Trend(
                tuple(t["steps"]), {n: np.array(v) for n, v in t["readings"].items()}, t["groups"]
            )
            for what, t in data["trends"].items()
        }
        return found, str(data["estimator"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not settings written by python -m retone.lab figure trend ({error})."
        ) from error


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's coefficient with ties averaged; 0 if ``y`` does not vary."""
    from scipy.stats import rankdata

    a, b = rankdata(x), rankdata(np.round(y, 6))
    if np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def five_references(
    source: np.ndarray, reference: np.ndarray, sample_rate: int, estimator: Estimator, seed: int
) -> list[Chosen]:
    """Figure 4: settings for a source [T] and a reference [T] in each of the five styles."""
    own = excerpt(source, sample_rate)[0]
    chosen = []
    for number, name in enumerate(FIVE):
        rng = np.random.default_rng([seed, number])
        styled = apply_style(
            normalise(reference, -6.0), sample_rate, MATCH_CHAIN, STYLES[name].draw(rng)
        )
        chosen.append(Chosen(STYLES[name].label, _setting(own, styled, sample_rate, estimator)))
    return chosen


def labelled_references(
    source: np.ndarray,
    references: Sequence[tuple[str, np.ndarray]],
    sample_rate: int,
    estimator: Estimator,
) -> list[Chosen]:
    """Figure 4 with given references: (label, audio [T]) each."""
    own = excerpt(source, sample_rate)[0]
    return [Chosen(n, _setting(own, r, sample_rate, estimator)) for n, r in references]


def trends(
    clips: Sequence[tuple[str, np.ndarray]],
    sample_rate: int,
    estimator: Estimator,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Trend]:
    """Figure 5: ``"brighter"`` and ``"compressed"``.

    Args:
        clips: (voice, audio [T]); each is an input, and the next by another voice its reference.
        sample_rate: in Hz.
        estimator: chooses the settings.
        seed: random seed of the reference's style.
    """
    names = {
        "brighter": ("highs_db", "equalizer.high_shelf_gain_db"),
        "compressed": ("compressor.threshold_db", "compressor.ratio"),
    }
    rows: dict[str, dict[str, list[list[float]]]] = {
        what: {n: [] for n in own} for what, own in names.items()
    }
    groups = []
    for number, (voice, audio) in enumerate(clips):
        others = [*clips[number + 1 :], *clips[:number]]
        reference = next((a for v, a in others if v != voice), others[0][1] if others else audio)
        rng = np.random.default_rng([seed, number])
        styled = apply_style(
            normalise(reference, -6.0), sample_rate, MATCH_CHAIN, STYLES["broadcast"].draw(rng)
        )
        groups.append(voice)
        for what, changes in (("brighter", _brighter()), ("compressed", _compressed())):
            found: dict[str, list[float]] = {n: [] for n in names[what]}
            for change in changes:
                changed = apply_style(normalise(audio, -3.0), sample_rate, MATCH_CHAIN, change)
                own = excerpt(changed, sample_rate)[0]
                chosen = Chosen(what, _setting(own, styled, sample_rate, estimator))
                for name, values in found.items():
                    values.append(chosen.highs_db if name == "highs_db" else chosen.value(name))
            for name, values in found.items():
                rows[what][name].append(values)
        progress(Phase("analysing", "recordings"), number + 1, len(clips))
    steps = {"brighter": BRIGHTER_DB, "compressed": tuple(float(i) for i in range(len(COMPRESSED)))}
    return {
        what: Trend(steps[what], {n: np.array(v) for n, v in own.items()}, groups)
        for what, own in rows.items()
    }


def _brighter() -> list[dict[str, float]]:
    name = "equalizer.high_shelf"
    return [{f"{name}_gain_db": g, f"{name}_frequency_hz": SHELF_HZ} for g in BRIGHTER_DB]


def _compressed() -> list[dict[str, float]]:
    return [
        {
            "compressor.threshold_db": threshold,
            "compressor.ratio": ratio,
            "compressor.attack_ms": 5.0,
            "compressor.release_ms": 80.0,
        }
        for threshold, ratio in COMPRESSED
    ]


def _setting(
    own: Excerpt, reference: np.ndarray, sample_rate: int, estimator: Estimator
) -> Setting:
    other = excerpt(reference, sample_rate)[0]
    found = estimator.estimate(own, [other], locks={})
    return {n: v.double() for n, v in found.setting.items()}


def _equalizer_db(setting: Setting, frequency_hz: np.ndarray) -> np.ndarray:
    # A high sample rate: the curve of the settings, without the warping of one file's rate.
    rate = 4.0 * float(max(frequency_hz.max(), HIGHS_HZ[1]))
    h: Any = EQUALIZER.response(
        torch.as_tensor(frequency_hz), rate, split_setting(setting, "equalizer")
    )
    return np.asarray(20 * np.log10(h.abs().numpy()[0]))


# Pictures


def parameters_picture(chosen: Sequence[Chosen], about: str) -> str:
    """Equaliser responses on the left, static curves of the compressor on the right."""
    f = np.geomspace(30.0, 16000.0, 200)
    curves = [_equalizer_db(c.setting, f) for c in chosen]
    span = max(6.0, 3 * np.ceil(max(np.abs(c).max() for c in curves) * 1.05 / 3))
    eq = Plot(
        "equalizers", f"Equaliser for each reference. {about}", 600, 340,
        Axis(f[0], f[-1], "Frequency (Hz)", "Hz", log=True), Axis(-span, span, "Gain (dB)", "dB"),
        top=34,
    )  # fmt: skip
    level = np.linspace(-80.0, 0.0, 161)
    comp = Plot(
        "compressors", f"Compressor for each reference, without makeup. {about}", 400, 340,
        Axis(-80, 0, "Input (dB, peak at -12)", "dB"), Axis(-80, 0, "Output (dB)", "dB"), top=34,
    )  # fmt: skip
    comp.line(level, level, "unity")
    for c, curve, css in zip(chosen, curves, CSS, strict=False):
        eq.line(f, curve, css, legend=c.label, read=c.label)
        own = split_setting(c.setting, "compressor") | {"makeup_db": torch.zeros(1).double()}
        out: Any = COMPRESSOR.static_curve(torch.as_tensor(level), own)  # type: ignore[attr-defined]
        comp.line(level, out[0].numpy(), css, read=c.label)
    return side_by_side([eq, comp], about)


def trend_picture(found: dict[str, Trend], about: str) -> str:
    """Medians and the middle half over recordings, by step."""
    panels = (
        ("brighter", "highs_db", "Highs boosted (dB)", "Input's highs raised by (dB)"),
        ("compressed", "compressor.threshold_db", "Threshold (dB)", "Input compressed, step"),
        ("compressed", "compressor.ratio", "Ratio", "Input compressed, step"),
    )
    plots = []
    for k, (what, name, title, below) in enumerate(panels):
        trend = found[what]
        x = np.array(trend.steps)
        low, middle, high = np.percentile(trend.readings[name], [25, 50, 75], axis=0)
        pad = max(0.5, 0.15 * float(high.max() - low.min()))
        plot = Plot(
            f"trend-{k}", f"{title} by step", 330, 300, Axis(x[0], x[-1], below),
            Axis(float(low.min()) - pad, float(high.max()) + pad, title),
        )  # fmt: skip
        plot.area(x, low, high, CSS[k])
        plot.line(x, middle, f"{CSS[k]} after")
        for a, b in zip(x, middle, strict=True):
            plot.dot(float(a), float(b), CSS[k])
        plots.append(plot)
    return side_by_side(plots, about)


def side_by_side(plots: Sequence[Plot], about: str) -> str:
    """Several plots as one SVG file with a line of text below."""
    from html import escape

    from retone.report.theme import SVG_STYLE

    width = sum(p.width for p in plots)
    height = max(p.height for p in plots) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img"><style>{SVG_STYLE}</style>'
        f'<rect class="page" width="{width:g}" height="{height:g}"/>'
    ]
    x = 0.0
    for p in plots:
        inner = p.render().replace("<svg ", f'<svg x="{x:g}" width="{p.width:g}" '
                                   f'height="{p.height:g}" ', 1)  # fmt: skip
        parts.append(inner)
        x += p.width
    parts.append(f'<text class="note" x="14" y="{height - 9:g}">{escape(about)}</text></svg>')
    return "".join(parts) + "\n"

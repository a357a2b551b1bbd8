"""Figures that are pictures: DeepAFx-ST's 4 and 5, Diff-DEQ's 1."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import DataError
from retone.estimators.network import Network
from retone.files.atomic import write_text_atomic
from retone.lab.evaluate import equalizer_response, figures
from retone.lab.published import FIGURES, Group
from retone.lab.reproduce.filled import number
from retone.lab.reproduce.systems import speech_systems
from retone.lab.reproduce.work import Work, deviation_notes
from retone.training.data.styles import FIVE, STYLES
from retone.training.provenance import provenance
from retone.training.recipes.deepafx import SAMPLE_RATE
from retone.training.state import BEST

RATE, CLIP_S = SAMPLE_RATE, 5.5
VCTK = Group("VCTK", "vctk", "speech", RATE)
SEED = 4


@dataclass
class Picture:
    """A figure with the numbers behind it; ``missing`` says why there is none."""

    paper: str
    name: str
    missing: str = ""
    table: str = ""
    files: list[str] = field(default_factory=list)
    question: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    trained_s: float = 0.0

    @property
    def title(self) -> str:
        return FIGURES[self.paper, self.name]

    def save(self, path: Path) -> None:
        """Write JSON."""
        data = {"retone_reproduced_figure": 1, **self.__dict__}
        write_text_atomic(path, json.dumps(data, indent=1) + "\n", force=True)

    @staticmethod
    def load(path: Path) -> Picture:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is damaged or something else.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            del data["retone_reproduced_figure"]
            return Picture(**data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a figure of python -m retone.lab reproduce ({error})."
            ) from error

    def markdown(self) -> str:
        """Pictures, numbers and notes."""
        if self.missing:
            return f"Empty: {self.missing}."
        lines = [f"![{self.title}]({name})" for name in self.files]
        return "\n".join([*lines, "", self.table, "", *(f"- {n}" for n in self.notes)])


def _made(work: Work, paper: str, name: str, fill: Callable[[Picture], None]) -> Picture:
    picture = Picture(paper, name, provenance=provenance())
    picture.question = {"scale": work.scale.name, "seed": SEED}
    began = time.process_time() - work.runs.trained_s
    try:
        fill(picture)
    except DataError as error:
        picture.missing = str(error).rstrip(".")
    picture.cpu_s = round(time.process_time() - work.runs.trained_s - began, 1)
    return picture


def figure_4(work: Work) -> Picture:
    """One utterance and a reference in each of the five styles, SPSA model."""

    def fill(picture: Picture) -> None:
        clips, where = _clips(work, 2)
        (_, source), (_, reference) = clips
        chosen = figures.five_references(source, reference, RATE, _spsa(work), SEED)
        _write(work, picture, figures.parameters_picture(chosen, f"{where}, SPSA"))
        picture.question |= {"recordings": where}
        names = ("equalizer.low_shelf_gain_db", "equalizer.high_shelf_gain_db",
                 "compressor.threshold_db", "compressor.ratio")  # fmt: skip
        lines = ["| reference | low shelf (dB) | high shelf (dB) | threshold (dB) | ratio |",
                 "|---|---|---|---|---|"]  # fmt: skip
        for style, found in zip(FIVE, chosen, strict=True):
            values = [found.value(n) for n in names]
            picture.numbers[style] = dict(zip(names, values, strict=True))
            cells = " | ".join(number(v) for v in values)
            lines.append(f"| {STYLES[style].label} | {cells} |")
        picture.table = "\n".join(lines)
        picture.notes += [f"Input and reference: two voices of {where}.", *_notes()]

    return _made(work, "deepafx-st", "figure-4", fill)


def figure_5(work: Work) -> Picture:
    """The input made brighter, or more compressed; the reference in the style Broadcast."""

    def fill(picture: Picture) -> None:
        clips, where = _clips(work, max(2, work.scale.clips))
        found = figures.trends(clips, RATE, _spsa(work), seed=SEED, progress=work.progress)
        about = f"{len(clips)} recordings of {where}, SPSA: median and middle half"
        _write(work, picture, figures.trend_picture(found, about))
        picture.question |= {"recordings": where, "clips": len(clips)}
        lines = ["| | Spearman [95 % interval] | medians by step |", "|---|---|---|"]
        for what, trend in found.items():
            for name, rows in trend.readings.items():
                mean, low, high = trend.spearman(name)
                medians = [float(v) for v in np.median(rows, axis=0)]
                picture.numbers[f"{what}: {name}"] = {
                    "spearman": [mean, low, high], "medians": medians,
                }  # fmt: skip
                cells = ", ".join(number(v) for v in medians)
                lines.append(
                    f"| {what}: {name} | {mean:+.2f} [{low:+.2f}, {high:+.2f}] | {cells} |"
                )
        picture.table = "\n".join(lines)
        picture.notes += [
            f"{about}; the paper shows one recording.",
            "Compressed by (threshold dB, ratio) "
            f"{', '.join(str(c) for c in figures.COMPRESSED)}; the paper: 0 to -62 dB, 1 to 4.",
            *_notes(),
        ]

    return _made(work, "deepafx-st", "figure-5", fill)


def figure_1(work: Work) -> Picture:
    """Responses of a dynamic and a static equaliser with the same EQ parameters."""

    def fill(picture: Picture) -> None:
        group, corpus = _first(work)
        result = equalizer_response.evaluate(
            corpus, clips=work.scale.clips, seed=work.seed, workers=work.workers,
            path=work.raw("diff-deq_figure-1", group), progress=work.progress,
        )  # fmt: skip
        picture.question |= {"recordings": group.name, "clips": work.scale.clips}
        picture.table = equalizer_response.section(result).replace("## Response", "**Response", 1)
        picture.table = picture.table.replace("(Figure 1)", "(Figure 1)**", 1)
        plot = equalizer_response.clip_plot(corpus, 0, work.seed)
        _write(work, picture, plot.render(standalone=True))
        picture.notes += [
            "The picture shows one clip as the paper does, the table all clips.",
            "The paper gives neither the parameters nor its target. A static equaliser has no "
            "error against a static target by construction; a dynamic one can only win if the "
            "target depends on the level. Both targets are given.",
        ]

    return _made(work, "diff-deq", "figure-1", fill)


def _write(work: Work, picture: Picture, svg: str) -> None:
    name = f"{picture.paper}_{picture.name}.svg"
    write_text_atomic(work.folder / name, svg, force=True)
    picture.files = [name]


def _spsa(work: Work) -> Network:
    system = speech_systems()["SPSA"]
    folder = work.runs.of(system)
    if folder is None:
        raise DataError(work.runs.missing[system.run])
    return Network(weights=folder / BEST, fit_steps=0, level=None)


def _first(work: Work) -> tuple[Group, Any]:
    """VCTK if it was given, else the first recordings of speech."""
    others = [Group(g.label, g.label, "speech", RATE) for g in work.recordings.given]
    problem: DataError | None = None
    for group in (VCTK, *others):
        try:
            return group, work.recordings.corpus(group)
        except DataError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _clips(work: Work, count: int) -> tuple[list[tuple[str, np.ndarray]], str]:
    """The first seconds of different voices, the longest first."""
    group, corpus = _first(work)
    size = round(CLIP_S * RATE)
    tracks = sorted((t for t in corpus.tracks if t.samples >= size), key=lambda t: t.group)
    clips = [(t.group, t.read(0, size)) for t in tracks[:count]]
    if len(clips) < 2:
        raise DataError(f"{group.name}: fewer than two voices of {CLIP_S:g} s")
    return clips, group.name


def _notes() -> list[str]:
    return deviation_notes([("SPSA", speech_systems()["SPSA"])])

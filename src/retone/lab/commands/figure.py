"""Draw which settings an estimator chooses, for any recordings (Figures 4 and 5 of DeepAFx-ST).

figure parameters VOICE --reference OTHER -o FILE.svg    OTHER put into the five styles
figure parameters VOICE --to A.wav B.wav -o FILE.svg     references as they are
figure trend FILE... -o FILE.svg                         inputs brightened, then compressed
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retone.estimators.choose import Choices
from retone.lab.commands.corpora import add_seed
from retone.lab.commands.verbs import Verb, add_verbs, run_verb

ESTIMATORS = Choices(without=("auto", "rules"))
"""Estimators for the chain that the figures show."""


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE.svg", help="picture to write"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument(
        "--estimator", default="closed-form", choices=ESTIMATORS, metavar="NAME",
        help="estimator: %(choices)s (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights for the network")
    parser.add_argument(
        "--seconds", type=float, default=8.0,
        help="length of the excerpt of each recording (default: %(default)s)",
    )  # fmt: skip
    add_seed(parser, 4, "the styles")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_verbs(parser, VERBS)


run = run_verb


def _add_parameters(parameters: argparse.ArgumentParser) -> None:
    parameters.add_argument("input", type=Path, metavar="INPUT", help="recording to match")
    goal = parameters.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--reference", type=Path, help="recording to put into each of the five styles"
    )
    goal.add_argument("--to", type=Path, nargs="+", metavar="FILE", help="up to five references")
    _common(parameters)


def _add_trend(trend: argparse.ArgumentParser) -> None:
    trend.add_argument("files", type=Path, nargs="+", metavar="FILE", help="recordings")
    trend.add_argument(
        "--voice", default="", metavar="REGEX",
        help="part of a file name that identifies its voice; references are of other voices "
        "(default: every file is a voice of its own)",
    )  # fmt: skip
    trend.add_argument("--readings", type=Path, metavar="FILE.json", help="also write all settings")
    _common(trend)


def _drawn(args: argparse.Namespace, draw: Callable[[argparse.Namespace, Any], str]) -> int:
    from retone.estimators.choose import estimator_named
    from retone.files.atomic import write_text_atomic

    svg = draw(args, estimator_named(args.estimator, weights=args.weights))
    write_text_atomic(args.output, svg, args.force)
    print(args.output)
    return 0


def _parameters(args: argparse.Namespace, estimator: Any) -> str:
    from retone.errors import SettingError
    from retone.lab.evaluate.figures import (
        five_references,
        labelled_references,
        parameters_picture,
    )

    if args.to and len(args.to) > 5:
        raise SettingError(f"--to: {len(args.to)} references; the picture has room for five.")
    others = args.to or [args.reference]
    (source, *references), rate = _opened([args.input, *others], args.seconds)
    if args.reference:
        chosen = five_references(source, references[0], rate, estimator, args.seed)
    else:
        named = [(p.stem, x) for p, x in zip(args.to, references, strict=True)]
        chosen = labelled_references(source, named, rate, estimator)
    names = ("low_shelf_gain_db", "high_shelf_gain_db")
    print(f"{'reference':26}low shelf  high shelf  highs   threshold   ratio")
    for c in chosen:
        low, high = (c.value(f"equalizer.{n}") for n in names)
        threshold_db, ratio = c.value("compressor.threshold_db"), c.value("compressor.ratio")
        print(
            f"{c.label:26}{low:6.1f} dB{high:9.1f} dB{c.highs_db:6.1f} dB"
            f"{threshold_db:8.1f} dB{ratio:8.1f}"
        )
    return parameters_picture(chosen, f"{args.input.name}, {estimator.name}")


def _trend(args: argparse.Namespace, estimator: Any) -> str:
    import re

    import numpy as np

    from retone.errors import SettingError
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate.figures import COMPRESSED, save_trends, trend_picture, trends
    from retone.terminal import progress_bar

    clips, rate = _opened(args.files, args.seconds)
    try:
        pattern = re.compile(args.voice)
    except re.error as error:
        raise SettingError(f"--voice {args.voice}: not a regular expression ({error}).") from None
    named = []
    for path, clip in zip(args.files, clips, strict=True):
        found_name = pattern.search(path.stem) if args.voice else None
        named.append((found_name.group(0) if found_name else path.stem, clip))
    with progress_bar() as progress:
        found = trends(named, rate, estimator, seed=args.seed, progress=progress)
    if args.readings:
        write_text_atomic(args.readings, save_trends(found, estimator.name), args.force)
    for what, trend in found.items():
        for name, rows in trend.readings.items():
            mean, low, high = trend.spearman(name)
            medians = "  ".join(f"{v:.1f}" for v in np.median(rows, axis=0))
            print(f"{what}: {name:32} Spearman {mean:+.2f} [{low:+.2f}, {high:+.2f}]  "
                  f"medians {medians}")  # fmt: skip
    voices = len(set(v for v, _ in named))
    about = (
        f"{len(named)} recordings of {voices} voices, reference in the style Broadcast, "
        f"{estimator.name}: median and middle half"
    )
    print(f"{about}; compressed by (threshold dB, ratio) {COMPRESSED[1:]}")
    return trend_picture(found, about)


def _opened(paths: list[Path], seconds: float) -> tuple[list[Any], int]:
    """The analysis excerpts of files at one sample rate, of at most ``seconds``."""
    import numpy as np

    from retone.audio import Clip, open_reader
    from retone.process.excerpt import load_excerpt

    excerpts = []
    for path in paths:
        with open_reader(path) as reader:
            excerpts.append(load_excerpt(reader)[0])
    rate = min(e.sample_rate for e in excerpts)
    out = []
    for e in excerpts:
        clip = Clip(e.audio[None].numpy(), e.sample_rate).resample(rate)
        out.append(np.ascontiguousarray(clip.samples[0, : round(seconds * rate)]))
    return out, rate


VERBS = (
    Verb(
        "parameters", "settings for one recording and several references", _add_parameters,
        lambda args: _drawn(args, _parameters),
    ),
    Verb(
        "trend", "settings while the input is made brighter, then more compressed", _add_trend,
        lambda args: _drawn(args, _trend),
    ),
)  # fmt: skip

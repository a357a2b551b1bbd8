"""Draw what settings an estimator chooses, from any recordings (Figures 4 and 5 of DeepAFx-ST).

figure parameters VOICE --reference OTHER -o FILE.svg    OTHER put into five styles
figure parameters VOICE --to A.wav B.wav -o FILE.svg     references as they are
figure trend FILE... -o FILE.svg      inputs made brighter, then more compressed
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ESTIMATORS = ("closed-form", "faithful", "network", "refined")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.svg")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--estimator", default="closed-form", choices=ESTIMATORS)
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the network")
    parser.add_argument("--seconds", type=float, default=8.0, help="heard of each recording")
    parser.add_argument("--seed", type=int, default=4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    parameters = actions.add_parser("parameters", help="one recording, several references")
    parameters.add_argument("input", type=Path, metavar="INPUT")
    goal = parameters.add_mutually_exclusive_group(required=True)
    goal.add_argument("--reference", type=Path, help="put into each of the five styles")
    goal.add_argument("--to", type=Path, nargs="+", metavar="FILE", help="up to five references")
    _common(parameters)
    trend = actions.add_parser("trend", help="settings while the input gets brighter, denser")
    trend.add_argument("files", type=Path, nargs="+", metavar="FILE")
    trend.add_argument(
        "--voice", default="", metavar="REGEX",
        help="what of a file's name says whose voice it is; references are of another one "
        "(default: every file is a voice of its own)",
    )  # fmt: skip
    trend.add_argument(
        "--readings", type=Path, metavar="FILE.json", help="also write every reading"
    )
    _common(trend)


def run(args: argparse.Namespace) -> int:
    from retone.audio import write_text_atomic
    from retone.estimators.choose import estimator_named

    estimator = estimator_named(args.estimator, weights=args.weights)
    svg = (_parameters if args.action == "parameters" else _trend)(args, estimator)
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
    (source, *heard), rate = _opened([args.input, *others], args.seconds)
    if args.reference:
        chosen = five_references(source, heard[0], rate, estimator, args.seed)
    else:
        named = [(p.stem, x) for p, x in zip(args.to, heard, strict=True)]
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

    from retone.audio import write_text_atomic
    from retone.errors import SettingError
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
    """The active excerpts of files as the matcher hears them, at one rate, at most so long."""
    import numpy as np

    from retone.audio import Clip, open_reader
    from retone.process.excerpt import load_excerpt

    heard = []
    for path in paths:
        with open_reader(path) as reader:
            heard.append(load_excerpt(reader)[0])
    rate = min(e.sample_rate for e in heard)
    out = []
    for e in heard:
        clip = Clip(e.audio[None].numpy(), e.sample_rate).resample(rate)
        out.append(np.ascontiguousarray(clip.samples[0, : round(seconds * rate)]))
    return out, rate

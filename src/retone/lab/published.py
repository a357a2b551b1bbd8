"""Both papers' tables as printed: rows, columns, order, names and numbers.

[S]: C. J. Steinmetz, N. J. Bryan, J. D. Reiss, JAES 70(9), 2022 (DeepAFx-ST).
[D]: P. Sarkar, P. M. Lindborg, EUSIPCO 2025 (Diff-DEQ).
The lines are the papers' own, so that a test can look for them in the papers' text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

PAPERS = ("deepafx-st", "diff-deq")


class Group(NamedTuple):
    """A group of columns: recordings at a sample rate in Hz.

    ``corpus`` is a name of ``retone corpus list``.
    """

    name: str
    corpus: str
    kind: str
    sample_rate: int


class Column(NamedTuple):
    """A column of every group: its printed name, retone's metric, what is better, and how its
    numbers are printed: ``""``, ``"thousands"`` (174 k) or ``"tick"``."""

    name: str
    metric: str
    better: str = "lower"
    shown: str = ""


@dataclass(frozen=True)
class Printed:
    """A table, or a figure that is measured like one.

    Args:
        paper, name: as in ``reproduce PAPER NAME``.
        title: what it shows.
        groups: groups of columns.
        columns: columns of every group.
        lines: rows as printed, one string each: the name, then the values of all groups.
        baseline: the row, or column, that ratios refer to.
        stub: heading of the column with the rows' names.
        sideways: metrics are rows and methods are columns, as in [D].
    """

    paper: str
    name: str
    title: str
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    lines: tuple[str, ...]
    baseline: str = "Input"
    sideways: bool = False
    stub: str = "Method"

    @functools.cached_property
    def rows(self) -> dict[str, list[float]]:
        """Row name -> its values over all groups, NaN where none is printed."""
        count = len(self.groups) * len(self.columns)
        found = {}
        for line in self.lines:
            words = line.split()
            values = words[-count:] if len(words) > count else []
            name = " ".join(words[: len(words) - len(values)])
            found[name] = [float(w) for w in values] or [math.nan] * count
        return found

    def group_of(self, kind: str) -> Group:
        """The first group of ``"speech"`` or ``"music"``.

        Raises:
            LookupError: there is none.
        """
        return next(g for g in self.groups if g.kind == kind)

    def numbers(self, group: str, columns: Sequence[str] = ()) -> dict[str, tuple[float, ...]]:
        """Row -> its printed numbers in a group, of all columns or of those named."""
        names = columns or [c.name for c in self.columns]
        return {row: tuple(self.value(row, group, c) for c in names) for row in self.rows}

    def value(self, row: str, group: str, column: str) -> float:
        """A printed number; NaN if the paper has none there."""
        groups, columns = [g.name for g in self.groups], [c.name for c in self.columns]
        if row not in self.rows or group not in groups or column not in columns:
            return math.nan
        return self.rows[row][groups.index(group) * len(columns) + columns.index(column)]


_STYLE = (
    Column("PESQ", "pesq", "higher"),
    Column("STFT", "stft"),
    Column("MSD", "msd"),
    Column("SCE", "sce"),
    Column("RMS", "rms_paper"),
    Column("LUFS", "lufs"),
)
TABLE_1 = Printed(
    "deepafx-st", "table-1", "Synthetic production style transfer with models trained on speech",
    (
        Group("LibriTTS", "libritts", "speech", 24000),
        Group("DAPS", "daps", "speech", 24000),
        Group("VCTK", "vctk", "speech", 24000),
    ),
    _STYLE,
    (
        "Input 3.765 1.187 2.180 687.5 6.983 2.426 3.684 1.179 2.151 641.7 6.900 2.314 "
        "3.672 1.254 2.008 815.4 7.783 2.532",
        "RB-DSP 3.856 0.943 1.955 410.3 4.204 1.674 3.787 0.917 1.882 399.7 3.705 1.481 "
        "3.709 1.101 1.911 657.6 5.039 2.018",
        "cTCN 1 4.258 0.405 0.887 128.4 2.237 1.066 4.185 0.419 0.884 124.6 2.098 1.006 "
        "4.181 0.467 0.891 173.8 2.651 1.165",
        "cTCN 2 4.281 0.372 0.833 117.5 1.927 0.925 4.224 0.391 0.841 113.9 1.886 0.913 "
        "4.201 0.441 0.856 163.8 2.431 1.086",
        "NP 3.643 0.676 1.405 265.0 2.812 1.340 3.605 0.685 1.362 249.2 2.732 1.350 "
        "3.651 0.737 1.300 321.7 3.166 1.453",
        "NP-HH 3.999 1.038 2.179 440.2 5.472 2.679 3.903 1.022 2.113 451.9 5.104 2.535 "
        "3.951 1.044 1.930 591.5 5.194 2.651",
        "NP-FH 3.945 1.058 2.088 404.9 6.820 3.197 3.891 1.037 2.045 395.4 6.754 3.117 "
        "3.894 1.087 1.934 514.0 7.065 3.363",
        "SPSA 4.180 0.635 1.406 219.5 3.263 1.600 4.099 0.645 1.379 213.6 2.989 1.511 "
        "4.023 0.730 1.359 301.6 3.535 1.737",
        "AD 4.310 0.388 0.882 111.5 1.828 0.823 4.222 0.416 0.895 109.0 1.758 0.799 "
        "4.218 0.481 0.924 152.7 2.317 1.006",
    ),
)  # fmt: skip
TABLE_2 = Printed(
    "deepafx-st", "table-2", "Synthetic production style transfer with models trained on music",
    (
        Group("MTG-Jamendo (24 kHz)", "mtg-jamendo", "music", 24000),
        Group("MTG-Jamendo (44.1 kHz)", "mtg-jamendo", "music", 44100),
        Group("MUSDB18 (44.1 kHz)", "musdb18", "music", 44100),
    ),
    _STYLE,
    (
        "Input 2.927 1.198 6.088 646.5 6.695 2.518 2.874 1.109 4.454 767.7 6.793 inf "
        "2.900 1.252 4.342 1088.3 5.940 2.312",
        "RB-DSP 2.849 0.925 4.422 263.2 4.254 1.706 2.931 0.887 3.355 342.0 4.749 1.882 "
        "2.994 0.821 3.052 379.4 4.078 1.665",
        "cTCN 1 3.402 0.547 2.294 160.9 3.261 1.483 3.168 0.876 2.921 494.4 4.372 2.070 "
        "3.121 0.896 2.956 730.4 4.548 2.231",
        "cTCN 2 3.390 0.548 2.278 152.3 2.951 1.397 3.123 0.903 2.973 517.4 4.084 1.899 "
        "3.107 0.917 2.986 749.5 4.208 2.061",
        "NP S 2.926 0.787 2.838 221.3 2.785 1.390 2.764 1.033 2.869 488.3 3.710 1.824 "
        "2.804 0.950 2.778 742.1 3.835 1.921",
        "NP M 2.765 0.845 3.211 255.2 3.227 1.608 2.699 1.042 2.928 497.0 3.942 1.961 "
        "2.791 0.946 2.800 757.1 4.209 2.127",
        "NP-HH (S) 2.819 1.092 6.791 395.3 6.276 3.032 2.865 1.101 5.194 689.2 6.792 3.365 "
        "2.853 1.165 4.852 1005.7 6.451 3.269",
        "NP-HH (M) 2.532 1.166 7.070 591.9 5.660 2.593 2.512 1.148 5.385 854.9 5.940 2.740 "
        "2.493 1.198 5.090 1021.9 5.585 2.731",
        "NP-FH (S) 2.833 1.016 5.005 280.8 3.377 1.634 2.888 0.977 3.883 429.9 3.480 1.709 "
        "2.857 1.045 3.809 617.3 3.932 1.971",
        "NP-FH (M) 2.648 1.137 6.368 605.6 5.903 2.587 2.625 1.133 5.512 844.6 6.417 2.876 "
        "2.575 1.225 5.450 1172.5 5.973 2.913",
        "SPSA 3.173 0.716 3.024 210.1 2.809 1.344 3.172 0.759 2.458 386.2 2.839 1.311 "
        "3.126 0.789 2.321 574.4 2.925 1.394",
        "AD 3.355 0.488 2.149 144.7 2.167 1.005 3.400 0.585 1.824 304.4 2.425 1.106 "
        "3.396 0.608 1.695 456.1 2.559 1.197",
    ),
)  # fmt: skip
TABLE_3 = Printed(
    "deepafx-st", "table-3", "Realistic production style transfer, mean over 25 pairs of styles",
    (Group("DAPS", "daps", "speech", 24000), Group("MUSDB18", "musdb18", "music", 44100)),
    (
        Column("MSD", "msd"), Column("SCE", "sce"), Column("RMS", "rms_paper"),
        Column("LUFS", "lufs"),
    ),
    (
        "Input 10.4 1041.7 10.4 3.6 8.4 2607.4 9.4 3.8",
        "RB-DSP 8.9 517.2 5.8 2.4 6.5 915.4 8.6 3.7",
        "NP-HH S 9.8 636.6 12.9 5.9 7.0 1512.7 10.0 4.5",
        "SPSA 8.0 360.1 5.1 2.5 5.5 1297.0 4.6 2.1",
        "AD 7.8 278.1 5.2 2.4 4.8 947.6 3.8 1.7",
    ),
)  # fmt: skip
_F1 = tuple(
    Column(name, f"f1_{name.lower()}" if name != "Avg" else "f1", "higher")
    for name in ("Telephone", "Bright", "Warm", "Broadcast", "Neutral", "Avg")
)
TABLE_4 = Printed(
    "deepafx-st", "table-4", "Class-wise F1 scores of linear classifiers on top of embeddings",
    (
        Group("DAPS (Speech)", "daps", "speech", 24000),
        Group("MUSDB18 (Music)", "musdb18", "music", 44100),
    ),
    _F1,
    (
        "Random Mel 0.87 0.78 0.73 0.39 0.00 0.55 0.80 0.98 0.62 0.17 0.00 0.51",
        "OpenL3 0.19 0.61 0.08 0.10 0.18 0.23 0.32 0.66 0.20 0.17 0.30 0.33",
        "CDPAM 1.00 1.00 0.79 0.25 0.63 0.73 0.89 0.95 0.66 0.00 0.06 0.51",
        "NP-HH S 1.00 1.00 1.00 1.00 1.00 1.00 0.98 1.00 0.92 0.59 0.60 0.82",
        "SPSA 0.95 0.98 1.00 0.89 0.95 0.96 0.98 1.00 0.90 0.26 0.00 0.63",
        "AD 1.00 1.00 1.00 1.00 1.00 1.00 0.98 1.00 0.95 0.54 0.50 0.79",
    ),
    baseline="",
    stub="Features",
)  # fmt: skip
READABLE = ("NP", "NP-HH", "NP-FH", "SPSA", "AD")
"""Rows of Table 5 that are ticked under Interpretable."""
TABLE_5 = Printed(
    "deepafx-st", "table-5", "Runtime across differentiation methods",
    (Group("", "", "speech", 24000),),
    (
        Column("Train step (s)", "step_s"), Column("CPU", "cpu_rtf"), Column("GPU", "gpu_rtf"),
        Column("Parameters", "weights", shown="thousands"),
        Column("Interpretable", "readable", "higher", "tick"),
    ),
    (
        "RB-DSP nan 0.004 nan 0 nan",
        "cTCN 1 0.438 0.132 0.002 174000 nan",
        "cTCN 2 0.642 0.268 0.005 336000 nan",
        "NP 0.434 0.277 0.005 336000 1",
        "NP-HH 0.434 0.003 nan 0 1",
        "NP-FH 0.434 0.003 nan 0 1",
        "SPSA 0.413 0.003 nan 0 1",
        "AD 0.301 0.006 0.001 0 1",
    ),
    baseline="",
)  # fmt: skip
"""Printed with "174 k", a dash for none and a tick for interpretable."""
TABLE_I = Printed(
    "diff-deq", "table-1", "Comparison of DEQ and PEQ",
    (
        Group("LIBRI", "libritts", "speech", 24000),
        Group("DAPS", "daps", "speech", 24000),
        Group("VCTK", "vctk", "speech", 24000),
    ),
    (Column("deq", ""), Column("peq", "")),
    (
        "PESQ 4.2897 4.4237 4.2898 4.5269 4.3294 4.5180",
        "STOI 0.9877 0.9988 0.9851 0.9979 0.9730 0.9983",
        "MSE 0.0672 0.0414 0.1877 0.1222 0.0737 0.0348",
        "MSD 1.1790 1.3244 2.1177 2.2746 1.0258 1.0666",
        "RMS Error 0.0340 0.0337 0.1328 0.1150 0.0188 0.0231",
        "LUFS diff -5.8266 -6.6102 -11.3706 -13.2795 -0.0243 -3.2614",
        "STFT Loss 1.2352 1.5126 2.1006 2.1257 1.0817 1.0718",
        "Spectral Centroid Error 339.30 370.22 238.07 121.12 423.08 242.86",
        "Spectral Bandwidth Diff. 0.0104 0.0158 0.0168 0.0117 0.0095 0.0100",
        "Spectral Flatness Diff. 0.0362 0.0395 0.0255 0.0207 0.0459 0.0238",
        "Phase Distortion 0.4715 0.1161 0.4930 0.0883 0.4793 0.1029",
        "Transient Preservation 5.8366 2.8849 4.5725 2.2156 11.0627 1.1047",
        "Crest Factor Diff. 0.2306 0.2489 0.6851 0.7792 0.1661 0.2276",
    ),
    baseline="input",
    sideways=True,
    stub="",
)  # fmt: skip
METRIC_OF_ROW = {
    "PESQ": "pesq", "STOI": "stoi", "MSE": "mse", "MSD": "msd", "RMS Error": "rms_linear",
    "LUFS diff": "lufs_signed", "STFT Loss": "stft_auraloss", "Spectral Centroid Error": "sce",
    "Spectral Bandwidth Diff.": "bandwidth", "Spectral Flatness Diff.": "flatness",
    "Phase Distortion": "phase", "Transient Preservation": "flux", "Crest Factor Diff.": "crest",
    "LUFS diff, unsigned (not printed)": "lufs",
    "onset correlation (not printed)": "onsets",
}  # fmt: skip
"""Rows of [D]'s Table I by retone's metric, and two rows of retone's own. "Transient Preservation"
has no formula and values from 1 to 11: as found it is the spectral flux of output over target,
for which 1 is best; retone's own row is the correlation of the onset strengths."""
NISQA_ROWS = ("overall", "noisiness", "discontinuity", "coloration", "loudness")


def _quality(number: int, name: str, corpus: str) -> Printed:
    return Printed(
        "diff-deq", f"figure-{number}",
        f"Speech quality assessment (NISQA) for the {name} dataset, predicted and target",
        (Group(name, corpus, "speech", 24000),),
        (Column("predicted", "", "higher"), Column("target", "", "higher")),
        NISQA_ROWS,
        baseline="",
        sideways=True,
        stub="",
    )  # fmt: skip


TABLES = {
    (t.paper, t.name): t
    for t in (
        TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_I,
        _quality(3, "LibriTTS", "libritts"), _quality(4, "DAPS", "daps"),
        _quality(5, "VCTK", "vctk"),
    )
}  # fmt: skip
FIGURES = {
    ("deepafx-st", "figure-4"): "Estimated parameters, one utterance and five style references",
    ("deepafx-st", "figure-5"): "Estimated parameters while the input is modified, Broadcast",
    ("diff-deq", "figure-1"): "Frequency response of rule-based DynamicEQ and ParametricEQ",
}
DIAGRAMS = {
    ("deepafx-st", "figure-1"), ("deepafx-st", "figure-2"), ("deepafx-st", "figure-3"),
    ("diff-deq", "figure-2"),
}  # fmt: skip
"""Drawings of the systems, with nothing to measure."""
ITEMS = {
    paper: tuple(sorted((n for p, n in (*TABLES, *FIGURES) if p == paper), reverse=True,
                        key=lambda n: (n.startswith("table"), -int(n[-1]))))
    for paper in PAPERS
}  # fmt: skip
"""Everything that a paper measures, tables first."""

"""Diff-DEQ's figures 3 to 5: distributions of predicted quality for input, outputs and target."""

from __future__ import annotations

import numpy as np

from retone.lab.evaluate.enhance import TARGET
from retone.lab.evaluate.result import Result, interval
from retone.report.svg import Axis, Plot

KEY = "dnsmos.overall"
COLOURS = {"Input": "before", "DEQ improved": "after", TARGET: "reference", "PEQ": "b2",
           "DEQ paper mode": "b3", "PEQ improved": "b4"}  # fmt: skip


def plot(result: Result, case: str, key: str = "") -> Plot:
    """Cumulative distributions, one line per method, with mean and 95 % interval at the top.

    ``key`` is a predictor's score, such as ``dnsmos.overall``; DNSMOS, else NISQA, if empty.
    """
    if not key:
        known = {k for r in result.rows for k in r.values}
        key = KEY if KEY in known else "nisqa.overall"
    methods = [m for m in result.names("method") if result.values(case, m, key)]
    values = {m: list(result.values(case, m, key).values()) for m in methods}
    every = np.array([v for pairs in values.values() for _, v in pairs])
    low, high = np.floor(every.min() * 4) / 4, np.ceil(every.max() * 4) / 4
    picture = Plot(
        "quality", f"Distribution of {key}: {case}", 960, 380,
        Axis(float(low), float(high), f"{key} (MOS)", "MOS"),
        Axis(0.0, 1.0 + 0.09 * len(methods), "Share of clips at or below", "", count=5,
             ticks=tuple((v, f"{v:g}") for v in (0.0, 0.25, 0.5, 0.75, 1.0))), top=30,
    )  # fmt: skip
    for index, method in enumerate(methods):
        css = COLOURS.get(method, "b5")
        x = np.sort([v for _, v in values[method]])
        steps = np.repeat(x, 2)
        share = np.repeat(np.arange(x.size + 1) / x.size, 2)[1:-1]
        picture.line(steps, share, css, legend=method)
        mean, left, right = interval(values[method])
        height = 1.05 + 0.09 * index
        picture.line(np.array([left, right]), np.full(2, height), css)
        picture.dot(mean, height, css)
    return picture

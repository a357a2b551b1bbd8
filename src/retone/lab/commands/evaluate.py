"""Measure systems on recordings: the tables of the papers, with confidence intervals.

evaluate synthetic --corpus NAME=FOLDER    Tables 1 and 2: pairs with a known target
evaluate gate --corpus NAME=FOLDER         trains how much of a network's change to make
evaluate realistic --corpus NAME=FOLDER    Table 3: five styles, references from other voices
evaluate natural --corpus NAME=FOLDER      untreated recordings: another voice or piece as
                                           reference; --table devices: through a device
evaluate presets --corpus NAME=FOLDER      changes by presets: first, second, in style already
evaluate probes --corpus NAME=FOLDER       Table 4: linear probes of encoders
evaluate strategies RUN RUN ... --corpus NAME=FOLDER --rates HZ
                                           trained differentiation strategies side by side
evaluate equal-budgets --train NAME=FOLDER --corpus ...
                                           every strategy trained for the same time
evaluate gradients --corpus NAME=FOLDER    each strategy's gradient against the exact one
evaluate proxy WEIGHTS                     a proxy's error in dB, by parameter regions
evaluate enhance --corpus NAME=FOLDER      Diff-DEQ's Table I: degraded speech restored without a
                                           reference; --quality for its figures 3 to 5
evaluate enhance-recordings FOLDER         real recordings before and after, file by file
evaluate enhance-response --corpus ...     Figure 1: a dynamic against a static equaliser
evaluate objectives --train NAME=FOLDER --corpus ...
                                           what perceptual terms in the loss change in enhance
evaluate formats --folder EMPTY            every format in and out, checked by ffmpeg; --mutated
                                           for damaged files; writes docs/formats.md
evaluate peers-tests                       what neighbouring packages' tests ask, asked of retone
evaluate peers-suites                      their own tests, from their releases, run on retone

In a clone of the repository, from the results in docs/results:
evaluate render-docs                       writes docs/closeness.md and docs/styles.md
evaluate natural-docs                      writes docs/natural.md
evaluate reproducing-docs                  writes docs/reproducing.md
evaluate strategies-docs                   writes the tables of docs/strategies.md
evaluate enhance-docs                      writes docs/enhancement.md
"""

from __future__ import annotations

import argparse

from retone.lab.commands import (
    evaluate_docs,
    evaluate_enhance,
    evaluate_formats,
    evaluate_gate,
    evaluate_natural,
    evaluate_objectives,
    evaluate_peers,
    evaluate_strategies,
    evaluate_styles,
    evaluate_synthetic,
)
from retone.lab.commands.verbs import Verb, add_verbs, run_verb

VERBS: tuple[Verb, ...] = (
    *evaluate_synthetic.VERBS,
    *evaluate_gate.VERBS,
    *evaluate_natural.VERBS,
    *evaluate_styles.VERBS,
    *evaluate_strategies.VERBS,
    *evaluate_enhance.VERBS,
    *evaluate_objectives.VERBS,
    *evaluate_formats.VERBS,
    *evaluate_peers.VERBS,
    *evaluate_docs.VERBS,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_verbs(parser, VERBS)


run = run_verb

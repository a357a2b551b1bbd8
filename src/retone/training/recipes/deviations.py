"""Where the papers' recipes differ from the papers, and what they share with them.

``STATED`` holds what a paper (or, where that is silent, its published program) says in numbers, by
the recipe's field. ``DEVIATIONS`` holds everything that differs. Tables print both next to the
rows of a recipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Deviation(NamedTuple):
    """One difference: what, as published, as it is here."""

    what: str
    published: str
    here: str


_PAIRS = (
    Deviation(
        "target's level before its compressor",
        "the program normalises the input a second time instead of the target",
        "the target is normalised",
    ),
    Deviation(
        "pitch shift",
        "the program's changes the length, not the pitch",
        "the pitch changes (deepafx_reference_speech keeps both slips of the program)",
    ),
    Deviation("A/B swap", "the program draws one coin for a batch", "one coin for every example"),
    Deviation(
        "loudest samples of input and target",
        "the program clips at full scale",
        "never clipped",
    ),
    Deviation("fades at a clip's ends", "the program: 1102 samples, 46 ms at 24 kHz", "50 ms"),
)
_EFFECTS = (
    Deviation(
        "compressor's knee",
        "the program raises the level in the knee and jumps at its upper edge",
        "the textbook curve (Giannoulis, Massberg and Reiss, 2012)",
    ),
    Deviation(
        "attack and release times",
        "the paper gives none; the program: 10 to 90 % of a step, exp(-ln 9 / (fs t))",
        "as the program",
    ),
    Deviation(
        "range of the second peak's frequency",
        "the program: 200 to 4000 Hz in AD, 800 to 4000 Hz elsewhere",
        "800 to 4000 Hz everywhere",
    ),
)
_AD = (
    Deviation(
        "single time constant of AD",
        "the paper's Eq. 4; the program: a bilinear low-pass with a time constant of attack / pi",
        "the paper's Eq. 4 with the attack time, 10 to 90 % of a step",
    ),
)
_NETWORK = (
    Deviation("encoder's Hann window", "trained along in the program", "fixed"),
    Deviation(
        "controller's activations", "PReLU (paper), LeakyReLU (program)", "PReLU, as the paper"
    ),
)
_TCN = (
    Deviation(
        "residual path of a TCN block",
        "the program's is one sample late",
        "in time with the convolution",
    ),
    Deviation("FiLM's scale", "free", "around 1"),
)
_PROXY = (
    *_TCN,
    Deviation(
        "a proxy's learning rate",
        "divided by 10 after 10 epochs without a better validation",
        "divided by 10 at 80 and 95 % of the run",
    ),
)
_NP_FH = (
    Deviation(
        "NP-FH in training",
        "the paper: the effect runs forward; the program never runs it in training",
        "the effect runs forward, as the paper says",
    ),
)
_SPSA = (
    Deviation(
        "sample rate of SPSA's perturbed renders",
        "the program: 24 kHz whatever the audio's rate",
        "that of the audio (training is at 24 kHz in both)",
    ),
)
_DIFFDEQ = (
    Deviation("published program", "announced, not found", "from the paper's text"),
    Deviation(
        "front end",
        "raw audio; a receptive field of 321 samples at the stated sizes",
        "three strided convolutions, 512 samples a frame, before the TCN",
    ),
    Deviation("dilations", "8 blocks, {1, 3, 9, 27}", "two stacks of 1, 3, 9, 27"),
    Deviation("input scaling", "not stated", "standardised by statistics of 256 training clips"),
    Deviation("examples of an epoch", "not stated", "10,000"),
    Deviation("weights of the two losses", "not stated", "1 and 1, auraloss's default STFT loss"),
    Deviation(
        "high-pass of the crossover",
        "Eq. 4 turns one sign of the low-pass: no unity gain in its pass band",
        "the Butterworth high-pass",
    ),
    Deviation(
        "target's phase",
        "the untouched clip, which no setting can reach through the crossovers",
        "the clip through the crossovers' all-pass",
    ),
    Deviation(
        "random dynamic EQ of the input",
        "not stated beyond a gain of +/-24 dB",
        "each band with a probability of 0.7, gains to 12 dB, ratios to 6",
    ),
    Deviation(
        "silence",
        'amplitude below 1e-4, "energy below 0.01"',
        "more than half of the 25 ms frames below 0.01 RMS, or a peak below 1e-4",
    ),
    Deviation("compressor's knee and detector", "not stated", "6 dB; RMS over 10 ms; both fixed"),
    Deviation(
        "centre frequencies of a band's EQ", "not predicted", "at the middle of the band, fixed"
    ),
)
_PEQ = (
    Deviation(
        "ranges of the PEQ",
        "dasp-pytorch's, which collapse at 24 kHz",
        "DeepAFx-ST's six bands",
    ),
)
RB_DSP = (
    Deviation(
        "RB-DSP",
        "the text: the setting that reaches the loudness; the program: the one before, and a "
        "linear-phase FIR whose delay stays in",
        "as the program",
    ),
)
"""Of the rule-based row, which no recipe trains."""


def deviations(recipe: str) -> tuple[Deviation, ...]:
    """Everything in which a recipe of the papers differs from them; empty for retone's own."""
    if recipe.startswith("diffdeq_") and "improved" not in recipe and "smoke" not in recipe:
        return _DIFFDEQ + (_PEQ if "peq" in recipe else ())
    if recipe.startswith("proxy_") and "compact" not in recipe:
        return _EFFECTS[:1] + _PROXY
    if not recipe.startswith("deepafx_"):
        return ()
    found: tuple[Deviation, ...] = _PAIRS + _NETWORK
    if recipe in ("deepafx_speech", "deepafx_music") or "frequency_sampled" in recipe:
        return found + _EFFECTS + _AD
    if "ctcn" in recipe:
        return found + _TCN
    found += _EFFECTS
    if "_np" in recipe:
        found += _PROXY + (_NP_FH if "_fh_" in recipe else ())
    if "spsa" in recipe:
        found += _SPSA
    return found


_DEEPAFX: dict[str, Any] = {
    "pairs.sample_rate": 24000, "pairs.length": 131072, "pairs.min_mean_square": 1e-3,
    "pairs.silence_of_clip": True, "pairs.balance": 0.0, "pairs.peak_dbfs": -12.0,
    "pairs.cross_source_probability": 0.0, "pairs.color_probability": 0.0,
    "pairs.augment_probability": 0.5, "pairs.input_equalizer_probability": 0.75,
    "pairs.expander_probability": 0.1, "pairs.target_equalizer_probability": 0.75,
    "pairs.compressor_probability": 0.75, "network.embedding": 1024,
    "network.front_end.window": 4096, "network.front_end.hop": 2048,
    "optimizer.learning_rate": 1e-4, "optimizer.milestones": (0.8, 0.95),
    "optimizer.clip_norm": 4.0, "optimizer.cosine": False, "optimizer.warmup_steps": 0,
    "batch_size": 6, "steps": 400 * 20_000 // 6, "validation_pairs": 200, "best_by": "l1",
    "precision": "float32", "loss.weights": (1.0, 100.0),
}  # fmt: skip
_DIFFDEQ_STATED: dict[str, Any] = {
    "pairs.sample_rate": 24000, "pairs.length": 70_972, "pairs.drive_db": 24.0,
    "pairs.peak_dbfs": 0.0, "pairs.balance": 0.0, "optimizer.learning_rate": 1e-4,
    "optimizer.cosine": True, "optimizer.cosine_end": 0.0, "optimizer.clip_norm": 0.0,
    "optimizer.warmup_steps": 0, "batch_size": 16, "steps": 200 * 10_000 // 16,
    "network.kernel": 5, "precision": "float32",
}  # fmt: skip
_PROXY_STATED: dict[str, Any] = {
    "pairs.sample_rate": 24000, "pairs.length": 65536, "optimizer.learning_rate": 3e-4,
    "batch_size": 16, "steps": 400 * 20_000 // 16, "best_by": "loss", "optimizer.clip_norm": 10.0,
}  # fmt: skip


def stated(recipe: str) -> dict[str, Any]:
    """Field -> value as the paper or its program states it; empty for retone's own recipes."""
    if not deviations(recipe) or recipe == "deepafx_reference_speech":
        return {}
    if recipe.startswith("proxy_"):
        return _PROXY_STATED
    if recipe.startswith("diffdeq_"):
        return _DIFFDEQ_STATED
    if recipe.startswith("deepafx_spsa_"):
        own = {"optimizer.learning_rate": 1e-5, "gradient.epsilon": 5e-4}
        return _DEEPAFX | (own if "improved" not in recipe else {"gradient.epsilon": 5e-4})
    return {} if recipe == "deepafx_smoke" else _DEEPAFX


def lines(recipe: str) -> Iterator[str]:
    """The deviations as rows of a Markdown table: what, published, here."""
    for d in deviations(recipe):
        yield f"| {d.what} | {d.published} | {d.here} |"

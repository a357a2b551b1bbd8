"""Compressor on one stream: time, and distance to plain loops in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.effects import Compressor
from retone.lab.bench import peers
from retone.lab.bench.methods import Method, measure
from retone.lab.bench.reference import (
    Array,
    compress_loop,
    error_to_signal_db,
    linear_gain_loop,
    moving_pink_noise,
)
from retone.lab.bench.result import Section
from retone.units import smoothing

SETTING = {
    "threshold_db": -24.0,
    "ratio": 4.0,
    "attack_ms": 5.0,
    "release_ms": 100.0,
    "knee_db": 6.0,
    "makeup_db": 0.0,
}
NO_EXPANDER = {"expander_threshold_db": -200.0, "expander_ratio": 0.5}
"""Disables torchcomp's expander: at -200 dB it never acts."""
CHECKED_S = 2.0
"""Seconds of the signal that the plain loops process."""


def setting_of(batch: int = 1, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The setting as tensors [B]."""
    return {name: torch.full((batch,), value, dtype=dtype) for name, value in SETTING.items()}


def torchcomp_setting(batch: int = 1, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The same for torchcomp: no knee, no makeup gain, expander disabled."""
    values = {**SETTING, **NO_EXPANDER}
    names = ("threshold_db", "ratio", "attack_ms", "release_ms", *NO_EXPANDER)
    return {name: torch.full((batch,), values[name], dtype=dtype) for name in names}


def torchcomp_exact(audio: Array, sample_rate: float) -> Array:
    """torchcomp's formula as a plain float64 loop, on [T]."""
    times = [torch.tensor([SETTING[n]], dtype=torch.float64) for n in ("attack_ms", "release_ms")]
    attack, release = peers.torchcomp_coefficients(times, sample_rate)
    level = np.abs(audio.astype(np.float64)) + peers.TORCHCOMP_FLOOR
    gain = linear_gain_loop(
        level, SETTING["threshold_db"], SETTING["ratio"], float(attack), float(release)
    )
    return audio * gain


def kernel_columns(sample_rate: float) -> Array:
    """The setting as columns for the kernel, [1, 9]."""
    attack, release = (smoothing(SETTING[n], sample_rate) for n in ("attack_ms", "release_ms"))
    slope = 1 - 1 / SETTING["ratio"]
    rest = (SETTING["knee_db"], SETTING["makeup_db"], 1.0, -200.0, 0.0)
    return np.array([[SETTING["threshold_db"], slope, attack, release, *rest]])


def compressor_section(
    *, seconds: float, sample_rate: float, rounds: int, seed: int, say: Callable[[str], None]
) -> Section:
    """Measure the compressor; arguments as ``equalizer_section``."""
    from retone.kernels.dynamics import compress_forward

    audio = moving_pink_noise(round(seconds * sample_rate), sample_rate, seed)
    tensor, row = torch.from_numpy(audio), np.ascontiguousarray(audio[0])
    checked = row[: round(CHECKED_S * sample_rate)]
    exact = compress_loop(checked, sample_rate, SETTING)
    effect, own, f32 = Compressor(), setting_of(), setting_of(dtype=torch.float32)
    comp_f32 = torchcomp_setting(dtype=torch.float32)

    def no_grad(call: Callable[[], Tensor]) -> Callable[[], Array]:
        def run() -> Array:
            with torch.no_grad():
                return call().numpy()

        return run

    def kernel() -> Callable[[], Array]:
        columns = kernel_columns(sample_rate)
        state = np.zeros((1, 3))
        return lambda: compress_forward(audio[None], columns, state, threads=1)[0]

    def board() -> Callable[[], Array]:
        import pedalboard

        names = ("threshold_db", "ratio", "attack_ms", "release_ms")
        chain = pedalboard.Compressor(**{name: SETTING[name] for name in names})
        return lambda: chain(row, sample_rate)

    def against(reference: Callable[[], Array], key: str) -> Callable[[Any], dict[str, Any]]:
        def figures(result: Any) -> dict[str, float | None]:
            part = np.asarray(result).reshape(-1)[: checked.size]
            return {key: error_to_signal_db(part, reference())}

        return figures

    loop = against(lambda: exact, "esr_loop_db")
    section = Section(
        "compressor",
        f"Compressor, one stream of {seconds:g} s mono at {sample_rate:g} Hz, float32",
        baseline="retone",
        audio_s=seconds,
        figures=[
            ("esr_loop_db", "error to signal, against the attack/release loop (dB)"),
            ("esr_own_db", "error to signal, against its own formula (dB)"),
        ],
        notes=[
            "The methods differ. retone and dasp-pytorch have a soft knee and smooth "
            "decibels, but dasp-pytorch has no release: its distance to the loop is that of "
            "another compressor. torchcomp has a hard knee and smooths the linear gain, so it is "
            "held against its own formula. pedalboard has a hard knee and another detector: "
            "speed only.",
            f"Distances over the first {CHECKED_S:g} s, against plain loops in float64.",
        ],
        settings=dict(SETTING),
    )
    methods = [
        Method(
            "retone",
            lambda: no_grad(lambda: effect.render(tensor[None], sample_rate, own).audio),
            figures=loop,
            note="soft knee, attack and release",
        ),
        Method("retone, kernel only", kernel, figures=loop, note="coefficients ready"),
        Method("pedalboard", board, peers.PEDALBOARD, note="hard knee, other detector: speed only"),
        Method(
            "torchcomp",
            lambda: no_grad(lambda: tensor * peers.torchcomp_gain(tensor, sample_rate, comp_f32)),
            peers.TORCHCOMP,
            against(lambda: torchcomp_exact(checked, sample_rate), "esr_own_db"),
            "hard knee, smooths linear gain",
        ),
        Method(
            "dasp-pytorch",
            lambda: no_grad(lambda: peers.dasp_compressor(tensor[None], sample_rate, f32)),
            peers.DASP,
            loop,
            "no release; frequency sampling",
        ),
    ]
    return measure(section, methods, rounds=rounds, seed=seed, say=say)

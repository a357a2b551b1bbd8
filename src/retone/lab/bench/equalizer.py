"""Six-band equaliser on one stream: time, and distance to scipy in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.effects import Equalizer
from retone.lab.bench import peers
from retone.lab.bench.methods import Method, measure
from retone.lab.bench.reference import (
    Array,
    cookbook_sos,
    error_to_signal_db,
    moving_pink_noise,
)
from retone.lab.bench.result import Section

NORMAL: dict[str, tuple[float, float, float]] = {
    "low_shelf": (100.0, 6.0, 0.707),
    "peak_1": (250.0, -4.0, 1.0),
    "peak_2": (1000.0, 3.0, 1.4),
    "peak_3": (3000.0, -5.0, 2.0),
    "peak_4": (6000.0, 4.0, 1.0),
    "high_shelf": (9000.0, 5.0, 0.707),
}
"""A normal setting: band -> (frequency_hz, gain_db, q)."""
HARD = {
    name: (30.0, 12.0, 5.0) if name == "low_shelf" else (frequency, 0.0, q)
    for name, (frequency, _, q) in NORMAL.items()
}
"""A low shelf at 30 Hz with Q 5 and +12 dB, the others at 0 dB: poles close to the unit circle."""


def setting_of(
    bands: peers.Bands, batch: int = 1, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """Bands as the ``Setting`` of an ``Equalizer``."""
    setting: dict[str, Tensor] = {}
    for name, (frequency, gain, q) in bands.items():
        for quantity, value in (("frequency_hz", frequency), ("gain_db", gain), ("q", q)):
            setting[f"{name}_{quantity}"] = torch.full((batch,), value, dtype=dtype)
    return setting


Filter = Callable[[peers.Bands], Callable[[], Any]]
"""Prepares one setting and returns the call that filters the signal with it."""


def _filters(audio: Array, sample_rate: float) -> dict[str, tuple[Filter, dict[str, str], str]]:
    """Method -> (preparation, packages, note)."""
    from scipy.signal import sosfilt

    from retone.kernels.sections import sections_forward

    tensor = torch.from_numpy(audio)
    row = np.ascontiguousarray(audio[0])
    row64 = row.astype(np.float64)
    effect = Equalizer()

    def no_grad(call: Callable[[], Tensor]) -> Callable[[], Array]:
        def run() -> Array:
            with torch.no_grad():
                return call().numpy()

        return run

    def sections(bands: peers.Bands, dtype: torch.dtype) -> Tensor:
        sos = cookbook_sos(bands, sample_rate)
        return torch.from_numpy(sos[:, [0, 1, 2, 4, 5]])[None].to(dtype)

    def render(bands: peers.Bands) -> Callable[[], Array]:
        setting = setting_of(bands)
        return no_grad(
            lambda: effect.render(tensor[None], sample_rate, setting, checked=False).audio
        )

    def kernel(bands: peers.Bands) -> Callable[[], Array]:
        sos = sections(bands, torch.float64).numpy()
        state = np.zeros((1, len(bands), 2))
        return lambda: sections_forward(audio, sos, state, threads=1)[0]

    def scipy_f32(bands: peers.Bands) -> Callable[[], Array]:
        sos = cookbook_sos(bands, sample_rate).astype(np.float32)
        return lambda: sosfilt(sos, row)

    def scipy_f64(bands: peers.Bands) -> Callable[[], Array]:
        sos = cookbook_sos(bands, sample_rate)
        return lambda: sosfilt(sos, row64)

    def board(bands: peers.Bands) -> Callable[[], Array]:
        chain = peers.pedalboard_equalizer(bands)
        return lambda: chain(row, sample_rate)

    def lpc(bands: peers.Bands) -> Callable[[], Array]:
        sos = sections(bands, torch.float32)
        return no_grad(lambda: peers.torchlpc_equalizer(tensor, sos))

    def phil(bands: peers.Bands) -> Callable[[], Array]:
        sos = sections(bands, torch.float32)
        return no_grad(lambda: peers.philtorch_equalizer(tensor, sos))

    def dasp(bands: peers.Bands) -> Callable[[], Array]:
        setting = setting_of(bands, dtype=torch.float32)
        return no_grad(lambda: peers.dasp_equalizer(tensor[None], sample_rate, setting))

    ready = "coefficients ready"
    return {
        "retone": (render, {}, "coefficient design included"),
        "retone, kernel only": (kernel, {}, ready),
        "scipy sosfilt, float32": (scipy_f32, {}, ready),
        "scipy sosfilt, float64": (scipy_f64, {}, f"{ready}; the exact reference"),
        "pedalboard": (board, peers.PEDALBOARD, f"{ready}; six filters in a Pedalboard"),
        "torchlpc": (lpc, peers.TORCHLPC, f"{ready}; six biquads one after another"),
        "philtorch": (phil, peers.PHILTORCH, f"{ready}; six biquads, form tdf2, back end ssm"),
        "dasp-pytorch": (dasp, peers.DASP, "coefficient design included; frequency sampling"),
    }


def equalizer_section(
    *, seconds: float, sample_rate: float, rounds: int, seed: int, say: Callable[[str], None]
) -> Section:
    """Measure the six-band equaliser.

    Args:
        seconds: length of the mono stream.
        sample_rate: in Hz.
        rounds: timed calls of each method.
        seed: random seed of the signal and of the order of calls.
        say: callback for lines of progress text.
    """
    from scipy.signal import sosfilt

    audio = moving_pink_noise(round(seconds * sample_rate), sample_rate, seed)
    cases = {"esr_normal_db": NORMAL, "esr_hard_db": HARD}
    exact = {
        key: sosfilt(cookbook_sos(bands, sample_rate), audio[0].astype(np.float64))
        for key, bands in cases.items()
    }
    section = Section(
        "equalizer",
        f"Six-band equaliser, one stream of {seconds:g} s mono at {sample_rate:g} Hz, float32",
        baseline="retone",
        audio_s=seconds,
        figures=[
            ("esr_normal_db", "error to signal, normal setting (dB)"),
            ("esr_hard_db", "error to signal, 30 Hz Q 5 +12 dB low shelf (dB)"),
        ],
        notes=[
            "Error to signal is measured against scipy's sosfilt in float64 with coefficients "
            "designed in float64: lower is closer. The signal is pink noise from 20 Hz on, so it "
            "has much energy where the low shelf is hard; most recordings have less there.",
        ],
        settings={"normal": NORMAL, "hard": HARD},
    )

    def method(name: str, build: Filter, packages: dict[str, str], note: str) -> Method:
        def figures(result: Any) -> dict[str, float | None]:
            if name == "scipy sosfilt, float64":
                return dict.fromkeys(cases)
            return {
                "esr_normal_db": error_to_signal_db(result, exact["esr_normal_db"]),
                "esr_hard_db": error_to_signal_db(build(HARD)(), exact["esr_hard_db"]),
            }

        return Method(name, lambda: build(NORMAL), packages, figures, note)

    methods = [method(name, *rest) for name, rest in _filters(audio, sample_rate).items()]
    return measure(section, methods, rounds=rounds, seed=seed, say=say)

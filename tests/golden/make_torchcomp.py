"""Writes ``torchcomp.npz``: gains, outputs and gradients as torchcomp 0.2.1 computes them.

Run it where torchcomp is installed: ``python tests/golden/make_torchcomp.py``. Inputs, settings
and results are all kept in the file, so the test needs neither torchcomp nor this script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchcomp

SAMPLE_RATE = 44100
LENGTH = 1500
SETTINGS = {
    "threshold_db": [-20.0, -35.0, -9.0],
    "ratio": [4.0, 2.0, 12.0],
    "expander_threshold_db": [-45.0, -90.0, -30.0],
    "expander_ratio": [2.0, 1.5, 4.0],
    "attack_ms": [1.0, 5.0, 0.3],
    "release_ms": [20.0, 8.0, 60.0],
}
RMS_MS = 10.0


def coefficient(time_ms: torch.Tensor) -> torch.Tensor:
    """Update coefficient of a 10-90 % time; torchcomp's own conversion rounds ln 9 to 2.2."""
    return 1 - torch.exp(-np.log(9.0) / (SAMPLE_RATE * time_ms / 1000))


def main() -> None:
    rng = np.random.default_rng(20)
    fade = 10 ** (-4 * np.sin(np.linspace(0, 9, LENGTH)) ** 2)
    audio = torch.from_numpy((0.5 * fade * rng.standard_normal((3, LENGTH))).astype(np.float32))
    audio = audio.double()
    weight = torch.from_numpy(rng.standard_normal((3, LENGTH)))
    s = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in SETTINGS.items()}
    k_rms = float(coefficient(torch.tensor(RMS_MS, dtype=torch.float64)))
    level = torchcomp.avg(audio**2, k_rms).sqrt()
    gain = torchcomp.compexp_gain(
        level,
        s["threshold_db"],
        s["ratio"],
        s["expander_threshold_db"],
        1 / s["expander_ratio"],
        coefficient(s["attack_ms"]),
        coefficient(s["release_ms"]),
    )
    (audio * gain * weight).sum().backward()
    np.savez_compressed(
        Path(__file__).with_name("torchcomp.npz"),
        audio=audio.numpy().astype(np.float32),
        weight=weight.numpy(),
        gain=gain.detach().numpy(),
        sample_rate=SAMPLE_RATE,
        rms_ms=RMS_MS,
        **{f"set_{n}": v.detach().numpy() for n, v in s.items()},
        **{f"grad_{n}": v.grad.numpy() for n, v in s.items() if v.grad is not None},
    )


if __name__ == "__main__":
    main()

"""float32 sections inside a network that otherwise computes in bfloat16."""

from __future__ import annotations

import torch


def full_precision(device: torch.device) -> torch.autocast:
    """A context without autocast, for spectra and final parameters (24-bit significands).

    bfloat16 has 8 significant bits; a unit parameter at 0.9 would move in steps of 0.004, a
    third of a decibel of threshold.
    """
    return torch.autocast(device.type, enabled=False)

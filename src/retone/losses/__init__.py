"""Training losses: distances between waveforms and between styles.

``LOSSES`` holds them by name; another package adds one by an entry point in ``retone.losses`` that
names a class (or a function) which makes a ``Loss`` when it is called without arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retone.errors import SettingError
from retone.losses.spectra import STFTDistance, SumAndDifference
from retone.losses.style import StyleDistance
from retone.losses.waveform import (
    L1,
    AtEqualLoudness,
    Loss,
    MultiResolutionSTFT,
    PreparedTarget,
    WeightedSum,
    auraloss_default,
)
from retone.registry import Registry


def _complaint(name: str, member: Any) -> str | None:
    return None if callable(member) else "is not a class or function that makes a loss"


LOSSES: Registry[Callable[[], Loss]] = Registry(
    "retone.losses",
    "loss",
    {
        "l1": L1,
        "stft": MultiResolutionSTFT,
        "stft_auraloss": auraloss_default,
        "style": StyleDistance,
    },
    check=_complaint,
)
"""Factories of losses by name."""


def loss_named(name: str) -> Loss:
    """A loss with its default settings.

    Raises:
        SettingError: no loss has that name, or its factory returns something else.
    """
    made = LOSSES.named(name)()
    if not isinstance(made, Loss):
        raise SettingError(
            f"loss '{name}' made a {type(made).__name__}, which is not a Loss: it needs a call, "
            "per_item and prepare."
        )
    return made


__all__ = [
    "L1",
    "LOSSES",
    "AtEqualLoudness",
    "Loss",
    "MultiResolutionSTFT",
    "PreparedTarget",
    "STFTDistance",
    "StyleDistance",
    "SumAndDifference",
    "WeightedSum",
    "auraloss_default",
    "loss_named",
]

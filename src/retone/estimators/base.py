"""What an estimator is: it listens to recordings and returns an effect with its setting.

An estimator is an object that is passed to a matcher. It never reads or writes files and never
renders the result; it sees excerpts that the matcher chose and normalised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from retone.dsp.effect import Effect
from retone.dsp.param import ParamTable, Setting
from retone.estimators.profile import Profile


@dataclass(frozen=True)
class Excerpt:
    """What an estimator hears of a recording: its most active part, mono.

    ``audio`` [T] float32 at ``sample_rate``, scaled so that its peak is ``NORMAL_PEAK_DB``.
    """

    audio: torch.Tensor
    sample_rate: int


Reference = Excerpt | Profile
"""What sounds right: a recording as it was heard, or a profile of many."""

NORMAL_PEAK_DB = -12.0
"""Peak of every excerpt in dBFS, as in DeepAFx-ST, so that thresholds mean the same everywhere."""


def shift_thresholds(
    table: ParamTable, setting: Setting, by_db: float | torch.Tensor
) -> tuple[Setting, bool]:
    """Move every threshold by a level difference, held in its range; says whether one was held."""
    moved, held = dict(setting), False
    for p in table:
        if p.level_relative:
            value = setting[p.name] + by_db
            moved[p.name] = value.clamp(p.low, p.high)
            held |= bool((value < p.low).any())
    return moved, held


@dataclass(frozen=True)
class Estimate:
    """An effect with one setting (batch size 1), made for an input whose peak is -12 dBFS.

    ``notes`` are sentences for the person: what was limited, left out or uncertain.
    """

    effect: Effect
    setting: Setting
    notes: tuple[str, ...] = field(default=())


@runtime_checkable
class Estimator(Protocol):
    """Chooses settings. Implementations are frozen dataclasses; ``name`` appears in reports."""

    @property
    def name(self) -> str:
        """Short name for reports."""
        ...

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: object | None = None,
    ) -> Estimate:
        """Find the setting that brings the source's sound to the references'.

        Args:
            source: the recording to change.
            references: one or more that sound right; their statistics are averaged.
            locks: parameters that must keep a value, by dotted name in physical units.
            progress: a callable taking (done, total), or None.
        """
        ...

"""The interface of an estimator: it analyses recordings and returns an effect with its setting.

Estimators are passed to ``retone.decide``. They never read or write files and never render the
result; they get excerpts that are already selected and normalised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from retone.dsp.effect import Effect
from retone.dsp.measure import Array
from retone.dsp.param import Param, ParamTable, Setting
from retone.estimators.profile import Profile
from retone.progress import Progress, silent

EXPANDER = "expander_threshold_db"
HELD_NOTE = "The recording is so quiet that a threshold was held at its lowest value."


def off_note(count: int, of: int) -> str:
    """What to say where ``count`` of the expanders that a setting uses are turned off."""
    who = "an expander, whose threshold would be too low, is off"
    if of > 1:
        many = f"{count} of {of} expanders" if count < of else f"all {of} expanders"
        who = f"{many}, whose thresholds would be too low, are off"
        if count == 1:
            who = f"1 of {of} expanders, whose threshold would be too low, is off"
    return f"The recording is so quiet that {who}."


@dataclass(frozen=True)
class Excerpt:
    """The part of a recording that estimators analyse: its most active passages, mono.

    Args:
        audio: [T] float32, scaled so that its peak is ``NORMAL_PEAK_DB``.
        sample_rate: in Hz.
        pauses: [P] float32 at the same scale, up to a few seconds: what sounds in pauses next to
            these passages, such as room noise. Digital silence is left out; empty without pauses.
        tone_db: third-octave levels [BANDS] of all channels (``retone.dsp.third_octaves``), at any
            common level; None if they are those of ``audio``.
        passage: [S] float32 at the same scale, up to half a minute with its pauses, on which
            dynamics are judged; empty if that is ``audio``.
        spread_db: spread of the short-term levels with pauses (``retone.metrics.natural``); None
            if it is that of ``audio``.
        louder_db: how far the peaks of the loudest channel, which detectors see, lie above those of
            ``audio``.
        level_db: how far the recording's own level, as detectors see it, lies above the excerpt's:
            what thresholds move by.
        side: half the difference of the two channels at the same scale, where ``audio`` is half
            their sum; None unless an estimator wants it, and for recordings without two channels.
    """

    audio: torch.Tensor
    sample_rate: int
    pauses: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    tone_db: Array | None = None
    passage: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    spread_db: float | None = None
    louder_db: float = 0.0
    level_db: float = 0.0
    side: Excerpt | None = None


def samples_of(audio: Any, most: int, parts: int = 4) -> Any:
    """``audio`` [T], or ``parts`` evenly spaced parts of it with ``most`` samples in all."""
    if len(audio) <= most:
        return audio
    size = most // parts
    starts = np.linspace(0, len(audio) - size, parts).astype(int)
    pieces: list[Any] = [audio[start : start + size] for start in starts]
    return torch.cat(pieces) if isinstance(audio, torch.Tensor) else np.concatenate(pieces)


Reference = Excerpt | Profile
"""A reference: an excerpt of a recording, or a profile of many recordings."""

NORMAL_PEAK_DB = -12.0
"""Peak of every excerpt in dBFS, as in DeepAFx-ST, so that thresholds mean the same everywhere."""


def shift_thresholds(
    table: ParamTable, setting: Setting, by_db: float | torch.Tensor
) -> tuple[Setting, tuple[str, ...]]:
    """Move every level-relative parameter by a level difference, held in its range.

    An expander whose threshold would have to be lower than its range is turned off: held there, it
    would lower what it should leave alone.

    Returns:
        The setting, and notes on what could not follow. What is not at work needs none.
    """
    moved, held, used, off = dict(setting), False, 0, 0
    for p in table:
        if p.level_relative:
            value = setting[p.name] + by_db
            moved[p.name] = value.clamp(p.low, p.high)
            below = value < p.low
            at_work = _at_work(table, setting, p)
            if p.name.endswith(EXPANDER):
                ratio = p.name.removesuffix(EXPANDER) + "expander_ratio"
                moved[ratio] = torch.where(below, torch.ones_like(value), moved[ratio])
                used += at_work
                off += at_work and bool(below.any())
            else:
                held |= at_work and bool(below.any())
    notes = ((HELD_NOTE,) if held else ()) + ((off_note(off, used),) if off else ())
    return moved, notes


def _at_work(table: ParamTable, setting: Setting, p: Param) -> bool:
    """Whether a setting makes a parameter audible in any of its rows."""
    gates = [table[g] for g in p.gates if g in setting]
    return not gates or any(
        g.neutral is None or bool(setting[g.name].ne(g.neutral).any()) for g in gates
    )


def shift_locks(effect: Effect, locks: Mapping[str, float], by_db: float) -> dict[str, float]:
    """Locked values, level-relative ones moved by a level difference and held in their range.

    Names that the effect does not have are left alone; the estimator refuses them.
    """
    relative = {p.name: p for p in effect.params if p.level_relative}
    return {
        n: min(max(v + by_db, relative[n].low), relative[n].high) if n in relative else v
        for n, v in locks.items()
    }


@dataclass(frozen=True)
class Estimate:
    """An effect with one setting (batch size 1), made for an input whose peak is -12 dBFS.

    ``notes`` are sentences for the user: what was limited, left out or uncertain. ``strength`` is
    how much of the reference's sound was matched, for an estimator that chooses by that.
    ``reference_level_share`` is how much of the difference in level to the reference the target is
    expected to have; a match of loudness does not depend on it.
    """

    effect: Effect
    setting: Setting
    notes: tuple[str, ...] = field(default=())
    strength: float | None = None
    reference_level_share: float = 1.0


@runtime_checkable
class Estimator(Protocol):
    """Chooses settings. Implementations are frozen dataclasses; ``name`` appears in reports.

    An estimator whose effect is not ``retone.effects.MATCH_CHAIN`` has it as ``effect``, so that
    locks can be checked against its parameters.
    """

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
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting that brings the input's sound to the references'.

        Args:
            source: excerpt of the input.
            references: one or more; their statistics are averaged.
            locks: fixed values of parameters, by dotted name in physical units.
            progress: called with the steps done, as phase ``retone.progress.ESTIMATING``.
        """
        ...

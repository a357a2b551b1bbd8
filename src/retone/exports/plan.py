"""A settings file as plain processing stages: what every export target writes in its own words.

``amount`` is already applied. The stages come from the effects themselves (``Effect.stages``);
bands that do nothing are left out, and frequencies are limited to 0.49 of the sample rate, as in
the effects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from retone.dsp.effect import a_noun
from retone.dsp.stages import (
    QUIET_DB,
    Bands,
    Dynamics,
    Filter,
    Fixed,
    Level,
    NotExpressible,
    Stage,
    under,
)
from retone.effects import leaves
from retone.process.settings_file import SettingsFile

__all__ = [
    "Bands",
    "Dynamics",
    "Filter",
    "Fixed",
    "Level",
    "NotExpressible",
    "Plan",
    "Stage",
    "double",
    "limiter_note",
    "plan_of",
]


@dataclass(frozen=True)
class Plan:
    """Everything a target has to do, in order.

    Args:
        title: a name for headings.
        stages: in processing order; the gain after the effect is the last.
        sample_rate: in Hz, which the settings were rendered at.
        channels: of the recording they were made for.
        settings: where the plan comes from.
    """

    title: str
    stages: tuple[Stage, ...]
    sample_rate: int
    channels: int
    settings: SettingsFile

    def only(self, *kinds: type) -> Plan:
        """The plan with stages of these kinds alone."""
        return replace(self, stages=tuple(s for s in self.stages if isinstance(s, kinds)))


def plan_of(settings: SettingsFile, *, sample_rate: int | None = None) -> Plan:
    """The stages that a settings file asks for.

    An effect that cannot be expressed in stages becomes a ``NotExpressible``, which every target
    notes.

    Args:
        settings: a settings file of any retone command.
        sample_rate: in Hz, where it will run; None for the settings' own.

    Raises:
        SettingError: it holds a FIR filter for another rate.
    """
    rate = sample_rate or settings.sample_rate
    effect = settings.effect_at(rate)
    stages: list[Stage] = []
    for path, member, own in leaves(effect, settings.effective_setting()):
        found = member.stages(own, rate)
        if found is None:
            found = (NotExpressible("", a_noun(member)),)
        stages += [under(path, s) for s in found]
    plan = settings.level_plan
    if plan is not None and abs(plan.gain_db) > QUIET_DB:
        stages.append(Level("gain after the effect", plan.gain_db))
    source = next((s for s in settings.sources if s.role == "input"), None)
    title = source.file if source else "settings"
    channels = source.channels if source else 2
    return Plan(title, tuple(stages), rate, channels, settings)


def limiter_note(plan: Plan) -> str | None:
    """A sentence on the true-peak limiter, which no target has in this form."""
    level = plan.settings.level_plan
    if level is None or level.ceiling_dbtp is None:
        return None
    what = (
        f"it reduced peaks by up to {level.limiter_most_db:.1f} dB, "
        f"{level.limiter_active_percent:.1f} % of the time"
        if level.limiter_most_db > 0.05
        else "it was not active"
    )
    return (
        f"The true-peak limiter at {level.ceiling_dbtp:g} dBTP is left out ({what}); "
        "add your own last."
    )


def double(value: float) -> Tensor:
    """A number as a float64 tensor [1], as the effects take it."""
    return torch.tensor([value], dtype=torch.float64)

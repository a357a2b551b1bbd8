"""Settings in the terms of other programs: one file per target, each verified by rendering.

Another package adds a target by an entry point in the group ``retone.export_targets`` that names a
``retone.export.base.Target``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retone.registry import Registry

if TYPE_CHECKING:
    from retone.export.base import Target


def _complaint(name: str, member: Any) -> str | None:
    from retone.export.base import Target

    return None if isinstance(member, Target) else "is not an export Target"


TARGETS: Registry[Target] = Registry(
    "retone.export_targets",
    "export target",
    {
        "ffmpeg": "retone.export.ffmpeg:TARGET",
        "sox": "retone.export.sox:TARGET",
        "pedalboard": "retone.export.pedalboard_code:TARGET",
        "equalizer-apo": "retone.export.equalizer_apo:TARGET",
        "easyeffects": "retone.export.easyeffects:TARGET",
        "camilladsp": "retone.export.camilladsp:TARGET",
        "reaper": "retone.export.reaper:TARGET",
    },
    check=_complaint,
)
"""Export targets by name."""


def target_named(name: str) -> Target:
    """A target by its name.

    Raises:
        SettingError: no target has that name, or it cannot be loaded.
    """
    return TARGETS.named(name)

"""Settings in the terms of other programs: one file per target, each verified by rendering.

Another package adds a target by an entry point in the group ``retone.export_targets`` that names a
``retone.exports.base.Target``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retone.registry import Registry

if TYPE_CHECKING:
    from retone.exports.base import Target


def _complaint(name: str, member: Any) -> str | None:
    from retone.exports.base import Target

    return None if isinstance(member, Target) else "is not an export Target"


TARGETS: Registry[Target] = Registry(
    "retone.export_targets",
    "export target",
    {
        "ffmpeg": "retone.exports.ffmpeg:TARGET",
        "sox": "retone.exports.sox:TARGET",
        "pedalboard": "retone.exports.pedalboard_code:TARGET",
        "equalizer-apo": "retone.exports.equalizer_apo:TARGET",
        "easyeffects": "retone.exports.easyeffects:TARGET",
        "camilladsp": "retone.exports.camilladsp:TARGET",
        "reaper": "retone.exports.reaper:TARGET",
        "lv2": "retone.exports.lv2:TARGET",
        "clap": "retone.exports.clap:TARGET",
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

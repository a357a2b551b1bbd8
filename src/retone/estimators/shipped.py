"""Weights that ship with the package: where they are, and whether an installation has them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

KINDS = ("speech", "music")
"""Names that stand for shipped weights."""
FRAMES_MISSING = {
    kind: f"This installation lacks frames_{kind}.safetensors, one of the two networks for {kind}: "
    "the settings are less accurate. Install retone again."
    for kind in KINDS
}
"""A note for the user, by the kinds for which a network that predicts frames ships."""


def style_weights(kind: str) -> Path:
    """Where the package keeps the network that predicts settings for a kind of recordings."""
    return _weights(f"style_{kind}")


def frames_weights(kind: str) -> Path:
    """Where the package keeps the network that predicts frames, if one ships for this kind."""
    return _weights(f"frames_{kind}")


def lacks_frames(kind: str) -> bool:
    """Whether the network that predicts frames ships for this kind, but is not installed."""
    return kind in FRAMES_MISSING and not frames_weights(kind).is_file()


def _weights(name: str) -> Path:
    return Path(str(resources.files("retone") / "weights" / f"{name}.safetensors"))

"""Spoken prompts of Debian packages: their voices, trimming, and joining to clips."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

CLIP_SECONDS = 14.0
MIN_VOICE_SECONDS = 12.0
EDGE_SECONDS = 0.2


def voice_of(package: str, path: Path) -> str | None:
    """Tag of a spoken prompt, which with the package names the voice; None if not one.

    The tag is a language, or a language and a part, or a speaker's name.
    """
    if package == "tuxpaint-stamps-default":
        match = re.search(r"_desc(?:_([a-zA-Z_]+))?$", path.name.split(".")[0])
        return (match.group(1) or "en").replace("_", "-") if match else None
    if package == "ktuberling-data":
        return path.parent.name.split("@")[0] if path.parent.parent.name == "sounds" else None
    if package.startswith("fillets-ng"):  # two fish: m, the small one, and v, the big one
        parts = {"m", "v"} & set(path.stem.split("-"))
        language = package.rsplit("-", 1)[1]
        own = path.parent.name == language and len(parts) == 1
        return f"{language}-{parts.pop()}" if own else None
    if package == "hedgewars-data":  # the robot is synthetic
        spoken = path.parent.parent.name == "voices" and path.parent.name != "Robot"
        return path.parent.name if spoken else None
    return path.parent.parent.name.replace("_", "-")


def trim(audio: np.ndarray, sample_rate: int, edge_seconds: float = EDGE_SECONDS) -> np.ndarray:
    """Cut the silence before and after the speech in ``audio`` [T], leaving a little room tone.

    Speech is where 10 ms frames are within 40 dB of the loudest one and above -65 dBFS.
    """
    size = max(1, sample_rate // 100)
    frames = audio[: audio.size // size * size].reshape(-1, size)
    if not len(frames):
        return audio[:0]
    level = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    loud = np.flatnonzero(level > max(level.max() - 40.0, -65.0))
    if not loud.size:
        return audio[:0]
    edge = int(edge_seconds * sample_rate)
    return audio[max(0, loud[0] * size - edge) : (loud[-1] + 1) * size + edge]


def join_prompts(prompts: list[np.ndarray], sample_rate: int) -> np.ndarray:
    """Prompts [T] one after the other, each with 5 ms fades so that the joints do not click."""
    size = max(2, sample_rate // 200)
    ramp = np.linspace(0.0, 1.0, size, dtype=np.float32)
    pieces = []
    for prompt in prompts:
        piece = prompt.astype(np.float32, copy=True)
        n = min(size, piece.size)
        piece[:n] *= ramp[:n]
        piece[piece.size - n :] *= ramp[::-1][size - n :]
        pieces.append(piece)
    return np.concatenate(pieces)


def clips(prompts: list[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Clips of at least CLIP_SECONDS, the rest added to the last one."""
    groups: list[list[np.ndarray]] = [[]]
    length = 0
    for prompt in prompts:
        if length >= CLIP_SECONDS * sample_rate:
            groups.append([])
            length = 0
        groups[-1].append(prompt)
        length += prompt.size
    if len(groups) > 1 and length < MIN_VOICE_SECONDS * sample_rate:
        last = groups.pop()
        groups[-1] += last
    for group in groups:
        yield join_prompts(group, sample_rate)

"""A corpus small enough for tests, made of the recordings in examples/, and a tiny recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny import open_splits

EXAMPLES = ("bright_voice.flac", "dull_voice.flac", "reading_16khz.flac")
PIECE_S = 2.5


def write_voices(folder: Path, examples: Path) -> None:
    """Twelve or so pieces, one a speaker, at the recordings' own rates."""
    folder.mkdir(parents=True)
    for name in EXAMPLES:
        audio, rate = soundfile.read(examples / name, dtype="float32", always_2d=True)
        size = round(PIECE_S * rate)
        for i in range(min(4, len(audio) // size)):
            piece = audio[i * size : (i + 1) * size].mean(axis=1)
            piece *= 0.5 / max(float(np.abs(piece).max()), 1e-3)
            soundfile.write(folder / f"{Path(name).stem}_{i}.wav", piece, rate)


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder of recordings, each a speaker of its own."""
    folder = tmp_path_factory.mktemp("voices") / "audio"
    write_voices(folder, repository / "examples")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where resampled corpora are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpora(voices: Path, cache: Path) -> dict[str, Any]:
    """Train, val and test splits of ``voices``."""
    return open_splits(voices, cache)

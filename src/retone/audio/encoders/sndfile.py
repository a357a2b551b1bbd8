"""Writing by libsndfile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from retone.audio.decoders.riff import VORBIS_ORDER

# Well above transparency, because the input may be lossy already.
_QUALITY: dict[str, dict[str, Any]] = {
    "VORBIS": {"compression_level": 0.2},
    "OPUS": {"compression_level": 0.6},
    "MPEG_LAYER_III": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},
}


class SndfileEncoder:
    """A file that libsndfile writes; channels come in the order of WAV files.

    Raises:
        RuntimeError, OSError: it cannot be written.
    """

    def __init__(
        self, path: Path, container: str, subtype: str, sample_rate: int, channels: int
    ) -> None:
        self._path, self._subtype = path, subtype
        self._empty = container in ("FLAC", "OGG", "MP3")
        self._order: list[int] | None = None
        if subtype in ("VORBIS", "OPUS") and channels in VORBIS_ORDER:
            self._order = list(VORBIS_ORDER[channels])
        # soundfile encodes text by itself, and refuses names that are not UTF-8
        name = path if os.name == "nt" else os.fsencode(path)
        self._file = sf.SoundFile(
            name, "w", sample_rate, channels, subtype, format=container,
            **_QUALITY.get(subtype, {}),
        )  # fmt: skip

    def write(self, data: np.ndarray) -> None:
        """Append [n, channels] floats, or integers left-justified in int32."""
        self._file.write(data if self._order is None else data[:, self._order])

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def written_frames(self) -> int | None:
        """Frames in the closed file; None where its header cannot tell exactly."""
        if self._subtype in ("VORBIS", "OPUS", "MPEG_LAYER_III"):
            return None
        with self._path.open("rb") as file, sf.SoundFile(file.fileno(), closefd=False) as found:
            return int(found.frames)

"""Sound as bytes of an Ogg Opus file, for pages that play it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from retone.audio.resampling import resampled
from retone.errors import AudioError

RATE = 48000
"""Sample rate of Opus in Hz."""
_LEAST_KBPS, _MOST_KBPS = 6.0, 250.0  # of libsndfile's scale, a channel


def ogg_opus(samples: np.ndarray, sample_rate: int, bit_rate: int) -> bytes:
    """Encode sound with Opus.

    Args:
        samples: [C, T], mono or stereo, full scale is 1.
        sample_rate: in Hz; other rates than 48000 are converted.
        bit_rate: bits a second, all channels together.

    Returns:
        The content of an Ogg file.

    Raises:
        AudioError: neither FFmpeg's libraries nor libsndfile can encode Opus here.
        MemoryError: too little memory is left.
    """
    audio = np.ascontiguousarray(samples.T, dtype=np.float32)
    if sample_rate != RATE:
        audio = resampled(audio, sample_rate, RATE, "MQ")
    try:
        return _by_ffmpeg(audio, bit_rate)
    except (ImportError, AttributeError):  # absent, or loaded in part for lack of memory
        return _by_sndfile(audio, bit_rate)


def _by_ffmpeg(audio: np.ndarray, bit_rate: int) -> bytes:
    import av

    av.logging.set_level(None)
    layout = "mono" if audio.shape[1] == 1 else "stereo"
    out = io.BytesIO()
    exact = {"fflags": "+bitexact"}  # the same sound makes the same file: no random serial number
    with av.open(out, "w", format="ogg", options=exact) as container:
        stream: Any = container.add_stream(
            "libopus", rate=RATE, layout=layout, options={"compression_level": "3"}
        )
        stream.codec_context.format = "flt"
        stream.codec_context.bit_rate = bit_rate
        for first in range(0, len(audio), 1 << 16):
            block = np.ascontiguousarray(audio[first : first + (1 << 16)]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, "flt", layout)
            frame.sample_rate, frame.pts = RATE, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def _by_sndfile(audio: np.ndarray, bit_rate: int) -> bytes:
    import soundfile as sf

    out = io.BytesIO()
    share = (bit_rate / 1000 / audio.shape[1] - _LEAST_KBPS) / (_MOST_KBPS - _LEAST_KBPS)
    try:
        with sf.SoundFile(
            out, "w", RATE, audio.shape[1], "OPUS", format="OGG",
            compression_level=min(max(1.0 - share, 0.0), 1.0),
        ) as file:  # fmt: skip
            file.write(audio)
    except (sf.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            f"Opus cannot be encoded here ({error}). Install the package av."
        ) from error
    return out.getvalue()

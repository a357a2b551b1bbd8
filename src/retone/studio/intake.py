"""Turn an upload into a recording: detect its format, check limits, read and measure it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import LevelMeter, open_reader
from retone.audio.decoders import stated_seconds, watched
from retone.audio.meters.envelope import EnvelopeMeter
from retone.audio.meters.spectrum import SpectrumMeter
from retone.errors import AudioError
from retone.studio.limits import Limits, Refused
from retone.studio.session import Recording, Session
from retone.studio.sniff import HEAD, sniff

WAVE_POINTS = 1200
SHOWN_EVERY_S = 0.25
BLOCK = 65536  # frames
Follow = Callable[[Recording], None]
MOST_NAME = 120
UNKNOWN_FRAMES = 1 << 40
"""From this number on, a header says that it does not know its length."""


def plain_name(name: str) -> str:
    """A file name for display: no folders or control characters, shortened."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in last if c.isprintable()).strip().strip(".")
    return kept[:MOST_NAME] or "recording"


def take(
    upload: Path,
    name: str,
    session: Session,
    limits: Limits,
    stop: threading.Event | None = None,
    follow: Follow | None = None,
) -> Recording:
    """Read an upload in the session's folder.

    Args:
        upload: the received file; renamed by its content, or removed when refused.
        name: the file's name on the page; only shown.
        stop: set once nobody waits for it.
        follow: called with a long recording while it is read; what it raises ends the reading.

    Raises:
        Refused: it is no recording, too long, or has too many channels.
    """
    shown = plain_name(name)
    made: list[Path] = [upload]
    try:
        with upload.open("rb") as file:
            suffix = sniff(file.read(HEAD))
        if suffix is None:
            raise Refused(
                415,
                f"{shown} is not a recording that can be read; expected a sound or video "
                "file such as WAV, FLAC, MP3, M4A or MP4. Export it again.",
            )
        path = session.new_file(suffix)
        upload.rename(path)
        made.append(path)
        session.settle(upload)
        session.settle(path)
        preview = session.new_file(".f32")
        made.append(preview)
        watch = _Watch(shown, session, limits, stop)
        with watched(watch):
            recording = _read(path, preview, watch, follow)
        watch(0, 1, 1)
        return recording
    except AudioError as error:
        _remove(made, session)
        text = str(error)
        for path in made:
            text = text.replace(str(path), shown).replace(path.name, shown)
        raise Refused(422, text) from None
    except BaseException:
        _remove(made, session)
        raise


def _remove(paths: list[Path], session: Session) -> None:
    for path in paths:
        session.remove(path)


class _Watch:
    """Called as a recording is decoded, with the frames so far: ends what is too long, whatever
    its header says, and what nobody waits for."""

    def __init__(
        self, shown: str, session: Session, limits: Limits, stop: threading.Event | None
    ) -> None:
        self.shown, self.session, self.limits, self.stop = shown, session, limits, stop

    def __call__(self, frames: int, rate: int, channels: int) -> None:
        if self.session.ended:
            raise Refused(410, "This page's session has ended.")
        if self.stop is not None and self.stop.is_set():
            raise Refused(499, "The upload was cancelled.")
        _refuse_large(channels, frames / max(rate, 1), rate, self.shown, self.limits)


def _read(path: Path, preview: Path, watch: _Watch, follow: Follow | None) -> Recording:
    shown, session, limits = watch.shown, watch.session, watch.limits
    _bound(path, shown, limits)
    with open_reader(path) as reader:
        info = reader.info
        _refuse_large(info.channels, info.duration_s, info.sample_rate, shown, limits)
        session.claim(preview, 4 * min(info.channels, 2) * info.frames)
        levels = LevelMeter(info.sample_rate, info.channels, info.layout)
        spectrum = SpectrumMeter(info.sample_rate)
        wave = EnvelopeMeter(info.sample_rate, points=WAVE_POINTS)
        found = Recording(
            shown, path, preview, info.sample_rate, info.channels, info.frames,
            str(info).partition(": ")[2], {}, spectrum, wave_of(wave),
            long=info.duration_s > limits.long_s,
        )  # fmt: skip
        shown_at = 0.0
        with preview.open("wb") as out:
            for block in reader.blocks(BLOCK):
                watch(0, 1, 1)
                levels.update(block)
                spectrum.update(block)
                stereo = np.ascontiguousarray(block[:2].T, dtype=np.float32)
                wave.update(block.mean(axis=0, keepdims=True))
                out.write(stereo.tobytes())
                found.ready += block.shape[1]
                now = time.monotonic()
                if follow and found.long and now - shown_at > SHOWN_EVERY_S:
                    shown_at = now
                    out.flush()
                    found.wave = wave_of(wave)
                    follow(found)
        found.levels, found.wave = levels.result().to_dict(), wave_of(wave)
        return found


def _bound(path: Path, shown: str, limits: Limits) -> None:
    """Refuse by the file's header, before anything is decoded."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            channels, rate = int(file.channels), int(file.samplerate)
            frames = int(file.frames)
            seconds = frames / rate if frames < UNKNOWN_FRAMES else 0.0
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        channels, seconds, rate = (
            1,
            stated_seconds(path),
            1,
        )  # the reader says what is wrong with it
    _refuse_large(channels, seconds, rate, shown, limits)


def _refuse_large(channels: int, seconds: float, rate: int, shown: str, limits: Limits) -> None:
    if channels > limits.channels:
        raise Refused(
            422,
            f"{shown} has {channels} channels; the studio takes {limits.channels}. Use 'retone "
            "match' on the command line.",
        )
    minutes = limits.minutes * min(1.0, limits.full_length_hz / max(rate, 1))
    if seconds > 60 * minutes:
        at = f" at {rate / 1000:g} kHz" if rate > limits.full_length_hz else ""
        raise Refused(
            422,
            f"{shown} lasts {seconds / 60:.1f} minutes; the studio takes {minutes:.3g}{at}. Cut a "
            "typical part out, save the settings, and use 'retone apply' on the whole.",
        )


def wave_of(meter: EnvelopeMeter) -> dict[str, Any]:
    """A waveform as the page draws it: lowest and highest value of equal stretches."""
    e = meter.result()
    return {"low": short(e.low[0], 4), "high": short(e.high[0], 4)}


def short(values: Any, digits: int = 2) -> list[float | None]:
    """Numbers for JSON, rounded; what is not finite becomes None."""
    array = np.asarray(values, dtype=np.float64)
    return [None if not np.isfinite(v) else round(float(v), digits) for v in array]

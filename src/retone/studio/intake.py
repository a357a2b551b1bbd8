"""Turn an upload into a recording: detect its format, check limits, read and measure it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

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
        watch.check()
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
    """Called as a recording is decoded: ends what is too long, whatever its header says, and what
    nobody waits for.

    Where opening a file means decoding all of it, what is decoded arrives at the page meanwhile.
    """

    def __init__(
        self, shown: str, session: Session, limits: Limits, stop: threading.Event | None
    ) -> None:
        self.shown, self.session, self.limits, self.stop = shown, session, limits, stop
        self.stated_s = 0.0
        self.arrival: _Arrival | None = None
        self.begin: Callable[[int, int, int, str], _Arrival] | None = None
        self._blocks: list[np.ndarray] = []

    def check(self) -> None:
        """Raise what ends the reading."""
        if self.session.ended:
            raise Refused(410, "This page's session has ended.")
        if self.stop is not None and self.stop.is_set():
            raise Refused(499, "The upload was cancelled.")

    def __call__(self, frames: int, rate: int, channels: int, block: np.ndarray) -> None:
        self.check()
        _refuse_large(channels, frames / max(rate, 1), rate, self.shown, self.limits)
        if self.begin is None or self.stated_s <= self.limits.long_s:
            return
        if self.arrival is None:
            about = f"{channels} channel{'s' if channels > 1 else ''}, {rate} Hz"
            self.arrival = self.begin(rate, channels, max(1, round(self.stated_s * rate)), about)
        self._blocks.append(block)
        if sum(b.shape[1] for b in self._blocks) >= BLOCK:
            self.arrival.take(np.concatenate(self._blocks, axis=1))
            self._blocks.clear()


class _Arrival:
    """A recording that is read: its preview on the disk and its waveform, which the page follows.

    Args:
        found: it, of which nothing was read.
        wave: meter of its waveform.
        out: its preview, open for writing.
        session: which has the space for the preview.
        follow: called with a long one from time to time; what it raises ends the reading.
    """

    def __init__(
        self,
        found: Recording,
        wave: EnvelopeMeter,
        out: IO[bytes],
        session: Session,
        follow: Follow | None,
    ) -> None:
        self.found, self.wave, self._out, self._session = found, wave, out, session
        self._follow = follow if found.long else None
        self._width = 4 * min(found.channels, 2)
        self._claimed = self._shown_at = 0.0

    def take(self, block: np.ndarray) -> None:
        """The next block [C, n]."""
        found, width = self.found, self._width
        wanted = width * max(found.frames, found.ready + block.shape[1])
        if wanted > self._claimed:  # a header may promise less than there is
            self._session.claim(found.preview, wanted)
            self._claimed = wanted
        self.wave.update(block.mean(axis=0, keepdims=True))
        self._out.write(np.ascontiguousarray(block[:2].T, dtype=np.float32).tobytes())
        found.ready += block.shape[1]
        now = time.monotonic()
        if self._follow and now - self._shown_at > SHOWN_EVERY_S:
            self._shown_at = now
            self._out.flush()
            found.wave = wave_of(self.wave)
            self._follow(found)


def _read(path: Path, preview: Path, watch: _Watch, follow: Follow | None) -> Recording:
    session, limits = watch.session, watch.limits
    watch.stated_s = _bound(path, watch.shown, limits)
    with preview.open("w+b") as out:

        def begin(rate: int, channels: int, frames: int, about: str) -> _Arrival:
            wave = EnvelopeMeter(rate, points=WAVE_POINTS)
            found = Recording(
                watch.shown, path, preview, rate, channels, frames, about, {}, SpectrumMeter(rate),
                wave_of(wave), long=frames > limits.long_s * rate,
            )  # fmt: skip
            return _Arrival(found, wave, out, session, follow)

        watch.begin = begin
        with open_reader(path) as reader:
            info = reader.info
            _refuse_large(info.channels, info.duration_s, info.sample_rate, watch.shown, limits)
            if watch.arrival is not None:
                follow = None  # the page has all of it, and the preview is written over in place
            out.seek(0)
            about = str(info).partition(": ")[2]
            arrival = begin(info.sample_rate, info.channels, info.frames, about)
            found = arrival.found
            levels = LevelMeter(info.sample_rate, info.channels, info.layout)
            for block in reader.blocks(BLOCK):
                watch.check()
                levels.update(block)
                found.spectrum.update(block)
                arrival.take(block)
            out.truncate()
            found.levels, found.wave = levels.result().to_dict(), wave_of(arrival.wave)
            return found


def _bound(path: Path, shown: str, limits: Limits) -> float:
    """Refuse by the file's header, before anything is decoded; returns the seconds it states."""
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
    return seconds


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

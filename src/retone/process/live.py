"""Settings on running audio: what an audio callback calls, and how settings are exchanged.

``LiveChain.process`` runs in the audio thread. Everything that takes time (reading settings, making
processors) happens in ``LiveChain.reload``, on another thread, and is handed over with one
assignment. If the new settings run on the same native chain, its values move to the new ones; else
both chains run during a crossfade.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retone.effects import leaves
from retone.effects.native import NATIVE_CHAINS, NativeChain, native_values
from retone.errors import RetoneError
from retone.kernels.chain import MOST_CHANNELS, NativeProcessor
from retone.process.settings_file import SettingsFile
from retone.process.stream import Renderer
from retone.units import db_to_gain, gain_to_db

Rows = Sequence[NDArray[np.float32]]
"""One contiguous float32 array [n] per channel."""

CROSSFADE_S = 0.05
LONGEST_BLOCK = 16384


class Processor(Protocol):
    """Processes blocks."""

    def process(self, source: Rows, to: Rows) -> None:
        """Process one array per channel into another."""


class RenderedProcessor:
    """Any effect, rendered by Python: slower than a native chain, and it allocates."""

    def __init__(self, settings: SettingsFile, sample_rate: int) -> None:
        self._renderer = Renderer(
            settings.effect_at(sample_rate), settings.effective_setting(), sample_rate
        )
        self._gain = np.float32(db_to_gain(_gain_db(settings)))

    def process(self, source: Rows, to: Rows) -> None:
        """Process one array per channel into another."""
        for row, y in zip(to, self._renderer.process(np.stack(source)), strict=True):
            np.multiply(y, self._gain, out=row)


@dataclass
class LiveStatistics:
    """What happened to the audio.

    Args:
        blocks, frames: processed so far.
        dropouts: blocks that the audio system reports as late or lost.
        peak: largest output sample.
        busy_s, busiest: time spent processing, and the largest share of a block's time it took.
        reloads: settings taken over while running.
    """

    blocks: int = 0
    frames: int = 0
    dropouts: int = 0
    peak: float = 0.0
    busy_s: float = 0.0
    busiest: float = 0.0
    reloads: int = 0

    def sentences(self, sample_rate: float) -> list[str]:
        """The summary for users."""
        seconds = self.frames / sample_rate
        load = 100 * self.busy_s / seconds if seconds else 0.0
        peak = f"{gain_to_db(self.peak):.1f} dBFS" if self.peak > 0 else "silence"
        found = [
            f"{seconds:.1f} s processed, {_count(self.dropouts, 'dropout')}, settings reloaded "
            f"{_count(self.reloads, 'time')}.",
            f"Processing took {load:.1f} % of the time, at most {100 * self.busiest:.0f} % of a "
            f"block's. Highest output peak: {peak}.",
        ]
        if self.peak > 1:
            found.append("The output exceeded full scale, and there is no limiter: lower the gain.")
        return found


@dataclass
class LiveChain:
    """The settings of a file on running audio.

    Args:
        path: the settings file.
        sample_rate: in Hz.
        channels: of the audio.

    Raises:
        DataError, SettingError: the settings cannot be read, or cannot run at this rate.
    """

    path: Path
    sample_rate: int
    channels: int
    statistics: LiveStatistics = field(default_factory=LiveStatistics)
    notes: tuple[str, ...] = ()
    latency_samples: int = 0

    def __post_init__(self) -> None:
        self._native: NativeChain | None = None
        self._stamp = self._file_stamp()
        self._processor = self._made(SettingsFile.read(self.path))
        self._next: tuple[Processor, NativeChain | None] | None = None
        self._values: tuple[float, ...] | None = None
        self._fade = np.zeros(0, np.float32)
        self._faded = 0
        self._spare = np.zeros((self.channels, LONGEST_BLOCK), np.float32)

    def process(self, source: Rows, to: Rows) -> None:
        """Process one block; called by the audio thread. Blocks of any size, in place or not."""
        begin = time.perf_counter()
        if self._values is not None:  # the same chain: its values move
            values, self._values = self._values, None
            self._processor.set(values)  # type: ignore[attr-defined]
        frames = source[0].shape[0]
        for at in range(0, frames, LONGEST_BLOCK):
            part = slice(at, at + LONGEST_BLOCK)
            self._process([r[part] for r in source], [r[part] for r in to])
        s = self.statistics
        s.blocks += 1
        s.frames += frames
        for row in to:
            s.peak = max(s.peak, float(row.max(initial=0.0)), -float(row.min(initial=0.0)))
        spent = time.perf_counter() - begin
        s.busy_s += spent
        s.busiest = max(s.busiest, spent * self.sample_rate / max(frames, 1))

    def _process(self, source: Rows, to: Rows) -> None:
        if self._next is None:
            self._processor.process(source, to)
            return
        if not self._faded:
            count = round(CROSSFADE_S * self.sample_rate)
            self._fade = (0.5 - 0.5 * np.cos(np.pi * np.arange(1, count + 1) / count)).astype("f4")
        frames = source[0].shape[0]
        share = self._fade[self._faded : self._faded + frames]
        new = [row[:frames] for row in self._spare]
        self._next[0].process(source, new)
        self._processor.process(source, to)
        for row, other in zip(to, new, strict=True):
            n = share.shape[0]
            row[:n] += share * (other[:n] - row[:n])
            row[n:] = other[n:]
        self._faded += frames
        if self._faded >= self._fade.shape[0]:
            self._processor, self._native = self._next
            self._next, self._faded = None, 0

    def reload(self) -> str | None:
        """Take over the settings if the file has changed; not called by the audio thread.

        Returns:
            None if nothing changed, else a sentence: that they run, or why the old ones stay.
        """
        stamp = self._file_stamp()
        if stamp == self._stamp or self._next is not None or self._values is not None:
            return None
        self._stamp = stamp
        try:
            settings = SettingsFile.read(self.path)
            found = self._native_values(settings)
            if found is not None and found[0] is self._native:
                self._values = found[1]
            else:
                native = self._native
                made = self._made(settings)
                self._next, self._native = (made, self._native), native
        except RetoneError as error:
            return f"The settings stay as they were: {error}"
        self.statistics.reloads += 1
        return "Settings reloaded."

    def _file_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _native_values(
        self, settings: SettingsFile
    ) -> tuple[NativeChain, tuple[float, ...]] | None:
        """The native chain and values that render exactly these settings, if one does."""
        members = leaves(settings.effect_at(self.sample_rate), settings.effective_setting())
        found = native_values(members, _gain_db(settings))
        if found.notes or self.channels > MOST_CHANNELS:
            return None
        return found.chain, found.values

    def _made(self, settings: SettingsFile) -> Processor:
        found = self._native_values(settings)
        if found is None:
            effect = settings.effect_at(self.sample_rate)
            self.notes = ("These effects run in Python: choose large blocks.",)
            self.latency_samples = effect.latency_samples(self.sample_rate)
            silence = list(np.zeros((self.channels, 64), np.float32))
            RenderedProcessor(settings, self.sample_rate).process(
                silence, silence
            )  # loads late code
            made = RenderedProcessor(settings, self.sample_rate)
            self._native = None
            return made
        chain, values = found
        native = NativeProcessor(NATIVE_CHAINS.index(chain), self.sample_rate, self.channels)
        native.set(values)
        self._native, self.notes, self.latency_samples = chain, (), 0
        return native


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _gain_db(settings: SettingsFile) -> float:
    return settings.level_plan.gain_db if settings.level_plan else 0.0


@dataclass(frozen=True)
class Latency:
    """Delay from input to output in seconds: of the audio system, and of the effect."""

    system_s: float
    effect_s: float

    def sentence(self) -> str:
        """For users."""
        total = 1000 * (self.system_s + self.effect_s)
        if math.isnan(total):
            return "The audio system does not report its latency."
        own = f", {1000 * self.effect_s:.1f} ms of it by the effect" if self.effect_s else ""
        return f"Latency from input to output: {total:.1f} ms{own}."


def watch(
    chain: LiveChain,
    say: Callable[[str], None],
    wait: Callable[[float], bool],
    every_s: float = 0.2,
) -> None:
    """Reload settings that change and report dropouts, until ``wait`` says to stop.

    Args:
        chain: what runs.
        say: receives sentences for the user.
        wait: waits so many seconds; true ends.
    """
    said = 0
    while not wait(every_s):
        sentence = chain.reload()
        if sentence:
            say(sentence)
        if chain.statistics.dropouts > said:
            say(f"{_count(chain.statistics.dropouts - said, 'dropout')}.")
            said = chain.statistics.dropouts

"""The preset file: a profile with its description, as readable JSON without audio.

Schema version 1. An object with these fields: ``retone_preset`` (the version), ``name``,
``description``, ``kind`` (speech or music), ``licence``, ``credits`` (what it was made from),
``made_with``, ``voices``, ``seconds``, ``sample_rate_hz``, ``loudness_lufs`` (null keeps a
recording's own), ``statistics`` and ``spectrum_db`` (averages over all recordings, for excerpts
whose peak is -12 dBFS; null where unknown), ``untreated`` (the statistics of the same recordings
before processing, or null) and ``typical_frames`` (see
``retone.estimators.profile``; null if there are none).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from retone.dsp.measure import BANDS, Array, StyleStatistics
from retone.errors import DataError, SettingError
from retone.estimators.profile import Profile, TypicalFrames
from retone.files.fields import Fields, number, parse, read_text, write
from retone.nets.frontend import FrontEndConfig

SCHEMA_VERSION = 1
KINDS = ("speech", "music")
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
WIDTHS = {
    "band_level_db": BANDS,
    "band_spread_db": BANDS,
    "band_floor_db": BANDS,
    "level_percentiles_db": 15,
    "band_crest_db": 4,
    "modulation_db": 16,
}
"""Number of values of each statistic; the others have one."""
SPECTRUM_HZ: Array = np.geomspace(20.0, 20000.0, 121)
MOST_CREDITS = 1024
MAX_FRAMES = 64
"""Most typical frames in a file, so that no file can contain a recording."""


@dataclass(frozen=True, eq=False)
class Preset:
    """A profile with its name (lower-case letters, digits, hyphens), description and sources.

    Args:
        profile: the reference for estimators.
        description: one or two sentences for users.
        licence, credits: licence and sources of the recordings.
        made_with: the version of retone that made it.
    """

    profile: Profile
    description: str
    licence: str = ""
    credits: tuple[str, ...] = ()
    made_with: str = ""

    def __post_init__(self) -> None:
        check_name(self.profile.name)

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def kind(self) -> str:
        """``"speech"`` or ``"music"``."""
        return self.profile.kind

    def to_json(self) -> str:
        """The file's text."""
        p = self.profile
        data: dict[str, Any] = {
            "retone_preset": SCHEMA_VERSION,
            "name": p.name,
            "description": self.description,
            "kind": p.kind,
            "licence": self.licence,
            "credits": list(self.credits),
            "made_with": self.made_with,
            "voices": p.voices,
            "seconds": round(p.seconds, 1),
            "sample_rate_hz": p.sample_rate,
            "loudness_lufs": p.loudness_lufs,
            "statistics": _statistics_out(p.statistics),
            "untreated": None if p.unprocessed is None else _statistics_out(p.unprocessed),
            "spectrum_db": _numbers(p.spectrum(SPECTRUM_HZ), 1),
            "typical_frames": None if p.typical is None else _typical_out(p.typical),
        }
        return write(data) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Preset:
        """Read and check a preset file's text; ``where`` is its name, for messages.

        Raises:
            DataError: damaged JSON, another version, unknown, missing or impossible fields.
        """
        f = Fields(parse(text, where), where)
        version = f.take("retone_preset", None)
        if version is None:
            raise DataError(f"{where}: this is not a retone preset ('retone_preset' is missing).")
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise DataError(
                f"{where}: preset version {version!r} is unknown; this retone reads version "
                f"{SCHEMA_VERSION}. Update retone, or make the preset again."
            )
        statistics = _statistics_in(f.take("statistics"), f"{where}.statistics")
        before = f.take("untreated", None)
        typical = f.take("typical_frames", None)
        loudness = f.take("loudness_lufs", None)
        spectrum_db = _read(f.take("spectrum_db"), len(SPECTRUM_HZ), f"{where}.spectrum_db")[0]
        if np.isfinite(spectrum_db).sum() < 10 or not np.isfinite(statistics.crest_db).all():
            raise DataError(f"{where}: it holds no spectrum and was probably made from silence. "
                            "Make it again from other recordings.")  # fmt: skip
        name = f.text("name")
        check_name(name, where)
        profile = Profile(
            name=name,
            statistics=statistics,
            frequency_hz=SPECTRUM_HZ,
            spectrum_db=spectrum_db,
            sample_rate=f.number("sample_rate_hz", low=8000, high=192000, whole=True),
            voices=f.number("voices", low=1, high=1e6, whole=True),
            seconds=f.number("seconds", low=0.0),
            loudness_lufs=None
            if loudness is None
            else number(loudness, f"{where}.loudness_lufs", low=-70.0, high=0.0),
            typical=None if typical is None else _typical_in(typical, f"{where}.typical_frames"),
            kind=f.choice("kind", KINDS),
            unprocessed=None if before is None else _statistics_in(before, f"{where}.untreated"),
        )
        credits = f.items("credits", [], most=MOST_CREDITS)
        preset = cls(
            profile,
            f.text("description"),
            f.text("licence", ""),
            tuple(str(c) for c in credits),
            f.name("made_with", ""),
        )
        f.done()
        return preset

    @classmethod
    def read(cls, path: Path) -> Preset:
        """Read a file; errors as in ``from_json``, and DataError if it cannot be opened."""
        return cls.from_json(read_text(path, "a preset file (JSON)"), path.name)


def check_name(name: str, where: str = "") -> None:
    """Refuse a name that is not lower-case letters, digits and inner hyphens.

    Raises:
        SettingError: it is not; DataError if it is in the file ``where``.
    """
    if NAME.fullmatch(name):
        return
    text = (
        f"'{name}' cannot be a preset's name: use up to 40 lower-case letters, digits and hyphens, "
        "as in late-night-show."
    )
    if where:
        raise DataError(f"{where}: {text}")
    raise SettingError(text)


def _numbers(values: Any, decimals: int) -> Any:
    """Rounded numbers, None for non-finite ones; a single number stays single."""
    if np.ndim(values) == 0:
        return round(float(values), decimals) if math.isfinite(values) else None
    return [_numbers(v, decimals) for v in values]


def _read(value: Any, width: int | None, where: str) -> Array:
    """A row [1, width] (or [1] without a width) of numbers; null becomes NaN."""
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    if len(items) != (width or 1) or isinstance(value, list) != (width is not None):
        raise DataError(f"{where}: expected {width or 'one number'}"
                        f"{' numbers' if width else ''}, got {len(items)}.")  # fmt: skip
    row = np.array(
        [math.nan if v is None else number(v, where, low=-1e4, high=1e7) for v in items],
        dtype=np.float64,
    )
    return row if width is None else row[None]


def _statistics_out(statistics: StyleStatistics) -> dict[str, Any]:
    return {f.name: _numbers(getattr(statistics, f.name)[0], 2) for f in fields(statistics)}


def _statistics_in(value: Any, where: str) -> StyleStatistics:
    stated = Fields(value, where)
    found = {
        s.name: _read(stated.take(s.name), WIDTHS.get(s.name), f"{where}.{s.name}")
        for s in fields(StyleStatistics)
    }
    stated.done()
    return StyleStatistics(**found)


def _typical_out(t: TypicalFrames) -> dict[str, Any]:
    return {
        "front_end": asdict(t.front_end),
        "energy": _numbers(t.energy, 5),
        "summary": _numbers(t.summary, 3),
        "frames": [_numbers(t.frames[:, k], 3) for k in range(t.frames.shape[1])],
    }


def _typical_in(value: Any, where: str) -> TypicalFrames:
    f = Fields(value, where)
    front = f.fields("front_end")
    config = FrontEndConfig(
        **{
            name: front.number(name, low=1, high=192000, whole=True)
            for name in ("sample_rate", "window", "hop", "mels")
        },
        measures=front.flag("measures", False),
    )
    front.done()
    energy = f.items("energy")
    if not 1 <= len(energy) <= MAX_FRAMES:
        raise DataError(f"{where}: {len(energy)} frames; expected 1 to {MAX_FRAMES}.")
    rows = f.items("frames")
    if len(rows) != len(energy):
        raise DataError(f"{where}: {len(rows)} frames but {len(energy)} energies.")
    frames = np.concatenate([_read(r, config.mels, f"{where}.frames") for r in rows])
    found = TypicalFrames(
        config,
        frames.T.copy(),
        _read(energy, len(energy), f"{where}.energy")[0],
        _read(f.take("summary"), config.summary_size, f"{where}.summary")[0],
    )
    f.done()
    if not all(np.isfinite(x).all() for x in (found.frames, found.energy, found.summary)):
        raise DataError(f"{where}: a number is missing (null).")
    return found

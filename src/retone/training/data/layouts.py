"""Layouts of the known corpora: functions from a folder to a list of files."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from retone.errors import DataError
from retone.files.fields import read_text
from retone.training.data.manifest import AUDIO_SUFFIXES, MOST_BYTES, Found, Manifest
from retone.training.debian.lists import MUSIC_PACKAGES


def _wrong(name: str, folder: Path, expected: str) -> DataError:
    return DataError(f"{name}: {folder} is not laid out as expected: {expected}")


def _base(folder: Path, *inner: str) -> Path:
    """``folder`` or the first of the usual top folders inside it."""
    for name in inner:
        if (folder / name).is_dir():
            return folder / name
    return folder


def audio_files(folder: Path) -> Iterator[Path]:
    """Audio files under ``folder`` in sorted order, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and not hidden and path.is_file():
            yield path


def libritts(folder: Path) -> list[Found]:
    """``[LibriTTS/]<subset>/<speaker>/<chapter>/<speaker>_<chapter>_*.wav``, or one subset."""
    base = _base(folder, "LibriTTS", "LibriTTS_R")
    found = []
    for path in audio_files(base):
        parts = path.relative_to(base).parts
        if len(parts) < 3 or not path.name.startswith(f"{parts[-3]}_{parts[-2]}_"):
            continue
        found.append(Found(path.relative_to(folder).as_posix(), f"libritts/{parts[-3]}"))
    if not found:
        raise _wrong("libritts", folder, "<subset>/<speaker>/<chapter>/<speaker>_<chapter>_*.wav.")
    return found


def vctk(folder: Path) -> list[Found]:
    """``wav48_silence_trimmed/p225/p225_001_mic1.flac`` (0.92) or ``wav48/p225/p225_001.wav``."""
    base = _base(folder, "VCTK-Corpus-0.92", "VCTK-Corpus")
    base = _base(base, "wav48_silence_trimmed", "wav48")
    found = []
    for path in audio_files(base):
        match = re.fullmatch(r"([ps]\d+)_\d+(?:_mic([12]))?", path.stem)
        if match and match.group(1) == path.parent.name and match.group(2) != "2":
            found.append(Found(path.relative_to(folder).as_posix(), f"vctk/{match.group(1)}"))
    if not found:
        raise _wrong(
            "vctk", folder, "wav48_silence_trimmed/<speaker>/<speaker>_<number>_mic1.flac."
        )
    return found


def daps(folder: Path) -> list[Found]:
    """``[daps/]cleanraw/<speaker>_script<n>_cleanraw.wav``; other versions are ignored."""
    base = _base(_base(folder, "daps"), "cleanraw")
    found = []
    for path in audio_files(base):
        match = re.fullmatch(r"([fm]\d+)_script\d+_cleanraw", path.stem)
        if match:
            found.append(Found(path.relative_to(folder).as_posix(), f"daps/{match.group(1)}"))
    if not found:
        raise _wrong("daps", folder, "cleanraw/<speaker>_script<number>_cleanraw.wav.")
    return found


def jamendo(folder: Path) -> list[Found]:
    """``[audio/]<00..99>/<track>.mp3`` or ``<track>.low.mp3``."""
    base = _base(folder, "audio", "audio-low")
    found = []
    for path in audio_files(base):
        track = path.name.split(".")[0]
        if re.fullmatch(r"\d\d", path.parent.name) and track.isdigit():
            relative = path.relative_to(folder).as_posix()
            found.append(Found(relative, f"jamendo/{track}", kind="music"))
    if not found:
        raise _wrong("mtg-jamendo", folder, "<00..99>/<track number>.mp3.")
    return found


def musdb18(folder: Path) -> list[Found]:
    """``train/<Artist - Title>/mixture.wav`` and ``test/...`` (MUSDB18-HQ); test stays test."""
    found = []
    for part in ("train", "test"):
        for path in sorted((folder / part).glob("*/mixture.wav")):
            split = "test" if part == "test" else None
            relative = path.relative_to(folder).as_posix()
            found.append(Found(relative, f"musdb18/{path.parent.name}", split, "music"))
    if not found and any(folder.rglob("*.stem.mp4")):
        raise DataError(
            f"musdb18: {folder} holds .stem.mp4 files, which cannot be read; get MUSDB18-HQ, "
            "or turn each into train/<Artist - Title>/mixture.wav with ffmpeg."
        )
    if not found:
        raise _wrong("musdb18", folder, "train/<Artist - Title>/mixture.wav and test/...")
    return found


def any_folder(folder: Path) -> list[Found]:
    """Audio files: a folder inside is one speaker or album, a file next to them one track.

    A ``manifest.csv`` in the folder takes precedence; see ``listed``.
    """
    if (folder / "manifest.csv").is_file():
        return listed(folder)
    found = []
    for path in audio_files(folder):
        parts = path.relative_to(folder).parts
        group = parts[0] if len(parts) > 1 else path.stem
        found.append(Found("/".join(parts), f"{folder.name}/{group}", kind="audio"))
    if not found:
        raise _wrong("folder", folder, f"at least one {', '.join(AUDIO_SUFFIXES)} file in it.")
    return found


FULL_BAND_DB = -48.0
"""If the level above 8 kHz is lower than this, a roll-off above 8 kHz is noise."""


def listed(folder: Path) -> list[Found]:
    """Files listed in ``manifest.csv``, one per row.

    The columns ``file`` and ``speaker`` or ``track`` are required. Optional: ``corpus``, ``split``
    (train, dev or val, test; assigned automatically if missing), ``licence``, ``source``, and the
    upper limit of the content: ``bandwidth_hz``, or ``rolloff60_hz`` with ``hf8k_db``, the level
    above 8 kHz.
    """
    table, found = folder / "manifest.csv", []
    with _rows(table) as rows:
        for row in rows:
            who = row.get("speaker") or row.get("track")
            if not row.get("file") or not who:
                raise _wrong("folder", folder, "manifest.csv with columns file and speaker.")
            split = row.get("split") or None
            kind = "speech" if row.get("speaker") else "music"
            found.append(
                Found(
                    row["file"],
                    f"{row.get('corpus') or folder.name}/{who}",
                    "val" if split == "dev" else split,
                    kind,
                    row.get("corpus") or folder.name,
                    row.get("licence") or "",
                    row.get("source") or "",
                    _bandwidth(row),
                )
            )
    if not found:
        raise _wrong("folder", folder, "at least one row in manifest.csv.")
    return found


@contextlib.contextmanager
def _rows(table: Path) -> Iterator[Iterator[dict[str, str]]]:
    """The rows of a table, which another person may have written.

    Raises:
        DataError: it cannot be read, or a cell is not what its column says.
    """
    text = read_text(table, "a table (CSV)", most_bytes=MOST_BYTES)
    try:
        yield csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    except (csv.Error, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{table} is not a table that can be read ({error}).") from None


def _bandwidth(row: dict[str, str]) -> float | None:
    """Upper limit of the content of a listed file in Hz, None if unknown."""
    if row.get("bandwidth_hz"):
        return float(row["bandwidth_hz"])
    if not row.get("rolloff60_hz"):
        return None
    narrow = bool(row.get("hf8k_db")) and float(row["hf8k_db"]) < FULL_BAND_DB
    return min(float(row["rolloff60_hz"]), 8000.0) if narrow else float(row["rolloff60_hz"])


KIT_COLUMNS = ("path", "source", "speaker", "licence", "author", "split", "kind")


def kit_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a kit's ``manifest.csv``, every one with all of ``KIT_COLUMNS``.

    Raises:
        DataError: there is none, it cannot be read, or a column is missing.
    """
    table = folder / "manifest.csv"
    if not table.is_file():
        raise _wrong("kit", folder, "manifest.csv next to the folders of recordings.")
    with _rows(table) as rows:
        found = list(rows)
    for row in found:
        for column in KIT_COLUMNS:
            if row.get(column) is None:
                raise DataError(f"kit: {table} has no column '{column}'.")
    return found


def kit(folder: Path) -> list[Found]:
    """``manifest.csv`` with path, source, speaker, licence, author, split (dev, test) and kind.

    ``dev`` is for training, except VCTK and LibriTTS readers, which are for validation. Rows that
    are also in the Debian corpora are skipped unless they are ``test``, so that adding this corpus
    to those never puts a voice of their validation split into training.
    """
    found = []
    for row in kit_rows(folder):
        split = "test" if row["split"] == "test" else None
        if split is None and row["source"] in ("libritts", "vctk"):
            split = "val"
        if split is None and row["source"].startswith("deb-"):
            continue
        if split is None and row["source"] in MUSIC_PACKAGES:
            continue
        found.append(
            Found(
                row["path"],
                f"{row['source']}/{row['speaker']}",
                split,
                row["kind"],
                row["source"],
                row["licence"],
                row["author"],
            )
        )
    return found


def is_kit(folder: Path) -> bool:
    """Whether a folder's ``manifest.csv`` is a kit's rather than one that ``listed`` reads."""
    with _rows(folder / "manifest.csv") as rows:
        return "path" in next(rows, {})


def built(folder: Path) -> list[Found]:
    """``manifest.jsonl`` and the ``audio`` folder, as ``retone.training.debian`` builds them."""
    manifest = Manifest.load(folder / "manifest.jsonl")
    return [
        Found(e.path, e.group, e.split, e.kind, e.source, e.licence, e.author)
        for e in manifest.entries
    ]

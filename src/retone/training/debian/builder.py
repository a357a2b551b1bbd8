"""Builds free training corpora from Debian packages, which are fetched and unpacked, not installed.

The recordings keep their packages' licences (GPL, CC BY, CC BY-SA, public domain), which allow
training and distributing weights with credits; `credits.md` and `copyright/` hold them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from retone.audio.resampling import resampled
from retone.errors import DataError
from retone.training.data.manifest import (
    AUDIO_SUFFIXES,
    Entry,
    Log,
    Manifest,
    Rules,
    file_sha256,
    high_band_db,
    level_dbfs,
    split_by_hours,
)
from retone.training.debian.copyright import keep_statement, licence_of
from retone.training.debian.lists import (
    MUSIC_PACKAGES,
    MUSIC_TEST_PACKAGES,
    NOT_MUSIC,
    SPEECH_PACKAGES,
    SPEECH_RATES,
    SPEECH_TEST_VOICES,
    VOICES_PACKAGES,
)
from retone.training.debian.prompts import MIN_VOICE_SECONDS, clips, trim, voice_of

CORPORA = ("debian-speech", "debian-voices", "debian-music")
SPEECH_RATE = 44100
LOWEST_RATE = 0.72
"""Lowest own sample rate of a recording, as a fraction of the corpus's rate."""
MIN_TRACK_SECONDS = 30.0
CHECKED_SECONDS = 90.0
LEVEL_SPREAD_DB = 12.0
SPEECH_RULES = Rules(min_seconds=0.15, min_rms_dbfs=-55.0)
MUSIC_RULES = Rules(min_seconds=MIN_TRACK_SECONDS, min_rms_dbfs=-50.0, min_high_band_db=-75.0)
MIN_VOICE_HIGH_BAND_DB = -48.0


def build(name: str, folder: Path, progress: Log) -> Manifest:
    """Fetch the packages of one corpus, clean the audio and lay it out with its manifest.

    Args:
        name: ``"debian-speech"``, ``"debian-voices"`` or ``"debian-music"``.
        folder: receives ``audio/<package>/<voice or folder>/``, ``copyright/``, ``credits.md``,
            ``manifest.jsonl``, and ``packages/`` (archives and partial manifests, with which an
            interrupted build continues).
        progress: called with lines of text.

    Returns:
        The manifest. Voices and packages held out are in the split ``test``.

    Raises:
        DataError: unknown name, apt or dpkg is missing, or a package cannot be fetched.
    """
    if name not in CORPORA:
        raise DataError(f"debian corpus '{name}': unknown; choose one of {', '.join(CORPORA)}.")
    folder.mkdir(parents=True, exist_ok=True)
    packages = {
        "debian-speech": SPEECH_PACKAGES,
        "debian-voices": VOICES_PACKAGES,
        "debian-music": MUSIC_PACKAGES + MUSIC_TEST_PACKAGES,
    }[name]
    skipped: dict[str, list[str]] = defaultdict(list)
    entries: list[Entry] = []
    seen: set[str] = set()
    for package in packages:
        part = folder / "packages" / f"{package}.jsonl"
        marks = part.with_suffix(".marks")  # fingerprints, to find copies in later packages
        if not (part.is_file() and marks.is_file()):
            made = _package(name, package, folder, seen)
            marks.write_text("\n".join(sorted(seen)), encoding="utf-8")
            made.save(part)
        seen |= set(marks.read_text(encoding="utf-8").split())
        manifest = Manifest.load(part)
        entries += manifest.entries
        for reason, paths in manifest.skipped.items():
            skipped[reason] += paths
        progress(f"{package}: {len(manifest.entries)} files, {manifest.hours():.2f} h")
    free: dict[str, float] = defaultdict(float)
    for entry in entries:
        if entry.split == "":
            free[entry.group] += entry.seconds / 3600
    splits = split_by_hours(free)
    entries = [replace(e, split=e.split or splits[e.group]) for e in entries]
    manifest = Manifest(name, tuple(entries), {r: tuple(p) for r, p in skipped.items()})
    manifest.save(folder / "manifest.jsonl")
    _credits(manifest, packages, folder)
    progress(manifest.summary())
    return manifest


def _package(name: str, package: str, folder: Path, seen: set[str]) -> Manifest:
    skipped: dict[str, list[str]] = defaultdict(list)
    tree = unpack(package, folder / "packages")
    lay_out = _tracks if name == "debian-music" else _voices
    entries = lay_out(package, tree, folder, skipped, seen)
    keep_statement(tree, package, folder / "copyright")
    shutil.rmtree(tree)
    return Manifest(package, tuple(entries), {r: tuple(p) for r, p in skipped.items() if p})


def unpack(package: str, cache: Path) -> Path:
    """Fetch one package with ``apt-get download`` if need be and unpack it with ``dpkg -x``.

    Returns:
        The folder with the package's file tree; pk3 archives in it are opened in place.

    Raises:
        DataError: apt or dpkg is missing or the package cannot be fetched.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise DataError(
            f"{package}: apt-get and dpkg are needed to fetch it; run this on Debian or Ubuntu, "
            "or use another corpus."
        )
    tree = cache / "unpacked" / package
    archives = sorted(cache.glob(f"{package}_*.deb"))
    if not (archives and _unpacked(archives[-1], tree)):
        for torn in archives:  # an earlier download that was cut
            torn.unlink()
        archive = _fetched(package, cache)
        if not _unpacked(archive, tree):
            archive.unlink()
            raise DataError(
                f"{package}: dpkg cannot unpack what apt-get fetched. Try apt-get update, and that "
                f"there is space in {cache}."
            )
    for bundle in sorted(tree.rglob("*.pk3")):
        _open_bundle(bundle)
    return tree


def _fetched(package: str, cache: Path) -> Path:
    """Download a package; it takes its name in ``cache`` once it is complete.

    Raises:
        DataError: apt-get cannot fetch it.
    """
    place = cache / "download"
    shutil.rmtree(place, ignore_errors=True)  # of a build that was killed
    place.mkdir()
    try:
        done = subprocess.run(
            ["apt-get", "download", package], cwd=place, capture_output=True, text=True, check=False
        )
        found = sorted(place.glob(f"{package}_*.deb"))
        if done.returncode or not found:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(f"{package}: apt-get could not fetch it ({last}); try apt-get update.")
        return found[-1].replace(cache / found[-1].name)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unpacked(archive: Path, tree: Path) -> bool:
    """Unpack a package into an empty ``tree``; False if dpkg refuses it."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    done = subprocess.run(
        ["dpkg", "-x", str(archive.resolve()), str(tree)], capture_output=True, check=False
    )
    return done.returncode == 0


def _open_bundle(bundle: Path) -> None:
    target = bundle.with_suffix("")
    with zipfile.ZipFile(bundle) as archive:
        for member in archive.namelist():
            if member.lower().endswith(AUDIO_SUFFIXES):
                archive.extract(member, target)


def _audio_files(tree: Path) -> Iterator[Path]:
    for path in sorted(tree.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not path.is_symlink():
            yield path


def _read(path: Path, seconds: float | None = None) -> tuple[np.ndarray, int] | None:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            sample_rate = file.samplerate
            frames = -1 if seconds is None else int(seconds * sample_rate)
            audio = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    return audio, int(sample_rate)


def _voices(
    package: str, tree: Path, folder: Path, skipped: dict[str, list[str]], seen: set[str]
) -> list[Entry]:
    import soundfile

    voices: dict[str, list[tuple[np.ndarray, str]]] = defaultdict(list)
    rate = SPEECH_RATES.get(package, SPEECH_RATE)
    for path in _audio_files(tree):
        language = voice_of(package, path)
        if language is None:
            continue
        short = f"{package}/{path.relative_to(tree)}"
        got = _read(path)
        if got is None:
            skipped["unreadable"].append(short)
            continue
        audio, own_rate = got
        digest = hashlib.sha256(audio.tobytes()).hexdigest()
        reason = "duplicate" if digest in seen else SPEECH_RULES.refuse(audio, own_rate)
        if reason is None and own_rate < LOWEST_RATE * rate:
            reason = "low rate"
        seen.add(digest)
        if reason:
            skipped[reason].append(short)
            continue
        mono = audio.mean(axis=1)
        if own_rate != rate:
            mono = resampled(mono, own_rate, rate, "VHQ")
        mono = trim(mono, rate)
        if mono.size:
            voices[language].append((mono, short))
    entries: list[Entry] = []
    for language, prompts in sorted(voices.items()):
        levels = np.array([level_dbfs(audio) for audio, _ in prompts])
        usual = np.abs(levels - np.median(levels)) <= LEVEL_SPREAD_DB
        skipped["unusual level"] += [p[1] for p, ok in zip(prompts, usual, strict=True) if not ok]
        kept = [p[0] for p, ok in zip(prompts, usual, strict=True) if ok]
        total = sum(audio.size for audio in kept) / rate
        everything = np.concatenate(kept)
        if total < MIN_VOICE_SECONDS:
            skipped["voice too short"].append(f"{package}/{language}")
            continue
        if high_band_db(everything, rate) < MIN_VOICE_HIGH_BAND_DB:
            skipped["low band voice"].append(f"{package}/{language}")
            continue
        target = folder / "audio" / package / language
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        author, licence = licence_of(tree, package, "")
        split = "test" if (package, language) in SPEECH_TEST_VOICES else ""
        for number, clip in enumerate(clips(kept, rate)):
            path = target / f"{language}_{number:04d}.flac"
            soundfile.write(path, np.clip(clip, -1.0, 1.0), rate, subtype="PCM_16")
            entries.append(
                Entry(
                    path=path.relative_to(folder).as_posix(),
                    source=package,
                    group=f"{package}/{language}",
                    kind="speech",
                    seconds=round(clip.size / rate, 3),
                    sample_rate=rate,
                    licence=licence,
                    author=author,
                    sha256=file_sha256(path),
                    split=split,
                )
            )
    return entries


def _tracks(
    package: str, tree: Path, folder: Path, skipped: dict[str, list[str]], seen: set[str]
) -> list[Entry]:
    import soundfile

    entries: list[Entry] = []
    for path in _audio_files(tree):
        inner = path.relative_to(tree).as_posix()
        short = f"{package}/{inner}"
        try:
            info = soundfile.info(path)
        except (soundfile.LibsndfileError, RuntimeError):
            skipped["unreadable"].append(short)
            continue
        if info.duration < MIN_TRACK_SECONDS:
            continue  # thousands of sound effects, which are not listed one by one
        if any(mark in f"/{inner.lower()}" for mark in NOT_MUSIC):
            skipped["not music"].append(short)
            continue
        if info.samplerate < 44100:
            skipped["low rate"].append(short)
            continue
        got = _read(path, CHECKED_SECONDS)
        if got is None:
            skipped["unreadable"].append(short)
            continue
        audio, rate = got
        marks = fingerprints(audio.mean(axis=1), rate, info.duration)
        reason = "duplicate" if marks & seen else MUSIC_RULES.refuse(audio, rate)
        seen |= marks
        if reason:
            skipped[reason].append(short)
            continue
        target = folder / "audio" / package / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        author, licence = licence_of(tree, package, inner)
        entries.append(
            Entry(
                path=target.relative_to(folder).as_posix(),
                source=package,
                group=f"{package}/{path.parent.name}/{path.stem}",
                kind="music",
                seconds=round(info.duration, 3),
                sample_rate=rate,
                licence=licence,
                author=author,
                sha256=file_sha256(target),
                split="test" if package in MUSIC_TEST_PACKAGES else "",
            )
        )
    return entries


def fingerprints(audio: np.ndarray, sample_rate: int, duration: float) -> set[str]:
    """Hashes shared by two encodings of one recording, whatever their level.

    ``audio`` [T] is its beginning and ``duration`` the length of all of it in seconds.

    The shape of the level curve (2 s frames, normalised, in steps of 2 dB) with the steps
    placed twice, half a step apart, so that rounding rarely separates two copies in both.
    """
    size = 2 * sample_rate
    frames = audio[: audio.size // size * size].reshape(-1, size).astype(np.float64)
    level = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-9)
    shape = level[:30] - level.max()
    keys = set()
    for offset in (0.0, 0.5):
        steps = np.floor(shape / 2.0 + offset).astype(np.int16)
        text = steps.tobytes() + str(int(duration)).encode()
        keys.add(hashlib.sha256(text + str(offset).encode()).hexdigest())
    return keys


def _credits(manifest: Manifest, packages: tuple[str, ...], folder: Path) -> None:
    lines = [
        f"# Credits for {manifest.name}",
        "",
        "Recordings from Debian packages, which keep their licences. `copyright/` holds each",
        "package's own statement, which prevails. Changes: prompts were trimmed and joined",
        "(speech); music files are as published.",
        "",
    ]
    rows: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for entry in manifest.entries:
        rows[entry.source].add((entry.licence, entry.author))
    for package in packages:
        lines.append(f"- {package}: <https://packages.debian.org/source/{package}>")
        lines += [f"  - {licence}: {author}" for licence, author in sorted(rows[package])]
    (folder / "credits.md").write_text("\n".join(lines) + "\n", encoding="utf-8")

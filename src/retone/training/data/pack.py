"""A corpus packed to travel: excerpts of every speaker or track as Opus files with a manifest.

A machine with a GPU often cannot reach the corpora. A pack holds what a network learns most from:
many voices, a short excerpt of each. It opens as a ``folder`` corpus with the same splits.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retone.errors import DataError
from retone.files.atomic import AtomicFile
from retone.training.data.corpora import FULL_BAND, Corpus, Track
from retone.training.data.manifest import Log, Manifest

COLUMNS = ("file", "corpus", "split", "licence", "source", "bandwidth_hz")
FADE_S = 0.005
OPUS_KBPS = (6.0, 256.0)
"""Range of bit rates of one channel that the encoder's compression level covers."""
OPUS_RATES_KHZ = (8, 12, 16, 24, 48)


@dataclass(frozen=True)
class Packing:
    """What a pack keeps.

    Args:
        seconds: length of each speaker's or track's excerpt; shorter ones are kept whole.
        passage_s: a longer recording's excerpt consists of passages of this length, evenly spread.
        kbps, full_band_kbps: bit rates for recordings whose content ends below ``FULL_BAND`` of
            half the sample rate, and for the others.
        min_seconds: shorter ones are left out.
    """

    seconds: float = 20.0
    passage_s: float = 10.0
    kbps: float = 20.0
    full_band_kbps: float = 32.0
    min_seconds: float = 0.0


def pack(
    corpora: Iterable[Corpus], folder: Path, packing: Packing, progress: Log = lambda _: None
) -> int:
    """Write the excerpts and ``manifest.csv``; returns the bytes written.

    Args:
        corpora: opened corpora of one sample rate, which Opus must support.
        folder: where to write: a new or an empty folder, which a failure leaves as it was.
        packing: what to keep.
        progress: called with a line of text per corpus.

    Raises:
        DataError: the sample rate is not one of Opus, the folder is taken, or nothing is left.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; choose another one.")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _pack(corpora, folder, packing, progress)
    except BaseException:  # half of a corpus would be taken for a whole one
        for path in folder.iterdir():
            path.unlink()
        if made:
            folder.rmdir()
        raise


def _pack(corpora: Iterable[Corpus], folder: Path, packing: Packing, progress: Log) -> int:
    import soundfile

    rows: list[dict[str, object]] = []
    size = 0
    for corpus in corpora:
        rate = corpus.sample_rate
        if rate not in {1000 * khz for khz in OPUS_RATES_KHZ}:
            rates = ", ".join(map(str, OPUS_RATES_KHZ))
            raise DataError(f"{corpus.name}: Opus has no {rate} Hz; open it at {rates} kHz.")
        facts = _facts(corpus)
        before, kept = size, 0
        for track in corpus.tracks:
            if track.samples < packing.min_seconds * rate:
                continue
            full = track.bandwidth_hz >= FULL_BAND * rate / 2
            path = folder / f"{len(rows):05d}.opus"
            with AtomicFile(path, force=True, sync=False) as file:
                soundfile.write(
                    file.path, excerpt(track, rate, packing), rate, format="OGG", subtype="OPUS",
                    compression_level=_level(packing.full_band_kbps if full else packing.kbps),
                )  # fmt: skip
            size, kept = size + path.stat().st_size, kept + 1
            name, _, who = track.group.partition("/")
            row: dict[str, object] = {
                "file": path.name,
                "corpus": name,
                "speaker" if track.kind == "speech" else "track": who or name,
                "split": track.split,
                "bandwidth_hz": min(track.bandwidth_hz, rate / 2),
            }
            row["licence"], row["source"] = facts.get(track.group, ("", ""))
            rows.append(row)
        progress(f"{corpus.name}: {kept} of {len(corpus.tracks)}, {(size - before) / 1e6:.1f} MB")
    if not rows:
        raise DataError("nothing to pack: all recordings are too short.")
    _write_manifest(folder / "manifest.csv", rows)
    return size


def excerpt(track: Track, sample_rate: int, packing: Packing) -> np.ndarray:
    """Passages of a track, evenly spread and joined, each faded at its ends: float32 [T]."""
    most = round(packing.seconds * sample_rate)
    if track.samples <= most:
        return track.read(0, track.samples)
    count = max(1, round(packing.seconds / packing.passage_s))
    length = most // count
    starts = np.linspace(0, track.samples - length, count + 2)[1:-1].astype(int)
    ramp = np.linspace(0.0, 1.0, round(FADE_S * sample_rate), dtype=np.float32)
    parts = []
    for start in starts:
        part = track.read(int(start), length)
        part[: ramp.size] *= ramp
        part[-ramp.size :] *= ramp[::-1]
        parts.append(part)
    return np.concatenate(parts)


def _level(kbps: float) -> float:
    """The encoder's compression level, 0..1, for a bit rate."""
    low, high = OPUS_KBPS
    return float(np.clip((high - kbps) / (high - low), 0.0, 1.0))


def _facts(corpus: Corpus) -> dict[str, tuple[str, str]]:
    """Licence and author (else source) of each speaker or track, from its corpus's manifest."""
    found: dict[str, tuple[str, str]] = {}
    for folder in sorted({track.path.parent for track in corpus.tracks}):
        for entry in Manifest.load(folder / "manifest.jsonl").entries:
            found[entry.group] = (entry.licence, entry.author or entry.source)
    return found


def _write_manifest(path: Path, rows: list[dict[str, object]]) -> None:
    who = [c for c in ("speaker", "track") if any(c in row for row in rows)]
    with (
        AtomicFile(path, force=True, sync=False) as file,
        file.path.open("w", encoding="utf-8", newline="") as out,
    ):
        writer = csv.DictWriter(out, [*COLUMNS[:2], *who, *COLUMNS[2:]], restval="")
        writer.writeheader()
        writer.writerows(rows)

"""Natural pairs: an untreated recording, and as reference another voice or another piece.

That is what people bring, and there is no known target. The second table passes a studio recording
through a device first and gives it a studio reference; there the clean original is known, and the
distance to it is measured too.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import Clip, open_reader
from retone.dsp.short_levels import dynamics_db, noise_floor_change_db, octave_dynamics_db
from retone.dsp.third_octaves import CENTRES_HZ, occupied_bands, third_octave_levels_db
from retone.errors import DataError
from retone.lab.evaluate.devices import played
from retone.lab.evaluate.enhance import predicted
from retone.lab.evaluate.natural_rows import ROWS, rendered
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row
from retone.metrics.natural import boost_of_nothing_db, tone
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import corpus_source
from retone.training.data.layouts import kit_rows
from retone.training.data.manifest import assign_splits, file_sha256
from retone.training.provenance import provenance

MIN_S, MAX_S = 3.0, 60.0
MIN_DEVICE_S = 8.0
STUDIO_HZ = 10000.0
"""A studio recording holds something here: the third octave is occupied."""
SAME_VOICE, ANOTHER_VOICE = "same voice", "another voice"
SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Passage:
    """Part of a recording: ``share`` is its beginning and end, 0 to 1."""

    path: Path
    voice: str
    kind: str
    share: tuple[float, float] = (0.0, 1.0)

    def read(self) -> Clip:
        """Its samples at the file's own sample rate, at most a minute."""
        with open_reader(self.path) as reader:
            rate = reader.info.sample_rate
            whole = reader.read(round(MAX_S * rate))
        first, last = (round(s * whole.shape[1]) for s in self.share)
        return Clip(np.ascontiguousarray(whole[:, first:last]), rate)


@dataclass(frozen=True)
class NaturalPair:
    """An input and its reference; ``case`` is the kind, or the device and the kind of reference."""

    item: int
    case: str
    input: Passage
    reference: Passage
    device: str = ""

    def read(self, seed: int) -> tuple[Clip, Clip, Clip | None]:
        """Input, reference, and the clean original of an input through a device."""
        own, reference = self.input.read(), self.reference.read()
        if not self.device:
            return own, reference, None
        rng = np.random.default_rng([seed, self.item])
        mono = own.samples.mean(axis=0)
        out, clean = played(self.device, mono, own.sample_rate, rng)
        return Clip(out[None], own.sample_rate), reference, Clip(clean[None], own.sample_rate)


def find(folders: Iterable[tuple[str, Path]], split: str, kind: str, seed: int) -> list[Passage]:
    """One file of each voice or piece, chosen at random among those of 3 s or more.

    Args:
        folders: (corpus, folder); corpora are keys of CORPORA.
        split: ``"test"``, or ``"dev"`` for all others.
        kind: ``"speech"`` or ``"music"``.
        seed: random seed of the choice.

    Raises:
        DataError: a corpus has another layout, or fewer than two voices or pieces are left.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    given = list(folders)
    for name, folder in given:
        for path, voice in _listed(name, folder, split, kind):
            files[voice].append(path)
    rng = np.random.default_rng([seed, len(kind)])
    found = []
    for voice in sorted(files):
        paths = sorted(files[voice])
        order = [paths[i] for i in rng.permutation(len(paths))]
        long = next((p for p in order if _seconds(p) >= MIN_S), None)
        if long is not None:
            found.append(Passage(long, voice, kind))
    if len(found) < 2:
        raise DataError(
            f"natural pairs need two {'voices' if kind == 'speech' else 'pieces'} of "
            f"{MIN_S:g} s or more; {', '.join(n for n, _ in given)} has {len(found)} in its "
            f"{split} part. Add a corpus or choose the other part."
        )
    return found


def _listed(name: str, folder: Path, split: str, kind: str) -> list[tuple[Path, str]]:
    """(file, voice) of one kind and split. A kit's own table is read, because ``layouts.kit``
    leaves out what other corpora hold too."""
    if name == "kit" and (folder / "manifest.csv").is_file():
        return [
            (folder / row["path"], f"{row['source']}/{row['speaker']}")
            for row in kit_rows(folder)
            if row["kind"] == kind and (row["split"] == "test") == (split == "test")
        ]
    source = corpus_source(name)
    if not folder.is_dir():
        raise DataError(f"{name}: no folder {folder}; get the corpus from {source.where}.")
    found = source.find(folder)
    splits = assign_splits(found, source.order)
    return [
        (folder / item.path, item.group)
        for item in found
        if item.kind in (kind, "audio") and (splits[item.group] == "test") == (split == "test")
    ]


def _seconds(path: Path) -> float:
    with open_reader(path) as reader:
        return reader.info.duration_s


def natural_pairs(passages: Sequence[Passage], count: int, seed: int) -> list[NaturalPair]:
    """``count`` different ordered pairs of two voices or pieces.

    Each voice is an input once before any is one again, and a reference as often.

    Raises:
        DataError: there are not that many.
    """
    size = len(passages)
    if count > size * (size - 1):
        raise DataError(
            f"{count} pairs of {passages[0].kind} were asked for, but {size} voices or pieces "
            f"give {size * (size - 1)}. Ask for fewer, or add a corpus."
        )
    order = np.random.default_rng(seed).permutation(size)
    return [
        NaturalPair(
            item,
            passages[0].kind,
            passages[order[item % size]],
            passages[order[(item % size + 1 + item // size) % size]],
        )
        for item in range(count)
    ]


def device_pairs(
    passages: Sequence[Passage], devices: Sequence[str], count: int, seed: int
) -> list[NaturalPair]:
    """``count`` voices through each device, each with a reference of its own and of another voice.

    The first half of a recording is the input; its second half is the reference by the same voice.

    Raises:
        DataError: fewer than two voices have full-band recordings of 8 s or more.
    """
    voices = [p for p in passages if _seconds(p.path) >= MIN_DEVICE_S and _full_band(p)]
    if len(voices) < 2:
        raise DataError(
            f"device pairs need two voices with full-band recordings of {MIN_DEVICE_S:g} s or "
            f"more; {len(voices)} found. Add a corpus."
        )
    order = np.random.default_rng(seed).permutation(len(voices))
    pairs = []
    for item in range(min(count, len(voices))):
        own, other = (voices[order[(item + n) % len(voices)]] for n in (0, 1))
        first, second = (replace(own, share=s) for s in ((0.0, 0.5), (0.5, 1.0)))
        for device in devices:
            pairs += [
                NaturalPair(item, f"{device}, {SAME_VOICE}", first, second, device),
                NaturalPair(item, f"{device}, {ANOTHER_VOICE}", first, other, device),
            ]
    return pairs


def _full_band(passage: Passage) -> bool:
    clip = passage.read()
    occupied = occupied_bands(third_octave_levels_db(clip.samples, clip.sample_rate))
    return bool(occupied[np.argmin(np.abs(CENTRES_HZ - STUDIO_HZ))])


def evaluate(
    pairs: Sequence[NaturalPair],
    rows: Sequence[str],
    *,
    name: str,
    split: str,
    seed: int,
    quality: bool = True,
    path: Path | None = None,
    workers: Workers = 1,
    progress: Progress = silent,
    made_from: Callable[[], dict[str, Any]] = provenance,
) -> Result:
    """Measure rows on natural pairs.

    Args:
        pairs: of ``natural_pairs`` or ``device_pairs``.
        rows: names in ``ROWS``; those whose package is not installed are left out.
        name: names of the corpora, for the page.
        split: which part of the corpora the pairs come from.
        seed: random seed of the pairs, and of the devices' noise.
        quality: whether to predict listeners' scores (DNSMOS) for speech, if the package
            speechmos is installed.
        path: result file; rows in it are not measured again; it is saved after each pair.
        workers: processes, or a Ray cluster; see ``parallel``.
    """
    used = sorted({p.path for pair in pairs for p in (pair.input, pair.reference)})
    digest = hashlib.sha256("".join(file_sha256(p) for p in used).encode()).hexdigest()
    counts = dict(Counter(p.case for p in pairs))
    quality = quality and importlib.util.find_spec("speechmos") is not None
    question = {
        "what": "natural",
        "table": "devices" if any(p.device for p in pairs) else "pairs",
        "corpus": name,
        "files_sha256": digest,
        "split": split,
        "pairs": counts,
        "seed": seed,
        "quality": quality,
    }
    present = [r for r in rows if ROWS[r].available]
    labels = [ROWS[r].label for r in present]
    result = Result.resumed(question, made_from(), path, labels)
    have = {(r.item, r.case, r.method) for r in result.rows}
    jobs = []
    for pair in pairs:
        wanted = [r for r in present if (pair.item, pair.case, ROWS[r].label) not in have]
        if wanted:
            jobs.append((pair, wanted, seed, quality))
    for number, found in enumerate(measured(jobs, _measure, workers), start=1):
        result.rows += found
        progress(Phase("evaluating", "pairs"), number, len(jobs))
        if path is not None:
            result.save(path)
    cases, order = list(counts), {row.label: i for i, row in enumerate(ROWS.values())}
    result.rows.sort(key=lambda r: (cases.index(r.case), r.item, order.get(r.method, len(order))))
    if path is not None:
        result.save(path)
    return result


def _measure(job: tuple[Any, ...]) -> list[Row]:
    pair, names, seed, quality = job
    own, reference, clean = pair.read(seed)
    quality = quality and pair.input.kind == "speech"
    before = Measured.of(own, quality)
    goal = Measured.of(reference, False)
    truth = None if clean is None else Measured.of(clean, False)
    found = []
    for name in names:
        out, seconds, notes = rendered(ROWS[name].make(pair.input.kind), own, reference)
        after = before if name == "input" else Measured.of(Clip(out, own.sample_rate), quality)
        values = compared(before, after, goal) | {"cpu_s": seconds, "notes": notes}
        values["floor"] = noise_floor_change_db(own.samples, out, own.sample_rate)
        if truth is not None:
            error = tone(before.level_db, after.level_db, truth.level_db)
            values |= {"truth_before": error.before_db, "truth_after": error.after_db}
        kept = {k: v for k, v in values.items() if math.isfinite(v)}
        found.append(Row(pair.item, pair.input.voice, pair.case, ROWS[name].label, kept))
    return found


@dataclass(frozen=True)
class Measured:
    """What is measured of one recording."""

    level_db: np.ndarray
    spread_db: float
    octave_spread_db: np.ndarray
    quality: float

    @staticmethod
    def of(clip: Clip, quality: bool) -> Measured:
        """Measure a recording; ``quality`` is NaN unless it is asked for."""
        audio, rate = clip.samples, clip.sample_rate
        score = math.nan
        if quality:
            score = predicted(audio.mean(axis=0), rate, ("dnsmos",))["dnsmos.overall"]
        return Measured(
            third_octave_levels_db(audio, rate),
            dynamics_db(audio, rate),
            octave_dynamics_db(audio, rate),
            score,
        )


def compared(before: Measured, after: Measured, goal: Measured) -> dict[str, float]:
    """All measures that need no alignment, as values of a result's row."""
    found = tone(before.level_db, after.level_db, goal.level_db)
    octaves = [np.abs(s.octave_spread_db - goal.octave_spread_db) for s in (before, after)]
    both = np.isfinite(octaves[0]) & np.isfinite(octaves[1])
    return {
        "tone_before": found.before_db,
        "tone_after": found.after_db,
        "apart": float(found.apart),
        "right": float(found.right),
        "worse": float(found.worse),
        "dynamics_before": abs(before.spread_db - goal.spread_db),
        "dynamics_after": abs(after.spread_db - goal.spread_db),
        "octaves_before": float(octaves[0][both].mean()) if both.any() else math.nan,
        "octaves_after": float(octaves[1][both].mean()) if both.any() else math.nan,
        "boost": boost_of_nothing_db(before.level_db, after.level_db),
        "dnsmos_before": before.quality,
        "dnsmos_after": after.quality,
    }

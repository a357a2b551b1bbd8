"""Files that a training run writes next to its weights: log, curves, provenance, audio examples."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import DataError, RetoneError
from retone.files.atomic import AtomicFile, write_text_atomic
from retone.training.data.corpora import Corpus
from retone.training.data.manifest import Manifest
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import describe, fingerprint

LOG, CURVES, EXAMPLES = "log.jsonl", "tensorboard", "examples"

RowCallback = Callable[[dict[str, Any]], None]
"""Called with each log row."""


@contextlib.contextmanager
def one_run(folder: Path) -> Iterator[None]:
    """Make a run folder if it is missing, and let one run at a time work in it.

    The lock is on the folder itself and ends with the process. Where the system or the disk has no
    such locks, nobody is refused.

    Raises:
        DataError: another run works there.
    """
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            _LOCKS.add(handle)
            stack.callback(_unlock, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"{folder}: another run is working there. Wait for it, or choose another one."
                ) from None
        try:
            yield
        except RetoneError:
            for path in made:
                with contextlib.suppress(OSError):  # it holds something by now
                    path.rmdir()
            raise


_LOCKS: set[int] = set()


def _unlock(handle: int) -> None:
    _LOCKS.discard(handle)
    os.close(handle)


def _forked() -> None:
    """Workers must not keep a lock: they outlive a killed run by seconds."""
    for handle in list(_LOCKS):
        _unlock(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextlib.contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Make a run folder if it is missing; what refuses the run inside leaves nothing behind."""
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    before = {p.name for p in folder.iterdir()}
    try:
        yield
    except RetoneError:
        for path in [p for p in folder.iterdir() if p.name not in before]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in made:
            with contextlib.suppress(OSError):  # another process uses it
                path.rmdir()
        raise


class RunLog:
    """``log.jsonl``, one JSON object per line, and TensorBoard curves if tensorboard is installed.

    Args:
        folder: the run folder.
        step: first step; rows that a killed process wrote after it are removed.
        report: called with each row.
    """

    def __init__(self, folder: Path, step: int, report: RowCallback | None = None) -> None:
        self.path, self.report = folder / LOG, report
        for left in folder.glob(".*.part"):  # from a process killed while writing
            left.unlink(missing_ok=True)
        self._remove_rows_after(step)
        self.curves = _curves(folder / CURVES, step)
        if self.curves is None and step == 0:
            self.note("no TensorBoard curves: install them with pip install 'retone[train]'")

    def row(self, row: dict[str, Any]) -> None:
        """Write a row; its numbers are also curves over ``step``."""
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"time": round(time.time(), 1), **row}) + "\n")
        if self.curves is not None and "step" in row:
            for name, value in row.items():
                values = value if isinstance(value, dict) else {"": value}
                for part, number in values.items():
                    if name != "step" and isinstance(number, int | float):
                        tag = f"{name}/{part}" if part else f"training/{name}"
                        self.curves.add_scalar(tag, number, row["step"])
        if self.report is not None:
            self.report(row)

    def note(self, text: str) -> None:
        """Write a sentence."""
        self.row({"note": text})

    def close(self) -> None:
        """Flush the curves."""
        if self.curves is not None:
            self.curves.close()

    def _remove_rows_after(self, step: int) -> None:
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # incomplete
            if isinstance(row, dict) and row.get("step", 0) <= step:
                kept.append(line + "\n")
        write_text_atomic(self.path, "".join(kept), force=True, sync=False)


def _curves(folder: Path, step: int) -> Any:
    """A TensorBoard writer, None if tensorboard is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations
            from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]


def write_record(recipe: Any, corpora: dict[str, Corpus], folder: Path) -> None:
    """Write ``recipe.json`` and ``provenance.json``."""
    from retone.training.provenance import provenance

    record = {"recipe": describe(recipe), "fingerprint": fingerprint(recipe)}
    write_text_atomic(folder / "recipe.json", json.dumps(record, indent=1), True, sync=False)
    facts = {**provenance(), "corpora": {k: corpus_facts(v) for k, v in corpora.items()}}
    write_text_atomic(folder / "provenance.json", json.dumps(facts, indent=1), True, sync=False)


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """Name, size and hash of a corpus."""
    return {
        "name": corpus.name,
        "sample_rate": corpus.sample_rate,
        "speakers_or_tracks": len(corpus.tracks),
        "hours": round(corpus.hours, 4),
        "sha256": corpus.sha256,
    }


def corpus_problems(recipe: Recipe, corpora: dict[str, Corpus]) -> list[str]:
    """Files and tracks that a run cannot use, and why: one sentence each."""
    found = []
    folders = {track.path.parent for corpus in corpora.values() for track in corpus.tracks}
    for folder in sorted(folders):
        try:
            manifest = Manifest.load(folder / "manifest.jsonl")
        except DataError:
            continue  # not made by open_corpus
        for reason, paths in sorted(manifest.skipped.items()):
            found.append(f"{manifest.name}: {len(paths)} files {reason}, such as {paths[0]}")
    for split, corpus in corpora.items():
        pairs = recipe.pairs if split == "train" else recipe.pairs.for_validation(corpus)
        need = pairs.clip_samples
        short = [track.group for track in corpus.tracks if track.samples < need]
        if short:
            found.append(
                f"{corpus.name}: {len(short)} of {len(corpus.tracks)} speakers or tracks in "
                f"{split} are shorter than a clip of {need / recipe.pairs.sample_rate:.1f} s, "
                f"such as {short[0]}"
            )
    crossed = getattr(recipe.pairs, "cross_source_probability", 0.0) > 0
    if crossed and len({track.group for track in corpora["val"].tracks}) < 2:
        found.append(
            f"{corpora['val'].name}: only one speaker or track, so no validation pair has a "
            "reference from another one"
        )
    return found


def write_examples(folder: Path, sample_rate: int, examples: list[dict[str, np.ndarray]]) -> None:
    """Write audio examples: ``1_input.flac``, ``1_reference.flac``, ``1_target.flac``,
    ``1_output.flac``.

    The signals [T] of one example share one gain, so that the loudest does not clip.
    """
    import soundfile

    folder.mkdir(exist_ok=True)
    for number, signals in enumerate(examples, start=1):
        peak = max(float(np.abs(s).max(initial=0.0)) for s in signals.values())
        for name, signal in signals.items():
            path = folder / f"{number}_{name}.flac"
            audio = signal / max(1.0, peak * 1.0001)
            with AtomicFile(path, force=True, sync=False) as file:
                soundfile.write(file.path, audio, sample_rate, subtype="PCM_24", format="FLAC")

"""The recordings that a reproduction was given, by the papers' names for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from retone.errors import DataError
from retone.lab.published import Group, Printed
from retone.training.data.corpora import Corpus, corpus_source, join_corpora
from retone.training.data.splits import default_cache, open_splits
from retone.training.recipes.deepafx import SAMPLE_RATE

OF_THE_PAPERS = {
    "libritts": "speech", "daps": "speech", "vctk": "speech", "mtg-jamendo": "music",
    "musdb18": "music",
}  # fmt: skip
NEVER_TRAINED_ON = ("daps", "vctk", "musdb18")
"""The published program measures these on the 90 % that would be for training."""
TRAINED_ON = {"speech": "libritts", "music": "mtg-jamendo"}


@dataclass(frozen=True)
class Given:
    """One corpus: ``NAME=FOLDER``, or ``NAME/PREFIX=FOLDER`` for the voices or tracks whose names
    begin with PREFIX."""

    label: str
    name: str
    prefix: str
    folder: Path

    @staticmethod
    def parse(text: str) -> Given:
        """Read ``NAME=FOLDER``.

        Raises:
            DataError: another form, or an unknown corpus.
        """
        label, equals, folder = text.partition("=")
        if not equals or not label or not folder:
            raise DataError(f"'{text}': expected NAME=FOLDER, as in libritts=DATA/LibriTTS.")
        name, _, prefix = label.partition("/")
        corpus_source(name)
        return Given(label, name, prefix, Path(folder))

    def holds(self, kind: str) -> bool:
        """Whether recordings of a kind may be in it."""
        return corpus_source(self.name).kind in (kind, "audio")


@dataclass
class Recordings:
    """What is there to measure on and to train on.

    Args:
        given: corpora to measure on.
        training: corpora to train on; without any, the papers' own among ``given``, else all.
        cache: folder for resampled copies.
    """

    given: Sequence[Given]
    training: Sequence[Given] = ()
    cache: Path | None = None
    _opened: dict[tuple[Any, ...], Corpus] = field(default_factory=dict)

    def groups(self, printed: Printed) -> list[Group]:
        """The printed groups, then one for every other corpus of the same kinds."""
        found = list(printed.groups)
        rates = dict.fromkeys((g.kind, g.sample_rate) for g in printed.groups)
        for kind, rate in rates:
            for own in self.given:
                if own.holds(kind) and (own.name not in OF_THE_PAPERS or own.prefix):
                    name = own.label if len(rates) == 1 else f"{own.label}, {kind}, {rate} Hz"
                    found.append(Group(name, own.label, kind, rate))
        return found

    def corpus(self, group: Group) -> Corpus:
        """The recordings of a group that are measured.

        Raises:
            DataError: they were not given, or hold nothing of the kind.
        """
        own = next((g for g in self.given if g.label == group.corpus), None)
        if own is None:
            source = corpus_source(group.corpus)
            raise DataError(f"{source.title} was not given ({source.where})")
        trained = [t.name for t in self.training] or [TRAINED_ON[group.kind]]
        free = own.name in NEVER_TRAINED_ON and own.name not in trained and not own.prefix
        return self._open(own, group.kind, group.sample_rate, "train" if free else "test")

    def _open(self, own: Given, kind: str, rate: int, split: str) -> Corpus:
        key = (own, kind, rate, split)
        if key not in self._opened:
            corpus = open_splits(
                [(own.name, own.folder)], sample_rate=rate, cache=self.cache or default_cache(),
                kind=kind, need=(),
            )[split]  # fmt: skip
            kept = tuple(t for t in corpus.tracks if t.group.startswith(own.prefix))
            if not kept:
                raise DataError(f"{own.label}: no {kind} in its {split} split")
            name = corpus.name.replace(own.name, own.label, 1)
            self._opened[key] = replace(corpus, name=name, tracks=kept)
        return self._opened[key]

    def splits(self, kind: str) -> dict[str, Corpus]:
        """The ``"train"`` and ``"val"`` splits that systems of a kind are trained on.

        Raises:
            DataError: there is nothing to train on.
        """
        wanted = [g for g in self.training if g.holds(kind)]
        if not wanted:
            papers = [g for g in self.given if g.name == TRAINED_ON[kind] and not g.prefix]
            wanted = papers or [g for g in self.given if g.holds(kind) and not g.prefix]
        if not wanted:
            raise DataError(f"no {kind} to train on was given")
        found = {}
        for split in ("train", "val"):
            parts = []
            for own in wanted:
                try:
                    parts.append(self._open(own, kind, SAMPLE_RATE, split))
                except DataError:
                    continue
            if not parts:
                labels = ", ".join(g.label for g in wanted)
                raise DataError(f"{labels}: no {kind} in the {split} split to train on")
            found[split] = join_corpora(parts)
        return found

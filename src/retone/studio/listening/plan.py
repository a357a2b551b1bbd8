"""What a listening test compares: files of several systems for each item, not yet prepared.

A folder of results has one folder for each system, with one file for each item in each::

    results/input/voice1.wav    results/ours/voice1.wav    results/reference/voice1.wav
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retone.errors import DataError, SettingError, nearest

DESIGNS = ("mushra", "abx", "ab", "acr")
"""MUSHRA-style rating (ITU-R BS.1534), ABX, preference of pairs, and absolute rating (P.808)."""

QUESTIONS = {
    "mushra": "How good is each sound, compared with the reference?",
    "abx": "X is either A or B. Which one is it?",
    "ab": "Which one do you prefer?",
    "acr": "How good is the quality of this recording?",
}
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aif", ".aiff", ".caf", ".w64"}
REFERENCE = "reference"


@dataclass(frozen=True)
class Item:
    """One recording in every version.

    Args:
        name: the item's name.
        systems: name of each system and its file.
        reference: what the versions are compared with, None for nothing.
    """

    name: str
    systems: Mapping[str, Path]
    reference: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A listening test before its sounds are prepared.

    Args:
        title: shown to listeners.
        design: one of ``DESIGNS``.
        items: the recordings.
        question: what listeners are asked; empty for the design's usual question.
        anchors: cut-off frequencies in Hz of low-passed anchors (BS.1534: 7000 and 3500), which
            also serve as attention checks.
        aligned: the reference is the same recording as the versions, not another one that they
            should sound like. Only then is it filtered into anchors; a rating test hides it among
            the versions in any case.
        pairs: for pair designs: which systems are compared; empty for all pairs.
        repeats: how often each pair of an ABX test is asked.
        tie: whether "no preference" is an answer.

    Raises:
        SettingError: the design is unknown, or there is too little to compare.
    """

    title: str
    design: str
    items: tuple[Item, ...]
    question: str = ""
    anchors: tuple[float, ...] = (7000.0, 3500.0)
    aligned: bool = True
    pairs: tuple[tuple[str, str], ...] = ()
    repeats: int = 4
    tie: bool = True

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            raise SettingError(
                f"design '{self.design}' is unknown.{nearest(self.design, DESIGNS)} "
                f"Expected one of {', '.join(DESIGNS)}."
            )
        if not self.items:
            raise SettingError("the test has no items. Give at least one recording.")
        least = 2 if self.design in ("ab", "abx") else 1
        for item in self.items:
            if len(item.systems) < least:
                raise SettingError(
                    f"item '{item.name}' has {len(item.systems)} version(s); design "
                    f"'{self.design}' compares at least {least}."
                )
        if self.design == "mushra" and any(i.reference is None for i in self.items):
            raise SettingError(
                "design 'mushra' needs a reference for each item: a folder 'reference', or another "
                "design."
            )
        known = {s for i in self.items for s in i.systems}
        for pair in self.pairs:
            for name in pair:
                if name not in known:
                    raise SettingError(f"pair {pair}: no system '{name}'.{nearest(name, known)}")

    @property
    def asked(self) -> str:
        """The question to listeners."""
        return self.question or QUESTIONS[self.design]


def plan_of_folder(
    folder: Path, design: str, *, reference: str = REFERENCE, title: str = "", **options: object
) -> Plan:
    """The plan of a folder of results.

    Args:
        folder: holds a folder for each system.
        design: one of ``DESIGNS``.
        reference: name of the folder with the references, if there is one.
        title: shown to listeners; empty for the folder's name.
        options: further fields of :class:`Plan`.

    Raises:
        DataError: the folder holds no results, or an item lacks a version.
        SettingError: the design cannot be made of them.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give the folder that holds one per system.")
    systems = {
        f.name: {p.stem: p for p in sorted(f.iterdir()) if p.suffix.lower() in SOUNDS}
        for f in sorted(folder.iterdir())
        if f.is_dir()
    }
    systems = {name: files for name, files in systems.items() if files}
    references = systems.pop(reference, {})
    if not systems:
        raise DataError(
            f"{folder} holds no folders with recordings; expected one for each system, with files "
            "of the same names."
        )
    names = _same_names(systems, folder)
    items = tuple(
        Item(name, {s: files[name] for s, files in systems.items()}, references.get(name))
        for name in names
    )
    missing = [i.name for i in items if references and i.reference is None]
    if missing:
        raise DataError(f"{folder / reference} has no file for {', '.join(missing)}.")
    return Plan(title or folder.name, design, items, **options)  # type: ignore[arg-type]


def _same_names(systems: Mapping[str, Mapping[str, Path]], folder: Path) -> Sequence[str]:
    everything = sorted({n for files in systems.values() for n in files})
    for system, files in systems.items():
        lost = [n for n in everything if n not in files]
        if lost:
            raise DataError(
                f"{folder / system} has no file for {', '.join(lost[:5])}, which others have. "
                "Add it, or take the item out of the others."
            )
    return everything

"""Configurations of webMUSHRA (YAML): read into a plan, written from a prepared test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retone.errors import DataError, MissingExtraError
from retone.studio.listening.plan import Item, Plan

PAGES = {"mushra": "mushra", "paired_comparison": "ab", "likert_single_stimulus": "acr"}
"""Types of webMUSHRA's pages and the designs that they become."""
_IGNORED = {"generic", "volume", "consent", "finish"}


def _yaml(what: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(what, "pyyaml", "listening") from error
    return yaml


def plan_of_config(path: Path) -> Plan:
    """The plan of a webMUSHRA configuration; sounds are looked up beside it and in folders above.

    Pages of one kind of test are taken: MUSHRA, paired comparison or single-stimulus rating.

    Raises:
        MissingExtraError: pyyaml is not installed.
        DataError: the file is no such configuration, mixes kinds, or a sound is missing.
    """
    yaml = _yaml("Reading a webMUSHRA configuration")
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(config, dict) or not isinstance(config.get("pages"), list):
        raise DataError(f"{path} is no webMUSHRA configuration: it has no list 'pages'.")
    found = [p for p in _flat(config["pages"]) if p.get("type") not in _IGNORED]
    kinds = {str(p.get("type")) for p in found}
    unknown = kinds - set(PAGES)
    if unknown or len(kinds) != 1:
        what = ", ".join(sorted(unknown)) if unknown else ", ".join(sorted(kinds)) or "no test"
        raise DataError(
            f"{path} has pages of type {what}; expected pages of one of {', '.join(PAGES)}. "
            "Take the others out."
        )
    design = PAGES[kinds.pop()]
    items = tuple(_item(p, i, path, design) for i, p in enumerate(found))
    anchors = tuple(
        cut for key, cut in (("createAnchor70", 7000.0), ("createAnchor35", 3500.0))
        if design == "mushra" and any(p.get(key) for p in found)
    )  # fmt: skip
    question = next((str(p["content"]) for p in found if p.get("content")), "")
    tie = any(p.get("unforced") for p in found)
    return Plan(
        str(config.get("testname") or path.stem), design, items,
        question="" if "<" in question else question, anchors=anchors, tie=tie,
    )  # fmt: skip


def _flat(pages: list[Any]) -> list[Mapping[str, Any]]:
    """The pages of nested lists; a list may begin with the word "random"."""
    found: list[Mapping[str, Any]] = []
    for page in pages:
        if isinstance(page, list):
            found += _flat(page)
        elif isinstance(page, dict):
            found.append(page)
    return found


def _item(page: Mapping[str, Any], number: int, path: Path, design: str) -> Item:
    name = str(page.get("id") or page.get("name") or f"item{number + 1}")
    stimuli = page.get("stimuli")
    if design == "acr" and isinstance(page.get("stimulus"), str):
        stimuli = {"recording": page["stimulus"]}
    if not isinstance(stimuli, dict) or not stimuli:
        raise DataError(f"{path}: page '{name}' has no stimuli. Add them, or take the page out.")
    reference = page.get("reference")
    return Item(
        name,
        {str(k): _sound(str(v), path, name) for k, v in stimuli.items()},
        _sound(str(reference), path, name) if reference else None,
    )


def _sound(text: str, path: Path, page: str) -> Path:
    """A sound's file; webMUSHRA names it from its own folder, above the configuration."""
    for folder in (path.parent, *path.resolve().parents[:3]):
        if (folder / text).is_file():
            return folder / text
    raise DataError(
        f"{path}: page '{page}' names {text}, which lies neither beside it nor in a folder above."
    )


def config_of_study(study: Mapping[str, Any]) -> str:
    """A prepared test as a webMUSHRA configuration; its sounds are those of the test's folder.

    ABX and attention checks are left out, because webMUSHRA has none.

    Raises:
        MissingExtraError: pyyaml is not installed.
        DataError: the design is ABX.
    """
    yaml = _yaml("Writing a webMUSHRA configuration")
    design = study["design"]
    kind = next((k for k, d in PAGES.items() if d == design), None)
    if kind is None:
        raise DataError("webMUSHRA has no ABX pages. Prepare an 'ab' test for it.")
    pages: list[Any] = ["random"]
    for trial in study["trials"]:
        if trial["kind"] != "rate":
            continue
        own = {s["system"]: s["file"] for s in trial["stimuli"] if s["role"] != "reference"}
        page: dict[str, Any] = {
            "type": kind, "id": f"trial{trial['id']}", "name": trial["item"],
            "content": study["question"],
        }  # fmt: skip
        if design == "acr":
            own = {s["system"]: s["file"] for s in trial["stimuli"]}
            page["stimuli"] = own
            page["response"] = [
                {"value": str(i + 1), "label": w} for i, w in enumerate(study["categories"])
            ]
        else:
            page["showWaveform"] = False
            page["enableLooping"] = True
            if trial["reference"]:
                page["reference"] = trial["reference"]
            page["stimuli"] = own
            if design == "mushra":
                page |= {"createAnchor35": False, "createAnchor70": False}
            else:
                page["unforced"] = "No preference" if study["tie"] else ""
        pages.append(page)
    config = {
        "testname": study["title"],
        "testId": study["id"],
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "volume", "id": "volume", "name": "Volume", "content": "Set the volume.",
             "stimulus": study["trials"][0]["stimuli"][0]["file"], "defaultVolume": 0.5},
            pages,
            {"type": "finish", "name": "Thank you", "content": "", "showResults": False,
             "writeResults": True},
        ],
    }  # fmt: skip
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

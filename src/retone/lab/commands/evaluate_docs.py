"""``evaluate render-docs`` and ``enhance-docs``: pages of the repository from result files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retone.lab.commands.verbs import Verb, docs_folder

if TYPE_CHECKING:
    from retone.lab.evaluate.result import Result


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _render_docs(args: argparse.Namespace) -> int:
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate.result import Result, page
    from retone.lab.evaluate.style_page import render_folder

    docs = docs_folder()
    files = sorted((docs / "results").glob("closeness_*.json"))
    write_text_atomic(docs / "closeness.md", page([Result.load(f) for f in files]), force=True)
    write_text_atomic(docs / "styles.md", render_folder(docs / "results"), force=True)
    print("docs/closeness.md\ndocs/styles.md")
    return 0


def _enhance_docs(args: argparse.Namespace) -> int:
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate import equalizer_response, objectives, recordings
    from retone.lab.evaluate.distributions import plot
    from retone.lab.evaluate.enhance_page import page
    from retone.lab.evaluate.result import Result

    docs = docs_folder()

    def found(pattern: str) -> Sequence[Result]:
        return [Result.load(f) for f in sorted((docs / "results").glob(pattern))]

    tables = found("enhance_table_*.json")
    pictures = {}
    for number, result in enumerate(tables, start=1):
        for case_number, case in enumerate(result.names("case"), start=1):
            if result.question.get("quality"):
                name = f"enhance_quality_{number}_{case_number}.svg"
                picture = plot(result, case).render(standalone=True)
                write_text_atomic(docs / "pictures" / name, picture, force=True)
                title = f"Predicted quality, {result.question['corpus']}, {case}"
                pictures[title] = f"pictures/{name}"
    sections = [recordings.summary(r) for r in found("enhance_recordings_*.json")]
    for result in found("enhance_response_*.json"):
        sections.append(equalizer_response.section(result))
        for name in ("enhance_response_error", "enhance_response_clip"):
            if (docs / "pictures" / f"{name}.svg").is_file():
                sections.append(f"![Figure 1: {name}](pictures/{name}.svg)")
    sections += [objectives.section(r) for r in found("objectives_*.json")]
    write_text_atomic(docs / "enhancement.md", page(tables, pictures, sections), force=True)
    print(docs / "enhancement.md")
    return 0


def _reproducing_docs(args: argparse.Namespace) -> int:
    import json

    from retone.files.atomic import write_text_atomic
    from retone.lab.reproduce.filled import Filled
    from retone.lab.reproduce.page import IN_FULL, SOURCE, page

    docs = docs_folder()
    summary = json.loads((docs / "results" / SOURCE).read_text(encoding="utf-8"))
    tables = [Filled.load(docs / "results" / IN_FULL)]
    write_text_atomic(docs / "reproducing.md", page(summary, tables), force=True)
    print(docs / "reproducing.md")
    return 0


VERBS = (
    Verb(
        "reproducing-docs",
        "write docs/reproducing.md (in a clone of the repository)",
        _no_arguments,
        _reproducing_docs,
    ),
    Verb(
        "render-docs",
        "write docs/closeness.md and docs/styles.md (in a clone of the repository)",
        _no_arguments,
        _render_docs,
    ),
    Verb(
        "enhance-docs",
        "write docs/enhancement.md (in a clone of the repository)",
        _no_arguments,
        _enhance_docs,
    ),
)

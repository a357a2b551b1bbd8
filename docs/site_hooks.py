"""Hooks of the documentation site: pages made of files that are not pages.

The command-line reference comes from the parsers, notebooks become pages with their stored outputs,
and README, CHANGELOG and the like are shown with links that stay inside the site.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/retone/retone/blob/main/"
RAW = "https://raw.githubusercontent.com/retone/retone/main/"
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "CHANGELOG.md": "project/changelog.md",
}
"""File at the repository's root -> its page on the site."""

BASE = re.escape(REPOSITORY) + "|" + re.escape(RAW)
LINK = re.compile(r"\]\((?:" + BASE + r")([^)#\s]+)([^)\s]*)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages = {page: site_links((ROOT / name).read_text(), page) for name, page in ROOT_PAGES.items()}
    pages["reference/cli.md"] = cli_page()
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{notebook.stem}.md"] = notebook_page(notebook)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links from a notebook's file to its page."""
    return re.sub(r"(\]\((?!http)[^)]*notebooks/\w+)\.ipynb\)", r"\1.md)", markdown)


def site_links(text: str, page: str) -> str:
    """Turn links to the repository into relative links where the site has the file."""

    def relative(match: re.Match[str]) -> str:
        path, anchor = match.groups()
        target = ROOT_PAGES.get(
            path, path.removeprefix("docs/") if path.startswith("docs/") else ""
        )
        if not target:
            return match.group()
        return f"]({posixpath.relpath(target, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(relative, text)


def cli_page() -> str:
    """Every command with its options, as the parsers define them."""
    from retone.cli.main import build_parser
    from retone.lab.main import build_parser as build_lab_parser

    out = io.StringIO()
    out.write("# Command line\n\nGenerated from the programs' own help.\n")
    for parser in (build_parser(), build_lab_parser()):
        for level, one in parsers(parser, 2):
            write_parser(out, one, level)
    return out.getvalue()


def parsers(parser: argparse.ArgumentParser, level: int) -> Iterator[tuple[int, Any]]:
    """A parser and its commands' parsers, depth first."""
    yield level, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child, level + 1)


def write_parser(out: io.StringIO, parser: argparse.ArgumentParser, level: int) -> None:
    """Write heading, description and a table of arguments."""
    summary, _, rest = (parser.description or "").strip().partition("\n")
    out.write(f"\n{'#' * min(level, 4)} `{parser.prog}`\n\n{cell(summary)}\n")
    if rest.strip():
        out.write("\n```text\n" + rest.strip("\n") + "\n```\n")
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if isinstance(action, argparse._SubParsersAction):
            continue
        rows.append((" ".join(names(action)), help_of(action, parser)))
    if rows:
        out.write("\n| argument | what it does |\n|---|---|\n")
        for name, text in rows:
            out.write(f"| {name} | {text} |\n")


def names(action: argparse.Action) -> list[str]:
    """An argument as it is typed."""
    value = ""
    if action.nargs != 0:
        value = str(action.metavar or action.dest.upper())
        if isinstance(action.metavar, tuple):
            value = " ".join(action.metavar)
        elif action.metavar is None and action.choices is not None:
            value = "{" + ",".join(str(c) for c in action.choices) + "}"
        if action.nargs in ("+", "*"):
            value += " ..."
    if not action.option_strings:
        return [f"`{cell(value)}`"]
    return [
        ", ".join(f"`{cell(f'{option} {value}'.strip())}`" for option in action.option_strings[-1:])
    ] + [f"(`{option}`)" for option in action.option_strings[:-1]]


def help_of(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """An argument's help with its placeholders filled in."""
    if not action.help or action.help == argparse.SUPPRESS:
        return ""
    return cell(parser._get_formatter()._expand_help(action))


def cell(text: str) -> str:
    """Text that breaks neither a table nor HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its text, its code and the outputs stored in it."""
    parts = []
    for one in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(one["source"])
        if one["cell_type"] == "markdown":
            parts.append(source)
        elif source:
            parts.append(f"```python\n{source}\n```")
            parts.extend(filter(None, map(output, one["outputs"])))
    where = f"{REPOSITORY}docs/notebooks/{path.name}"
    parts.insert(1, f"*This page is a notebook: [{path.name}]({where}).*")
    return "\n\n".join(parts) + "\n"


def output(one: dict[str, Any]) -> str:
    """One output of a cell."""
    if one["output_type"] == "stream":
        return "```text\n" + "".join(one["text"]).rstrip() + "\n```"
    data = {kind: "".join(value) for kind, value in one.get("data", {}).items()}
    if "image/svg+xml" in data:
        picture = base64.b64encode(data["image/svg+xml"].encode()).decode()
        return f'<img alt="figure" src="data:image/svg+xml;base64,{picture}">'
    if "image/png" in data:
        return f'<img alt="figure" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/html" in data:
        lines = (line.strip() for line in data["text/html"].splitlines())
        return "<div>" + "".join(lines) + "</div>"
    if "text/plain" in data:
        return "```text\n" + data["text/plain"].rstrip() + "\n```"
    return ""

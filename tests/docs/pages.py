"""Fenced blocks of documentation pages, and how to run them."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``why_not`` is the reason that its page gives for not running it."""

    language: str
    code: str
    line: int
    why_not: str | None


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(m["language"], m["code"], text.count("\n", 0, m.start("code")) + 1, m["why"])
        for m in BLOCK.finditer(text)
    ]


def commands(code: str) -> list[list[str]]:
    """The words of each ``retone`` and ``python -m retone.lab`` command of a shell block."""
    words = [shlex.split(line, comments=True) for line in code.splitlines()]
    return [w for w in words if w[:1] == ["retone"] or w[:3] == ["python", "-m", "retone.lab"]]


def parse(words: list[str]) -> None:
    """Parse a command as its program would.

    Raises:
        SystemExit: with a code other than 0 if the program would refuse it.
    """
    if words[0] == "retone":
        from retone.cli.main import build_parser

        build_parser().parse_args(words[1:])
    else:
        from retone.lab.main import build_parser as build_lab_parser

        build_lab_parser().parse_args(words[3:])


def run_command(words: list[str]) -> int:
    """Run a command in this process; returns its exit code."""
    from retone.cli.main import main
    from retone.lab.main import main as lab_main

    try:
        return main(words[1:]) if words[0] == "retone" else lab_main(words[3:])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def write_programs(folder: Path) -> None:
    """``retone`` and ``python`` for the shell, both by this interpreter."""
    folder.mkdir()
    for name, arguments in (("python", ""), ("retone", "-m retone ")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def run_shell(code: str, programs: Path) -> None:
    """Run a shell block; commands of one line run in this process, which is faster.

    Raises:
        AssertionError: a command failed; the message holds its output.
    """
    lines = code.splitlines()
    alone = all(commands(line) or re.match(r"(mkdir|cp|python) ", line) for line in lines)
    for piece in lines if alone else [code]:
        words = commands(piece)
        if alone and words:
            assert run_command(words[0]) == 0, piece
            continue
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", piece], capture_output=True, text=True,
            env={**os.environ, "PATH": path}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{piece}\n{done.stdout}{done.stderr}"

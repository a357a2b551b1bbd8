"""The lab's commands: one table of verbs, help for every option, names from one source."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retone.estimators.choose import CHOICES, FORMER_NAMES, NAMES, estimator_named
from retone.lab.commands import bench, evaluate, evaluate_styles, evaluate_synthetic, figure
from retone.lab.main import build_parser, main
from retone.training.recipes.strategies import NAMES as STRATEGIES
from retone.training.recipes.table import RECIPES


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


def test_every_option_has_help() -> None:
    found = list(parsers(build_parser()))
    assert len(found) > 20
    silent = [
        f"{p.prog} {'/'.join(a.option_strings) or a.dest}"
        for p in found
        for a in p._actions
        if not a.help and not isinstance(a, argparse._SubParsersAction)
    ]
    assert not silent, silent


@pytest.mark.parametrize("command", [evaluate, bench, figure], ids=lambda c: c.__name__)
def test_verbs_are_named_once(command: object) -> None:
    names = [verb.name for verb in command.VERBS]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)


def test_every_verb_of_evaluate_is_in_its_text() -> None:
    for verb in evaluate.VERBS:
        assert f"evaluate {verb.name} " in (evaluate.__doc__ or ""), verb.name


def test_rows_and_options_know_every_estimator() -> None:
    """A new estimator is offered everywhere without a second list."""
    assert set(NAMES) - {"auto"} <= set(evaluate_synthetic.METHODS)
    assert set(NAMES) - {"auto"} == set(evaluate_styles.ESTIMATORS) - set(FORMER_NAMES)
    assert set(figure.ESTIMATORS) <= set(CHOICES)
    for name in CHOICES:
        assert estimator_named(name).name


def test_a_former_name_still_works() -> None:
    assert estimator_named("faithful").name == "full-match"


def test_strategies_recipes_and_reports_share_one_name() -> None:
    from retone.effects import PAPER_CHAIN
    from retone.training.recipes.strategies import strategies

    for name, strategy in strategies(PAPER_CHAIN, compact=False).items():
        assert strategy.name == name and name in STRATEGIES
        assert f"compact_{name}_speech" in RECIPES


@pytest.mark.parametrize(
    "words", [("evaluate", "render-docs"), ("evaluate", "enhance-docs"), ("bench", "render-docs")]
)
def test_pages_are_written_in_the_repository_only(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == 2
    assert "clone of the repository" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_library_code_names_no_command_line_option() -> None:
    """A message in a library is for Python users too."""
    import re

    import retone

    root = Path(retone.__file__).parent
    option = re.compile(r"""["' (]--[a-z][a-z-]+""")
    rooms = ("training", "nets", "presets", "losses", "metrics", "estimators", "lab/evaluate")
    wrong = []
    for room in rooms:
        for file in sorted((root / room).rglob("*.py")):
            text = re.sub(r'""".*?"""', "", file.read_text(encoding="utf-8"), flags=re.S)
            for line in text.splitlines():
                if option.search(line.split("  # ")[0]):
                    wrong.append(f"{file.relative_to(root)}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "probes", "--corpus", "folder=x", "--sample-rate", "24000", "-o"),
        ("evaluate", "gate", "--corpus", "folder=x", "--sample-rate", "24000", "--rows"),
        ("bench", "effects", "--output"),
        ("bench", "exports", "--record"),
        ("figure", "trend", "x.wav", "-o", "x.svg", "--readings"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "no/r.json"]) == 2
    assert "no/r.json: the folder no does not exist. Create it first." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_long_bench_of_the_studio_names_missing_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "studio-long", "--minutes", "1"]) == 2
    assert "examples/dull_voice.flac does not exist" in capsys.readouterr().err


def test_the_parser_of_all_verbs_is_light() -> None:
    code = (
        "import sys; from retone.lab.main import build_parser; build_parser().format_help();"
        "print([m for m in ('torch', 'scipy', 'soundfile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a signal to a process of its own")
def test_ctrl_c_while_modules_load_ends_without_a_traceback() -> None:
    code = (
        "import os, signal, sys; from retone.terminal import run_process\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "run_process(lambda: os.kill(os.getpid(), signal.SIGINT))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT and done.stderr == ""

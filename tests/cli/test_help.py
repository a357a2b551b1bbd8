"""The front door: help, version, typing errors; nothing heavy before a command runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import retone as package
from retone.cli.main import COMMANDS

SOURCE = Path(package.__file__).parents[1]
HEAVY = ("torch", "numba", "scipy", "numpy", "soundfile", "soxr")


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=SOURCE)


def test_the_module_answers_help() -> None:
    done = python("-m", "retone", "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in COMMANDS:
        assert re.search(rf"^\s+{name}\s+\w", done.stdout, re.MULTILINE), f"{name} has no help line"


def test_the_parser_of_all_commands_is_light() -> None:
    code = (
        "import sys; from retone.cli.main import build_parser; build_parser().format_help();"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr


def test_version(retone) -> None:
    done = retone("--version")
    assert (done.code, done.out) == (0, f"retone {package.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_does(retone, command: str) -> None:
    done = retone(command, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: retone {command}")
    assert "show this help" in done.out
    described = done.out.split("\n\n")[1].strip()
    assert re.fullmatch(r"[A-Z].*[.:]", described.splitlines()[0]) or described.endswith(".")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "match",
            "--to --preset --auto --output --amount --eq-only --dynamics-only --lock --loudness",
        ),
        ("match", "--true-peak --estimator --force --no-report --quiet"),
        ("apply", "--settings --output --amount --loudness --true-peak --force --quiet"),
        ("inspect", "--json"),
    ],
)
def test_options_are_explained(retone, command: str, options: str) -> None:
    text = retone(command, "--help").out
    for option in options.split():
        assert option in text
    assert "None" not in text
    assert "Ellipsis" not in text


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("mtch",), ["command 'mtch' is unknown. Did you mean 'match'? See 'retone --help'"]),
        (("match", "--too", "b.wav", "a.wav"), ["no option '--too'. Did you mean '--to'?"]),
        (("match", "a.wav", "--to", "b.wav", "--estimator", "rulez"), ["Did you mean 'rules'?"]),
        (("corpus", "chek"), ["action 'chek' is unknown. Did you mean 'check'?"]),
        (("preset", "lst"), ["Did you mean 'list'?"]),
        (("inspect", "--jsn", "a.wav"), ["Did you mean '--json'?", "retone inspect --help"]),
        (("--verson",), ["Did you mean '--version'?"]),
        (("match",), ["INPUT", "retone match --help"]),
        (("match", "a.wav"), ["--to", "--preset"]),
        (("match", "a.wav", "--to"), ["--to", "expected"]),
        (("match", "a.wav", "--to", "b.wav", "--louder"), ["--louder"]),
        (("match", "a.wav", "--to", "b.wav", "--eq-only", "--dynamics-only"), ["--eq-only"]),
        (("apply", "a.wav"), ["--settings"]),
        (("inspect",), ["FILE"]),
        (
            ("preset", "make", "ours", "a.wav", "-o", "ours.json"),
            ["retone preset make: ", "-o", "See 'retone preset make --help'."],
        ),
    ],
)
def test_a_typing_error_is_one_sentence(retone, words: tuple[str, ...], parts: list[str]) -> None:
    done = retone(*words)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert all(p in done.err for p in parts), done.err


def test_alone_it_prints_its_help(retone) -> None:
    done = retone()
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("usage: retone")


def test_what_begins_with_dashes_can_be_a_file(retone) -> None:
    done = retone("inspect", "--", "--no-such.wav")
    assert done.code == 2 and "no option" not in done.err


def test_lock_list_needs_no_files(retone) -> None:
    from retone.effects import SOUND_CHAIN

    done = retone("match", "--lock", "list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(SOUND_CHAIN.params.names)
    ratio = next(line for line in lines if line.startswith("compressor.ratio"))
    assert re.search(r"\b1 \.\. 20\b", ratio)


def test_help_does_not_touch_the_folder(retone, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    retone("match", "--help")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "-take.wav"),
        ("match", "in.wav", "--to", "-reference.wav"),
        ("listen", "make", "results", "-o", "-test"),
        ("listen", "make", "-results", "-o", "test"),
        ("listen", "make", "results", "-o", "test", "--pair", "-a,b"),
        ("listen", "analyse", "-test"),
        ("studio", "--token-file", "-tokens"),
    ],
)
def test_a_name_that_looks_like_an_option_is_told_how_to_write_it(
    retone, words: tuple[str, ...]
) -> None:
    done = retone(*words)
    dashed = next(w for w in words if w.startswith("-") and w not in ("--to", "-o", "--pair")
                  and not w.startswith("--"))  # fmt: skip
    assert done.code == 2 and f"'./{dashed}'" in done.err


def test_other_errors_do_not_speak_of_names(retone) -> None:
    for words in (("match",), ("match", "a.wav", "--strenght", "1"), ("live", "x", "--chunk=-5")):
        assert "If '" not in retone(*words).err


@pytest.mark.parametrize("command", ["match", "enhance", "apply"])
def test_defaults_are_those_of_the_command(retone, command: str) -> None:
    """Only ``apply`` reads a settings file; the others do nothing that one holds."""
    text = " ".join(retone(command, "--help").out.split())
    own = command == "apply"
    for one in ("scale the change, 0 to 1", "true-peak ceiling"):
        default = text.split(f"{one} (default: ")[1].split(")")[0]
        assert (default == "that of the settings") == own and (default in ("1", "-1")) != own
    assert "default: beside INPUT" in text and "results.csv" in text

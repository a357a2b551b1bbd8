"""Every command of the program's own table under every fault: a sentence, and nothing half left.

``scripts/faults.py`` holds the commands' words, the faults and the law.
A new command is held to it as soon as it is in the table of commands.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from retone.cli.main import COMMANDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and limits a child's resources"),
]
SCRIPT = Path(__file__).parents[2] / "scripts" / "faults.py"


@pytest.fixture(scope="module")
def faults() -> ModuleType:
    spec = importlib.util.spec_from_file_location("faults", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["faults"] = module
    spec.loader.exec_module(module)
    return module


def test_every_command_has_words(faults: ModuleType) -> None:
    assert set(faults.WORDS) == set(COMMANDS)


@pytest.fixture(scope="module")
def complaints() -> dict[str, list[str]]:
    """All trials run in one process that has imported everything and forks (pytest has threads)."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_fault_leaves_no_half(command: str, complaints: dict[str, list[str]]) -> None:
    own = {pair: said for pair, said in complaints.items() if pair.startswith(command + " ")}
    assert len(own) >= 10
    assert not {pair: said for pair, said in own.items() if said}

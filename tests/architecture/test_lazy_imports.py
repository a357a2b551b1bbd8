"""What costs time or may be missing is imported where it is used, and the front door is light."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from imports import SOURCE, imports, source_files

NAMED_OTHERWISE = {
    "dasp-pytorch": ("dasp_pytorch",),
    "tensorboard": ("tensorboard",),
    "python-multipart": ("multipart", "python_multipart"),
    "pyyaml": ("yaml",),
}
HEAVY = ("torch", "numba", "scipy", "librosa", "onnxruntime")


def optional_modules(repository: Path) -> set[str]:
    """Module names of every package that only an extra installs, and of what it brings along."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    found = {"torchlpc", "torchaudio", "torch.utils.tensorboard"}
    for extra in project["optional-dependencies"].values():
        for requirement in extra:
            name = re.split(r"[<>=!~\[; ]", requirement)[0]
            found.update(NAMED_OTHERWISE.get(name, (name.replace("-", "_"),)))
    core = {re.split(r"[<>=!~\[; ]", r)[0] for r in project["dependencies"]}
    return found - core - {"retone"}  # an extra may name another extra


def test_optional_packages_are_imported_inside_functions(repository: Path) -> None:
    optional = optional_modules(repository)
    assert {"pesq", "pystoi", "speechmos", "pedalboard", "librosa"} <= optional
    wrong = [
        f"{item.file}:{item.line} imports {item.module}"
        for file in source_files()
        for item in imports(file)
        if item.at_import and (item.module in optional or item.module.split(".")[0] in optional)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["retone", "retone.errors", "retone.units", "retone.cli.main"])
def test_front_door_imports_nothing_heavy(module: str) -> None:
    """So that ``retone --help`` answers at once."""
    code = f"import sys, {module}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOURCE.parent
    )
    assert out.stdout.strip() == "[]"


UNNEEDED = ("torch._dynamo", "sympy", "scipy.signal", "scipy.stats", "scipy.cluster", "matplotlib")
"""Each takes longer to load than a short recording takes to match."""


@pytest.mark.parametrize("command", ["match", "match --estimator closed-form", "enhance"])
def test_commands_load_nothing_that_they_do_not_use(
    command: str, repository: Path, tmp_path: Path
) -> None:
    name, *more = command.split()
    voice, other = (repository / "examples" / f"{n}_voice.flac" for n in ("dull", "bright"))
    reference = ["--to", str(other)] if name == "match" else []
    words = [name, str(voice), *reference, "-o", str(tmp_path / "out.wav"), *more, "-q"]
    code = (
        f"import sys; from retone.cli.main import main; assert main({words!r}) == 0\n"
        f"print([m for m in {UNNEEDED!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / "out.wav").exists() and out.stdout.strip() == "[]"

"""The native core: signatures, argument checks, the cache of compiled files, every level alike."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retone
from retone import core
from retone.core import build
from retone.kernels.dynamics import compress_forward

PACKAGE = Path(retone.__file__).parent
CODE = {path.name: path.read_text() for path in build.FOLDER.glob("*.[ch]")}


def test_every_function_is_called_and_defined_once() -> None:
    texts = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js")]
    callers = "".join(path.read_text() for path in texts)
    names = re.findall(r"rt_(\w+)\(", build.declarations())
    assert set(core.functions()) == set(names) and len(names) > 20
    for name in names:
        assert re.search(rf"\b(core|library)\S*\.(rt_)?{name}\(", callers), name
    assert len(set(names)) == len(names)


def test_every_function_with_a_public_name_is_marked() -> None:
    """Others would be missing from the declarations, and from Python."""
    for name, text in CODE.items():
        for line in re.findall(r"^(?!static|INLINE|RT_API|#)\w[^;{}\n]*\brt_\w+\(", text, re.M):
            assert line.startswith("RT_API"), f"{name}: {line}"
    marked = re.findall(r"^RT_API [^;{]*?\brt_(\w+)\([^;{]*\{", "".join(CODE.values()), re.M)
    assert sorted(marked) == sorted(re.findall(r"\brt_(\w+)\(", build.declarations()))


def test_what_the_plug_ins_call_is_declared_as_it_is_defined() -> None:
    """The compiler does not compare: the files are compiled one by one."""
    defined = {re.sub(r"\s+", " ", d) for d in build.declarations().rstrip(";\n").split(";\n")}
    declared = re.findall(r"^RT_API ([^;{]*);", CODE["core.h"], re.M)
    assert declared and {re.sub(r"\s+", " ", d) for d in declared} <= defined


def test_the_knee_and_the_smoother_are_written_once() -> None:
    """Whoever changes the compressor's curve changes one place."""
    for pattern in (r"t = minimum\(a, c->width\)", r"fma_\(keep_up, y, up\)"):
        assert [n for n, text in CODE.items() if re.search(pattern, text)] == ["curve.h"]


def test_the_core_allocates_nothing_and_keeps_no_state() -> None:
    for name, text in CODE.items():
        assert not re.search(r"\b(malloc|calloc|realloc|free|alloca)\s*\(", text), name
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        assert not re.search(r"^static (?!const|inline)\w+ \*?\w+\s*(=|;|\[)", code, re.M), name


def test_arrays_of_another_type_or_with_gaps_are_refused() -> None:
    x, out = np.ones((2, 8), np.float32), np.empty((2, 4), np.float32)
    core.power(x, out, 2, 4)
    assert (out == 2).all()
    with pytest.raises(TypeError, match="Argument 1 is float64, expected float32"):
        core.power(x.astype(np.float64), out, 2, 4)
    with pytest.raises(ValueError, match="contiguous"):
        core.power(x[:, ::2], out, 2, 4)
    with pytest.raises(AttributeError, match="no function 'powder'"):
        core.powder(x)


def test_scratch_memory_starts_at_a_cache_line() -> None:
    for numbers in (1, 4097):
        found = core.scratch(numbers)
        assert found.size == numbers and found.ctypes.data % 64 == 0


@pytest.mark.parametrize(("kind", "error"), [(np.float32, 6e-8), (np.float64, 1e-12)])
def test_log2_and_exp2_are_accurate(kind: type, error: float) -> None:
    """A threshold below all samples and a ratio of 2: the gain is 10^((threshold - level) / 40)."""
    x = np.random.default_rng(0).uniform(-1, 1, 8000)
    x[:4] = 1.0, 0.5, 2.0, np.nextafter(1.0, 0.0)
    x = (x * 10 ** np.random.default_rng(1).uniform(-4, 4, x.size)).astype(kind)[None, None]
    params = np.array([[-150.0, 0.5, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]])
    y = compress_forward(x, params, np.zeros((1, 3)))[0]
    power = np.maximum(x.astype(np.float64) ** 2, 1e-12)
    level_db = 10 * np.log10(power)
    np.testing.assert_allclose(y, x * 10 ** ((-150 - level_db) / 40), rtol=error)


# -- levels ---------------------------------------------------------------------------------------

SCENE = """
import json, sys
import numpy as np
from retone import core
from retone.kernels.ballistics import ballistics_backward, ballistics_forward
from retone.kernels.dynamics import compress_backward, compress_forward
from retone.kernels.sections import sections_backward, sections_forward
rng = np.random.default_rng(0)
found = {}
for rows in (1, 3, 6, 19):
    for kind in (np.float32, np.float64):
        x, g = rng.standard_normal((2, rows, 1111)).astype(kind)
        sos = np.array([[[0.9, -1.5, 0.7, -1.6, 0.7], [1.1, -0.4, 0.2, -0.5, 0.3]] * 2])
        state = rng.standard_normal((rows, 4, 2))
        params = np.array([[-20, 0.6, 0.1, 0.01, 6, 3, 0.3, -40, 1.0]]).repeat(rows, 0)
        rest = rng.standard_normal((rows, 3)) ** 2
        up, down = np.full(rows, 0.1), np.full(rows, 0.02)
        y = compress_forward(x[:, None], params, rest, expander=True)[0]
        parts = [
            *sections_forward(x, sos, state), *sections_backward(g, x, sos, state, state), y,
            *compress_backward(g[:, None], x[:, None], params, rest, expander=True),
            ballistics_forward(x, up, down, rest[:, 0]),
            *ballistics_backward(g, x, up, down, rest[:, 0]),
        ]
        numbers = [np.asarray(p, float).ravel()[:400].tolist() for p in parts]
        found[f"{rows} {kind.__name__}"] = numbers
json.dump([core.level(), found], sys.stdout)
"""


def run(code: str, package: Path = PACKAGE, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != "RETONE_CORE_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**kept, "PYTHONPATH": str(package.parent), **environment},
    )  # fmt: skip


def test_all_levels_of_this_machine_agree() -> None:
    target = build.host_target()
    here = target.levels.index(core.level())
    results = {}
    for level in target.levels[: here + 1]:
        done = run(SCENE, RETONE_CORE_LEVEL=level)
        assert done.returncode == 0, done.stderr
        name, results[level] = json.loads(done.stdout)
        assert name == level
    reference = results[target.levels[here]]
    for found in results.values():
        for scene, parts in found.items():
            for a, b in zip(parts, reference[scene], strict=True):
                scale = max(np.abs(b).max(), 1e-9)
                tolerance = 2e-6 if "32" in scene else 1e-10
                np.testing.assert_allclose(np.array(a) / scale, np.array(b) / scale, atol=tolerance)


def test_an_unknown_level_is_refused() -> None:
    done = run("from retone import core; core.level()", RETONE_CORE_LEVEL="x86-64-v9")
    assert done.returncode and "$RETONE_CORE_LEVEL is 'x86-64-v9', expected" in done.stderr


# -- wheels ---------------------------------------------------------------------------------------


def test_wheels_are_checked_for_platform_exports_and_glibc(repository: Path) -> None:
    script = runpy.run_path(str(repository / "scripts" / "make_wheels.py"))
    check = script["check_library"]
    target = build.TARGETS.get(build.host())
    if target is None:
        pytest.skip("no wheels for this platform")
    name = target.library(core.level())
    library = core._file(name).read_bytes()
    assert check(name, library, build.host()) == []
    other = next(key for key in build.TARGETS if key != build.host())
    assert check(name, library, other) == [f"it is for {build.host()}"]
    assert "rt_wsola is not exported" in check(
        name, library.replace(b"rt_wsola", b"rt_other"), other
    )
    module = core.wasm()
    assert check(build.WASM, module, other) == []
    cut = module.replace(b"rt_fir_block", b"rt_fir_other")
    assert check(build.WASM, cut, other) == ["rt_fir_block is not exported"]
    assert check(build.WASM, library, other) == ["it is not WebAssembly"]
    newer = library.replace(b"GLIBC_2.2.5", b"GLIBC_2.39\0")
    assert newer == library or check(name, newer, build.host()) == ["it needs glibc 2.39"]


def test_an_editable_installation_brings_the_compiler_along(repository: Path) -> None:
    pytest.importorskip("hatchling")
    hook = runpy.run_path(str(repository / "hatch_build.py"))["CustomBuildHook"]
    made: dict[str, list[str]] = {}
    hook(str(repository), {}, None, None, "", "wheel").initialize("editable", made)
    assert [re.split("[<>=]", r)[0] for r in made["dependencies"]] == ["ziglang"]


# -- the cache ------------------------------------------------------------------------------------

BITS = "int64_t rt_used_bits"
WHERE = (
    "from retone import core\nimport numpy as np\n"
    "print(core.used_bits(np.ones(1), 1, 16, 0)); print(core.cache_folder())"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the core that compiles fast: all but one file of it is left out."""
    package = tmp_path / "retone"
    package.mkdir()
    shutil.copy(PACKAGE / "__init__.py", package)
    shutil.copytree(build.FOLDER, package / "core", ignore=shutil.ignore_patterns("*.c", "lib"))
    (package / "core" / "cpu.c").write_text(CODE["cpu.c"])
    body = "(const void *x, int64_t count, int64_t bits, int32_t single) { return 21; }"
    (package / "core" / "level.c").write_text(f'#include "core.h"\nRT_API {BITS}{body}\n')
    return package


def test_a_checkout_compiles_once_says_so_and_notices_a_changed_file(
    copy: Path, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": ""}
    first = run(WHERE, copy, **home)
    value, folder = first.stdout.split()
    assert value == "21", first.stderr
    assert first.stderr.count("compiling the C core once") == 1
    assert Path(folder).parent == tmp_path / "home" / ".cache" / "retone" / "core"
    again = run(WHERE, copy, **home)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    changed = copy / "core" / "level.c"
    changed.write_text(changed.read_text().replace("21", "31"))
    third = run(WHERE, copy, **home)
    assert third.stdout.split()[0] == "31" and "compiling" in third.stderr


def test_a_home_that_cannot_be_written_is_no_obstacle(copy: Path, tmp_path: Path) -> None:
    """A file in the place of the folder refuses root too."""
    (tmp_path / "home").write_text("")
    (tmp_path / "temporary").mkdir()
    found = run(
        WHERE, copy, HOME=str(tmp_path / "home"), XDG_CACHE_HOME="",
        TMPDIR=str(tmp_path / "temporary"),
    )  # fmt: skip
    value, folder = found.stdout.split()
    assert value == "21" and Path(folder).is_relative_to(tmp_path / "temporary")


def test_without_a_compiler_the_message_names_one(copy: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.modules['ziglang'] = None\n{WHERE}"
    done = run(code, copy, XDG_CACHE_HOME=str(tmp_path), PATH="", CC="")
    assert "pip install ziglang" in done.stderr.splitlines()[-1]


def test_what_the_compiler_says_is_shown(copy: Path, tmp_path: Path) -> None:
    (copy / "core" / "level.c").write_text("#error nothing fits\n")
    done = run(WHERE, copy, XDG_CACHE_HOME=str(tmp_path))
    assert "The C core does not compile with" in done.stderr and "nothing fits" in done.stderr
    assert not list(tmp_path.rglob("retone-core-x86*"))


def test_another_users_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("owners are POSIX's")
    open_to_all, own = tmp_path / "open", tmp_path / "own"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(core, "_bases", lambda: iter([open_to_all, own]))
    assert core.cache_folder() == own / build.source_hash()


def test_old_folders_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age in range(12):
        (tmp_path / f"old{age}").mkdir()
        os.utime(tmp_path / f"old{age}", (1e9 - age, 1e9 - age))
    monkeypatch.setattr(core, "_bases", lambda: iter([tmp_path]))
    folder = core.cache_folder()
    newest = {folder.name, *(f"old{age}" for age in range(core.KEPT - 1))}
    assert {p.name for p in tmp_path.iterdir()} == newest


def test_no_compiled_python_is_left() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (numba|llvmlite)\b", path.read_text(), re.M), path

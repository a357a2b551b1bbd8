"""Compile the core's C files into shared libraries, here or for another platform.

The compiler is ``$CC`` (a clang), else the ``ziglang`` package, which brings everything along, else
``zig`` or ``clang`` on the path. The build of wheels (``hatch_build.py``) loads this file on its
own: it uses the standard library and cffi only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = (
    "-O3", "-std=c11", "-shared", "-fvisibility=hidden", "-s",
    "-ffp-contract=off",  # rounding is defined; the code says where it may fuse
    "-fno-math-errno", "-Wall", "-Wno-unknown-pragmas", "-Wno-psabi",
)  # fmt: skip
CPU = "cpu"
"""The name of the small library that reports the processor's level."""
PLUGINS = "plugins"
"""The name of the library of audio plug-ins, for every processor of a platform."""
BINDING = "core_functions.py"
WASM = "retone-core.wasm"
"""The part of the core that the studio's page runs, for every platform."""
WASM_SOURCES = ("designs.c", "dynamics.c", "fir.c", "noise.c", "sections.c")
WASM_FUNCTIONS = (
    "rt_design_forward", "rt_design_dynamics",
    "rt_sections_scratch", "rt_sections_forward",
    "rt_compress_scratch", "rt_compress_forward", "rt_compress_linear",
    "rt_fft_table", "rt_fir_spectra", "rt_fir_block", "rt_curve_size", "rt_curve_taps",
    "rt_noise_scratch", "rt_noise_forward",
)  # fmt: skip
X86_LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


@dataclass(frozen=True)
class Target:
    """A platform: how zig names it, and how files and wheels do."""

    zig: str
    levels: tuple[str, ...]
    """Instruction levels, one library each; several only on x86-64."""
    suffix: str
    wheel_tag: str

    @property
    def level_libraries(self) -> tuple[str, ...]:
        """File names of its levels' libraries."""
        return tuple(self.library(name) for name in self.levels)

    @property
    def files(self) -> tuple[str, ...]:
        """File names of all that its wheel contains."""
        cpu = (self.library(CPU),) if len(self.levels) > 1 else ()
        return (BINDING, WASM, *cpu, *self.level_libraries, self.library(PLUGINS))

    def library(self, name: str) -> str:
        """File name of the library of a level, of ``CPU`` or of ``PLUGINS``."""
        return f"retone-core-{name}{self.suffix}"


TARGETS = {
    "linux-x86_64": Target(
        "x86_64-linux-gnu.2.17", X86_LEVELS, ".so", "manylinux_2_17_x86_64.manylinux2014_x86_64"
    ),
    "linux-aarch64": Target(
        "aarch64-linux-gnu.2.17", ("neon",), ".so", "manylinux_2_17_aarch64.manylinux2014_aarch64"
    ),
    "macos-arm64": Target("aarch64-macos.11.0", ("neon",), ".dylib", "macosx_11_0_arm64"),
    "macos-x86_64": Target("x86_64-macos.11.0", X86_LEVELS, ".dylib", "macosx_11_0_x86_64"),
    "windows-x86_64": Target("x86_64-windows-gnu", X86_LEVELS, ".dll", "win_amd64"),
}
"""The platforms that have wheels."""


def host() -> str:
    """The key of this machine in ``TARGETS``, or a similar name without an entry."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    return f"{system}-{'arm64' if (system, machine) == ('macos', 'aarch64') else machine}"


def host_target() -> Target:
    """This machine; one library for what the compiler takes as its baseline where it is unknown."""
    return TARGETS.get(host(), Target("", ("generic",), ".so", ""))


def compiler(*, only_zig: bool = False) -> list[str]:
    """The command line of the C compiler, or of zig's, which has a C library for WebAssembly.

    Raises:
        FileNotFoundError: there is none.
    """
    if os.environ.get("CC") and not only_zig:
        return shlex.split(os.environ["CC"])
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    for name, words in (("zig", ["cc"]), ("clang", [])):
        if shutil.which(name) and not (only_zig and name == "clang"):
            return [name, *words]
    raise FileNotFoundError(
        "retone's C core is not built, and there is no compiler for it. "
        "Install one with: pip install ziglang"
    )


def command(target: Target, name: str, out: Path, *, cross: bool) -> list[str]:
    """The call that compiles one library: a level's, ``CPU`` or ``PLUGINS``."""
    words = compiler()
    is_zig = any("zig" in Path(word).name for word in words)
    flags = list(FLAGS)
    if target.suffix != ".dll":
        flags.append("-fPIC")
    lowest = target.levels[0] if target.levels[0] in X86_LEVELS else None
    level = name if name in X86_LEVELS else lowest if name in (CPU, PLUGINS) else None
    if level:
        flags.append(f"-march={level.replace('-', '_') if is_zig else level}")
    elif is_zig:
        flags.append("-mcpu=baseline")  # zig's own default is the machine that compiles
    if level == X86_LEVELS[2]:
        flags.append("-mprefer-vector-width=512")
    if target.zig and (is_zig or cross):
        flags += ["-target", target.zig]
    sources = [FOLDER / "cpu.c"] if name == CPU else sorted(FOLDER.glob("*.c"))
    if name == PLUGINS:
        sources = plugin_sources()
        flags += ["-DRT_PRIVATE", "-ffunction-sections", "-fdata-sections"]
        if target.suffix == ".so":
            flags.append("-Wl,-z,now")  # nothing is looked up while audio runs
    return [*words, *flags, "-o", str(out), *map(str, sources), "-lm"]


def plugin_sources() -> list[Path]:
    """The C files of the plug-ins: their own, and the loops of the core that they need."""
    loops = [FOLDER / f"{name}.c" for name in ("designs", "dynamics", "sections")]
    return [*sorted((FOLDER / "plugin").glob("*.c")), *loops]


def wasm_command(out: Path) -> list[str]:
    """The call that compiles ``WASM``: nothing is imported, so no part of a system is needed."""
    flags = [f for f in FLAGS if f not in ("-O3", "-shared")]
    exports = [f"-Wl,--export={name}" for name in (*WASM_FUNCTIONS, "__heap_base")]
    return [
        *compiler(only_zig=True), "-Os", *flags, "-target", "wasm32-wasi",
        "-mcpu=generic+simd128+bulk_memory", "-mexec-model=reactor", "-Wl,--no-entry",
        "-Wl,-z,stack-size=131072", *exports,
        "-o", str(out), *(str(FOLDER / name) for name in WASM_SOURCES), "-lm",
    ]  # fmt: skip


def make(target: Target, folder: Path, file: str, *, cross: bool = False) -> Path:
    """Make one of a target's ``files`` in a folder; it appears complete or not at all.

    Args:
        target: the platform.
        folder: must exist.
        file: its name.
        cross: whether it is another platform than this one.

    Raises:
        FileNotFoundError: no compiler.
        RuntimeError: the compiler failed; the message holds its output.
    """
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        out = Path(inside) / file
        if file == BINDING:
            write_binding(out)
        else:
            name = file.removeprefix("retone-core-").removesuffix(target.suffix)
            words = wasm_command(out) if file == WASM else command(target, name, out, cross=cross)
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, env=_environment(inside)
            )
            if done.returncode or not out.exists():
                raise RuntimeError(
                    f"The C core does not compile with {shlex.join(words[:4])} ...\n{done.stderr}"
                )
        out.replace(folder / file)
    return folder / file


def _environment(folder: str) -> dict[str, str]:
    """The environment of the compiler: zig keeps its own libraries, in the home if it can."""
    try:
        (Path.home() / ".cache" / "zig").mkdir(parents=True, exist_ok=True)
        return dict(os.environ)
    except (OSError, RuntimeError):
        return {"ZIG_GLOBAL_CACHE_DIR": folder, **os.environ}


def declarations() -> str:
    """The functions marked ``RT_API`` in the C files, one after the other."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.c")))
    return "\n".join(
        f"{found};" for text in texts for found in re.findall(r"^RT_API ([^{;]*) {", text, re.M)
    )


def write_binding(path: Path) -> None:
    """Write the module from which cffi knows the functions, without a parser at run time."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(declarations())
    ffi.set_source(path.stem, None)
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it writes
        ffi.emit_python_code(str(path))


def source_hash(file: str = "") -> str:
    """Hash of all that a library depends on: C files, headers and this file."""
    found = hashlib.sha256()
    paths = [*FOLDER.glob("*.[ch]"), Path(__file__)]
    if file == host_target().library(PLUGINS):
        paths += (FOLDER / "plugin").glob("*.[ch]")
    for path in sorted(paths):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]

"""Build the sdist and the wheels of all platforms in ``dist/``, and check what is in them.

Run: ``python scripts/make_wheels.py [--out dist] [--only linux-x86_64 ...]``. It needs the
packages ``build``, ``hatchling``, ``ziglang`` and ``cffi``; zig compiles for every platform. Each
wheel is opened: its libraries must be for its platform, export every function marked ``RT_API`` and
need nothing newer than its tag allows.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("core_build", ROOT / "src/retone/core/build.py")
assert spec and spec.loader
build = importlib.util.module_from_spec(spec)  # retone itself needs packages that a build does not
sys.modules[spec.name] = build
spec.loader.exec_module(build)


def make(out: Path, names: list[str]) -> list[Path]:
    """The sdist, and a wheel made from the sdist for every platform."""
    out.mkdir(parents=True, exist_ok=True)
    call = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*call, "--sdist", str(ROOT)], check=True)
    source = max(out.glob("retone-*.tar.gz"), key=lambda p: p.stat().st_mtime)
    subprocess.run(["tar", "-xzf", str(source), "-C", str(out)], check=True)
    folder = out / source.name.removesuffix(".tar.gz")
    wheels = []
    for name in names:
        environment = {**os.environ, "RETONE_WHEEL": name}
        subprocess.run([*call, "--wheel", str(folder)], check=True, env=environment)
        wheels.append(max(out.glob("retone-*.whl"), key=lambda p: p.stat().st_mtime))
    shutil.rmtree(folder)
    return wheels


def check(wheel: Path, name: str) -> list[str]:
    """What is wrong with a wheel; empty if nothing is."""
    target = build.TARGETS[name]
    wrong = []
    if not wheel.name.endswith(f"-py3-none-{target.wheel_tag}.whl"):
        wrong.append(f"its tag is not {target.wheel_tag}")
    with zipfile.ZipFile(wheel) as archive:
        inside = {n: archive.read(n) for n in archive.namelist() if n.startswith("retone/core/")}
    libraries = {
        n.removeprefix("retone/core/lib/"): data for n, data in inside.items() if "/lib/" in n
    }
    if set(libraries) != set(target.files):
        wrong.append(f"it contains {sorted(libraries)}, expected {sorted(target.files)}")
    wrong += [f"it contains the source {n}" for n in inside if n.endswith((".c", ".h"))]
    for file, data in libraries.items():
        if file != build.BINDING:
            wrong += [f"{file}: {problem}" for problem in check_library(file, data, name)]
    return wrong


def check_library(file: str, data: bytes, name: str) -> list[str]:
    """What is wrong with a library: platform, exports, and the glibc that it needs."""
    if file == build.WASM:
        if data[:4] != b"\0asm":
            return ["it is not WebAssembly"]
        missing = [n for n in build.WASM_FUNCTIONS if n.encode() not in data]
        return [f"{n} is not exported" for n in missing]
    machine = {
        b"\x7fELF": lambda: {62: "linux-x86_64", 183: "linux-aarch64"}.get(_number(data, 18, "<H")),
        b"\xcf\xfa\xed\xfe": lambda: {0x01000007: "macos-x86_64", 0x0100000C: "macos-arm64"}.get(
            _number(data, 4, "<I")
        ),
        b"MZ\x90\x00": lambda: {0x8664: "windows-x86_64"}.get(
            _number(data, _number(data, 60, "<I") + 4, "<H")
        ),
        b"MZx\x00": lambda: {0x8664: "windows-x86_64"}.get(
            _number(data, _number(data, 60, "<I") + 4, "<H")
        ),
    }.get(data[:4], lambda: None)()
    wrong = [] if machine == name else [f"it is for {machine}"]
    wanted = re.findall(r"(rt_\w+)\(", build.declarations())
    if file.startswith(f"retone-core-{build.CPU}."):
        wanted = ["rt_cpu_level"]
    elif file.startswith(f"retone-core-{build.PLUGINS}."):
        wanted = ["clap_entry", "lv2_descriptor", "retone_chain_process"]
    for function in wanted:
        if not re.search(rb"(?<![\w])_?" + function.encode() + rb"\0", data):
            wrong.append(f"{function} is not exported")
    versions = {tuple(map(int, v.split(b"."))) for v in re.findall(rb"GLIBC_(\d+\.\d+)", data)}
    if versions and max(versions) > (2, 17):
        wrong.append(f"it needs glibc {'.'.join(map(str, max(versions)))}")
    return wrong


def _number(data: bytes, at: int, form: str) -> int:
    return int(struct.unpack_from(form, data, at)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--only", nargs="+", choices=build.TARGETS, default=list(build.TARGETS))
    chosen = parser.parse_args()
    failed = False
    for wheel, name in zip(make(chosen.out, chosen.only), chosen.only, strict=True):
        wrong = check(wheel, name)
        failed |= bool(wrong)
        size = wheel.stat().st_size / 1e6
        found = "; ".join(wrong) or "libraries and exports are complete"
        print(f"{wheel.name}  {size:.1f} MB  {found}")
    sys.exit(failed)


if __name__ == "__main__":
    main()

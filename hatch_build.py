"""Wheels contain the compiled core: for this machine, or for the platform in ``$RETONE_WHEEL``."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles ``src/retone/core``; its libraries become ``retone/core/lib`` in the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # a checkout compiles the core when it is first needed
            project = tomllib.loads((Path(self.root) / "pyproject.toml").read_text())
            required = project["build-system"]["requires"]
            build_data["dependencies"] = [r for r in required if r.startswith("ziglang")]
            return
        build = _load(Path(self.root) / "src" / "retone" / "core" / "build.py")
        asked = os.environ.get("RETONE_WHEEL", build.host())
        target = build.TARGETS.get(asked) or build.host_target()
        self._folder = tempfile.TemporaryDirectory()
        for name in target.files:
            try:
                made = build.make(
                    target, Path(self._folder.name), name, cross=asked != build.host()
                )
            except FileNotFoundError as error:
                if name != build.WASM:
                    raise
                self.app.display_warning(f"The studio's page will not run effects itself: {error}")
                continue
            build_data["force_include"][str(made)] = f"retone/core/lib/{name}"
        build_data["pure_python"] = False
        if target.wheel_tag:
            build_data["tag"] = f"py3-none-{target.wheel_tag}"
        else:
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def _load(path: Path) -> Any:
    """The module on its own: what retone depends on is not installed yet."""
    spec = importlib.util.spec_from_file_location("retone_core_build", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

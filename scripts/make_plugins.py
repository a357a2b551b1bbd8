"""Build the LV2 and CLAP plug-ins of all platforms in ``dist/plugins/PLATFORM/``, and check them.

Run: ``python scripts/make_plugins.py [--out dist/plugins] [--only linux-x86_64 ...]``. Before that
it writes ``core/plugin/parameters.c`` from retone's parameter tables, which ``--table`` does alone.
Every library is opened: it must be for its platform, export both entry points and need nothing
newer than the platform's wheel allows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from make_wheels import check_library

from retone.core import build
from retone.exports.install import write_clap, write_lv2
from retone.exports.native_table import c_source

TABLE = build.FOLDER / "plugin" / "parameters.c"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("dist/plugins"))
    parser.add_argument("--only", nargs="+", choices=build.TARGETS, default=list(build.TARGETS))
    parser.add_argument("--table", action="store_true", help="write parameters.c and nothing else")
    chosen = parser.parse_args()
    TABLE.write_text(c_source(), encoding="utf-8")
    if chosen.table:
        return
    failed = False
    for name in chosen.only:
        target = build.TARGETS[name]
        with tempfile.TemporaryDirectory() as folder:
            file = target.library(build.PLUGINS)
            library = build.make(target, Path(folder), file, cross=name != build.host())
            wrong = check_library(file, library.read_bytes(), name)
            made = [f(chosen.out / name, library) for f in (write_lv2, write_clap)]
            size = library.stat().st_size / 1e3
        failed |= bool(wrong)
        found = "; ".join(wrong) or "libraries and exports are complete"
        print(f"{', '.join(str(p) for p in made)}  {size:.0f} kB  {found}")
    sys.exit(failed)


if __name__ == "__main__":
    main()

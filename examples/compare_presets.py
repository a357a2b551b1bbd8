"""Print what several presets would do to one recording, side by side.

python examples/compare_presets.py voice.wav --presets podcast broadcast warm
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import retone
from retone.presets import available


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--presets", nargs="+", metavar="NAME", help="(default: all)")
    args = parser.parse_args()
    names = args.presets or [preset.name for preset in available()]

    settings = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            output = Path(folder) / f"{name}.wav"
            result = retone.match(args.recording, preset=name, output=output)
            settings[name] = result.decision.setting

    width = max(len(name) for name in names) + 2
    print(" " * 38 + "".join(f"{name:>{width}}" for name in names))
    for parameter in settings[names[0]]:
        values = [float(settings[name][parameter]) for name in names]
        print(f"{parameter:38}" + "".join(f"{value:{width}.1f}" for value in values))


if __name__ == "__main__":
    main()

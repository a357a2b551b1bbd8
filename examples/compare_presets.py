"""Print what several presets would do to one recording, side by side.

python examples/compare_presets.py voice.wav --presets podcast broadcast warm
"""

from __future__ import annotations

import argparse
from pathlib import Path

import retone
from retone.presets import available


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--presets", nargs="+", metavar="NAME", help="(default: all)")
    args = parser.parse_args()
    names = args.presets or [preset.name for preset in available()]

    settings = {name: retone.decide(args.recording, preset=name).setting for name in names}

    width = max(len(name) for name in names) + 2
    print(" " * 38 + "".join(f"{name:>{width}}" for name in names))
    for parameter in settings[names[0]]:
        values = [float(settings[name][parameter]) for name in names]
        print(f"{parameter:38}" + "".join(f"{value:{width}.1f}" for value in values))


if __name__ == "__main__":
    main()

"""Make the README's picture: spectra of the example before and after, and of its reference.

python scripts/pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import retone
from retone.report import figures
from retone.report.collect import report_of

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    examples = ROOT / "examples"
    with tempfile.TemporaryDirectory() as folder:
        result = retone.match(
            examples / "dull_voice.flac",
            to=examples / "bright_voice.flac",
            output=Path(folder) / "out.flac",
        )
        picture = figures.spectra(report_of(result)).render(standalone=True)
    target = ROOT / "docs" / "pictures" / "match.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(picture)
    print(target)


if __name__ == "__main__":
    main()

"""Files that commands write next to the audio, and the summary that they print."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retone.errors import AudioError, OutputExistsError

if TYPE_CHECKING:
    from retone.report.result import Result


@dataclass(frozen=True)
class Paths:
    """Paths of the output files; ``report`` is None if not requested."""

    audio: Path
    settings: Path
    report: Path | None


def other_files(args: argparse.Namespace) -> dict[Path, str]:
    """The files besides recordings that a command's options name, and what each is."""
    named = {
        "settings": "the settings file", "weights": "the weights", "preset": "the preset",
        "plugin": "the plug-in",
    }  # fmt: skip
    found = {}
    for option, what in named.items():
        if value := getattr(args, option, None):
            found[
                Path(str(value).partition(".py:")[0] + ".py" if ".py:" in str(value) else value)
            ] = what
    return found


def report_paths(
    output: Path,
    inputs: Sequence[Path],
    *,
    report: bool,
    force: bool,
    any_name: bool = False,
    others: Mapping[Path, str] | None = None,
) -> Paths:
    """The files to write; refuses early to overwrite.

    Args:
        output: the recording to write.
        inputs: the recordings to read.
        report: also plan a report.
        force: existing files may be replaced.
        any_name: the format does not depend on the output's extension.
        others: other files that are read, and what each is; ``other_files`` collects them.

    Raises:
        AudioError: one of them is read, exists and force is not given, or cannot be a file's name.
    """
    from retone.audio.formats import container_of
    from retone.files.atomic import protect
    from retone.process.render import check_output, read_by

    check_output(inputs, output, force=True, others=others)
    if not any_name:
        container_of(output)
    paths = Paths(
        output, output.with_suffix(".json"), output.with_suffix(".html") if report else None
    )
    for path in (paths.settings, paths.report):
        if path is not None and path.is_dir():
            raise AudioError(
                f"{path} is a folder, but a file of that name is written next to {output}."
            )
    written = [p for p in (output, paths.settings, paths.report) if p is not None]
    protect(read_by(inputs) | dict(others or {}), written)
    for path in (output, paths.settings, paths.report):
        if path is not None and path.exists() and not force:
            raise OutputExistsError(path)
    return paths


def write_companions(result: Result, paths: Paths, *, force: bool, sound: str = "embedded") -> None:
    """Write the settings file and the report, its sound embedded, beside it or left out."""
    from retone.files.atomic import AtomicFile, content_of, protect, write_text_atomic

    write_text_atomic(paths.settings, result.settings.to_json(), force)
    if paths.report is None:
        return
    if sound == "beside":
        page, files = result.page_beside(paths.report.stem, content_of(paths.audio))
        sounds = {paths.report.with_name(name): data for name, data in files.items()}
        protect({s.path: "a recording that was read" for s in result.sides}, sounds)
        for path, data in sounds.items():
            with AtomicFile(path, force=force) as file:
                file.path.write_bytes(data)
    else:
        page = result.page(sound=sound == "embedded", output=content_of(paths.audio))
    write_text_atomic(paths.report, page, force)


def print_result(result: Result, paths: Paths) -> None:
    """Print levels, what one notices, notes, warnings and the names of the files."""
    levels = result.settings.levels
    rows: Mapping[str, str] = {
        "integrated_lufs": "loudness (LUFS)",
        "true_peak_dbtp": "true peak (dBTP)",
        "rms_dbfs": "RMS (dBFS)",
        "crest_db": "crest (dB)",
    }
    columns = [r for r in ("before", "after", "reference") if r in levels]
    print(f"{'':18}" + "".join(f"{c:>11}" for c in columns))
    for name, title in rows.items():
        cells = [levels[c].get(name) for c in columns]
        print(f"{title:18}" + "".join(f"{'-' if v is None else f'{v:.1f}':>11}" for v in cells))
    if result.limiter_most_db > 0.05:
        print(
            f"The true-peak limiter reduced peaks by up to {result.limiter_most_db:.1f} dB, "
            f"{result.limiter_active_percent:.1f} % of the time."
        )
    if result.summary:
        print(result.summary)
    for sentence in (*result.decision.notes, *result.warnings):
        print(f"note: {sentence}")
    print(f"audio     {paths.audio}")
    print(f"settings  {paths.settings}")
    if paths.report is not None:
        print(f"report    {paths.report}")

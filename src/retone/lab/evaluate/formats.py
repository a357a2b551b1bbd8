"""Every format in and out: what is kept, checked by ffmpeg and ffprobe instead of by retone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import AtomicWriter, OutputFormat, open_reader
from retone.errors import AudioError, DataError

_SECONDS = 3
_TAGS = ("-metadata", "title=Title", "-metadata", "artist=Artist", "-metadata", "album=Album")
_H264 = ("-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p")

INPUTS: dict[str, tuple[str, ...]] = {
    "16.wav": ("-c:a", "pcm_s16le"), "24.wav": ("-c:a", "pcm_s24le"),
    "float.wav": ("-c:a", "pcm_f32le"), "broadcast.wav": ("-c:a", "pcm_s24le", "-write_bext", "1"),
    "a.rf64": ("-f", "wav", "-rf64", "always", "-c:a", "pcm_s24le"),
    "a.w64": ("-c:a", "pcm_s16le",), "a.aiff": ("-c:a", "pcm_s16be", "-write_id3v2", "1"),
    "a.caf": ("-c:a", "pcm_s16be",), "a.flac": ("-c:a", "flac"), "a.ogg": ("-c:a", "libvorbis"),
    "a.opus": ("-c:a", "libopus"), "a.mp3": ("-c:a", "libmp3lame", "-b:a", "192k"),
    "noheader.mp3": ("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0"),
    "aac.m4a": ("-c:a", "aac", "-b:a", "192k"), "alac.m4a": ("-c:a", "alac"),
    "a.mp4": (*_H264, "-c:a", "aac"), "a.mov": (*_H264, "-c:a", "pcm_s16le"),
    "a.mkv": (*_H264, "-c:a", "flac"), "a.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
    "a.wma": ("-c:a", "wmav2"), "a.ac3": ("-c:a", "ac3"), "a.wv": ("-c:a", "wavpack"),
    "a.tta": ("-c:a", "tta"), "a.aac": ("-c:a", "aac"), "mp3inside.wav": ("-c:a", "libmp3lame"),
    "surround.flac": ("-c:a", "flac"),
}  # fmt: skip
OUTPUTS: dict[str, OutputFormat | None] = {
    "out.wav": None, "out.flac": None, "out.aiff": None, "out.caf": None, "out.w64": None,
    "out.rf64": None, "out.mp3": None, "out.ogg": None, "out.opus": None, "out.m4a": None,
    "out-alac.m4a": OutputFormat("alac"), "out.mkv": None, "out.mp4": None,
}  # fmt: skip
_VIDEO = ("a.mp4", "a.mov", "a.mkv", "a.webm")
_PICTURES = ("a.flac", "a.mp3", "aac.m4a", "alac.m4a", "noheader.mp3")
_CHAPTERS = ("a.flac", "a.mp3", "aac.m4a", "alac.m4a", "a.mkv", "a.mp4", "a.ogg", "a.opus")
LETTERS = {"tags": "t", "picture": "p", "chapters": "c", "chunks": "b", "layout": "l"}


@dataclass(frozen=True)
class Cell:
    """One conversion.

    ``frames`` is the output's length by ffmpeg less the input's by retone, ``lag`` the frames by
    which it comes late, ``level_db`` its level over the input's. ``named`` and ``unnamed`` list
    what the output lacks, by whether retone says so.
    """

    source: str
    target: str
    refused: str | None = None
    frames: int = 0
    lag: int = 0
    level_db: float = 0.0
    named: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()


def _run(*words: object) -> bytes:
    done = subprocess.run([str(w) for w in words], capture_output=True, check=False)
    if done.returncode:
        raise DataError(f"{words[0]} failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout


def _decoded(path: Path, channels: int) -> np.ndarray:
    raw = _run("ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-")
    return np.frombuffer(raw, "<f4").reshape(-1, channels)


def _facts(path: Path) -> dict[str, Any]:
    """What ffprobe finds besides the samples."""
    text = _run(
        "ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters",
        "-of", "json", path,
    )  # fmt: skip
    found = json.loads(text)
    sound = next(s for s in found["streams"] if s["codec_type"] == "audio")
    tags = {
        n.lower(): v
        for n, v in {**found["format"].get("tags", {}), **sound.get("tags", {})}.items()
    }
    pictures = [s for s in found["streams"] if s.get("disposition", {}).get("attached_pic")]
    chapters = [c for c in found.get("chapters", []) if c.get("tags", {}).get("title")]
    return {
        "tags": {n: tags[n] for n in ("title", "artist", "album") if n in tags},
        "picture": len(pictures),
        "chapters": len(chapters),
        "chunks": int("time_reference" in tags),
        "layout": sound.get("channel_layout", "").replace("(side)", ""),
    }


def make_inputs(folder: Path, sample_rate: int) -> list[Path]:
    """Write one file of each input format with ffmpeg."""
    import soundfile

    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        raise DataError("the programs ffmpeg and ffprobe are needed. Install them, such as by apt.")
    rng = np.random.default_rng(0)
    t = np.arange(_SECONDS * sample_rate + 333) / sample_rate
    both = [
        0.2 * np.sin(2 * np.pi * hz * t) + 0.05 * rng.standard_normal(len(t)) for hz in (311, 440)
    ]
    soundfile.write(folder / "stereo.src.wav", np.array(both).T, sample_rate)
    six = np.array([*both, *both, *both]) * np.array([1, 1, 0.8, 0.2, 0.5, 0.5])[:, None]
    soundfile.write(folder / "six.src.wav", six.T, sample_rate)
    _run("ffmpeg", "-y", "-v", "error", "-f", "lavfi", "-i", "color=c=red:s=64x64:d=1",
         "-frames:v", "1", folder / "cover.png")  # fmt: skip
    marks = folder / "marks.txt"
    marks.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=one\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=3000\ntitle=two\n"
    )
    made = []
    for name, coding in INPUTS.items():
        sources: list[object] = [
            "-i",
            folder / f"{'six' if 'surround' in name else 'stereo'}.src.wav",
        ]
        words: list[object] = []
        second = 1
        if name in _CHAPTERS:
            sources += ["-i", marks]
            words += ["-map_metadata", "1", "-map_chapters", "1"]
            second = 2
        if name in _VIDEO:
            sources += ["-f", "lavfi", "-i", f"testsrc2=s=64x64:r=25:d={_SECONDS}"]
            words += ["-map", f"{second}:v", "-map", "0:a"]
        elif name in _PICTURES:
            sources += ["-i", folder / "cover.png"]
            words += ["-map", "0:a", "-map", f"{second}:v", "-c:v", "copy"]
            words += ["-disposition:v", "attached_pic"]
        if name == "broadcast.wav":
            words += ["-metadata", "time_reference=4800", "-metadata", "originator=Recorder"]
        _run("ffmpeg", "-y", "-v", "error", *sources, *words, *coding, *_TAGS, folder / name)
        made.append(folder / name)
    return made


def convert(source: Path, folder: Path, target: str) -> Cell:
    """Write one output, as with amount 0, and compare it with its input."""
    output = folder / target
    try:
        with open_reader(source) as reader:
            info = reader.info
            with AtomicWriter(
                output, info, output=OUTPUTS[target], unchanged=True, force=True
            ) as writer:
                for block in reader.blocks():
                    writer.write(block)
            reader.seek(0)
            before = np.concatenate(list(reader.blocks()), axis=1).T
    except AudioError as error:
        return Cell(source.name, target, refused=str(error).replace(str(output), target))
    after = _decoded(output, info.channels)
    was, now = _facts(source), _facts(output)
    notes = " ".join(writer.notes)
    named: list[str] = []
    unnamed: list[str] = []
    said = {
        "tags": "the tag", "picture": "picture", "chapters": "chapter", "chunks": "the chunk",
        "layout": "the channel layout",
    }  # fmt: skip
    for what in LETTERS:
        same = now[what] == was[what] if what in ("tags", "layout") else now[what] >= was[what]
        if what == "layout" and info.channels < 3:
            same = True
        if what == "tags":
            same = all(now["tags"].get(n) == v for n, v in was["tags"].items())
        if what == "chunks" and _holds(output, b"bext"):
            same = True
        if what == "chapters" and output.suffix == ".aiff" and _holds(output, b"MARK"):
            same = True  # ffprobe does not read marks
        if not same:
            (named if said[what] in notes else unnamed).append(what)
    n = min(len(before), len(after))
    power = [float(np.mean(x[:n].astype(np.float64) ** 2)) for x in (before, after)]
    level = 10 * np.log10(power[1] / power[0])
    return Cell(
        source.name, target, None, len(after) - info.frames, _lag(before[:, 0], after[:, 0]),
        round(float(level), 3), tuple(named), tuple(unnamed),
    )  # fmt: skip


def _holds(path: Path, name: bytes) -> bool:
    return name in path.read_bytes()


def _lag(x: np.ndarray, y: np.ndarray) -> int:
    n = 1 << (len(x) + len(y)).bit_length()
    at = int(np.fft.irfft(np.conj(np.fft.rfft(x, n)) * np.fft.rfft(y, n), n).argmax())
    return at if at < n // 2 else at - n


def matrix(folder: Path, sample_rate: int, done: Callable[[str], None]) -> list[Cell]:
    """All conversions."""
    cells = []
    for source in make_inputs(folder, sample_rate):
        for target in OUTPUTS:
            cells.append(convert(source, folder, target))
        done(source.name)
    return cells


def as_json(cells: Sequence[Cell], about: dict[str, Any]) -> str:
    """The result file's text."""
    return json.dumps({**about, "cells": [asdict(c) for c in cells]}, indent=1) + "\n"


def table(result: dict[str, Any]) -> str:
    """The page's tables, as Markdown."""
    cells = result["cells"]
    targets = list(dict.fromkeys(c["target"] for c in cells))
    lines = [
        "| in \\\\ out | " + " | ".join(t for t in targets) + " |",
        "|---" * (len(targets) + 1) + "|",
    ]
    by = {(c["source"], c["target"]): c for c in cells}
    for source in dict.fromkeys(c["source"] for c in cells):
        row = [_cell(by[source, t]) for t in targets]
        lines.append(f"| {source} | " + " | ".join(row) + " |")
    made = [c for c in cells if c["refused"] is None]
    exact = sum(c["frames"] == 0 for c in made)
    padded = sum(0 < c["frames"] < 1024 for c in made)
    lines += [
        "",
        f"{len(cells)} conversions of a recording of {result['seconds']:.2f} s at "
        f"{result['sample_rate']} Hz, checked by {result['ffmpeg']}: {len(made)} written, "
        f"{len(cells) - len(made)} refused. Decoded by ffmpeg, {exact} have the input's length "
        f"to the sample and {padded} end with less than one AAC frame more, which players "
        f"that follow the file's index leave out. Largest lag: "
        f"{max(abs(c['lag']) for c in made)} frames; largest change of the "
        f"level: {max(abs(c['level_db']) for c in made):.2f} dB; lost without being "
        f"named: {sum(len(c['unnamed']) for c in made)}.",
    ]
    for text in dict.fromkeys(c["refused"] for c in cells if c["refused"]):
        lines.append(f"\nRefused (-): {text}")
    if "mutated" in result:
        m = result["mutated"]
        lines.append(
            f"\n{m['files']} mutated files: {m['read']} read in part or whole, "
            f"{m['refused']} refused with one sentence, {m['crashed']} crashes, {m['hung']} longer "
            f"than {m['limit_s']} s, {m['tracebacks']} other errors. Slowest "
            f"{m['slowest_s']:.1f} s, most memory {m['most_mb']} MB."
        )
    return "\n".join(lines)


def _cell(cell: dict[str, Any]) -> str:
    if cell["refused"]:
        return "-"
    text = "".join(LETTERS[w] for w in cell["named"])
    text += "".join(f"{LETTERS[w].upper()}!" for w in cell["unnamed"])
    right = abs(cell["lag"]) <= 1 and abs(cell["level_db"]) < 0.2 and -1 <= cell["frames"] < 1024
    return (text or "ok") if right else f"{text} {cell['frames']:+d}/{cell['lag']:+d}"

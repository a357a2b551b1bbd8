"""Damaged files never bring the program down: they are read in part, or refused in a sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from encoded import RATE, save, tone
from retone.audio.files import AtomicWriter, info, open_reader
from retone.errors import AudioError
from retone.lab.evaluate import mutated

NAMES = [
    "a.m4a",
    "a.mka",
    "a.webm",
    "a.mov",
    "a.mp3",
    "a.ogg",
    "a.opus",
    "a.flac",
    "a.wav",
    "a.caf",
]


def test_damaged_files_in_a_process_with_limits(tmp_path: Path) -> None:
    source = save(tmp_path / "x.wav", tone(RATE))
    for name in NAMES:
        with open_reader(source) as r, AtomicWriter(tmp_path / name, r.info) as w:
            for block in r.blocks():
                w.write(block)
    found = mutated.run([tmp_path / n for n in NAMES], 150, tmp_path, seed=1)
    assert (found["crashed"], found["hung"], found["tracebacks"]) == (0, 0, 0)
    assert found["read"] + found["refused"] == 150
    assert found["most_mb"] < 1000


@pytest.mark.parametrize("size", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_box_larger_than_any_file_is_no_error_of_the_program(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(
        struct.pack(">I4s4s4s", 16, b"ftyp", b"M4A ", bytes(4))
        + struct.pack(">I4sQ", 1, b"mdat", size)
        + bytes(500)
    )
    with pytest.raises(AudioError, match="without its index"):
        info(path)

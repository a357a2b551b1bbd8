"""Writing M4A, Opus, ALAC and video: exact length, the picture untouched."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from encoded import RATE, decoded, ffmpeg, lag_of, needs_ffmpeg, save, tone
from retone.audio.decoders import ffmpeg_file
from retone.audio.files import AtomicWriter, info, load, open_reader, same_audio
from retone.audio.formats import OutputFormat
from retone.audio.resampled import ResampledReader
from retone.errors import AudioError


def copy(source: Path, target: Path, **kw: object) -> AtomicWriter:
    with open_reader(source) as r, AtomicWriter(target, r.info, unchanged=True, **kw) as w:  # type: ignore[arg-type]
        for x in r.blocks(7001):
            w.write(x)
    return w


# --- sound ----------------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.mov", "a.mka", "a.webm", "a.opus"])
@pytest.mark.parametrize("frames", [RATE, 2 * RATE + 501, 700])
def test_lossy_outputs_keep_length_and_alignment(tmp_path: Path, name: str, frames: int) -> None:
    source = save(tmp_path / "x.mp3", tone(RATE * 2))  # lossy, so that a lossy coding is chosen
    x = load(source).samples[:, :frames]
    with AtomicWriter(tmp_path / name, info(source), expected_frames=frames) as w:
        w.write(x)
    got = info(tmp_path / name)
    assert got.frames == x.shape[1] and got.warnings == ()
    heard = decoded(tmp_path / name, 2)
    assert 0 <= heard.shape[1] - x.shape[1] < 1024
    assert lag_of(x, heard) == 0
    n = x.shape[1]
    assert np.sqrt(np.mean((heard[:, :n] - x) ** 2)) < 0.02


@pytest.mark.parametrize("bits", ["16", "24"])
@pytest.mark.parametrize("name", ["a.m4a", "a.mov", "a.mka", "a.caf"])
def test_lossless_outputs_are_bit_identical(tmp_path: Path, name: str, bits: str) -> None:
    x = np.rint(tone() * 2 ** (int(bits) - 1)) / 2 ** (int(bits) - 1)
    source = save(tmp_path / "x.wav", x, subtype=f"PCM_{bits}")
    wanted = OutputFormat("alac") if name == "a.m4a" else None
    copy(source, tmp_path / name, output=wanted)
    assert same_audio(source, tmp_path / name)
    assert info(tmp_path / name).bit_depth == int(bits)


def test_an_alac_m4a_stays_one(tmp_path: Path) -> None:
    source = save(tmp_path / "x.wav", tone(), subtype="PCM_16")
    copy(source, tmp_path / "a.m4a", output=OutputFormat("alac"))
    copy(tmp_path / "a.m4a", tmp_path / "b.m4a")
    assert info(tmp_path / "b.m4a").subtype == "ALAC_16"
    assert same_audio(source, tmp_path / "b.m4a")


def test_a_lossless_recording_in_an_m4a_becomes_aac_with_a_word(tmp_path: Path) -> None:
    done = copy(save(tmp_path / "x.wav", tone()), tmp_path / "a.m4a")
    assert done.subtype == "AAC" and "written as AAC, a lossy coding" in done.notes[0]


# --- what the user asks for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "name", "expected"),
    [
        (OutputFormat("flac"), "a.dat", ("FLAC", "PCM_16")),
        (OutputFormat(bits="24"), "a.wav", ("WAV", "PCM_24")),
        (OutputFormat(bits="float"), "a.wav", ("WAV", "FLOAT")),
        (OutputFormat("alac", bits="24"), "a.m4a", ("MP4", "ALAC_24")),
        (OutputFormat(bits="16"), "a.m4a", ("MP4", "ALAC_16")),
        (OutputFormat("opus"), "a.ogg", ("OGG", "OPUS")),
        (OutputFormat("aac"), "a.x", ("MP4", "AAC")),
    ],
)
def test_format_and_bits(
    tmp_path: Path, wanted: OutputFormat, name: str, expected: tuple[str, str]
) -> None:
    copy(save(tmp_path / "x.wav", tone()), tmp_path / name, output=wanted)
    got = info(tmp_path / name)
    assert (got.format, got.subtype) == expected


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("No format is called 'mp5'", lambda: OutputFormat("mp5")),
        ("expected 16, 24, 32 or float", lambda: OutputFormat(bits="12")),
        ("expected 8000 to 384000", lambda: OutputFormat(sample_rate=4000)),
        ("the coding is lossy", lambda: OutputFormat("mp3", "16").subtype("MP3", None)),
        ("expected 16, 24", lambda: OutputFormat("flac", "32").subtype("FLAC", None)),
    ],
)
def test_impossible_wishes_are_refused(words: str, make: object) -> None:
    with pytest.raises(AudioError, match=words):
        make()  # type: ignore[operator]


def test_fewer_bits_are_dithered(tmp_path: Path) -> None:
    t = np.arange(200000) / RATE
    x = (0.4 / 32768 * np.sin(2 * np.pi * 1000 * t))[None]
    source = save(tmp_path / "x.wav", x, subtype="FLOAT")
    copy(source, tmp_path / "a.wav", output=OutputFormat(bits="16"))
    heard = load(tmp_path / "a.wav").samples[0]
    assert 2 * np.mean(heard * np.sin(2 * np.pi * 1000 * t)) == pytest.approx(0.4 / 32768, rel=0.1)


@pytest.mark.parametrize("rate", [44100, 96000, 16000, 352800])
def test_another_sample_rate_keeps_level_and_alignment(tmp_path: Path, rate: int) -> None:
    t = np.arange(3 * RATE) / RATE
    x = 0.5 * np.stack([np.sin(2 * np.pi * 440 * t), np.cos(2 * np.pi * 1000 * t)])
    source = save(tmp_path / "x.wav", x, subtype="FLOAT")
    with ResampledReader(open_reader(source), rate) as reader:
        assert reader.info.frames == 3 * rate
        parts = np.concatenate(list(reader.blocks(1000)), axis=1)
        u = np.arange(3 * rate) / rate
        y = 0.5 * np.stack([np.sin(2 * np.pi * 440 * u), np.cos(2 * np.pi * 1000 * u)])
        inside = slice(rate // 10, -rate // 10)
        assert np.abs(parts - y)[:, inside].max() < 1e-4
        reader.seek(12345)
        np.testing.assert_array_equal(reader.read(500), parts[:, 12345:12845])
        reader.seek(3)
        np.testing.assert_array_equal(reader.read(500), parts[:, 3:503])


# --- video --------------------------------------------------------------------------------------


def packets(path: Path) -> list[str]:
    """Size and MD5 of every packet of the picture, in order."""
    text = ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", "framehash", "-hash", "md5", "-")
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return ["".join(line.split(",")[4:]) for line in lines]


def film(path: Path, seconds: float = 5.0) -> Path:
    """A film with sound: H.264 with B frames, or VP8 in WebM."""
    source = save(path.with_name("film.wav"), tone(round(seconds * RATE)))
    codecs = ["-c:v", "libx264", "-bf", "2", "-c:a", "aac"]
    if path.suffix == ".webm":
        codecs = ["-c:v", "libvpx", "-c:a", "libopus"]
    picture = f"testsrc2=s=160x120:r=25:d={seconds}"
    ffmpeg("-f", "lavfi", "-i", picture, "-i", source, *codecs, "-metadata", "title=Film", path)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a.mp4", "b.mp4"), ("a.mov", "b.mov"), ("a.mkv", "b.mkv"), ("a.webm", "b.webm"),
        ("a.mp4", "b.mkv"), ("a.mkv", "b.mp4"),
    ],
)  # fmt: skip
def test_the_picture_is_copied_packet_by_packet(tmp_path: Path, before: str, after: str) -> None:
    source, target = film(tmp_path / before), tmp_path / after
    copy(source, target)
    assert packets(target) == packets(source)
    was, now = decoded(source, 2), decoded(target, 2)
    assert lag_of(was, now) == 0
    assert abs(info(target).frames - info(source).frames) <= 1
    assert info(target).tags["title"] == "Film"


@needs_ffmpeg
def test_sound_alone_is_said(tmp_path: Path) -> None:
    done = copy(film(tmp_path / "a.mp4"), tmp_path / "b.m4a")
    assert done.notes == ["b.m4a holds the sound alone, without the picture."]


@needs_ffmpeg
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_a_film(tmp_path: Path) -> None:
    """Twenty times the length takes less than 40 MB more."""
    code = (
        "import sys, re;"
        "from retone.audio.files import open_reader, AtomicWriter;"
        "r = open_reader(sys.argv[1]); w = AtomicWriter(sys.argv[2], r.info);"
        "[w.write(x) for x in r.blocks()]; w.close();"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    most = []
    for seconds in (10, 200):
        source = tmp_path / f"{seconds}.mp4"
        sound = save(tmp_path / "s.wav", tone(seconds * RATE, 1))
        ffmpeg(
            "-f", "lavfi", "-i", f"testsrc2=s=320x240:r=25:d={seconds}", "-i", sound,
            "-c:v", "mpeg4", "-q:v", "3", "-c:a", "aac", source,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, source, tmp_path / f"out{seconds}.mp4"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        most.append(int(done.stdout))
    assert most[1] - most[0] < 40_000


@needs_ffmpeg
def test_slow_work_between_blocks_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is on the time without a frame, not on how long a film takes to write."""
    source = film(tmp_path / "a.mp4", 5.0)
    expected = packets(source)
    monkeypatch.setattr(ffmpeg_file, "STALL_S", 1.0)
    with (
        open_reader(source) as reader,
        AtomicWriter(tmp_path / "b.mp4", reader.info) as writer,
    ):
        for block in reader.blocks(RATE):
            writer.write(block)
            time.sleep(0.5)
    assert packets(tmp_path / "b.mp4") == expected


def test_an_abandoned_m4a_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        AtomicWriter(tmp_path / "a.m4a", sample_rate=RATE, channels=2) as w,
    ):
        w.write(tone())
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "rate", "channels", "words"),
    [
        ("a.m4a", 192000, 2, "AAC cannot hold 192000 Hz"),
        ("a.m4a", 48000, 9, "1 to 8 channels"),
        ("a.webm", 44100, 2, "Opus cannot hold 44100 Hz"),
    ],
)
def test_impossible_sound_is_refused(
    tmp_path: Path, name: str, rate: int, channels: int, words: str
) -> None:
    with pytest.raises(AudioError, match=words):
        AtomicWriter(tmp_path / name, sample_rate=rate, channels=channels)
    assert list(tmp_path.iterdir()) == []

"""Writing recordings: what is kept, what is refused, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retone.audio import writer
from retone.audio.files import AtomicWriter, info, open_reader, same_audio
from retone.errors import AudioError, ShapeError
from retone.files.atomic import write_text_atomic

RATE = 44100


def noise(frames: int = 30000, channels: int = 2, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (channels, frames))


def save(path: Path, x: np.ndarray, rate: int = RATE, **kw: object) -> Path:
    sf.write(path, x.T, rate, **kw)
    return path


def copy(source: Path, target: Path, block: int = 7001, **kw: object) -> AtomicWriter:
    with open_reader(source) as r, AtomicWriter(target, r.info, **kw) as w:  # type: ignore[arg-type]
        for x in r.blocks(block):
            w.write(x)
    return w


# --- passing through ------------------------------------------------------------------------

LOSSLESS = [
    ("a.wav", "WAV", "PCM_16"),
    ("a.wav", "WAV", "PCM_24"),
    ("a.wav", "WAV", "PCM_32"),
    ("a.wav", "WAV", "PCM_U8"),
    ("a.wav", "WAV", "FLOAT"),
    ("a.wav", "WAV", "DOUBLE"),
    ("a.wav", "WAVEX", "PCM_24"),
    ("a.flac", "FLAC", "PCM_S8"),
    ("a.flac", "FLAC", "PCM_16"),
    ("a.flac", "FLAC", "PCM_24"),
    ("a.aiff", "AIFF", "PCM_16"),
    ("a.aif", "AIFF", "PCM_24"),
    ("a.caf", "CAF", "PCM_24"),
    ("a.caf", "CAF", "ALAC_16"),
    ("a.w64", "W64", "PCM_32"),
    ("a.rf64", "RF64", "PCM_16"),
]


@pytest.mark.parametrize(("name", "container", "subtype"), LOSSLESS)
def test_unchanged_samples_come_back_bit_for_bit(
    tmp_path: Path, name: str, container: str, subtype: str
) -> None:
    source = save(tmp_path / f"in_{name}", noise(), format=container, subtype=subtype)
    target = tmp_path / f"out_{name}"
    done = copy(source, target)
    wide = "float64" if subtype == "DOUBLE" else "int32"
    if subtype == "FLOAT":
        wide = "float32"
    np.testing.assert_array_equal(sf.read(source, dtype=wide)[0], sf.read(target, dtype=wide)[0])
    assert (sf.info(target).format, sf.info(target).subtype) == (container, subtype)
    assert done.notes == []
    assert same_audio(source, target)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 37800, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 6, 64])
def test_rates_and_channels_are_kept(tmp_path: Path, rate: int, channels: int) -> None:
    source = save(tmp_path / "a.wav", noise(500, channels), rate)
    copy(source, tmp_path / "b.wav")
    got = info(tmp_path / "b.wav")
    assert (got.sample_rate, got.channels, got.frames) == (rate, channels, 500)


@pytest.mark.parametrize("name", ["b.wav", "b.flac", "b.ogg", "b.opus", "b.caf", "b.rf64"])
def test_tags_are_kept(tmp_path: Path, name: str) -> None:
    source = tmp_path / "a.flac"
    tags = {"title": "Größe", "artist": "A B", "album": "C", "date": "1999", "comment": "x y"}
    tags |= {"genre": "Folk", "tracknumber": "7", "copyright": "2020 Z"}
    with sf.SoundFile(source, "w", 48000, 2) as f:
        for key, value in tags.items():
            setattr(f, key, value)
        f.write(noise(5000).T)
    done = copy(source, tmp_path / name)
    assert info(source).tags == tags
    assert info(tmp_path / name).tags == tags
    assert not [n for n in done.notes if "tags" in n]


def test_lost_tags_are_named(tmp_path: Path) -> None:
    with AtomicWriter(
        tmp_path / "a.w64", sample_rate=RATE, channels=1, tags={"title": "T", "album": "A"}
    ) as w:
        w.write(noise(100, 1))
    assert any("title, album" in note for note in w.notes)


# --- choosing a format ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (("a.wav", "FLOAT"), "b.flac", ("FLAC", "PCM_24")),
        (("a.wav", "PCM_32"), "b.flac", ("FLAC", "PCM_24")),
        (("a.wav", "PCM_U8"), "b.flac", ("FLAC", "PCM_S8")),
        (("a.flac", "PCM_S8"), "b.wav", ("WAV", "PCM_U8")),
        (("a.wav", "ULAW"), "b.flac", ("FLAC", "PCM_16")),
        (("a.wav", "IMA_ADPCM"), "b.wav", ("WAV", "PCM_16")),
        (("a.caf", "ALAC_20"), "b.wav", ("WAV", "PCM_24")),
        (("a.mp3", "MPEG_LAYER_III"), "b.wav", ("WAV", "PCM_24")),
        (("a.ogg", "VORBIS"), "b.flac", ("FLAC", "PCM_24")),
    ],
)
def test_impossible_sample_format_becomes_the_nearest_and_is_noted(
    tmp_path: Path, source: tuple[str, str], target: str, expected: tuple[str, str]
) -> None:
    a = save(tmp_path / source[0], noise(9000) / 2, subtype=source[1])
    done = copy(a, tmp_path / target)
    got = info(tmp_path / target)
    assert (got.format, got.subtype) == expected
    assert len(done.notes) == 1 and "written as" in done.notes[0]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "words"),
    [
        ("a.mp3", 96000, 2, "cannot hold 96000 Hz"),
        ("a.opus", 44100, 2, "cannot hold 44100 Hz"),
        ("a.flac", 48000, 9, "1 to 8 channels"),
        ("a.mp3", 48000, 6, "1 to 2 channels"),
        ("a.xyz", 48000, 1, "expected one of .wav"),
        ("a", 48000, 1, "no extension"),
    ],
)
def test_impossible_outputs_are_refused(
    tmp_path: Path, name: str, rate: int, channels: int, words: str
) -> None:
    with pytest.raises(AudioError, match=words):
        AtomicWriter(tmp_path / name, sample_rate=rate, channels=channels)
    assert list(tmp_path.iterdir()) == []


def test_big_wav_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAV_BYTES", 10000)
    source = save(tmp_path / "a.wav", noise())
    done = copy(source, tmp_path / "b.wav")
    assert sf.info(tmp_path / "b.wav").format == "RF64"
    assert "over 4 GB" in done.notes[0]
    assert same_audio(source, tmp_path / "b.wav")
    assert info(tmp_path / "b.wav").warnings == ()


# --- rounding -------------------------------------------------------------------------------


def test_dither_makes_the_error_independent_of_a_quiet_tone(tmp_path: Path) -> None:
    """A tone of 0.4 steps vanishes without dither; with it, it stands at its level (TPDF)."""
    t = np.arange(200000) / RATE
    tone = np.sin(2 * np.pi * 1000 * t)
    x = (0.4 / 32768 * tone)[None]
    out = {}
    for dither in (False, True):
        path = tmp_path / f"{dither}.wav"
        with AtomicWriter(path, sample_rate=RATE, channels=1, subtype="PCM_16", dither=dither) as w:
            w.write(x)
        out[dither] = sf.read(path, dtype="int16")[0].astype(float)
    assert not out[False].any()
    amplitude = 2 * np.mean(out[True] * tone)
    assert amplitude == pytest.approx(0.4, abs=0.02)
    error = out[True] - 0.4 * tone
    assert abs(error.mean()) < 0.01
    assert error.var() == pytest.approx(0.25, abs=0.02)  # TPDF 1/6 + rounding 1/12


def test_rounding_is_to_nearest_and_clips_are_counted(tmp_path: Path) -> None:
    x = np.array([[0.4, 0.6, -0.4, -0.6, 32767.4, 40000.0, -40000.0]]) / 32768
    path = tmp_path / "a.wav"
    with AtomicWriter(path, sample_rate=RATE, channels=1, subtype="PCM_16", dither=False) as w:
        w.write(x)
    assert sf.read(path, dtype="int16")[0].tolist() == [0, 1, 0, -1, 32767, 32767, -32768]
    assert "2 samples were beyond full scale" in w.notes[-1]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 3000), max_size=5), seed=st.integers(0, 2**31))
def test_written_bytes_do_not_depend_on_the_blocks(
    tmp_path: Path, cuts: list[int], seed: int
) -> None:
    x = noise(3000)
    data = []
    for edges in ([0, 3000], [0, *sorted(cuts), 3000]):
        path = tmp_path / "a.wav"
        with AtomicWriter(
            path, sample_rate=RATE, channels=2, subtype="PCM_16", seed=seed, force=True
        ) as w:
            for first, last in zip(edges[:-1], edges[1:], strict=True):
                w.write(x[:, first:last])
        data.append(path.read_bytes())
    assert data[0] == data[1]


# --- nothing is harmed ----------------------------------------------------------------------


def test_existing_file_is_refused_without_force(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", noise(100))
    before = path.read_bytes()
    with pytest.raises(AudioError, match="exists. Choose another name or allow overwriting"):
        AtomicWriter(path, sample_rate=RATE, channels=1)
    with AtomicWriter(path, sample_rate=RATE, channels=1, force=True) as w:
        w.write(noise(50, 1))
        assert path.read_bytes() == before
    assert info(path).frames == 50
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with (
        pytest.raises(AudioError, match="exists"),
        AtomicWriter(path, None, sample_rate=RATE, channels=1) as w,
    ):
        w.write(noise(50, 1))
        path.write_text("mine")
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_exception_leaves_nothing_behind(tmp_path: Path, name: str, force: bool) -> None:
    if force:
        (tmp_path / name).write_text("old")
    with (
        pytest.raises(KeyboardInterrupt),
        AtomicWriter(tmp_path / name, sample_rate=RATE, channels=2, force=force) as w,
    ):
        w.write(noise(9000))
        raise KeyboardInterrupt
    assert [p.read_text() for p in tmp_path.iterdir()] == (["old"] if force else [])


def test_non_finite_and_wrong_shape_are_not_written(tmp_path: Path) -> None:
    x = noise(1000)
    x[1, 500] = np.nan
    with (
        pytest.raises(AudioError, match="NaN or infinite"),
        AtomicWriter(tmp_path / "a.wav", sample_rate=RATE, channels=2) as w,
    ):
        w.write(x)
    with (
        pytest.raises(ShapeError, match=r"\[2, time\]"),
        AtomicWriter(tmp_path / "a.wav", sample_rate=RATE, channels=2) as w,
    ):
        w.write(noise(10, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX limit on file size")
def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: write() fails halfway."""
    script = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from retone.files.atomic import write_text_atomic
from retone.audio.files import AtomicWriter
from retone.audio.quantise import quantise
from retone.errors import AudioError
x = np.random.default_rng(0).uniform(-1, 1, (2, 100000))
quantise(x[:, :9], 24, dither=False, seed=0, start=0)  # compiled while files may still grow
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
folder = Path(sys.argv[1])
for name in ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.txt"):
    try:
        if name == "a.txt":
            write_text_atomic(folder / name, "x" * 100000)
        else:
            with AtomicWriter(folder / name, sample_rate=44100, channels=2) as w:
                w.write(x)
    except AudioError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all("could not be written: " in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="does not exist"):
        AtomicWriter(tmp_path / "no" / "a.wav", sample_rate=RATE, channels=1)
    with pytest.raises(AudioError, match="is a folder"):
        write_text_atomic(tmp_path, "x")
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(AudioError, match="cannot be written to"):
            AtomicWriter(tmp_path / "a.wav", sample_rate=RATE, channels=1)
        tmp_path.chmod(0o700)


def test_denied_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open anything, so the system's refusal is raised by hand."""

    def deny(*args: object, **kw: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "a.wav", noise(10))
    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(AudioError, match="the folder cannot be written to"):
        AtomicWriter(tmp_path / "b.wav", sample_rate=RATE, channels=1)
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(AudioError, match="permission denied"):
        info(path)


def test_text_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text_atomic(path, "größe\n")
    assert path.read_bytes() == "größe\n".encode()
    with pytest.raises(AudioError, match="exists"):
        write_text_atomic(path, "b")
    write_text_atomic(path, "b", force=True)
    assert path.read_text() == "b"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

"""What a recording carries besides its samples is kept, or named where it cannot be."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from encoded import RATE, decoded, ffmpeg, needs_ffmpeg, save, tone
from retone.audio.files import AtomicWriter, info, load, open_reader
from retone.audio.metadata import (
    Chapter,
    Metadata,
    Picture,
    Raw,
    id3,
    lost,
    mp4,
    ogg_pages,
    read_metadata,
    vorbis,
    waves,
)
from retone.audio.resampled import ResampledReader

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000"
    "00030101003db5c3e20000000049454e44ae426082"
)
TAGS = {
    "title": ("Größe 音",), "artist": ("One", "Two"), "album": ("Alb",), "albumartist": ("AA",),
    "tracknumber": ("3",), "tracktotal": ("12",), "discnumber": ("1",), "disctotal": ("2",),
    "date": ("2020-05-06",), "genre": ("Speech",), "comment": ("a\nb",), "composer": ("C",),
    "isrc": ("XX123",), "lyrics": ("la la",), "language": ("eng",), "copyright": ("2020 Z",),
    "musicbrainz_trackid": ("t-1",), "musicbrainz_albumid": ("a-1",), "own_name": ("x",),
}  # fmt: skip
RICH = Metadata(
    TAGS,
    (Picture(PNG, "image/png", 3, "front"), Picture(PNG[:-4] + b"abcd", "image/png", 4, "back")),
    (Chapter(0.5, "one"), Chapter(1.25, "two ü")),
)


def copy(source: Path, target: Path, **kw: object) -> AtomicWriter:
    """As ``--amount 0`` writes a file."""
    kw.setdefault("unchanged", True)
    with open_reader(source) as r, AtomicWriter(target, r.info, **kw) as w:  # type: ignore[arg-type]
        for x in r.blocks(7001):
            w.write(x)
    return w


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A FLAC with everything that a FLAC can carry."""
    path = save(tmp_path / "rich.flac", tone(), subtype="PCM_16")
    vorbis.write_flac(path, RICH, None)
    return path


EVERYTHING = ["a.flac", "a.wav", "a.rf64", "a.mp3", "a.ogg", "a.opus", "a.aiff", "a.m4a", "a.mka"]


@pytest.mark.parametrize("name", EVERYTHING)
def test_tags_pictures_and_chapters_are_kept(rich: Path, tmp_path: Path, name: str) -> None:
    done = copy(rich, tmp_path / name)
    assert not [n for n in done.notes if "could not keep" in n]
    was, now = info(rich).metadata, info(tmp_path / name).metadata
    assert lost(was, now) == []
    joined = {n: "; ".join(v) for n, v in TAGS.items()}
    assert info(tmp_path / name).tags == joined
    assert [p.data for p in now.pictures] == [p.data for p in was.pictures]
    assert [(round(c.start_s, 3), c.title) for c in now.chapters] == [(0.5, "one"), (1.25, "two ü")]
    assert info(tmp_path / name).frames == tone().shape[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.w64", "the tags title, "), ("a.w64", "2 chapters"), ("a.caf", "2 pictures"),
        ("a.webm", "2 pictures"), ("a.caf", "2 chapters or cue points"), ("a.mov", "2 pictures"),
    ],
)  # fmt: skip
def test_what_a_container_cannot_hold_is_named(
    rich: Path, tmp_path: Path, name: str, words: str
) -> None:
    notes = copy(rich, tmp_path / name).notes
    assert any(words in n and "could not keep" in n for n in notes), notes


@needs_ffmpeg
@pytest.mark.parametrize("name", [*EVERYTHING, "a.mov", "a.webm"])
def test_ffprobe_finds_them(rich: Path, tmp_path: Path, name: str) -> None:
    copy(rich, tmp_path / name)
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters"]
    found = json.loads(
        subprocess.run([*command, "-of", "json", tmp_path / name], capture_output=True).stdout
    )
    tags = dict(found["format"].get("tags", {}))
    for stream in found["streams"]:
        tags |= stream.get("tags", {}) if stream["codec_type"] == "audio" else {}
    tags = {n.lower(): v for n, v in tags.items()}
    assert tags["title"] == "Größe 音" and tags["album"] == "Alb"
    assert tags["artist"].startswith("One")
    pictures = [s for s in found["streams"] if s["codec_type"] == "video"]
    assert len(pictures) >= (0 if name in ("a.mov", "a.webm") else 1)
    if name != "a.aiff":  # ffprobe does not read its marks
        titles = [c["tags"]["title"] for c in found["chapters"] if c["tags"].get("title")]
        assert titles == ["one", "two ü"]
        assert float(found["chapters"][-1]["start_time"]) == pytest.approx(1.25, abs=1e-3)


def test_loudness_tags_are_dropped_where_the_sound_changed(rich: Path, tmp_path: Path) -> None:
    tags = {**TAGS, "replaygain_track_gain": ("-3 dB",), "r128_track_gain": ("12",)}
    vorbis.write_flac(rich, Metadata(tags), None)
    copy(rich, tmp_path / "same.flac")
    copy(rich, tmp_path / "changed.flac", unchanged=False)
    assert "replaygain_track_gain" in info(tmp_path / "same.flac").tags
    assert set(info(tmp_path / "changed.flac").tags) == set(TAGS)


# --- single formats -------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3, 4])
def test_id3_of_every_version_is_read(version: int) -> None:
    width = 3 if version == 2 else 4

    def frame(name: str, old: str, body: bytes) -> bytes:
        size = len(body)
        if version == 2:
            return old.encode() + size.to_bytes(3, "big") + body
        packed = id3._seven(size) if version == 4 else size.to_bytes(4, "big")
        return name.encode() + packed + b"\0\0" + body

    long = ("x" * 200).encode()
    body = (
        frame("TIT2", "TT2", b"\1" + "Títle".encode("utf-16"))
        + frame("TPE1", "TP1", b"\0One\0Two")
        + frame("TRCK", "TRK", b"\0" + b"3/12")
        + frame("TCON", "TCO", b"\0(17)")
        + frame("COMM", "COM", b"\0eng\0" + long)
        + frame("TXXX", "TXX", b"\0MusicBrainz Album Id\0alb")
    )
    tag = b"ID3" + bytes([version, 0, 0]) + id3._seven(len(body) + 50) + body + bytes(50)
    found = id3.parse_id3(tag)
    assert width in (3, 4)
    assert found.tags == {
        "title": ("Títle",), "artist": ("One", "Two"), "tracknumber": ("3",),
        "tracktotal": ("12",), "genre": ("Rock",), "comment": ("x" * 200,),
        "musicbrainz_albumid": ("alb",),
    }  # fmt: skip


def test_unknown_frames_of_an_mp3_stay(tmp_path: Path) -> None:
    source = save(tmp_path / "a.mp3", tone(), format="MP3")
    private = Raw("id3", "PRIV", b"someone\0\1\2\3")
    id3.write_mp3(source, Metadata({"title": ("T",)}, raw=(private,)), 3.0)
    copy(source, tmp_path / "b.mp3")
    assert info(tmp_path / "b.mp3").metadata.raw == (private,)
    notes = copy(source, tmp_path / "b.flac").notes
    assert any("the chunk PRIV" in n for n in notes)


def test_big_comments_fill_several_ogg_pages(tmp_path: Path) -> None:
    picture = Picture(PNG + np.random.default_rng(0).bytes(200_000), "image/png")
    for name in ("a.ogg", "a.opus"):
        path = save(
            tmp_path / name, tone(), format="OGG", subtype="OPUS" if "opus" in name else "VORBIS"
        )
        before = load(path).samples
        ogg_pages.write_ogg(path, Metadata({"title": ("T",)}, (picture,)))
        assert info(path).metadata.pictures == (picture,)
        np.testing.assert_array_equal(load(path).samples, before)
        assert info(path).warnings == ()


@pytest.mark.parametrize(
    "read", [vorbis.read_flac, ogg_pages.read_ogg, id3.read_id3, mp4.read_mp4, waves.read_waves]
)
def test_damaged_metadata_never_stops_reading(rich: Path, tmp_path: Path, read: object) -> None:
    """Whatever is in the metadata, the sound is read."""
    rng = np.random.default_rng(0)
    for name in ("a.flac", "a.wav", "a.mp3", "a.ogg", "a.aiff", "a.caf", "a.m4a"):
        copy(rich, tmp_path / name, force=True)
        data = bytearray((tmp_path / name).read_bytes())
        for _ in range(20):
            for at in rng.integers(0, min(len(data), 3000), 8):
                data[at] = rng.integers(256)
            (tmp_path / "x").write_bytes(data)
            read_metadata(tmp_path / "x", "MP4" if name == "a.m4a" else "MP3")


# --- chunks of WAV files --------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def chunked(path: Path, channels: int = 1) -> Path:
    """A WAV with broadcast data, production data, cue points, labels, loops and tags."""
    plain = save(path, tone(channels=channels), subtype="PCM_24").read_bytes()
    cue = struct.pack("<I", 2) + struct.pack("<II4sIII", 1, 48000, b"data", 0, 0, 48000)
    cue += struct.pack("<II4sIII", 2, 96000, b"data", 0, 0, 96000)
    labels = b"adtl" + chunk(b"labl", struct.pack("<I", 1) + b"verse 1\0")
    labels += chunk(b"labl", struct.pack("<I", 2) + b"verse 2\0")
    labels += chunk(b"ltxt", struct.pack("<II4sHHHH", 1, 4800, b"rgn ", 0, 0, 0, 0))
    loops = struct.pack("<9I", 0, 0, 20833, 60, 0, 0, 0, 1, 0)
    loops += struct.pack("<6I", 0, 0, 1000, 90000, 0, 0)
    bext = b"take 12".ljust(256, b"\0") + b"Zoom F8".ljust(32, b"\0") + b"REF1".ljust(32, b"\0")
    bext += b"2026-05-01" + b"12:30:00" + struct.pack("<QH", 2160000000, 2) + bytes(64)
    bext += struct.pack("<5h", -2300, 500, -100, -2000, -2100) + bytes(180) + b"A=PCM,F=48000\r\n"
    body = plain[12:]
    new = b"WAVE" + chunk(b"bext", bext) + chunk(b"iXML", b"<BWFXML><TAKE>3</TAKE></BWFXML>")
    new += body + chunk(b"cue ", cue) + chunk(b"LIST", labels) + chunk(b"smpl", loops)
    new += chunk(b"LIST", b"INFO" + chunk(b"INAM", b"Title\0") + chunk(b"IXYZ", b"odd\0"))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(new)) + new)
    return path


@pytest.mark.parametrize("through", [None, "flac", "rf64"])
def test_unchanged_wavs_come_back_byte_for_byte(tmp_path: Path, through: str | None) -> None:
    source, target = chunked(tmp_path / "a.wav"), tmp_path / "b.wav"
    if through:
        middle = tmp_path / f"m.{through}"
        assert copy(source, middle).notes == []
        copy(middle, target)
    else:
        assert copy(source, target).notes == []
    assert target.read_bytes() == source.read_bytes()


def test_positions_follow_the_sample_rate(tmp_path: Path) -> None:
    source, target = chunked(tmp_path / "a.wav"), tmp_path / "b.wav"
    with ResampledReader(open_reader(source), 96000) as r, AtomicWriter(target, r.info) as w:
        for x in r.blocks(7001):
            w.write(x)
    raw = {r.name: r.data for r in info(target).metadata.raw if r.name != "LIST"}
    assert struct.unpack_from("<Q", raw["bext"], 338) == (4320000000,)
    assert struct.unpack_from("<I", raw["cue "], 4 + 20) == (96000,)
    assert struct.unpack_from("<II", raw["smpl"], 36 + 8) == (2000, 180000)
    assert info(target).metadata.chapters == info(source).metadata.chapters


def test_a_changed_sound_drops_the_loudness_in_bext(tmp_path: Path) -> None:
    source = chunked(tmp_path / "a.wav")
    copy(source, tmp_path / "b.wav", unchanged=False)
    (bext,) = (r.data for r in info(tmp_path / "b.wav").metadata.raw if r.name == "bext")
    assert struct.unpack_from("<5h", bext, 412) == (0x7FFF,) * 5


def test_chunks_that_another_container_cannot_hold_are_named(tmp_path: Path) -> None:
    notes = copy(chunked(tmp_path / "a.wav"), tmp_path / "b.mp3").notes
    assert any("could not keep" in n and "the chunks bext, iXML, smpl" in n for n in notes), notes
    assert [c.title for c in info(tmp_path / "b.mp3").metadata.chapters] == ["verse 1", "verse 2"]
    assert info(tmp_path / "b.mp3").tags["title"] == "Title"


# --- channel layouts ------------------------------------------------------------------------

LAYOUTS = {
    "2.1": ("FL", "FR", "LFE"),
    "4.0": ("FL", "FR", "FC", "BC"),
    "5.0": ("FL", "FR", "FC", "BL", "BR"),
    "5.1": ("FL", "FR", "FC", "LFE", "BL", "BR"),
    "5.1(side)": ("FL", "FR", "FC", "LFE", "SL", "SR"),
    "7.1": ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


def surround(path: Path, layout: str) -> tuple[Path, np.ndarray]:
    """A WAV with a channel mask, and its samples."""
    x = tone(RATE, len(LAYOUTS[layout]))
    raw = save(path.with_name("raw.wav"), x)
    ffmpeg("-i", raw, "-af", f"channelmap=channel_layout={layout}", "-c:a", "pcm_s16le", path)
    return path, x


@needs_ffmpeg
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["b.wav", "b.flac", "b.caf", "b.m4a", "b.mka", "b.ogg", "b.opus"])
def test_every_channel_comes_from_its_own_loudspeaker(
    tmp_path: Path, layout: str, name: str
) -> None:
    source, x = surround(tmp_path / "a.wav", layout)
    assert info(source).layout == LAYOUTS[layout]
    done = copy(source, tmp_path / name)
    heard = decoded(tmp_path / name, len(x))
    n = min(x.shape[1], heard.shape[1])
    for c in range(len(x)):
        if LAYOUTS[layout][c] == "LFE" and name in ("b.opus", "b.m4a", "b.ogg"):
            continue  # these codings cut its treble off
        alike = np.dot(x[c, :n], heard[c, :n]) / np.linalg.norm(x[c]) / np.linalg.norm(heard[c])
        assert alike > 0.9, c
    named = [n for n in done.notes if "the channel layout" in n]
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=channel_layout", "-of", "csv=p=0"]
    got = subprocess.run([*probe, tmp_path / name], capture_output=True, text=True).stdout.strip()
    if not named:
        assert got.replace("(side)", "") == layout.replace("(side)", "")
    mine = info(tmp_path / name)
    assert mine.channels == len(x)


@needs_ffmpeg
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ogg_is_read_in_the_order_of_loudspeakers(tmp_path: Path, layout: str) -> None:
    source, x = surround(tmp_path / "a.wav", layout)
    ffmpeg("-i", source, "-c:a", "libvorbis", "-q:a", "8", tmp_path / "a.ogg")
    heard = load(tmp_path / "a.ogg").samples
    expected = decoded(tmp_path / "a.ogg", len(x))
    np.testing.assert_allclose(heard, expected, atol=1e-3)


def test_a_file_with_eight_planes_is_read_within_bounds(tmp_path: Path) -> None:
    """PyAV's list of planes runs beyond FFmpeg's array from eight channels on."""
    x = tone(RATE // 2, 8)
    copy(save(tmp_path / "a.wav", x), tmp_path / "b.m4a")
    heard = load(tmp_path / "b.m4a").samples
    assert heard.shape == x.shape
    assert sf.info(tmp_path / "a.wav").channels == 8

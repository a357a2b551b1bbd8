"""Decoding: every format that FFmpeg knows, whole, exact in length, and safe."""

from __future__ import annotations

import http.server
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from encoded import RATE, decoded, ffmpeg, lag_of, needs_ffmpeg, save, tone
from retone.audio import decoders
from retone.audio.decoders import ffmpeg_file
from retone.audio.files import info, load, open_reader
from retone.errors import AudioError

# --- formats --------------------------------------------------------------------------------

LOSSLESS = {
    "a.m4a": ("alac", "ALAC_16", "MP4"),
    "a.wv": ("wavpack", "PCM_16", "WavPack"),
    "a.tta": ("tta", "PCM_16", "TTA"),
    "a.mka": ("flac", "PCM_16", "Matroska"),
    "b.mkv": ("pcm_s16le", "PCM_16", "Matroska"),
    "a.mov": ("pcm_s16be", "PCM_16", "MP4"),
}


@needs_ffmpeg
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_codings_come_out_bit_for_bit(tmp_path: Path, name: str) -> None:
    coding, subtype, container = LOSSLESS[name]
    x = tone()
    ffmpeg("-i", save(tmp_path / "x.wav", x), "-c:a", coding, tmp_path / name)
    got = info(tmp_path / name)
    assert (got.format, got.subtype, got.frames) == (container, subtype, x.shape[1])
    assert (got.sample_rate, got.channels, got.warnings) == (RATE, 2, ())
    np.testing.assert_array_equal(load(tmp_path / name).samples, x.astype(np.float32))


@needs_ffmpeg
def test_24_bits_are_found_and_kept(tmp_path: Path) -> None:
    x = np.rint(tone() * 2**23 + 1) / 2**23
    ffmpeg("-i", save(tmp_path / "x.wav", x, subtype="PCM_24"), "-c:a", "alac", tmp_path / "a.m4a")
    assert info(tmp_path / "a.m4a").subtype == "ALAC_24"
    np.testing.assert_array_equal(load(tmp_path / "a.m4a").samples, x.astype(np.float32))


EXACT = {
    "a.m4a": "aac", "a.mp4": "aac", "a.webm": "libopus", "a.opus": "libopus",
    "a.mp3": "libmp3lame", "a.ogg": "libvorbis",
}  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("frames", [RATE, 2 * RATE + 501])
def test_delay_and_padding_of_encoders_are_taken_off(
    tmp_path: Path, name: str, frames: int
) -> None:
    x = tone(frames)
    ffmpeg("-i", save(tmp_path / "x.wav", x), "-c:a", EXACT[name], "-b:a", "192k", tmp_path / name)
    got = load(tmp_path / name).samples
    assert got.shape == x.shape
    assert lag_of(x, got) == 0
    assert np.sqrt(np.mean((got - x) ** 2)) < 0.02  # of the noise
    assert info(tmp_path / name).warnings == ()


INEXACT = {
    "a.aac": "aac", "a.ac3": "ac3", "a.wma": "wmav2", "a.ts": "aac", "a.mka": "ac3", "a.avi": "mp2",
    "a.flv": "libmp3lame", "b.wav": "libmp3lame", "a.mp2": "mp2",
}  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("name", INEXACT)
def test_other_codings_are_read_as_ffmpeg_reads_them(tmp_path: Path, name: str) -> None:
    x = tone()
    ffmpeg("-i", save(tmp_path / "x.wav", x), "-c:a", INEXACT[name], tmp_path / name)
    got, expected = load(tmp_path / name).samples, decoded(tmp_path / name, 2)
    assert abs(got.shape[1] - expected.shape[1]) <= 1152
    assert lag_of(expected, got) == 0
    n = min(got.shape[1], expected.shape[1])
    assert np.abs(got[:, :n] - expected[:, :n]).max() < 1e-3


@needs_ffmpeg
def test_dsd_is_decoded_to_its_eighth_rate(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 256, 4096 * 40, dtype=np.uint8).tobytes()
    fmt = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, 2822400, 1, 8 * len(bits), 4096, 0)
    data = struct.pack("<4sQ", b"data", 12 + len(bits)) + bits
    total = 28 + len(fmt) + len(data)
    path = tmp_path / "a.dsf"
    path.write_bytes(struct.pack("<4sQQQ", b"DSD ", 28, total, 0) + fmt + data)
    got = info(path)
    assert (got.sample_rate, got.frames, got.subtype) == (352800, len(bits), "DSD")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.mp3", "a.webm", "a.wv"])
def test_blocks_and_seeking_give_the_same_samples(tmp_path: Path, name: str) -> None:
    coding = {**{n: c for n, c in EXACT.items()}, "a.wv": "wavpack"}[name]
    ffmpeg("-i", save(tmp_path / "x.wav", tone()), "-c:a", coding, tmp_path / name)
    whole = load(tmp_path / name).samples
    with open_reader(tmp_path / name) as reader:
        parts = list(reader.blocks(3333))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        for start in (0, 100000, 99000, 3, 143000, whole.shape[1] - 5):
            reader.seek(start)
            count = min(777, whole.shape[1] - start)
            np.testing.assert_array_equal(reader.read(count), whole[:, start : start + count])


@needs_ffmpeg
def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    ffmpeg("-i", save(tmp_path / "x.wav", tone()), "-c:a", "aac", tmp_path / "a.m4a")
    for name in ("voice.wav", "voice", "voice.mp3", "voice.vox", "voice.raw"):
        (tmp_path / name).write_bytes((tmp_path / "a.m4a").read_bytes())
        got = info(tmp_path / name)
        assert got.format == "MP4" and got.frames == tone().shape[1]
    assert "is a MP4 file named .wav" in info(tmp_path / "voice.wav").warnings[0]


@pytest.mark.parametrize(
    "ending", [".vox", ".vox8", ".gsm", ".GSM", ".au", ".m3u8", ".mp3", ".m4a"]
)
def test_text_is_no_sound_whatever_its_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"letter{ending}"
    path.write_text("This is a letter, not a recording.\n" * 200)
    with pytest.raises(AudioError, match="not a recording"):
        info(path)


def test_names_that_are_not_utf8_are_opened(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    with path.open("wb") as file:
        sf.write(file, tone(1000).T, RATE, format="WAV")
    assert load(path).frames == 1000


def test_without_ffmpeg_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg_file, "available", lambda: False)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match="is an MP4 or M4A file.*pip install av$"):
        info(tmp_path / "a.m4a")
    assert info(save(tmp_path / "a.mp3", tone(), format="MP3")).frames == tone().shape[1]


# --- whole files ----------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize("how", ["no header", "pipe"])
@pytest.mark.parametrize("quality", [["-q:a", "4"], ["-b:a", "128k"]])
def test_an_mp3_without_a_length_header_is_read_whole(
    tmp_path: Path, how: str, quality: list[str]
) -> None:
    x = tone(20 * RATE)
    x[:, : 5 * RATE] *= 1e-3  # so that the first frames are small
    source, path = save(tmp_path / "x.wav", x), tmp_path / "a.mp3"
    coding = ("-i", source, "-c:a", "libmp3lame", *quality)
    if how == "pipe":
        path.write_bytes(ffmpeg(*coding, "-f", "mp3", "-"))
    else:
        ffmpeg(*coding, "-write_xing", "0", path)
    got = info(path)
    assert got.frames == decoded(path, 2).shape[1] >= x.shape[1]
    assert got.warnings == ()


@needs_ffmpeg
def test_a_wrong_length_header_is_not_believed(tmp_path: Path) -> None:
    source, path = save(tmp_path / "x.wav", tone()), tmp_path / "a.mp3"
    ffmpeg("-i", source, "-c:a", "libmp3lame", path)
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    for wrong, words in ((20, "holds 3.0"), (5000, "cut short")):
        data[at : at + 4] = wrong.to_bytes(4, "big")
        path.write_bytes(data)
        got = info(path)
        assert got.frames >= 3 * RATE
        assert len(got.warnings) == 1 and words in got.warnings[0]


@needs_ffmpeg
def test_joined_mp3s_are_read_to_the_end(tmp_path: Path) -> None:
    parts = []
    for seed in (1, 2, 3):
        source = save(tmp_path / "x.wav", tone(seed=seed))
        ffmpeg("-i", source, "-c:a", "libmp3lame", tmp_path / "part.mp3")
        parts.append((tmp_path / "part.mp3").read_bytes())
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(parts))
    got = info(path)
    assert got.frames == pytest.approx(3 * tone().shape[1], abs=3 * 3 * 1152)
    assert "holds 9." in got.warnings[0] and "its header says 3.0" in got.warnings[0]


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_chained_ogg_is_read_as_one_recording(tmp_path: Path, name: str) -> None:
    subtype = "OPUS" if name == "a.opus" else "VORBIS"
    parts = []
    for seed, frames in ((1, 50000), (2, 30000), (3, 70000)):
        part = save(
            tmp_path / f"{seed}_{name}", tone(frames, seed=seed), format="OGG", subtype=subtype
        )
        parts.append(part)
    path = tmp_path / name
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    expected = np.concatenate([load(p).samples for p in parts], axis=1)
    got = info(path)
    assert got.frames == 150000
    assert got.warnings == (f"{name} consists of 3 joined recordings, read as one.",)
    np.testing.assert_array_equal(load(path).samples, expected)
    with open_reader(path) as reader:
        reader.seek(49990)
        np.testing.assert_allclose(reader.read(30100), expected[:, 49990:80090], atol=1e-3)


def test_a_chain_with_another_rate_says_what_is_left_out(tmp_path: Path) -> None:
    one = save(tmp_path / "1.ogg", tone(30000))
    two = save(tmp_path / "2.ogg", tone(30000), 44100)
    path = tmp_path / "a.ogg"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    got = info(path)
    assert got.frames == 30000
    assert "of which 1 with another sample rate" in got.warnings[0]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_without_a_length_is_read_to_its_end(tmp_path: Path, subtype: str, size: int) -> None:
    whole = save(tmp_path / "x.wav", tone(20000), subtype=subtype)
    data = bytearray(whole.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    got = info(path)
    assert got.warnings == ()
    n = load(whole).frames
    assert n <= got.frames <= n + 1100  # compressed blocks: libsndfile rounds up
    np.testing.assert_array_equal(load(path).samples[:, :n], load(whole).samples)


def test_a_wav_of_no_samples_with_chunks_after_it_is_not_repaired(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", tone(0))
    extra = b"LIST" + struct.pack("<I", 16) + b"INFOISFT\4\0\0\0abc\0"
    path.write_bytes(path.read_bytes() + extra)
    with pytest.raises(AudioError, match="no samples"):
        info(path)


@needs_ffmpeg
def test_a_wav_from_a_pipe_is_whole(tmp_path: Path) -> None:
    source, path = save(tmp_path / "x.wav", tone()), tmp_path / "a.wav"
    path.write_bytes(ffmpeg("-i", source, "-f", "wav", "-"))
    assert info(path).warnings == ()
    np.testing.assert_array_equal(load(path).samples, load(source).samples)


@needs_ffmpeg
def test_a_flac_from_a_pipe_is_whole(tmp_path: Path) -> None:
    source, path = save(tmp_path / "x.wav", tone()), tmp_path / "a.flac"
    path.write_bytes(ffmpeg("-i", source, "-f", "flac", "-"))
    assert info(path).warnings == ()
    np.testing.assert_array_equal(load(path).samples, load(source).samples)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp3", "a.mp2"])
def test_a_tail_of_zeros_costs_no_time(tmp_path: Path, name: str) -> None:
    source, path = save(tmp_path / "x.wav", tone()), tmp_path / name
    ffmpeg("-i", source, path)
    n = info(path).frames
    path.write_bytes(path.read_bytes() + bytes(5_000_000))
    code = (
        "import sys, time; from retone.audio.files import info; t = time.process_time();"
        "i = info(sys.argv[1]); print(i.frames, time.process_time() - t, *i.warnings, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    frames, seconds, *warnings = done.stdout.strip().split("|")
    assert abs(int(frames) - n) <= 1152
    assert float(seconds) < 5
    assert done.stderr == ""
    assert "not sound" in warnings[0]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ["-movflags", "faststart"]), ("a.mp4", ["-movflags", "frag_keyframe+empty_moov"]),
        ("a.webm", ["-c:a", "libopus"]), ("a.mka", ["-c:a", "flac"]), ("a.mp3", []),
        ("a.wv", ["-c:a", "wavpack"]), ("a.opus", ["-c:a", "libopus"]), ("a.aac", []),
    ],
)  # fmt: skip
def test_the_readable_part_of_a_truncated_file_is_used(
    tmp_path: Path, name: str, options: list[str]
) -> None:
    whole = tmp_path / name
    ffmpeg("-i", save(tmp_path / "x.wav", tone(10 * RATE)), *options, whole)
    torn = tmp_path / f"torn{whole.suffix}"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    got = info(torn)
    assert 5 * RATE < got.frames < 7 * RATE
    assert load(torn).frames == got.frames
    if name not in ("a.aac", "a.mp4"):  # these promise no length
        assert "cut short" in got.warnings[0]


@needs_ffmpeg
def test_an_mp4_without_its_index_is_named(tmp_path: Path) -> None:
    whole, torn = tmp_path / "a.m4a", tmp_path / "torn.m4a"
    ffmpeg("-i", save(tmp_path / "x.wav", tone()), whole)
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    with pytest.raises(AudioError, match="without its index"):
        info(torn)


@needs_ffmpeg
def test_damage_in_a_timed_container_keeps_the_length(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    ffmpeg("-i", save(tmp_path / "x.wav", tone()), "-movflags", "faststart", path)
    n = info(path).frames
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 20000
    data[middle : middle + 1500] = b"\xff" * 1500
    path.write_bytes(data)
    got = info(path)
    assert abs(got.frames - n) <= 2048
    assert "is damaged in" in got.warnings[0]


@needs_ffmpeg
def test_a_picture_alone_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32:d=0.2", path)
    with pytest.raises(AudioError, match="a picture but no sound"):
        info(path)


# --- safety ---------------------------------------------------------------------------------


class _Trap(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.hits.append(self.path)  # type: ignore[attr-defined]
        self.send_error(404)

    def log_message(self, *words: object) -> None:
        pass


def _hostile(folder: Path, address: str) -> dict[str, bytes]:
    """Files that name another file or an address in every way that FFmpeg has."""
    secret = folder / "secret.wav"
    save(secret, tone(RATE))
    return {
        "http.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}/a.ts\n".encode(),
        "file.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n".encode(),
        "list.ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "http.ffconcat": f"ffconcat version 1.0\nfile '{address}/b.wav'\n".encode(),
        "call.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        b"m=audio 5004 RTP/AVP 0\n",
        "film.mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        f'type="static"><Period><BaseURL>{address}/</BaseURL></Period></MPD>'.encode(),
        "film.mov": _outside_reference(address, str(secret)),
    }  # fmt: skip


def _outside_reference(address: str, path: str) -> bytes:
    """A QuickTime film whose samples are in another file."""

    def box(name: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I4s", 8 + len(body), name) + body

    alias = box(b"url ", bytes(4), f"{address}/c.wav\0".encode()) + box(
        b"alis", bytes(4), bytes(150), struct.pack(">HH", 18, len(path)), path.encode(), bytes(8)
    )
    sound = box(b"sowt", bytes(6), b"\0\1", bytes(8), struct.pack(">HHIHH", 2, 16, 0, 48000, 0))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), sound),
        box(b"stts", struct.pack(">IIII", 0, 1, 1000, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1000, 1)),
        box(b"stsz", struct.pack(">III", 0, 4, 1000)),
        box(b"stco", struct.pack(">III", 0, 1, 44)),
    )
    times = struct.pack(">IIIII", 0, 0, 0, 48000, 1000)
    media = box(
        b"mdia",
        box(b"mdhd", times, bytes(4)),
        box(b"hdlr", bytes(8), b"soun", bytes(13)),
        box(b"minf", box(b"dinf", box(b"dref", struct.pack(">II", 0, 2), alias)), table),
    )
    return box(b"ftyp", b"qt  ", bytes(4)) + box(
        b"moov", box(b"mvhd", times, bytes(80)), box(b"trak", box(b"tkhd", bytes(84)), media)
    )


@pytest.mark.parametrize("formats", ["as shipped", "all"])
def test_a_file_opens_no_other_file_and_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, formats: str
) -> None:
    """Each lock holds alone: with every format allowed, the closed protocols still hold."""
    if formats == "all":
        import av

        monkeypatch.setattr(ffmpeg_file, "FORMATS", ",".join(sorted(av.formats_available)))
        monkeypatch.setattr(decoders, "_by_sndfile", lambda path: None)
    with http.server.HTTPServer(("127.0.0.1", 0), _Trap) as server:
        server.hits = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, data in _hostile(tmp_path, f"http://127.0.0.1:{server.server_port}").items():
            path = tmp_path / name
            path.write_bytes(data)
            try:
                heard = load(path).samples
            except AudioError:
                continue
                # the film promises 1000 frames; FFmpeg finds a few in the film's own bytes
            assert name == "film.mov" and heard.shape[1] < 500
        server.shutdown()
        assert server.hits == []  # type: ignore[attr-defined]


def test_no_picture_is_decoded(tmp_path: Path) -> None:
    import av

    names = ffmpeg_file._audio_decoders().split(",")
    assert {"aac", "alac", "mp3", "opus", "flac", "wmav2"} <= set(names)
    assert all(av.Codec(n, "r").type == "audio" for n in names)


def test_a_file_that_never_ends_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1000))
    with path.open("rb", buffering=0) as file:
        bounded = ffmpeg_file.Bounded(file)
        bounded.deadline = float("-inf")
        with pytest.raises(OSError, match="reasonable time"):
            bounded.read(10)

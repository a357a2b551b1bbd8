"""Corpora: original layouts read rightly, wrong ones refused, bad files left out, crops exact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from retone.cli.main import main
from retone.errors import AudioError, DataError
from retone.training.data import corpora
from retone.training.data.corpora import CORPORA, corpus_manifest, join_corpora, open_corpus
from retone.training.data.manifest import (
    Entry,
    Manifest,
    Rules,
    file_sha256,
    split_by_hours,
    split_groups,
)

RATE = 16000


@pytest.fixture(scope="session")
def recording() -> np.ndarray:
    """Two seconds of a real voice where the shared recordings are at hand, else a made one."""
    shared = Path(os.environ.get("RETONE_SHARED", Path(__file__).parents[3] / "shared"))
    real = shared / "audio" / "speech" / "ljspeech__lj__LJ001-0001.flac"
    if real.is_file():
        audio, _ = soundfile.read(real, frames=2 * RATE)
        return audio
    rng = np.random.default_rng(0)
    return 0.1 * np.cumsum(rng.standard_normal(2 * RATE)) / 50


def test_check_says_a_corpus_once(
    recording: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate("abc"):
        put(tmp_path / "voices" / name / "one.wav", recording, number)
    words = ["corpus", "check", "folder", str(tmp_path / "voices"), "--sample-rate", str(RATE)]
    for _ in range(2):  # read, then from the cache
        assert main([*words, "--cache", str(tmp_path / "cache")]) == 0
        assert capsys.readouterr().out.count("folder: 3 files") == 1


def put(path: Path, audio: np.ndarray, number: int = 0) -> None:
    """A file with its own content: the recording, shorter by ``number`` samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio[: len(audio) - number], RATE)


LAYOUTS = {
    "libritts": [
        (f"LibriTTS/train-clean-360/{s}/{s}{c}/{s}_{s}{c}_00000{u}_000000.wav", f"libritts/{s}")
        for s in (100, 101, 102, 103)
        for c in (7, 8)
        for u in (1, 2)
    ],
    "vctk": [
        (f"wav48_silence_trimmed/{s}/{s}_00{u}_mic1.flac", f"vctk/{s}")
        for s in ("p225", "p226", "s5")
        for u in (1, 2)
    ],
    "daps": [
        (f"daps/cleanraw/{s}_script{u}_cleanraw.wav", f"daps/{s}")
        for s in ("f1", "f2", "m1")
        for u in (1, 2)
    ],
    "mtg-jamendo": [
        (f"audio/{t % 100:02d}/{t}.flac", f"jamendo/{t}") for t in (100, 1200, 7705, 99)
    ],
    "musdb18": [
        (f"train/{t}/mixture.wav", f"musdb18/{t}") for t in ("A - One", "B - Two", "C - Three")
    ]
    + [("test/D - Four/mixture.wav", "musdb18/D - Four")],
    "folder": [("ann/a.wav", "mine/ann"), ("ann/b/c.wav", "mine/ann"), ("solo.wav", "mine/solo")],
}
IGNORED = {
    "vctk": ["wav48_silence_trimmed/p225/p225_001_mic2.flac"],
    "daps": ["daps/clean/f1_script1_clean.wav"],
    "musdb18": ["train/A - One/vocals.wav"],
    "folder": [".hidden/x.wav"],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_original_layout_is_read(name: str, tmp_path: Path, recording: np.ndarray) -> None:
    root = tmp_path / "mine"
    paths = [path for path, _ in LAYOUTS[name]] + IGNORED.get(name, [])
    for number, path in enumerate(paths):
        put(root / path, recording, number)
    corpus = open_corpus(name, root, sample_rate=RATE, cache=tmp_path / "cache")
    manifest = corpus_manifest(corpus)
    assert {(e.path, e.group) for e in manifest.entries} == set(LAYOUTS[name])
    assert manifest.skipped == {}
    split_of: dict[str, set[str]] = {}
    for entry in manifest.entries:
        split_of.setdefault(entry.group, set()).add(entry.split)
        assert entry.sha256 == file_sha256(root / entry.path)
        assert entry.licence == CORPORA[name].licence
    assert all(len(splits) == 1 for splits in split_of.values())
    if name == "musdb18":
        assert split_of["musdb18/D - Four"] == {"test"}
    assert {t.group for t in corpus.tracks} == set(split_of)


def test_speaker_is_all_utterances_joined(tmp_path: Path, recording: np.ndarray) -> None:
    for number, (path, _) in enumerate(LAYOUTS["libritts"]):
        put(tmp_path / path, recording, 100 * number)
    corpus = open_corpus("libritts", tmp_path, sample_rate=RATE, cache=tmp_path / "cache")
    track = next(track for track in corpus.tracks if track.group == "libritts/100")
    sizes = [len(recording) - 100 * number for number in range(4)]
    assert track.samples == sum(sizes)
    joint = sizes[0]
    wanted = np.concatenate([recording[joint - 50 : joint], recording[:50]])
    np.testing.assert_allclose(track.read(joint - 50, 100), wanted, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in CORPORA if n != "folder"])
def test_wrong_layout_says_what_was_expected(
    name: str, tmp_path: Path, recording: np.ndarray
) -> None:
    put(tmp_path / "some" / "other.wav", recording)
    with pytest.raises(DataError, match=r"expected|no manifest"):
        open_corpus(name, tmp_path, sample_rate=RATE, cache=tmp_path / "cache")


def test_musdb_stems_are_explained(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "A - One.stem.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match="MUSDB18-HQ"):
        open_corpus("musdb18", tmp_path, sample_rate=RATE, cache=tmp_path / "cache")


def test_unknown_or_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="corpus is called .librispeech.*libritts"):
        open_corpus("librispeech", tmp_path, sample_rate=RATE, cache=tmp_path)
    with pytest.raises(DataError, match=r"openslr\.org"):
        open_corpus("libritts", tmp_path / "no", sample_rate=RATE, cache=tmp_path)


def test_bad_files_are_left_out_and_named(tmp_path: Path, recording: np.ndarray) -> None:
    put(tmp_path / "a" / "good.wav", recording)
    put(tmp_path / "a" / "copy.wav", recording)
    put(tmp_path / "a" / "clipped.wav", np.clip(30 * recording, -1, 1))
    put(tmp_path / "a" / "silent.wav", 1e-5 * recording)
    put(tmp_path / "a" / "short.wav", recording[:1000])
    (tmp_path / "a" / "broken.wav").write_bytes(b"RIFF no")
    said: list[str] = []
    corpus = open_corpus(
        "folder", tmp_path, sample_rate=RATE, cache=tmp_path / "cache", progress=said.append
    )
    skipped = corpus_manifest(corpus).skipped
    names = {reason: [Path(path).name for path in paths] for reason, paths in skipped.items()}
    assert names == {
        "duplicate": ["good.wav"],  # the first in order, copy.wav, is the one kept
        "clipped": ["clipped.wav"],
        "silent": ["silent.wav"],
        "too short": ["short.wav"],
        "unreadable": ["broken.wav"],
    }
    assert "skipped, silent: 1" in said[-1]


def test_second_opening_reads_no_audio_and_changed_files_are_seen(
    tmp_path: Path, recording: np.ndarray
) -> None:
    root, cache = tmp_path / "mine", tmp_path / "cache"
    put(root / "one.wav", recording)
    first = open_corpus("folder", root, sample_rate=RATE, cache=cache)
    said: list[str] = []
    again = open_corpus("folder", root, sample_rate=RATE, cache=cache, progress=said.append)
    assert said == [] and again.sha256 == first.sha256
    assert len([p for p in cache.iterdir() if p.is_dir()]) == 1
    put(root / "two.wav", recording, 10)
    more = open_corpus("folder", root, sample_rate=RATE, cache=cache)
    assert len(more.tracks) == 2 and more.sha256 != first.sha256


def test_cache_is_resampled_mono(tmp_path: Path) -> None:
    t = np.arange(44100) / 44100
    tone = 0.4 * np.sin(2 * np.pi * 1000 * t)
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine" / "tone.wav", np.stack([tone, 0.5 * tone], 1), 44100)
    corpus = open_corpus("folder", tmp_path / "mine", sample_rate=24000, cache=tmp_path / "cache")
    got = corpus.tracks[0].read(1000, 20000)
    wanted = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(1000, 21000) / 24000)
    assert 20 * np.log10(np.std(got - wanted) / np.std(wanted)) < -70


def test_join_needs_one_rate(tmp_path: Path, recording: np.ndarray) -> None:
    put(tmp_path / "mine" / "a.wav", recording)
    low, high = (
        open_corpus("folder", tmp_path / "mine", sample_rate=rate, cache=tmp_path / "cache")
        for rate in (RATE, 24000)
    )
    assert join_corpora([low, low]).hours == pytest.approx(2 * low.hours)
    with pytest.raises(DataError, match="sample rates"):
        join_corpora([low, high])


def test_paper_split_is_sorted_and_cut() -> None:
    names = [f"{number:03d}" for number in range(200)]
    splits = split_groups(reversed(names))
    assert [splits[n] for n in names] == ["train"] * 180 + ["val"] * 10 + ["test"] * 10
    few = split_groups(["a", "b", "c"], "hashed")
    assert sorted(few.values()) == ["test", "train", "val"]


def test_split_by_hours_keeps_the_fractions() -> None:
    hours = {f"voice{n}": 0.1 + (n % 7) for n in range(60)}
    splits = split_by_hours(hours)
    total = sum(hours.values())
    for split in ("val", "test"):
        part = sum(hours[name] for name in hours if splits[name] == split)
        assert 0.03 * total < part <= 0.05 * total


def test_manifest_round_trip_and_refusal(tmp_path: Path, recording: np.ndarray) -> None:
    put(tmp_path / "mine" / "a.wav", recording)
    corpus = open_corpus("folder", tmp_path / "mine", sample_rate=RATE, cache=tmp_path / "cache")
    manifest = corpus_manifest(corpus)
    manifest.save(tmp_path / "m.jsonl")
    assert Manifest.load(tmp_path / "m.jsonl") == manifest
    assert json.loads((tmp_path / "m.jsonl").read_text().splitlines()[1])["sample_rate"] == RATE
    (tmp_path / "m.jsonl").write_text("nonsense")
    with pytest.raises(DataError, match="not a manifest"):
        Manifest.load(tmp_path / "m.jsonl")


def test_low_band_rule() -> None:
    rng = np.random.default_rng(0)
    wide = 0.1 * rng.standard_normal(48000)
    spectrum = np.fft.rfft(wide)
    spectrum[np.fft.rfftfreq(48000, 1 / 24000) > 7000] = 0
    narrow = np.fft.irfft(spectrum)
    rules = Rules(min_high_band_db=-48.0)
    assert rules.refuse(wide, 24000) is None
    assert rules.refuse(narrow, 24000) == "low band"


def test_kit_splits_never_train_on_test_only_readers(tmp_path: Path, recording: np.ndarray) -> None:
    rows = ["path,source,speaker,licence,author,split,kind"]
    for number, (source, speaker, split) in enumerate(
        [
            ("ljspeech", "lj", "dev"),
            ("libritts", "r1", "dev"),
            ("vctk", "p225", "test"),
            ("deb-tuxpaint", "fr", "dev"),
            ("deb-tuxpaint", "ru", "test"),
        ]
    ):
        put(tmp_path / f"{number}.wav", recording, number)
        rows.append(f"{number}.wav,{source},{speaker},CC0,someone,{split},speech")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    corpus = open_corpus("kit", tmp_path, sample_rate=RATE, cache=tmp_path / "cache")
    assert {track.group: track.split for track in corpus.tracks} == {
        "ljspeech/lj": "train",
        "libritts/r1": "val",
        "vctk/p225": "test",
        "deb-tuxpaint/ru": "test",
    }


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_copy_that_fails_leaves_nothing(
    tmp_path: Path, recording: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    for number, (path, _) in enumerate(LAYOUTS["folder"]):
        put(tmp_path / "mine" / path, recording, number)
    monkeypatch.setattr(corpora, "_check", _fails(corpora._check, error))
    cache = tmp_path / "cache"
    wanted = AudioError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted) as said:
        open_corpus("folder", tmp_path / "mine", sample_rate=RATE, cache=cache)
    if wanted is AudioError:
        assert "No space left on device in" in str(said.value) and "are free" in str(said.value)
    assert [p.suffix for p in cache.iterdir()] == [".lock"]
    monkeypatch.undo()
    assert open_corpus("folder", tmp_path / "mine", sample_rate=RATE, cache=cache).tracks


def _fails(real: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """The second call fails, after something was written."""
    calls: list[None] = []

    def check(*args: Any) -> Any:
        calls.append(None)
        if len(calls) > 1:
            raise error
        return real(*args)

    return check


def test_what_a_killed_process_left_in_a_cache_goes_with_the_next(
    tmp_path: Path, recording: np.ndarray
) -> None:
    for number, (path, _) in enumerate(LAYOUTS["folder"]):
        put(tmp_path / "mine" / path, recording, number)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from retone.training.data import corpora\n"
        "corpora._header = lambda file, n: n and os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder = Path(sys.argv[1])\n"
        f"corpora.open_corpus('folder', folder / 'mine', sample_rate={RATE},"
        " cache=folder / 'cache')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    cache = tmp_path / "cache"
    assert len(list(cache.iterdir())) == 2
    corpus = open_corpus("folder", tmp_path / "mine", sample_rate=RATE, cache=cache)
    left = {p.name for p in cache.iterdir()} - {corpus.tracks[0].path.parent.name}
    assert [Path(name).suffix for name in left] == [".lock"]


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/secret.wav", "a/../../secret.wav"])
@pytest.mark.parametrize("name", ["folder", "kit", "debian-speech"])
def test_a_list_names_nothing_outside_its_folder(
    tmp_path: Path, recording: np.ndarray, name: str, path: str
) -> None:
    put(tmp_path / "secret.wav", recording)
    mine = tmp_path / "mine"
    put(mine / "a.wav", recording)
    if name == "debian-speech":
        entry = Entry(path, "x", "x/y", "speech", 2.0, RATE, "", "", "0", "train")
        Manifest("x", (entry,)).save(mine / "manifest.jsonl")
    else:
        columns = {
            "file": path, "path": path, "speaker": "x", "split": "test", "source": "x",
            "kind": "speech", "licence": "", "author": "",
        }  # fmt: skip
        text = ",".join(columns) + "\n" + ",".join(columns.values()) + "\n"
        (mine / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match="is not inside it"):
        open_corpus(name, mine, sample_rate=RATE, cache=tmp_path / "cache")

"""A folder with a manifest: speakers, splits, licences and where the content ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from retone.errors import DataError
from retone.training.data.corpora import corpus_manifest, open_corpus

RATE = 16000
HEAD = "file,corpus,speaker,rolloff60_hz,hf8k_db,split,licence,source\n"


def put(folder: Path, table: str) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a0.wav", "a1.wav", "b0.wav", "c0.wav"):
        soundfile.write(folder / name, 0.1 * rng.standard_normal(RATE), RATE)
    (folder / "manifest.csv").write_text(table)
    return folder


def test_rows_say_who_speaks_and_where_the_content_ends(tmp_path: Path) -> None:
    table = HEAD + (
        "a0.wav,set,ann,7000,-120,train,CC0,here\n"
        "a1.wav,set,ann,5000,-120,train,CC0,here\n"
        "b0.wav,set,bob,9500,-60,dev,MIT,there\n"
    )
    folder = put(tmp_path / "mine", table)
    corpus = open_corpus("folder", folder, sample_rate=24000, cache=tmp_path / "cache")
    tracks = {t.group: t for t in corpus.tracks}
    assert {g: t.split for g, t in tracks.items()} == {"set/ann": "train", "set/bob": "val"}
    assert tracks["set/ann"].bandwidth_hz == 5000  # of the narrowest of its files
    assert tracks["set/bob"].bandwidth_hz == 8000  # what is above that is noise
    assert tracks["set/ann"].kind == "speech"
    licences = {e.path: e.licence for e in corpus_manifest(corpus).entries}
    assert licences == {"a0.wav": "CC0", "a1.wav": "CC0", "b0.wav": "MIT"}


def test_without_a_bandwidth_the_sample_rate_bounds_it(tmp_path: Path) -> None:
    folder = put(tmp_path / "mine", "file,track\na0.wav,one\nb0.wav,two\nc0.wav,three\n")
    corpus = open_corpus("folder", folder, sample_rate=24000, cache=tmp_path / "cache")
    assert {t.bandwidth_hz for t in corpus.tracks} == {RATE / 2}
    assert {t.kind for t in corpus.tracks} == {"music"}
    assert {t.split for t in corpus.tracks} == {"train", "val", "test"}


def test_a_manifest_without_speakers_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "mine", "file,who\na0.wav,ann\n")
    with pytest.raises(DataError, match="columns file and speaker"):
        open_corpus("folder", folder, sample_rate=24000, cache=tmp_path / "cache")

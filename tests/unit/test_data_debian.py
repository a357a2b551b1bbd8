"""Debian corpora: voices named, prompts trimmed and joined, copies found, licences read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retone.errors import DataError
from retone.training.data.corpora import open_corpus
from retone.training.debian import builder as debian
from retone.training.debian import prompts as debian_prompts
from retone.training.debian.copyright import licence_of
from retone.training.debian.lists import SPEECH_TEST_VOICES

RATE = 44100


@pytest.mark.parametrize(
    ("package", "path", "voice"),
    [
        ("tuxpaint-stamps-default", "x/cat_desc_fr.ogg", "fr"),
        ("tuxpaint-stamps-default", "x/cat_desc.ogg", "en"),
        ("tuxpaint-stamps-default", "x/cat_desc_da.ogg.ogg", "da"),
        ("tuxpaint-stamps-default", "x/cat.ogg", None),
        ("ktuberling-data", "x/sounds/sr@latin/nose.wav", "sr"),
        ("klettres-data", "x/klettres/pt_BR/alpha/a.ogg", "pt-BR"),
        ("fillets-ng-data-cs", "x/sound/keys/cs/kl-m-proc.ogg", "cs-m"),
        ("fillets-ng-data-cs", "x/sound/keys/cs/zelena-v.ogg", "cs-v"),
        ("fillets-ng-data-cs", "x/sound/keys/cs/kl-x-boom.ogg", None),
        ("fillets-ng-data-cs", "x/sound/keys/en/kl-m-proc.ogg", None),
        ("hedgewars-data", "x/Sounds/voices/Pirate/Amazing.ogg", "Pirate"),
        ("hedgewars-data", "x/Sounds/voices/Robot/Amazing.ogg", None),
        ("hedgewars-data", "x/Sounds/explosion.ogg", None),
    ],
)
def test_voice_names(package: str, path: str, voice: str | None) -> None:
    assert debian_prompts.voice_of(package, Path(path)) == voice


def test_trim_leaves_the_speech_and_a_little_room() -> None:
    audio = np.zeros(3 * RATE, np.float32)
    audio[RATE : 2 * RATE] = 0.3 * np.sin(np.arange(RATE) * 0.05)
    audio += 1e-5
    trimmed = debian_prompts.trim(audio, RATE, edge_seconds=0.2)
    assert trimmed.size == pytest.approx(1.4 * RATE, abs=0.03 * RATE)
    assert debian_prompts.trim(np.zeros(RATE, np.float32), RATE).size == 0


def test_joints_do_not_click() -> None:
    prompts = [np.full(RATE, level, np.float32) for level in (0.5, -0.5)]
    joined = debian_prompts.join_prompts(prompts, RATE)
    assert joined.size == 2 * RATE
    assert np.abs(np.diff(joined)).max() < 0.01
    assert prompts[0][0] == np.float32(0.5)


def test_copies_are_found_whatever_their_level() -> None:
    rng = np.random.default_rng(2)
    level = np.repeat(rng.uniform(-40, -6, 40), RATE // 2)
    music = (10 ** (level / 20) * rng.standard_normal(level.size)).astype(np.float32)
    coded = 0.7 * music + 0.0005 * rng.standard_normal(music.size)
    mine = debian.fingerprints(music, RATE, 20.0)
    assert mine & debian.fingerprints(coded, RATE, 20.0)
    assert not mine & debian.fingerprints(music[::-1], RATE, 20.0)
    assert not mine & debian.fingerprints(music, RATE, 50.0)


def test_licence_is_the_last_that_fits(tmp_path: Path) -> None:
    place = tmp_path / "usr/share/doc/game"
    place.mkdir(parents=True)
    (place / "copyright").write_text(
        "Format: 1.0\n\nFiles: *\nCopyright: 2001, Ann\nLicense: GPL-2+\n\n"
        "Files: data/music/*\nCopyright: 2004, Bob\n 2005, Cy\nLicense: CC-BY-3.0\n\n"
        "Files: data/music/theme.ogg\nCopyright: 2006, Di\nLicense: CC0\n\n"
        "License: GPL-2+\n words\n"
    )
    assert licence_of(tmp_path, "game", "usr/share/game/x.ogg") == ("2001, Ann", "GPL-2+")
    got = licence_of(tmp_path, "game", "usr/share/game/music/a.ogg")
    assert got == ("2004, Bob 2005, Cy", "CC-BY-3.0")
    assert licence_of(tmp_path, "game", "usr/share/music/theme.ogg") == ("2006, Di", "CC0")


def test_unknown_corpus(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="debian-speech"):
        debian.build("debian-films", tmp_path, print)


needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None or shutil.which("apt-get") is None,
    reason="dpkg and apt-get are not here",
)


def package(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """A real, tiny package of the given name in ``folder``."""
    tree = folder / f"tree-{name}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.x>\nDescription: x\n"
    )
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    command = ["dpkg-deb", "-Znone", "-b", str(tree), str(folder / f"{name}_1_all.deb")]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tree)


def prompt(folder: Path, seed: int, seconds: float, suffix: str = ".flac") -> bytes:
    rng = np.random.default_rng(seed)
    path = folder / f"prompt{suffix}"
    level = np.repeat(rng.uniform(0.02, 0.2, 100), int(seconds * RATE) // 100)
    soundfile.write(path, level * rng.standard_normal(level.size), RATE)
    return path.read_bytes()


@needs_dpkg
def test_build_lays_out_real_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "speech" / "packages"
    cache.mkdir(parents=True)
    words = {
        f"usr/share/ktuberling/sounds/{tag}/{n}.flac": prompt(tmp_path, 10 * k + n, 1.5)
        for k, tag in enumerate(("el", "de", "fr"))
        for n in range(10)
    }
    words["usr/share/ktuberling/sounds/de/copy.flac"] = prompt(tmp_path, 10, 1.5)
    package(cache, "ktuberling-data", words)
    monkeypatch.setattr(debian, "SPEECH_PACKAGES", ("ktuberling-data",))
    manifest = debian.build("debian-speech", tmp_path / "speech", lambda text: None)
    assert ("ktuberling-data", "el") in SPEECH_TEST_VOICES
    splits = {entry.group: entry.split for entry in manifest.entries}
    assert splits["ktuberling-data/el"] == "test" and len(splits) == 3
    assert [Path(p).name for p in manifest.skipped["duplicate"]] == ["copy.flac"]
    assert all(entry.seconds >= 12 for entry in manifest.entries)
    assert "ktuberling-data" in (tmp_path / "speech" / "credits.md").read_text()
    corpus = open_corpus(
        "debian-speech", tmp_path / "speech", sample_rate=24000, cache=tmp_path / "cache"
    )
    assert {track.group: track.split for track in corpus.tracks} == splits

    cache = tmp_path / "music" / "packages"
    cache.mkdir(parents=True)
    bundle = tmp_path / "data.pk3"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("music/a.flac", prompt(tmp_path, 90, 31.0))
        archive.writestr("sound/shot.flac", prompt(tmp_path, 91, 1.0))
    files = {"usr/share/nexuiz/data.pk3": bundle.read_bytes()}
    package(cache, "nexuiz-music", files)
    monkeypatch.setattr(debian, "MUSIC_PACKAGES", ())
    monkeypatch.setattr(debian, "MUSIC_TEST_PACKAGES", ("nexuiz-music",))
    tracks = debian.build("debian-music", tmp_path / "music", lambda text: None).entries
    assert [(t.group, t.split, t.kind) for t in tracks] == [
        ("nexuiz-music/music/a", "test", "music")
    ]


@needs_dpkg
def test_actors_keep_the_rate_of_their_recordings(tmp_path: Path) -> None:
    cache = tmp_path / "packages"
    cache.mkdir()
    lines = {
        f"usr/share/fillets/sound/a/{tag}/x-{part}-{n}.flac": prompt(tmp_path, 50 * k + n, 1.5)
        for k, (tag, part) in enumerate((("cs", "m"), ("cs", "v"), ("cs", "x")))
        for n in range(10)
    }
    for name, files in (("fillets-ng-data-cs", lines), ("fillets-ng-data-nl", {}),
                        ("hedgewars-data", {})):  # fmt: skip
        package(cache, name, files)
    manifest = debian.build("debian-voices", tmp_path, lambda text: None)
    assert {e.group for e in manifest.entries} == {
        "fillets-ng-data-cs/cs-m",
        "fillets-ng-data-cs/cs-v",
    }
    assert {e.sample_rate for e in manifest.entries} == {22050}


SHORT = {"usr/share/x/a.txt": b"words"}
APT = """#!/usr/bin/env python3
import os, shutil, signal, sys
if "{how}" == "refuses":
    sys.exit("E: Unable to locate package")
data = open("{whole}", "rb").read()
with open(os.path.basename("{whole}"), "wb") as file:
    file.write(data[: len(data) // 2])
    file.flush()
    if "{how}" == "killed":
        os.kill(os.getppid(), signal.SIGKILL)
    if "{how}" == "whole":
        file.write(data[len(data) // 2 :])
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A stand-in for ``apt-get download``: it makes a whole package, half of one, or none."""
    (tmp_path / "store").mkdir()
    (tmp_path / "bin").mkdir()
    package(tmp_path / "store", "words", SHORT)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def set_to(how: str) -> None:
        program = tmp_path / "bin" / "apt-get"
        text = APT.replace("{whole}", str(tmp_path / "store" / "words_1_all.deb"))
        program.write_text(text.replace("{how}", how))
        program.chmod(0o755)

    return set_to


@needs_dpkg
@pytest.mark.parametrize("left", [None, 0, 100, -1])
def test_a_torn_package_is_fetched_again(
    tmp_path: Path, apt: Callable[[str], None], left: int | None
) -> None:
    """Whatever a cut download left under the package's name, or nothing."""
    apt("whole")
    cache = tmp_path / "cache"
    cache.mkdir()
    if left is not None:
        whole = (tmp_path / "store" / "words_1_all.deb").read_bytes()
        (cache / "words_1_all.deb").write_bytes(whole[:left])
    tree = debian.unpack("words", cache)
    assert (tree / "usr/share/x/a.txt").read_bytes() == b"words"
    assert sorted(p.name for p in cache.iterdir()) == ["unpacked", "words_1_all.deb"]


@needs_dpkg
@pytest.mark.parametrize("how", ["half", "refuses"])
def test_a_package_that_cannot_be_had_is_said_and_leaves_nothing(
    tmp_path: Path, apt: Callable[[str], None], how: str
) -> None:
    apt(how)
    cache = tmp_path / "cache"
    for _ in range(2):  # a second run is not kept from trying
        with pytest.raises(DataError, match="words: "):
            debian.unpack("words", cache)
        assert not [p for p in cache.iterdir() if p.name != "unpacked"]
    apt("whole")
    assert debian.unpack("words", cache).is_dir()


@needs_dpkg
def test_a_build_that_is_killed_while_it_fetches_goes_on(
    tmp_path: Path, apt: Callable[[str], None]
) -> None:
    apt("killed")
    cache = tmp_path / "cache"
    code = "import sys; from pathlib import Path; from retone.training.debian import builder\n"
    code += "builder.unpack('words', Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(cache)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list(cache.glob("*.deb"))
    apt("whole")
    assert debian.unpack("words", cache).is_dir()
    assert sorted(p.name for p in cache.iterdir()) == ["unpacked", "words_1_all.deb"]

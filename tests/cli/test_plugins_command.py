"""``retone plugins``, and exports that are folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_cases import settings_of

from retone.cli.main import main
from retone.exports.clap_host import ClapPlugin


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; what is compiled stays where it is."""
    from retone.core import plugin_library

    plugin_library()
    for name in ("HOME", "USERPROFILE", "XDG_DATA_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(plugin_library().parents[3]))
    return tmp_path


def test_install_and_list(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list"]) == 0
    assert capsys.readouterr().out.count("not installed") == 2
    for _ in range(2):  # again over the old ones
        assert main(["plugins", "install"]) == 0
    out = capsys.readouterr().out
    assert all((home / word).exists() for word in (".lv2/retone.lv2/manifest.ttl", ".clap"))
    assert str(home / "retone" / "plugin-presets") in out
    assert main(["plugins", "list"]) == 0
    out = capsys.readouterr().out
    assert "not installed" not in out and "28 parameters" in out and "67 parameters" in out


def test_install_elsewhere(home: Path) -> None:
    words = ["--lv2", str(home / "a"), "--clap", str(home / "b")]
    assert main(["plugins", "install", *words]) == 0
    with ClapPlugin(home / "b" / "retone.clap", "retone-match") as plugin:
        assert plugin.descriptor.name == b"retone match"
    assert (home / "a" / "retone.lv2" / "retone.so").exists()
    (home / "file").write_text("")
    assert main(["plugins", "install", "--lv2", str(home / "file" / "under")]) == 2


@pytest.mark.parametrize("target", ["lv2", "clap"])
def test_export_is_not_overwritten(
    target: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "voice.json"
    settings_of("retone-enhance", 0).write(path)
    words = ["export", str(path), "--to", target]
    assert main(words) == 0
    made = home / {"lv2": "voice.lv2", "clap": "voice.retone-preset"}[target]
    assert made.is_dir() == (target == "lv2") and str(made) in capsys.readouterr().out
    assert main(words) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    assert main([*words, "-o", str(home / "none" / "x")]) == 2

"""A result says which command and which source made it, and names no folder."""

from __future__ import annotations

import os

from retone.training.provenance import command, provenance


def test_a_result_says_what_made_it() -> None:
    found = provenance()
    for key in ("retone", "command", "commit", "machine", "processor", "cores", "date"):
        assert key in found and found[key] != ""
    assert found["commit"] is None or len(found["commit"]) in (12, 13)


def test_a_command_keeps_names_and_drops_folders() -> None:
    words = ["/data/me/src/retone/lab/__main__.py", "evaluate", "synthetic", "--corpus",
             "kit=/data/me/data/kit", "-o", "out/x.json", "--set",
             "optimizer.cosine=true"]  # fmt: skip
    assert command(words) == (
        "python -m retone.lab evaluate synthetic --corpus kit=kit -o x.json "
        "--set optimizer.cosine=true"
    )
    assert command(["/usr/bin/retone", "train"]) == "retone train"
    for word in ("/a/b", "kit=/a/b", "NP (S)=/a/b", "kit/vctk=/a/b"):
        assert os.sep + "a" not in command(["retone", word])


def test_nothing_private_is_in_it() -> None:
    text = str(provenance())
    assert os.path.expanduser("~") not in text  # noqa: PTH111 - as text
    assert os.uname().nodename not in text.split("'")

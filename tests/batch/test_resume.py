"""Done is done by content and options; a job that was killed goes on to the same tree."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retone.batch.job import Job
from retone.batch.ledger import Ledger
from retone.errors import AudioError

from .conftest import tree


def run(job: Job) -> list[str]:
    return [outcome.status for outcome in job.run(in_order=True)]


@pytest.fixture
def three(clip, tmp_path: Path) -> Path:
    for i, name in enumerate(("in/a.wav", "in/b.flac", "in/s/c.wav")):
        clip(name, seed=i)
    time.sleep(0.06)  # so old that a further change would show
    return tmp_path / "in"


def test_a_second_run_does_nothing_and_changes_nothing(job, three: Path, tmp_path: Path) -> None:
    assert run(job(three)) == ["done"] * 3
    before = tree(tmp_path / "out")
    assert run(job(three)) == ["same"] * 3
    assert tree(tmp_path / "out") == before
    names = {"a.wav", "b.flac", "s/c.wav"}
    assert set(before) == {n + e for n in names for e in ("", ".json", ".html")} | {
        ".retone/ledger.jsonl", ".retone/lock"
    }  # fmt: skip


def test_only_content_counts_for_inputs(job, three: Path, clip, tmp_path: Path) -> None:
    """A new time stamp or a copy is the same recording; other samples of the same size are not."""
    run(job(three))
    os.utime(three / "a.wav")
    status = (three / "s" / "c.wav").stat()
    clip("in/s/c.wav", seed=9)
    os.utime(three / "s" / "c.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    time.sleep(0.06)
    assert run(job(three)) == ["same", "same", "done"]
    shutil.copytree(three, tmp_path / "copy")
    assert run(job(tmp_path / "copy")) == ["same"] * 3


def test_options_and_settings_count(job, three: Path, settings: Path, tmp_path: Path) -> None:
    run(job(three))
    assert run(job(three, options={"amount": 0.5})) == ["done"] * 3
    assert run(job(three, options={"amount": 0.5})) == ["same"] * 3
    renamed = settings.with_name("other name.json")
    shutil.copy(settings, renamed)
    time.sleep(0.06)
    again = job(three, options={"amount": 0.5, "settings": str(renamed)})
    assert run(again) == ["same"] * 3
    changed = json.loads(settings.read_text())
    changed["setting"]["peak_1_gain_db"]["value"] = 3.0
    renamed.write_text(json.dumps(changed))
    time.sleep(0.06)
    assert run(job(three, options={"amount": 0.5, "settings": str(renamed)})) == ["done"] * 3


def test_an_output_that_is_gone_is_made_again(job, three: Path, tmp_path: Path) -> None:
    run(job(three))
    before = tree(tmp_path / "out")
    (tmp_path / "out" / "a.wav").unlink()
    (tmp_path / "out" / "s" / "c.wav.json").unlink()
    assert run(job(three)) == ["done", "same", "done"]
    assert tree(tmp_path / "out") == before


def test_files_of_others_are_left_alone(job, three: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.wav").write_bytes(b"mine")
    assert run(job(three)) == ["failed", "done", "done"]
    assert (tmp_path / "out" / "a.wav").read_bytes() == b"mine"
    with (tmp_path / "out" / "b.flac").open("ab") as file:
        file.write(b"edited")
    edited = (tmp_path / "out" / "b.flac").read_bytes()
    assert run(job(three, options={"amount": 0.5})) == ["failed", "failed", "done"]
    assert (tmp_path / "out" / "b.flac").read_bytes() == edited
    assert run(job(three, options={"amount": 0.5}, force=True)) == ["done", "done", "same"]


def test_a_ledger_cut_anywhere_loses_rows_and_no_truth(job, three: Path, tmp_path: Path) -> None:
    run(job(three))
    out = tmp_path / "out"
    before, ledger = tree(out), out / ".retone" / "ledger.jsonl"
    whole = ledger.read_bytes()
    begun = b'{"begin":["a.wav","b.flac","s/c.wav"]}\n'
    for cut in random.Random(0).sample(range(len(whole)), 6):
        ledger.write_bytes(begun + whole[:cut])
        assert set(run(job(three))) <= {"same", "done"}
        assert tree(out) == before, cut


def test_one_job_at_a_time(job, three: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Ledger(str(tmp_path / "out")), pytest.raises(AudioError, match="another job"):
        run(job(three))


KILLED = """
import sys
from retone.batch.job import Job, local_engine
from retone.batch.plan import plan_of
from retone.batch.rows import Recipe
if __name__ == "__main__":
    source, folder, settings = sys.argv[1:]
    recipe = Recipe("apply", {"settings": settings})
    job = Job(plan_of([source], folder, verb="apply"), recipe, folder, local_engine(1))
    print("ready", flush=True)
    for outcome in job.run():
        print(outcome.output, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes by POSIX signals")
def test_killed_at_any_moment_it_goes_on_to_the_same_tree(
    job, clip, settings: Path, tmp_path: Path
) -> None:
    for i in range(20):
        clip(f"in/{'s/' if i % 3 else ''}{i}.wav", seed=i)
    time.sleep(0.06)
    run(job(tmp_path / "in", "whole"))
    wanted = tree(tmp_path / "whole")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    out = tmp_path / "out"
    chance = random.Random(1)
    words = [sys.executable, str(script), str(tmp_path / "in"), str(out), str(settings)]
    for _ in range(3):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(1 + chance.randint(1, 5)):
            process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for name, content in tree(out).items():
            if not name.startswith(".retone") and not name.endswith(".part"):
                assert wanted[name] == content, f"{name} is half written"
    again = job(tmp_path / "in")
    assert set(run(again)) == {"same", "done"}
    assert tree(out) == wanted
    assert again.totals.done + again.totals.same == 20

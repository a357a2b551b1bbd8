"""Jobs: queued, progressing, cancelled with their page, gone with their server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studio_client import Page, Server, running, wait_for

from retone.effects import SOUND_CHAIN
from retone.estimators.matching import EQ_KINDS, Matching
from retone.studio.scratch import PREFIX, ScratchFolder, remove_orphans
from studio.conftest import Quick


def test_match_then_save(
    page: Page, voice: bytes, other: bytes, estimator: Callable[[Any], Any]
) -> None:
    estimator(Quick())
    page.upload(voice, "my voice.wav")
    assert page.post("job", {}, "match").json  # accepted, and then refused for want of a reference
    first = page.end_of(1)
    assert first["state"] == "failed" and "reference recording" in first["message"]
    page.upload(other, "podcast.wav", "reference")
    done = page.end_of(page.post("job", {"locks": {"compressor.ratio": 2.0}}, "match").json["job"])
    assert done["state"] == "done", done
    found = done["result"]
    assert found["setting"]["equalizer.peak_3_gain_db"] == 6.0
    assert found["setting"]["compressor.ratio"] == 2.0
    state = {"effect": found["effect"], "setting": found["setting"], "ceiling_dbtp": -1.0}
    saved = page.end_of(page.post("job", state, "save").json["job"])
    assert saved["state"] == "done", saved
    names = saved["result"]["names"]
    assert names["audio"] == "my voice.retone.wav"
    audio = page.get("download", saved["result"]["downloads"]["audio"])
    assert audio.status == 200 and audio.body[:4] == b"RIFF"
    assert "attachment" in audio.headers["content-disposition"]
    settings = page.get("download", saved["result"]["downloads"]["settings"]).body.decode()
    assert '"my voice.wav"' in settings and '"podcast.wav"' in settings and "file-" not in settings
    report = page.get("download", saved["result"]["downloads"]["report"]).body.decode()
    assert "my voice.wav" in report and "file-" not in report


CHOICES = (*({"eq": eq} for eq in EQ_KINDS), {"dynamics": "multiband", "stereo": "mid-side"})


@pytest.mark.parametrize("kinds", CHOICES, ids=str)
def test_a_match_has_the_strength_and_choices_of_its_request(
    page: Page, voice: bytes, other: bytes, kinds: dict[str, Any]
) -> None:
    """The answer says them, settings files bring them back, and locks hold."""
    assert page.upload(voice).json["manual"]["strength"] is None
    page.upload(other, "podcast.wav", "reference")
    effect = Matching(**kinds).effect
    body = {"strength": 0.35, **kinds, "locks": {"compressor.ratio": 2.0, "gone.ratio": 1.0}}
    done = page.end_of(page.post("job", body, "match").json["job"])
    assert done["state"] == "done", done
    found = done["result"]
    assert found["strength"] == 0.35 and found.items() >= kinds.items()
    assert list(found["setting"]) == list(effect.params.names)
    assert found["setting"]["compressor.ratio"] == 2.0
    state = {"effect": found["effect"], "setting": found["setting"], "amount": 0.5}
    assert page.post("describe", state).status == 200
    text = page.post("export", state, "settings").json["text"]
    back = page.post("settings", text.encode()).json
    assert (back["strength"], back["setting"]) == (0.35, found["setting"])
    assert back.items() >= kinds.items()


@pytest.mark.parametrize("part", ["eq", "dynamics"])
def test_a_part_of_a_match_leaves_the_other_alone(
    page: Page, voice: bytes, other: bytes, part: str
) -> None:
    page.upload(voice)
    page.upload(other, "podcast.wav", "reference")
    found = page.end_of(page.post("job", {"part": part}, "match").json["job"])["result"]
    kept = "compressor." if part == "eq" else "equalizer."
    flat = SOUND_CHAIN.params.neutral(1)
    audible = {n for n in flat if n.startswith(kept) and n.endswith(("gain_db", "ratio"))}
    assert audible and all(found["setting"][n] == float(flat[n][0]) for n in audible)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"strength": 1.5}, "strength must be a number from 0 to 1"),
        ({"strength": True}, "strength must be a number"),
        ({"strength": "all"}, "strength must be a number"),
        ({"eq": "parametric"}, "expected one of bands, curve"),
        ({"dynamics": "none"}, "expected one of broadband, multiband"),
        ({"stereo": "wide"}, "expected one of linked, mid-side"),
        ({"estimator": "nobody"}, "No estimator has that name"),
    ],
)
def test_a_wrong_strength_or_method_is_named(
    page: Page, voice: bytes, body: dict[str, Any], words: str
) -> None:
    page.upload(voice)
    page.upload(voice, "r.wav", "reference")
    end = page.end_of(page.post("job", body, "match").json["job"])
    assert end["state"] == "failed" and words in end["message"]


def test_twenty_at_once(place: Path, voice: bytes, estimator: Callable[[Any], Any]) -> None:
    estimator(Quick(steps=2, wait_s=0.005))
    with running(place, grace_s=30.0, workers=2) as server:
        pages = [Page(server) for _ in range(20)]
        ends: list[dict[str, Any]] = []
        refused: list[str] = []

        def use(page: Page) -> None:
            for name, role in (("voice.wav", "input"), ("ref.wav", "reference")):
                answers = [page.upload(voice, name, role)]
                if answers[0].status != 200:  # a crowd may cost a try, never a file
                    refused.append(f"{role}: {answers[0].status} {answers[0].body!r}")
                    answers.append(page.upload(voice, name, role))
                assert answers[-1].status == 200, refused
            ends.append(page.end_of(page.post("job", {}, "match").json["job"]))

        threads = [threading.Thread(target=use, args=(p,)) for p in pages]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert [e["message"] for e in ends if e["state"] != "done"] == [] and len(ends) == 20, (
            refused
        )
        assert len(server.files()) == 20 * 4  # both recordings and their previews, nothing else
        assert server.studio.state.queue.open_jobs == 0


def test_too_many_jobs_are_refused(
    place: Path, voice: bytes, estimator: Callable[[Any], Any]
) -> None:
    estimator(Quick(steps=10_000, wait_s=0.01))
    with running(place, jobs=2, queued=3) as server:
        pages = [Page(server), Page(server)]
        for page in pages:
            page.upload(voice)
            page.upload(voice, "r.wav", "reference")
        assert [pages[0].post("job", {}, "match").status for _ in range(3)] == [200, 200, 429]
        assert [pages[1].post("job", {}, "match").status for _ in range(2)] == [200, 503]


def test_cancel_stops_a_running_and_a_waiting_job(
    page: Page, voice: bytes, estimator: Callable[[Any], Any]
) -> None:
    slow = estimator(Quick(steps=10_000, wait_s=0.01))
    page.upload(voice)
    page.upload(voice, "r.wav", "reference")
    jobs = [page.post("job", {}, "match").json["job"] for _ in range(2)]
    wait_for(lambda: slow.heard)
    wait_for(lambda: any(e.get("done") for e in page.events))
    for job in reversed(jobs):
        assert page.post("cancel", {}, job).json["cancelled"] == 1
    assert [page.end_of(j)["state"] for j in jobs] == ["cancelled", "cancelled"]
    assert len(page.server.files()) == 4


@pytest.mark.parametrize("how", ["killed", "left"])
def test_a_page_that_is_gone_takes_its_job_and_files_along(
    server: Server, voice: bytes, estimator: Callable[[Any], Any], how: str
) -> None:
    slow = estimator(Quick(steps=10_000, wait_s=0.01))
    page, staying = Page(server), Page(server)
    staying.upload(voice)
    page.upload(voice)
    page.upload(voice, "r.wav", "reference")
    page.post("job", {}, "match")
    wait_for(lambda: slow.heard)
    if how == "killed":
        page.vanish()
    else:
        page.post("leave")
    wait_for(lambda: server.studio.state.queue.open_jobs == 0)
    wait_for(lambda: len(server.files()) == 2)  # those of the page that stays
    assert staying.get("sound", "input").status == 200
    assert page.get("sound", "input").status == 410


def test_a_server_that_ends_leaves_nothing(
    place: Path, voice: bytes, estimator: Callable[[Any], Any]
) -> None:
    slow = estimator(Quick(steps=10_000, wait_s=0.01))
    with running(place) as server:
        page = Page(server)
        page.upload(voice)
        page.upload(voice, "r.wav", "reference")
        page.post("job", {}, "match")
        wait_for(lambda: slow.heard)
    assert list(place.iterdir()) == []


def test_a_killed_servers_files_go_at_the_next_start(place: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from retone.studio.scratch import ScratchFolder\n"
        "p = ScratchFolder(Path(sys.argv[1])); (p.folder / 'file-x.wav').write_bytes(b'x')\n"
        "print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"up\n"
    living = ScratchFolder(place)
    assert len(list(place.glob(PREFIX + "*"))) == 2  # a living server's folder is left alone
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert remove_orphans(place) == 1
    assert list(place.glob(PREFIX + "*")) == [living.folder]
    living.close()
    assert list(place.iterdir()) == []


def test_a_fault_is_one_sentence(page: Page, voice: bytes, estimator: Callable[[Any], Any]) -> None:
    class Broken:
        name = "broken"

        def estimate(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("in /secret/path")

    estimator(Broken())
    page.upload(voice)
    page.upload(voice, "r.wav", "reference")
    end = page.end_of(page.post("job", {}, "match").json["job"])
    assert (
        end["state"] == "failed" and end["message"] == "Something went wrong (ZeroDivisionError)."
    )

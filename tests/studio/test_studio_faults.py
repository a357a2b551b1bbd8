"""Faults that people met in the studio: uploads, downloads, reloads, messages, words, widths."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studio_client import Page, Server, wait_for, wav

from chromium import browser_only, look, violations, with_axe
from studio.conftest import Quick

pytestmark = browser_only
MODEL = "async () => { const m = await import('/static/model.js'); return "


@pytest.fixture
def page(tab: Any) -> Any:
    return tab


def ready(page: Any, files: tuple[str, str]) -> None:
    """A recording and a reference are read, and the first render is there."""
    page.set_input_files("#file-input", files[0])
    page.set_input_files("#file-reference", files[1])
    page.locator("#list-reference li").wait_for()
    page.locator("#hear-after:enabled").wait_for()


def model(page: Any, what: str) -> Any:
    return page.evaluate(f"{MODEL} {what}; }}")


# --- uploads -----------------------------------------------------------------------------------


def test_a_newer_choice_wins_over_a_slower_upload(page: Any, files: tuple[str, str]) -> None:
    held: list[Any] = []

    def hold(route: Any) -> None:
        if "my%20voice" in route.request.url and not held:
            held.append(route)  # it never gets through while it is wanted
        else:
            route.continue_()

    page.route("**/api/upload/**", hold)
    page.set_input_files("#file-input", files[0])
    wait_for(lambda: page.wait_for_timeout(20) or held)
    page.set_input_files("#file-input", files[1])
    page.locator("#list-input b", has_text="podcast.wav").wait_for()
    page.wait_for_timeout(400)
    assert page.locator("#list-input b").inner_text() == "podcast.wav"
    assert model(page, "m.page.input.name") == "podcast.wav"
    assert page.locator("#work").is_hidden()


def test_the_server_keeps_the_newest_choice_whatever_arrives_last(
    server: Server, voice: bytes, other: bytes
) -> None:
    page = Page(server)

    def choose(name: str, turn: int, data: bytes) -> int:
        path = f"/api/upload/{page.key}/input?turn={turn}&name={name}"
        return server.ask("POST", path, data).status

    assert choose("newer.wav", 7, other) == 200
    assert choose("older.wav", 6, voice) == 409
    assert len(server.files()) == 2  # the newer one's; nothing is left of the older one
    resumed = page.post("resume").json
    assert resumed["input"]["name"] == "newer.wav"
    assert choose("newest.wav", 8, voice) == 200
    slow: list[int] = []

    def trickle() -> Iterator[bytes]:
        half = len(voice) // 2
        yield voice[:half]
        wait_for(lambda: page.post("resume").json["input"]["name"] == "last.wav")
        yield voice[half:]

    path = f"/api/upload/{page.key}/input?turn=9&name=slow.wav"
    thread = threading.Thread(
        target=lambda: slow.append(server.ask("POST", path, trickle()).status)
    )
    thread.start()
    time.sleep(0.3)
    assert choose("last.wav", 10, other) == 200
    thread.join(30)
    assert slow == [409]
    assert page.post("resume").json["input"]["name"] == "last.wav"


def test_a_folder_may_be_dropped(page: Any, files: tuple[str, str], voice: bytes) -> None:
    """Its recordings become references, in the order of their names; other files are left out."""
    import base64

    page.set_input_files("#file-input", files[0])
    page.evaluate(
        """(sound) => {
          const bytes = Uint8Array.from(atob(sound), (c) => c.charCodeAt(0));
          const file = (name) => ({ isFile: true, isDirectory: false, name, fullPath: `/d/${name}`,
            file: (ok) => ok(new File([bytes], name)) });
          const parts = [[file("b.wav"), file("notes.txt")], [file("a.flac.wav")], []];
          const folder = { isFile: false, isDirectory: true, name: "d", fullPath: "/d",
            createReader: () => ({ readEntries: (ok) => ok(parts.shift()) }) };
          const event = new Event("drop", { cancelable: true, bubbles: true });
          event.dataTransfer = { files: [], items: [{ webkitGetAsEntry: () => folder }] };
          document.getElementById("drop-reference").dispatchEvent(event);
        }""",
        base64.b64encode(voice).decode(),
    )
    page.locator("#list-reference li").nth(1).wait_for()
    names = page.locator("#list-reference b").all_inner_texts()
    assert names == ["a.flac.wav", "b.wav"]


# --- downloads ---------------------------------------------------------------------------------


def test_only_what_is_shown_can_be_downloaded(
    page: Any, files: tuple[str, str], estimator: Callable[[Any], Any]
) -> None:
    estimator(Quick(steps=60, wait_s=0.05))
    ready(page, files)
    saves = ("#save", "#save-report", "#save-settings", "#export")
    assert all(page.locator(s).is_disabled() for s in saves)  # nothing was changed yet
    page.locator("#go:enabled").click()
    page.locator("#work").wait_for()
    for _ in range(5):
        if page.locator("body[data-matched]").count():
            break
        assert all(page.locator(s).is_disabled() for s in saves)
        page.wait_for_timeout(100)
    page.locator("body[data-matched]").wait_for()
    page.locator("#save:enabled").wait_for()
    assert model(page, "m.page.shown === JSON.stringify(m.sent())")
    held: list[Any] = []
    page.route("**/api/render/**", lambda route: held.append(route))
    page.locator("#amount").fill("0.5")
    wait_for(lambda: page.wait_for_timeout(20) or held)
    assert all(page.locator(s).is_disabled() for s in saves)  # what is heard is another setting
    held[0].continue_()
    page.unroute("**/api/render/**")
    page.locator("#save:enabled").wait_for()


# --- reload ------------------------------------------------------------------------------------


def test_everything_survives_a_reload(
    page: Any, files: tuple[str, str], estimator: Callable[[Any], Any]
) -> None:
    estimator(Quick())
    ready(page, files)
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    page.locator("#amount").fill("0.5")
    page.locator("#amount").dispatch_event("change")
    gain = "m.state.setting['equalizer.peak_3_gain_db']"
    assert model(page, gain) == 6
    page.locator("#save:enabled").wait_for()
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    assert page.locator("#list-input b").inner_text() == "my voice.wav"
    assert page.locator("#list-reference b").inner_text() == "podcast.wav"
    assert model(page, gain) == 6 and model(page, "m.state.amount") == 0.5
    page.locator("#save:enabled").wait_for()
    page.click("#undo")
    assert model(page, "m.state.amount") == 1 and model(page, gain) == 6
    page.click("#undo")
    assert model(page, gain) == 0
    assert page.locator("#undo").is_disabled()
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    page.click("#redo")
    page.click("#redo")
    assert model(page, "m.state.amount") == 0.5 and model(page, gain) == 6
    with page.expect_download() as download:
        page.locator("#save:enabled").click()
    assert download.value.suggested_filename == "my voice.retone.wav"


def test_a_session_that_is_gone_begins_afresh(
    page: Any, files: tuple[str, str], served: Server
) -> None:
    ready(page, files)
    key = page.evaluate("sessionStorage.getItem('retone-key')")
    served.studio.state.sessions.end(served.studio.state.sessions.get(key))
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    assert page.locator("#welcome").is_visible()
    assert page.evaluate("sessionStorage.getItem('retone-key')") != key


# --- messages, words, widths --------------------------------------------------------------------


def test_messages_leave_with_the_next_action(
    page: Any, files: tuple[str, str], tmp_path: Path, estimator: Callable[[Any], Any]
) -> None:
    estimator(Quick())
    bad = tmp_path / "song.wav"
    bad.write_bytes(b"PK\x03\x04 no sound in here")
    for _ in range(2):
        page.set_input_files("#file-input", str(bad))
        page.locator("#messages p.error").wait_for()
        page.wait_for_timeout(200)
    assert page.locator("#messages p").count() == 1  # said once
    ready(page, files)
    assert page.locator("#messages p.error").count() == 0
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    with page.expect_download():
        page.locator("#save:enabled").click()
    page.locator("#messages p", has_text="is ready").wait_for()
    with page.expect_download():
        page.locator("#save-report:enabled").click()
    page.locator("#messages p", has_text="my voice.retone.html is ready").wait_for()
    assert page.locator("#messages p", has_text="my voice.retone.wav").count() == 0


def test_a_quieter_result_is_explained(page: Any, tmp_path: Path, make_audio: Any) -> None:
    for name, gain in (("loud", 0.5), ("soft", 0.05)):
        audio = gain * make_audio(32000, 16000, seed=3)[0].numpy()
        (tmp_path / f"{name}.wav").write_bytes(wav(audio, 16000))
    ready(page, (str(tmp_path / "loud.wav"), str(tmp_path / "soft.wav")))
    page.locator("#go:enabled").click()
    page.locator("#messages p", has_text="dB quieter, because").wait_for()


def test_engineers_terms_are_behind_a_switch(page: Any, files: tuple[str, str]) -> None:
    ready(page, files)
    expert = ("#params", "#curve-panel", "#gr-panel", "#more", "#export", "#save-settings")
    assert all(page.locator(s).is_visible() for s in expert)
    page.click("#simple")
    assert page.locator("#simple").get_attribute("aria-pressed") == "true"
    assert not any(page.locator(s).is_visible() for s in expert)
    words = page.locator("main").inner_text()
    for term in ("RMS", "crest", "LUFS, 3 s", "Threshold", "Knee"):
        assert term.lower() not in words.lower()
    assert all(
        page.locator(s).is_visible() for s in ("#amount", "#loudness", "#save", "#hear-after")
    )
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    assert page.locator("body").get_attribute("data-view") == "simple"
    page.click("#simple")


@pytest.mark.parametrize("width", [1366, 820, 420])
def test_nothing_runs_out_of_the_page(page: Any, files: tuple[str, str], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    ready(page, files)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, output, h1, h2, h3")]
              .filter((e) => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1)
              .map((e) => e.id || e.outerHTML.slice(0, 80))"""
        )
        assert outside == []
        page.click("#simple")


def test_narrow_pages_begin_simple(browser: Any, served: Server) -> None:
    context = browser.new_context(viewport={"width": 420, "height": 800})
    found = context.new_page()
    found.goto(served.url)
    found.locator("body[data-ready=true]").wait_for()
    assert found.locator("body").get_attribute("data-view") == "simple"
    context.close()


# --- blind test --------------------------------------------------------------------------------


def test_a_blind_test_counts_and_tells_the_chance(page: Any, files: tuple[str, str]) -> None:
    ready(page, files)
    page.locator("#amount").focus()
    page.click("#blind")
    assert page.locator("#blind-is-A").is_disabled()
    right = 0
    for count in range(1, 7):
        drawn: dict[str, Any] = {}
        for name in ("A", "B", "X"):
            page.click(f"#blind-{name}")
            drawn[name] = model(page, "m.player.heard")
            assert page.locator("body").get_attribute("data-heard") == "before"  # tells nothing
        assert {drawn["A"], drawn["B"]} == {"before", "after"} and drawn["X"] in drawn.values()
        answer = "A" if drawn["X"] == drawn["A"] else "B"
        if count == 3:  # one wrong answer
            answer = "B" if answer == "A" else "A"
        else:
            right += 1
        page.click(f"#blind-is-{answer}")
        said = page.locator("#blind-score").inner_text()
        assert said.startswith(f"{right} of {count} right")
    assert "0.11 (p)" in said and "could be guessing" in said  # 7 / 64
    chances = page.evaluate(
        "async () => { const { chance } = await import('/static/blind.js');"
        " return [chance(5, 5), chance(0, 4), chance(9, 10), chance(1, 1)]; }"
    )
    assert chances == pytest.approx([1 / 32, 1, 11 / 1024, 0.5])
    page.click("#blind-close")
    assert not model(page, "Boolean(m.player.blind)") and model(page, "m.player.heard") == "before"
    page.click("#play")


def test_a_preset_is_made_of_one_s_references(page: Any, files: tuple[str, str]) -> None:
    ready(page, files)
    page.click("#tab-preset")
    page.locator("#presets button").first.wait_for()
    page.locator("#own-preset summary").click()
    page.fill("#preset-name", "Not a name!")
    page.click("#preset-make")
    page.locator("#messages p.error", has_text="Not a name!").wait_for()
    page.fill("#preset-name", "my-show")
    with page.expect_download() as download:
        page.click("#preset-make")
    made = json.loads(Path(download.value.path()).read_text())
    assert (made["name"], made["credits"]) == ("my-show", ["podcast.wav"])
    first = page.locator("#presets button").first
    assert first.get_attribute("data-preset") == "my-show"
    assert first.get_attribute("aria-checked") == "true"
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    assert model(page, "m.page.style.name") == "my-show"


# --- accessibility -----------------------------------------------------------------------------


@with_axe
@look
def test_axe_finds_nothing(
    browser: Any, served: Server, files: tuple[str, str], width: int, scheme: str
) -> None:
    """At the start, and after a match with everything that it shows."""
    context = browser.new_context(
        viewport={"width": width, "height": 768}, bypass_csp=True, color_scheme=scheme
    )
    found = context.new_page()
    found.set_default_timeout(60_000)
    found.goto(served.url)
    found.locator("body[data-ready=true]").wait_for()
    wrong = violations(found)
    ready(found, files)
    found.locator("#go:enabled").click()
    found.locator("body[data-matched]").wait_for()
    found.locator("#save:enabled").wait_for()
    wrong += violations(found)
    context.close()
    assert wrong == []

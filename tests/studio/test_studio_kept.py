"""What people made is not lost, and page and server agree on it: reloads, cancels, refusals."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studio_browser import opened
from studio_client import Page, Server, wait_for

from chromium import browser_only
from retone.effects import Fir
from retone.process.settings_file import SettingsFile
from studio.conftest import RATE, Quick
from studio.test_studio_faults import model, ready

pytestmark = browser_only
GAIN = "m.state.setting['equalizer.peak_3_gain_db']"


def held_by(served: Server, page: Any) -> tuple[str | None, list[str]]:
    """Names of the recording and the references that the server has for a page."""
    key = page.evaluate("sessionStorage.getItem('retone-key')")
    session = served.studio.state.sessions.get(key)
    return session.input and session.input.name, [r.name for r in session.references]


def shown(page: Any) -> tuple[str | None, list[str]]:
    own = page.locator("#list-input b").all_inner_texts()
    return (own[0] if own else None), page.locator("#list-reference b").all_inner_texts()


def reload(page: Any) -> None:
    page.reload()
    page.locator("body[data-ready=true]").wait_for()


# --- page and server agree ---------------------------------------------------------------------


def test_a_reload_shows_what_the_server_has(
    tab: Any, served: Server, files: tuple[str, str]
) -> None:
    """References before a recording; then a recording without any kept settings."""
    tab.set_input_files("#file-reference", files[1])
    tab.locator("#list-reference li").wait_for()
    reload(tab)
    assert shown(tab) == held_by(served, tab) == (None, ["podcast.wav"])
    tab.set_input_files("#file-input", files[0])
    tab.locator("#go:enabled").wait_for()
    tab.evaluate("['history', 'effects'].forEach((n) => sessionStorage.removeItem(`retone-${n}`))")
    reload(tab)
    assert shown(tab) == held_by(served, tab) == ("my voice.wav", ["podcast.wav"])
    tab.locator("#hear-after:enabled").wait_for()
    assert model(tab, GAIN) == 0 and tab.locator("#go").is_enabled()


@pytest.mark.parametrize("role", ["input", "reference"])
def test_a_cancel_that_comes_too_late(
    tab: Any, served: Server, files: tuple[str, str], role: str, monkeypatch: Any
) -> None:
    """The server has the recording and its answer is on its way: the page takes it too."""
    from retone.studio import state

    spectra, added, go_on = state.spectra_of, threading.Event(), threading.Event()

    def slow(session: Any) -> Any:
        added.set()
        go_on.wait(30)
        return spectra(session)

    monkeypatch.setattr(state, "spectra_of", slow)
    tab.set_input_files(f"#file-{role}", files[0])
    wait_for(lambda: tab.wait_for_timeout(20) or added.is_set())
    tab.click("#cancel")
    tab.wait_for_timeout(500)
    go_on.set()
    tab.locator("#work").wait_for(state="hidden")
    assert shown(tab) == held_by(served, tab) != (None, [])


def test_a_cancelled_upload_is_not_added_later(server: Server, voice: bytes) -> None:
    page = Page(server)
    for role in ("input", "reference"):
        assert page.post("abandon", None, 7).json == {"late": False}
        path = f"/api/upload/{page.key}/{role}?name=a.wav&turn="
        assert server.ask("POST", path + "7", voice).status == 409
        assert server.files() == []
    assert server.ask("POST", path + "8", voice).status == 200
    assert page.post("abandon", None, 8).json == {"late": True}
    assert [r["name"] for r in page.post("resume").json["references"]] == ["a.wav"]


def test_a_second_tab_has_a_session_of_its_own(
    tab: Any, served: Server, files: tuple[str, str]
) -> None:
    ready(tab, files)
    key = "sessionStorage.getItem('retone-key')"
    with tab.context.expect_page() as popup:
        tab.evaluate("void window.open(location.href)")  # takes a copy of what the tab keeps
    second = popup.value
    second.locator("body[data-ready=true]").wait_for()
    assert second.evaluate(key) != tab.evaluate(key)
    assert shown(second) == held_by(served, second) == (None, [])
    second.close()
    mine = tab.evaluate(key)
    for _ in range(3):
        reload(tab)
        assert tab.evaluate(key) == mine
        assert shown(tab) == ("my voice.wav", ["podcast.wav"])


def test_a_second_tab_has_its_own_session_without_locks_too(
    browser: Any, served: Server, files: tuple[str, str]
) -> None:
    """Browsers offer locks only over HTTPS, or from the same machine."""
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    first = context.new_page()
    first.goto(served.url)
    first.locator("body[data-ready=true]").wait_for()
    ready(first, files)
    key = "sessionStorage.getItem('retone-key')"
    mine = first.evaluate(key)
    with context.expect_page() as popup:
        first.evaluate("void window.open(location.href)")
    second = popup.value
    second.locator("body[data-ready=true]").wait_for()
    assert second.evaluate(key) != mine and shown(second) == (None, [])
    for _ in range(2):
        reload(first)
        assert first.evaluate(key) == mine and shown(first) == ("my voice.wav", ["podcast.wav"])
    second.close()
    context.close()


# --- jobs of a recording that was replaced ------------------------------------------------------


def test_settings_found_for_another_recording_are_not_applied(
    tab: Any, files: tuple[str, str], estimator: Callable[[Any], Any]
) -> None:
    """Its end is on its way while another recording is chosen."""
    estimator(Quick(steps=20, wait_s=0.05))
    ready(tab, files)
    tab.evaluate(
        """async () => {
          const m = await import('/static/model.js');
          const chosen = m.page.input;
          window.hurry = setInterval(() => { // as if the choice had come just before the end
            if (m.page.job?.number) m.page.input = { ...chosen, name: "another.wav" };
          }, 1);
        }"""
    )
    tab.locator("#go:enabled").click()
    tab.locator("#messages p", has_text="my voice.wav are not used").wait_for()
    tab.evaluate("clearInterval(window.hurry)")
    assert model(tab, GAIN) == 0 and tab.locator("#go").is_enabled()


def test_a_new_recording_ends_the_search_for_settings(
    tab: Any, served: Server, files: tuple[str, str], estimator: Callable[[Any], Any]
) -> None:
    slow = estimator(Quick(steps=400, wait_s=0.05))
    ready(tab, files)
    tab.locator("#go:enabled").click()
    wait_for(lambda: tab.wait_for_timeout(20) or slow.heard)
    tab.set_input_files("#file-input", files[1])
    tab.locator("#messages p", has_text="my voice.wav are not used").wait_for()
    assert len(slow.heard) < 400
    assert model(tab, GAIN) == 0 and shown(tab)[0] == "podcast.wav"
    tab.locator("#go:enabled").wait_for()


def test_a_save_gives_what_was_asked_for(
    tab: Any, files: tuple[str, str], estimator: Callable[[Any], Any], monkeypatch: Any
) -> None:
    """Or says why not: its recording was replaced before it began."""
    estimator(Quick())
    ready(tab, files)
    tab.locator("#go:enabled").click()
    tab.locator("body[data-matched]").wait_for()
    from retone.studio import work

    write, go_on = work.write_result, threading.Event()
    monkeypatch.setattr(work, "write_result", lambda *a: go_on.wait(30) and write(*a))
    downloads: list[Any] = []
    tab.on("download", lambda found: downloads.append(found))
    tab.locator("#save:enabled").click()
    tab.wait_for_timeout(200)
    tab.set_input_files("#file-input", files[1])
    tab.locator("#list-input b", has_text="podcast.wav").wait_for()
    go_on.set()
    tab.locator("#messages p", has_text="my voice.wav was replaced").wait_for()
    assert downloads == []


# --- settings -----------------------------------------------------------------------------------


def test_a_long_history_stays_usable(
    tab: Any, files: tuple[str, str], estimator: Callable[[Any], Any], monkeypatch: Any
) -> None:
    """Steps whose settings the server has forgotten leave the history; the others stay."""
    from retone.studio.session import Session

    monkeypatch.setattr(Session.remember, "__kwdefaults__", {"keep": 4})
    estimator(Quick())
    ready(tab, files)
    for count in range(1, 7):
        tab.locator("#go:enabled").click()
        tab.locator(f"body[data-matched='{count}']").wait_for()
    reload(tab)
    assert shown(tab) == ("my voice.wav", ["podcast.wav"])
    assert model(tab, GAIN) == 6
    steps = 0
    while tab.locator("#undo").is_enabled():
        steps += 1
        with tab.expect_response("**/api/describe/**") as answer:
            tab.click("#undo")
        assert answer.value.status == 200
    assert steps == 3


def test_little_room_keeps_the_newest_steps(
    tab: Any, files: tuple[str, str], estimator: Callable[[Any], Any]
) -> None:
    """Where the tab has no room for two effects, a reload still has the current settings."""
    estimator(Quick())
    ready(tab, files)
    tab.evaluate(
        """() => {
          const more = 0.6 * sessionStorage.getItem("retone-effects").length;
          let size = 1 << 23, text = "";
          for (; size > 64; size /= 2) {
            try {
              sessionStorage.setItem("x", text + "x".repeat(size));
              text += "x".repeat(size);
            } catch { /* too much */ }
          }
          sessionStorage.setItem("x", text.slice(more));
        }"""
    )
    tab.locator("#go:enabled").click()
    tab.locator("body[data-matched]").wait_for()
    assert len(model(tab, "m.history.past")) == 2
    reload(tab)
    assert shown(tab) == ("my voice.wav", ["podcast.wav"])
    assert model(tab, GAIN) == 6
    assert model(tab, "m.page.effects.size") == 1


def test_settings_outlast_the_session(
    tab: Any, served: Server, files: tuple[str, str], estimator: Callable[[Any], Any]
) -> None:
    """After a restart the page offers what the tab kept, and does not overwrite it before."""
    estimator(Quick())
    ready(tab, files)
    tab.locator("#go:enabled").click()
    tab.locator("body[data-matched]").wait_for()
    tab.locator("#amount").fill("0.5")
    tab.locator("#amount").dispatch_event("change")
    kept = model(tab, "m.snapshot()")
    key = tab.evaluate("sessionStorage.getItem('retone-key')")
    served.studio.state.sessions.end(served.studio.state.sessions.get(key))
    reload(tab)
    assert tab.locator("#former").is_visible() and tab.locator("#former-use").is_disabled()
    tab.set_input_files("#file-input", files[0])
    tab.locator("#hear-after:enabled").wait_for()
    reload(tab)
    assert model(tab, GAIN) == 0
    tab.locator("#former-use:enabled").click()
    tab.locator("#former").wait_for(state="hidden")
    now, then = json.loads(model(tab, "m.snapshot()")), json.loads(kept)
    assert {**now, "effect": 0} == {**then, "effect": 0}
    tab.locator("#save:enabled").wait_for()
    reload(tab)
    assert tab.locator("#former").is_hidden() and model(tab, GAIN) == 6
    steps = len(model(tab, "m.history.past"))
    for _ in range(steps - 1):  # and the steps that led to them
        tab.locator("#undo").click()
    assert model(tab, GAIN) == 0 and tab.locator("#undo").is_disabled()
    tab.locator("#redo").click()
    assert model(tab, GAIN) == 6


@pytest.mark.parametrize("taps", [100, 30_000])
def test_long_settings_outlast_the_session_too(
    tab: Any, served: Server, files: tuple[str, str], tmp_path: Path, taps: int
) -> None:
    ready(tab, files)
    rng = np.random.default_rng(0)
    content = SettingsFile(
        Fir("room", tuple((0.01 * rng.standard_normal(taps)).tolist())), {}, RATE, "test"
    )
    path = tmp_path / "long.json"
    path.write_text(content.to_json())
    tab.set_input_files("#load-file", str(path))
    tab.locator("#messages p", has_text="long.json was loaded").wait_for()
    key = tab.evaluate("sessionStorage.getItem('retone-key')")
    served.studio.state.sessions.end(served.studio.state.sessions.get(key))
    reload(tab)
    tab.set_input_files("#file-input", files[0])
    tab.locator("#former-use:enabled").click()
    tab.locator("#former").wait_for(state="hidden")
    about = model(tab, "m.page.effects.get(m.state.effect).about")
    assert json.loads(about["file"])["effect"] == json.loads(content.to_json())["effect"]


def test_settings_loaded_while_a_recording_is_read_stay(
    tab: Any, files: tuple[str, str], estimator: Callable[[Any], Any], tmp_path: Path
) -> None:
    estimator(Quick())
    ready(tab, files)
    tab.locator("#go:enabled").click()
    tab.locator("body[data-matched]").wait_for()
    with tab.expect_download() as download:
        tab.locator("#save-settings:enabled").click()
    saved = tmp_path / "saved.json"
    saved.write_bytes(Path(download.value.path()).read_bytes())
    held: list[Any] = []
    tab.route("**/api/upload/**", lambda route: held.append(route))
    tab.set_input_files("#file-input", files[1])
    wait_for(lambda: tab.wait_for_timeout(20) or held)
    tab.set_input_files("#load-file", str(saved))
    tab.wait_for_timeout(300)
    held[0].continue_()
    tab.locator("#list-input b", has_text="podcast.wav").wait_for()
    tab.locator("#messages p", has_text="was loaded").wait_for()
    tab.wait_for_timeout(300)
    assert model(tab, GAIN) == 6
    tab.unroute("**/api/upload/**")


# --- the microphone ------------------------------------------------------------------------------


def test_a_refused_recording_of_the_microphone_is_kept(tab: Any, served: Server) -> None:
    state = served.studio.state
    limits = state.limits
    state.limits = dataclasses.replace(limits, minutes=0.001)
    try:
        tab.click("#record-input")
        tab.locator("#record-input.on").wait_for()
        tab.wait_for_timeout(800)
        tab.click("#record-input")
        tab.locator("#messages p.error").wait_for()
        kept = tab.locator("#kept-input li")
        kept.wait_for()
        assert model(tab, "m.parts.sources.unsaved")
        with tab.expect_download() as download:
            kept.get_by_text("Download it").click()
        assert download.value.suggested_filename == "recording.wav"
        assert Path(download.value.path()).read_bytes()[:4] == b"RIFF"
        assert not model(tab, "m.parts.sources.unsaved")
        kept.get_by_text("Try again").click()
        tab.locator("#kept-input li:not([data-saved])").wait_for()
    finally:
        state.limits = limits
    kept.get_by_text("Try again").click()
    tab.locator("#list-input b", has_text="recording.wav").wait_for()
    assert kept.count() == 0


def test_the_button_that_began_a_recording_ends_it(tab: Any, served: Server) -> None:
    tab.click("#record-input")
    tab.locator("#record-input.on").wait_for()
    assert tab.locator("#record-reference").is_disabled()
    tab.wait_for_timeout(800)
    tab.evaluate("document.getElementById('record-reference').click()")
    assert tab.locator("#record-input").inner_text() == "Stop"
    tab.click("#record-input")
    tab.locator("#list-input b").wait_for()
    assert shown(tab) == held_by(served, tab) == ("recording.wav", [])
    assert tab.locator("#record-reference").is_enabled()


def test_the_microphone_stops_at_the_limit(browser: Any, served: Server) -> None:
    limits = served.studio.state.limits
    served.studio.state.limits = dataclasses.replace(limits, minutes=0.04)
    try:
        with opened(browser, served) as page:
            page.click("#record-input")
            page.locator("#list-input b", has_text="recording.wav").wait_for()
            page.locator("#messages p", has_text="the limit is").wait_for()
    finally:
        served.studio.state.limits = limits

"""The real page in a real browser, driven as a person would: headless Chromium."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from studio_browser import in_chromium
from studio_client import running

from retone.dsp import biquad

pytestmark = in_chromium
RATE = 16000


@pytest.fixture
def page(tab: Any) -> Any:
    return tab


def rendered(page: Any, more_than: int = 0) -> int:
    """Wait for another whole render; returns how many there were."""
    page.wait_for_timeout(20)
    for _ in range(600):
        count = int(page.locator("body").get_attribute("data-rendered") or 0)
        if count > more_than:
            return count
        page.wait_for_timeout(50)
    raise AssertionError("no new render came")


def heard(page: Any, track: str) -> np.ndarray:
    """The samples that the page plays."""
    found = page.evaluate(
        "async (name) => { const m = await import('/static/model.js');"
        " return Array.from(m.player.tracks[name].data[0]); }",
        track,
    )
    return np.array(found)


def test_four_actions_to_a_processed_download(page: Any, files: tuple[str, str]) -> None:
    page.set_input_files("#file-input", files[0])
    page.set_input_files("#file-reference", files[1])
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    page.locator("#save:enabled").wait_for()
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "my voice.retone.wav"
    audio, rate = soundfile.read(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert rate == RATE and len(audio) == RATE * 3 // 2 and np.abs(audio).max() > 0.01
    assert page.locator("#list-input b").inner_text() == "my voice.wav"
    with page.expect_download() as report:
        page.locator("#save-report:enabled").click()
    assert report.value.suggested_filename == "my voice.retone.html"


def test_a_dragged_band_is_heard_as_the_slider_says(page: Any, files: tuple[str, str]) -> None:
    page.set_input_files("#file-input", files[0])
    count = rendered(page)
    node = page.locator("g.node").nth(2)
    box = node.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 25, y - 60, steps=5)
    page.mouse.up()
    rendered(page, count)
    page.wait_for_timeout(300)
    setting = page.evaluate("async () => (await import('/static/model.js')).state.setting")
    gain = setting["equalizer.peak_2_gain_db"]
    row = page.locator('[data-name="equalizer.peak_2_gain_db"] input[type=range]')
    assert gain > 2 and row.get_attribute("aria-valuetext") == f"{gain:.1f} dB"
    before, after = heard(page, "before"), heard(page, "after")
    n = 2 * len(before)
    got = np.fft.rfft(after, n) / (np.fft.rfft(before, n) + 1e-12)
    f = np.fft.rfftfreq(n, 1 / RATE)
    names = ("frequency_hz", "gain_db", "q")
    values = (torch.tensor([setting[f"equalizer.peak_2_{k}"]]).double() for k in names)
    want = biquad.response(biquad.peak(*values, RATE), torch.from_numpy(f), RATE).abs().numpy()
    loud = np.abs(np.fft.rfft(before, n)) > 1e-2 * np.abs(np.fft.rfft(before, n)).max()
    difference = 20 * np.log10(np.abs(got[loud]) / want[loud])
    assert np.median(np.abs(difference)) < 0.05

    page.locator("g.node").nth(2).focus()  # the same by keys, and back
    page.keyboard.press("ArrowUp")
    now = page.evaluate("async () => (await import('/static/model.js')).state.setting")
    assert now["equalizer.peak_2_gain_db"] == pytest.approx(gain + 0.5, abs=0.011)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    now = page.evaluate("async () => (await import('/static/model.js')).state.setting")
    assert now["equalizer.peak_2_gain_db"] == 0
    page.keyboard.press("Control+Shift+Z")
    now = page.evaluate("async () => (await import('/static/model.js')).state.setting")
    assert now["equalizer.peak_2_gain_db"] == gain


def test_listening_switches_at_the_playhead(page: Any, files: tuple[str, str]) -> None:
    page.set_input_files("#file-input", files[0])
    page.set_input_files("#file-reference", files[1])
    page.locator("#list-reference li").wait_for()
    count = rendered(page)
    page.locator("#hear-after:enabled").wait_for()
    page.locator("#wave").focus()
    page.keyboard.press("Space")
    page.locator("body[data-playing=true]").wait_for()
    where = "async () => (await import('/static/model.js')).player.position"
    for key, name in (("2", "after"), ("3", "reference"), ("1", "before")):
        page.keyboard.press(key)
        page.locator(f"body[data-heard={name}]").wait_for()
        assert page.locator(f"#hear-{name}").get_attribute("aria-checked") == "true"
        tracks = page.evaluate(
            "async () => { const m = await import('/static/model.js');"
            " await new Promise((r) => setTimeout(r, 150));"
            " return Object.fromEntries(Object.entries(m.player.tracks).map(([n, t]) =>"
            " [n, [t.gain.gain.value, 10 ** (t.gainDb / 20)]])); }"
        )
        for track, (now, full) in tracks.items():
            assert now == pytest.approx(full if track == name else 0, abs=0.01)
    assert page.evaluate(where) > 0
    fair = page.evaluate("async () => (await import('/static/model.js')).page.gains")
    page.uncheck("#fair")
    assert page.evaluate("async () => (await import('/static/model.js')).page.gains") != fair
    slider = page.locator("#amount")
    slider.fill("0.5")
    rendered(page, count)
    assert page.locator("#amount-value").inner_text() == "50 %"
    page.locator(".solo").first.click(force=True)
    assert page.locator("#solo-note").is_visible()
    assert page.locator("body").get_attribute("data-heard-after-ms")
    page.keyboard.press("Escape")
    page.click("#play")
    page.locator("body[data-playing=false]").wait_for()


def test_settings_and_exports_leave_and_come_back(
    page: Any, files: tuple[str, str], tmp_path: Path
) -> None:
    page.set_input_files("#file-input", files[0])
    count = rendered(page)
    field = page.locator('[data-name="compressor.threshold_db"] .value input')
    field.fill("-33.5")
    field.press("Enter")
    lock = page.locator('[data-name="compressor.threshold_db"] .lock')
    lock.click()
    assert lock.get_attribute("aria-pressed") == "true"
    rendered(page, count)
    with page.expect_download() as settings:
        page.locator("#save-settings:enabled").click()
    saved = tmp_path / "saved.json"
    saved.write_bytes(Path(settings.value.path()).read_bytes())
    page.select_option("#target", "sox")
    with page.expect_download() as export:
        page.click("#export")
    assert export.value.suggested_filename == "my voice.sox.txt"
    page.reload()
    page.locator("body[data-ready=true]").wait_for()
    page.set_input_files("#file-input", files[0])
    rendered(page)
    page.set_input_files("#load-file", str(saved))
    page.locator("#messages p", has_text="was loaded").wait_for()
    assert (
        page.locator('[data-name="compressor.threshold_db"] .value input').input_value() == "-33.5"
    )
    lock = page.locator('[data-name="compressor.threshold_db"] .lock')
    assert lock.get_attribute("aria-pressed") == "true"
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") in ("dark", "light")


def asked(page: Any) -> dict[str, Any]:
    """What the page sends with its next match."""
    request = page.evaluate("async () => (await import('/static/model.js')).parts.matching.request")
    return dict(request)


def matched(page: Any) -> None:
    """Match and wait for the result."""
    before = int(page.locator("body").get_attribute("data-matched") or 0)
    page.locator("#go:enabled").click()
    page.locator(f"body[data-matched='{before + 1}']").wait_for()


def test_strength_and_equaliser_by_keys_alone(
    page: Any, files: tuple[str, str], tmp_path: Path
) -> None:
    """Sent with the match, shown after undo and from files, left alone by files without them."""
    slider, curve, bands = (page.locator(f"#how input{s}") for s in
                            ("[type=range]", "[value=curve]", "[value=bands]"))  # fmt: skip
    page.locator("#how:enabled").wait_for()
    offers = page.evaluate("async () => (await import('/static/model.js')).page.offers.matching")
    assert asked(page)["strength"] == offers["strength"]["match"]
    values = page.locator("#how input[name=eq]").evaluate_all("(all) => all.map((e) => e.value)")
    assert values == offers["eq"]
    page.set_input_files("#file-input", files[0])
    page.set_input_files("#file-reference", files[1])
    page.locator("#list-reference li").wait_for()
    assert slider.input_value() == str(offers["strength"]["match"])  # by hand has no strength
    page.locator('[data-name="compressor.knee_db"] .lock').click()
    knee = page.locator('[data-name="compressor.knee_db"] .value input').input_value()
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "0 %, only the processing"
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "100 %, the whole sound"
    matched(page)
    assert page.locator("#params input[type=range]").count() == 18 + 8
    assert page.locator("#again").is_hidden()

    bands.focus()
    page.keyboard.press("ArrowRight")
    assert curve.is_checked() and page.locator("#again").is_visible()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert asked(page)["strength"] == 0.99 and asked(page)["eq"] == "curve"
    matched(page)
    assert page.locator("#params input[type=range]").count() == 31 + 8
    assert page.locator('[data-name="compressor.knee_db"] .value input').input_value() == knee
    node = page.locator("g.node").nth(12)
    name = node.get_attribute("data-param")
    now = "async (n) => (await import('/static/model.js')).state.setting[n]"
    gain = page.evaluate(now, name)
    node.focus()
    page.keyboard.press("ArrowUp")
    assert page.evaluate(now, name) == pytest.approx(gain + 0.5, abs=0.011)
    assert page.locator(f'[data-name="{name}"]').is_visible()  # its group has opened
    with page.expect_download() as download:
        page.locator("#save-settings:enabled").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["strength"] == 0.99

    for _ in range(2):  # the moved gain, then the second match
        page.locator("#undo").click()
    assert bands.is_checked() and asked(page)["strength"] == 1
    path = tmp_path / "one.json"
    for number, (stored, shown) in enumerate([(0.25, 0.25), (None, 0.25)]):
        path = tmp_path / f"{number}.json"
        content = {**saved, "strength": stored}
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        page.set_input_files("#load-file", str(path))
        page.locator("#messages p", has_text=f"{number}.json was loaded").wait_for()
        assert asked(page)["strength"] == shown and curve.is_checked()


def test_strength_belongs_to_the_default_method_and_to_each_goal(page: Any) -> None:
    page.locator("#how:enabled").wait_for()
    offers = page.evaluate("async () => (await import('/static/model.js')).page.offers.matching")
    page.click("#tab-preset")
    assert asked(page)["strength"] == offers["strength"]["preset"]
    page.click("#tab-enhance")
    assert page.locator("#how").is_hidden()
    page.click("#tab-match")
    assert asked(page)["strength"] == offers["strength"]["match"]
    assert page.locator("#estimator").is_hidden()
    page.locator("#more > summary").click()
    for name in ("dynamics", "stereo"):
        choice = page.locator(f"#{name}-kind")
        values = choice.locator("option").evaluate_all("(all) => all.map((e) => e.value)")
        assert values == offers[name] and asked(page)[name] == values[0]
        choice.select_option(values[1])
        assert asked(page)[name] == values[1]
    page.locator("#advanced > summary").click()
    assert page.locator("#estimator").input_value() == offers["estimator"]
    page.select_option("#estimator", "rules")
    assert page.locator("#how:disabled").count() and page.locator("#other-method").is_visible()
    assert "strength" not in asked(page) and "eq" not in asked(page)


@pytest.mark.parametrize("width", [420, 1366])
def test_every_control_can_be_reached(page: Any, files: tuple[str, str], width: int) -> None:
    """Nothing covers a control, and nothing is wider than the page."""
    page.set_viewport_size({"width": width, "height": 900})
    page.set_input_files("#file-input", files[0])
    rendered(page)
    found = page.evaluate(
        """() => {
          const all = [...document.querySelectorAll('button, select, input, summary')];
          const covered = all.filter((e) => {
            if (!e.checkVisibility({ visibilityProperty: true })) return false;
            e.scrollIntoView({ block: 'center' });
            const b = e.getBoundingClientRect();
            const hit = document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2);
            return b.width && !(hit && (e.contains(hit) || hit.contains(e)));
          });
          return [covered.map((e) => e.id || e.outerHTML.slice(0, 90)), document.body.scrollWidth];
        }"""
    )
    assert found[0] == [] and found[1] <= width


@pytest.mark.parametrize("width", [420, 820, 1366])
def test_an_empty_page_shows_what_to_do_and_nothing_empty(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.locator("#welcome h2").is_visible()
    seen = page.evaluate(
        """() => ["wave-panel", "eq-panel", "levels-panel"].filter((id) => {
          const e = document.getElementById(id), b = e.getBoundingClientRect();
          const hit = document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2);
          return b.width && hit && e.contains(hit);
        })"""
    )
    assert seen == []


def test_a_reference_and_its_button_take_two_lines(page: Any, files: tuple[str, str]) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.set_input_files("#file-reference", files[1])
    item = page.locator("#list-reference li")
    item.locator("small").wait_for()
    gap = item.evaluate(  # in one go: the page moves while it reads the recording
        """(e) => e.querySelector("small").getBoundingClientRect().top
          - e.querySelector("b").getBoundingClientRect().bottom"""
    )
    assert -1 < gap < 4


def test_the_space_key_ticks_a_focused_box(page: Any, files: tuple[str, str]) -> None:
    page.set_input_files("#file-input", files[0])
    rendered(page)
    page.locator("#fair").focus()
    page.keyboard.press("Space")
    assert not page.locator("#fair").is_checked()
    assert page.locator("body").get_attribute("data-playing") != "true"


def test_what_cannot_be_read_is_said(page: Any, files: tuple[str, str], tmp_path: Path) -> None:
    bad = tmp_path / "song.wav"
    bad.write_bytes(b"PK\x03\x04 no sound in here")
    page.set_input_files("#file-input", files[0])
    rendered(page)
    page.set_input_files("#file-input", str(bad))
    page.locator("#messages p.error", has_text="song.wav is not a recording").wait_for()
    assert page.locator("#list-input b").inner_text() == "my voice.wav"


def test_a_microphone_is_recorded(page: Any) -> None:
    page.click("#record-input")
    page.locator("#record-input.on").wait_for()
    page.wait_for_timeout(900)
    page.click("#record-input")
    page.locator("#list-input li", has_text="recording.wav").wait_for()
    rendered(page)


def test_a_preset_needs_no_reference(page: Any, files: tuple[str, str]) -> None:
    page.set_input_files("#file-input", files[0])
    rendered(page)
    page.click("#tab-preset")
    presets = page.locator("#presets [role=radio]")
    presets.or_(page.locator("#presets p")).first.wait_for()
    if not presets.count():
        pytest.skip("this version has no presets")
    presets.first.click()
    assert presets.first.get_attribute("aria-checked") == "true"
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    assert page.evaluate("async () => (await import('/static/model.js')).page.style.name")


def test_speech_is_enhanced_without_a_reference(page: Any, files: tuple[str, str]) -> None:
    page.set_input_files("#file-input", files[0])
    rendered(page)
    page.click("#tab-enhance")
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    sliders = page.locator("#settings input[type=range], input[type=range]")
    assert sliders.count() > 40  # an equaliser and six bands of dynamics, from their own tables


def test_a_server_that_ends_is_noticed(browser: Any, tmp_path: Path) -> None:
    context = browser.new_context()
    with running(tmp_path) as server:
        found = context.new_page()
        found.goto(server.url)
        found.locator("body[data-ready=true]").wait_for()
    lost = found.locator("#messages p.error", has_text="connection to the studio was lost")
    lost.wait_for(timeout=60_000)
    context.close()
    assert list(tmp_path.iterdir()) == []

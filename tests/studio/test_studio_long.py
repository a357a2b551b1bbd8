"""Long recordings: shown and played while they are read, held in pieces, measured on passages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from studio_browser import in_chromium, opened
from studio_client import Page, Server, running, wait_for, wav

from retone.audio import AtomicWriter, open_reader
from retone.studio import intake

RATE = 8000
SECONDS = 90
PIECE_S = 8
KEPT = 6
MODEL = "async () => { const m = await import('/static/model.js'); return "


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("place"), long_s=20.0) as server:
        yield server


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Noise whose level changes, so that every place differs from every other, [1, T]."""
    rng = np.random.default_rng(0)
    time_s = np.arange(SECONDS * RATE) / RATE
    level = 0.08 * (1.3 + np.sin(2 * np.pi * time_s / 11) * np.sin(2 * np.pi * time_s / 0.9))
    return np.asarray(level * rng.standard_normal(time_s.size), np.float32)[None]


@pytest.fixture
def long(tmp_path: Path, recording: np.ndarray) -> str:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(recording, RATE))
    return str(path)


def read_all(path: Path) -> tuple[np.ndarray, int]:
    with open_reader(path) as reader:
        return np.concatenate(list(reader.blocks()), axis=1), reader.info.sample_rate


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reading pauses wherever it reports, until the test lets it go on to a share."""
    allowed = [1.0]
    real = intake.wave_of

    def wave_of(meter: Any) -> Any:
        end = time.monotonic() + 60
        while meter._filled > allowed[0] * SECONDS * RATE and time.monotonic() < end:
            time.sleep(0.01)
        return real(meter)

    monkeypatch.setattr(intake, "wave_of", wave_of)
    monkeypatch.setattr(intake, "SHOWN_EVERY_S", 0.0)
    monkeypatch.setattr(intake, "BLOCK", RATE)

    def go(share: float) -> None:
        allowed[0] = share

    go(0.5)
    yield go
    go(1.0)


# --- the server ----------------------------------------------------------------------------------


@pytest.fixture
def page(served: Server) -> Page:
    return Page(served)


def test_a_long_recording_is_served_in_parts_and_never_whole(
    page: Page, recording: np.ndarray
) -> None:
    found = page.upload(wav(recording, RATE), "talk.wav").json
    assert found["long"] and found["frames"] == recording.shape[1]
    assert page.get("sound", "input").status == 413
    for first, frames in ((0, 10), (RATE * 50 + 3, RATE), (recording.shape[1] - 5, 100)):
        head, samples = page.get("sound", f"input?first={first}&frames={frames}").sound()
        want = recording[:, first : first + frames]
        assert head["start"] == first and np.array_equal(samples, want)
    most = page.get("sound", "input?first=0&frames=99999999").sound()[1]
    assert most.shape[1] == 10 * RATE
    assert page.get("sound", f"input?first={10**8}&frames=5").sound()[0]["frames"] == 0


def test_levels_and_gain_from_passages_are_close_to_those_of_the_whole(
    place: Path, page: Page, recording: np.ndarray
) -> None:
    asked: dict[str, Any] = {"loudness": -23.0, "ceiling_dbtp": None, "locks": [], "amount": 1.0}
    heads = []
    with running(place) as whole:
        for one in (page, Page(whole)):
            found = one.upload(wav(recording, RATE)).json["manual"]
            setting = found["setting"] | {
                "equalizer.high_shelf_gain_db": 9.0, "compressor.threshold_db": -30.0,
                "compressor.ratio": 4.0,
            }  # fmt: skip
            body = asked | {"effect": found["effect"], "setting": setting}
            heads.append(one.post("render", body).sound()[0])
    long, short = heads
    assert long["frames"] == 0 and short["frames"] == recording.shape[1]
    assert long["measured_s"] < SECONDS * 2 and short["measured_s"] is None
    assert long["gain_db"] == pytest.approx(short["gain_db"], abs=0.3)
    for name in ("integrated_lufs", "rms_dbfs"):
        assert long["levels"][name] == pytest.approx(short["levels"][name], abs=0.4)


def test_reading_ends_when_the_page_has_left(
    served: Server, recording: np.ndarray, slowly: Any
) -> None:
    page = Page(served)
    page.vanish()
    before = len(served.files())
    import http.client

    line = http.client.HTTPConnection("127.0.0.1", served.port)
    line.request("POST", f"/api/upload/{page.key}/input?turn=1&name=a.wav", wav(recording, RATE))
    wait_for(lambda: len(served.files()) >= before + 2)
    line.close()
    time.sleep(1.2)
    slowly(1.0)
    wait_for(lambda: len(served.files()) == before)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory, recording: np.ndarray) -> Path:
    """The recording as M4A, whose length only decoding all of it tells."""
    pytest.importorskip("av")
    path = tmp_path_factory.mktemp("coded") / "talk.m4a"
    with AtomicWriter(path, sample_rate=RATE, channels=1) as out:
        out.write(recording)
    return path


def test_the_page_has_what_was_decoded_before_all_of_it_is(
    page: Page, coded: Path, slowly: Any
) -> None:
    """Opening an M4A decodes it once to its end; the page does not wait for that."""
    answers: list[Any] = []
    data = coded.read_bytes()
    uploading = threading.Thread(target=lambda: answers.append(page.upload(data, "talk.m4a")))
    uploading.start()
    told = wait_for(lambda: [e for e in page.events if e["type"] == "reading"])
    wait_for(lambda: 0.3 < told[-1]["ready_s"] / SECONDS < 0.6 or told.extend(
        e for e in page.events if e["type"] == "reading"))  # fmt: skip
    assert not answers and told[-1]["seconds"] == pytest.approx(SECONDS, abs=0.2)
    early = page.get("sound", "arriving?first=80000&frames=8000").sound()[1]
    slowly(2.0)  # more than its coding adds
    uploading.join(60)
    found = answers[0].json
    final = page.get("sound", "input?first=80000&frames=8000").sound()[1]
    assert early.shape == (1, 8000) and np.array_equal(early, final)
    exact, _ = read_all(coded)
    assert found["frames"] == exact.shape[1]
    end = page.get("sound", f"input?first={exact.shape[1] - 500}&frames=9000").sound()[1]
    assert np.array_equal(end, exact[:, -500:])


# --- the page ------------------------------------------------------------------------------------


@pytest.fixture
def tab(browser: Any, served: Server) -> Iterator[Any]:
    with opened(browser, served) as found:
        yield found


def model(tab: Any, what: str) -> Any:
    return tab.evaluate(f"{MODEL} {what}; }}")


@pytest.mark.browser
@in_chromium[1]
def test_the_wave_and_the_sound_come_while_the_rest_is_read(
    tab: Any, long: str, slowly: Any
) -> None:
    tab.set_input_files("#file-input", long)
    tab.locator("#play:enabled").wait_for()
    wait_for(lambda: 0.4 < model(tab, "m.page.input.ready_s") / SECONDS < 0.6)
    assert model(tab, "m.page.input.arriving") and tab.locator("#go").is_disabled()
    wait_for(lambda: "Reading talk.wav: 0:4" in tab.locator("#work-text").inner_text())
    tab.click("#play")
    wait_for(lambda: model(tab, "m.player.position") > 0.3)
    box = tab.locator("#wave").bounding_box()
    tab.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 20)  # not read yet
    assert model(tab, "m.player.position") < 0.6 * SECONDS
    tab.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 20)
    wait_for(lambda: model(tab, "m.player.pending") is None)
    at = model(tab, "m.player.position")
    slowly(1.0)
    tab.locator("#hear-after:enabled").wait_for()
    assert not model(tab, "Boolean(m.page.input.arriving)")
    assert at < model(tab, "m.player.position") < at + 30  # it played on
    assert model(tab, "m.player.playing")


@pytest.mark.browser
@in_chromium[1]
def test_an_m4a_plays_while_it_is_decoded_and_then_to_its_end(
    tab: Any, coded: Path, slowly: Any
) -> None:
    tab.set_input_files("#file-input", str(coded))
    tab.locator("#play:enabled").wait_for()
    tab.click("#play")
    wait_for(lambda: model(tab, "m.player.position") > 0.3)
    assert model(tab, "m.page.input.arriving")
    slowly(2.0)
    tab.locator("#hear-after:enabled").wait_for()
    length = read_all(coded)[0].shape[1]
    assert model(tab, "m.player.tracks.before.stream.length") == length
    assert model(tab, "m.player.duration") == pytest.approx(length / RATE, abs=1e-3)
    box = tab.locator("#wave").bounding_box()
    tab.mouse.click(box["x"] + 0.98 * box["width"], box["y"] + 20)
    wait_for(lambda: model(tab, "m.player.pending") is None)
    assert model(tab, "m.player.playing")


@pytest.mark.browser
@in_chromium[1]
def test_a_reading_that_was_cancelled_gives_the_old_recording_back(
    tab: Any, long: str, files: tuple[str, str], slowly: Any
) -> None:
    tab.set_input_files("#file-input", files[0])
    tab.locator("#hear-after:enabled").wait_for()
    tab.set_input_files("#file-input", long)
    tab.locator("#list-input b", has_text="talk.wav").wait_for()
    tab.click("#cancel")
    tab.locator("#list-input b", has_text="my voice.wav").wait_for()
    slowly(1.0)
    tab.locator("#hear-after:enabled").wait_for()
    assert model(tab, "m.player.duration") == 1.5 and tab.locator("#work").is_hidden()


@pytest.mark.browser
@in_chromium[1]
def test_matching_a_long_recording_and_holding_little_of_it(
    tab: Any, long: str, files: tuple[str, str], recording: np.ndarray
) -> None:
    tab.set_input_files("#file-input", long)
    tab.set_input_files("#file-reference", files[1])
    tab.locator("#list-reference li").wait_for()
    tab.locator("#hear-after:enabled").wait_for()
    tab.locator("#go:enabled").click()
    tab.locator("body[data-matched]").wait_for()
    tab.locator("#save:enabled").wait_for()
    assert "estimated" in tab.locator("#levels-note").inner_text()
    tab.click("#hear-after")
    tab.click("#play")
    box = tab.locator("#wave").bounding_box()
    for share in (0.1, 0.3, 0.5, 0.7, 0.95):
        tab.mouse.click(box["x"] + share * box["width"], box["y"] + 20)
        wait_for(lambda: model(tab, "m.player.pending") is None)
    assert model(tab, "m.player.isLive('after')")
    pieces = "[...m.player.tracks.before.stream.pieces]"
    numbers = model(tab, f"{pieces}.map(([k]) => k)")
    assert len(numbers) <= KEPT < SECONDS / PIECE_S and SECONDS * 95 // 100 // PIECE_S in numbers
    for k, data in model(tab, f"{pieces}.map(([k, d]) => [k, Array.from(d[0].slice(0, 50))])"):
        first = k * PIECE_S * RATE
        assert np.array_equal(np.float32(data), recording[0, first : first + 50])
    with tab.expect_download() as download:
        tab.click("#save")
    audio, _ = soundfile.read(download.value.path())
    assert len(audio) == recording.shape[1]


PLAY = """async ({ sound, rate, plan, values, seconds, way }) => {
  const { Stream, Pump } = await import('/static/stream.js');
  const { Live } = await import('/static/live.js');
  const data = sound.map((s) => Float32Array.from(s)), asked = [];
  const stream = new Stream({ rate, channels: data.length, length: data[0].length },
    async (first, frames) => {
      asked.push([first, frames]);
      return data.map((s) => s.slice(first, first + frames));
    });
  const context = new OfflineAudioContext(data.length, seconds * rate, rate);
  if (way === "effect") {
    const live = await Live.load();
    live.load(stream, rate);
    live.follow(plan, values);
    for (let k = 0; k * stream.size < stream.length; k++) await stream.need(k);
    await live.open(context);
    context.suspend(0).then(async () => {
      live.begin(0, 0).connect(context.destination);
      await new Promise((r) => setTimeout(r, 200));
      await context.resume();
    });
  } else {
    let pump = null;
    context.suspend(0).then(async () => {
      pump = new Pump(context, stream, 0, 3);
      pump.connect(context.destination);
      await new Promise((r) => setTimeout(r, 100));
      await context.resume();
    });
    for (let t = 2; t < seconds; t += 2) {
      context.suspend(t).then(async () => {
        await new Promise((r) => setTimeout(r, 400));
        await context.resume();
      });
    }
  }
  const made = await context.startRendering();
  return [data.map((_, c) => Array.from(made.getChannelData(c))), asked];
}"""


@pytest.mark.browser
@in_chromium[1]
def test_pieces_join_without_a_trace(tab: Any, recording: np.ndarray) -> None:
    """Over two joins and past the end, where a recording begins again."""
    sound = recording[:, : 20 * RATE]
    request = {"sound": sound.tolist(), "rate": RATE, "seconds": 24, "way": "sound"}
    out, asked = tab.evaluate(PLAY, request)
    want = np.concatenate([sound, sound], axis=1)[:, 3 * RATE : 27 * RATE]
    late = round(0.005 * RATE)
    difference = np.abs(np.array(out) - want)[:, late:]
    end = 17 * RATE - late  # the end is faded out, as it is where nothing follows
    assert difference[:, : end - late].max() < 1e-6
    assert difference[:, end + 2 * late :].max() < 1e-6
    assert all(frames <= (PIECE_S * RATE + late) for _, frames in asked)


@pytest.mark.browser
@in_chromium[1]
def test_an_effect_runs_over_pieces_as_over_the_whole(tab: Any, recording: np.ndarray) -> None:
    from retone.dsp.param import to_numbers
    from retone.effects import SOUND_CHAIN
    from retone.process.stream import render_whole
    from retone.studio import live

    sound = recording[:, : 20 * RATE]
    values = to_numbers(SOUND_CHAIN.params.setting({
        "equalizer.peak_3_gain_db": 9.0, "compressor.threshold_db": -40.0, "compressor.ratio": 5.0,
    }))  # fmt: skip
    request = {
        "sound": sound.tolist(), "rate": RATE, "seconds": 20, "way": "effect",
        "plan": live.plan_of(SOUND_CHAIN, RATE), "values": values,
    }  # fmt: skip
    out, _ = tab.evaluate(PLAY, request)
    want = render_whole(SOUND_CHAIN, sound, RATE, SOUND_CHAIN.params.setting(values))
    assert np.abs(np.array(out) - want).max() < 1e-6 * max(1.0, float(np.abs(want).max()))

"""The page runs effects: they sound as the server renders them, at once and without clicks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studio_browser import in_chromium, opened
from studio_client import Server, wav

from retone.core import build
from retone.dsp.effect import Effect
from retone.dsp.param import to_numbers
from retone.effects import (
    EFFECTS,
    EXPANDER_TABLE,
    MATCH_CURVE_CHAIN,
    SOUND_CHAIN,
    Compressor,
    CurveEqualizer,
    Fir,
    Gain,
    MidSide,
    MultibandEqualizer,
    chain,
)
from retone.process.stream import render_whole
from retone.studio import live

pytestmark = in_chromium
RATE = 44100
QUANTUM = 128
SAME = 1e-6
MASTERING = chain(
    "mastering",
    MidSide(mid=SOUND_CHAIN, side=chain("side", CurveEqualizer(), Gain())),
    Compressor(table=EXPANDER_TABLE, rms_ms=10.0),
)
LINEAR = chain("linear", CurveEqualizer(phase="linear"), Compressor())
FIXED = chain("fixed", Fir("filter", (0.5, 0.0, -0.25, *[0.0] * 200, 0.1)), MultibandEqualizer())

RENDER = """async ({plan, values, sound, rate, out, changes}) => {
  const { Live } = await import('/static/live.js');
  const live = await Live.load();
  live.load(sound.map((s) => Float32Array.from(s)), rate);
  live.follow(plan, values);
  const context = new OfflineAudioContext(sound.length, sound[0].length * out / rate, out);
  await live.open(context);
  for (const { at, start, values } of changes) {
    context.suspend(at * 128 / out).then(async () => {
      if (values) live.set(values);
      if (start !== undefined) live.begin(at * 128 / out, start).connect(context.destination);
      await new Promise((r) => setTimeout(r, 200));
      await context.resume();
    });
  }
  const made = await context.startRendering();
  return sound.map((_, c) => Array.from(made.getChannelData(c)));
}"""


@pytest.fixture
def page(tab: Any) -> Any:
    return tab


def numbers(effect: Effect, setting: Mapping[str, Any]) -> dict[str, float]:
    return to_numbers(effect.params.setting(setting))


class Bench:
    """A page in which sounds are rendered, a new one after some: each keeps its memory."""

    def __init__(self, browser: Any, served: Server) -> None:
        self.new = lambda: opened(browser, served)
        self.stack, self.count = contextlib.ExitStack(), 0
        self.asked: list[str] = []

    def render(self, asked: dict[str, Any]) -> Any:
        if self.count % 12 == 0:
            self.stack.close()
            self.page = self.stack.enter_context(self.new())
            self.page.on("request", lambda r: self.asked.append(r.url))
        self.count += 1
        self.asked.clear()
        return self.page.evaluate(RENDER, asked)


@pytest.fixture(scope="module")
def bench(browser: Any, served: Server) -> Iterator[Bench]:
    found = Bench(browser, served)
    with found.stack:
        yield found


def played(
    bench: Bench,
    effect: Effect,
    setting: Mapping[str, float],
    sound: np.ndarray,
    changes: Any = (),
    *,
    out: int = RATE,
) -> np.ndarray:
    """What the page's audio thread plays of a sound [C, T] from its beginning on."""
    asked = {
        "plan": live.plan_of(effect, RATE), "values": numbers(effect, setting), "out": out,
        "sound": sound.tolist(), "rate": RATE, "changes": [{"at": 0, "start": 0.0}, *changes],
    }  # fmt: skip
    return np.array(bench.render(asked))


def some(effect: Effect, seed: int) -> dict[str, float]:
    """A random setting in which everything is at work."""
    drawn = to_numbers(effect.params.sample(1, torch.Generator().manual_seed(seed)))
    ends = {"attack_ms": 40.0, "threshold_db": -25.0}
    return drawn | {n: v for n in drawn for end, v in ends.items() if n.endswith(end)}


@pytest.fixture(scope="module")
def sound(make_audio: Callable[..., Any]) -> np.ndarray:
    left, right = (0.3 * make_audio(3 * RATE // 4, RATE, seed=s)[0, 0].numpy() for s in (3, 4))
    return np.stack([left, 0.5 * left + 0.5 * right]).astype(np.float32)


@pytest.mark.parametrize("effect", [*EFFECTS, MASTERING, LINEAR, FIXED], ids=lambda e: e.name)
def test_every_effect_sounds_as_the_server_renders_it(
    bench: Bench, effect: Effect, sound: np.ndarray
) -> None:
    for seed, rows in ((0, sound), (1, sound[:1])):
        setting = some(effect, seed)
        want = render_whole(effect, rows, RATE, effect.params.setting(setting))
        got = played(bench, effect, setting, rows)
        alone = rows.shape[1] - effect.latency_samples(RATE)  # then the loop's beginning comes in
        assert np.abs(want).max() > 1e-3
        difference = np.abs(got - want)[:, :alone].max()
        assert difference <= SAME * max(1.0, np.abs(want).max())


def change(effect: Effect, setting: Mapping[str, float], block: int) -> dict[str, Any]:
    return {"at": block, "values": numbers(effect, setting)}


@pytest.mark.parametrize(
    ("effect", "moved"),
    [
        (SOUND_CHAIN, {"equalizer.peak_2_gain_db": 12.0}),
        (SOUND_CHAIN, {"compressor.threshold_db": -45.0}),
        (MATCH_CURVE_CHAIN, {"curve_equalizer.gain_1000_hz_db": 10.0}),
        (MultibandEqualizer(), {"band_3_gain_db": -20.0}),
        (MASTERING, {"mid_side.side.gain.gain_db": -20.0}),
    ],
    ids=lambda v: v.name if isinstance(v, Effect) else next(iter(v)),
)
def test_a_moved_slider_is_heard_in_the_next_block_without_requests(
    bench: Bench, effect: Effect, moved: dict[str, float], sound: np.ndarray
) -> None:
    first = {n: 20.0 if n.endswith("release_ms") else v for n, v in some(effect, 2).items()}
    still, block = played(bench, effect, first, sound), 40
    got = played(bench, effect, first, sound, [change(effect, first | moved, block)])
    at = QUANTUM * block
    assert [u for u in bench.asked if not re.search(r"/static/\w+\.(js|wasm)$", u)] == []
    assert (got[:, :at] == still[:, :at]).all()
    heard = np.abs(got - still)[:, at : at + QUANTUM].max()
    assert heard > 1e-4
    want = render_whole(effect, sound, RATE, effect.params.setting(first | moved))
    settled = RATE * 3 // 5
    assert np.abs(got - want)[:, settled:].max() <= SAME


def roughness(y: np.ndarray) -> float:
    """Largest second difference, to which a step or a kink adds."""
    return float(np.abs(np.diff(y, n=2)).max())


@pytest.mark.parametrize(
    ("effect", "moves"),
    [
        (Gain(), ({"gain_db": 0.0}, {"gain_db": 12.0}, {"gain_db": -30.0})),
        (
            SOUND_CHAIN,
            (
                {"equalizer.low_shelf_gain_db": 0.0},
                {"equalizer.low_shelf_gain_db": 15.0, "compressor.makeup_db": 6.0},
                {"equalizer.low_shelf_gain_db": -15.0},
            ),
        ),
        (
            MATCH_CURVE_CHAIN,
            (
                {"curve_equalizer.gain_100_hz_db": 0.0},
                {"curve_equalizer.gain_100_hz_db": 15.0},
                {"curve_equalizer.gain_100_hz_db": -15.0},
            ),
        ),
        (MultibandEqualizer(), ({}, {"band_1_gain_db": 12.0}, {"band_1_gain_db": -24.0})),
    ],
    ids=lambda v: v.name if isinstance(v, Effect) else "",
)
def test_changes_do_not_click(
    bench: Bench, effect: Effect, moves: tuple[dict[str, float], ...]
) -> None:
    """A low tone stays as smooth as at the settings themselves, plus the curvature of the fade."""
    tone = (0.2 * np.sin(2 * np.pi * 100 * np.arange(RATE // 2) / RATE))[None].astype(np.float32)
    steady = [played(bench, effect, m, tone)[0] for m in moves]
    changes = [change(effect, m, 60 + 20 * i) for i, m in enumerate(moves[1:])]
    got = played(bench, effect, moves[0], tone, changes)[0]
    loudest = max(np.abs(y).max() for y in steady)
    fade = loudest * ((np.pi / QUANTUM) ** 2 + 2 * np.pi / QUANTUM * 2 * np.pi * 100 / RATE)
    allowed = max(map(roughness, steady)) + fade
    assert roughness(got) <= allowed
    at = QUANTUM * 60  # the measure notices a switch without a fade, and a fade in a straight line
    ramp = np.clip((np.arange(steady[0].size) - at) / QUANTUM, 0, 1)
    for share in (ramp > 0, ramp):
        assert roughness(steady[0] + share * (steady[1] - steady[0])) > 2 * allowed


def test_a_device_with_another_rate_hears_the_same(bench: Bench) -> None:
    """The recording runs at its own rate and is interpolated, as the page's other tracks are."""
    tone = (0.2 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE))[None].astype(np.float32)
    got = played(bench, SOUND_CHAIN, {"equalizer.peak_1_gain_db": 6.0}, tone, out=48000)[0]
    spectrum = np.abs(np.fft.rfft(got[12000:22000] * np.hanning(10000)))
    assert np.argmax(spectrum) == round(440 / 48000 * 10000)
    beside = np.delete(spectrum, slice(86, 98))
    assert spectrum.max() > 300 * beside.max()


# -- the whole page -------------------------------------------------------------------------------


@pytest.fixture
def noise(tmp_path: Path) -> str:
    """Two seconds that are equally loud all the time."""
    path = tmp_path / "noise.wav"
    path.write_bytes(wav(0.1 * np.random.default_rng(0).standard_normal((1, 32000)), 16000))
    return str(path)


def playing(page: Any, file: str) -> None:
    """The page plays After."""
    page.locator("body[data-live]").wait_for()
    page.set_input_files("#file-input", file)
    page.locator("#hear-after:enabled").click()
    page.locator("#play").click()
    page.locator("body[data-playing=true]").wait_for()


def move(page: Any, name: str, value: str) -> None:
    field = page.locator(f'[data-name="{name}"] .value input')
    field.fill(value)
    field.press("Enter")


LEVEL = """async () => {
  const { player } = await import('/static/model.js');
  const samples = new Float32Array(player.analyser.fftSize);
  player.analyser.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
}"""


def test_sliders_are_heard_while_the_server_is_silent(
    page: Any,
    noise: str,
) -> None:
    playing(page, noise)
    held: list[Any] = []
    page.wait_for_timeout(500)
    page.route("**/api/**", lambda route: held.append(route))
    before = page.evaluate(LEVEL)
    move(page, "compressor.makeup_db", "-24")
    page.locator("body[data-heard-after-ms]").wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate(LEVEL) < 0.2 * before
    assert page.evaluate("async () => (await import('/static/model.js')).player.isLive('after')")
    page.locator("#wave").click(position={"x": 100, "y": 20})  # seeking, and before and after
    page.keyboard.press("1")
    page.wait_for_timeout(150)
    assert page.evaluate(LEVEL) > 0.5 * before
    page.keyboard.press("2")
    page.wait_for_timeout(150)
    assert 0 < page.evaluate(LEVEL) < 0.2 * before
    for route in held:
        route.continue_()
    page.unroute("**/api/**")


def test_another_effect_goes_on_playing(page: Any, noise: str) -> None:
    playing(page, noise)
    page.click("#tab-enhance")
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    page.wait_for_timeout(400)
    state = """async () => {
      const { player } = await import('/static/model.js');
      return [player.tracks.after.live, player.live.effect.plan.effect.members.map((m) => m.do)];
    }"""
    assert page.evaluate(state) == [True, ["sections", "bands"]]
    assert page.evaluate(LEVEL) > 0
    page.locator("#undo").click()
    page.wait_for_timeout(300)
    assert page.evaluate(state)[1] == ["sections", "dynamics"]
    assert page.evaluate(LEVEL) > 0


def heard_by_server(page: Any, noise: str) -> str:
    """Move a slider while After plays; returns what the page said about it."""
    playing(page, noise)
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    move(page, "compressor.makeup_db", "6")
    page.locator("body[data-heard-after-ms]").wait_for()
    assert any("/api/window/" in url for url in asked)
    said = page.locator("#messages p", has_text="when the server has rendered them")
    said.wait_for()
    assert said.count() == 1
    return str(said.inner_text())


def test_the_server_renders_where_webassembly_is_forbidden(
    browser: Any,
    served: Server,
    noise: str,
) -> None:
    page = browser.new_page()

    def strict(route: Any) -> None:
        answer = route.fetch()
        policy = answer.headers["content-security-policy"].replace(" 'wasm-unsafe-eval'", "")
        route.fulfill(
            response=answer, headers={**answer.headers, "content-security-policy": policy}
        )

    page.route(served.url, strict)
    page.goto(served.url)
    assert "does not allow WebAssembly" in heard_by_server(page, noise)
    page.close()


def test_the_server_renders_where_there_is_no_compiler(
    page: Any,
    noise: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> bytes:
        raise FileNotFoundError("There is no compiler. Install one with: pip install ziglang")

    monkeypatch.setattr("retone.core.wasm", missing)
    page.reload()
    assert "pip install ziglang" in heard_by_server(page, noise)


# -- plans ----------------------------------------------------------------------------------------


def test_plans_name_every_parameter_of_every_effect() -> None:
    for effect in (*EFFECTS, MASTERING, LINEAR):
        plan = live.plan_of(effect, RATE)
        assert plan is not None
        text = repr(plan)
        assert [n for n in effect.params.names if f"'{n}'" not in text] == []


def test_an_effect_that_the_page_does_not_know_is_left_to_the_server() -> None:
    class Own(Gain):
        pass

    assert live.plan_of(Own(), RATE) is None
    assert live.plan_of(chain("with", Compressor(), Own()), RATE) is None
    assert live.plan_of(MidSide(mid=Own()), RATE) is None
    assert live.plan_of(Fir("long", (0.0,) * (live.LONGEST_TAPS + 1)), RATE) is None


def test_kinds_of_sections_are_those_of_the_core() -> None:
    text = (build.FOLDER / "core.h").read_text()
    found = re.search(r"enum \{ HIGH_SHELF = -1, ([\w, ]+) \}", text)
    assert found
    for number, name in enumerate(found[1].split(", ")):
        assert getattr(live, name) == number
    assert live.HIGH_SHELF == -1


def test_the_module_is_small_and_imports_nothing() -> None:
    from retone import core

    data = core.wasm()
    assert data[:4] == b"\0asm" and len(data) < 100_000
    sections, at = [], 8
    while at < len(data):
        kind, size, shift = data[at], 0, 0
        at += 1
        while True:
            byte, at = data[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        sections.append(kind)
        at += size
    assert 2 not in sections  # imports
    for name in build.WASM_FUNCTIONS:
        assert name.encode() in data

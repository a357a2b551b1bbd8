"""The page's own core: sounds as the server's render, at once, without clicks and without requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studio_browser import browser, files, in_chromium, page, served  # noqa: F401
from studio_client import Server

from retone.core import build
from retone.dsp.effect import Effect
from retone.dsp.param import to_numbers
from retone.effects import (
    EFFECTS,
    EXPANDER_TABLE,
    MATCH_CURVE_CHAIN,
    SOUND_CHAIN,
    Chain,
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


def numbers(effect: Effect, setting: Mapping[str, Any]) -> dict[str, float]:
    return to_numbers(effect.params.setting(setting))


def played(
    page: Any,  # noqa: F811
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
    return np.array(page.evaluate(RENDER, asked))


def some(effect: Effect, seed: int) -> dict[str, float]:
    """A random setting in which everything is at work."""
    drawn = to_numbers(effect.params.sample(1, torch.Generator().manual_seed(seed)))
    ends = {"attack_ms": 40.0, "threshold_db": -25.0}
    return drawn | {n: v for n in drawn for end, v in ends.items() if n.endswith(end)}


@pytest.fixture(scope="module")
def sound(make_audio: Callable[..., Any]) -> np.ndarray:
    left, right = (0.3 * make_audio(RATE, RATE, seed=s)[0, 0].numpy() for s in (3, 4))
    return np.stack([left, 0.5 * left + 0.5 * right]).astype(np.float32)


@pytest.mark.parametrize("effect", [*EFFECTS, MASTERING, LINEAR, FIXED], ids=lambda e: e.name)
def test_every_effect_sounds_as_the_server_renders_it(
    page: Any,  # noqa: F811
    effect: Effect,
    sound: np.ndarray,
) -> None:
    for seed, rows in ((0, sound), (1, sound[:1])):
        setting = some(effect, seed)
        want = render_whole(effect, rows, RATE, effect.params.setting(setting))
        got = played(page, effect, setting, rows)
        alone = rows.shape[1] - effect.latency_samples(RATE)  # then the loop's beginning comes in
        assert np.abs(want).max() > 1e-3
        difference = np.abs(got - want)[:, :alone].max()
        print(effect.name, difference)
        assert difference <= SAME * max(1.0, np.abs(want).max())

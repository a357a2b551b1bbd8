"""Turn down what sounds between words with a multiband effect's downward expanders, gently.

Room, hiss and hum lie mostly in the pauses, and every band has its own. In each band the expander
acts below a level between the pauses and the words::

    threshold = p10 + DEPTH (p95 - p10)

from percentiles of the band's levels over 20 ms, as the band's detector receives them. The ratio is
the one with which pauses at p10 fall by FALL_DB, so a quiet room is changed less steeply than a
noisy one. Nothing is gated: a level d dB below the threshold falls by (ratio - 1) d dB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from retone.dsp.effect import Effect, split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.effects import Chain
from retone.effects.bands import BANDS
from retone.effects.multiband_equalizer import MultibandEqualizer
from retone.estimators.base import Excerpt
from retone.estimators.trial import as_setting

FALL_DB, DEPTH, MAX_RATIO = 12.0, 0.6, 2.0
"""Chosen on training voices: with more, DNSMOS hardly rises further and words begin to change."""
LEAST_DISTANCE_DB = 6.0
ATTACK_MS, RELEASE_MS = 5.0, 120.0
FRAME_S, LOW, HIGH = 0.02, 10, 95
SOUND_DB, SILENT_DB = 90.0, -190.0
"""Frames further below the loudest one, such as digital silence, are not counted."""
SAID_DB = 3.0
NEUTRAL_RATIO = 0.02
"""A band whose own compressor acts keeps its attack and release."""


def expanded(
    effect: Effect,
    source: Excerpt,
    setting: Setting,
    locks: Mapping[str, float],
    share: float = 1.0,
) -> tuple[Setting, tuple[str, ...]]:
    """The setting with expanders set for this recording, and a note on how far pauses fall.

    The note says how far the power of the pauses falls, so the bands that are loudest in them
    count most. It leaves out expanders that ``shift_thresholds`` will turn off.

    Args:
        effect: with a ``MultibandEqualizer`` among its members; others return unchanged.
        setting: batch size 1, for the excerpt's level.
        locks: parameters that stay as they are.
        share: of the expanders' slope, from 0 to 1.
    """
    setting = {**setting, **as_setting(locks)}
    members = effect.members if isinstance(effect, Chain) else ()
    at = next((i for i, m in enumerate(members) if isinstance(m, MultibandEqualizer)), None)
    if at is None or share <= 0:
        return setting, ()
    multiband = members[at]
    assert isinstance(multiband, MultibandEqualizer)
    audio = (source.passage if source.passage.numel() else source.audio)[None, None]
    with torch.no_grad():
        for member in members[:at]:
            own = split_setting(setting, member.name)
            audio = member.render(audio, source.sample_rate, own).audio
        own = split_setting(setting, multiband.name)
        bands = multiband.split_bands(audio, source.sample_rate, own)[0, :, 0].numpy()
    found, falls, power = dict(setting), np.zeros(BANDS), np.zeros(BANDS)
    set_here, off = np.zeros(BANDS, bool), np.zeros(BANDS, bool)
    for i in range(BANDS):
        levels = _levels_db(bands[i], source.sample_rate)
        start = f"{multiband.name}.band_{i + 1}_"
        if levels.size == 0 or f"{start}expander_threshold_db" in locks:
            continue
        low, high = np.percentile(levels, (LOW, HIGH))
        distance = DEPTH * (high - low)
        slope = share * min(FALL_DB / max(distance, LEAST_DISTANCE_DB), MAX_RATIO - 1)
        values = {"expander_threshold_db": low + distance, "expander_ratio": 1 + slope}
        if abs(float(setting[f"{start}ratio"][0]) - 1) < NEUTRAL_RATIO:
            values |= {"attack_ms": ATTACK_MS, "release_ms": RELEASE_MS}
        for name, value in values.items():
            row = effect.params[start + name]
            if row.name not in locks:
                held = float(np.clip(value, row.low, row.high))
                found[row.name] = torch.full_like(setting[row.name], held)
        falls[i] = (float(found[f"{start}expander_ratio"][0]) - 1) * distance
        power[i] = 10 ** (low / 10)
        own_db = float(found[f"{start}expander_threshold_db"][0]) + source.level_db
        off[i] = own_db < effect.params[f"{start}expander_threshold_db"].low
        set_here[i] = True
    acts = set_here & ~off
    left = float(np.sum((power * 10 ** (-falls / 10))[acts]))
    fall = 10 * math.log10(power[acts].sum() / left) if acts.any() else 0.0
    if fall < SAID_DB:
        return found, ()
    where = f" in {acts.sum()} of {BANDS} bands" if off.any() else ""
    return found, (f"What sounds between the words is turned down by about {fall:.0f} dB{where}.",)


def _levels_db(band: Array, sample_rate: int) -> Array:
    size = round(FRAME_S * sample_rate)
    count = len(band) // size
    power = np.mean(np.square(band[: count * size].reshape(count, size)), axis=1)
    levels = 10 * np.log10(power + 1e-20)
    loudest = levels.max(initial=SILENT_DB)
    return np.asarray(levels[levels > max(loudest - SOUND_DB, SILENT_DB)])

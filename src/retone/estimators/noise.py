"""How far to turn down a recording's steady noise.

Where the programme lies ``CLEAN_DB`` or more above the noise, on average over frequency, nothing is
reduced. The reduction grows by ``STEP`` dB with each dB below that.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from retone.dsp.noise import programme_to_noise_db
from retone.effects.noise_reduction import NoiseReduction
from retone.estimators.base import Excerpt

CLEAN_DB, STEP, MOST_DB = 32.0, 1.5, 12.0
"""Chosen on development voices, by DNSMOS and by PESQ against the clean recording."""
SMALL_DB = 1.0
"""A reduction below this is not made."""


def reduction_db(source: Excerpt) -> float:
    """The reduction for a recording, from 0 to ``MOST_DB``; 0 if its noise cannot be judged."""
    ratio = programme_to_noise_db(_with_pauses(source), source.sample_rate)
    wanted = STEP * (CLEAN_DB - ratio)
    return min(wanted, MOST_DB) if wanted >= SMALL_DB else 0.0  # NaN gives 0


def without_noise(source: Excerpt, amount_db: float) -> Excerpt:
    """The excerpt after a reduction of its noise; its measures are taken again."""
    if not amount_db:
        return source
    effect = NoiseReduction()
    setting = effect.params.setting({"reduction_db": amount_db}, 1)

    def less(audio: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """``audio`` [T] after what came before it, from which the noise is learnt."""
        late = effect.latency_samples(source.sample_rate)
        whole = torch.cat([before, audio, audio.new_zeros(late)])[None, None]
        out = effect.render(whole, source.sample_rate, setting).audio[0, 0]
        return out[late + len(before) :]

    none = source.audio.new_zeros(0)
    return replace(
        source,
        audio=less(source.audio, source.pauses),
        pauses=less(source.pauses, none) if source.pauses.numel() else source.pauses,
        passage=less(source.passage, none) if source.passage.numel() else source.passage,
        tone_db=None,
        spread_db=None,
    )


def _with_pauses(source: Excerpt) -> torch.Tensor:
    return source.passage if source.passage.numel() else source.audio

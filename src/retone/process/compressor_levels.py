"""Levels at a compressor's input, reconstructed from the effect's output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from retone.audio.meters.envelope import LevelHistogram
from retone.dsp.effect import Effect
from retone.effects import leaves
from retone.units import DB_PER_NEPER


class CompressorLevels:
    """Histogram of the level at each compressor's input.

    The compressor's gain is undone sample by sample: ``|x| = |y| / gain``. Only gains may follow
    the compressor; compressors followed by anything else are left out.

    Args:
        effect, setting, sample_rate: as rendered; sample_rate in Hz.
    """

    def __init__(self, effect: Effect, setting: Mapping[str, Tensor], sample_rate: float) -> None:
        self.histograms: dict[str, LevelHistogram] = {}
        self._undo: list[tuple[str, str, float]] = []
        after_db = 0.0
        for path, member, own in reversed(leaves(effect, setting)):
            makeup_db = sum(float(own[n][0]) for n in member.params.with_role("makeup"))
            if member.gain_curve:
                after_db += makeup_db
                in_chain = effect is not member
                curve = f"{path}.{member.gain_curve}" if in_chain else member.gain_curve
                self._undo.append((path, curve, after_db))
                self.histograms[path] = LevelHistogram(sample_rate)
            elif own and len(own) == len(member.params.with_role("makeup")):  # only a gain
                after_db += makeup_db
                continue
            break

    def update(self, rendered: np.ndarray, curves: Mapping[str, np.ndarray]) -> None:
        """Take the effect's output [C, n], before any later gain, and its curves [n]."""
        for path, curve, after_db in self._undo:
            gain = np.exp((curves[curve] + after_db) / DB_PER_NEPER)  # much faster than a power
            self.histograms[path].update(np.abs(rendered).max(axis=0, keepdims=True) / gain)

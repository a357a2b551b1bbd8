"""The notes of a match say nothing that the setting found in the end contradicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from retone.effects import SOUND_CHAIN
from retone.estimators.base import Estimate, Excerpt, Reference
from retone.estimators.closed_form import LITTLE_NOTE, OFF_NOTE
from retone.estimators.match_fit import part_made
from retone.estimators.matching import Matching
from retone.progress import Progress, silent

RATE = 24000


@dataclass(frozen=True)
class NothingToDo:
    """Finds no change at all, and says so."""

    name: str = "nothing"

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference] = (),
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        return Estimate(SOUND_CHAIN, SOUND_CHAIN.params.neutral(1), (LITTLE_NOTE, OFF_NOTE))


def words(tilt_db: float, swing: float) -> Excerpt:
    """Noise with a spectrum that rises by ``tilt_db`` an octave, louder and quieter in turn."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(rng.standard_normal(6 * RATE))
    hz = np.maximum(np.fft.rfftfreq(6 * RATE, 1 / RATE), 50)
    x = np.fft.irfft(spectrum * (hz / 1000) ** (tilt_db / 6.02))
    x *= 10 ** (swing * np.sin(np.arange(len(x)) / RATE * 9) / 20)
    return Excerpt(torch.from_numpy((0.3 * x / np.abs(x).max()).astype(np.float32)), RATE)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (words(-3.0, 8.0), {LITTLE_NOTE, OFF_NOTE}),
        (words(3.0, 8.0), {OFF_NOTE}),
        (words(-3.0, 2.0), set()),
    ],
    ids=["the same", "brighter", "more even"],
)
def test_what_the_processing_says_holds_for_the_whole(reference: Excerpt, told: set[str]) -> None:
    matching = Matching(strength=0.4, processing=NothingToDo())  # type: ignore[arg-type]
    found = matching.estimate(words(-3.0, 8.0), [reference], locks={})
    assert {LITTLE_NOTE, OFF_NOTE} & set(found.notes) == told


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "none"), (0.004, "none"), (0.005, "only 1 %"), (0.52, "only 52 %")],
)
def test_no_note_speaks_of_only_0_percent(share: float, said: str) -> None:
    assert part_made(share) == said

"""Training data of neural proxies: clips, random settings, and the effect's output.

As in DeepAFx-ST: clips with a peak 12 to 24 dB below full scale, settings uniform over the unit
cube with makeup fixed at 0 dB, and the effect's output softly limited, so that the few loudest
settings do not dominate the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from retone.dsp.effect import Effect
from retone.errors import DataError, SettingError
from retone.training.data.corpora import Corpus
from retone.units import db_to_gain

Array = np.ndarray
TRIES = 400
LIMIT = 2.0


@dataclass(frozen=True)
class ProxyPair:
    """One training item.

    Args:
        input: the clip, float32 [L].
        reference: the unit parameters, float32 [P], input of the proxy.
        target: the effect's output, limited, float32 [L].
        group: speaker or track.
        index, seed: which call of `ProxyMaker.make` gives this pair again.
    """

    input: Array
    reference: Array
    target: Array
    group: str
    index: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class ProxyMaker:
    """Makes pairs.

    Args:
        sample_rate: Hz, that of the corpora given to `make`.
        effect: the effect to imitate.
        length: samples of a clip.
        attenuation_db: range of the clip's peak below full scale.
        min_mean_square: lowest mean square of a clip, as recorded.
        balance: a speaker or track of n samples is drawn with a probability proportional to
            ``n ** balance``.

    Raises:
        SettingError: a size out of range.
    """

    sample_rate: int
    effect: Effect
    length: int = 65536
    attenuation_db: tuple[float, float] = (12.0, 24.0)
    min_mean_square: float = 1e-4
    balance: float = 0.5

    def __post_init__(self) -> None:
        if self.length < 2 or self.sample_rate <= 0:
            raise SettingError(
                f"ProxyMaker: length {self.length} and sample_rate {self.sample_rate} must be "
                "positive numbers of samples and Hz."
            )

    @property
    def clip_samples(self) -> int:
        """Samples of a recording that one pair uses."""
        return self.length

    def for_validation(self, corpus: Corpus) -> ProxyMaker:
        """The maker of a validation list: this one."""
        return self

    def make(self, corpus: Corpus, index: int, seed: int) -> ProxyPair:
        """Pair number ``index``; the same arguments always give the same pair.

        Raises:
            SettingError: the corpus is at another sample rate.
            DataError: the corpus has no speaker or track that is long or loud enough.
        """
        if corpus.sample_rate != self.sample_rate:
            raise SettingError(
                f"ProxyMaker: {corpus.name} is at {corpus.sample_rate} Hz, expected "
                f"{self.sample_rate}; open the corpus at that rate."
            )
        rng = np.random.default_rng([seed, index])
        group, clip = self._draw_clip(corpus, rng)
        level_db = -rng.uniform(*self.attenuation_db)
        clip = clip * np.float32(db_to_gain(level_db) / np.abs(clip).max())
        table = self.effect.params
        unit = rng.random(len(table)).astype(np.float32)
        for i, p in enumerate(table):
            if p.role == "makeup" and len(table) > 1:
                unit[i] = (0.0 - p.low) / (p.high - p.low)
        with torch.no_grad():
            setting = table.to_physical(torch.from_numpy(unit).double()[None])
            audio = torch.from_numpy(clip)[None, None]
            out = self.effect.render(audio, self.sample_rate, setting).audio[0, 0].double().numpy()
        target = (LIMIT * np.tanh(out / LIMIT)).astype(np.float32)
        if not np.isfinite(target).all():
            raise DataError(f"{self.effect.name}: its output for item {index} is not finite.")
        return ProxyPair(clip, unit, target, group, index, seed)

    def _draw_clip(self, corpus: Corpus, rng: np.random.Generator) -> tuple[str, Array]:
        usable = corpus.sizes >= self.length
        if not usable.any():
            raise DataError(
                f"{corpus.name}: no speaker or track of {self.length / self.sample_rate:.1f} s or "
                "more; add recordings or make length shorter."
            )
        share = np.where(usable, corpus.sizes.astype(np.float64) ** self.balance, 0.0)
        share /= share.sum()
        for _ in range(TRIES):
            track = corpus.tracks[int(rng.choice(share.size, p=share))]
            clip = track.read(int(rng.integers(0, track.samples - self.length + 1)), self.length)
            if float(np.dot(clip, clip)) / clip.size > self.min_mean_square:
                return track.group, np.asarray(clip, dtype=np.float32)
        raise DataError(
            f"{corpus.name}: {TRIES} clips were all too quiet; lower min_mean_square "
            f"(now {self.min_mean_square:g})."
        )

"""Does a perceptual loss find better settings than the fit that ``match`` uses?

Each recording is the input once. The next one, put into a production style, is its reference, so
the fits see other content. The target, which no fit sees, is the input with the reference's own
settings. The fits start from the setting of ``match`` and move it by gradients through the exact
effects, without any training. Measured is what no loss contains, at the target's loudness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retone.audio.files import load
from retone.dsp.spectral import mel_filterbank
from retone.effects import MATCH_CHAIN
from retone.errors import DataError
from retone.estimators.matching import Matching
from retone.lab.evaluate.methods import excerpt, fitted_to_target, to_loudness
from retone.lab.evaluate.result import Result, Row, table
from retone.losses import AtEqualLoudness, Loss, PreparedTarget, StyleDistance, WeightedSum
from retone.metrics import METRICS
from retone.process.stream import render_whole
from retone.progress import Phase, Progress, silent
from retone.training.data.styles import FIVE, apply_style, style_named
from retone.training.provenance import provenance
from retone.units import db_to_gain

MEASURED = ("stft", "log_mel", "onsets", "crest", "pesq")
PRESENT = "match (present objective)"
CASE = "references of other voices, five styles"
_WINDOW, _BANDS = 1024, 20
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class LevelSpread:
    """Mean difference in dB / 10 of the quantiles of short levels, in each of 20 mel bands.

    Each band's levels are taken relative to its median, so the spectrum does not count.
    """

    def __call__(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Mean over the batch, a scalar."""
        return self.per_item(estimate, target, sample_rate).mean()

    def prepare(self, target: Tensor) -> PreparedTarget:
        """Nothing to prepare."""
        return PreparedTarget(target)

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]; waveforms are [B, C, T] of any length."""
        audio = target.audio if isinstance(target, PreparedTarget) else target
        own, other = (_spread(x, sample_rate) for x in (estimate, audio))
        return (own - other.detach()).abs().mean(dim=(1, 2)) / 10


def _spread(audio: Tensor, sample_rate: float) -> Tensor:
    """Quantiles [B, Q, bands] of short levels in dB, relative to the median; first channel."""
    frames = audio[:, 0].unfold(-1, _WINDOW, _WINDOW // 2)
    window = torch.hann_window(_WINDOW, dtype=audio.dtype)
    power = torch.fft.rfft(frames * window).abs().square()
    bank = mel_filterbank(_BANDS, _WINDOW, sample_rate).to(audio.dtype)
    bank = bank if bank.shape[0] == power.shape[-1] else bank.T
    level = 10 * torch.log10((power @ bank).clamp_min(1e-8))
    steps = torch.tensor(_QUANTILES, dtype=audio.dtype)
    found = torch.quantile(level, steps, dim=1).movedim(0, 1)
    return found - found[:, len(_QUANTILES) // 2 :][:, :1]


def objectives() -> dict[str, Loss]:
    """Row -> what its fit minimises."""
    spectrum = StyleDistance(level_weight=0.0, centroid_weight=0.0)
    several = WeightedSum((StyleDistance(level_weight=0.0), LevelSpread()), (1.0, 1.0))
    return {
        "fit to the long-term mel spectrum": AtEqualLoudness(spectrum),
        "fit to several measures": AtEqualLoudness(several),
    }


@dataclass(frozen=True)
class _Pair:
    input: np.ndarray
    target: np.ndarray


def evaluate(
    recordings: Sequence[Path],
    sample_rate: int,
    *,
    seconds: float = 5.0,
    steps: int = 40,
    learning_rate: float = 0.05,
    seed: int = 0,
    path: Path | None = None,
    progress: Progress = silent,
) -> Result:
    """Measure every row on every recording.

    Args:
        recordings: voices, at least two, each of ``seconds`` or more.
        sample_rate: at which everything is measured, in Hz.
        seconds: length of each clip.
        steps, learning_rate: of Adam, on logits of unit parameters.
        seed: of the styles' settings.
        path: result file; rows in it are not measured again.

    Raises:
        DataError: there are fewer than two recordings, or one is too short.
    """
    if len(recordings) < 2:
        raise DataError("one recording is not enough: each needs another one as its reference.")
    question = {
        "what": "objectives", "recordings": [p.name for p in recordings], "seconds": seconds,
        "steps": steps, "learning_rate": learning_rate, "seed": seed, "sample_rate": sample_rate,
    }  # fmt: skip
    result = Result.resumed(question, provenance(), path)
    clips = [_clip(p, seconds, sample_rate) for p in recordings]
    done = {r.item for r in result.rows}
    for item, clip in enumerate(clips):
        if item not in done:
            other = clips[(item + 1) % len(clips)]
            made = _rows(clip, other, item, sample_rate, seed, steps, learning_rate)
            values = {
                name: {m: METRICS[m](out, made["target"], sample_rate) for m in MEASURED}
                for name, out in made.items()
                if name != "target"
            }
            result.rows += [
                Row(item, recordings[item].name, CASE, name, v) for name, v in values.items()
            ]
            if path is not None:
                result.save(path)
        progress(Phase("fitting", "recordings"), item + 1, len(clips))
    return result


def _clip(path: Path, seconds: float, sample_rate: int) -> np.ndarray:
    clip = load(path).mono().resample(sample_rate)
    audio = np.asarray(clip.samples[0], np.float32)
    frames = round(seconds * sample_rate)
    if audio.size < frames:
        raise DataError(f"{path} lasts {audio.size / sample_rate:.1f} s; expected {seconds:g} s.")
    first = (audio.size - frames) // 2
    audio = audio[first : first + frames]
    return audio / np.float32(max(float(np.abs(audio).max()), 1e-9))


def _rows(
    own: np.ndarray,
    other: np.ndarray,
    item: int,
    rate: int,
    seed: int,
    steps: int,
    learning_rate: float,
) -> Mapping[str, np.ndarray]:
    """The target and each row's output, all at the target's loudness."""
    rng = np.random.default_rng([seed, item])
    style = style_named(FIVE[item % len(FIVE)])
    gain = np.float32(db_to_gain(-float(rng.uniform(*style.headroom_db))))
    setting = style.draw(rng)
    reference = apply_style(gain * other, rate, MATCH_CHAIN, setting)
    target = apply_style(gain * own, rate, MATCH_CHAIN, setting)
    source, _ = excerpt(own, rate)
    wanted, _ = excerpt(reference, rate)
    found = Matching().estimate(source, [wanted], locks={})
    table_ = found.effect.params
    audio = np.asarray(source.audio, np.float32).reshape(-1)
    out = {"Input": own, PRESENT: render_whole(found.effect, audio[None], rate, found.setting)[0]}
    unit = table_.to_unit({n: v.double() for n, v in found.setting.items()}).clamp(0.02, 0.98)
    pair = _Pair(audio, np.asarray(wanted.audio, np.float32).reshape(-1))
    for name, loss in objectives().items():
        out[name] = fitted_to_target(
            found.effect, unit, pair, rate, loss, steps=steps, learning_rate=learning_rate
        )
    return {"target": target} | {n: to_loudness(a, target, rate, 1.0) for n, a in out.items()}


def page(result: Result) -> str:
    """The table as Markdown."""
    return table(result, CASE, [(n, METRICS[n].direction) for n in MEASURED])

"""The trained reference-free estimator: it predicts how a recording differs from good speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.dsp.spectral import mel_filterbank, stft
from retone.effects import Chain, NoiseReduction
from retone.errors import DataError, SettingError
from retone.estimators.base import Estimate, Excerpt, Reference, shift_thresholds
from retone.estimators.expansion import expanded
from retone.estimators.loading import Loaded, load, pieces
from retone.estimators.no_lift import keeps_rule, without_lift
from retone.estimators.noise import reduction_db, without_noise
from retone.estimators.ordinary import damaged
from retone.estimators.sound import sound_of
from retone.estimators.speech_music import Content, content_of
from retone.nets import checkpoint
from retone.nets.tcn import Tcn
from retone.progress import ESTIMATING, Progress, silent

SHIPPED = "enhance_speech.safetensors"
MUSIC_SHARE, MUSIC_CONFIDENCE = 0.25, 0.7
SURE = 0.95
ORDINARY_SHARE, SMALL_DB = 0.05, 0.25
"""Below this share of a change, or this size of what is made, no number is given."""
AMOUNT = "noise_reduction.reduction_db"
EXPANSION_PARTS = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Of the expanders' slope, tried in turn."""
WINDOW, HOP, MELS = 1024, 512, 48
ACTIVE_DB = 40.0


@dataclass(frozen=True)
class ReferenceFree:
    """Predicts the setting of its effect from the recording alone.

    Longer excerpts are split into pieces of the training clips' length, each normalised to their
    peak; thresholds are moved back to the excerpt's own level, and the predictions are averaged
    on each parameter's own scale. How much of the change is applied depends on how far the
    recording's spectrum is from that of ordinary voices (``retone.estimators.ordinary``): of a
    good recording the predictions mostly reflect the voice. For music it is a quarter of that. In
    speech, steady noise is reduced first (``retone.estimators.noise``), and what sounds between the
    words is turned down band by band (``retone.estimators.expansion``). Bands in which the
    recording holds nothing are not lifted (``retone.estimators.no_lift``).

    Args:
        weights: a ``.safetensors`` file that ``retone train`` wrote for one of the diffdeq
            recipes; None for those that ship with the package.
        max_pieces: most pieces of a recording.
        caution_db: judge by the size of the change instead: one of this size in dB is halved (see
            ``strength``), and 0 keeps every change as it is.
        expansion: share of the expanders' slope, from 0 to 1; 0 leaves them to the network.
        denoise: reduce steady noise first, if the weights set a chain of effects.
    """

    name: str = "reference-free"
    weights: Path | None = None
    max_pieces: int = 8
    caution_db: float | None = None
    expansion: float = 1.0
    denoise: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.expansion <= 1:
            raise SettingError(
                f"expansion = {self.expansion}: it must lie between 0 (no expanders) and 1."
            )

    @property
    def effect(self) -> Effect:
        """The effect that the weights set, with the noise reduction in front."""
        return self._whole(self.load().effect)

    def _whole(self, effect: Effect) -> Effect:
        if self.denoise and isinstance(effect, Chain):
            return Chain(effect.name, (NoiseReduction(), *effect.members))
        return effect

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference] = (),
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``. References are ignored.

        Raises:
            DataError: the weights are missing, damaged, or for a network that needs a reference.
        """
        loaded, content = self.load(), content_of(source)
        known, own = self._whole(loaded.effect).params, set(loaded.effect.params.names)
        first = known.setting({n: v for n, v in locks.items() if n not in own})
        first = {n: v for n, v in first.items() if n not in own}
        amount_db = 0.0
        if AMOUNT in first:
            if AMOUNT not in locks and content.kind == "speech":
                first[AMOUNT] = first[AMOUNT].new_tensor([reduction_db(source)])
            amount_db = float(first[AMOUNT][0])
        clean = without_noise(source, amount_db)
        inner = {n: v for n, v in locks.items() if n in own}
        found = self._change(loaded, clean, content, inner, progress)
        if not amount_db and len(inner) == len(locks):
            return found
        notes = (f"Steady noise is turned down by up to {amount_db:.0f} dB.",) if amount_db else ()
        whole = self._whole(loaded.effect)
        return Estimate(whole, {**first, **found.setting}, (*notes, *found.notes))

    def _change(
        self, loaded: Loaded, source: Excerpt, content: Content, locks: Mapping[str, float],
        progress: Progress,
    ) -> Estimate:  # fmt: skip
        """What the network and the rules around it set."""
        network: Any = loaded.network
        table = loaded.effect.params
        clips = pieces(source, network.config.front_end.sample_rate, loaded.length,
                       self.max_pieces)  # fmt: skip
        peak = clips.abs().amax(1, keepdim=True).clamp(min=1e-6)
        gain = 10 ** (loaded.peak_dbfs / 20) / peak
        where = SHIPPED if self.weights is None else self.weights.name
        with torch.no_grad(), checkpoint.damaged(where):
            unit = checkpoint.finite(network(clips * gain).double(), where)
        progress(ESTIMATING, 1, 1)
        level_db = 20 * torch.log10(gain[:, 0].double())
        setting, _ = shift_thresholds(table, table.to_physical(unit), -level_db)
        mean = table.to_physical(table.to_unit(setting).mean(0, keepdim=True))
        rate = network.config.front_end.sample_rate
        size_db = change_db(loaded.effect, clips, rate, mean)
        known = self._share(source, size_db)
        share = 0.0 if known is None else known
        notes: list[str] = []
        if self.caution_db != 0:
            if content.kind == "music" and content.confidence >= MUSIC_CONFIDENCE:
                share *= MUSIC_SHARE
                notes.append(
                    f"This sounds like music ({100 * content.confidence:.0f} % confidence), and "
                    "enhance is made for speech: at most a quarter of its change is applied. For "
                    "music use 'retone match' with a reference."
                )
            elif share < SURE:
                who = "voice" if content.kind == "speech" else "recording"
                notes.append(_left_out(size_db, share, known is not None, who))
        setting = mean if share == 1 else table.blend(mean, share)
        setting, held = without_lift(loaded.effect, source, setting, locks)
        slope = self.expansion if content.kind == "speech" else 0.0
        setting, expansion = with_expanders(loaded.effect, source, setting, locks, slope)
        return Estimate(loaded.effect, setting, (*notes, *expansion, *held))

    def _share(self, source: Excerpt, size_db: float) -> float | None:
        """Share of the change to make; None if it cannot be judged."""
        if self.caution_db is None:
            return damaged(sound_of(source))
        return strength(size_db, self.caution_db) if self.caution_db else 1.0

    def load(self) -> Loaded:
        """The network and its effect."""
        path = self.weights
        if path is None:
            path = Path(str(resources.files("retone") / "weights" / SHIPPED))
            if not path.is_file():
                raise DataError(
                    "this version ships no weights for enhancement: train the recipe "
                    "diffdeq_improved and use its best.safetensors."
                )
        loaded = load(path)
        if not isinstance(loaded.network, Tcn):
            raise DataError(
                f"{path.name}: these weights need a reference; they are for 'retone match'. Use "
                "weights of a diffdeq recipe."
            )
        return loaded


def with_expanders(
    effect: Effect, source: Excerpt, setting: Setting, locks: Mapping[str, float], slope: float
) -> tuple[Setting, tuple[str, ...]]:
    """``expanded`` with as much of the slope as lifts no empty band.

    Fast expanders leave traces in bands that hold nothing. No equaliser takes these away without
    harm to the tone, so the expanders give way.
    """
    if slope <= 0:
        return setting, ()
    for part in EXPANSION_PARTS:
        found, said = expanded(effect, source, setting, locks, part * slope)
        if keeps_rule(effect, source, found):
            return found, said
    return setting, ()


def strength(size_db: float, caution_db: float) -> float:
    """Share of a change of ``size_db`` that is applied: ``size^2 / (size^2 + caution^2)``."""
    return size_db**2 / (size_db**2 + caution_db**2)


def _left_out(size_db: float, share: float, judged: bool, who: str) -> str:
    """Why less than the network's change of ``size_db`` is made."""
    if not judged:
        return f"Too little of a voice stands out to judge the {who}: its tone is left as it is."
    if share < ORDINARY_SHARE:
        return f"The spectrum is that of an ordinary voice: the {who} is left nearly as it is."
    if share * size_db < SMALL_DB:
        return f"The network would hardly change the {who}, which is left nearly as it is."
    return (
        f"The network predicts a change of {size_db:.1f} dB; {100 * share:.0f} % of it is applied, "
        "because the spectrum is not far from that of ordinary voices."
    )


@torch.no_grad()
def change_db(effect: Effect, clips: Tensor, sample_rate: int, setting: Setting) -> float:
    """How much a setting changes clips [N, T]: mean absolute difference of 48 log-mel bands at
    equal level, in dB, over the frames within 40 dB of the loudest."""
    loudest = clips[clips.square().mean(1).argmax()][None]
    out = effect.render(loudest[:, None], sample_rate, setting).audio[:, 0]
    bank = mel_filterbank(MELS, WINDOW, sample_rate).float()
    before, after = (bank @ stft(x, WINDOW, HOP).abs().square().float()[0] for x in (loudest, out))
    level = 10 * torch.log10(before.sum(0) + 1e-12)
    active = level > level.max() - ACTIVE_DB
    floor = 1e-6 * float(before.max()) + 1e-12
    change = 10 * torch.log10((after + floor) / (before + floor))[:, active]
    return float((change - change.mean()).abs().mean())

"""Training pairs from plain recordings: one clip processed two ways, halves swapped.

The self-supervised scheme of DeepAFx-ST (Steinmetz, Bryan and Reiss, JAES 70(9), 2022): a clip
has two halves A and B; one processing gives the input and another the target style. The input's A
with the style's B as reference must become the style's A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from retone.errors import DataError, SettingError
from retone.training.data.corpora import Corpus, Track
from retone.training.data.degradations import play_at_speed
from retone.training.data.processing import (
    Processing,
    Warp,
    draw_bands,
    draw_color,
    draw_compressor,
    draw_expander,
    draw_levels,
    draw_noise,
    draw_warp,
    normalise,
)

Array = np.ndarray
TRIES_PER_TRACK = 100
TRIES = 40
REFERENCE_FADE_SAMPLES = 1102
MAX_SPEED = 1.5


@dataclass(frozen=True)
class Pair:
    """One training item: audio, float32 [L], and where it comes from.

    Args:
        input: the clip to process.
        reference: another part of the recording in the target style.
        target: the input's part in the target style.
        cross_source: whether the reference is another speaker or track.
        group, reference_group: speakers or tracks.
        start: first sample of the source clip in its speaker or track.
        input_processing, style: processing of the input, and of target and reference.
        index, seed: which call of `PairMaker.make` gives this pair again.
    """

    input: Array
    reference: Array
    target: Array
    cross_source: bool
    group: str
    reference_group: str
    start: int
    input_processing: Processing
    style: Processing
    index: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class PairMaker:
    """Makes pairs. The defaults are the paper's scheme without the bugs of its program.

    Args:
        sample_rate: Hz, that of the corpora given to `make`.
        length: samples L of each signal of a pair; a source clip has twice that.
        augment_probability: probability that pitch and tempo are changed first.
        color_probability: probability that a source clip first gets a coloration, as from another
            microphone or speaker; input, target and reference share it, so that a network cannot
            memorise how the unprocessed recordings of a small corpus sound.
        levels_probability: probability that a source clip's level changes from phrase to phrase.
        noise_probability: probability that steady background noise is added to a source clip.
        input_equalizer_probability, expander_probability: processing of the input.
        target_equalizer_probability, compressor_probability: processing of the target style.
        cross_source_probability: probability that the reference is another speaker or track with
            the same processing as the target.
        speed: every source clip is played up to this factor faster or slower when training, to
            make more voices out of few: pitch and formants shift together, as for larger and
            smaller speakers; a reference by another speaker has its own factor. 1: never.
        leveled_probability: probability that input and reference are each normalised to
            ``peak_dbfs``, like an estimator's excerpts; the target gets the reference's gain.
        min_mean_square: lowest mean square of each half of a source clip, as recorded.
        silence_of_clip: compare that of the whole source clip instead, as DeepAFx-ST's paper does.
        peak_dbfs: peak of a clip before the halves are cut.
        fade_ms: linear fade at both ends of a clip.
        balance: a speaker or track of n samples is drawn with a probability proportional to
            ``n ** balance``: 0 gives all the same probability, 1 weights by duration.
        reference_compatible: reproduce the published program exactly: target clipped at full scale
            and not normalised before its compressor, a stretch instead of the pitch shift,
            silence at the end of shortened clips, fades of 1102 samples, equal probability for
            all tracks.
    """

    sample_rate: int
    length: int
    augment_probability: float = 0.5
    color_probability: float = 0.0
    levels_probability: float = 0.0
    noise_probability: float = 0.0
    input_equalizer_probability: float = 0.75
    expander_probability: float = 0.1
    target_equalizer_probability: float = 0.75
    compressor_probability: float = 0.75
    cross_source_probability: float = 0.0
    speed: float = 1.0
    leveled_probability: float = 0.0
    min_mean_square: float = 1e-4
    silence_of_clip: bool = False
    peak_dbfs: float = -12.0
    fade_ms: float = 50.0
    balance: float = 0.5
    reference_compatible: bool = False

    def __post_init__(self) -> None:
        if self.length < 2 or self.sample_rate <= 0:
            raise SettingError(
                f"PairMaker: length {self.length} and sample_rate {self.sample_rate} must be "
                "positive numbers of samples and Hz."
            )
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name.endswith("_probability") and not 0.0 <= value <= 1.0:
                raise SettingError(f"PairMaker: {name} {value} is not between 0 and 1.")
        if not 1.0 <= self.speed <= MAX_SPEED:
            raise SettingError(f"PairMaker: speed {self.speed} is not in 1..{MAX_SPEED}.")

    def for_evaluation(self, *, cross_source: bool) -> PairMaker:
        """The maker without augmentation; references come from other sources always or never."""
        return replace(
            self,
            augment_probability=0.0,
            color_probability=0.0,
            levels_probability=0.0,
            noise_probability=0.0,
            speed=1.0,
            leveled_probability=0.0,
            cross_source_probability=1.0 if cross_source else 0.0,
        )

    @property
    def clip_samples(self) -> int:
        """Most samples of a recording that one pair uses, before pitch and tempo."""
        length = 2 * self.length
        return length if self.speed == 1.0 else math.ceil(length * self.speed) + 2

    def for_validation(self, corpus: Corpus) -> PairMaker:
        """The maker of a validation list: no augmentation, other sources if there are several."""
        several = len({track.group for track in corpus.tracks}) > 1
        return replace(
            self,
            augment_probability=0.0,
            color_probability=0.0,
            levels_probability=0.0,
            noise_probability=0.0,
            speed=1.0,
            cross_source_probability=self.cross_source_probability if several else 0.0,
        )

    def make(self, corpus: Corpus, index: int, seed: int) -> Pair:
        """Pair number ``index``; the same arguments always give the same pair.

        Raises:
            SettingError: the corpus is at another sample rate.
            DataError: the corpus has no speaker or track that is long or loud enough, or only
                one although references of other sources are required.
        """
        if corpus.sample_rate != self.sample_rate:
            raise SettingError(
                f"PairMaker: {corpus.name} is at {corpus.sample_rate} Hz, expected "
                f"{self.sample_rate}; open the corpus at that rate."
            )
        rng = np.random.default_rng([seed, index])
        clip_length = 2 * self.length
        cross = bool(rng.random() < self.cross_source_probability)
        warp = None
        if rng.random() < self.augment_probability:
            warp = draw_warp(rng, as_stretch=self.reference_compatible)
        processing = self._draw_input(rng)
        style = self._draw_style(rng)
        first_half = bool(rng.random() < 0.5)

        track, start, clip = self._draw_clip(corpus, rng, clip_length, warp, None)
        processed = self._finish(processing.apply(clip, self.sample_rate, self.peak_dbfs))
        wanted = self._finish(style.apply(clip, self.sample_rate, self.peak_dbfs))
        a, b = slice(0, self.length), slice(self.length, clip_length)
        here, there = (a, b) if first_half else (b, a)
        other, reference = track, wanted[there]
        if cross:
            other, _, clip = self._draw_clip(corpus, rng, clip_length, None, track)
            reference = self._finish(style.apply(clip, self.sample_rate, self.peak_dbfs))[there]
        source, target = processed[here], wanted[here]
        if self.leveled_probability and rng.random() < self.leveled_probability:
            gain = 10.0 ** (self.peak_dbfs / 20.0) / max(float(np.abs(reference).max()), 1e-9)
            source = normalise(source, self.peak_dbfs)
            reference, target = reference * gain, target * gain
        return Pair(
            input=as_float32(source),
            reference=as_float32(reference),
            target=as_float32(target),
            cross_source=cross,
            group=track.group,
            reference_group=other.group,
            start=start,
            input_processing=processing,
            style=style,
            index=index,
            seed=seed,
        )

    def _draw_input(self, rng: np.random.Generator) -> Processing:
        bands = self._bands(rng, self.input_equalizer_probability)
        expander = draw_expander(rng) if rng.random() < self.expander_probability else None
        return Processing(bands, expander, level=True, clip=self.reference_compatible)

    def _draw_style(self, rng: np.random.Generator) -> Processing:
        bands = self._bands(rng, self.target_equalizer_probability)
        compressor = draw_compressor(rng) if rng.random() < self.compressor_probability else None
        exact = self.reference_compatible
        return Processing(bands, compressor, level=not exact, clip=exact)

    def _bands(self, rng: np.random.Generator, probability: float):  # type: ignore[no-untyped-def]
        return draw_bands(rng, self.sample_rate) if rng.random() < probability else ()

    def _draw_clip(
        self,
        corpus: Corpus,
        rng: np.random.Generator,
        length: int,
        warp: Warp | None,
        avoid: Track | None,
    ) -> tuple[Track, int, Array]:
        """A loud enough clip of exactly ``length`` samples, augmented and normalised."""
        need = length
        if warp is not None and not self.reference_compatible:
            need = math.ceil(length / min(1.0, warp.length_factor)) + 8
        speed, raw, most = 1.0, need, need
        if self.speed > 1.0:
            span = math.log(self.speed)
            speed = math.exp(rng.uniform(-span, span))
            raw, most = (math.ceil(need * s) + 2 for s in (speed, self.speed))
        usable = (
            corpus.sizes >= most
        )  # for any speed, so that the choice of tracks does not depend on it
        if avoid is not None:
            usable &= np.array([track.group != avoid.group for track in corpus.tracks])
        if not usable.any():
            raise DataError(
                f"{corpus.name}: no {'other ' if avoid else ''}speaker or track of "
                f"{most / self.sample_rate:.1f} s or more; add recordings or make length shorter."
            )
        share = np.where(usable, self._shares(corpus), 0.0)
        share /= share.sum()
        parts = [slice(0, length // 2), slice(length // 2, length)]
        if self.silence_of_clip:
            parts = [slice(0, length)]
        for _ in range(TRIES):
            track = corpus.tracks[int(rng.choice(share.size, p=share))]
            for _ in range(TRIES_PER_TRACK):
                start = int(rng.integers(0, track.samples - raw + 1))
                clip = track.read(start, raw)
                if speed != 1.0:
                    clip = play_at_speed(clip, speed, need)
                if all(_mean_square(clip[p]) > self.min_mean_square for p in parts):
                    clip = normalise(clip, self.peak_dbfs)
                    if warp is not None:
                        clip = _fitted(warp.apply(clip, self.sample_rate), length)
                    if self.levels_probability and rng.random() < self.levels_probability:
                        gains = draw_levels(rng, length, self.sample_rate)
                        clip = normalise(clip * gains.astype(clip.dtype), self.peak_dbfs)
                    if self.noise_probability and rng.random() < self.noise_probability:
                        clip = clip + draw_noise(rng, length, self.sample_rate).astype(clip.dtype)
                    if self.color_probability and rng.random() < self.color_probability:
                        color = Processing(draw_color(rng, self.sample_rate))
                        clip = color.apply(clip, self.sample_rate, self.peak_dbfs)
                    return track, start, clip
        raise DataError(
            f"{corpus.name}: {TRIES} speakers or tracks were all too quiet; lower min_mean_square "
            f"(now {self.min_mean_square:g})."
        )

    def _shares(self, corpus: Corpus) -> Array:
        """How likely each speaker or track is drawn, relative to the others."""
        balance = 0.0 if self.reference_compatible else self.balance
        return np.asarray(corpus.sizes.astype(np.float64) ** balance)

    def _finish(self, audio: Array) -> Array:
        """Fade both ends and bring the clip to its peak level."""
        size = round(self.fade_ms * self.sample_rate / 1000.0)
        if self.reference_compatible:
            size = REFERENCE_FADE_SAMPLES
        size = min(size, audio.size // 2)
        out = audio.copy()
        if size:
            ramp = np.linspace(0.0, 1.0, size, dtype=audio.dtype)
            out[:size] *= ramp
            out[-size:] *= ramp[::-1]
        return normalise(out, self.peak_dbfs)


def _mean_square(audio: Array) -> float:
    return float(np.dot(audio, audio)) / max(1, audio.size)


def as_float32(audio: Array) -> Array:
    """Contiguous float32 samples of ``audio`` [T]."""
    return np.ascontiguousarray(audio, dtype=np.float32)


def _fitted(audio: Array, length: int) -> Array:
    if audio.size >= length:
        return audio[:length]
    return np.concatenate([audio, np.zeros(length - audio.size, audio.dtype)])

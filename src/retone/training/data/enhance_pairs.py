"""Training pairs for reference-free enhancement: clean speech, degraded by random dynamic EQ.

The scheme of Diff-DEQ (S. Sarkar, L. Lindborg, EUSIPCO 2025): a clip is the target; a random
multiband setting turns it into the input, and a network learns to undo that. The paper leaves
ranges, probabilities and rules open; the choices are documented with the fields below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from retone.dsp.effect import Effect
from retone.dsp.param import Param
from retone.errors import DataError, SettingError
from retone.kernels.sox_effects import Band, equalize
from retone.training.data.corpora import Corpus, Track, full_band
from retone.training.data.degradations import draw_noise, low_pass, play_at_speed
from retone.training.data.processing import normalise
from retone.units import db_to_gain, gain_to_db

Array = np.ndarray
STRENGTHS = ("moderate", "paper_strong")
SEGMENT = 70_972
"""The paper's segment, 2.957 s at 24 kHz."""
FRAME_MS = 25.0
QUIET_FRAME_RMS = 0.01
"""The paper drops frames of "energy below 0.01". Read as a mean square that would be -20 dBFS and
most speech; it is read as RMS, -40 dBFS, of a clip at its peak level."""
SILENT_PEAK = 1e-4
MAX_QUIET_SHARE = 0.5
TRIES_PER_TRACK, TRIES = 20, 40
MAX_ATTEMPTS = 8
"""Settings drawn until one gives an audible input."""

Q = (0.3, 3.0)
THRESHOLD_DB = (-40.0, -10.0)
MAX_RATIO = 6.0
EXPANDER_THRESHOLD_DB = (-60.0, -35.0)
MAX_EXPANDER_RATIO = 3.0
NOISE_DB = (12.0, 45.0)
"""Speech-to-noise ratio in dB."""
LOW_BAND_HZ = (3400.0, 10000.0)


@dataclass(frozen=True)
class EnhancePair:
    """One training item: audio, float32 [L], and where it comes from.

    Args:
        input: the degraded clip, at the peak level.
        reference: the input again, for networks that are given two signals.
        target: the clean clip, at the peak level.
        input_gain_db, target_gain_db: gain that brought each to its peak level: the input
            after degradation, the target as recorded.
        drive_db: gain before the degradation, which decides how much its dynamics act.
        group: speaker.
        start: first sample of the clip in its track.
        setting: of the degrading effect.
        device: response of a recording device, if one was drawn.
        index, seed: which call of `EnhanceMaker.make` gives this pair again.
    """

    input: Array
    target: Array
    input_gain_db: float
    target_gain_db: float
    drive_db: float
    group: str
    start: int
    setting: Mapping[str, float]
    device: tuple[Band, ...]
    index: int
    seed: int

    @property
    def reference(self) -> Array:
        return self.input


@dataclass(frozen=True, kw_only=True)
class EnhanceMaker:
    """Makes pairs.

    Args:
        sample_rate: Hz, that of the corpora given to `make`.
        corruption: the degrading effect, with the parameter names of the multiband effects
            (``band_1_gain_db``, ...).
        length: samples of a clip.
        strength: ``"moderate"``: each band's EQ and each band's dynamics with probability
            ``band_probability``, gains within ``gain_db``, ratios up to 6; ``"paper_strong"``:
            uniform over the whole range of every parameter, which is unrealistically strong.
        band_probability: see above.
        gain_db: largest EQ gain of a band, either way. Voices differ by about 7 dB in a third of an
            octave; without a reference, smaller degradations cannot be told from differences
            between voices.
        expansion: also draw upward expansion (ratios below 1) and downward expansion, where the
            effect has them. Compressors can undo compression only in part.
        drive_db: largest gain before the degradation, either way; after it, normalisation would
            cancel the gain.
        device_probability: probability of the response of a telephone, a laptop or a cheap
            microphone after the degradation.
        clean_probability: probability that a clip is not degraded, except for level, noise and
            low-pass, so that good recordings stay unchanged.
        min_strength: gains in dB and slopes of the dynamics, and the device's gains, are scaled
            by a factor drawn between this and 1.
        noise_probability: probability of steady room noise after the degradation, ``NOISE_DB``
            below the speech; the target has none.
        low_band_probability: probability that input and target both end at ``LOW_BAND_HZ``, since
            boosting missing frequencies only boosts noise.
        speed: in training voices are played up to this factor faster or slower, to make more
            voices out of few.
        allpass_target: pass the target through the all-pass of the degrading effect's crossovers,
            since no setting can undo that phase.
        peak_dbfs: peak level of both input and target.
        balance: a speaker of n samples is drawn with a probability proportional to ``n **
            balance``.
        full_band_weight: how much more often a voice whose content reaches ``FULL_BAND`` of half
            the sample rate is drawn; others must not teach that the top is empty.
        alternate: makes every second pair instead, such as with another degrading effect. Its
            sample rate and length become this maker's.

    Raises:
        SettingError: a size, weight or probability out of range, or an effect without bands.
    """

    sample_rate: int
    corruption: Effect
    length: int = SEGMENT
    strength: str = "moderate"
    band_probability: float = 0.7
    gain_db: float = 12.0
    expansion: bool = False
    drive_db: float = 24.0
    device_probability: float = 0.0
    clean_probability: float = 0.0
    min_strength: float = 1.0
    noise_probability: float = 0.0
    low_band_probability: float = 0.0
    speed: float = 1.0
    allpass_target: bool = False
    peak_dbfs: float = -1.0
    balance: float = 0.5
    full_band_weight: float = 1.0
    alternate: EnhanceMaker | None = None

    def __post_init__(self) -> None:
        if self.length < 2 or self.sample_rate <= 0:
            raise SettingError(
                f"EnhanceMaker: length {self.length} and sample_rate {self.sample_rate} must be "
                "positive numbers of samples and Hz."
            )
        if self.strength not in STRENGTHS:
            raise SettingError(
                f"EnhanceMaker: strength '{self.strength}' is unknown; choose one of "
                f"{', '.join(STRENGTHS)}."
            )
        for name in (
            "band_probability", "device_probability", "clean_probability", "min_strength",
            "noise_probability", "low_band_probability",
        ):  # fmt: skip
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingError(f"EnhanceMaker: {name} {getattr(self, name)} is not in 0..1.")
        if not 1.0 <= self.speed <= 1.5:
            raise SettingError(f"EnhanceMaker: speed {self.speed} is not in 1..1.5.")
        if not 0.0 < self.full_band_weight < math.inf:
            raise SettingError(
                f"EnhanceMaker: full_band_weight {self.full_band_weight} must be above 0."
            )
        other = self.alternate
        if other and (other.sample_rate, other.length) != (self.sample_rate, self.length):
            other = replace(other, sample_rate=self.sample_rate, length=self.length)
            object.__setattr__(self, "alternate", other)
        if "band_1_gain_db" not in self.corruption.params.names:
            raise SettingError(
                f"EnhanceMaker: {self.corruption.name} has no band_1_gain_db; use one of the "
                "multiband effects."
            )

    @property
    def clip_samples(self) -> int:
        """Most samples of a recording that one pair uses."""
        own = self.length if self.speed == 1.0 else math.ceil(self.length * self.speed) + 2
        return max(own, self.alternate.clip_samples) if self.alternate else own

    def for_validation(self, corpus: Corpus) -> EnhanceMaker:
        """The maker of a validation list: voices at their own speed."""
        other = self.alternate and self.alternate.for_validation(corpus)
        return replace(self, speed=1.0, alternate=other)

    def for_scoring(self) -> EnhanceMaker:
        """The maker for scoring: full degradation by bands and devices, no noise; the target is the
        clean clip."""
        return replace(
            self,
            allpass_target=False,
            clean_probability=0.0,
            min_strength=1.0,
            noise_probability=0.0,
            low_band_probability=0.0,
            speed=1.0,
            alternate=None,
        )

    def make(self, corpus: Corpus, index: int, seed: int) -> EnhancePair:
        """Pair number ``index``; the same arguments always give the same pair.

        Raises:
            SettingError: the corpus is at another sample rate.
            DataError: the corpus has no speaker that is long or loud enough.
        """
        if corpus.sample_rate != self.sample_rate:
            raise SettingError(
                f"EnhanceMaker: {corpus.name} is at {corpus.sample_rate} Hz, expected "
                f"{self.sample_rate}; open the corpus at that rate."
            )
        if self.alternate and index % 2:
            return self.alternate.make(corpus, index, seed)
        rng = np.random.default_rng([seed, index])
        drive_db = float(rng.uniform(-self.drive_db, self.drive_db))
        device = draw_device(rng, self.sample_rate) if _chance(rng, self.device_probability) else ()
        strength = self._draw_strength(rng)
        device = tuple(replace(b, gain_db=strength * b.gain_db) for b in device)
        track, start, clip = self._draw_clip(corpus, rng)
        if _chance(rng, self.low_band_probability):
            top_hz = min(LOW_BAND_HZ[1], 0.45 * self.sample_rate)
            clip = low_pass(clip, self.sample_rate, _log_uniform(rng, LOW_BAND_HZ[0], top_hz))
        target_gain_db = self.peak_dbfs - gain_to_db(float(np.abs(clip).max()))
        target = normalise(clip, self.peak_dbfs)
        driven = torch.from_numpy(target * np.float32(db_to_gain(drive_db)))[None, None]
        for _ in range(MAX_ATTEMPTS):
            setting = self._draw_setting(rng, strength)
            tensors = {n: torch.tensor([v], dtype=torch.float64) for n, v in setting.items()}
            with torch.no_grad():
                degraded = self.corruption.render(driven, self.sample_rate, tensors).audio[0, 0]
            degraded_audio = degraded.numpy()
            if _chance(rng, self.noise_probability):
                rms = math.sqrt(float(np.mean(np.square(degraded_audio, dtype=np.float64))))
                level = rms * db_to_gain(-float(rng.uniform(*NOISE_DB)))
                noise = draw_noise(rng, degraded_audio.size, self.sample_rate)
                degraded_audio = degraded_audio + np.float32(level) * noise
            processed = equalize(degraded_audio, self.sample_rate, device)
            peak = float(np.abs(processed).max())
            if math.isfinite(peak) and peak > SILENT_PEAK:
                break
        else:
            raise DataError(
                f"EnhanceMaker: {MAX_ATTEMPTS} settings in a row silenced "
                f"{track.group}; use weaker ones."
            )
        if self.allpass_target:
            with torch.no_grad():
                clean = torch.from_numpy(target)[None, None]
                target = self.corruption.static_path(clean, self.sample_rate, tensors)[0, 0].numpy()
        return EnhancePair(
            input=_as_float32(normalise(processed, self.peak_dbfs)),
            target=_as_float32(target),
            input_gain_db=self.peak_dbfs - gain_to_db(peak),
            target_gain_db=target_gain_db,
            drive_db=drive_db,
            group=track.group,
            start=start,
            setting=setting,
            device=device,
            index=index,
            seed=seed,
        )

    def _draw_strength(self, rng: np.random.Generator) -> float:
        if _chance(rng, self.clean_probability):
            return 0.0
        return float(rng.uniform(self.min_strength, 1.0)) if self.min_strength < 1 else 1.0

    def _draw_setting(self, rng: np.random.Generator, strength: float = 1.0) -> dict[str, float]:
        """A random setting of the degrading effect, each parameter in its range.

        ``strength`` 0..1 scales gains and slopes of the moderate draws.
        """
        table = self.corruption.params
        if self.strength == "paper_strong":
            unit = torch.from_numpy(rng.random((1, len(table))))
            return {n: float(v[0]) for n, v in table.to_physical(unit).items()}
        setting = {n: float(v[0]) for n, v in table.neutral(1).items()}
        names = set(table.names)

        def put(name: str, value: float) -> None:
            if name in names:
                setting[name] = min(max(value, table[name].low), table[name].high)

        for p in table:
            if p.name.startswith("crossover_"):
                put(p.name, _log_uniform(rng, p.low, p.high))
        band = 1
        while f"band_{band}_gain_db" in names:
            b = f"band_{band}"
            equalized, dynamic = rng.random(2) < self.band_probability
            gain_db, q = float(rng.uniform(-self.gain_db, self.gain_db)), _log_uniform(rng, *Q)
            if equalized:
                put(f"{b}_gain_db", strength * gain_db)
                put(f"{b}_q", q)
            put(f"{b}_attack_ms", _in_range(rng, table[f"{b}_attack_ms"]))
            put(f"{b}_release_ms", _in_range(rng, table[f"{b}_release_ms"]))
            put(f"{b}_threshold_db", float(rng.uniform(*THRESHOLD_DB)))
            ratio = _log_uniform(rng, 1.0, MAX_RATIO)
            upward = _log_uniform(rng, 0.5, 1.0)
            low_db = float(rng.uniform(*EXPANDER_THRESHOLD_DB))
            steep = _log_uniform(rng, 1.0, MAX_EXPANDER_RATIO)
            kind = int(rng.integers(3)) if self.expansion else 0
            ratio, upward, steep = ratio**strength, upward**strength, steep**strength
            if dynamic and kind < 2:
                put(f"{b}_ratio", ratio if kind == 0 else upward)
            elif dynamic:
                put(f"{b}_expander_threshold_db", low_db)
                put(f"{b}_expander_ratio", steep)
            band += 1
        return setting

    def _draw_clip(self, corpus: Corpus, rng: np.random.Generator) -> tuple[Track, int, Array]:
        """A clip that is speech for at least half of its time, as recorded."""
        speed = _log_uniform(rng, 1 / self.speed, self.speed) if self.speed > 1 else 1.0
        need = self.length if speed == 1.0 else math.ceil(self.length * speed) + 2
        usable = corpus.sizes >= self.clip_samples
        if not usable.any():
            raise DataError(
                f"{corpus.name}: no speaker or track of {self.length / self.sample_rate:.1f} s or "
                "more; add recordings or make length shorter."
            )
        share = np.where(usable, corpus.sizes.astype(np.float64) ** self.balance, 0.0)
        if self.full_band_weight != 1:
            share *= np.where(full_band(corpus), self.full_band_weight, 1.0)
        share /= share.sum()
        for _ in range(TRIES):
            track = corpus.tracks[int(rng.choice(share.size, p=share))]
            for _ in range(TRIES_PER_TRACK):
                start = int(rng.integers(0, track.samples - need + 1))
                clip = track.read(start, need)
                if speed != 1.0:
                    clip = play_at_speed(clip, speed, self.length)
                if is_speech(clip, self.sample_rate, self.peak_dbfs):
                    return track, start, clip
        raise DataError(
            f"{corpus.name}: no clip is active for half of its time in {TRIES} speakers or tracks; "
            "add recordings with fewer pauses."
        )


def is_speech(clip: Array, sample_rate: float, peak_dbfs: float) -> bool:
    """The paper's silence rules: not silent, and at most half of its 25 ms frames quiet.

    Args:
        clip: [T], as recorded.
        sample_rate: in Hz.
        peak_dbfs: level of the clip's peak at which frames are judged.
    """
    if float(np.abs(clip).max(initial=0.0)) < SILENT_PEAK:
        return False
    size = max(1, round(FRAME_MS / 1000 * sample_rate))
    audio = normalise(clip, peak_dbfs)[: clip.size // size * size].reshape(-1, size)
    quiet = np.einsum("nt,nt->n", audio, audio) < size * QUIET_FRAME_RMS**2
    return bool(quiet.mean() <= MAX_QUIET_SHARE)


def draw_device(rng: np.random.Generator, sample_rate: float) -> tuple[Band, ...]:
    """A recording device: less bass, more or less treble, and up to three resonances."""
    top = 0.45 * sample_rate
    bands = [Band("bass", _log_uniform(rng, 80, 400), float(rng.uniform(-18, 3)))]
    treble_hz = _log_uniform(rng, 2500, min(8000, top))
    bands.append(Band("treble", treble_hz, float(rng.uniform(-18, 6))))
    for _ in range(int(rng.integers(0, 4))):
        frequency_hz = _log_uniform(rng, 150, min(9000, top))
        q = _log_uniform(rng, 0.7, 6.0)
        bands.append(Band("peak", frequency_hz, float(rng.uniform(-8, 8)), q))
    return tuple(bands)


def _chance(rng: np.random.Generator, probability: float) -> bool:
    """A random choice; nothing is drawn if the probability is 0."""
    return probability > 0 and bool(rng.random() < probability)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _in_range(rng: np.random.Generator, param: Param) -> float:
    return _log_uniform(rng, param.low, param.high)


def _as_float32(audio: Array) -> Array:
    return np.ascontiguousarray(audio, dtype=np.float32)

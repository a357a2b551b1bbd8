"""The estimator that needs no training: spectra, level histograms, and what is known of voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from retone.dsp.effect import split_setting
from retone.dsp.measure import (
    Array,
    StyleStatistics,
    average,
    band_centres_hz,
    measure,
    valid_bands,
)
from retone.dsp.param import Setting
from retone.effects import MATCH_CHAIN
from retone.effects.compressor import Compressor
from retone.effects.equalizer import Equalizer
from retone.errors import AudioError
from retone.estimators import compression, equalizer_fit, treatment
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Excerpt, Reference
from retone.estimators.profile import Profile
from retone.estimators.statistics import ContentStatistics, packaged
from retone.estimators.style_change import Change, infer_change
from retone.progress import ESTIMATING, Progress, silent

EQUALIZER, COMPRESSOR = MATCH_CHAIN.members
EDGE_TRUST = 0.05
STEPS = 3


@dataclass(frozen=True)
class ClosedForm:
    """EQ from average spectra and compressor from level histograms, shrunk to what is certain.

    1. The difference of both recordings' band levels is split into treatment and content
       (``retone.estimators.treatment``); only treatment is undone. With another voice as
       reference that is the smaller part.
    2. The six-band equaliser is fitted to it (``retone.estimators.equalizer_fit``).
    3. The compressor is searched on the equalised source
       (``retone.estimators.compression``); makeup brings the loudness to the reference's, as far
       as voices of equal peak agree in loudness.

    Args:
        voices: ``"same"`` or ``"other"`` if the reference's voice is known, ``"auto"`` to judge
            by the spectra.
        smooth_octaves: extra smoothing of the target curve (full width at half height); the
            split into treatment and content smooths already.
        equalizer: limits of the EQ (gain, Q of boosts, steps).
        dynamics: grid and prior of the compressor search.
        other_amount: share of the EQ and of the compressor's slope that is kept when the
            reference is another voice; in between by probability.
        profile_scales: strengths to weigh when the reference is a profile of many voices; with
            "nothing was done" among them, what is in the style already is left alone.
        style_spread: share of what voices' dynamics differ by that remains when a profile knows
            what its style changes.
        scales, same_scales, temper: strengths of treatment to weigh if the voices differ and if
            they do not, and the exponent of their likelihood.
        level_trust: how far makeup goes to the reference's loudness, from that of the usual
            peak, for the same voice and for another one.
        max_seconds: how much of the source the compressor search renders; of longer recordings
            four parts from all over them.
        content: statistics of voices; None takes the packaged ones.
    """

    name: str = "closed-form"
    voices: treatment.Voices = "auto"
    smooth_octaves: float = 0.0
    equalizer: equalizer_fit.FitRules = equalizer_fit.FitRules()
    dynamics: compression.SearchRules = compression.SearchRules()
    other_amount: float = 0.5
    style_spread: float = 0.25
    profile_scales: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    scales: tuple[float, ...] = (0.6, 1.0, 1.4)
    same_scales: tuple[float, ...] = (1.6, 2.5, 4.0)
    temper: float = 0.3
    level_trust: tuple[float, float] = (1.0, 0.1)
    max_seconds: float = 6.0
    content: ContentStatistics | None = field(default=None, repr=False)

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting of ``retone.effects.MATCH_CHAIN``; see ``Estimator.estimate``.

        Raises:
            AudioError: there is no reference, or a recording is silent or too short.
            SettingError: a lock names no parameter or is out of range.
        """
        checked = MATCH_CHAIN.params.setting(locks)
        fixed = {name: float(checked[name][0]) for name in locks}
        own = normalised(source)
        heard = measure(own, source.sample_rate)
        reference = average_of(references)
        rate = min(source.sample_rate, *(r.sample_rate for r in references))

        content, many = self._content(references)
        change = self._change(heard, references, content, rate)
        if change:
            split = change.treatment
        else:
            split = treatment.infer(
                heard,
                reference,
                content,
                sample_rate=rate,
                scales=self.profile_scales if many else self.scales,
                voices="other" if many else self.voices,
                temper=self.temper,
                same_scales=None if many else self.same_scales,
            )
        share = 1.0 if many else self.other_amount
        share = split.same_voice + (1 - split.same_voice) * share
        progress(ESTIMATING, 1, STEPS)
        eq = self._fit(split, share, source.sample_rate, rate, split_locks(fixed, "equalizer"))
        setting = MATCH_CHAIN.params.neutral(1)
        _put(setting, "equalizer", eq)
        progress(ESTIMATING, 2, STEPS)

        part = torch.as_tensor(samples_of(own, int(self.max_seconds * source.sample_rate)))
        part = part[None, None]
        with torch.no_grad():
            toned = EQUALIZER.render(
                part, source.sample_rate, split_setting(setting, "equalizer")
            ).audio
        p = split.same_voice
        spread = p * content.same + (1 - p) * content.other
        goal, rules = compression.dynamics(reference)[0], self.dynamics
        if change:  # this recording's own dynamics, changed as the style changes a voice's
            goal = compression.dynamics(heard)[0] + change.dynamics
            spread, rules = self.style_spread * spread, replace(rules, temper=1.0)
        self._compress(
            setting, toned, source, goal, reference, spread, p, share, rules,
            split_locks(fixed, "compressor"),
        )  # fmt: skip
        _put(setting, "", fixed)
        progress(ESTIMATING, 3, STEPS)
        return Estimate(MATCH_CHAIN, setting, notes=self._notes(split, many, change, rate, setting))

    def _change(
        self,
        heard: StyleStatistics,
        references: Sequence[Reference],
        content: ContentStatistics,
        rate: int,
    ) -> Change | None:
        """What a single profile that knows its style's change asks for."""
        only = references[0]
        if len(references) != 1 or not isinstance(only, Profile) or only.untreated is None:
            return None
        return infer_change(
            heard, only, content, sample_rate=rate, scales=self.profile_scales, temper=self.temper
        )

    def _content(self, references: Sequence[Reference]) -> tuple[ContentStatistics, bool]:
        """Statistics of content, and whether the references are profiles of many voices."""
        kinds = {r.kind for r in references if isinstance(r, Profile)}
        content = self.content or packaged("music" if kinds == {"music"} else "speech")
        voices = [r.voices if isinstance(r, Profile) else 1 for r in references]
        if not all(n > 1 for n in voices):
            return content, False
        return content.against_mean_of(sum(voices)), True

    def _fit(
        self,
        split: treatment.Treatment,
        share: float,
        sample_rate: int,
        analysed_rate: int,
        locks: Mapping[str, float],
    ) -> dict[str, float]:
        centres = band_centres_hz()
        use = valid_bands(analysed_rate) & (split.trust > EDGE_TRUST)
        if not use.any():
            use = valid_bands(analysed_rate)
        limit = self.equalizer.max_gain_db
        curve = share * smooth(centres, split.mean_db, self.smooth_octaves)
        # Where a recording has no energy the wish fades out instead of being extrapolated.
        curve = np.clip(
            curve - np.average(curve[use], weights=split.trust[use] + 1e-6), -limit, limit
        )
        curve = curve * np.where(use, split.trust, 0.0)
        keep = np.flatnonzero(use)
        assert isinstance(EQUALIZER, Equalizer)
        return equalizer_fit.fit(
            EQUALIZER,
            centres[keep],
            curve[keep],
            split.covariance[np.ix_(keep, keep)],
            sample_rate,
            locks,
            self.equalizer,
        )

    def _compress(
        self,
        setting: Setting,
        toned: torch.Tensor,
        source: Excerpt,
        goal: Array,
        reference: StyleStatistics,
        spread: Array,
        p: float,
        share: float,
        rules: compression.SearchRules,
        locks: Mapping[str, float],
    ) -> None:
        assert isinstance(COMPRESSOR, Compressor)
        found = compression.search(
            COMPRESSOR,
            toned[0, 0],
            source.sample_rate,
            goal,
            compression.dynamics_covariance(spread),
            locks,
            rules,
        )
        if "ratio" not in locks:
            ratio = COMPRESSOR.params["ratio"]
            found["ratio"] = float(
                ratio.blend(torch.tensor(found["ratio"], dtype=torch.float64), share)
            )
        _put(setting, "compressor", found)
        if "makeup_db" in locks:
            return
        with torch.no_grad():
            out = COMPRESSOR.render(
                toned, source.sample_rate, split_setting(setting, "compressor")
            ).audio[0]
        after = measure(out, source.sample_rate)
        # Without a reference one would expect the usual peak. Two parts of one recording share
        # their level; another voice's loudness says little of this one's at equal peak.
        usual = NORMAL_PEAK_DB - float(after.level_db[0] + after.crest_db[0])
        heard = float(reference.loudness_db[0] - after.loudness_db[0])
        trust = p * self.level_trust[0] + (1 - p) * self.level_trust[1]
        makeup = COMPRESSOR.params["makeup_db"]
        value = float(np.clip(usual + trust * (heard - usual), makeup.low, makeup.high))
        _put(setting, "compressor", {"makeup_db": value})

    def _notes(
        self,
        split: treatment.Treatment,
        many: bool,
        change: Change | None,
        rate: int,
        setting: Setting,
    ) -> tuple[str, ...]:
        notes = []
        known = valid_bands(rate)
        weak = known & (split.trust < 0.5)
        if weak.any():
            place = frequencies_in_words(band_centres_hz()[known], weak[known])
            notes.append(
                f"{place} one recording has hardly any energy; the EQ leaves that range alone as "
                "far as it can."
            )
        if change and change.needed < 0.3:
            notes.append("This sounds as if it were in the style already; little is changed.")
        if split.same_voice < 0.5 and not many:
            notes.append(
                "The reference sounds like another source (another voice or other music); only "
                "differences that two such recordings rarely have were matched."
            )
        if float(setting["compressor.ratio"][0]) <= 1.0 + 1e-6:
            notes.append("The reference is not more compressed; the compressor stays off.")
        return tuple(notes)


def frequencies_in_words(centres_hz: Array, weak: NDArray[np.bool_]) -> str:
    """Words for the bands [F] that are marked: below, between or above frequencies."""
    at = np.flatnonzero(weak)
    texts = []
    for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
        first, last = int(run[0]), int(run[-1])
        if first > 0 and last == len(weak) - 1:
            texts.append(f"above {centres_hz[first - 1]:.0f} Hz")
        elif first == 0 and last < len(weak) - 1:
            texts.append(f"below {centres_hz[last + 1]:.0f} Hz")
        elif first == last:
            texts.append(f"around {centres_hz[first]:.0f} Hz")
        else:
            texts.append(f"between {centres_hz[first]:.0f} and {centres_hz[last]:.0f} Hz")
    text = " and ".join(texts)
    return text[0].upper() + text[1:]


def normalised(excerpt: Excerpt) -> Array:
    """The excerpt [T] with its peak at -12 dBFS."""
    audio = excerpt.audio.detach().cpu().numpy()
    peak = float(np.abs(audio).max()) if audio.size else 0.0
    if peak <= 0:
        raise AudioError("a recording to match is silent. Choose a passage with sound in it.")
    return np.asarray(audio * (10 ** (NORMAL_PEAK_DB / 20) / peak), dtype=np.float32)


def statistics_of(reference: Reference) -> StyleStatistics:
    """Style statistics of one reference at a peak of -12 dBFS, one row."""
    if isinstance(reference, Profile):
        return reference.statistics
    return measure(normalised(reference), reference.sample_rate)


def samples_of(audio: Array, most: int, parts: int = 4) -> Array:
    """``audio`` [T], or ``parts`` stretches from all over it, ``most`` samples together."""
    if len(audio) <= most:
        return audio
    size = most // parts
    starts = np.linspace(0, len(audio) - size, parts).astype(int)
    return np.concatenate([audio[start : start + size] for start in starts])


def average_of(references: Sequence[Reference]) -> StyleStatistics:
    """Averaged statistics of one or more references, one row."""
    if not references:
        raise AudioError("there is no reference. Give at least one recording that sounds right.")
    return average([statistics_of(r) for r in references])


def smooth(frequency_hz: Array, curve_db: Array, octaves: float) -> Array:
    """A curve smoothed by a Gaussian in log frequency whose width at half height is ``octaves``."""
    if octaves <= 0:
        return curve_db
    place = np.log2(frequency_hz)
    kernel = np.exp(-4 * np.log(2) * ((place[:, None] - place[None]) / octaves) ** 2)
    kernel *= np.gradient(place)[None]
    return np.asarray(kernel @ curve_db / kernel.sum(axis=1))


def split_locks(locks: Mapping[str, float], member: str) -> dict[str, float]:
    """The locks of one member of the chain, by its own names."""
    start = member + "."
    return {n[len(start) :]: v for n, v in locks.items() if n.startswith(start)}


def _put(setting: Setting, member: str, values: Mapping[str, float]) -> None:
    start = member + "." if member else ""
    for name, value in values.items():
        setting[start + name] = torch.tensor([value], dtype=torch.float64)

"""The closed-form estimator: spectra, level histograms and statistics of content."""

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
from retone.estimators import compression, equalizer_fit, separation
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Excerpt, Reference, samples_of
from retone.estimators.content_statistics import ContentStatistics, packaged
from retone.estimators.preset_change import Change, infer_change
from retone.estimators.profile import Profile
from retone.progress import ESTIMATING, Progress, silent

EQUALIZER, COMPRESSOR = MATCH_CHAIN.members
EDGE_TRUST = 0.05
LITTLE_NOTE = "The recording already sounds like this style; little is changed."
OFF_NOTE = "The reference is not more compressed; the compressor stays off."
STEPS = 3


@dataclass(frozen=True)
class ClosedForm:
    """EQ from average spectra and compressor from level histograms, shrunk by their uncertainty.

    1. The difference of both recordings' band levels is split into processing and content
       (``retone.estimators.separation``); only processing is matched. If the reference is
       another voice, that is the smaller part.
    2. The six-band equaliser is fitted to it (``retone.estimators.equalizer_fit``).
    3. The compressor is searched on the equalised source
       (``retone.estimators.compression``); makeup brings the loudness towards the reference's, as
       far as the loudness of voices at equal peak is known.

    Args:
        voices: ``"same"`` or ``"other"`` if the reference's voice is known, ``"auto"`` to infer it
            from the spectra.
        smooth_octaves: extra smoothing of the target curve (full width at half maximum); the
            separation of processing and content already smooths.
        equalizer: limits of the EQ (gain, Q of boosts, steps).
        dynamics: candidates and prior of the compressor search.
        different_voice_amount: share of the EQ and of the compressor's slope that is kept if the
            reference is a different voice; interpolated by probability.
        profile_scales: strengths of processing to consider if the reference is a profile of many
            voices; 0 among them leaves recordings unchanged that already have the style.
        style_spread: share of the usual differences in dynamics that remains if a profile holds
            statistics before processing.
        scales, same_scales, temper: strengths of processing to consider if the voices differ and
            if they do not, and the exponent of their likelihood.
        level_trust: how far makeup moves from the loudness at the usual peak to the reference's
            loudness, for the same voice and for a different one.
        max_seconds: how much of the source the compressor search renders; of longer recordings
            four parts, evenly spaced.
        content: content statistics; None takes the packaged ones.
    """

    name: str = "closed-form"
    voices: separation.Voices = "auto"
    smooth_octaves: float = 0.0
    equalizer: equalizer_fit.FitRules = equalizer_fit.FitRules()
    dynamics: compression.SearchRules = compression.SearchRules()
    different_voice_amount: float = 0.5
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
        statistics = measure(own, source.sample_rate)
        reference = average_of(references)
        rate = min(source.sample_rate, *(r.sample_rate for r in references))

        content, many = self._content(references)
        change = self._change(statistics, references, content, rate)
        if change:
            split = change.equalisation
        else:
            split = separation.infer(
                statistics,
                reference,
                content,
                sample_rate=rate,
                scales=self.profile_scales if many else self.scales,
                voices="other" if many else self.voices,
                temper=self.temper,
                same_scales=None if many else self.same_scales,
            )
        share = 1.0 if many else self.different_voice_amount
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
        if change:  # the recording's own dynamics plus the style's change of dynamics
            goal = compression.dynamics(statistics)[0] + change.dynamics
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
        source: StyleStatistics,
        references: Sequence[Reference],
        content: ContentStatistics,
        rate: int,
    ) -> Change | None:
        """The change needed for a single profile, if it holds statistics before processing."""
        only = references[0]
        if len(references) != 1 or not isinstance(only, Profile) or only.unprocessed is None:
            return None
        return infer_change(
            source, only, content, sample_rate=rate, scales=self.profile_scales, temper=self.temper
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
        split: separation.ProcessingPosterior,
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
        # Where a recording has no energy the target fades out instead of being extrapolated.
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
        # Without a reference the usual peak is the best guess. Two parts of one recording share
        # their level; the loudness of another voice says little about this one at equal peak.
        usual = NORMAL_PEAK_DB - float(after.level_db[0] + after.crest_db[0])
        matched = float(reference.loudness_db[0] - after.loudness_db[0])
        trust = p * self.level_trust[0] + (1 - p) * self.level_trust[1]
        makeup = COMPRESSOR.params["makeup_db"]
        value = float(np.clip(usual + trust * (matched - usual), makeup.low, makeup.high))
        _put(setting, "compressor", {"makeup_db": value})

    def _notes(
        self,
        split: separation.ProcessingPosterior,
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
                f"{place} the input or the reference has hardly any energy; the EQ changes that "
                "range as little as possible."
            )
        if change and change.needed < 0.3:
            notes.append(LITTLE_NOTE)
        if split.same_voice < 0.5 and not many:
            notes.append(
                "The reference sounds like another source (another voice or other music); only "
                "differences that are unusual between such recordings were matched."
            )
        if float(setting["compressor.ratio"][0]) <= 1.0 + 1e-6:
            notes.append(OFF_NOTE)
        return tuple(notes)


def frequencies_in_words(centres_hz: Array, weak: NDArray[np.bool_]) -> str:
    """Text for the marked bands [F], such as "above 8 kHz"."""
    at = np.flatnonzero(weak)
    texts = []
    for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
        first, last = int(run[0]), int(run[-1])
        if first > 0 and last == len(weak) - 1:
            texts.append(f"above {_hertz(centres_hz[first - 1])}")
        elif first == 0 and last < len(weak) - 1:
            texts.append(f"below {_hertz(centres_hz[last + 1])}")
        elif first == last:
            texts.append(f"around {_hertz(centres_hz[first])}")
        else:
            texts.append(f"between {_hertz(centres_hz[first])} and {_hertz(centres_hz[last])}")
    text = " and ".join(texts)
    return text[0].upper() + text[1:]


def _hertz(value: float) -> str:
    return f"{value / 1000:.3g} kHz" if value >= 999.5 else f"{value:.0f} Hz"


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


def average_of(references: Sequence[Reference]) -> StyleStatistics:
    """Averaged statistics of one or more references, one row."""
    if not references:
        raise AudioError("there is no reference. Give at least one reference recording.")
    return average([statistics_of(r) for r in references])


def smooth(frequency_hz: Array, curve_db: Array, octaves: float) -> Array:
    """Smooth a curve by a Gaussian in log frequency with ``octaves`` full width at half maximum."""
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

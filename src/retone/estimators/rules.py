"""The rule-based matcher of DeepAFx-ST (RB-DSP): a short FIR, then a compressor found by search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from retone.audio.meters.loudness import loudness_lufs
from retone.audio.meters.spectrum import SpectrumMeter
from retone.audio.resampling import resampled
from retone.dsp.effect import Effect
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.effects import Compressor, Fir, Gain, chain
from retone.errors import AudioError
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Excerpt, Reference
from retone.estimators.closed_form import normalised
from retone.estimators.profile import Profile
from retone.progress import ESTIMATING, Progress, silent

FFT, HOP, SMOOTHING_BINS = 65536, 16384, 1025
STEP_DB, LAST_DB, TOLERANCE_LU = 0.5, -80.0, 0.5
BATCH = 8


@dataclass(frozen=True)
class Rules:
    """DeepAFx-ST's baseline: spectral ratio as a 63-tap FIR, then a compressor by search.

    Mean magnitude spectra of source and reference (65536 points, smoothed by Savitzky-Golay over
    1025 bins) are divided; the ratio becomes an FIR by frequency sampling. Then the threshold of
    a 3:1 compressor (1 ms, 50 ms, knee 6 dB) falls from 0 dB in steps of 0.5 dB until the
    loudness at equal peak is within 0.5 LU of the reference's. It never expands and never turns
    down (C. J. Steinmetz et al., JAES 70(9), 2022).

    Args:
        paper: keep two quirks of the published code: the FIR is linear-phase with its delay left
            in, and the step before the one that reached the loudness is used. Otherwise the FIR
            is its minimum-phase equivalent without delay, and the step that reached the loudness
                    is used.
        taps: length of the FIR (odd).
    """

    name: str = "rules"
    paper: bool = False
    taps: int = 63

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting of a chain FIR, compressor, gain; see ``Estimator.estimate``.

        The FIR is made for the source's sample rate. Spectra and loudness of several references
        are averaged.

        Raises:
            AudioError: there is no reference, or a recording is silent.
            SettingError: a lock names no parameter of the chain or is out of range.
        """
        if not references:
            raise AudioError("there is no reference. Give a reference recording.")
        rate = source.sample_rate
        own = normalised(source)
        wanted = [_wanted(r, own, rate) for r in references]
        target_lufs = float(np.mean([lufs for lufs, _ in wanted]))
        ratio = np.mean([spectrum for _, spectrum in wanted], axis=0) / mean_spectrum(own)
        fir = self._design(ratio)
        shaped = np.convolve(own.astype(np.float64), fir)[: own.size]
        peak_db = 20 * np.log10(np.abs(shaped).max())
        fir = fir * 10 ** ((NORMAL_PEAK_DB - peak_db) / 20)
        shaped = shaped * 10 ** ((NORMAL_PEAK_DB - peak_db) / 20)

        effect = chain("rules", Fir("fir", tuple(float(v) for v in fir)), Compressor(), Gain())
        fixed = effect.params.setting(locks)
        plain = {
            "threshold_db": 0.0, "ratio": 3.0, "attack_ms": 1.0, "release_ms": 50.0,
            "knee_db": 6.0, "makeup_db": 0.0,
        }  # fmt: skip
        plain |= {
            n: float(fixed[f"compressor.{n}"][0]) for n in plain if f"compressor.{n}" in locks
        }
        found, gain_db = self._search(
            shaped, rate, target_lufs, plain, "compressor.threshold_db" in locks
        )
        setting: Setting = {
            f"compressor.{n}": torch.tensor([v], dtype=torch.float64) for n, v in found.items()
        }
        setting["gain.gain_db"] = torch.tensor([gain_db], dtype=torch.float64)
        setting |= {name: fixed[name] for name in locks}
        progress(ESTIMATING, 1, 1)
        return Estimate(effect, setting)

    def _design(self, ratio: Array) -> Array:
        from scipy.signal import firwin2, minimum_phase

        goal = ratio.copy()
        goal[-1] = 0.0  # a filter of this symmetry has no gain at the Nyquist frequency
        fir = np.asarray(firwin2(self.taps, np.linspace(0.0, 1.0, goal.size), goal))
        return fir if self.paper else np.asarray(minimum_phase(fir, half=False))

    def _search(
        self,
        audio: Array,
        rate: int,
        target_lufs: float,
        plain: Mapping[str, float],
        threshold_locked: bool,
    ) -> tuple[dict[str, float], float]:
        """The compressor's parameters and the gain that brings the peak back to -12 dBFS."""
        off = dict(plain, ratio=1.0, threshold_db=plain["threshold_db"])
        if threshold_locked:
            return dict(plain), _compressed(audio, rate, [plain])[0][1]
        if target_lufs - float(loudness_lufs(audio[None], rate)) <= TOLERANCE_LU:
            return off, _compressed(audio, rate, [off])[0][1]
        before: tuple[dict[str, float], float] | None = None
        steps = np.arange(0.0, LAST_DB, -STEP_DB)
        for start in range(0, len(steps), BATCH):
            tried = [dict(plain, threshold_db=float(t)) for t in steps[start : start + BATCH]]
            for setting, (lufs, gain_db) in zip(
                tried, _compressed(audio, rate, tried), strict=True
            ):
                now = (setting, gain_db)
                if target_lufs - lufs <= TOLERANCE_LU:
                    return (before or now) if self.paper else now
                before = now
        assert before is not None
        return before


def mean_spectrum(audio: Array) -> Array:
    """Mean magnitude [32769] over rectangular frames, smoothed on the linear frequency scale."""
    from scipy.signal import savgol_filter

    half = FFT // 2
    padded = np.pad(audio, half, mode="reflect" if audio.size > half else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    magnitude = np.mean([np.abs(np.fft.rfft(f)) for f in frames], axis=0) / np.sqrt(FFT)
    return np.maximum(savgol_filter(magnitude, SMOOTHING_BINS, 2), 1e-9)


def _wanted(reference: Reference, own: Array, rate: int) -> tuple[float, Array]:
    """Loudness at a peak of -12 dBFS, and mean spectrum [32769], of one reference.

    A profile holds levels in 1/6 octave; their difference to the source's levels is added to the
    source's spectrum. Where the profile has no data the source's spectrum stays.
    """
    if not isinstance(reference, Profile):
        audio = _at_rate(reference, rate)
        return float(loudness_lufs(audio[None], rate)), mean_spectrum(audio)
    meter = SpectrumMeter(rate)
    meter.update(own[None])
    f = np.fft.rfftfreq(FFT, 1.0 / rate)
    there = np.maximum(f, 20.0)
    up_db = np.nan_to_num(reference.spectrum(there) - meter.result(there))
    return float(reference.statistics.loudness_db[0]), mean_spectrum(own) * 10 ** (up_db / 20)


def _at_rate(excerpt: Excerpt, rate: int) -> Array:
    audio = normalised(excerpt)
    if excerpt.sample_rate == rate:
        return audio
    audio = resampled(audio, excerpt.sample_rate, rate)
    return np.asarray(audio * (10 ** (NORMAL_PEAK_DB / 20) / np.abs(audio).max()))


def _compressed(
    audio: Array, rate: int, settings: Sequence[Mapping[str, float]]
) -> list[tuple[float, float]]:
    """Loudness after normalising, and the gain that normalises, for each setting."""
    effect: Effect = Compressor()
    setting = {
        n: torch.tensor([s[n] for s in settings], dtype=torch.float64) for n in effect.params.names
    }
    many = torch.as_tensor(audio, dtype=torch.float32).expand(len(settings), 1, -1)
    with torch.no_grad():
        y = effect.render(many, rate, setting).audio[:, 0].numpy()
    out = []
    for row in y:
        gain_db = NORMAL_PEAK_DB - 20 * np.log10(float(np.abs(row).max()))
        out.append((float(loudness_lufs(row[None], rate)) + gain_db, float(gain_db)))
    return out

"""The feed-forward compressor, with downward expansion as a second curve.

Per sample, with the loudest channel as side-chain (so that the stereo image is preserved)::

    level  = 10 log10(max(p, 1e-12)),  p = max_c x_c^2, or its one-pole mean for an RMS detector
    over   = knee(level - threshold)       dB above the threshold
    under  = knee(expander_threshold - level)
    gain   = makeup - (1 - 1/ratio) smooth(over) - (expander_ratio - 1) smooth(under)
    y      = x 10^(gain / 20)

``knee`` is 0 below the knee, the identity above it, and ``(d + W/2)^2 / 2W`` inside (textbook
soft knee: Giannoulis, Massberg, Reiss, "Digital dynamic range compressor design", JAES 60(6),
2012; W is the full width). ``smooth`` is the branching one-pole with separate attack and release,
whose times are 10-90 % times (``retone.units``). The compressor attacks when the level rises; the
expander opens with the attack time and closes with the release time. Ratios below 1 are upward
expansion. Both times get exact gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from retone.dsp import curve, relaxed, scan
from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Setting, to_numbers
from retone.dsp.recursion import ballistics, compress
from retone.dsp.stages import QUIET_DB, Dynamics, Stage
from retone.dsp.views import CurveView, View
from retone.units import DB_PER_NEPER
from retone.units import smoothing as coefficient

_COMPRESSOR = (
    Param("threshold_db", "dB", -100, 0, -20, "linear", "Level above which gain is reduced.",
          audible_when="ratio", role="threshold", level_relative=True),
    Param("ratio", ":1", 1, 20, 2, "slope", "Input dB per output dB above the threshold.",
          neutral=1, role="ratio"),
    Param("attack_ms", "ms", 0.1, 200, 5, "log", "10-90 % time when the level rises.",
          audible_when="ratio", role="time"),
    Param("release_ms", "ms", 5, 2000, 100, "log", "10-90 % time when the level falls.",
          audible_when="ratio", role="time"),
    Param("knee_db", "dB", 0, 24, 6, "linear", "Full width of the rounded part of the curve.",
          audible_when="ratio", role="knee"),
    Param("makeup_db", "dB", -24, 24, 0, "linear", "Gain after compression.", neutral=0,
          role="makeup"),
)  # fmt: skip
_EXPANDER = (
    Param("expander_threshold_db", "dB", -100, 0, -60, "linear", "Level below which gain falls.",
          audible_when="expander_ratio", role="threshold", level_relative=True),
    Param("expander_ratio", ":1", 1, 6, 1, "linear", "Output dB per input dB below it.",
          neutral=1, role="ratio"),
)  # fmt: skip
_PAPER_RANGES = ((-80, 0, -12), (1, 20, 2), (0.1, 100, 1), (5, 1000, 45), (0, 12, 6), (-48, 48, 0))

COMPRESSOR_TABLE = ParamTable(_COMPRESSOR)
_SHARED = ("attack_ms", "release_ms", "knee_db")
EXPANDER_TABLE = ParamTable(
    tuple(
        replace(p, audible_when=("ratio", "expander_ratio")) if p.name in _SHARED else p
        for p in _COMPRESSOR
    )
    + _EXPANDER
)
PAPER_COMPRESSOR_TABLE = ParamTable(
    tuple(
        replace(p, low=low, high=high, default=default, scale="linear")
        for p, (low, high, default) in zip(_COMPRESSOR, _PAPER_RANGES, strict=True)
    )
)
"""Ranges and linear scales of DeepAFx-ST."""


@dataclass(frozen=True)
class Compressor(Effect):
    """Feed-forward compressor; the module's docstring has the formula.

    Args:
        table: parameters and their ranges; ``EXPANDER_TABLE`` adds the expander's two.
        rms_ms: averaging time (10-90 %) of a mean-square detector; 0 is the instantaneous peak.
        smooth: ``"db"`` smooths dB above the threshold (above); ``"gain"`` smooths the linear
            gain, as torchcomp and Diff-DEQ do, with the stronger of compressor and expander.
    """

    kind: ClassVar[str] = "compressor"
    has_dynamics: ClassVar[bool] = True
    level_dependent: ClassVar[bool] = True
    gain_curve: ClassVar[str] = "gain_reduction_db"
    tables: ClassVar[Mapping[str, ParamTable]] = {
        "default": COMPRESSOR_TABLE,
        "expander": EXPANDER_TABLE,
        "paper": PAPER_COMPRESSOR_TABLE,
    }
    name: str = "compressor"
    table: ParamTable = COMPRESSOR_TABLE
    rms_ms: float = field(default=0.0, metadata={"low": 0.0, "high": 1000.0})
    smooth: curve.Smoothing = "db"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (
            cls(),
            cls(name="expander_compressor", table=EXPANDER_TABLE, rms_ms=10.0),
            cls(name="linear_compressor", table=EXPANDER_TABLE, rms_ms=10.0, smooth="gain"),
        )

    @property
    def params(self) -> ParamTable:
        return self.table

    @property
    def has_expander(self) -> bool:
        return "expander_ratio" in self.table.names

    def _columns(self, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """The columns [B, 9] that ``retone.dsp.recursion.compress`` expects."""
        s = {name: value.double() for name, value in setting.items()}
        one = torch.ones_like(s["ratio"])
        return torch.stack(
            [
                s["threshold_db"],
                1 - 1 / s["ratio"],
                coefficient(s["attack_ms"], sample_rate),
                coefficient(s["release_ms"], sample_rate),
                s["knee_db"],
                s["makeup_db"],
                one * coefficient(self.rms_ms, sample_rate),
                s["expander_threshold_db"] if self.has_expander else -200 * one,
                s["expander_ratio"] - 1 if self.has_expander else 0 * one,
            ],
            dim=1,
        )

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        columns = self._columns(sample_rate, setting).to(audio.device)
        start = (
            state["smoothed"]
            if state
            else torch.zeros(audio.shape[0], 3, dtype=torch.float64, device=audio.device)
        )
        exact = functools.partial(compress, averaged=self.rms_ms > 0)
        run = exact if self.smooth == "db" else _compress_linear
        y, after, gain_db = run(audio, columns, start, expander=self.has_expander, curves=curves)
        out = {}
        if gain_db is not None:
            out["gain_reduction_db"] = gain_db - columns[:, 5:6]
        return Rendered(y, {"smoothed": after}, out)

    def _relax(self, audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
        """One time constant (the attack's) for both directions, by frequency sampling.

        That is DeepAFx-ST's approximation: the release has no effect, and gain reduction comes
        out several dB too small on speech (docs/effects.md). It exists for a peak detector with
        dB smoothing and no expander; the other kinds render exactly.
        """
        if self.has_expander or self.rms_ms > 0 or self.smooth == "gain":
            return super()._relax(audio, sample_rate, setting)
        columns = self._columns(sample_rate, setting).to(audio.device)
        threshold, slope, k_attack, _, knee_db, makeup = columns.unbind(1)[:6]
        level, _ = scan.level_db(audio, torch.ones_like(threshold), torch.zeros_like(threshold))
        over = curve.knee(level - threshold[:, None], knee_db[:, None])
        gain_db = makeup[:, None] - slope[:, None] * relaxed.one_pole(over, k_attack)
        return audio * (10 ** (gain_db / 20)).to(audio.dtype)[:, None]

    def static_gain_db(self, level_db: Tensor, setting: Mapping[str, Tensor]) -> Tensor:
        """Gain for a steady input level, makeup not included; level_db [L] in dB -> [B, L]."""
        c = self._columns(1000.0, setting)
        level, knee_db = level_db[None], c[:, 4:5]
        gain = curve.compression_db(level, c[:, 0:1], c[:, 1:2], knee_db)
        if self.has_expander:
            below = curve.expansion_db(level, c[:, 7:8], c[:, 8:9], knee_db)
            gain = curve.combined_db(gain, below, self.smooth)
        return gain

    def static_curve(self, level_db: Tensor, setting: Mapping[str, Tensor]) -> Tensor:
        """Output level for a steady input level, both in dB; level_db [L] -> [B, L]."""
        makeup_db = setting["makeup_db"].double()[:, None]
        return level_db[None] + makeup_db + self.static_gain_db(level_db, setting)

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        one = dynamics_stage("", self, to_numbers(setting))
        return (one,) if one.acts or abs(one.makeup_db) > QUIET_DB else ()

    def views(
        self, setting: Mapping[str, Tensor], sample_rate: float, frequency_hz: np.ndarray
    ) -> tuple[View, ...]:
        return (static_view(self, setting, dynamics_stage("", self, to_numbers(setting))),)


def dynamics_stage(name: str, effect: Compressor, values: Mapping[str, float]) -> Dynamics:
    """A compressor as an export stage; ``values`` are plain numbers in physical units."""
    names = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db", "makeup_db")
    more = ("expander_threshold_db", "expander_ratio") if effect.has_expander else ()
    own = {n: values[n] for n in (*names, *more)}
    return Dynamics(name, rms_ms=effect.rms_ms, smooth=effect.smooth, **own)


def static_view(
    effect: Compressor, setting: Mapping[str, Tensor], stage: Dynamics, band: int | None = None
) -> CurveView:
    """A compressor's static curve from -100 to 0 dB, drawn for one item of a setting."""
    level = np.linspace(-100.0, 0.0, 401)
    output = effect.static_curve(torch.from_numpy(level), setting)[0].numpy()
    return CurveView("", "", level, output, to_numbers(setting), stage, band)


def _compress_linear(
    audio: Tensor, params: Tensor, state: Tensor, *, expander: bool, curves: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """``compress`` with the linear gain smoothed; the state's second column is ``1 - gain``."""
    if audio.shape[-1] == 0:
        return audio.clone(), state.clone(), audio.new_zeros(audio.shape[0], 0).double()
    threshold, slope, k_attack, k_release, knee_db, makeup, k_level, below, steep = params.unbind(1)
    x = audio.double()
    power = (x * x).amax(dim=1) if x.shape[1] > 1 else (x * x)[:, 0]
    power = ballistics(power, k_level, k_level, state[:, 0])
    level = 10 * torch.log10(power.clamp(min=curve.POWER_FLOOR))
    width = knee_db[:, None]
    gain_db = curve.compression_db(level, threshold[:, None], slope[:, None], width)
    if expander:
        low = curve.expansion_db(level, below[:, None], steep[:, None], width)
        gain_db = curve.combined_db(gain_db, low, "gain")
    # exp, not 10 ** x: torch's power rounds the last few samples of a block differently.
    wanted = torch.exp(gain_db / DB_PER_NEPER)
    reduction = ballistics(1 - wanted, k_attack, k_release, state[:, 1])
    gain = (1 - reduction) * torch.exp(makeup / DB_PER_NEPER)[:, None]
    gain = gain + 0 * params.sum(1, keepdim=True)  # comparisons drop NaN; this keeps it
    after = torch.stack([power[:, -1], reduction[:, -1], state[:, 2]], dim=1)
    y = (x * gain[:, None]).to(audio.dtype)
    return y, after, 20 * torch.log10(gain.clamp(min=1e-12)) if curves else None

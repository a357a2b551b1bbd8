"""What the tests of neighbouring packages ask for, asked of retone.

Each check is written for retone after what a peer's suite tests; where the peer is installed, its
own function gives the wanted numbers, else a plain loop or scipy does. ``NOT_OFFERED`` lists what
those suites ask and retone does not have, with the reason.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.audio import loudness_lufs
from retone.dsp.recursion import ballistics, cascade
from retone.dsp.time_varying import time_varying_biquad
from retone.effects import Compressor, Equalizer
from retone.losses import MultiResolutionSTFT, STFTDistance, SumAndDifference, auraloss_default

RATE = 44100
CALIBRATION_HZ = 997.0
CALIBRATION_LUFS = -3.01
"""A sine at full scale in one channel, by ITU-R BS.1770."""


@dataclass(frozen=True)
class Check:
    """One behaviour: which peer's tests ask it, what it is, and how far retone is off.

    ``run`` returns the error; None if the peer is needed and not installed. ``limit`` is the
    largest error that passes.
    """

    peer: str
    what: str
    run: Callable[[], float | None]
    limit: float


@dataclass(frozen=True)
class Outcome:
    """A check's result: passed, failed, or skipped with the reason."""

    peer: str
    what: str
    status: str
    error: float | None = None


NOT_OFFERED: dict[str, str] = {
    "torchcomp: forward-mode derivatives of the compressor": "the core's loops have reverse-mode "
    "adjoints only, and say so; torch.func.grad and vmap work.",
    "torchcomp, torchlpc: second derivatives of effects": "the adjoints are exact and of first "
    "order; asked for more they raise one clear error and are never silently wrong. "
    "time_varying_biquad and the losses without a fused path differentiate twice.",
    "torchlpc: all-pole filters of an order above 2": "effects are cascades of second-order "
    "sections, which are better conditioned.",
    "auraloss: chroma scale, phase term, scale invariance, A-weighting": "no recipe of either "
    "paper uses them; a loss of one's own is one class (docs/extending.md).",
    "pyloudnorm: peak normaliser": "files are brought to a loudness with a true-peak limiter.",
    "pyloudnorm: loudness range of silence is NaN": "it is 0 LU here: a level report of silence "
    "stays a number.",
    "pedalboard: ladder, phaser, reverb, delay and other effects": "retone sets equalisers and "
    "compressors; other effects run as plug-ins.",
}
"""Asked by a peer's suite -> why retone does not have it."""


def checks() -> list[Check]:
    """All checks, in the order of the table."""
    found = [
        Check("torchcomp", "compressor_core: values equal a sample loop", _smoother_values, 1e-12),
        Check("torchcomp", "gradcheck: signal, both times, start state", _smoother_gradients, 0.0),
        Check("torchlpc", "first-order time-varying scan equals a loop", _first_order, 1e-12),
        Check("torchlpc", "second-order time-varying poles equal a loop", _second_order, 1e-10),
        Check("torchlpc", "the same for complex signals", _second_order_complex, 1e-10),
        Check("torchlpc", "gradcheck and gradgradcheck, forward mode, vmap", _derivatives, 0.0),
        Check("torchlpc", "constant poles equal scipy's lfilter", _constant, 1e-9),
    ]
    for name, run in _LOSSES.items():
        found.append(Check("auraloss", name, run, 2e-5))
    found += [
        Check("pyloudnorm", "a 997 Hz sine at full scale reads -3.01 LUFS", _calibration, 0.05),
        Check("pyloudnorm", "integrated loudness equals pyloudnorm's", _loudness, 0.12),
        Check("pyloudnorm", "silence lies below the gate", _silence, 0.0),
    ]
    for kind in ("low_shelf", "peak_2", "high_shelf"):
        found.append(Check("pedalboard", f"{kind} equals the RBJ cookbook", _cookbook(kind), 1e-6))
    found.append(Check("pedalboard", "ratio 1 leaves audio alone, bit for bit", _ratio_one, 0.0))
    found.append(Check("scipy", "sosfilt on 200 random cascades", _sosfilt, 1e-9))
    return found


def run_checks() -> list[Outcome]:
    """Run all checks; one that raises has failed."""
    found = []
    for check in checks():
        try:
            error = check.run()
        except Exception as problem:  # a failure to report, whatever it is
            found.append(Outcome(check.peer, check.what, f"failed: {problem}"))
            continue
        if error is None:
            found.append(Outcome(check.peer, check.what, f"skipped: {check.peer} not installed"))
        else:
            status = "passed" if error <= check.limit else "failed"
            found.append(Outcome(check.peer, check.what, status, float(error)))
    return found


def text(outcomes: list[Outcome]) -> str:
    """Two Markdown tables: checks, and what is not offered."""
    lines = ["| peer | what its tests ask | retone | error |", "|---|---|---|---|"]
    for o in outcomes:
        error = "" if o.error is None else f"{o.error:.2g}"
        lines.append(f"| {o.peer} | {o.what} | {o.status} | {error} |")
    lines += ["", "| asked, and not offered | why |", "|---|---|"]
    lines += [f"| {what} | {why} |" for what, why in NOT_OFFERED.items()]
    return "\n".join(lines)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _unit(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _worst(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp(min=1.0))


def _smoother() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    signal = _noise(3, 200).abs()
    return signal, 0.05 + 0.9 * _unit(3), 0.02 + 0.5 * _unit(3, seed=2), _unit(3, seed=3)


def _smoother_values() -> float:
    x, attack, release, start = _smoother()
    y, want = start, []
    for n in range(x.shape[1]):
        k = torch.where(x[:, n] > y, attack, release)
        y = y + k * (x[:, n] - y)
        want.append(y)
    return _worst(ballistics(x, attack, release, start), torch.stack(want, 1))


def _smoother_gradients() -> float:
    inputs = [t[:2, ..., :30] if t.ndim > 1 else t[:2] for t in _smoother()]
    inputs = [t.clone().requires_grad_() for t in inputs]
    return 0.0 if torch.autograd.gradcheck(ballistics, inputs) else 1.0


def _sections(order: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    x = _noise(2, 150)
    if kind.is_complex:
        x = torch.complex(x, _noise(2, 150, seed=9))
    sections = torch.zeros(2, 150, 5, dtype=torch.float64)
    sections[..., 0] = 1.0
    radius, angle = 0.9 * _unit(2, 150), 3.0 * _unit(2, 150, seed=4)
    if order == 1:
        sections[..., 3] = -radius
    else:
        sections[..., 3], sections[..., 4] = -2 * radius * angle.cos(), radius.square()
    return x, sections


def _by_loop(x: Tensor, sections: Tensor) -> Tensor:
    y: list[Tensor] = []
    zero = torch.zeros_like(x[:, 0])
    for n in range(x.shape[1]):
        past = [y[n - k] if n >= k else zero for k in (1, 2)]
        y.append(x[:, n] - sections[:, n, 3] * past[0] - sections[:, n, 4] * past[1])
    return torch.stack(y, 1)


def _first_order() -> float:
    x, sections = _sections(1, torch.float64)
    return _worst(time_varying_biquad(x, sections), _by_loop(x, sections))


def _second_order() -> float:
    x, sections = _sections(2, torch.float64)
    return _worst(time_varying_biquad(x, sections), _by_loop(x, sections))


def _second_order_complex() -> float:
    x, sections = _sections(2, torch.complex128)
    return _worst(time_varying_biquad(x, sections), _by_loop(x, sections))


def _derivatives() -> float:
    x, sections = (t[:1, :10].clone().requires_grad_() for t in _sections(2, torch.float64))
    torch.autograd.gradcheck(time_varying_biquad, (x, sections), check_forward_ad=True)
    torch.autograd.gradgradcheck(time_varying_biquad, (x, sections))
    many = torch.func.vmap(lambda s: time_varying_biquad(x.detach(), s))(sections.detach()[None])
    return _worst(many[0], time_varying_biquad(x, sections).detach())


def _constant() -> float:
    from scipy.signal import lfilter

    x = _noise(1, 2000)
    section = torch.tensor([[[0.3, 0.1, -0.2, -1.6, 0.81]]], dtype=torch.float64)
    want = lfilter([0.3, 0.1, -0.2], [1.0, -1.6, 0.81], x.numpy())
    return _worst(cascade(x, section)[0], torch.from_numpy(want))


def _spectral(own: Any, peer: Callable[[Any], Any], channels: int = 1) -> float | None:
    if importlib.util.find_spec("auraloss") is None or importlib.util.find_spec("librosa") is None:
        return None
    from auraloss import freq

    x, y = (0.3 * _noise(1, channels, 12000, seed=s).float() for s in (5, 6))
    want = peer(freq)(x, y)
    return _worst(own(x, y, RATE) if callable(own) else own, want)


_MANY = ([512, 2048], [128, 512], [512, 2048])
_LOSSES: dict[str, Callable[[], float | None]] = {
    "MultiResolutionSTFTLoss with its defaults": lambda: _spectral(
        auraloss_default(), lambda f: f.MultiResolutionSTFTLoss()
    ),
    "STFTLoss": lambda: _spectral(STFTDistance(), lambda f: f.STFTLoss()),
    "STFTLoss, rectangular window": lambda: _spectral(
        STFTDistance(shape="rectangular"), lambda f: f.STFTLoss(window="ones")
    ),
    "STFTLoss, L2": lambda: _spectral(
        STFTDistance(squared=True), lambda f: f.STFTLoss(mag_distance="L2")
    ),
    "MelSTFTLoss": lambda: _spectral(STFTDistance(mels=128), lambda f: f.MelSTFTLoss(RATE)),
    "STFTLoss, every bin (reduction none)": lambda: _spectral(
        lambda x, y, r: STFTDistance(convergence_weight=0.0).per_bin(x, y, r)[:, 0],
        lambda f: f.STFTLoss(w_sc=0.0, reduction="none"),
    ),
    "SumAndDifferenceSTFTLoss": lambda: _spectral(
        SumAndDifference(MultiResolutionSTFT((512, 2048), (128, 512), (), 1.0, 0.0, 1.0)),
        lambda f: f.SumAndDifferenceSTFTLoss(*_MANY),
        channels=2,
    ),
}


def _sine() -> np.ndarray:
    n = np.arange(10 * RATE)
    return np.sin(2 * np.pi * CALIBRATION_HZ * n / RATE)[None]


def _calibration() -> float:
    return abs(float(loudness_lufs(_sine(), RATE)) - CALIBRATION_LUFS)


def _loudness() -> float | None:
    if importlib.util.find_spec("pyloudnorm") is None:
        return None
    import pyloudnorm

    audio = 0.1 * _noise(2, 8 * RATE).numpy()
    audio[:, : 3 * RATE] *= 0.01  # the gate has something to do
    want = pyloudnorm.Meter(RATE).integrated_loudness(audio.T)
    return abs(float(loudness_lufs(audio, RATE)) - float(want))


def _silence() -> float:
    return 0.0 if float(loudness_lufs(np.zeros((1, 2 * RATE)), RATE)) < -70 else 1.0


def _cookbook(kind: str) -> Callable[[], float]:
    def run() -> float:
        gain_db, frequency, q = 7.0, 1500.0, 0.9
        effect = Equalizer()
        setting = effect.params.neutral(1)
        named = {"gain_db": gain_db, "frequency_hz": frequency, "q": q}
        named["frequency_hz"] = frequency = float(
            setting[f"{kind}_frequency_hz"][0]
        )  # within every band's range
        for name, value in named.items():
            setting[f"{kind}_{name}"] = torch.tensor([value], dtype=torch.float64)
        f = torch.from_numpy(np.geomspace(20, 0.45 * RATE, 200))
        own = effect.response(f, RATE, setting).abs()[0]
        return _worst(own, torch.from_numpy(_rbj(kind, gain_db, frequency, q, f.numpy())))

    return run


def _rbj(kind: str, gain_db: float, frequency: float, q: float, f: np.ndarray) -> np.ndarray:
    """Magnitude of the cookbook's filter (R. Bristow-Johnson)."""
    a, w = 10 ** (gain_db / 40), 2 * np.pi * frequency / RATE
    c, alpha = np.cos(w), np.sin(w) / (2 * q)
    root = 2 * np.sqrt(a) * alpha
    if kind.startswith("peak"):
        top = [1 + alpha * a, -2 * c, 1 - alpha * a]
        bottom = [1 + alpha / a, -2 * c, 1 - alpha / a]
    else:
        s = 1.0 if kind == "low_shelf" else -1.0
        top = [
            a * ((a + 1) - s * (a - 1) * c + root), s * 2 * a * ((a - 1) - s * (a + 1) * c),
            a * ((a + 1) - s * (a - 1) * c - root),
        ]  # fmt: skip
        bottom = [
            (a + 1) + s * (a - 1) * c + root, -s * 2 * ((a - 1) + s * (a + 1) * c),
            (a + 1) + s * (a - 1) * c - root,
        ]  # fmt: skip
    z = np.exp(-2j * np.pi * f / RATE)
    return np.abs(np.polyval(top[::-1], z) / np.polyval(bottom[::-1], z))


def _ratio_one() -> float:
    effect = Compressor()
    audio = 0.5 * _noise(1, 1, 5000)
    setting = effect.params.setting({"threshold_db": -40.0, "ratio": 1.0, "makeup_db": 0.0})
    return float((effect.render(audio, RATE, setting).audio - audio).abs().max())


def _sosfilt() -> float:
    from scipy.signal import sosfilt

    worst = 0.0
    effect = Equalizer()
    for seed in range(200):
        unit = _unit(1, len(effect.params), seed=seed)
        sections = effect.sections(RATE, effect.params.to_physical(unit))
        audio = _noise(1, 300, seed=seed)
        b, a = sections[0, :, :3], sections[0, :, 3:]
        sos = torch.cat([b, torch.ones_like(b[:, :1]), a], -1)
        want = torch.from_numpy(sosfilt(sos.numpy(), audio.numpy()))
        worst = max(worst, _worst(cascade(audio, sections)[0], want))
    return worst

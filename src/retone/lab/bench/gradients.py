"""Forward and backward pass of equaliser + compressor: time, memory, exactness of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retone.dsp import biquad
from retone.effects import Compressor, Equalizer, chain
from retone.effects.equalizer import BANDS
from retone.lab.bench import compressor, equalizer, peers
from retone.lab.bench.methods import Method, measure
from retone.lab.bench.reference import moving_pink_noise
from retone.lab.bench.result import Section

CHECKED_ITEMS = 4
"""Items whose float32 gradients are compared with float64."""
DIFFERENCE_ITEMS, DIFFERENCE_SAMPLES, DIFFERENCE_STEP, DIFFERENCE_DIRECTIONS = 2, 8192, 1e-6, 3
"""Finite differences: a small float64 batch, relative step, how many random directions."""

Setting = dict[str, Tensor]
Forward = Callable[[Tensor, float, Setting], Tensor]
"""(audio [B, T], sample rate, setting) -> audio [B, T]."""


@dataclass(frozen=True)
class Chain:
    """Equaliser + compressor by some library: 18 + 6 parameters."""

    forward: Forward
    packages: dict[str, str]
    compressor_setting: Callable[[int, torch.dtype], Setting]
    note: str


_EFFECT = chain("eq_comp", Equalizer(), Compressor())


def _retone(audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
    own = {
        ("equalizer." if name.startswith(BANDS) else "compressor.") + name: value
        for name, value in setting.items()
    }
    return _EFFECT.render(audio[:, None], sample_rate, own).audio.squeeze(1)


def _dasp(audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
    out = peers.dasp_equalizer(audio[:, None], sample_rate, setting)
    return peers.dasp_compressor(out, sample_rate, setting).squeeze(1)


_DESIGNS = {"low_shelf": biquad.low_shelf, "high_shelf": biquad.high_shelf}


def _sections(sample_rate: float, setting: Setting, dtype: torch.dtype) -> Tensor:
    """Differentiable coefficients [B, 6, 5] for libraries that take coefficients."""
    rows = []
    for band in BANDS:
        design = _DESIGNS.get(band, biquad.peak)
        frequency, gain, q = (
            setting[f"{band}_{what}"] for what in ("frequency_hz", "gain_db", "q")
        )
        rows.append(design(frequency, gain, q, sample_rate))
    return torch.stack(rows, dim=1).to(dtype)


def _with_torchcomp(filtered: Callable[[Tensor, Tensor], Tensor]) -> Forward:
    def forward(audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
        out = filtered(audio, _sections(sample_rate, setting, audio.dtype))
        return out * peers.torchcomp_gain(out, sample_rate, setting)

    return forward


CHAINS: dict[str, Chain] = {
    "retone": Chain(_retone, {}, compressor.setting_of, "soft knee, attack and release"),
    "torchlpc + torchcomp": Chain(
        _with_torchcomp(peers.torchlpc_equalizer),
        {**peers.TORCHLPC, **peers.TORCHCOMP},
        compressor.torchcomp_setting,
        "hard knee; expander's two parameters instead of knee and make-up",
    ),
    "philtorch + torchcomp": Chain(
        _with_torchcomp(peers.philtorch_equalizer),
        {**peers.PHILTORCH, **peers.TORCHCOMP},
        compressor.torchcomp_setting,
        "hard knee; expander's two parameters instead of knee and make-up",
    ),
    "dasp-pytorch": Chain(
        _dasp, peers.DASP, compressor.setting_of, "no release; frequency sampling"
    ),
}


@dataclass(frozen=True)
class Problem:
    """A batch, its setting and the upstream gradient."""

    audio: Tensor
    setting: Setting
    upstream: Tensor
    sample_rate: float

    def gradients(self, forward: Forward) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Gradients of the audio and of every parameter (None where the graph has none)."""
        leaves = [self.audio, *self.setting.values()]
        for leaf in leaves:
            leaf.requires_grad_()
        y = forward(self.audio, self.sample_rate, self.setting)
        found = torch.autograd.grad(y, leaves, self.upstream, allow_unused=True)
        return found[0], dict(zip(self.setting, found[1:], strict=True))


def problem(
    method: Chain, batch: int, length: int, sample_rate: float, seed: int, dtype: torch.dtype
) -> Problem:
    """The same audio and nearly the same settings for every method; items differ a little."""
    audio = torch.from_numpy(moving_pink_noise(length, sample_rate, seed, batch)).to(dtype)
    rng = np.random.default_rng([seed, 1])
    upstream = torch.from_numpy(rng.standard_normal((batch, length)).astype(np.float32)).to(dtype)
    setting = {
        **equalizer.setting_of(equalizer.NORMAL, batch, dtype),
        **method.compressor_setting(batch, dtype),
    }
    scale = torch.linspace(0.95, 1.05, batch, dtype=torch.float64).to(dtype)
    return Problem(audio, {n: v * scale for n, v in setting.items()}, upstream, sample_rate)


def _part(whole: Problem, items: int, dtype: torch.dtype) -> Problem:
    def cut(t: Tensor) -> Tensor:
        return t.detach()[:items].to(dtype).clone()

    return Problem(
        cut(whole.audio), {n: cut(v) for n, v in whole.setting.items()}, cut(whole.upstream),
        whole.sample_rate,
    )  # fmt: skip


def _errors(
    found: dict[str, Tensor | None], exact: dict[str, Tensor | None]
) -> Iterator[tuple[float, float]]:
    for name, goal in exact.items():
        value = found[name]
        if goal is not None and value is not None:
            yield float((value.double() - goal).norm()), float(goal.norm())


def float32_error(method: Chain, whole: Problem) -> dict[str, float | None]:
    """Float32 gradients against the same method's in float64, relative (norm over the items).

    Returns:
        ``grad_audio``, ``grad_params`` (the worst parameter that has a gradient at all), and
        ``grads_found``, how many of the parameters have one that is not zero.
    """
    audio32, params32 = _part(whole, CHECKED_ITEMS, torch.float32).gradients(method.forward)
    audio64, params64 = _part(whole, CHECKED_ITEMS, torch.float64).gradients(method.forward)
    relative = [e / size for e, size in _errors(params32, params64) if size > 0]
    return {
        "grad_audio": float((audio32.double() - audio64).norm() / audio64.norm()),
        "grad_params": max(relative),
        "grads_found": float(len(relative)),
    }


def difference_error(method: Chain, sample_rate: float, seed: int) -> float:
    """Float64 gradients against central differences of the method's own forward pass.

    All parameters are moved at once along random directions (relative steps); returned is the
    largest relative error of the directional derivative.
    """
    p = problem(method, DIFFERENCE_ITEMS, DIFFERENCE_SAMPLES, sample_rate, seed, torch.float64)
    _, found = p.gradients(method.forward)
    rng = np.random.default_rng([seed, 2])
    errors = []
    with torch.no_grad():
        for _ in range(DIFFERENCE_DIRECTIONS):
            moves = {
                n: v.detach() * torch.from_numpy(rng.standard_normal(v.shape))
                for n, v in p.setting.items()
            }
            ends = []
            for sign in (1, -1):
                at = {n: v + sign * DIFFERENCE_STEP * moves[n] for n, v in p.setting.items()}
                ends.append((method.forward(p.audio, sample_rate, at) * p.upstream).sum())
            numeric = float(ends[0] - ends[1]) / (2 * DIFFERENCE_STEP)
            exact = sum(float((g * moves[n]).sum()) for n, g in found.items() if g is not None)
            errors.append(abs(numeric - exact) / max(abs(numeric), 1e-12))
    return max(errors)


def gradients_section(
    *,
    batch: int,
    length: int,
    sample_rate: float,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
) -> Section:
    """Measure forward + backward; memory is added later, from a fresh process per method.

    Args:
        batch, length: the audio is [batch, length] float32.
        sample_rate: in Hz.
        rounds, seed, say: as in ``equalizer_section``.
    """
    section = Section(
        "gradients",
        f"Forward + backward, equaliser + compressor, {batch} x {length} float32, gradients to "
        "the audio and all 24 parameters of every item",
        baseline="retone",
        audio_s=batch * length / sample_rate,
        figures=[
            ("peak_mib", "peak memory (MiB)"),
            ("grads_found", "parameters with a gradient"),
            ("grad_audio", "audio gradient, float32 against float64 (relative)"),
            ("grad_params", "worst parameter gradient, float32 against float64 (relative)"),
            ("grad_difference", "float64 gradient against finite differences (relative)"),
        ],
        notes=[
            "Peak memory is what the second pass adds to a fresh process that holds its input. "
            "Each method's gradients are compared with its own float64 run and its own finite "
            "differences, because their compressors are different functions. dasp-pytorch has no "
            "release, so its release time gets no gradient; the expander that replaces knee "
            "and make-up in the torchcomp rows never acts, so its two gradients are zero.",
        ],
        settings={"equalizer": equalizer.NORMAL, "compressor": compressor.SETTING},
    )

    def method(name: str, chain: Chain) -> Method:
        def build() -> Callable[[], Problem]:
            p = problem(chain, batch, length, sample_rate, seed, torch.float32)

            def call() -> Problem:
                p.gradients(chain.forward)
                return p

            return call

        def figures(p: Problem) -> dict[str, float | None]:
            out = float32_error(chain, p)
            out["grad_difference"] = difference_error(chain, sample_rate, seed)
            return out

        return Method(name, build, chain.packages, figures, chain.note)

    methods = [method(name, chain) for name, chain in CHAINS.items()]
    return measure(section, methods, rounds=rounds, seed=seed, say=say)

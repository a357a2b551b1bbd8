"""What the page's core computes besides the effects' own loops, against the effects themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from retone import core
from retone.dsp import biquad
from retone.effects import EXPANDER_TABLE, Compressor, CurveEqualizer
from retone.effects.curve_equalizer import CENTRES_HZ

RNG = np.random.default_rng(0)
PART, SPECTRUM = 128, 512


def table(size: int) -> np.ndarray:
    made = np.empty(size)
    core.fft_table(made, size)
    return made


@pytest.mark.parametrize("phase", ["minimum", "linear"])
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_a_curve_has_the_taps_of_the_effect(phase: Any, rate: int) -> None:
    effect = CurveEqualizer(phase=phase)
    gains = RNG.uniform(-20, 20, len(CENTRES_HZ))
    setting = effect.params.setting(dict(zip(effect.params.names, gains, strict=True)))
    want = effect.taps(rate, setting)[0].numpy()
    linear = phase == "linear"
    reach = want.size // 2 if linear else want.size
    size = core.curve_size(reach)
    got = np.empty(want.size)
    core.curve_taps(
        gains, got, table(size), core.scratch(4 * size), gains.size, reach, CENTRES_HZ[0],
        float(rate), int(linear),
    )  # fmt: skip
    np.testing.assert_allclose(got, want, atol=1e-13 * np.abs(want).max())


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_long_filter_is_the_convolution(count: int, channels: int) -> None:
    taps, x = RNG.standard_normal(count), RNG.standard_normal((channels, 20 * PART))
    parts = -(-count // PART)
    spectra, state = np.empty(SPECTRUM * parts), np.zeros(2 * PART + 1 + SPECTRUM * parts)
    small, scratch = table(2 * PART), core.scratch(2 * SPECTRUM)
    core.fir_spectra(taps, spectra, small, scratch, count)
    blocks = []
    for at in range(0, x.shape[1], PART):
        blocks.append(x[:, at : at + PART].copy())
        core.fir_block(blocks[-1], spectra, state, small, scratch, channels, parts)
    want = [np.convolve(row, taps)[: x.shape[1]] for row in x]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), want, atol=1e-12 * count)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_crossover_filters_have_the_sections_of_the_tensor_designs(rate: int) -> None:
    hz = np.array([[60.0, 900.0, 5000.0, 20000.0]])
    f, got = torch.from_numpy(hz), np.empty((4, 4, 5))
    for kind in range(2, 6):
        core.design_forward(
            np.full(4, kind), hz, np.zeros((1, 4)), np.ones((1, 4)), got[kind - 2], 1, 4,
            float(rate), biquad.TOP_OF_BAND * rate,
        )  # fmt: skip
    want = [biquad.low_pass_first_order(f, rate), *biquad.butterworth(f, rate)]
    np.testing.assert_allclose(got, torch.cat(want).numpy(), rtol=1e-14)


@pytest.mark.parametrize("rms_ms", [0.0, 10.0])
@pytest.mark.parametrize("expander", [False, True])
@pytest.mark.parametrize("times", [(3.0, 50.0), (80.0, 5.0)], ids=["attacks", "releases"])
def test_a_compressor_of_linear_gain_is_that_of_the_effect(
    rms_ms: float, expander: bool, times: tuple[float, float]
) -> None:
    tables = {"table": EXPANDER_TABLE} if expander else {}
    effect = Compressor(rms_ms=rms_ms, smooth="gain", **tables)  # type: ignore[arg-type]
    more = {"expander_threshold_db": -40.0, "expander_ratio": 2.0} if expander else {}
    values = {"threshold_db": -30.0, "ratio": 4.0, "attack_ms": times[0], "release_ms": times[1],
              "knee_db": 6.0, "makeup_db": 5.0}  # fmt: skip
    x = RNG.standard_normal((2, 2, 3001)) * np.exp(-np.linspace(0, 8, 3001))
    want = effect(torch.from_numpy(x), 44100, **values, **more).numpy()
    row = [*values.values(), rms_ms, *(more.values() or (-200.0, 1.0))]
    params, state = np.empty((2, 9)), np.zeros((2, 3))
    core.design_dynamics(np.array([row, row]), params, 2, 44100.0)
    parts = []
    for part in np.split(x, [64, 1000, 1111], axis=-1):  # blocks equal the whole
        y = np.ascontiguousarray(part)
        scratch = core.scratch(core.compress_scratch(2))
        core.compress_linear(y, y, params, state, scratch, 2, y.shape[-1], int(expander), 0, 0, 2)
        parts.append(y)
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), want, atol=1e-12)

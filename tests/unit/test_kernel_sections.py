"""Biquad cascades: against scipy, in blocks and batches, against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import sosfilt

from retone.errors import SettingError, ShapeError
from retone.kernels.rows import row_chunks, run_rows
from retone.kernels.sections import CHECKPOINT, sections_backward, sections_forward

Array = NDArray[np.float64]


def stable_sections(rng: np.random.Generator, sets: int, sections: int) -> Array:
    """Random poles inside the unit circle, random zeros."""
    radius = rng.uniform(0.3, 0.98, (sets, sections))
    angle = rng.uniform(0.02, 3.0, (sets, sections))
    b = rng.normal(size=(sets, sections, 3)) * 0.4 + [1.0, 0.0, 0.0]
    a = np.stack([-2 * radius * np.cos(angle), radius**2], axis=-1)
    return np.concatenate([b, a], axis=-1)


def scipy_sections(x: NDArray, sos: Array, state: Array) -> tuple[Array, Array]:
    share = len(x) // len(sos)
    ys, states = [], []
    for r, row in enumerate(x):
        b, a = np.split(sos[r // share], [3], axis=1)
        full = np.concatenate([b, np.ones((len(b), 1)), a], axis=1)
        y, last = sosfilt(full, row.astype(np.float64), zi=state[r])
        ys.append(y)
        states.append(last)
    return np.stack(ys), np.stack(states)


def low_shelf(frequency_hz: float, q: float, gain_db: float, sample_rate: int) -> Array:
    """Cookbook low shelf, [1, 1, 5]."""
    amp = 10 ** (gain_db / 40)
    w = 2 * math.pi * frequency_hz / sample_rate
    c, beta = math.cos(w), math.sqrt(amp) * math.sin(w) / q
    a0 = (amp + 1) + (amp - 1) * c + beta
    b = [
        amp * ((amp + 1) - (amp - 1) * c + beta),
        2 * amp * ((amp - 1) - (amp + 1) * c),
        amp * ((amp + 1) - (amp - 1) * c - beta),
    ]
    a = [-2 * ((amp - 1) + (amp + 1) * c), (amp + 1) + (amp - 1) * c - beta]
    return np.array([[[v / a0 for v in b + a]]])


def close(got: Array, want: Array, tolerance: float = 1e-12) -> bool:
    return bool(np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1e-300))


@pytest.mark.parametrize("rows, sets", [(1, 1), (2, 1), (3, 3), (8, 2), (16, 1), (19, 1)])
@pytest.mark.parametrize("sections", [1, 2, 6, 8, 10, 17])
def test_output_and_states_are_those_of_scipy(rows: int, sets: int, sections: int) -> None:
    rng = np.random.default_rng(rows * 100 + sections)
    sos = stable_sections(rng, sets, sections)
    state = rng.normal(size=(rows, sections, 2))
    for length in (1, 5, 255, 1000, 4097):
        x = rng.normal(size=(rows, length))
        y, last = sections_forward(x, sos, state)
        want, want_last = scipy_sections(x, sos, state)
        # Round-off grows with the number of resonances in series.
        tolerance = 1e-12 if sections <= 10 else 1e-11
        assert close(y, want, tolerance)
        assert close(last, want_last, tolerance)
        single, single_last = sections_forward(x.astype(np.float32), sos, state)
        want, want_last = scipy_sections(x.astype(np.float32), sos, state)
        assert single.dtype == np.float32
        assert close(single, want, 1e-7)
        assert close(single_last, want_last, tolerance)


@pytest.mark.parametrize("rows", [1, 8])
def test_a_30_hz_shelf_keeps_float32_audio_clean(rows: int) -> None:
    rng = np.random.default_rng(1)
    sos = low_shelf(30.0, 5.0, 12.0, 44100)
    x = np.repeat(rng.normal(size=(1, 44100)).astype(np.float32) * np.float32(0.1), rows, axis=0)
    state = np.zeros((rows, 1, 2))
    y, _ = sections_forward(x, sos, state)
    want, _ = scipy_sections(x, sos, state)
    error = np.sqrt(np.mean((y - want) ** 2) / np.mean(want**2))
    assert 20 * math.log10(error) < -120


@pytest.mark.parametrize("rows", [1, 3, 11])
@pytest.mark.parametrize("block", [1, 7, 512, 65536])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_with_carried_state_give_the_same_bits(rows: int, block: int, dtype: type) -> None:
    rng = np.random.default_rng(2)
    sos = stable_sections(rng, 1, 6)
    first = rng.normal(size=(rows, 6, 2))
    length = 1500 if block < 512 else 70000 if block > 512 and rows == 1 else 5000
    x = rng.normal(size=(rows, length)).astype(dtype)
    whole, last = sections_forward(x, sos, first)
    state, parts = first, []
    for start in range(0, length, block):
        part, state = sections_forward(x[:, start : start + block], sos, state)
        parts.append(part)
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()
    assert state.tobytes() == last.tobytes()


@pytest.mark.parametrize("sections", [1, 6, 10])
def test_a_row_alone_gives_the_same_bits_as_in_a_batch(sections: int) -> None:
    rng = np.random.default_rng(3)
    rows = 19
    sos, state = stable_sections(rng, rows, sections), rng.normal(size=(rows, sections, 2))
    x, grad_y = rng.normal(size=(2, rows, 1100))
    batch = sections_forward(x, sos, state, checkpoints=True)
    gradients = sections_backward(grad_y, x, sos, state, state[::-1])
    for r in range(rows):
        row = slice(r, r + 1)
        alone = sections_forward(x[row], sos[row], state[row], checkpoints=True)
        for one, all_rows in zip(alone, batch, strict=True):
            assert one.tobytes() == all_rows[row].tobytes()
        alone = sections_backward(grad_y[row], x[row], sos[row], state[row], state[::-1][row])
        for one, all_rows in zip(alone, gradients, strict=True):
            assert one.tobytes() == all_rows[row].tobytes()


@pytest.mark.parametrize("rows", [1, 2, 9, 19, 32])
def test_threads_do_not_change_a_bit(rows: int) -> None:
    rng = np.random.default_rng(4)
    sos, state = stable_sections(rng, 1, 6), rng.normal(size=(rows, 6, 2))
    x, grad_y = rng.normal(size=(2, rows, 700))
    one, two = (sections_forward(x, sos, state, threads=n) for n in (1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    one, two = (sections_backward(grad_y, x, sos, state, state, threads=n) for n in (1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("rows, sets", [(1, 1), (3, 3), (8, 2), (16, 1), (19, 1)])
@pytest.mark.parametrize("sections", [1, 2, 6, 10])
def test_gradients_are_those_of_central_differences(rows: int, sets: int, sections: int) -> None:
    rng = np.random.default_rng(rows * 10 + sections)
    length = 2 * CHECKPOINT + 77
    sos, state = stable_sections(rng, sets, sections), rng.normal(size=(rows, sections, 2))
    x, weight_y = rng.normal(size=(2, rows, length))
    weight_state = rng.normal(size=state.shape)

    def scalar(x: Array, sos: Array, state: Array) -> float:
        y, last = sections_forward(x, sos, state)
        return float((weight_y * y).sum() + (weight_state * last).sum())

    gradients = sections_backward(weight_y, x, sos, state, weight_state)
    for which in range(3):
        direction = rng.normal(size=(x, sos, state)[which].shape)
        step = 1e-6 / np.abs(direction).max()
        ends = []
        for sign in (1.0, -1.0):
            at = [x, sos, state]
            at[which] = at[which] + sign * step * direction
            ends.append(scalar(*at))
        slope = (ends[0] - ends[1]) / (2 * step)
        exact = gradients[which] * direction
        assert abs(slope - exact.sum()) <= 1e-6 * np.linalg.norm(exact) * math.sqrt(exact.size)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("length", [1, 5, 300])
def test_every_single_coefficient_and_state_gradient(rows: int, length: int) -> None:
    rng = np.random.default_rng(6)
    sos, state = stable_sections(rng, 1, 2), rng.normal(size=(rows, 2, 2))
    x, grad_y = rng.normal(size=(2, rows, length))
    grad_last = rng.normal(size=state.shape)
    found = sections_backward(grad_y, x, sos, state, grad_last)
    for which in range(3):
        values = (x, sos, state)[which]
        for index in list(np.ndindex(values.shape))[:40]:
            ends = []
            for sign in (1.0, -1.0):
                at = [x, sos, state]
                at[which] = values.copy()
                at[which][index] += sign * 1e-6
                y, last = sections_forward(*at)
                ends.append((grad_y * y).sum() + (grad_last * last).sum())
            slope = (ends[0] - ends[1]) / 2e-6
            assert found[which][index] == pytest.approx(slope, rel=2e-6, abs=1e-6)


def test_checkpoints_do_not_change_gradients() -> None:
    rng = np.random.default_rng(7)
    for rows in (2, 8):
        sos, state = stable_sections(rng, 1, 6), rng.normal(size=(rows, 6, 2))
        x, grad_y = rng.normal(size=(2, rows, 4 * CHECKPOINT - 24)).astype(np.float32)
        y, last, points = sections_forward(x, sos, state, checkpoints=True)
        plain_y, plain_last = sections_forward(x, sos, state)
        assert y.tobytes() == plain_y.tobytes() and last.tobytes() == plain_last.tobytes()
        assert points.shape == (rows, 4, 6, 2)
        assert np.array_equal(points[:, 0], state)
        again, third = sections_forward(x[:, : 2 * CHECKPOINT], sos, state)
        assert np.array_equal(points[:, 2], third) and np.array_equal(again, y[:, : 2 * CHECKPOINT])
        with_points = sections_backward(grad_y, x, sos, state, last, checkpoints=points)
        without = sections_backward(grad_y, x, sos, state, last)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(with_points, without, strict=True))
        assert with_points[0].dtype == np.float32


@pytest.mark.parametrize("rows", [1, 4])
def test_growing_but_finite_responses_are_exact(rows: int) -> None:
    """Poles outside the unit circle: grows by 1e60, and is still what scipy finds."""
    sos = np.array([[[1.0, 0.3, 0.1, -2.1, 1.2], [0.5, 0.0, 0.2, 0.4, 1.3]]])
    x = np.random.default_rng(8).normal(size=(rows, 1200))
    state = np.zeros((rows, 2, 2))
    y, last = sections_forward(x, sos, state)
    want, want_last = scipy_sections(x, sos, state)
    assert np.abs(want).max() > 1e60
    assert close(y, want, 1e-9) and close(last, want_last, 1e-9)


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_decaying_tail_never_holds_a_denormal(rows: int, dtype: type) -> None:
    """Round-off keeps some states near 1e-307 for ever; below that they are zero, so not slow."""
    sos = stable_sections(np.random.default_rng(9), 1, 6)
    x = np.zeros((rows, 120000), dtype)
    x[:, 0] = 1.0
    y, last = sections_forward(x, sos, np.zeros((rows, 6, 2)))
    assert np.abs(y[:, :100]).max() > 0.01
    for values in (y, last):
        assert not np.any((values != 0) & (np.abs(values) < np.finfo(values.dtype).tiny))
    assert float(np.abs(y[:, -1000:]).max()) < 1e-300 and np.abs(last).max() < 1e-300
    # The calling thread's own arithmetic keeps its denormals.
    assert np.float64(1e-300) * np.float64(1e-10) > 0


def test_a_row_of_nan_does_not_affect_its_neighbours() -> None:
    rng = np.random.default_rng(10)
    sos, state = stable_sections(rng, 1, 6), np.zeros((8, 6, 2))
    x = rng.normal(size=(8, 600))
    good, _ = sections_forward(x, sos, state)
    x[3, 100] = np.nan
    y, _ = sections_forward(x, sos, state)
    assert np.isnan(y[3, 100:]).all()
    others = [0, 1, 2, 4, 5, 6, 7]
    assert y[others].tobytes() == good[others].tobytes()


def test_empty_audio_gives_empty_audio() -> None:
    sos, state = np.ones((1, 2, 5)), np.ones((3, 2, 2))
    y, last = sections_forward(np.zeros((3, 0)), sos, state)
    assert y.shape == (3, 0) and np.array_equal(last, state)
    grad_x, grad_sos, grad_state = sections_backward(y, y, sos, state, 2 * state)
    assert grad_x.shape == (3, 0) and not grad_sos.any() and np.array_equal(grad_state, 2 * state)


def test_wrong_arguments_raise_clear_errors() -> None:
    x, sos, state = np.zeros((3, 10)), np.zeros((1, 2, 5)), np.zeros((3, 2, 2))
    with pytest.raises(SettingError, match="int64"):
        sections_forward(x.astype(np.int64), sos, state)
    with pytest.raises(ShapeError, match="state"):
        sections_forward(x, sos, state[:2])
    with pytest.raises(ShapeError, match="multiple"):
        sections_forward(x, np.zeros((2, 2, 5)), state)
    with pytest.raises(ShapeError, match="grad_y"):
        sections_backward(x[:, :5], x, sos, state, state)


def test_row_chunks_cover_every_row_once() -> None:
    for rows in range(40):
        for threads in (1, 2, 3, 7):
            for multiple in (1, 8):
                chunks = row_chunks(rows, threads, multiple)
                covered = [r for start, stop in chunks for r in range(start, stop)]
                assert covered == list(range(rows)) and len(chunks) <= threads
                assert all(start % multiple == 0 for start, _ in chunks)


def test_an_error_in_any_chunk_comes_out() -> None:
    seen: list[int] = []

    def work(start: int, stop: int) -> None:
        seen.extend(range(start, stop))
        if start > 0:
            raise ValueError("broken chunk")

    with pytest.raises(ValueError, match="broken chunk"):
        run_rows(work, 10, threads=3)
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("rows", [1, 3, 9])
@pytest.mark.parametrize("samples", [1, 2, 300, 513])
def test_gradients_do_not_depend_on_uninitialised_memory(rows: int, samples: int) -> None:
    rng = np.random.default_rng(6)
    sos, x = stable_sections(rng, rows, 6), rng.standard_normal((rows, samples))
    rest = np.zeros((rows, 6, 2))
    want = sections_backward(x, x, sos, rest, rest)
    for _ in range(20):
        sizes = (500, 520, 526, 534, 548, 560, 600, 4100, 4200)
        left = [np.full(4 * size, -3, np.int16) for size in sizes]  # as float64: NaN
        del left
        for found, expected in zip(sections_backward(x, x, sos, rest, rest), want, strict=True):
            assert np.isfinite(found).all() and found.tobytes() == expected.tobytes()

"""The compressor and smoother kernels: against plain loops, physics, and finite differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from retone.errors import ShapeError
from retone.kernels.ballistics import ballistics_backward, ballistics_forward
from retone.kernels.dynamics import PARAMS, compress_backward, compress_forward
from retone.units import smoothing

FS = 44100.0


def plain_knee(d: float, width: float) -> float:
    if 2 * d >= width:
        return d
    return 0.0 if 2 * d <= -width else (d + width / 2) ** 2 / (2 * width)


def plain_compressor(x: Any, params: Any, state: Any, expander: bool) -> tuple[Any, Any, Any]:
    y, state, gain_db = np.empty_like(x), state.copy(), np.empty((x.shape[0], x.shape[2]))
    for b, row in enumerate(params):
        threshold, slope, ka, kr, width, makeup, kl, exp_threshold, exp_slope = row
        p, yo, yu = state[b]
        for n in range(x.shape[2]):
            p = (1 - kl) * p + kl * (x[b, :, n] ** 2).max()
            level = 10 * math.log10(max(p, 1e-12))
            over = plain_knee(level - threshold, width)
            yo += (ka if over > yo else kr) * (over - yo)
            gain_db[b, n] = makeup - slope * yo
            if expander:
                under = plain_knee(exp_threshold - level, width)
                yu += (kr if under > yu else ka) * (under - yu)
                gain_db[b, n] -= exp_slope * yu
            y[b, :, n] = x[b, :, n] * 10 ** (gain_db[b, n] / 20)
        state[b] = p, yo, yu
    return y, state, gain_db


def some_params(rng: Any, batch: int, k_level: float | None = None) -> Any:
    low = [-40, -0.5, 0.01, 0.01, 0.5, -3, 0.05, -40, 0.1]
    high = [-10, 0.95, 0.5, 0.5, 12, 6, 0.9, -10, 2]
    params = rng.uniform(low, high, (batch, len(PARAMS)))
    if k_level is not None:
        params[:, 6] = k_level
    return params


def some_audio(rng: Any, batch: int, channels: int, length: int) -> Any:
    level = 10 ** rng.uniform(-2, 0, (batch, 1, length))
    return rng.standard_normal((batch, channels, length)) * level


def settings(**given: float) -> Any:
    base = dict(
        threshold_db=-20.0, slope=0.75, k_attack=1.0, k_release=1.0, knee_db=0.0, makeup_db=0.0,
        k_level=1.0, expander_threshold_db=-60.0, expander_slope=0.0,
    )  # fmt: skip
    return np.array([[{**base, **given}[name] for name in PARAMS]])


REST = np.zeros((1, 3))


@pytest.mark.parametrize(
    ("batch", "channels", "length", "k_level", "expander"),
    [(1, 1, 333, 1.0, False), (1, 2, 130, None, True), (3, 6, 65, None, False),
     (9, 2, 203, None, True), (17, 1, 71, 1.0, False), (2, 1, 1, None, True)],
)  # fmt: skip
def test_matches_a_plain_loop(
    batch: int, channels: int, length: int, k_level: float | None, expander: bool
) -> None:
    rng = np.random.default_rng(batch)
    x, params = some_audio(rng, batch, channels, length), some_params(rng, batch, k_level)
    params[0, 4] = 0.0
    state = np.abs(rng.standard_normal((batch, 3)))
    y, end, gain_db, _ = compress_forward(x, params, state, curves=True, expander=expander)
    want_y, want_end, want_gain = plain_compressor(x, params, state, expander)
    np.testing.assert_allclose(y, want_y, atol=1e-10)
    np.testing.assert_allclose(end, want_end, atol=1e-10)
    np.testing.assert_allclose(gain_db, want_gain, atol=1e-10)


def rise_ms(curve: Any) -> float:
    """10-90 % time of a curve that goes monotonically from its first to its last value."""
    part = (curve - curve[0]) / (curve[-1] - curve[0])
    low, high = np.interp([0.1, 0.9], part, np.arange(part.size))
    return float(high - low) * 1000 / FS


@pytest.mark.parametrize(("attack_ms", "release_ms"), [(10.0, 100.0), (50.0, 5.0), (20.0, 20.0)])
def test_step_response_takes_the_stated_attack_and_release(
    attack_ms: float, release_ms: float
) -> None:
    quiet, loud = np.full(22050, 0.01), np.full(22050, 1.0)
    row = settings(k_attack=smoothing(attack_ms, FS), k_release=smoothing(release_ms, FS))
    x = np.concatenate([loud, quiet])[None, None]
    gain_db = compress_forward(x, row, REST, curves=True)[2]
    assert gain_db is not None
    assert rise_ms(gain_db[0, :22050]) == pytest.approx(attack_ms, rel=0.01)
    assert rise_ms(gain_db[0, 22050:]) == pytest.approx(release_ms, rel=0.01)
    assert gain_db[0, 22049] == pytest.approx(-15.0, abs=1e-6)  # 20 dB over at 4:1


@pytest.mark.parametrize("knee_db", [0.0, 1e-9, 6.0, 24.0])
def test_static_curve_follows_the_textbook_and_has_no_jump(knee_db: float) -> None:
    level_db = np.linspace(-60, 0, 6001)
    row = settings(knee_db=knee_db, slope=0.75, makeup_db=3.0)
    y = compress_forward(10 ** (level_db / 20)[None, None], row, REST)[0]
    out_db = 20 * np.log10(y[0, 0])
    want = [lv - 0.75 * plain_knee(lv + 20.0, knee_db) + 3.0 for lv in level_db]
    np.testing.assert_allclose(out_db, want, atol=1e-9)
    assert np.abs(np.diff(out_db)).max() < 0.01 + 1e-9  # never steeper than 1:1


def test_a_sine_settles_at_the_gain_of_its_mean_square() -> None:
    t = np.arange(int(FS)) / FS
    x = (0.5 * np.sin(2 * np.pi * 1000 * t))[None, None]
    k = smoothing(200.0, FS)
    row = settings(k_level=k, k_attack=k, k_release=k, threshold_db=-30.0, slope=0.5)
    gain_db = compress_forward(x, row, REST, curves=True)[2]
    level_db = 10 * math.log10(0.125)
    assert gain_db is not None
    assert gain_db[0, -1] == pytest.approx(-0.5 * (level_db + 30), abs=0.01)


@pytest.mark.parametrize(("slope", "change_db"), [(0.0, 0.0), (1.0, -20.0), (-1.0, 20.0)])
def test_ratio_one_is_transparent_and_extremes_hold(slope: float, change_db: float) -> None:
    x = np.linspace(0.5, 1.0, 50)[None, None]
    y = compress_forward(x, settings(slope=slope), REST)[0]
    if slope == 0.0:
        np.testing.assert_array_equal(y, x)
    assert 20 * math.log10(y[0, 0, -1]) == pytest.approx(change_db, abs=1e-9)


def test_expander_lowers_what_is_below_its_threshold() -> None:
    x = np.full((1, 1, 10), 10 ** (-70 / 20))
    row = settings(expander_slope=1.0)
    assert compress_forward(x, row, REST, expander=True)[0][0, 0, -1] == pytest.approx(1e-4)
    np.testing.assert_array_equal(compress_forward(x, row, REST)[0], x)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("knee_db", [0.0, 6.0])
def test_silence_stays_silent_with_finite_gradients(batch: int, knee_db: float) -> None:
    x = np.zeros((batch, 2, 100))
    params = np.repeat(settings(knee_db=knee_db, expander_slope=1.0, k_level=0.5), batch, 0)
    state = np.zeros((batch, 3))
    y, end, _, _ = compress_forward(x, params, state, expander=True)
    assert not y.any() and np.isfinite(end).all()
    gx, gp, gs = compress_backward(np.ones_like(x), x, params, state, expander=True)
    assert np.isfinite(gx).all() and not gp.any() and not gs.any()


def test_channels_share_one_gain_and_dual_mono_is_mono() -> None:
    rng = np.random.default_rng(3)
    x, params = some_audio(rng, 2, 2, 500), some_params(rng, 2)
    y, _, gain_db, _ = compress_forward(x, params, np.zeros((2, 3)), curves=True)
    np.testing.assert_allclose(y, x * 10 ** (gain_db[:, None] / 20), rtol=1e-12)
    mono = compress_forward(x[:, :1], params, np.zeros((2, 3)))[0]
    dual = compress_forward(x[:, [0, 0]], params, np.zeros((2, 3)))[0]
    np.testing.assert_array_equal(dual, np.repeat(mono, 2, 1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch", [2, 10])
def test_blocks_items_and_threads_do_not_change_a_bit(dtype: Any, batch: int) -> None:
    rng = np.random.default_rng(4)
    x = some_audio(rng, batch, 2, 1500).astype(dtype)
    params, rest = some_params(rng, batch), np.zeros((batch, 3))
    params[::2, 6] = 1.0
    whole = compress_forward(x, params, rest, curves=True)[:3]
    for block in (1, 7, 512):
        upto = 40 if block == 1 else x.shape[2]
        state, ys, gains = rest, [], []
        for at in range(0, upto, block):
            y, state, gain_db, _ = compress_forward(
                x[:, :, at : min(at + block, upto)], params, state, curves=True
            )
            ys.append(y), gains.append(gain_db)
        np.testing.assert_array_equal(np.concatenate(ys, 2), whole[0][:, :, :upto])
        np.testing.assert_array_equal(np.concatenate(gains, 1), whole[2][:, :upto])
        if upto == x.shape[2]:
            np.testing.assert_array_equal(state, whole[1])
    for b in range(batch):
        s = slice(b, b + 1)
        alone = compress_forward(x[s], params[s], rest[s], curves=True)
        for got, want in zip(alone, whole, strict=False):
            np.testing.assert_array_equal(got, want[s])
    for got, want in zip(
        compress_forward(x, params, rest, threads=2, curves=True), whole, strict=False
    ):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("expander", [False, True])
@pytest.mark.parametrize(
    ("batch", "channels", "length", "knee_db", "k_level"),
    [(1, 2, 150, 6.0, 0.4), (2, 1, 70, 0.0, 1.0), (9, 1, 131, 6.0, 0.4), (9, 3, 64, 0.0, 1.0)],
)
def test_gradients_are_the_finite_differences(
    batch: int, channels: int, length: int, knee_db: float, k_level: float, expander: bool
) -> None:
    rng = np.random.default_rng(batch + channels)
    x, params = some_audio(rng, batch, channels, length), some_params(rng, batch, k_level)
    params[:, 4] = knee_db
    state = np.abs(rng.standard_normal((batch, 3)))
    onto_y = rng.standard_normal(x.shape)
    onto_gain, onto_end = rng.standard_normal((batch, length)), rng.standard_normal((batch, 3))

    def loss(x: Any, params: Any, state: Any) -> Any:
        y, end, gain_db, _ = compress_forward(x, params, state, curves=True, expander=expander)
        return (y * onto_y).sum((1, 2)) + (gain_db * onto_gain).sum(1) + (end * onto_end).sum(1)

    gx, gp, gs = compress_backward(onto_y, x, params, state, onto_end, onto_gain, expander=expander)
    step = 1e-6
    move = step * x * rng.standard_normal(x.shape)
    along = (loss(x + move, params, state) - loss(x - move, params, state)) / 2
    np.testing.assert_allclose((gx * move).sum((1, 2)), along, rtol=1e-5, atol=1e-11)
    for column, name in enumerate(PARAMS):
        if name == "knee_db" and knee_db == 0:
            assert not gp[:, column].any()  # a knee can't be narrower than none
            continue
        d = np.zeros(len(PARAMS))
        d[column] = step
        if name == "k_level" and k_level == 1.0:  # above 1 the power could turn negative
            d *= 1e-2  # the curvature is huge: power decays over decades between samples
            one, two = loss(x, params - d, state), loss(x, params - 2 * d, state)
            slope = (3 * loss(x, params, state) - 4 * one + two) / (2e-2 * step)
            tolerance = 1e-4
        else:
            slope = (loss(x, params + d, state) - loss(x, params - d, state)) / (2 * step)
            tolerance = 1e-5
        np.testing.assert_allclose(gp[:, column], slope, rtol=tolerance, atol=1e-4, err_msg=name)
    for column in range(3):
        e = np.zeros(3)
        e[column] = step
        slope = (loss(x, params, state + e) - loss(x, params, state - e)) / (2 * step)
        np.testing.assert_allclose(gs[:, column], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [2, 11])
def test_checkpoints_threads_and_batches_do_not_change_gradients(batch: int) -> None:
    rng = np.random.default_rng(5)
    x, params = some_audio(rng, batch, 1, 300), some_params(rng, batch)
    rest = np.zeros((batch, 3))
    y, _, _, marks = compress_forward(x, params, rest, checkpoints=True)
    want = compress_backward(y, x, params, rest)
    for other in (
        compress_backward(y, x, params, rest, checkpoints=marks),
        compress_backward(y, x, params, rest, threads=2),
    ):
        for got, expected in zip(other, want, strict=True):
            np.testing.assert_array_equal(got, expected)
    alone = compress_backward(y[1:2], x[1:2], params[1:2], rest[1:2])
    for got, expected in zip(alone, want, strict=True):
        np.testing.assert_allclose(got, expected[1:2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("expander", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [2, 8, 11])
def test_a_peak_level_has_the_same_gradients_as_a_mean_over_one_sample(
    batch: int, channels: int, expander: bool
) -> None:
    rng = np.random.default_rng(8)
    x, params = some_audio(rng, batch, channels, 150), some_params(rng, batch, k_level=1.0)
    state, onto_end = rng.uniform(0, 1, (batch, 3)), rng.standard_normal((batch, 3))
    onto, onto_gain = rng.standard_normal(x.shape), rng.standard_normal((batch, 150))
    given: Any = (onto, x, params, state, onto_end, onto_gain)
    want = compress_backward(*given, expander=expander)
    found = compress_backward(*given, expander=expander, averaged=False)
    assert np.abs(want[1][:, 6]).min() > 0 and not found[1][:, 6].any()
    want[1][:, 6] = 0.0
    for got, expected in zip(found, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_the_gradient_at_expander_slope_zero_is_exact() -> None:
    x = np.full((1, 1, 50), 1e-4)
    row = settings(k_attack=0.1, k_release=0.2)
    onto = np.ones_like(x)
    up, down = row.copy(), row.copy()
    up[0, 8], down[0, 8] = 1e-6, -1e-6
    slope = (
        compress_forward(x, up, REST, expander=True)[0].sum()
        - compress_forward(x, down, REST, expander=True)[0].sum()
    ) / 2e-6
    assert slope < 0
    gp = compress_backward(onto, x, row, REST, expander=True)[1]
    assert gp[0, 8] == pytest.approx(slope, rel=1e-6)
    assert compress_backward(onto, x, row, REST)[1][0, 8] == 0.0


@pytest.mark.parametrize("rows", [1, 9])
def test_smoother_matches_a_plain_loop_and_its_differences(rows: int) -> None:
    rng = np.random.default_rng(rows)
    x, onto = rng.standard_normal((2, rows, 203))
    given = [rng.uniform(0.01, 1, rows), rng.uniform(0.01, 1, rows), rng.standard_normal(rows)]
    ka, kr, y0 = given
    end = np.empty(rows)
    y = ballistics_forward(x, *given, y_end=end)
    for r in range(rows):
        s = y0[r]
        for n in range(203):
            s += (ka[r] if x[r, n] > s else kr[r]) * (x[r, n] - s)
            assert y[r, n] == pytest.approx(s, abs=1e-12)
    np.testing.assert_array_equal(end, y[:, -1])
    np.testing.assert_array_equal(ballistics_forward(x, *given, threads=2), y)
    mid = np.empty(rows)
    parts = [ballistics_forward(x[:, :77], *given, y_end=mid)]
    parts.append(ballistics_forward(x[:, 77:], ka, kr, mid))
    np.testing.assert_array_equal(np.concatenate(parts, 1), y)
    gx, *others = ballistics_backward(onto, x, *given)
    step = 1e-6
    v = rng.standard_normal(x.shape)
    up, down = (ballistics_forward(x + s * v, *given) for s in (step, -step))
    np.testing.assert_allclose(
        (gx * v).sum(1), ((up - down) * onto).sum(1) / (2 * step), rtol=1e-5, atol=1e-6
    )
    for i, got in enumerate(others):
        up_args = [g + step * (i == j) for j, g in enumerate(given)]
        down_args = [g - step * (i == j) for j, g in enumerate(given)]
        change = ballistics_forward(x, *up_args) - ballistics_forward(x, *down_args)
        want = (change * onto).sum(1) / (2 * step)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_settled_float32_keeps_its_branch() -> None:
    x = np.ones((1, 400), np.float32)  # rises to 1; in float32 the output becomes 1 exactly
    onto = np.zeros_like(x)
    onto[0, 200] = 1.0
    gx = ballistics_backward(onto, x, np.array([0.1]), np.array([0.001]), np.zeros(1))[0]
    assert gx[0, 200] == pytest.approx(0.1)


def test_wrong_shapes_raise_errors() -> None:
    x = np.zeros((2, 1, 8))
    with pytest.raises(ShapeError, match=r"\[2, 9\]"):
        compress_forward(x, np.zeros((2, 6)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="grad_y"):
        compress_backward(x[:, :, :4], x, np.zeros((2, 9)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="k_attack"):
        ballistics_forward(x[:, 0], np.zeros(3), np.zeros(2), np.zeros(2))

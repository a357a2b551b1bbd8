"""Benchmarks: the statistics, the references, what a missing or broken peer does, the record."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import sosfilt

from retone.errors import SettingError
from retone.lab.bench import compressor, equalizer, gradients, loss, match, methods
from retone.lab.bench.methods import Method, measure
from retone.lab.bench.reference import (
    compress_loop,
    cookbook_sos,
    error_to_signal_db,
    linear_gain_loop,
    moving_pink_noise,
)
from retone.lab.bench.result import Row, Section
from retone.lab.bench.tables import section_table
from retone.lab.bench.timing import interleaved, paired_ratio, spread

RATE = 44100


def quiet(text: str) -> None:
    """No progress in tests."""


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if none of the optional libraries were installed."""
    monkeypatch.setattr(methods, "missing", lambda packages: list(packages.values()))


def section(*rows: Row) -> Section:
    return Section(
        "demo", "Demonstration", "base", 2.0, [("esr_db", "error (dB)")], rows=list(rows)
    )


def timed(name: str, cpu: list[float], **figures: float | None) -> Row:
    return Row(name, wall_s=[2 * t for t in cpu], cpu_s=cpu, figures=dict(figures))


def test_spread_and_paired_ratio() -> None:
    s = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (s.q1, s.median, s.q3) == (2.0, 3.0, 4.0)
    # The machine gets three times slower halfway: ratios by rounds do not notice.
    drift = np.array([1.0, 1.0, 3.0, 3.0])
    assert paired_ratio((2 * drift).tolist(), drift.tolist()) == spread([2.0])
    with pytest.raises(ValueError):
        paired_ratio([1.0], [1.0, 2.0])


def test_rounds_are_interleaved_and_shuffled() -> None:
    order: list[str] = []
    clock = itertools.count()
    calls = {name: (lambda n=name: order.append(n)) for name in "abcde"}
    times = interleaved(
        calls, 8, seed=3, wall=lambda: float(next(clock)), cpu=lambda: float(next(clock))
    )
    rounds = [order[i : i + 5] for i in range(0, 40, 5)]
    assert all(sorted(r) == list("abcde") for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1
    # wall starts before and ends after the CPU clock: 3 ticks around 1.
    assert all(t.wall_s == [3.0] * 8 and t.cpu_s == [1.0] * 8 for t in times.values())
    again: list[str] = []
    interleaved({n: (lambda n=n: again.append(n)) for n in "abcde"}, 8, seed=3)
    assert again == order


def test_missing_and_failing_methods_become_rows() -> None:
    def broken() -> Callable[[], Any]:
        raise OSError("libfoo.so: cannot open\nand a long story")

    def fails_when_called() -> Callable[[], Any]:
        return lambda: [][1]

    found = measure(
        section(),
        [
            Method("base", lambda: lambda: 1),
            Method("absent", broken, {"no_such_module_anywhere": "no-such-thing"}),
            Method("broken", broken),
            Method("late", fails_when_called),
        ],
        rounds=3,
        seed=0,
        say=quiet,
    )
    by_name = {r.method: r for r in found.rows}
    assert by_name["absent"].status == (
        "not installed: no-such-thing (pip install 'retone[peers]')"
    )
    assert by_name["broken"].status == "failed: OSError: libfoo.so: cannot open"
    assert by_name["late"].status.startswith("failed: IndexError")
    assert by_name["base"].ok and len(by_name["base"].cpu_s) == 3
    table = section_table(found)
    assert "not installed: no-such-thing" in table and "cannot open" in table
    widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_own_error_of_the_baseline_is_raised() -> None:
    def refuse() -> Callable[[], Any]:
        raise SettingError("no")

    with pytest.raises(SettingError):
        measure(section(), [Method("base", refuse)], rounds=1, seed=0, say=quiet)


def test_error_to_signal() -> None:
    exact = np.array([1.0, -1.0, 1.0, -1.0])
    assert error_to_signal_db(1.001 * exact, exact) == pytest.approx(-60, abs=1e-6)
    assert error_to_signal_db(exact, exact) == -math.inf
    assert error_to_signal_db(-exact, exact) == pytest.approx(20 * math.log10(2))


def test_cookbook_agrees_with_the_effect() -> None:
    for bands in (equalizer.NORMAL, equalizer.HARD):
        sos = cookbook_sos(bands, RATE)
        own = equalizer.Equalizer().sections(RATE, equalizer.setting_of(bands))[0]
        np.testing.assert_allclose(own.numpy(), sos[:, [0, 1, 2, 4, 5]], rtol=1e-12, atol=1e-14)


def test_signal_is_pink_moving_and_seeded() -> None:
    x = moving_pink_noise(RATE, RATE, seed=1, batch=2)
    assert x.dtype == np.float32 and x.shape == (2, RATE)
    np.testing.assert_allclose(np.abs(x).max(axis=1), 0.5, rtol=1e-6)
    np.testing.assert_array_equal(x, moving_pink_noise(RATE, RATE, seed=1, batch=2))
    assert np.abs(x - moving_pink_noise(RATE, RATE, seed=2, batch=2)).max() > 0.1
    power = np.abs(np.fft.rfft(x)) ** 2
    octaves = [power[:, f : 2 * f].sum() for f in (200, 800, 3200)]
    assert max(octaves) < 2 * min(octaves)  # equal power per octave
    blocks = np.sqrt((x.reshape(2, -1, 441) ** 2).mean(axis=2))
    assert np.all(blocks.max(axis=1) > 30 * blocks.min(axis=1))  # moves by more than 30 dB


def test_compressor_loop_settles_on_the_static_curve() -> None:
    level_db = -8.0
    x = np.full(RATE, 10 ** (level_db / 20))
    y = compress_loop(x, RATE, compressor.SETTING)
    s = compressor.SETTING
    expected = s["threshold_db"] + (level_db - s["threshold_db"]) / s["ratio"]
    assert 20 * math.log10(y[-1]) == pytest.approx(expected, abs=1e-6)
    assert y[0] > y[-1]


def test_linear_gain_loop_settles_and_starts_at_one() -> None:
    gain = linear_gain_loop(np.full(2000, 1.0), -20.0, 4.0, attack=0.01, release=0.001)
    assert gain[0] == pytest.approx(1 - 0.01 * (1 - 10 ** (-15 / 20)))
    assert 20 * math.log10(gain[-1]) == pytest.approx(-15, abs=1e-6)


def test_equalizer_section_without_peers(no_peers: None) -> None:
    found = equalizer.equalizer_section(seconds=0.2, sample_rate=RATE, rounds=2, seed=0, say=quiet)
    for name in ("retone", "retone, kernel only"):
        row = found.row(name)
        assert row.ok and len(row.cpu_s) == 2
        # Rounded once to float32: half a unit in the last place is about -150 dB.
        assert row.figures["esr_normal_db"] < -145 and row.figures["esr_hard_db"] < -145
    # float32 states and coefficients lose far more than float32 output does
    assert -140 < found.row("scipy sosfilt, float32").figures["esr_hard_db"] < -20
    assert found.row("scipy sosfilt, float64").figures["esr_normal_db"] is None
    for name in ("pedalboard", "torchlpc", "philtorch", "dasp-pytorch"):
        assert found.row(name).status.startswith("not installed")
    assert found.ratio("retone") == spread([1.0])
    assert found.ratio("dasp-pytorch") is None


def test_compressor_section_without_peers(no_peers: None) -> None:
    found = compressor.compressor_section(
        seconds=0.2, sample_rate=RATE, rounds=1, seed=0, say=quiet
    )
    for name in ("retone", "retone, kernel only"):
        assert found.row(name).figures["esr_loop_db"] < -140
    assert not found.row("torchcomp").ok


def test_torchcomp_is_its_own_formula() -> None:
    pytest.importorskip("torchcomp")
    x = moving_pink_noise(4000, RATE, seed=0)
    found = compressor.peers.torchcomp_gain(
        torch.from_numpy(x).double(), RATE, compressor.torchcomp_setting()
    )
    exact = compressor.torchcomp_exact(x[0], RATE)
    assert error_to_signal_db(x[0] * found[0].numpy(), exact) < -200


@pytest.mark.parametrize(
    ("module", "run"),
    [
        ("torchlpc", "torchlpc_equalizer"),
        ("pedalboard", "pedalboard_equalizer"),
    ],
)
def test_peers_get_the_same_job(module: str, run: str) -> None:
    pytest.importorskip(module)
    x = moving_pink_noise(20000, RATE, seed=0)
    sos = cookbook_sos(equalizer.NORMAL, RATE)
    exact = sosfilt(sos, x[0].astype(np.float64))
    function = getattr(equalizer.peers, run)
    if module == "pedalboard":
        y = function(equalizer.NORMAL)(x[0], RATE)
    else:
        sections = torch.from_numpy(sos[:, [0, 1, 2, 4, 5]])[None]
        y = function(torch.from_numpy(x).double(), sections)[0].numpy()
    assert error_to_signal_db(y, exact) < -50


def test_gradients_section_without_peers(no_peers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "DIFFERENCE_SAMPLES", 2000)
    found = gradients.gradients_section(
        batch=2, length=2000, sample_rate=RATE, rounds=1, seed=0, say=quiet
    )
    row = found.row("retone")
    assert row.figures["grads_found"] == 24
    assert row.figures["grad_difference"] < 1e-5
    assert row.figures["grad_audio"] < 1e-5 and row.figures["grad_params"] < 1e-4
    assert [r.ok for r in found.rows] == [True, False, False, False]


def test_difference_error_sees_a_wrong_gradient() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *g: torch.Tensor) -> torch.Tensor:
            return 1.01 * g[0]

    right = gradients.CHAINS["retone"]
    wrong = gradients.Chain(
        lambda a, r, s: Wrong.apply(right.forward(a, r, s)), {}, right.compressor_setting, ""
    )
    assert gradients.difference_error(wrong, RATE, 0) == pytest.approx(0.01, rel=0.01)


def test_memory_growth_sees_what_is_held_and_let_go() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the high-water mark can be reset on Linux only")
    code = (
        "import numpy as np; from retone.lab.bench.memory import peak_growth_mib\n"
        "size = 64 * 2**20\n"
        "np.ones(2 * size, np.uint8)\n"  # an earlier, larger peak must not hide or add anything
        "print(peak_growth_mib(lambda: np.ones(size, np.uint8)))"
    )
    # in a process of its own: memory that other tests freed would be used again
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(64, abs=8)


def test_loss_section_without_peers(no_peers: None) -> None:
    found = loss.loss_section(batch=1, length=40000, sample_rate=RATE, rounds=1, seed=0, say=quiet)
    for name in ("retone", "retone, target prepared"):
        assert found.row(name).figures["value_error"] < 1e-5
        assert found.row(name).figures["grad_error"] < 1e-2
    assert not found.row("auraloss").ok


def test_looped_file(tmp_path: Path) -> None:
    import soundfile

    x = moving_pink_noise(1000, RATE, seed=0)[0]
    soundfile.write(tmp_path / "short.wav", x, RATE, "FLOAT")
    match.write_looped(tmp_path / "short.wav", tmp_path / "long.wav", 0.1)
    y, rate = soundfile.read(tmp_path / "long.wav")
    assert rate == RATE and y.shape == (4410, 2)
    np.testing.assert_allclose(y[:1000, 1], x, atol=2**-15)
    np.testing.assert_array_equal(y[:1000], y[2000:3000])


def test_match_section_times_the_command(
    no_peers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    seen: list[list[str]] = []

    def entry(arguments: list[str]) -> int:
        seen.append(arguments)
        return 0

    module = types.ModuleType("stand_in_command")
    module.main = entry  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in_command", module)
    source = tmp_path / "a.wav"
    soundfile.write(source, np.zeros((100, 2)), 8000)
    found = match.match_section(
        audio=[str(source), str(source)], seconds=0.5, sample_rate=RATE, rounds=2, seed=0,
        folder=str(tmp_path), entry="stand_in_command:main", say=quiet,
    )  # fmt: skip
    assert soundfile.info(tmp_path / "target.wav").samplerate == RATE
    assert soundfile.info(tmp_path / "target.wav").frames == RATE // 2
    assert all(a[0] == "match" and "--force" in a for a in seen)
    assert len(seen) == 3 * (
        2 + 2
    )  # warm-up and rounds: whole, without the picture, by the network
    assert sum("--no-report" in a for a in seen) == 4
    assert not found.row("matchering").ok


def test_enhance_section_times_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    from retone.lab.bench import enhance

    seen: list[list[str]] = []
    module = types.ModuleType("stand_in_command")
    module.main = lambda words: seen.append(words) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in_command", module)
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 8000)
    found = enhance.enhance_section(
        audio=str(tmp_path / "a.wav"), weights="w.safetensors", seconds=0.5, sample_rate=RATE,
        rounds=2, seed=0, folder=str(tmp_path), entry="stand_in_command:main", say=quiet,
    )  # fmt: skip
    assert soundfile.info(tmp_path / "source.wav").channels == 1
    assert all(a[0] == "enhance" and a[a.index("--weights") + 1] == "w.safetensors" for a in seen)
    assert sum("--no-report" in a for a in seen) == len(seen) / 2 == 4
    assert found.row("retone enhance").ok

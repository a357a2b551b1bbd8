"""The laws of sound that every effect must hold, on every back end; traits say which apply."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from under_test import each_effect

from conftest import Backend, MakeAudio
from retone.dsp.effect import Effect, State
from retone.dsp.param import ParamTable, Setting
from retone.effects import leaves as members

RATES = (16000, 24000, 44100, 48000, 96000)
each_rate = pytest.mark.parametrize("sample_rate", RATES)


def on(setting: Setting, device: str) -> Setting:
    return {name: value.to(device) for name, value in setting.items()}


def inside(table: ParamTable, batch: int, seed: int = 0, margin: float = 0.2) -> Setting:
    """Random settings well inside every range (so that nothing sits on a kink)."""
    unit = torch.rand(
        batch, len(table), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return table.to_physical(margin + (1 - 2 * margin) * unit)


def linear(effect: Effect, batch: int, seed: int = 0) -> Setting:
    """Random settings with all dynamics bypassed: the effect is a linear filter.

    Members without a linear response are neutral; of others the ratios are.
    """
    setting = inside(effect.params, batch, seed)
    hz = torch.tensor([1000.0], dtype=torch.float64)
    for path, member, own in members(effect, setting):
        nonlinear = member.response(hz, 48000, own) is None
        for p in member.params:
            if p.neutral is not None and (nonlinear or p.role == "ratio"):
                name = p.name if p.name in setting else f"{path}.{p.name}"
                setting[name] = torch.full_like(setting[name], p.neutral)
    return setting


def corners(table: ParamTable) -> Setting:
    """Every parameter at each end of its range with the rest inside it, then all low, all high."""
    setting = inside(table, 2 * len(table) + 2, seed=1)
    unit = table.to_unit(setting)
    for i in range(len(table)):
        unit[2 * i, i], unit[2 * i + 1, i] = 0.0, 1.0
    unit[-2], unit[-1] = 0.0, 1.0
    return table.to_physical(unit)


def late(audio: Tensor, effect: Effect, sample_rate: float) -> Tensor:
    """Audio delayed by the effect's latency, cut to its length."""
    count = min(effect.latency_samples(sample_rate), audio.shape[-1])
    return torch.nn.functional.pad(audio, (count, 0))[..., : audio.shape[-1]]


def leaves(state: State) -> list[Tensor]:
    """The tensors of a nested state, in a fixed order."""
    found: list[Tensor] = []
    for name in sorted(state):
        value = state[name]
        found += leaves(value) if isinstance(value, dict) else [value]
    return found


def rebuilt(state: State, tensors: list[Tensor]) -> State:
    """A state of the same shape with other tensors, in the order of ``leaves``."""
    supply = list(tensors)

    def fill(part: State) -> State:
        return {
            n: fill(part[n]) if isinstance(part[n], dict) else supply.pop(0) for n in sorted(part)
        }

    return fill(state)


def difference_db(got: Tensor, wanted: Tensor) -> float:
    """Energy of the difference over energy of what is wanted, in dB."""
    ratio = ((got - wanted) ** 2).sum() / (wanted**2).sum()
    return 10 * math.log10(max(float(ratio), 1e-40))


# --- what neutral and silent mean ----------------------------------------------------------


@each_effect
@each_rate
def test_neutral_is_identity(
    effect: Effect, sample_rate: int, backend: Backend, make_audio: MakeAudio
) -> None:
    neutral = on(effect.params.neutral(2), backend.device)
    if effect.has_crossover:
        length = sample_rate // 2
        impulse = torch.zeros(2, 1, length, dtype=torch.float64, device=backend.device)
        impulse[..., 0] = 1.0
        magnitude = torch.fft.rfft(effect.render(impulse, sample_rate, neutral).audio).abs()
        hz = torch.fft.rfftfreq(length, 1 / sample_rate)
        heard = (hz >= 20) & (hz <= 0.45 * sample_rate)
        assert (20 * torch.log10(magnitude[..., heard.to(backend.device)])).abs().max() < 0.01
        return
    length = 1000 + effect.latency_samples(sample_rate)
    audio = make_audio(length, sample_rate, batch=2, channels=2).to(backend.device)
    torch.testing.assert_close(
        effect.render(audio, sample_rate, neutral).audio,
        late(audio, effect, sample_rate), rtol=0, atol=1e-13,
    )  # fmt: skip
    single = audio.float()
    wanted = late(single, effect, sample_rate)
    assert torch.equal(effect.render(single, sample_rate, neutral).audio, wanted)


@each_effect
def test_the_static_path_is_neutral_at_the_same_crossovers(
    effect: Effect, backend: Backend, make_audio: MakeAudio
) -> None:
    audio = make_audio(1000, 24000, batch=2, channels=2, seed=15).to(backend.device)
    setting = on(inside(effect.params, 2, seed=16), backend.device)
    neutral = {
        p.name: setting[p.name]
        if p.neutral is None
        else torch.full_like(setting[p.name], p.neutral)
        for p in effect.params
    }
    wanted = effect.render(audio, 24000, neutral).audio
    got = effect.static_path(audio, 24000, setting)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)


@each_effect
def test_silence_stays_silence(effect: Effect, backend: Backend) -> None:
    audio = torch.zeros(3, 2, 500, device=backend.device)
    out = effect.render(audio, 24000, on(inside(effect.params, 3), backend.device))
    assert torch.equal(out.audio, audio)
    assert torch.equal(
        effect.relax(audio, 24000, on(inside(effect.params, 3), backend.device)), audio
    )


# --- numbers stay finite, gradients too ----------------------------------------------------


@each_effect
@pytest.mark.parametrize("kind", ["speech", "silence", "one_sample", "empty"])
def test_finite_at_both_ends_of_every_range(
    effect: Effect, kind: str, backend: Backend, make_audio: MakeAudio
) -> None:
    setting = on(corners(effect.params), backend.device)
    batch = len(next(iter(setting.values())))
    length = {"speech": 300, "silence": 50, "one_sample": 1, "empty": 0}[kind]
    audio = make_audio(length, 16000, batch=batch, channels=2).to(backend.device)
    if kind == "silence":
        audio = torch.zeros_like(audio)
    audio.requires_grad_()
    for value in setting.values():
        value.requires_grad_()
    out = effect.render(audio, 16000, setting, curves=True)
    assert out.audio.shape == audio.shape
    assert out.audio.isfinite().all()
    for name, curve in out.curves.items():
        assert curve.shape == (batch, length), name
        assert curve.isfinite().all(), name
    for tensor in leaves(out.state):
        assert tensor.isfinite().all()
    (out.audio.square().sum() + sum(c.sum() for c in out.curves.values())).backward()
    assert audio.grad is not None and audio.grad.isfinite().all()
    for name, value in setting.items():
        assert value.grad is None or value.grad.isfinite().all(), name


# --- blocks, batches, channels --------------------------------------------------------------


@each_effect
@pytest.mark.parametrize(
    ("block", "length", "dtype"),
    [
        (1, 80, torch.float64),
        (7, 400, torch.float32),
        (512, 1600, torch.float64),
        (65536, 140000, torch.float32),
    ],
    ids=["1", "7", "512", "65536"],
)
def test_blocks_equal_the_whole(
    effect: Effect,
    block: int,
    length: int,
    dtype: torch.dtype,
    backend: Backend,
    make_audio: MakeAudio,
) -> None:
    if not backend.exact:  # the same joints in less time
        length = {1: 24, 7: 100, 512: 1300, 65536: 6000}[block]
        block = min(block, 4096)
    rows = 1 if length > 10000 else 2
    audio = make_audio(length, 48000, batch=rows, channels=2, dtype=dtype).to(backend.device)
    setting = on(inside(effect.params, rows, seed=3), backend.device)
    whole = effect.render(audio, 48000, setting, curves=True)
    state, parts, curves = None, [], []
    for start in range(0, length, block):
        part = effect.render(audio[..., start : start + block], 48000, setting, state, curves=True)
        state = part.state
        parts.append(part.audio)
        curves.append(part.curves)
    joined = torch.cat(parts, dim=-1)
    pairs = [(joined, whole.audio)]
    pairs += [(torch.cat([c[n] for c in curves], -1), whole.curves[n]) for n in whole.curves]
    assert state is not None
    if backend.exact and effect.exact_blocks:
        pairs += list(zip(leaves(state), leaves(whole.state), strict=True))
        for got, wanted in pairs:
            assert torch.equal(got, wanted), (got - wanted).abs().max()
    else:
        tolerance = 1e-9 if dtype == torch.float64 else 1e-6
        for got, wanted in pairs:
            torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


@each_effect
def test_batch_items_do_not_affect_each_other(
    effect: Effect, backend: Backend, make_audio: MakeAudio
) -> None:
    length = 700 + effect.latency_samples(24000)
    audio = make_audio(length, 24000, batch=5, channels=2).to(backend.device)
    setting = on(inside(effect.params, 5, seed=4), backend.device)
    together = effect.render(audio, 24000, setting).audio
    for i in range(5):
        own = {n: v[i : i + 1] for n, v in setting.items()}
        alone = effect.render(audio[i : i + 1], 24000, own).audio[0]
        if backend.exact:
            assert torch.equal(alone, together[i]), (alone - together[i]).abs().max()
        else:
            torch.testing.assert_close(alone, together[i], rtol=0, atol=1e-11)


@each_effect
def test_dual_mono_is_mono(effect: Effect, backend: Backend, make_audio: MakeAudio) -> None:
    mono = make_audio(600 + effect.latency_samples(44100), 44100, batch=2).to(backend.device)
    setting = on(inside(effect.params, 2, seed=5), backend.device)
    wanted = effect.render(mono, 44100, setting).audio
    got = effect.render(mono.expand(-1, 2, -1), 44100, setting).audio
    torch.testing.assert_close(got, wanted.expand(-1, 2, -1), rtol=0, atol=1e-12)


@each_effect
def test_stereo_image_stays(effect: Effect, backend: Backend, make_audio: MakeAudio) -> None:
    """A channel that is a quieter copy of the other comes out as the same quieter copy."""
    if not effect.linear_across_channels:
        pytest.skip("not linear across channels")
    loud = make_audio(600 + effect.latency_samples(44100), 44100, batch=2).to(backend.device)
    stereo = torch.cat([0.1 * loud, loud], dim=1)
    out = effect.render(stereo, 44100, on(inside(effect.params, 2, seed=6), backend.device)).audio
    torch.testing.assert_close(out[:, 0], 0.1 * out[:, 1], rtol=0, atol=1e-12)
    alone = effect.render(loud, 44100, on(inside(effect.params, 2, seed=6), backend.device)).audio
    torch.testing.assert_close(out[:, 1:], alone, rtol=0, atol=1e-12)


@each_effect
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_audio_keeps_its_type_and_the_caller_keeps_their_tensors(
    effect: Effect, dtype: torch.dtype, backend: Backend, make_audio: MakeAudio
) -> None:
    audio = make_audio(300, 24000, batch=2, channels=2, dtype=dtype).to(backend.device)
    setting = on(inside(effect.params, 2), backend.device)
    first = effect.render(audio, 24000, setting)
    before = [audio.clone(), *(t.clone() for t in leaves(first.state))]
    second = effect.render(audio, 24000, setting, first.state)
    assert second.audio.dtype == dtype
    assert effect.relax(audio, 24000, setting).dtype == dtype
    assert all(t.dtype == torch.float64 for t in leaves(second.state))
    for was, now in zip(before, [audio, *leaves(first.state)], strict=True):
        assert torch.equal(was, now)


@each_effect
def test_single_precision_audio_is_within_rounding(
    effect: Effect, backend: Backend, make_audio: MakeAudio
) -> None:
    length = 3000 + effect.latency_samples(44100)
    audio = make_audio(length, 44100, channels=2, dtype=torch.float32).to(backend.device)
    setting = on(inside(effect.params, 1, seed=7), backend.device)
    single = effect.render(audio, 44100, setting).audio.double()
    double = effect.render(audio.double(), 44100, setting).audio
    assert difference_db(single, double) < -130


# --- gradients ------------------------------------------------------------------------------


@each_effect
def test_no_dead_slider(effect: Effect, backend: Backend, make_audio: MakeAudio) -> None:
    """With everything neutral but the parameter it needs, each parameter changes the sound."""
    table, count = effect.params, len(effect.params)
    setting = table.neutral(count)
    for i, p in enumerate(table):
        for gate in p.gates[:1]:
            setting[gate][i] = float(table[gate].to_physical(torch.tensor(0.8)))
    setting = on(setting, backend.device)
    for value in setting.values():
        value.requires_grad_()
    rate = 48000  # whose band holds every frequency of a table
    length = 14400 + effect.latency_samples(rate)
    # loud in every band, then nearly silent for long enough that detectors follow
    audio = 10 * make_audio(length, rate, channels=2, seed=8)
    audio[..., 3200:] *= 1e-4
    audio = audio.expand(count, -1, -1).to(backend.device)
    weight = make_audio(length, rate, channels=2, seed=9).to(backend.device)
    (effect.render(audio, rate, setting).audio * weight).sum().backward()
    dead = [
        p.name
        for i, p in enumerate(table)
        if setting[p.name].grad is None or not setting[p.name].grad[i].abs() > 1e-9  # type: ignore[index]
    ]
    assert not dead


@each_effect
def test_gradcheck(effect: Effect, backend: Backend, make_audio: MakeAudio) -> None:
    """Exact gradients for the audio, every parameter and the state, of the audio and the state."""
    rate = 16000
    audio = make_audio(40, rate, channels=2, seed=10).to(backend.device).requires_grad_()
    unit = effect.params.to_unit(inside(effect.params, 1, seed=11, margin=0.3))
    unit = unit.to(backend.device).requires_grad_()
    warm = make_audio(100, rate, channels=2, seed=12).to(backend.device)
    with torch.no_grad():
        state = effect.render(warm, rate, effect.params.to_physical(unit)).state
    # Off zero, where attack and release meet: the gradient is one-sided there.
    start = [(t.detach() + 0.05 * torch.rand_like(t)).requires_grad_() for t in leaves(state)]

    def run(audio: Tensor, unit: Tensor, *start: Tensor) -> tuple[Tensor, ...]:
        out = effect.render(
            audio, rate, effect.params.to_physical(unit), rebuilt(state, list(start))
        )
        return (out.audio, *leaves(out.state))

    given, many = (audio, unit, *start), len(effect.params) > 10
    assert torch.autograd.gradcheck(run, given, eps=1e-6, atol=1e-6, rtol=1e-3, fast_mode=many)


# --- response and relaxation ----------------------------------------------------------------


@each_effect
@each_rate
def test_response_is_what_an_impulse_measures(
    effect: Effect, sample_rate: int, backend: Backend
) -> None:
    hz = torch.fft.rfftfreq(sample_rate, 1 / sample_rate, dtype=torch.float64)
    setting = linear(effect, 2, seed=13)
    told = effect.response(hz, sample_rate, setting)
    if told is None:
        assert effect.level_dependent, "only level-dependent effects have no response"
        return
    impulse = torch.zeros(2, 1, sample_rate, dtype=torch.float64, device=backend.device)
    impulse[..., 0] = 1.0
    out = effect.render(impulse, sample_rate, on(setting, backend.device)).audio[:, 0].cpu()
    measured = torch.fft.rfft(out)
    assert ((measured - told).abs() / told.abs().clamp(min=1e-3)).max() < 1e-6


@each_effect
def test_relaxation_of_linear_effects_is_close(
    effect: Effect, backend: Backend, make_audio: MakeAudio
) -> None:
    """Frequency sampling against the recursion: below -100 dB where the filters ring briefly."""
    audio = make_audio(70972, 24000).to(backend.device)
    setting = on(linear(effect, 1, seed=14), backend.device)
    wanted = effect.render(audio, 24000, setting).audio
    assert difference_db(effect.relax(audio, 24000, setting), wanted) < -100


def loud(effect: Effect) -> Setting:
    """Neutral, but every compressor far into a steady tone and slow to get there."""
    setting = effect.params.neutral(1)
    values = {"threshold": -50.0, "ratio": 8.0, "makeup": 20.0}
    for p in effect.params:
        if p.role == "time":
            setting[p.name] += (50.0 if "attack" in p.name else 200.0) - setting[p.name]
        elif p.role in values and "expander" not in p.name:
            setting[p.name] += values[p.role] - setting[p.name]
    return setting


@each_effect
def test_a_recording_that_starts_in_mid_sound_meets_warm_dynamics(effect: Effect) -> None:
    rate = 24000
    time = torch.arange(2 * rate, dtype=torch.float64) / rate
    tone = 0.3 * torch.cos(2 * torch.pi * 440 * time)[None, None]
    setting = loud(effect)
    state = effect.warm_state(tone[..., : rate // 2], rate, setting)
    assert (state is not None) == effect.has_dynamics

    def start_db(state: State | None) -> float:
        """Peak of the first 10 ms over that of the end, when all has settled."""
        y = effect.render(tone, rate, setting, state).audio[0, 0].abs()
        return 20 * math.log10(float(y[: rate // 100].max() / y[-rate // 100 :].max()))

    if effect.has_dynamics:
        assert start_db(None) > 6  # what a start from rest sounds like
        assert start_db(state) < 1.5
    if not effect.has_crossover:
        neutral = effect.params.neutral(1)
        at_neutral = effect.warm_state(tone[..., : rate // 2], rate, neutral)
        out = effect.render(tone, rate, neutral, at_neutral).audio
        assert torch.equal(out, late(tone, effect, rate))

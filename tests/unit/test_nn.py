"""Effects as modules and as plain calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retone.effects import MATCH_CHAIN, Compressor, Equalizer, Gain
from retone.errors import SettingError, ShapeError
from retone.nn import Processor

RATE = 24000


def noise(batch: int = 2, channels: int = 1, length: int = 600) -> torch.Tensor:
    return 0.3 * torch.randn(batch, channels, length, generator=torch.Generator().manual_seed(0))


def value(model: Processor, name: str) -> float:
    return float(model.setting()[name].detach())


def test_a_processor_is_the_effect_at_its_values() -> None:
    audio = noise(channels=2)
    own = Processor(Equalizer(), RATE, peak_1_gain_db=6.0)
    want = Equalizer().render(audio, RATE, Equalizer().params.setting({"peak_1_gain_db": 6.0}, 2))
    assert torch.equal(own(audio), want.audio)
    assert value(own, "peak_1_gain_db") == 6.0


def test_learnt_values_start_where_they_are_put_and_stay_in_range() -> None:
    model = Processor(MATCH_CHAIN, RATE, learnable=True, **{"compressor.ratio": 4.0})
    assert value(model, "compressor.ratio") == pytest.approx(4.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    model(noise()).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    optimizer.step()
    for p in MATCH_CHAIN.params:
        assert p.low <= value(model, p.name) <= p.high, p.name


def test_an_optimiser_finds_a_gain_through_a_sequence() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        Processor(Equalizer(), RATE, learnable=["peak_2_gain_db"]),
        Processor(Compressor(), RATE, ratio=1.0),
    )
    audio = noise(length=2000)
    target = Equalizer()(audio, RATE, peak_2_gain_db=9.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(audio) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert value(model[0], "peak_2_gain_db") == pytest.approx(9.0, abs=0.3)


def test_states_are_saved_and_types_follow() -> None:
    model = Processor(Gain(), RATE, learnable=["gain_db"], gain_db=3.0)
    other = Processor(Gain(), RATE, learnable=["gain_db"])
    other.load_state_dict(model.state_dict())
    assert value(other, "gain_db") == pytest.approx(3.0)
    assert model.to(torch.float32)(noise()).dtype == torch.float32
    assert "gain_db" in repr(model) and "24000 Hz" in repr(model)
    assert not list(Processor(Gain(), RATE).parameters())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Processor(Gain, RATE), TypeError, r"Pass an instance"),
        (lambda: Processor(Gain(), 0), SettingError, "sample_rate must be positive"),
        (lambda: Processor(Gain(), RATE, learnable="gain_db"), TypeError, "list of names"),
        (lambda: Processor(Gain(), RATE, learnable=["gian_db"]), SettingError, "mean gain_db"),
        (lambda: Processor(Gain(), RATE, gain_db=99), SettingError, "outside its range"),
        (lambda: Processor(Gain(), RATE)(np.zeros((1, 1, 8))), TypeError, "from_numpy"),
        (lambda: Gain()(np.zeros((1, 1, 8)), RATE), TypeError, "from_numpy"),
        (lambda: Gain()(noise()), TypeError, "sample_rate"),
        (lambda: Gain()(noise()[0], RATE), ShapeError, r"audio\[None\]"),
        (lambda: Gain()(noise(), RATE, gain=1.0), SettingError, "mean gain_db"),
        (lambda: Gain()(noise(), RATE, {}, gain_db=1.0), TypeError, "Pass one of the two"),
        (lambda: Gain()(noise(), RATE, {"gain_db": 1.0}), SettingError, "must be a tensor"),
    ],
)
def test_wrong_calls_say_what_is_wrong(make, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        make()

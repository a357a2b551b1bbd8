"""The fit of a setting to expected statistics: it goes where it is told, keeps locks, is finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from retone.effects import MATCH_CHAIN
from retone.estimators.expectation import Adam, Descent, fit_expectation
from retone.nets.frontend import Features, FrontEndConfig
from retone.nets.iterative import Expected, IterativeNetConfig

RATE = 24000
TABLE = MATCH_CHAIN.params
NETWORK = IterativeNetConfig(
    outputs=len(TABLE), front_end=FrontEndConfig(sample_rate=RATE), trunk=8, hidden=16
).build()


def clips() -> Tensor:
    torch.manual_seed(1)
    level = torch.rand(2, 1, 24).repeat_interleave(1024, dim=2).flatten(1)
    return 0.05 * level * torch.randn(2, 24 * 1024)


def told(clip: Tensor, changes: dict[str, float]) -> Expected:
    """What is expected if the clips went through a setting."""
    with torch.no_grad():
        out = MATCH_CHAIN.render(clip[:, None], RATE, TABLE.setting(changes)).audio[:, 0]
        mean = NETWORK.standardized(NETWORK.statistics(out)).mean(0, keepdim=True)
    return Expected(mean, torch.full_like(mean, -2.0))


def fit(clip: Tensor, expected: Expected, **more: object) -> dict[str, float]:
    start = TABLE.to_unit(TABLE.setting({})).float()
    settings: dict[str, Any] = {"steps": 25, "prior": 0.0, "locks": {}, **more}
    rules = Descent(settings["steps"], 0.06, settings["prior"], (0.9, 0.999))
    unit = fit_expectation(
        NETWORK, MATCH_CHAIN, clip, RATE, expected, start, rules=rules, locks=settings["locks"],
        also=settings.get("also"),
    )  # fmt: skip
    assert bool(unit.isfinite().all())
    return {n: float(v) for n, v in TABLE.to_physical(unit).items()}


def nll(clip: Tensor, expected: Expected, setting: dict[str, float]) -> float:
    with torch.no_grad():
        out = MATCH_CHAIN.render(clip[:, None], RATE, TABLE.setting(setting)).audio[:, 0]
        heard = NETWORK.standardized(NETWORK.statistics(out)).mean(0, keepdim=True)
        return float(expected.nll(heard))


def test_it_finds_what_was_done() -> None:
    clip = clips()
    expected = told(clip, {"equalizer.high_shelf_gain_db": 6.0, "compressor.makeup_db": 4.0})
    found = fit(clip, expected)
    assert found["equalizer.high_shelf_gain_db"] > 2
    assert nll(clip, expected, found) < 0.6 * nll(clip, expected, {})


def test_a_lock_stays_and_a_prior_holds() -> None:
    clip = clips()
    expected = told(clip, {"equalizer.high_shelf_gain_db": 6.0})
    locked = fit(clip, expected, locks={"equalizer.high_shelf_gain_db": -3.0})
    assert locked["equalizer.high_shelf_gain_db"] == pytest.approx(-3.0, abs=1e-3)
    free, held = (fit(clip, expected, prior=p) for p in (0.0, 1e3))
    name = "equalizer.high_shelf_gain_db"
    assert abs(held[name]) < 0.5 * abs(free[name])


@pytest.mark.parametrize("what", ["silent", "low band", "nan expected"])
def test_it_stays_finite(what: str) -> None:
    clip = clips()
    expected = told(clip, {"equalizer.low_shelf_gain_db": 6.0})
    if what == "silent":
        clip = torch.zeros_like(clip)
    elif what == "low band":  # bands at the floor of the analysis all the time
        clip = torch.sin(torch.arange(24 * 1024) * 0.02)[None].repeat(2, 1) * 0.1
    else:
        expected = Expected(expected.mean * torch.nan, expected.log_scale)
    found = fit(clip, expected)
    assert all(abs(v) < 1e5 for v in found.values())


def test_it_is_never_worse_than_its_beginning() -> None:
    clip = clips()
    expected = told(clip, {})
    before = nll(clip, expected, {})
    assert nll(clip, expected, fit(clip, expected, steps=3)) <= before + 1e-6


def test_what_else_is_to_be_small_counts() -> None:
    """Two goals that differ are met in between."""
    clip, name = clips(), "equalizer.high_shelf_gain_db"
    expected = told(clip, {name: 6.0})
    with torch.no_grad():
        aim = NETWORK.encode(clip).frames

    def dry(features: Features) -> Tensor:
        return 100 * (features.frames - aim).abs().mean()

    one, both = fit(clip, expected), fit(clip, expected, also=dry)
    assert abs(both[name]) < 0.5 * one[name]


def test_adam_is_torchs_bit_for_bit() -> None:
    torch.manual_seed(2)
    theirs = torch.randn(1, 24).requires_grad_()
    ours = theirs.detach().clone()
    reference, adam = torch.optim.Adam([theirs]), Adam(ours)
    for step in range(30):
        slope, rate = torch.randn(1, 24), 0.06 * (1 - step / 30)
        theirs.grad, reference.param_groups[0]["lr"] = slope.clone(), rate
        reference.step()  # type: ignore[no-untyped-call]
        adam.step(slope, rate)
        assert torch.equal(ours, theirs.detach())

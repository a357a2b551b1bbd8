"""Perceptual terms of a loss, and what the comparison says of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retone.lab.evaluate import objectives
from retone.lab.evaluate.result import Result, Row
from retone.losses import AtEqualLoudness, Loss

RATE = 24000


def noise(seed: int, length: int = RATE) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    level = 0.05 * (1.2 + np.sin(np.arange(length) / 900))
    return torch.from_numpy(level * rng.standard_normal((2, 1, length))).float()


@pytest.mark.parametrize("name", objectives.TERMS)
def test_a_term_is_zero_for_the_target_and_grows_with_what_it_hears(name: str) -> None:
    loss: Loss = AtEqualLoudness(objectives.TERMS[name])
    target = noise(0)
    assert float(loss(target, target, RATE)) == pytest.approx(0, abs=1e-5)
    assert float(loss(3 * target, target, RATE)) == pytest.approx(0, abs=0.05)  # level is no matter
    if name == "spread of levels":
        changed = [target.sign() * target.abs() ** p for p in (0.8, 0.5)]
    else:
        lag = torch.nn.functional.pad(target, (1, 0))[..., :-1]
        changed = [target + share * lag for share in (0.3, 0.9)]
    one, more = (float(loss(c, target, RATE)) for c in changed)
    assert 0.01 < one < more


@pytest.mark.parametrize("name", objectives.TERMS)
def test_a_term_has_finite_gradients_at_silence_too(name: str) -> None:
    for estimate in (noise(1), torch.zeros(2, 1, RATE), 1e-6 * noise(2)):
        estimate = estimate.clone().requires_grad_()
        value = AtEqualLoudness(objectives.TERMS[name])(estimate, noise(0), RATE)
        value.backward()  # type: ignore[no-untyped-call]
        assert estimate.grad is not None and bool(torch.isfinite(estimate.grad).all())


def test_the_rows_differ_in_their_loss_only() -> None:
    made = objectives.recipes(30, dict.fromkeys(objectives.TERMS, 1.0))
    assert set(made) == {objectives.USUAL, objectives.WITH_TERMS, objectives.TERMS_ALONE}
    first = made[objectives.USUAL]
    for recipe in made.values():
        same = {k: v for k, v in vars(recipe).items() if k != "loss"}
        assert same == {k: v for k, v in vars(first).items() if k != "loss"}
    assert len({repr(r.loss) for r in made.values()}) == 3


def test_changes_are_paired_and_positive_where_better() -> None:
    rows = []
    for item in range(12):
        for name, step in ((objectives.USUAL, 0.0), (objectives.TERMS_ALONE, 0.1)):
            values = {m: item + step for m in objectives.JUDGED} | {objectives.TRAINED_ON: 1.0}
            rows.append(Row(item, f"voice {item % 4}", objectives.CASE, name, values))
    question = {
        "steps": 3, "pairs": 12, "cdpam_pairs": 12, "corpus": "voices", "seed": 1,
        "weights": dict.fromkeys(objectives.TERMS, 1.0), "trained_on": "others",
    }  # fmt: skip
    result = Result(question, {"date": "today"}, rows)
    found = objectives.changes(result, objectives.TERMS_ALONE)
    assert found["pesq"] == pytest.approx((0.1, 0.1, 0.1))
    assert found["cdpam"] == pytest.approx((-0.1, -0.1, -0.1))  # lower is better there
    said = objectives.verdict(result, objectives.TERMS_ALONE)
    assert "on 8 of 9 measures" in said and "worse on 1 (cdpam)" in said
    assert "| pesq |" in objectives.section(result)

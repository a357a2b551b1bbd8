"""Errors of a proxy in dB, over the regions of every parameter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from retone.dsp.measure import measure as style
from retone.dsp.measure import valid_bands
from retone.dsp.param import ParamTable
from retone.effects.spec import effect_from_spec
from retone.errors import AudioError, DataError
from retone.lab.evaluate.result import interval
from retone.lab.evaluate.strategies import gradient_of
from retone.nets import checkpoint
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.proxy_pairs import LIMIT, ProxyMaker

REGIONS = ("low", "middle", "high")
WARM_UP_S = 0.3
"""Skipped at the beginning, where the proxy has no past samples yet."""


@dataclass(frozen=True)
class ProxyError:
    """Errors of a proxy on held-out clips.

    ``signal_db`` [N]: energy of the difference over energy of the effect's output; ``band_db`` [N]:
    mean absolute difference of band levels; ``idle_db`` [N]: the same for the unprocessed input.
    ``unit`` [N, P] are the settings.
    """

    table: ParamTable
    groups: tuple[str, ...]
    unit: np.ndarray
    signal_db: np.ndarray
    band_db: np.ndarray
    idle_db: np.ndarray
    header: dict[str, object]


def measure(
    weights: Path, corpus: Corpus, *, items: int, seed: int, progress: Progress = silent
) -> ProxyError:
    """Compare a proxy with its effect on random clips and settings.

    Raises:
        DataError: the weights are not of a ``proxy_`` recipe.
    """
    tensors, header = checkpoint.read(weights)
    recipe = header.get("recipe", {})
    if recipe.get("network", {}).get("type") != "GivenConfig":
        raise DataError(f"{weights} is no proxy: expected weights of a proxy_ recipe.")
    gradient = gradient_of(recipe["gradient"], str(weights))
    effect = effect_from_spec(recipe["effect"], 1.0, where=str(weights))
    pairs = recipe["pairs"]
    maker = ProxyMaker(
        sample_rate=pairs["sample_rate"], effect=effect, length=pairs["length"],
        attenuation_db=tuple(pairs["attenuation_db"]), min_mean_square=1e-5,
    )  # fmt: skip
    networks = gradient.build(effect, pretrained=False)
    assert networks is not None
    own = checkpoint.tensors_under(tensors, checkpoint.EFFECT_NETWORKS)
    checkpoint.load_module(networks, own, weights)
    networks.eval()
    rate = maker.sample_rate
    use = valid_bands(rate)
    rows, groups, units = [], [], []
    for i in range(items):
        pair = maker.make(corpus, i, seed)
        unit = torch.from_numpy(pair.reference)[None]
        with torch.no_grad():
            audio = torch.from_numpy(pair.input)[None, None]
            got = gradient.infer(effect, audio, rate, unit, networks)[0, 0].double().numpy()
        skip = round(WARM_UP_S * rate)
        wanted = pair.target.astype(np.float64)[skip:]
        got = got[skip:]
        error = 10 * np.log10(((got - wanted) ** 2).sum() / max((wanted**2).sum(), 1e-20))
        try:
            levels = [
                style(x.astype(np.float32), rate).band_level_db[0]
                for x in (got, wanted, LIMIT * np.tanh(pair.input[skip:] / LIMIT))
            ]
        except AudioError:  # the effect's output is silent
            continue
        known = use & np.isfinite(levels).all(axis=0)
        a, b, idle = (x[known] for x in levels)
        active = b > b.max() - 50
        rows.append((error, np.abs(a - b)[active].mean(), np.abs(idle - b)[active].mean()))
        groups.append(pair.group)
        units.append(pair.reference)
        progress(Phase("measuring the proxy", "clips"), i + 1, items)
    if not rows:
        raise DataError(f"{weights}: the output for all {items} clips of {corpus.name} is silent.")
    found = np.array(rows)
    return ProxyError(
        effect.params, tuple(groups), np.array(units), found[:, 0], found[:, 1], found[:, 2],
        {"recipe": recipe["name"], "effect": effect.name, **header.get("state", {})},
    )  # fmt: skip


def text(result: ProxyError) -> str:
    """Overall errors, then the band error for each third of every parameter's range."""

    def shown(values: np.ndarray, use: np.ndarray | None = None) -> str:
        keep = np.arange(len(values)) if use is None else np.flatnonzero(use)
        mean, low, high = interval([(result.groups[i], float(values[i])) for i in keep])
        return f"{mean:.1f} [{low:.1f}, {high:.1f}]"

    h = result.header
    lines = [
        f"Proxy of the {h['effect']} ({h['recipe']}, {h.get('step')} steps): error signal at "
        f"{shown(result.signal_db)} dB relative to the effect's output; band levels "
        f"off by {shown(result.band_db)} dB, where the unprocessed input is off by "
        f"{shown(result.idle_db)} dB. {len(result.groups)} clips of {len(set(result.groups))} "
        "voices or tracks.",
        "",
        "| band error (dB) | " + " | ".join(f"{r} third" for r in REGIONS) + " |",
        "|---|---|---|---|",
    ]
    for i, p in enumerate(result.table):
        third = np.minimum((result.unit[:, i] * 3).astype(int), 2)
        if len(set(third)) == 1:  # fixed in training, outside the network
            continue
        cells = [shown(result.band_db, third == k) for k in range(3)]
        lines.append(f"| {p.name} ({p.low:g} to {p.high:g} {p.unit}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)

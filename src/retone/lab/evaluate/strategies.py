"""Trained differentiation strategies side by side, on pairs with a known target.

Each run folder of ``retone train`` is a row and is rendered by its own recipe's inference path.
Runs of NP (NP-HH) and of AD, which render without the effect, are also rows with the effect itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.audio import Clip
from retone.dsp.effect import Effect
from retone.effects.spec import effect_from_spec
from retone.errors import DataError
from retone.estimators.loading import network_config
from retone.lab.evaluate.result import Result, interval, table
from retone.lab.published import TABLE_1, TABLE_2
from retone.metrics import METRICS
from retone.nets import checkpoint
from retone.nets.iterative import IterativeNet
from retone.nets.proxy import TcnSizes
from retone.training.data.pairs import Pair
from retone.training.gradients import STRATEGIES, FrequencySampled, Gradient, NeuralProxy
from retone.training.model import Model
from retone.training.state import LAST

COLUMNS = ("pesq", "stft", "msd", "sce", "rms", "lufs", "crest")
RATIOS = ("stft", "sce", "rms", "lufs")

RATIO_COLUMNS = ("STFT", "SCE", "RMS", "LUFS")
PRINTED = {
    "speech, 24 kHz (LibriTTS)": (TABLE_1, "LibriTTS"),
    "music, 24 kHz (Jamendo)": (TABLE_2, "MTG-Jamendo (24 kHz)"),
    "music, 44.1 kHz (Jamendo)": (TABLE_2, "MTG-Jamendo (44.1 kHz)"),
}
"""Tables of DeepAFx-ST to compare with: after 1.33 million steps of another network on other
recordings, so only ratios to the input say something."""
PRINTED_ROW = {
    "ctcn1": "cTCN 1", "ctcn2": "cTCN 2", "np": "NP", "np_hh": "NP-HH", "np_fh": "NP-FH",
    "spsa": "SPSA", "frequency_sampled": "AD",
}  # fmt: skip
"""Strategy -> its row there."""


@dataclass(frozen=True)
class System:
    """A finished run, ready to render."""

    model: Model
    effect: Effect
    gradient: Gradient
    sample_rate: int
    header: Mapping[str, Any]

    def render(self, audio: np.ndarray, sample_rate: int, unit: torch.Tensor) -> torch.Tensor:
        """Audio [T] as the strategy renders it at inference, [1, T]."""
        whole = torch.from_numpy(audio)[None, None]
        networks = self.model.effect_networks
        return self.gradient.infer(self.effect, whole, sample_rate, unit, networks)[:, 0]


@dataclass(frozen=True)
class Trained:
    """A run folder as an evaluation's method.

    ``hybrid`` renders with the effect itself instead of a proxy or of AD's approximation.
    ``state`` is the file of the run that is read: its last state or its best weights.

    The network gets both recordings at its own sample rate. Effects run at the pair's rate, and so
    do networks in the effect's place, although they were trained at one rate only.
    """

    name: str
    folder: str
    hybrid: bool = False
    state: str = LAST

    @property
    def system(self) -> System:
        """The run, ready to render."""
        return open_run(self.folder, self.hybrid, self.state)

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        system = self.system
        clips = [
            torch.from_numpy(_at(x, sample_rate, system.sample_rate))[None]
            for x in (pair.input, pair.reference)
        ]
        with torch.no_grad():
            unit = self._predict(system, *clips)
            return system.render(pair.input, sample_rate, unit)[0].numpy()

    def _predict(self, system: System, source: torch.Tensor, reference: torch.Tensor) -> Any:
        if not isinstance(system.model.network, IterativeNet):
            return system.model(source, reference)
        render = functools.partial(system.render, source[0].numpy(), system.sample_rate)
        return system.model(source, reference, render).units[-1]


def runs(folders: Sequence[Path], names: Sequence[str] = (), state: str = LAST) -> list[Trained]:
    """The rows of run folders.

    Args:
        folders: run folders.
        names: a name for each, such as "NP (S)"; the strategy's own where it is empty.
        state: file of each run to read.

    Raises:
        DataError: a folder holds no run, or two rows have the same name.
    """
    found: list[Trained] = []
    for number, folder in enumerate(folders):
        gradient = open_run(str(folder), False, state).gradient
        name = (names[number] if names else "") or gradient.name
        found.append(Trained(name, str(folder), state=state))
        if isinstance(gradient, NeuralProxy) and gradient.mode == "np":
            other = "np_hh" if name == "np" else f"{name}, hybrid"
            found.append(Trained(other, str(folder), True, state))
        if isinstance(gradient, FrequencySampled) and not gradient.exact_inference:
            found.append(Trained(f"{name}, rendered exactly", str(folder), True, state))
    rows = [m.name for m in found]
    twice = {n for n in rows if rows.count(n) > 1}
    if twice:
        raise DataError(
            f"two runs use the same strategy: {', '.join(sorted(twice))}. Give them names."
        )
    return found


@functools.lru_cache(maxsize=16)
def open_run(folder: str, hybrid: bool, state: str = LAST) -> System:
    """Read a state of a run.

    Raises:
        DataError: it is missing or damaged, or its strategy is unknown.
    """
    path = Path(folder) / state
    tensors, header = checkpoint.read(path)
    try:
        recipe = header["recipe"]
        gradient = gradient_of(recipe["gradient"], folder)
        network = network_config(recipe["network"], folder).build()
        effect = effect_from_spec(recipe["effect"], 1.0, where=folder)
        rate = int(recipe["pairs"]["sample_rate"])
    except (KeyError, TypeError) as e:
        raise DataError(f"{path}: its recipe is not one of this version ({e}).") from e
    model = Model(network, gradient.build(effect, pretrained=False))
    model.load(tensors, path)
    if hybrid:
        gradient = with_effect(gradient)
    return System(model.eval(), effect, gradient, rate, header)


def with_effect(gradient: Gradient) -> Gradient:
    """A strategy that renders with the effect itself at inference.

    Raises:
        DataError: its settings mean nothing to the effect.
    """
    if isinstance(gradient, NeuralProxy):
        return replace(gradient, mode="np_hh")
    if isinstance(gradient, FrequencySampled):
        return replace(gradient, exact_inference=True)
    if not gradient.contract.readable:
        raise DataError(f"{gradient.name}: what it predicts means nothing to the effect.")
    return gradient


def gradient_of(data: Mapping[str, Any], where: str) -> Gradient:
    """A strategy from what ``recipes.record.describe`` wrote.

    Raises:
        DataError: this version does not know it.
    """
    kind = STRATEGIES.get(str(data.get("type")))
    if kind is None:
        raise DataError(f"{where}: strategy '{data.get('type')}' is unknown to this version.")
    values = _plain(data)
    if "sizes" in values:
        values["sizes"] = TcnSizes(**_plain(values["sizes"]))
    return kind(**values)  # type: ignore[no-any-return]


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "type"}


def facts(method: Trained) -> dict[str, Any]:
    """Facts about a row: contract, budget, size."""
    system = method.system
    state, recipe = system.header["state"], system.header["recipe"]
    model = system.model
    inside = model.effect_networks.parameters() if model.effect_networks else ()
    return {
        **system.gradient.contract._asdict(),
        "steps": state["step"],
        "examples": state["step"] * recipe["batch_size"],
        "cpu_minutes": round(state.get("cpu_s", 0.0) / 60, 2),
        "weights": sum(p.numel() for p in model.network.parameters()),
        "effect_network_weights": sum(p.numel() for p in inside),
        "sample_rate": system.sample_rate,
        "recipe": recipe["name"],
    }


def text(results: Sequence[Result]) -> str:
    """Tables of one evaluation per sample rate: contracts and budgets, errors, ratios."""
    known: dict[str, dict[str, Any]] = results[0].question["strategies"]
    lines = [
        "| strategy | training forward | training backward | inference | readable | CPU time | "
        "steps | examples |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, f in known.items():
        lines.append(
            f"| {name} | {f['training_forward']} | {f['training_backward']} | {f['inference']} | "
            f"{'yes' if f['readable'] else 'no'} | {f['cpu_minutes']:.1f} min | {f['steps']} | "
            f"{f['examples']} |"
        )
    directions = {m.name: m.direction for m in METRICS.values()}
    for result in results:
        q = result.question
        case = result.names("case")[0]
        present = [c for c in COLUMNS if any(c in r.values for r in result.rows)]
        lines += ["", f"**{q['corpus']}, {q['sample_rate']} Hz, {case}**", ""]
        lines.append(table(result, case, [(c, directions[c]) for c in present]))
        lines += ["", _paired(result, case, list(known))]
    return "\n".join([*lines, "", _ratios(results)])


def _paired(result: Result, case: str, names: Sequence[str]) -> str:
    """The first strategy's STFT error less each other row's, pair by pair."""
    first = result.values(case, names[0], "stft")
    found = []
    for name in ("Input", *names[1:]):
        other = result.values(case, name, "stft")
        gaps = [(group, value - other[item][1]) for item, (group, value) in first.items()]
        mean, low, high = interval(gaps)
        found.append(f"{name} {mean:+.2f} [{low:+.2f}, {high:+.2f}]")
    return f"STFT error of {names[0]} less that of another row, pair by pair: {'; '.join(found)}."


def _ratios(results: Sequence[Result]) -> str:
    """Errors as shares of the input's, here at every rate and as published."""
    rates = [r.question["sample_rate"] for r in results]
    heads = [f"here, {rate} Hz" for rate in rates] + [f"published {p}" for p in PRINTED]
    lines = [
        "STFT error as a share of the input's own (and SCE, RMS, LUFS):",
        "",
        "| strategy | " + " | ".join(heads) + " |",
        "|---|" + "---|" * len(heads),
    ]
    for name in results[0].question["strategies"]:
        cells = []
        for result in results:
            case = result.names("case")[0]

            def mean(method: str, metric: str, r: Result = result, c: str = case) -> float:
                return interval(r.values(c, method, metric).values())[0]

            cells.append(_cell([mean(name, m) / mean("Input", m) for m in RATIOS]))
        for printed, group in PRINTED.values():
            rows = printed.numbers(group, RATIO_COLUMNS)
            row, base = rows.get(PRINTED_ROW.get(name, "")), rows["Input"]
            cells.append(_cell([a / b for a, b in zip(row, base, strict=True)]) if row else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(ratios: Sequence[float]) -> str:
    first, *rest = (f"{r:.2f}" if math.isfinite(r) and r else "-" for r in ratios)
    return f"**{first}** ({', '.join(rest)})"


def _at(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate == wanted:
        return audio
    return Clip(audio[None], rate).resample(wanted).samples[0]

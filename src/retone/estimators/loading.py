"""Weights files of networks that set an effect, and recordings cut for them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retone.audio import Clip
from retone.dsp.effect import Effect
from retone.dsp.param import ParamTable
from retone.effects.spec import effect_from_spec
from retone.errors import DataError, SettingError
from retone.estimators.base import NORMAL_PEAK_DB, Excerpt
from retone.estimators.shipped import KINDS, style_weights
from retone.files.fields import number
from retone.nets import checkpoint
from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.frames import FrameNetConfig
from retone.nets.frontend import FrontEndConfig
from retone.nets.iterative import IterativeNetConfig
from retone.nets.proxy import GivenConfig
from retone.nets.siamese import SiameseConfig, SiameseNet, SpectrogramConfig
from retone.nets.tcn import ConvStemConfig, MelConfig, Tcn, TcnConfig

SHORTEST, LONGEST = 1 << 10, 1 << 24
"""Length of training clips, in samples."""
MOST_SIZE = 1 << 16
_MOST = {"sample_rate": 384000.0, "length": float(LONGEST), "mels": 1024.0}


@dataclass(frozen=True)
class Loaded:
    """A network ready for use, and the effect it drives.

    ``length`` (samples) and ``peak_dbfs`` are those of its training clips; ``kind`` is ``"speech"``
    or ``"music"``.
    """

    network: AlignedNet | SiameseNet | Tcn
    effect: Effect
    length: int
    peak_dbfs: float
    kind: str


def makeup_of(table: ParamTable) -> str:
    """Name of the last gain of the whole signal; empty if there is none."""
    return ([""] + list(table.with_role("makeup")))[-1]


def pieces(excerpt: Excerpt, rate: int, length: int, most: int) -> Tensor:
    """Clips [N, length] at a network's sample rate in Hz: the ``most`` loudest, in order.

    A recording of up to one and a half clips is one piece, whatever its length.
    """
    clip = Clip(excerpt.audio[None].numpy(), excerpt.sample_rate).resample(rate)
    audio = torch.from_numpy(clip.samples[0])
    if audio.numel() <= length * 3 // 2:
        return audio[None]
    count = audio.numel() // length
    return loudest(audio[: count * length].reshape(count, length), most)


def loudest(clips: Tensor, most: int) -> Tensor:
    """The ``most`` loudest of clips [N, T], in order."""
    level = (clips * clips).mean(1)
    return clips[torch.argsort(level, descending=True)[:most].sort().values]


def rendered(effect: Effect, clips: Tensor, rate: int, unit: Tensor) -> Tensor:
    """Clips [N, T] at ``rate`` (Hz) processed with unit parameters [1, P]."""
    setting = effect.params.to_physical(unit.to(clips).expand(clips.shape[0], -1))
    with torch.no_grad():
        return effect.render(clips[:, None], rate, setting).audio[:, 0]


def louder(table: ParamTable, unit: Tensor, gain_db: float) -> Tensor:
    """Unit parameters [1, P] whose makeup is ``gain_db`` higher; the same if there is none."""
    makeup = makeup_of(table)
    if not makeup:
        return unit
    setting, param = table.to_physical(unit), table[makeup]
    wanted = (setting[makeup] + gain_db).clamp(param.low, param.high)
    return table.to_unit({**setting, makeup: wanted})


CONFIGS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        AlignedNetConfig,
        GivenConfig,
        IterativeNetConfig,
        FrameNetConfig,
        FrontEndConfig,
        SiameseConfig,
        SpectrogramConfig,
        EfficientNetConfig,
        TcnConfig,
        ConvStemConfig,
        MelConfig,
    )
}
"""Configs of networks and their parts, by the names in weights files."""


def network_config(data: Any, where: str) -> Any:
    """A network's config from the JSON that ``recipes.record.describe`` wrote.

    Raises:
        DataError: a type or a field that this version does not know.
    """
    name = data.get("type") if isinstance(data, Mapping) else None
    kind = CONFIGS.get(str(name))
    if kind is None:
        raise DataError(
            f"{where}: these weights are for a '{name}', which this version does not know; "
            f"it has {', '.join(CONFIGS)}. Train again, or use the version that made them."
        )
    values = {k: _value(v, where, k) for k, v in data.items() if k != "type"}
    extra = set(values) - {f.name for f in fields(kind)}
    if extra:
        raise DataError(
            f"{where}: these weights are for a {name} with unknown settings {sorted(extra)}. "
            "Train again, or use the version that made them."
        )
    try:
        return kind(**values)
    except (TypeError, SettingError) as e:
        raise DataError(f"{where}: these weights' {name} cannot be rebuilt ({e}).") from e


def _value(data: Any, where: str, name: str) -> Any:
    if isinstance(data, list):
        return tuple(_value(v, where, name) for v in data)
    if isinstance(data, Mapping):
        return network_config(data, where)
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        most = next((m for word, m in _MOST.items() if word in name), MOST_SIZE)
        number(data, f"{where}: {name}", low=-most, high=most)
    return data


@functools.lru_cache(maxsize=4)
def load(weights: Path | str) -> Loaded:
    """Read weights.

    Raises:
        DataError: the file is missing, damaged, or of another kind of network.
    """
    path = style_weights(str(weights)) if str(weights) in KINDS else Path(weights)
    tensors, header = checkpoint.read(path)
    try:
        recipe = header["recipe"]
        described, spec = recipe["network"], recipe["effect"]
        length = number(recipe["pairs"]["length"], f"{path.name}: pairs.length", low=SHORTEST,
                        high=LONGEST, whole=True)  # fmt: skip
        peak_dbfs = number(recipe["pairs"].get("peak_dbfs", NORMAL_PEAK_DB),
                           f"{path.name}: pairs.peak_dbfs", low=-100.0, high=20.0)  # fmt: skip
        kind = str(recipe.get("kind", "speech"))
        gradient = recipe.get("gradient", {}).get("type")
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path.name}: the header has no recipe with a network, an effect and pairs; "
            "use weights that 'retone train' wrote."
        ) from e
    if gradient == "EndToEnd":
        raise DataError(
            f"{path.name}: these weights process audio with a network of their own instead of an "
            "effect, so there are no settings. 'python -m retone.lab evaluate strategies' can "
            "measure them."
        )
    own = checkpoint.network_tensors(tensors)
    network = checkpoint.built(network_config(described, path.name), own, path.name)
    checkpoint.load_module(network, own, path)
    network.eval()
    effect = effect_from_spec(spec, 1.0, where=path.name)
    return Loaded(network, effect, length, peak_dbfs, kind)

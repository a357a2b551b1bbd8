"""The trained estimator: a network that compares the input with the references."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retone.audio import Clip
from retone.dsp.effect import Effect
from retone.dsp.measure import measure
from retone.dsp.param import ParamTable
from retone.effects.spec import effect_from_spec
from retone.errors import AudioError, DataError, SettingError
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Excerpt, Reference
from retone.estimators.content_statistics import packaged
from retone.estimators.expectation import fit_expectation
from retone.estimators.gate import Shares, blended, evidence_of, without_locked
from retone.estimators.gate import packaged as packaged_gate
from retone.estimators.level_rule import LevelRule, same_sources
from retone.estimators.preset_change import infer_change
from retone.estimators.profile import Profile, with_measures
from retone.files.fields import number
from retone.nets import checkpoint
from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.frames import FrameNetConfig
from retone.nets.frontend import MEASURES, Features, FrontEndConfig, merge_clips
from retone.nets.iterative import Expected, IterativeNet, IterativeNetConfig
from retone.nets.proxy import GivenConfig
from retone.nets.siamese import SiameseConfig, SiameseNet, SpectrogramConfig
from retone.nets.tcn import ConvStemConfig, MelConfig, Tcn, TcnConfig
from retone.progress import Progress, silent

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


@dataclass(frozen=True)
class Network:
    """Predicts the setting of its effect.

    Excerpts longer than the network's training clips are split into pieces. Networks that compare
    frames analyse all pieces of a recording as one; for others the predictions of the pieces are
    averaged on each parameter's own scale, as are those for several references.

    Args:
        weights: a ``.safetensors`` file written by ``retone train``, or ``"speech"`` or ``"music"``
            for those that ship with the package.
        max_pieces: most pieces of one recording.
        fit_steps: steps of the fit to the statistics that the network predicts, if it does; 0
            uses its predicted setting unchanged.
        fit_prior: weight of the prior that holds the fit to the prediction.
        fit_pieces: number of pieces, the loudest, for the fit and for measuring levels.
        level_share: how far the level of the fitted setting moves back to that of the prediction.
        level: rule that then adjusts the level; None keeps the network's level.
        caution: 1 makes only the shares of the change that ``retone.estimators.gate`` finds, 0 the
            whole change. Custom weights, profiles and ``fit_steps=0`` make the whole change.

    Raises:
        SettingError: the caution is outside 0..1.
    """

    name: str = "network"
    weights: Path | str = "speech"
    max_pieces: int = 4
    fit_steps: int = 16
    fit_prior: float = 0.02
    fit_pieces: int = 2
    level_share: float = 1.0
    level: LevelRule | None = LevelRule()
    caution: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.caution <= 1:
            raise SettingError(f"caution = {self.caution} is outside 0..1.")

    @property
    def effect(self) -> Effect:
        """The effect that the weights set."""
        return load(self.weights).effect

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``. The caller applies the locks."""
        gate = packaged_gate(str(self.weights)) if self.caution else None
        estimate, evidence = self.answer(
            source, references, locks=locks, progress=progress, explain=gate is not None
        )
        if gate is None or evidence is None:
            return estimate
        found = (1 - self.caution * (1 - share) for share in gate.shares(evidence))
        table = estimate.effect.params
        shares = without_locked(table, Shares(*found), locks)
        setting = blended(table, estimate.setting, shares)
        return replace(
            estimate, setting=setting, notes=(*estimate.notes, *shares.notes()),
            reference_level_share=shares.dynamics,
        )  # fmt: skip

    def answer(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
        explain: bool = True,
    ) -> tuple[Estimate, dict[str, float] | None]:
        """The whole change, and the evidence for it; None for a network without expectations.

        Args:
            source, references, locks, progress: see ``Estimator.estimate``.
            explain: whether the evidence is wanted.
        """
        if not references:
            raise AudioError("network: a reference is needed; give one or more recordings.")
        loaded = load(self.weights)
        network: Any = loaded.network
        if isinstance(network, Tcn):
            raise DataError(
                f"network: {self.weights} takes no reference: it is for enhancement. "
                "Use weights of a style recipe."
            )
        rate = network.config.front_end.sample_rate
        own = pieces(source, rate, loaded.length, self.max_pieces)
        others: list[Tensor] = []
        units, expected = [], []
        merged = isinstance(network, AlignedNet)
        where = Path(self.weights).name
        with torch.no_grad(), checkpoint.damaged(where):
            source_features = network.encode(own)
            if merged:
                source_features = merge_clips(source_features)
            for reference in references:
                if isinstance(reference, Profile):
                    other = features_of_profile(reference, network)
                else:
                    others.append(pieces(reference, rate, loaded.length, self.max_pieces))
                    other = network.encode(others[-1])
                    other = merge_clips(other) if merged else other
                for j in range(other[0].shape[0]):
                    count = source_features[0].shape[0]
                    one = type(other)(*(t[j : j + 1].expand(count, *t.shape[1:]) for t in other))
                    predicted, statistics = _compare(loaded, own, source_features, one)
                    units.append(predicted)
                    expected += [statistics] if statistics else []
        unit = checkpoint.finite(torch.cat(units).double().mean(0, keepdim=True), where)
        makeup = makeup_of(loaded.effect.params)
        known: list[Tensor] = []
        if expected and self.fit_steps:
            expected_stats = Expected(
                *(torch.stack(t).mean(0) for t in zip(*expected, strict=True))
            )
            clips = loudest(own, self.fit_pieces)
            if clips.shape[0] < own.shape[0]:  # their content differs a little from that of all
                offset = network.statistics(clips).mean(0) - network.statistics(own).mean(0)
                mean = expected_stats.mean + offset / network.scale
                expected_stats = expected_stats._replace(mean=mean)
            predicted_unit = unit
            unit = fit_expectation(
                network, loaded.effect, clips, rate, expected_stats, unit,
                steps=self.fit_steps, prior=self.fit_prior, locks=locks,
                progress=progress,
            ).double()  # fmt: skip
            if explain and network.config.front_end.measures:
                known = [
                    network.standardized(network.statistics(audio).mean(0, keepdim=True))[0]
                    for audio in (clips, _rendered(loaded, clips, unit))
                ]
            if makeup not in locks and network.config.front_end.measures:
                unit = _at_level(loaded, own, unit, predicted_unit, self.level_share)
        if self.level and len(others) == len(references) and makeup not in locks:
            loud = [loudest(clips, self.fit_pieces) for clips in (own, *others)]
            unit = _by_rule(loaded, self.level, loud[0], loud[1:], unit)
        table = loaded.effect.params
        setting = table.blend(table.to_physical(unit), _needed(source, references))
        evidence = None
        if known and len(others) == len(references):
            loud = [loudest(clips, self.fit_pieces) for clips in (own, *others)]
            alike = same_sources(loud[0], loud[1:], rate, loaded.kind)
            if alike is not None:
                evidence = evidence_of(
                    known[0], known[1], expected_stats, alike, loaded.effect, setting, loud, rate
                )
        return Estimate(loaded.effect, setting), evidence


def _at_level(loaded: Loaded, own: Tensor, unit: Tensor, predicted: Tensor, share: float) -> Tensor:
    """A fitted setting with the makeup moved towards the level of the prediction.

    An iterative network predicts the level better than the fit. The mean of RMS and K-weighted
    level moves by ``share`` of the difference.
    """
    network: Any = loaded.network
    levels = [
        network.statistics(_rendered(loaded, own, u)).mean(0)[-MEASURES:-1].mean()
        for u in (unit, predicted)
    ]
    return _louder(loaded.effect.params, unit, share * 20 * float(levels[1] - levels[0]))


def makeup_of(table: ParamTable) -> str:
    """Name of the last gain of the whole signal; empty if there is none."""
    return ([""] + list(table.with_role("makeup")))[-1]


def _louder(table: ParamTable, unit: Tensor, gain_db: float) -> Tensor:
    """Unit parameters [1, P] whose makeup is ``gain_db`` higher."""
    makeup = makeup_of(table)
    setting, param = table.to_physical(unit), table[makeup]
    wanted = (setting[makeup] + gain_db).clamp(param.low, param.high)
    return table.to_unit({**setting, makeup: wanted})


def _by_rule(
    loaded: Loaded, rule: LevelRule, own: Tensor, others: Sequence[Tensor], unit: Tensor
) -> Tensor:
    """A setting [1, P] at the level that the rule gives for pieces of source and references."""
    rate = int(loaded.network.config.front_end.sample_rate)  # type: ignore[union-attr]
    if not makeup_of(loaded.effect.params):
        return unit
    result = _rendered(loaded, own, unit)
    gain_db = rule.for_clips(result, own, others, rate, loaded.kind)
    return _louder(loaded.effect.params, unit, gain_db)


def _rendered(loaded: Loaded, own: Tensor, unit: Tensor) -> Tensor:
    """Pieces [N, T] rendered with unit parameters [1, P]."""
    setting = loaded.effect.params.to_physical(unit.to(own).expand(own.shape[0], -1))
    rate = int(loaded.network.config.front_end.sample_rate)  # type: ignore[union-attr]
    with torch.no_grad():
        return loaded.effect.render(own[:, None], rate, setting).audio[:, 0]


def _needed(source: Excerpt, references: Sequence[Reference]) -> float:
    """Share of the change that a recording still needs: less than 1 for a preset's style only."""
    only = references[0]
    if len(references) != 1 or not isinstance(only, Profile) or only.unprocessed is None:
        return 1.0
    return infer_change(
        measure(source.audio, source.sample_rate),
        only,
        packaged(only.kind).against_mean_of(only.voices),
        sample_rate=min(source.sample_rate, only.sample_rate),
        scales=(0.0,),
        temper=1.0,
    ).needed


def features_of_profile(profile: Profile, network: Any) -> Any:
    """A profile as features for a network.

    Raises:
        DataError: the profile holds no features for this kind of network.
    """
    known = profile.typical
    if known is not None and network.config.front_end.measures:
        known = with_measures(known)
    if known is None or known.front_end != network.config.front_end:
        raise DataError(
            f"network: preset '{profile.name}' holds no features for this "
            f"{type(network).__name__}. Use the estimator closed-form, or make the preset again."
        )
    return known.features()


def _compare(
    loaded: Loaded, own: Tensor, source: Any, other: Any
) -> tuple[Tensor, Expected | None]:
    """Unit parameters [B, P] for the features of a source, with pieces ``own`` [N, T], and of a
    reference; and the predicted statistics, if the network predicts them.
    """
    network: Any = loaded.network
    if not isinstance(network, IterativeNet):
        return network.compare(source, other), None
    rate, effect = network.config.front_end.sample_rate, loaded.effect

    def render(unit: Tensor) -> Tensor:
        setting = effect.params.to_physical(unit.expand(own.shape[0], -1))
        return effect.render(own[:, None], rate, setting).audio[:, 0]

    predictions = network.predict(
        Features(*source),
        Features(*other),
        render,
        lambda audio: merge_clips(network.encode(audio)),
    )
    return predictions.units[-1], predictions.expected[-1]


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
    path = Path(weights)
    if str(weights) in ("speech", "music"):
        path = Path(str(resources.files("retone") / "weights" / f"style_{weights}.safetensors"))
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

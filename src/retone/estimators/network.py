"""The trained estimator: a network that hears the input and the references."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retone import checkpoint
from retone.audio import Clip
from retone.dsp.effect import Effect
from retone.dsp.measure import measure
from retone.dsp.param import ParamTable
from retone.effects.spec import effect_from_spec
from retone.errors import AudioError, DataError, SettingError
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Excerpt, Reference
from retone.estimators.expectation import fit_expectation
from retone.estimators.level import LevelRule, levels_of
from retone.estimators.profile import Profile, with_measures
from retone.estimators.statistics import packaged
from retone.estimators.style_change import infer_change
from retone.estimators.treatment import same_voice
from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.frames import FrameNetConfig
from retone.nets.frontend import MEASURES, FrontEndConfig, Heard, together
from retone.nets.iterative import Expected, IterativeNet, IterativeNetConfig
from retone.nets.proxy import GivenConfig
from retone.nets.siamese import SiameseConfig, SiameseNet, SpectrogramConfig
from retone.nets.tcn import ConvStemConfig, MelConfig, Tcn, TcnConfig

MAKEUP = "compressor.makeup_db"


@dataclass(frozen=True)
class Loaded:
    """A network ready for use, and the effect it drives.

    ``length`` and ``peak_dbfs`` are those of the clips that it learnt on, in samples and dB;
    ``kind`` is what they hold, speech or music.
    """

    network: AlignedNet | SiameseNet | Tcn
    effect: Effect
    length: int
    peak_dbfs: float
    kind: str


@dataclass(frozen=True)
class Network:
    """Predicts the setting of its effect from what it hears.

    Excerpts longer than the network's training clips are heard in pieces. A network that compares
    frames hears all pieces of a recording as one; of others the pieces' predictions are averaged
    on each parameter's own scale. Several references are averaged alike.

    Args:
        weights: a ``.safetensors`` file of ``retone train``, or ``"speech"`` or ``"music"`` for
            those that ship with the package.
        most_pieces: how many pieces are heard of one recording.
        fit_steps: steps by which the setting is then fitted to the statistics that the network
            expects of the result, if it does; 0 takes its answer as it is.
        fit_prior: how firmly the fit is held to the network's answer.
        fit_pieces: how many pieces the fit renders and the level is measured on, the loudest.
        level_share: how far the fitted setting's level goes back to that of the answer.
        level: what the levels of recordings then add to it; None takes the network's level.
    """

    name: str = "network"
    weights: Path | str = "speech"
    most_pieces: int = 4
    fit_steps: int = 16
    fit_prior: float = 0.02
    fit_pieces: int = 2
    level_share: float = 1.0
    level: LevelRule | None = LevelRule()

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: object | None = None,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``. Locks are the matcher's to apply."""
        if not references:
            raise AudioError("network: a reference is needed; give one or more recordings.")
        loaded = load(self.weights)
        network: Any = loaded.network
        if isinstance(network, Tcn):
            raise DataError(
                f"network: {self.weights} hears one recording and no reference; it is for "
                "'retone enhance'. Give weights of a style recipe."
            )
        rate = network.config.front_end.sample_rate
        own = pieces(source, rate, loaded.length, self.most_pieces)
        others: list[Tensor] = []
        units, expected = [], []
        merged = isinstance(network, AlignedNet)
        with torch.no_grad():
            heard = network.listen(own)
            heard = together(heard) if merged else heard
            for reference in references:
                if isinstance(reference, Profile):
                    other = typical(reference, network)
                else:
                    others.append(pieces(reference, rate, loaded.length, self.most_pieces))
                    other = network.listen(others[-1])
                    other = together(other) if merged else other
                for j in range(other[0].shape[0]):
                    one = type(other)(*(t[j : j + 1].expand(heard[0].shape[0], *t.shape[1:])
                                        for t in other))  # fmt: skip
                    answer, hope = _compare(loaded, own, heard, one)
                    units.append(answer)
                    expected += [hope] if hope else []
        unit = torch.cat(units).double().mean(0, keepdim=True)
        if expected and self.fit_steps:
            hoped = Expected(*(torch.stack(t).mean(0) for t in zip(*expected, strict=True)))
            some = loudest(own, self.fit_pieces)
            if some.shape[0] < own.shape[0]:  # their content is not quite that of all together
                apart = network.statistics(some).mean(0) - network.statistics(own).mean(0)
                hoped = hoped._replace(mean=hoped.mean + apart / network.scale)
            answered = unit
            unit = fit_expectation(
                network, loaded.effect, some, rate, hoped, unit,
                steps=self.fit_steps, prior=self.fit_prior, locks=locks,
                progress=progress if callable(progress) else None,
            ).double()  # fmt: skip
            if MAKEUP not in locks and network.config.front_end.measures:
                unit = _at_level(loaded, own, unit, answered, self.level_share)
        if self.level and len(others) == len(references) and MAKEUP not in locks:
            few = [loudest(clips, self.fit_pieces) for clips in (own, *others)]
            unit = _by_rule(loaded, self.level, few[0], few[1:], unit)
        table = loaded.effect.params
        return Estimate(
            loaded.effect, table.blend(table.to_physical(unit), _needed(source, references))
        )


def _at_level(loaded: Loaded, own: Tensor, unit: Tensor, answered: Tensor, share: float) -> Tensor:
    """A fitted setting whose makeup brings it nearer to the level that the answer had.

    Of the level a network that heard its own results knows more than the fit; the mean of RMS and
    K-weighted level moves by ``share`` of the way.
    """
    network: Any = loaded.network
    levels = [
        network.statistics(_rendered(loaded, own, u)).mean(0)[-MEASURES:-1].mean()
        for u in (unit, answered)
    ]
    return _louder(loaded.effect.params, unit, share * 20 * float(levels[1] - levels[0]))


def _louder(table: ParamTable, unit: Tensor, gain_db: float) -> Tensor:
    """Unit parameters [1, P] whose makeup is ``gain_db`` higher."""
    setting, param = table.to_physical(unit), table[MAKEUP]
    wanted = (setting[MAKEUP] + gain_db).clamp(param.low, param.high)
    return table.to_unit({**setting, MAKEUP: wanted})


def _by_rule(
    loaded: Loaded, rule: LevelRule, own: Tensor, others: Sequence[Tensor], unit: Tensor
) -> Tensor:
    """A setting [1, P] at the level that the pieces of a source and of references speak for."""
    rate = int(loaded.network.config.front_end.sample_rate)  # type: ignore[union-attr]
    if MAKEUP not in loaded.effect.params.names:
        return unit
    source, result = levels_of(own, rate), levels_of(_rendered(loaded, own, unit), rate)
    references = [levels_of(other, rate) for other in others]
    if source is None or result is None or None in references:
        return unit  # too quiet to say anything
    content, heard = packaged(loaded.kind), measure(own.flatten(), rate)
    alike = [same_voice(heard, measure(other.flatten(), rate), content) for other in others]
    known = [r for r in references if r is not None]
    return _louder(loaded.effect.params, unit, rule.gain_db(result, source, known, alike))


def _rendered(loaded: Loaded, own: Tensor, unit: Tensor) -> Tensor:
    """Pieces [N, T] as the effect leaves them with unit parameters [1, P]."""
    setting = loaded.effect.params.to_physical(unit.to(own).expand(own.shape[0], -1))
    rate = int(loaded.network.config.front_end.sample_rate)  # type: ignore[union-attr]
    with torch.no_grad():
        return loaded.effect.render(own[:, None], rate, setting).audio[:, 0]


def _needed(source: Excerpt, references: Sequence[Reference]) -> float:
    """Share of the change that a recording still needs: less than 1 for a preset's style only."""
    only = references[0]
    if len(references) != 1 or not isinstance(only, Profile) or only.untreated is None:
        return 1.0
    return infer_change(
        measure(source.audio, source.sample_rate),
        only,
        packaged(only.kind).against_mean_of(only.voices),
        sample_rate=min(source.sample_rate, only.sample_rate),
        scales=(0.0,),
        temper=1.0,
    ).needed


def typical(profile: Profile, network: Any) -> Any:
    """What a network hears of a profile.

    Raises:
        DataError: the profile holds nothing for this kind of network.
    """
    known = profile.typical
    if known is not None and network.config.front_end.measures:
        known = with_measures(known)
    if known is None or known.front_end != network.config.front_end:
        raise DataError(
            f"network: '{profile.name}' holds nothing that a {type(network).__name__} with these "
            "settings can hear. Use --estimator closed-form, or make the preset again."
        )
    return known.heard()


def _compare(loaded: Loaded, own: Tensor, heard: Any, other: Any) -> tuple[Tensor, Expected | None]:
    """Unit parameters [B, P] of a source whose pieces [N, T] were heard as B, beside a reference.

    And what the network expects of the results, if it does.
    """
    network: Any = loaded.network
    if not isinstance(network, IterativeNet):
        return network.compare(heard, other), None
    rate, effect = network.config.front_end.sample_rate, loaded.effect

    def render(unit: Tensor) -> Tensor:
        setting = effect.params.to_physical(unit.expand(own.shape[0], -1))
        return effect.render(own[:, None], rate, setting).audio[:, 0]

    answers = network.answer(
        Heard(*heard), Heard(*other), render, lambda audio: together(network.listen(audio))
    )
    return answers.units[-1], answers.expected[-1]


def pieces(excerpt: Excerpt, rate: int, length: int, most: int) -> Tensor:
    """Clips [N, length] at a network's rate in Hz: the ``most`` loudest, in their order.

    A recording of up to one and a half clips is one piece, whatever its length.
    """
    clip = Clip(excerpt.audio[None].numpy(), excerpt.sample_rate).resample(rate)
    audio = torch.from_numpy(clip.samples[0])
    if audio.numel() <= length * 3 // 2:
        return audio[None]
    count = audio.numel() // length
    return loudest(audio[: count * length].reshape(count, length), most)


def loudest(clips: Tensor, most: int) -> Tensor:
    """The ``most`` loudest of clips [N, T], in their order."""
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
"""Networks and their parts that weights may name."""


def network_config(data: Any, where: str) -> Any:
    """A network's config from what ``recipes.config.describe`` wrote.

    Raises:
        DataError: a type or a field that this version does not know.
    """
    name = data.get("type") if isinstance(data, Mapping) else None
    kind = CONFIGS.get(str(name))
    if kind is None:
        raise DataError(
            f"{where}: these weights are of a '{name}', which this version does not know; "
            f"it has {', '.join(CONFIGS)}. Train again, or use the version that made them."
        )
    values = {k: _value(v, where) for k, v in data.items() if k != "type"}
    extra = set(values) - {f.name for f in fields(kind)}
    if extra:
        raise DataError(
            f"{where}: these weights are of a {name} with unknown settings {sorted(extra)}. "
            "Train again, or use the version that made them."
        )
    try:
        return kind(**values)
    except (TypeError, SettingError) as e:
        raise DataError(f"{where}: these weights' {name} cannot be rebuilt ({e}).") from e


def _value(data: Any, where: str) -> Any:
    if isinstance(data, list):
        return tuple(_value(v, where) for v in data)
    return network_config(data, where) if isinstance(data, Mapping) else data


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
        length = int(recipe["pairs"]["length"])
        peak_dbfs = float(recipe["pairs"].get("peak_dbfs", NORMAL_PEAK_DB))
        kind = str(recipe.get("kind", "speech"))
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path.name}: the header names no recipe with a network, an effect and pairs; "
            "use weights that retone train wrote."
        ) from e
    if recipe.get("gradient", {}).get("type") == "EndToEnd":
        raise DataError(
            f"{path.name}: these weights change sound by a network of their own and drive no "
            "effect, so there are no settings; 'retone evaluate strategies' measures them."
        )
    config = network_config(described, path.name)
    try:
        network = config.build()
    except (AttributeError, TypeError, ValueError, RuntimeError) as e:
        raise DataError(f"{path.name}: its {described['type']} cannot be built ({e}).") from e
    model = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    model = {n: t for n, t in model.items() if not n.startswith("stand_in.")}  # proxies
    checkpoint.load_module(network, model, path)
    network.eval()
    effect = effect_from_spec(spec, 1.0, where=path.name)
    return Loaded(network, effect, length, peak_dbfs, kind)

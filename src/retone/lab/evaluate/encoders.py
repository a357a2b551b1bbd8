"""Encoders to probe: random mel, retone's networks, and published ones."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from retone.audio import Clip
from retone.dsp.spectral import mel_filterbank, stft_magnitude
from retone.errors import DataError, MissingExtraError
from retone.estimators.loading import load
from retone.estimators.network import features_of_profile
from retone.lab.evaluate.legacy_torch import read
from retone.nets.siamese import SiameseNet
from retone.presets.library import open_preset

CDPAM_RATE = 22050
DIFFERENCE_WEIGHT = 2.0
"""Found on development recordings: 0.5 and 1 separate styles less well, 4 equally well."""
CLIP_SAMPLES = 131072
"""Samples at the encoder's own sample rate, as in the paper's protocol."""


class Encoder(Protocol):
    """Turns a clip whose peak is -12 dBFS into an embedding."""

    @property
    def name(self) -> str: ...

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Clip [T] to embedding [D]."""
        ...


def at_rate(audio: np.ndarray, sample_rate: int, own_rate: int) -> torch.Tensor:
    """The first ``CLIP_SAMPLES`` of a clip [T] at an encoder's rate."""
    clip = Clip(audio[None], sample_rate).resample(own_rate)
    return torch.from_numpy(clip.samples[0, :CLIP_SAMPLES].copy())


@dataclass(frozen=True)
class RandomMel:
    """The paper's baseline: 128 mel bands through a random projection, averaged over time.

    STFT of 4096 samples every 1024, ``(m + 1e-4)^0.3``, a matrix [128, 4096] uniform in
    (0, 1) / sqrt(128).
    """

    name: str = "random mel"
    size: int = 4096
    mels: int = 128
    seed: int = 0

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        x = torch.from_numpy(audio[:CLIP_SAMPLES])
        magnitude = stft_magnitude(x[None], 4096, 1024)[0]
        mel = mel_filterbank(self.mels, 4096, sample_rate).to(magnitude) @ magnitude
        projected = _projection(self.mels, self.size, self.seed).T @ (mel + 1e-4) ** 0.3
        return np.asarray(projected.mean(1).numpy())


@functools.lru_cache(maxsize=2)
def _projection(mels: int, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(mels, size, generator=generator) / mels**0.5


@dataclass(frozen=True)
class OurEncoder:
    """A network of retone.

    For DeepAFx-ST's network this is the embedding of its encoder. The compact network compares two
    recordings, so ``part`` chooses what describes one recording: ``"summary"``: level and band
    statistics, scaled as in the network; ``"features"``: input of the head if the source is white
    noise, a recording without style; ``"hidden"``: the head's last hidden layer for that source;
    ``"embedding"``: the same layer if the source is the shipped preset ``preset``, that is, how the
    recording differs from the preset's mean; ``"embedding minus neutral"``: hidden, and
    ``DIFFERENCE_WEIGHT`` times the embedding minus that of the preset itself, since recordings that
    sound like the preset are described by hidden alone.
    """

    name: str
    weights: Path | str
    part: str = "features"
    preset: str = "neutral"

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        network: Any = load(self.weights).network
        clip = at_rate(audio, sample_rate, network.config.front_end.sample_rate)
        with torch.no_grad():
            features = network.encode(clip[None])
            if isinstance(network, SiameseNet):
                return np.asarray(features.vector[0].numpy())
            summary = (features.summary - network.center) / network.scale
            if self.part == "summary":
                return np.asarray(summary[0].numpy())
            flat = _flat(network)
            if self.part == "features":
                return np.asarray(network.features(flat, features)[0].numpy())

            def hidden(source: Any, reference: Any) -> torch.Tensor:
                return network.head[:-1](network.features(source, reference))[0]  # type: ignore[no-any-return]

            if self.part == "hidden":
                return np.asarray(hidden(flat, features).numpy())
            preset = _features_of_preset(network, self.preset)
            embedding = hidden(preset, features)
            if self.part == "embedding":
                return np.asarray(embedding.numpy())
            beyond = DIFFERENCE_WEIGHT * (embedding - hidden(preset, preset))
            return np.asarray(torch.cat([hidden(flat, features), beyond]).numpy())


@functools.lru_cache(maxsize=4)
def _flat(network: Any) -> Any:
    """Features of white noise with a peak of -12 dBFS: a recording without style."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, CLIP_SAMPLES, generator=generator)
    return network.encode(noise * (10 ** (-12 / 20) / noise.abs().max()))


@functools.lru_cache(maxsize=4)
def _features_of_preset(network: Any, preset: str) -> Any:
    """Features of a shipped preset."""
    features = features_of_profile(open_preset(preset).profile, network)
    return type(features)(*(t[:1] for t in features))


@dataclass(frozen=True)
class Cdpam:
    """CDPAM's acoustic encoder (P. Manocha et al., 2021), 512 numbers at 22.05 kHz.

    The package carries its weights as a pickle; ``retone.lab.evaluate.legacy_torch`` reads the
    tensors without running it. Only the network's definition is imported from the package.
    """

    name: str = "CDPAM"

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        clip = at_rate(audio, sample_rate, CDPAM_RATE)
        with torch.no_grad():
            return np.asarray(_acoustics(clip)[0].numpy())


def cdpam_distance(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """CDPAM's distance of two clips [T], 0 or more; only their middle second is compared."""
    first = max(0, (target.size - sample_rate) // 2)
    with torch.no_grad():
        found = [
            torch.nn.functional.normalize(
                _acoustics(at_rate(clip[first : first + sample_rate], sample_rate, CDPAM_RATE))
            )
            for clip in (estimate, target)
        ]
        return float(_cdpam().model_dist(*found))


def _acoustics(clip: torch.Tensor) -> torch.Tensor:
    """CDPAM's acoustic part [1, 512] of a clip [T], which it takes as 16-bit samples in floats."""
    _, acoustics, _ = _cdpam().base_encoder(torch.round(clip * 32768.0)[None, None])
    return acoustics  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=1)
def _cdpam() -> Any:
    """CDPAM's encoder and distance with their weights, from the installed package's files.

    The package itself is not imported: it needs resampy and names removed from numpy.
    """
    found = importlib.util.find_spec("cdpam")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("The CDPAM row", "cdpam", "probes")
    folder = Path(next(iter(found.submodule_search_locations)))
    spec = importlib.util.spec_from_file_location("cdpam_models", folder / "models.py")
    if spec is None or spec.loader is None:
        raise DataError(f"{folder}: models.py is missing; install cdpam==0.0.6 again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = read(folder / "CDPAM_trained" / "scratchJNDdefault_best_model.pth")["state"]
    network = module.FINnet(encoder_layers=16, encoder_filters=64, input_size=512)
    parts = ("base_encoder.", "model_dist.")
    known = {k: v for k, v in state.items() if k.startswith(parts)}
    network.load_state_dict(known, strict=False)
    return network.eval()


@dataclass(frozen=True)
class OpenL3:
    """OpenL3's mel128 music embedding, 6144 numbers, mean over time, at 48 kHz.

    Its weights are in no package: installing openl3 downloads them.
    """

    name: str = "OpenL3"

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        try:
            import openl3
        except ImportError as error:
            raise MissingOpenL3() from error
        vectors, _ = openl3.get_audio_embedding(
            audio, sample_rate, content_type="music", input_repr="mel128", embedding_size=6144
        )
        return np.asarray(vectors.mean(axis=0), dtype=np.float32)


class MissingOpenL3(MissingExtraError):
    """The error if OpenL3 is not installed, with instructions."""

    def __init__(self) -> None:
        Exception.__init__(
            self,
            "The OpenL3 row needs the package 'openl3' with TensorFlow; its installation downloads "
            "the weights from GitHub. Install it, or leave the row out.",
        )

"""Encoders whose embeddings are probed: random mel, our networks, and published ones."""

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
from retone.estimators.network import features_of_profile, load
from retone.lab.evaluate.legacy_torch import read
from retone.nets.siamese import SiameseNet
from retone.presets.library import open_preset

CDPAM_RATE = 22050
JOINT_SHARE = 2.0
"""Found on recordings of development: 0.5 and 1 tell styles apart less well, 4 as well."""
CLIP_SAMPLES = 131072
"""An encoder hears so many samples at its own rate, as the paper's protocol says."""


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

    DeepAFx-ST's network has one encoder, whose embedding this is. The aligning network compares
    two recordings; heard against itself it has no difference to report, so what describes one
    recording is, by ``part``: ``"summary"`` (level and band statistics, scaled as the network
    scales them); ``"features"`` (what its head sees when the input is white noise, a recording
    without style); ``"hidden"`` (the head's last hidden layer then); ``"embedding"`` (that layer
    when the input is the shipped preset ``ordinary``: how the recording differs from the mean of
    others in that preset's style); ``"joint"`` (hidden, and ``JOINT_SHARE`` times what embedding
    has beyond that of the preset beside itself: recordings that sound like the preset differ from
    it in no direction, and hidden is what describes them).
    """

    name: str
    weights: Path | str
    part: str = "features"
    ordinary: str = "neutral"

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        network: Any = load(self.weights).network
        clip = at_rate(audio, sample_rate, network.config.front_end.sample_rate)
        with torch.no_grad():
            heard = network.encode(clip[None])
            if isinstance(network, SiameseNet):
                return np.asarray(heard.vector[0].numpy())
            summary = (heard.summary - network.center) / network.scale
            if self.part == "summary":
                return np.asarray(summary[0].numpy())
            flat = _flat(network)
            if self.part == "features":
                return np.asarray(network.features(flat, heard)[0].numpy())

            def hidden(source: Any, reference: Any) -> torch.Tensor:
                return network.head[:-1](network.features(source, reference))[0]  # type: ignore[no-any-return]

            if self.part == "hidden":
                return np.asarray(hidden(flat, heard).numpy())
            usual = _ordinary(network, self.ordinary)
            embedding = hidden(usual, heard)
            if self.part == "embedding":
                return np.asarray(embedding.numpy())
            beyond = JOINT_SHARE * (embedding - hidden(usual, usual))
            return np.asarray(torch.cat([hidden(flat, heard), beyond]).numpy())


@functools.lru_cache(maxsize=4)
def _flat(network: Any) -> Any:
    """What a network hears of white noise whose peak is -12 dBFS: a recording without style."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, CLIP_SAMPLES, generator=generator)
    return network.encode(noise * (10 ** (-12 / 20) / noise.abs().max()))


@functools.lru_cache(maxsize=4)
def _ordinary(network: Any, preset: str) -> Any:
    """What a network hears of a shipped preset."""
    heard = features_of_profile(open_preset(preset).profile, network)
    return type(heard)(*(t[:1] for t in heard))


@dataclass(frozen=True)
class Cdpam:
    """CDPAM's acoustic encoder (P. Manocha et al., 2021), 512 numbers at 22.05 kHz.

    The package carries its weights as a pickle; ``retone.lab.evaluate.legacy_torch`` takes the
    tensors out and runs nothing of it. Of its program only the network's definition is imported.
    """

    name: str = "CDPAM"

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        clip = at_rate(audio, sample_rate, CDPAM_RATE)
        with torch.no_grad():
            scaled = torch.round(clip * 32768.0)[None, None]  # 16-bit samples as floats
            _, acoustics, _ = _cdpam()(scaled)
        return np.asarray(acoustics[0].numpy())


@functools.lru_cache(maxsize=1)
def _cdpam() -> Any:
    """CDPAM's base encoder with its weights, from the installed package's files.

    The package itself is not imported: it wants resampy and names that numpy has dropped.
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
    network = module.base_encoder(n_layers=16, nefilters=64)
    start = "base_encoder."
    network.load_state_dict({k[len(start) :]: v for k, v in state.items() if k.startswith(start)})
    return network.eval()


@dataclass(frozen=True)
class OpenL3:
    """OpenL3's mel128 music embedding, 6144 numbers, mean over time, at 48 kHz.

    Its weights come in no package of the index: installing openl3 downloads them.
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
    """Says what OpenL3 needs."""

    def __init__(self) -> None:
        Exception.__init__(
            self,
            "The OpenL3 row needs the package 'openl3' with TensorFlow; its installation downloads "
            "the weights from GitHub. Install it where that is possible, or leave the row out.",
        )

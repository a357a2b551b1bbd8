"""Scores of speech quality from optional packages: PESQ, STOI, DNSMOS.

``pip install 'retone[metrics]'`` installs them. A score that is undefined for a recording is
NaN with the reason, so that it cannot enter a mean as a low value.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone.errors import DataError, MissingExtraError, expect

PESQ_RATE = 16000  # of ITU-T P.862.2, fixed by the standard
DNSMOS_RATE = 16000  # of the networks
_SILENT = 1e-7  # peak


@dataclass(frozen=True)
class Score:
    """A score, or NaN with the reason."""

    value: float
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether there is a score."""
        return not math.isnan(self.value)


def _missing(reason: str) -> Score:
    return Score(math.nan, reason)


def mono(audio: Any, where: str) -> NDArray[np.float64]:
    """Mean over the channels of [T] or [C, T], numpy or torch, as float64 [T]."""
    if hasattr(audio, "detach"):
        audio = audio.detach().cpu().numpy()
    x = np.asarray(audio, dtype=np.float64)
    if x.ndim == 1:
        x = x[None]
    expect(x, "C T", where)
    return np.ascontiguousarray(x.mean(0))


def _resample(x: NDArray[np.float64], sample_rate: float, rate: int) -> NDArray[np.float64]:
    if sample_rate == rate:
        return x
    from retone.audio.resampling import resampled

    return np.asarray(resampled(x, sample_rate, rate, "VHQ"), dtype=np.float64)


def _pair(
    estimate: Any, target: Any, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = mono(estimate, where), mono(target, f"{where}: target")
    expect(y, "T", f"{where}: target", T=x.shape[0])
    return x, y


def pesq_wideband(estimate: Any, target: Any, sample_rate: float) -> Score:
    """Wide-band PESQ (ITU-T P.862.2), MOS-LQO from 1.04 to 4.64, higher is better.

    Args:
        estimate: degraded speech, [T] or [C, T] (folded to mono).
        target: reference speech of the same shape.
        sample_rate: in Hz; both are resampled to 16 kHz.

    Returns:
        The score; NaN if the reference holds no speech or is too short.

    Raises:
        MissingExtraError: without the package pesq.
    """
    try:
        import pesq
    except ImportError as error:
        raise MissingExtraError("PESQ", "pesq", "metrics") from error
    x, y = _pair(estimate, target, "PESQ")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return _missing("the audio holds NaN or infinity")
    if max(abs(y), default=0.0) < _SILENT or max(abs(x), default=0.0) < _SILENT:
        return _missing("silent audio holds no utterance")
    x, y = _resample(x, sample_rate, PESQ_RATE), _resample(y, sample_rate, PESQ_RATE)
    try:
        value = pesq.pesq(PESQ_RATE, y, x, "wb", on_error=pesq.PesqError.RAISE_EXCEPTION)
    except pesq.NoUtterancesError:
        return _missing("PESQ found no utterance")
    except pesq.BufferTooShortError:
        return _missing("PESQ needs at least a quarter of a second")
    except pesq.PesqError as error:
        return _missing(f"PESQ failed: {error}")
    return Score(float(value))


def stoi(estimate: Any, target: Any, sample_rate: float) -> Score:
    """Short-time objective intelligibility (Taal et al., 2011), up to 1, higher is better.

    Args:
        estimate: degraded speech, [T] or [C, T] (folded to mono).
        target: clean speech of the same shape.
        sample_rate: in Hz; rounded to whole Hz (STOI itself works at 10 kHz).

    Returns:
        The score; NaN if fewer than 30 frames (0.4 s) of the target are not silent.

    Raises:
        MissingExtraError: without the package pystoi.
    """
    try:
        import pystoi
    except ImportError as error:
        raise MissingExtraError("STOI", "pystoi", "metrics") from error
    x, y = _pair(estimate, target, "STOI")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return _missing("the audio holds NaN or infinity")
    if max(abs(y), default=0.0) < _SILENT:
        return _missing("silent audio holds no speech")
    if len(y) < 0.41 * sample_rate:
        return _missing("STOI needs 0.4 s of speech")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi's signal for too little speech
        try:
            return Score(float(pystoi.stoi(y, x, round(sample_rate), extended=False)))
        except RuntimeWarning:
            return _missing("STOI needs 0.4 s of speech")


def dnsmos(audio: Any, sample_rate: float) -> dict[str, Score]:
    """DNSMOS P.835 and P.808: predicted listeners' scores from 1 to 5 without a reference.

    Args:
        audio: speech, [T] or [C, T] (folded to mono). A peak above 1 is scaled down to 1. Less
            than 9 s is repeated, as the authors' own script does.
        sample_rate: in Hz; resampled to 16 kHz.

    Returns:
        ``overall``, ``signal``, ``background`` (P.835) and ``p808``.

    Raises:
        MissingExtraError: without the package speechmos.
    """
    try:
        from speechmos import dnsmos as peer
    except ImportError as error:
        raise MissingExtraError("DNSMOS", "speechmos", "metrics") from error
    names = {"overall": "ovrl_mos", "signal": "sig_mos", "background": "bak_mos"}
    names["p808"] = "p808_mos"
    x = _resample(mono(audio, "DNSMOS"), sample_rate, DNSMOS_RATE)
    if x.size == 0 or not np.isfinite(x).all():
        return {name: _missing("the audio is empty or not finite") for name in names}
    x = x / max(1.0, float(abs(x).max()))
    if peer.dnsmos is None:
        _limit_threads(peer)
    found = peer.run(x.astype(np.float32), DNSMOS_RATE)
    return {name: Score(float(found[key])) for name, key in names.items()}


def _limit_threads(peer: Any) -> None:
    """Give the package's models one thread each; by default they busy-wait on every core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    folder = Path(peer.__file__).absolute().parent / "dnsmos_models"
    paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
    model = peer.DNSMOS.__new__(peer.DNSMOS)
    model.primary_model_path = paths[0]  # run() creates its own without it
    model.onnx_sess, model.p808_onnx_sess = (
        onnxruntime.InferenceSession(p, options, providers=["CPUExecutionProvider"]) for p in paths
    )
    peer.dnsmos = model


NISQA_FOLDER = "RETONE_NISQA"
"""Environment variable with the folder of NISQA's weights."""
NISQA_NAMES = ("overall", "noisiness", "discontinuity", "coloration", "loudness")


def use_nisqa_weights(path: Path) -> None:
    """Take NISQA's weights from a file ``nisqa.tar``, or from a folder that holds it, in this
    process and in those that it starts.

    Raises:
        DataError: there is no such file.
    """
    file = path / "nisqa.tar" if path.is_dir() else path
    if file.name != "nisqa.tar" or not file.is_file():
        raise DataError(f"no NISQA weights at {path}: expected a file called nisqa.tar.")
    os.environ[NISQA_FOLDER] = str(file.absolute().parent)


def nisqa(audio: Any, sample_rate: float) -> dict[str, Score]:
    """NISQA v2.0: predicted listeners' scores from 1 to 5 without a reference, by torchmetrics.

    Args:
        audio: speech, [T] or [C, T] (folded to mono).
        sample_rate: in Hz; rounded to whole Hz (the model works at 48 kHz).

    Returns:
        ``overall``, ``noisiness``, ``discontinuity``, ``coloration`` and ``loudness``.

    Raises:
        MissingExtraError: without torchmetrics, librosa or requests.
        DataError: its weights are missing and cannot be downloaded.
    """
    try:
        import librosa  # noqa: F401
        import requests  # noqa: F401
        from torchmetrics.functional.audio import nisqa as peer
        from torchmetrics.functional.audio.nisqa import (
            non_intrusive_speech_quality_assessment as run,
        )
    except ImportError as error:
        raise MissingExtraError("NISQA", "torchmetrics, librosa and requests", "nisqa") from error
    import torch

    x = mono(audio, "NISQA")
    if x.size == 0 or not np.isfinite(x).all() or max(abs(x)) < _SILENT:
        return {n: _missing("the audio is silent or not finite") for n in NISQA_NAMES}
    if folder := os.environ.get(NISQA_FOLDER):
        peer.NISQA_DIR = folder
    try:
        found = run(torch.from_numpy(x.astype(np.float32)), round(sample_rate))
    except Exception as error:  # whatever the download or the file's reader raises
        folder = getattr(peer, "NISQA_DIR", "~/.torchmetrics/NISQA")
        raise DataError(
            f"NISQA could not run ({type(error).__name__}: {error}). torchmetrics downloads "
            "nisqa.tar once from github.com/gabrielmittag/NISQA (weights folder); without a "
            f"network, put that file into {folder} yourself."
        ) from error
    return {n: Score(float(v)) for n, v in zip(NISQA_NAMES, found, strict=True)}

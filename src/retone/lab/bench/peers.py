"""Other libraries for the same tasks, imported inside functions since none is required.

Every peer gets its usual input: float32 audio, and coefficients that were designed in
float64 and rounded to float32 where the library takes coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

TORCHLPC = {"torchlpc": "torchlpc"}
TORCHCOMP = {"torchcomp": "torchcomp"}
PHILTORCH = {"philtorch": "philtorch"}
DASP = {"dasp_pytorch": "dasp-pytorch"}
PEDALBOARD = {"pedalboard": "pedalboard"}

_DASP_BANDS = {
    "low_shelf": "low_shelf", "peak_1": "band0", "peak_2": "band1", "peak_3": "band2",
    "peak_4": "band3", "high_shelf": "high_shelf",
}  # fmt: skip
Bands = Mapping[str, tuple[float, float, float]]


def pedalboard_equalizer(bands: Bands) -> Any:
    """Six filters as one ``Pedalboard``."""
    import pedalboard

    kinds = {
        "low_shelf": pedalboard.LowShelfFilter,
        "high_shelf": pedalboard.HighShelfFilter,
    }
    return pedalboard.Pedalboard(
        [
            kinds.get(name, pedalboard.PeakFilter)(cutoff_frequency_hz=frequency, gain_db=gain, q=q)
            for name, (frequency, gain, q) in bands.items()
        ]
    )


def torchlpc_equalizer(audio: Tensor, sections: Tensor) -> Tensor:
    """Biquads one after another, zeros by shifted sums and poles by torchlpc.

    Args:
        audio: [B, T]; sections: [B, S, 5], of the audio's dtype.
    """
    from torchlpc import sample_wise_lpc

    for section in sections.unbind(1):
        b0, b1, b2 = (section[:, i : i + 1] for i in range(3))
        padded = torch.nn.functional.pad(audio, (2, 0))
        audio = b0 * padded[:, 2:] + b1 * padded[:, 1:-1] + b2 * padded[:, :-2]
        poles = section[:, None, 3:].expand(-1, audio.shape[1], -1)
        audio = sample_wise_lpc(audio, poles)
    return audio


def philtorch_equalizer(audio: Tensor, sections: Tensor) -> Tensor:
    """Biquads one after another by philtorch's state-space filter; shapes as above."""
    from philtorch.lti import lfilter

    for section in sections.unbind(1):
        filtered = lfilter(section[:, :3], section[:, 3:], audio, form="tdf2", backend="ssm")
        audio = filtered[0] if isinstance(filtered, tuple) else filtered
    return audio


def dasp_equalizer(audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
    """dasp's ``parametric_eq`` on [B, 1, T], driven by retone's parameter names."""
    import dasp_pytorch

    own = {"gain_db": "gain_db", "frequency_hz": "cutoff_freq", "q": "q_factor"}
    arguments = {
        f"{theirs}_{own[quantity]}": setting[f"{ours}_{quantity}"]
        for ours, theirs in _DASP_BANDS.items()
        for quantity in own
    }
    return dasp_pytorch.functional.parametric_eq(audio, sample_rate, **arguments)


def dasp_compressor(audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
    """dasp's ``compressor`` on [B, 1, T]. Its smoothing uses the attack time alone."""
    import dasp_pytorch

    names = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db")
    return dasp_pytorch.functional.compressor(
        audio,
        sample_rate,
        *(setting[name] for name in names),
        makeup_gain_db=setting["makeup_db"],
    )


TORCHCOMP_FLOOR = 1e-8
"""Added to the level, since torchcomp rejects silence."""


def torchcomp_coefficients(times_ms: Sequence[Tensor], sample_rate: float) -> tuple[Tensor, ...]:
    """torchcomp's own conversion of times to update coefficients."""
    import torchcomp

    return tuple(torchcomp.ms2coef(t, sample_rate) for t in times_ms)


def torchcomp_gain(audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
    """torchcomp's linear gain [B, T] for audio [B, T]: hard knee, instantaneous level."""
    import torchcomp

    attack, release = torchcomp_coefficients(
        (setting["attack_ms"], setting["release_ms"]), sample_rate
    )
    return torchcomp.compexp_gain(
        audio.abs() + TORCHCOMP_FLOOR,
        comp_thresh=setting["threshold_db"],
        comp_ratio=setting["ratio"],
        exp_thresh=setting["expander_threshold_db"],
        exp_ratio=setting["expander_ratio"],
        at=attack,
        rt=release,
    )

"""Own spectra and their gradients equal torch's."""

from __future__ import annotations

import torch

from retone.dsp.spectral import power_frames


def test_power_frames_equal_torchs_stft_and_its_gradient() -> None:
    torch.manual_seed(4)
    audio = torch.randn(2, 700, dtype=torch.float64, requires_grad=True)
    window = torch.hann_window(64, dtype=torch.float64)
    got = power_frames(audio, window, 16)
    spectrum = torch.stft(audio, 64, 16, window=window, center=False, return_complex=True)
    torch.testing.assert_close(got, spectrum.abs().square().transpose(1, 2))
    slope = torch.randn_like(got)
    mine = torch.autograd.grad(got, audio, slope)[0]
    wanted = torch.autograd.grad(spectrum.abs().square().transpose(1, 2), audio, slope)[0]
    torch.testing.assert_close(mine, wanted)

"""Find the equaliser and compressor that made one recording from another, by gradient descent.

The target is the recording itself, processed with settings that the optimiser does not know. The
gradients of the exact effects reach all 24 parameters.

python examples/learn_an_effect.py voice.wav --steps 100
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from retone import Compressor, Equalizer, chain
from retone.audio import load
from retone.losses import MultiResolutionSTFT

UNKNOWN = {
    "equalizer.low_shelf_gain_db": -4,
    "equalizer.high_shelf_gain_db": 6,
    "compressor.threshold_db": -30,
    "compressor.ratio": 3,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the excerpt")
    args = parser.parse_args()

    clip = load(args.recording)
    rate = clip.sample_rate
    audio = torch.from_numpy(clip.samples[None, :, : round(args.seconds * rate)])
    effect = chain("strip", Equalizer(), Compressor())
    target = effect.render(audio, rate, effect.params.setting(UNKNOWN)).audio

    start = effect.params.to_unit(effect.params.defaults(1))
    logits = torch.logit(start.clamp(0.02, 0.98)).requires_grad_()  # unit parameters stay in 0..1
    adam = torch.optim.Adam([logits], lr=0.05)
    distance = MultiResolutionSTFT((512, 2048))
    for step in range(args.steps + 1):
        setting = effect.params.to_physical(torch.sigmoid(logits))
        loss = distance(effect.render(audio, rate, setting).audio, target, rate)
        if step % 20 == 0:
            print(f"step {step:4}  distance {loss.item():.3f}")
        adam.zero_grad()
        loss.backward()
        adam.step()
    for name, value in UNKNOWN.items():
        print(f"{name:32} {float(setting[name].detach()):7.1f}  (used: {value})")


if __name__ == "__main__":
    main()

"""Mid and side are processed apart, and the width is the side's level."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from conftest import MakeAudio
from retone.effects import Compressor, CurveEqualizer, Equalizer, MidSide, chain
from retone.errors import SettingError


def coded(audio: Tensor) -> tuple[Tensor, Tensor]:
    return (audio[:, :1] + audio[:, 1:]) / 2, (audio[:, :1] - audio[:, 1:]) / 2


@pytest.mark.parametrize("effect", [Equalizer(), CurveEqualizer(), chain("c", Compressor())],
                         ids=lambda e: e.name)  # fmt: skip
def test_each_part_gets_its_own_effect(effect, make_audio: MakeAudio) -> None:  # type: ignore[no-untyped-def]
    both = MidSide(mid=effect, side=Equalizer())
    audio = make_audio(3000, 44100, channels=2)
    setting = both.params.sample(1, torch.Generator().manual_seed(1)) | {
        "width_db": torch.tensor([-6.0]).double()
    }
    own = {n.partition(".")[2]: v for n, v in setting.items() if n.startswith("mid.")}
    rest = {n.partition(".")[2]: v for n, v in setting.items() if n.startswith("side.")}
    mid, side = coded(audio)
    got_mid, got_side = coded(both.render(audio, 44100, setting).audio)
    torch.testing.assert_close(got_mid, effect.render(mid, 44100, own).audio)
    want = Equalizer().render(side, 44100, rest).audio * 10 ** (-6 / 20)
    torch.testing.assert_close(got_side, want)


def test_one_channel_is_all_mid_and_more_than_two_are_refused(make_audio: MakeAudio) -> None:
    effect = MidSide()
    setting = effect.params.neutral(1) | {
        "mid.peak_1_gain_db": torch.tensor([6.0]).double(),
        "side.peak_2_gain_db": torch.tensor([9.0]).double(),
        "width_db": torch.tensor([3.0]).double(),
    }
    mono = make_audio(800, 44100)
    wanted = Equalizer()(mono, 44100, peak_1_gain_db=6.0)
    assert torch.equal(effect.render(mono, 44100, setting).audio, wanted)
    with pytest.raises(SettingError, match=r"two channels, got 6"):
        effect.render(mono.expand(-1, 6, -1), 44100, setting)


def test_parts_must_be_equally_late() -> None:
    linear = CurveEqualizer(phase="linear")
    assert MidSide(mid=linear, side=linear).latency_samples(48000) == 16320
    with pytest.raises(SettingError, match="same latency"):
        MidSide(mid=linear, side=CurveEqualizer())

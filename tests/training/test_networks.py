"""The paper's network: equal to a kept library's, and true to its stated sizes and scales."""

from __future__ import annotations

import pytest
import torch
from tiny import SAMPLE_RATE
from torch import Tensor

from retone.audio.meters.loudness import loudness_lufs
from retone.errors import SettingError, ShapeError
from retone.nets.aligned import AlignedNetConfig
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.frontend import FrontEnd, FrontEndConfig
from retone.nets.siamese import SiameseConfig, SiameseNet, Spectrogram, SpectrogramConfig
from retone.training.recipes.deepafx import deepafx_smoke, deepafx_speech


def test_b2_has_its_published_number_of_weights() -> None:
    with torch.device("meta"):
        network = EfficientNetConfig().build()
    assert sum(p.numel() for p in network.parameters()) == 7_700_418
    assert network.config.outputs == 1408


def test_controller_has_the_papers_sizes() -> None:
    with torch.device("meta"):
        network = deepafx_speech().network.build()
    count = sum(p.numel() for p in network.controller.parameters())
    assert count == 596_504 + 2  # and the slopes of two PReLU


@pytest.mark.parametrize("size", [(65, 129), (64, 32)], ids=["odd", "even"])
def test_b2_equals_efficientnet_pytorch(size: tuple[int, int]) -> None:
    library = pytest.importorskip("efficientnet_pytorch")
    theirs = library.EfficientNet.from_name("efficientnet-b2", in_channels=1, image_size=None)
    ours = EfficientNetConfig().build()
    torch.manual_seed(0)
    for module in theirs.modules():  # statistics that are not 0 and 1, so that a swap is seen
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    source = [(n, t) for n, t in theirs.state_dict().items() if not n.startswith("_fc")]
    goal = ours.state_dict()
    assert [tuple(t.shape) for _, t in source] == [tuple(t.shape) for t in goal.values()]
    ours.load_state_dict({n: t for n, (_, t) in zip(goal, source, strict=True)})
    image = torch.randn(2, 1, *size)
    with torch.no_grad():
        expected = theirs.eval().extract_features(image)
        found = ours.eval()(image)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    norms = [
        [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)] for net in (theirs, ours)
    ]
    for a, b in zip(*norms, strict=True):
        assert (a.eps, a.momentum) == (b.eps, pytest.approx(b.momentum))
    theirs_drop = [theirs._global_params.drop_connect_rate * i / len(theirs._blocks)
                   for i in range(len(theirs._blocks))]  # fmt: skip
    assert [block.drop for block in ours.blocks] == pytest.approx(theirs_drop)


def test_drop_connect_keeps_the_mean_and_rests_in_use() -> None:
    network = EfficientNetConfig(width=0.25, depth=1.0, drop_connect=0.9).build()
    block = next(b for b in network.blocks if b.residual and b.drop > 0.3)
    x = torch.randn(1, block.project[0].out_channels, 4, 4).expand(4000, -1, -1, -1)
    block.filter.eval(), block.expand.eval(), block.project.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        branch = block(x) - x  # training: dropped, or raised to keep the mean
        block.eval()
        plain = block(x[:1]) - x[:1]
    kept = branch.abs().amax((1, 2, 3)) > 0
    assert kept.float().mean() == pytest.approx(1 - block.drop, abs=0.03)
    torch.testing.assert_close(branch[kept][0] * (1 - block.drop), plain[0], rtol=1e-3, atol=1e-5)


def narrow() -> SiameseNet:
    torch.manual_seed(1)
    return deepafx_smoke().network.build().eval()  # type: ignore[no-any-return]


def clips(count: int, length: int = 24000) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.3 * torch.randn(count, length, generator=generator)


def test_embeddings_are_unit_vectors_and_items_are_independent() -> None:
    network, audio = narrow(), clips(3)
    with torch.no_grad():
        vectors = network.encode(audio).vector
        assert vectors.norm(dim=1) == pytest.approx(torch.ones(3).numpy(), abs=1e-5)
        torch.testing.assert_close(network.encode(audio[1:2]).vector, vectors[1:2])
        unit = network(audio, audio.flip(0))
        both = network.compare(network.encode(audio), network.encode(audio.flip(0)))
    assert unit.shape == (3, 24) and bool(((unit > 0) & (unit < 1)).all())
    torch.testing.assert_close(unit, both)


def test_linear_after_pooling_is_linear_before_pooling() -> None:
    """The paper's order: linear to D at each place, then the mean over time."""
    network = narrow()
    with torch.no_grad():
        features = network.encoder(network.front_end(clips(2)))
        places = network.embed(features.movedim(1, -1)).mean((1, 2))
        expected = torch.nn.functional.normalize(places, dim=1)
        torch.testing.assert_close(network.encode(clips(2)).vector, expected)


def test_spectrogram_is_magnitude_to_the_power() -> None:
    """A sine at a bin's centre: a peak of window sum / 2, compressed, and 20 dB is 2 dB x 3."""
    config = SpectrogramConfig(sample_rate=SAMPLE_RATE)
    front = Spectrogram(config)
    n, bin_ = torch.arange(24000), 200
    sine = torch.sin(2 * torch.pi * bin_ * n / config.window)[None].float()
    image = front(sine)
    assert image.shape == (1, 1, 1 + 24000 // config.hop, config.window // 2 + 1)
    middle = image[0, 0, 5]
    assert int(middle.argmax()) == bin_
    assert float(middle[bin_]) == pytest.approx((config.window / 4) ** 0.3, rel=1e-3)
    louder = front(10 * sine)[0, 0, 5, bin_]
    assert float(louder / middle[bin_]) == pytest.approx(10**0.3, rel=1e-4)
    assert not list(front.parameters())  # the window does not learn
    with pytest.raises(ShapeError, match="Spectrogram"):
        front(sine[None])


def test_standardise_makes_spectrograms_zero_mean_unit_variance() -> None:
    network, audio = narrow(), clips(4)
    network.standardize(network.statistics(audio))
    image = network.front_end(audio)
    assert float(image.mean()) == pytest.approx(0, abs=1e-3)
    assert float(image.std()) == pytest.approx(1, abs=1e-3)


def test_measures_end_the_summary_and_are_those_of_the_metrics() -> None:
    """RMS and K-weighted level as the meters give them, the centroid of a tone at its place."""
    config = FrontEndConfig(sample_rate=24000, measures=True)
    front = FrontEnd(config)
    t = torch.arange(48000) / 24000
    tone = 0.1 * torch.sin(2 * torch.pi * 3000 * t)[None]
    rms, loud, centroid = front(tone).summary[0, -3:].tolist()
    assert front(tone).summary.shape[1] == config.summary_size
    assert 20 * rms == pytest.approx(-23.01, abs=0.02)
    weighted = 20 * loud - 0.691
    assert weighted == pytest.approx(loudness_lufs(tone.numpy(), 24000), abs=0.3)
    assert centroid == pytest.approx(3.0, abs=0.05)
    assert float(front.weight.mean()) == pytest.approx(1.0)
    assert float(front.weight[-1] / front.weight[0]) == pytest.approx(20.0)


def aligned() -> torch.nn.Module:
    config = FrontEndConfig(sample_rate=SAMPLE_RATE)
    return AlignedNetConfig(outputs=24, front_end=config, trunk=16, hidden=32).build()


@pytest.mark.parametrize("build", [narrow, aligned])
def test_bfloat16_stays_near_float32_and_gives_fine_parameters(build) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(2)
    network, audio = build().eval(), clips(2)
    exact = network(audio, audio.flip(0))
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(audio, audio.flip(0))
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0)
    assert not torch.equal(rough, exact)
    assert not torch.equal(rough, rough.bfloat16().float())  # not on bfloat16's coarse grid


def test_sizes_that_cannot_be_are_refused() -> None:
    for wrong in ({"channels": 0}, {"width": 0.0}, {"drop_connect": 1.0}):
        with pytest.raises(SettingError, match="EfficientNet"):
            EfficientNetConfig(**wrong)


def test_gradients_reach_every_weight_of_the_encoder() -> None:
    network = SiameseConfig(
        outputs=5,
        front_end=SpectrogramConfig(sample_rate=SAMPLE_RATE),
        encoder=EfficientNetConfig(width=0.25, depth=0.5, drop_connect=0.0),
        embedding=16,
    ).build()
    network(clips(2), clips(2).flip(0)).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle

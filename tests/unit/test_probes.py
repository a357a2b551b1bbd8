"""Probes on embeddings whose answer is known, and reading a pickle without running it."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from retone.errors import DataError, MissingExtraError
from retone.lab.evaluate import legacy_torch, probes
from retone.lab.evaluate.encoders import Cdpam, OpenL3, OurEncoder, RandomMel
from retone.lab.evaluate.result import Result, Row

RATE = 24000


def sets(separation: float, seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 16, generator=generator)
    found = {}
    for subset, count in {"train": 20, "val": 10, "test": 10}.items():
        y = torch.arange(3).repeat_interleave(count)
        x = separation * centres[y] + torch.randn(len(y), 16, generator=generator)
        found[subset] = (torch.nn.functional.normalize(x, dim=1), y)
    return found


def test_a_probe_finds_what_is_there_and_nothing_else() -> None:
    rules = probes.ProbeRules(epochs=20, learning_rate=5e-2)
    assert min(probes.probe(sets(5.0), 3, 0, rules)) > 0.95
    assert np.mean(probes.probe(sets(0.0), 3, 0, rules)) < 0.6


def test_f1_by_hand() -> None:
    predicted, truth = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert probes.f1(predicted, truth, 3) == pytest.approx([2 / 3, 0.8, 0.0])


def test_table_has_our_rows_and_the_papers() -> None:
    values = {f"f1_{s}": 0.5 for s in probes.ORDER} | {"f1": 0.5, "dimensions": 512.0}
    question = {"kind": "speech", "styles": list(probes.ORDER)}
    text = probes.table(Result(question, {}, [Row(0, "x", "speech", "ours", values)]))
    assert "| ours | 512 | 0.50" in text and "paper: CDPAM" in text


@pytest.mark.parametrize(
    "part", ["summary", "features", "hidden", "embedding", "embedding minus neutral"]
)
def test_our_network_describes_one_recording(part: str, make_audio) -> None:  # type: ignore[no-untyped-def]
    clips = [make_audio(2 * RATE, RATE, seed=s)[0, 0].float().numpy() * 0.3 for s in (0, 1)]
    encoder = OurEncoder("ours", "speech", part)
    a, again, b = (encoder.embed(x, RATE) for x in (clips[0], clips[0], clips[1]))
    np.testing.assert_array_equal(a, again)
    assert a.ndim == 1 and np.isfinite(a).all() and not np.allclose(a, b)


def test_random_mel_is_the_same_projection_every_time() -> None:
    x = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1
    assert RandomMel().embed(x, RATE).shape == (4096,)
    np.testing.assert_array_equal(RandomMel().embed(x, RATE), RandomMel().embed(x, RATE))


def test_missing_encoders_say_what_they_need() -> None:
    if importlib.util.find_spec("openl3") is None:
        with pytest.raises(MissingExtraError, match="downloads the weights"):
            OpenL3().embed(np.zeros(RATE, np.float32), RATE)
    if importlib.util.find_spec("cdpam") is None:
        with pytest.raises(MissingExtraError, match=r"retone\[probes\]"):
            Cdpam().embed(np.zeros(RATE, np.float32), RATE)


def test_an_old_torch_file_is_read_and_its_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    state = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(6, 2).t()}
    torch.save({"state": state, "epoch": 3}, path, _use_new_zipfile_serialization=False)
    found = legacy_torch.read(path)
    assert found["epoch"] == 3
    for name, tensor in state.items():
        torch.testing.assert_close(found["state"][name], tensor)

    class Evil:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state": Evil()}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="not allowed"):
        legacy_torch.read(path)
    assert not (tmp_path / "ran").exists()
    for data in (b"", b"no pickle", pickle.dumps(1)):
        path.write_bytes(data)
        with pytest.raises(DataError):
            legacy_torch.read(path)

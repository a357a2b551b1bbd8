"""Peers' own tests through shims: run from a source distribution, and told apart."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import torch

from retone.lab.bench import peers_shims, peers_suites
from retone.lab.main import main

TESTS = """
import pytest, torch
import pyloudnorm as pyln
from torchcomp.core import compressor_core

def test_silent():
    assert pyln.Meter(48000).loudness_range(torch.zeros(480000).numpy()) == 0

def test_loudness_range_silent_signal():
    raise AssertionError("NaN is wanted")

def test_peak():
    pyln.normalize.peak(1.0, 0.0)

def test_file():
    open("tests/data/x.wav")

def test_wrong():
    one = torch.ones(2)
    assert compressor_core(torch.ones(2, 3), one, one, one)[0, 0] == 2

@pytest.mark.skip(reason="no CUDA")
def test_cuda():
    pass
"""


def release(folder: Path, name: str, tests: str | None, own: str = "test_own.py") -> None:
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as tar:
        files = {"PKG-INFO": "", f"{name.split('-')[0]}/__init__.py": "raise SystemError"}
        if tests is not None:
            files[f"tests/{own}"] = tests
            files |= {f"tests/{n}": "raise SystemError" for n in ("conftest.py", "test_rest.py")
                      if own != "test_own.py"}  # fmt: skip
        for path, body in files.items():
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(body.encode())
            tar.addfile(member, io.BytesIO(body.encode()))


def test_each_outcome_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release(tmp_path, "torchcomp-0.2.1", TESTS)
    release(tmp_path, "auraloss-0.4.0", None)
    words = ["torchcomp", "auraloss", "--sdists", str(tmp_path), "-o", str(tmp_path / "r.json")]
    assert main(["evaluate", "peers-suites", *words]) == 1  # one test got a wrong number
    first, second = json.loads((tmp_path / "r.json").read_text())["suites"]
    status = {c["name"]: c["status"] for c in first["cases"]}
    assert status == {
        "test_silent": "passed", "test_loudness_range_silent_signal": "other convention",
        "test_peak": "not offered", "test_file": "file not in the release",
        "test_wrong": "failed", "test_cuda": "skipped",
    }  # fmt: skip
    assert sum(first["counts"].values()) == 6 and second["missing"].endswith("holds no tests")
    out = capsys.readouterr().out
    assert "true-peak limiter (test_peak)" in out and "failed: " in out
    assert main(["evaluate", "peers-suites", "nobody"]) == 2


FILTERS = """
import numpy as np
from pedalboard import HighpassFilter, LowpassFilter, HighShelfFilter, LowShelfFilter, PeakFilter

def test_all():
    x = np.sin(np.arange(48000) * 2 * np.pi * 1000 / 48000)
    for kind in (HighpassFilter, LowpassFilter, HighShelfFilter, LowShelfFilter, PeakFilter):
        assert kind.__module__ == "retone.lab.bench.peers_shims"
        y = kind(1000.0, gain_db=-6.0)(x, 48000)[24000:]
        want = 10 ** (-6 / 20 if kind is PeakFilter else -3 / 20)
        assert abs(np.sqrt(np.mean(y**2)) / np.sqrt(0.5) - want) < 0.01
"""


def test_of_pedalboards_tests_only_those_of_filters_run_and_on_retone(tmp_path: Path) -> None:
    release(tmp_path, "pedalboard-abc", FILTERS, "test_filters.py")
    suite = peers_suites.run_suite("pedalboard", tmp_path)
    assert [(c.name, c.status, c.reason) for c in suite.cases] == [("test_all", "passed", "")]
    assert suite.source == "pedalboard-abc" and "| pedalboard-abc | 1 |" in peers_suites.text(
        [suite]
    )


def test_recordings_that_a_release_lacks_are_named(tmp_path: Path) -> None:
    case = peers_suites.Case("test_file", peers_suites.NO_DATA, "tests/data/x.wav")
    text = peers_suites.text([peers_suites.Suite("pyloudnorm", "r", source="r", cases=[case])])
    assert "recordings that the tests read are not in it" in text and "(x.wav)" in text


def test_a_release_that_pip_does_not_have_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    suite = peers_suites.run_suite("torchcomp", tmp_path)
    assert "pip has no source distribution of torchcomp" in suite.missing
    assert suite.missing in peers_suites.text([suite])


def test_shims_differentiate_in_every_mode() -> None:
    torch.manual_seed(0)
    x, zi, at, rt = (torch.rand(2, *s, dtype=torch.float64) for s in ((9,), (), (), ()))
    inputs = [t.requires_grad_() for t in (x, zi, at, rt)]
    torch.autograd.gradcheck(peers_shims.compressor_core, inputs, check_forward_ad=True)
    torch.autograd.gradgradcheck(peers_shims.compressor_core, inputs)
    a = 0.4 * torch.randn(2, 20, 2, dtype=torch.float64)
    x, zi = torch.randn(2, 20, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    want = torch.from_numpy(peers_shims.lpc_np(x.numpy(), a.numpy(), zi.numpy()))
    assert torch.allclose(peers_shims.LPC.apply(x, a, zi), want, atol=1e-12)
    one = peers_shims.LPC.apply(x, a[..., :1], zi[:, :1])
    want = torch.from_numpy(peers_shims.lpc_np(x.numpy(), a[..., :1].numpy(), zi[:, :1].numpy()))
    assert torch.allclose(one, want, atol=1e-12)

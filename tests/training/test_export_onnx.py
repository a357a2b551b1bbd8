"""A trained estimator leaves as ONNX only if onnxruntime agrees with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import tiny_recipe

from retone.errors import DataError
from retone.training.state import RunState, save_state


@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from retone.estimators import onnx_file

    recipe = tiny_recipe()
    weights = tmp_path / "own.safetensors"
    save_state(weights, recipe, recipe.build(), None, RunState(step=0, best=1.0))
    output = tmp_path / "own.onnx"
    done = onnx_file.export_onnx(weights, output)
    assert done.difference < onnx_file.PARITY
    assert (
        done.inputs == ("source", "result", "reference", "logits")
        and done.length == recipe.pairs.length
    )
    about = runtime.InferenceSession(str(output)).get_modelmeta().custom_metadata_map["retone"]
    described = json.loads(about)
    assert [p["name"] for p in described["params"]] == list(recipe.effect.params.names)
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: 0.5)
    with pytest.raises(DataError, match="not kept"):
        onnx_file.export_onnx(weights, tmp_path / "other.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own.onnx", "own.safetensors"]

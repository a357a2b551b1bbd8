"""The trained estimator that needs no reference: it hears a recording and knows good speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from retone.errors import DataError
from retone.estimators.base import Estimate, Excerpt, Reference, shift_thresholds
from retone.estimators.network import Loaded, load, pieces
from retone.nets.tcn import Tcn

SHIPPED = "enhance_speech.safetensors"


@dataclass(frozen=True)
class Blind:
    """Predicts the setting of its effect from the recording alone.

    Longer excerpts are heard in pieces of the training clips' length, each at their peak level;
    thresholds come back to the excerpt's own level, and the predictions are averaged on each
    parameter's own scale.

    Args:
        weights: a ``.safetensors`` file that ``retone train`` wrote for one of the diffdeq
            recipes; None for those that ship with the package.
        most_pieces: how many pieces are heard.
    """

    name: str = "blind"
    weights: Path | None = None
    most_pieces: int = 8

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference] = (),
        *,
        locks: Mapping[str, float],
        progress: object | None = None,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``. References are not heard; locks are the
        matcher's to apply.

        Raises:
            DataError: the weights are missing, damaged, or of a network that needs a reference.
        """
        loaded = self.load()
        network: Any = loaded.network
        table = loaded.effect.params
        heard = pieces(source, network.config.front_end.sample_rate, loaded.length,
                       self.most_pieces)  # fmt: skip
        peak = heard.abs().amax(1, keepdim=True).clamp(min=1e-6)
        gain = 10 ** (loaded.peak_dbfs / 20) / peak
        with torch.no_grad():
            unit = network(heard * gain).double()
        level_db = 20 * torch.log10(gain[:, 0].double())
        setting, _ = shift_thresholds(table, table.to_physical(unit), -level_db)
        mean = table.to_unit(setting).mean(0, keepdim=True)
        return Estimate(loaded.effect, table.to_physical(mean))

    def load(self) -> Loaded:
        """The network and its effect."""
        path = self.weights
        if path is None:
            path = Path(str(resources.files("retone") / "weights" / SHIPPED))
            if not path.is_file():
                raise DataError(
                    "this version ships no weights for enhancement: train them with 'retone train "
                    "diffdeq_improved --corpus NAME=FOLDER --run DIR' and pass "
                    "--weights DIR/best.safetensors."
                )
        loaded = load(path)
        if not isinstance(loaded.network, Tcn):
            raise DataError(
                f"{path.name}: these weights hear a reference; they are for 'retone match'. Give "
                "weights of a diffdeq recipe."
            )
        return loaded

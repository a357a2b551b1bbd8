"""The default estimator: the network that knows this kind of recording, or the closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources

from retone.estimators.base import Estimate, Excerpt, Reference
from retone.estimators.closed_form import ClosedForm
from retone.estimators.content import content_of
from retone.progress import Progress, silent

HEARD_S = 15.0


@dataclass(frozen=True)
class Automatic:
    """Hears whether the source is speech or music and asks the network trained on such recordings.

    Without weights for that kind, and for presets, whose profiles the closed form reads best, it
    asks the closed form.
    """

    otherwise: ClosedForm = field(default_factory=ClosedForm)
    name: str = "auto"

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``."""
        heard = all(isinstance(r, Excerpt) for r in references)
        kind = content_of(_beginning(source)).kind if heard else ""
        if not (heard and shipped(kind)):
            return self.otherwise.estimate(source, references, locks=locks, progress=progress)
        from retone.estimators.network import Network

        found = Network(weights=kind).estimate(source, references, locks=locks, progress=progress)
        return replace(found, notes=(f"Settings by the network for {kind}.", *found.notes))


def _beginning(source: Excerpt) -> Excerpt:
    """As much of an excerpt as the decision takes; more would cost a match half its time."""
    return replace(source, audio=source.audio[: round(HEARD_S * source.sample_rate)])


def shipped(kind: str) -> bool:
    """Whether weights for ``"speech"`` or ``"music"`` are in the package."""
    return (resources.files("retone") / "weights" / f"style_{kind}.safetensors").is_file()

"""The default estimator: the network for this kind of recording, or the closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from retone.errors import SettingError
from retone.estimators.base import Estimate, Excerpt, Reference
from retone.estimators.closed_form import ClosedForm
from retone.estimators.shipped import style_weights
from retone.estimators.speech_music import content_of
from retone.progress import Progress, silent

ANALYSED_S = 15.0


@dataclass(frozen=True)
class Automatic:
    """Detects speech or music and uses the network that was trained on that kind of recording.

    The closed form is used if no weights ship for that kind, and for presets, for which it is the
    better estimator.

    Args:
        otherwise: what is used there.
        caution: of the network; see ``Network``.

    Raises:
        SettingError: the caution is outside 0..1.
    """

    otherwise: ClosedForm = field(default_factory=ClosedForm)
    caution: float = 1.0
    name: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.caution <= 1:
            raise SettingError(f"caution = {self.caution} is outside 0..1.")

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``."""
        recordings = all(isinstance(r, Excerpt) for r in references)
        kind = content_of(_beginning(source)).kind if recordings else ""
        if not (recordings and style_weights(kind).is_file()):
            return self.otherwise.estimate(source, references, locks=locks, progress=progress)
        from retone.estimators.network import Network

        network = Network(weights=kind, caution=self.caution)
        found = network.estimate(source, references, locks=locks, progress=progress)
        return replace(found, notes=(f"Settings from the network for {kind}.", *found.notes))


def _beginning(source: Excerpt) -> Excerpt:
    """The part of an excerpt that the detection uses; more would double the time of a match."""
    return replace(source, audio=source.audio[: round(ANALYSED_S * source.sample_rate)])

"""Full match: match average spectrum and dynamics in full, without separating content."""

from __future__ import annotations

from dataclasses import replace

from retone.effects import MATCH_CHAIN
from retone.estimators import compression, equalizer_fit
from retone.estimators.base import Estimator
from retone.estimators.closed_form import ClosedForm
from retone.estimators.content_statistics import packaged
from retone.estimators.refine import Refined


def full_match(first: Estimator | None = None) -> Refined:
    """The closed form and its refinement, set up to treat every difference as processing.

    The other estimators match only differences that two recordings rarely have, since the rest
    may be due to another voice. This one matches all of them, with the equaliser's full range.
    Use it if the result should have the reference's overall spectrum; Table 3 of DeepAFx-ST scores
    that.

    Args:
        first: estimator to refine instead of the closed form.
    """
    content = packaged().negligible()
    start = ClosedForm(
        voices="same",
        scales=(3.0, 8.0),
        temper=1.0,
        equalizer=equalizer_fit.FitRules(
            max_gain_db=MATCH_CHAIN.params["equalizer.high_shelf_gain_db"].high, max_boost_q=6.0
        ),
        dynamics=compression.SearchRules(temper=1.0),
        content=content,
    )
    return replace(
        Refined(first or start, steps=8, prior_sd=0.3, content=content), name="full-match"
    )

"""The estimator that copies: the reference's average spectrum and dynamics, whatever is in it."""

from __future__ import annotations

from dataclasses import replace

from retone.effects import MATCH_CHAIN
from retone.estimators import compression, equalizer_fit
from retone.estimators.base import Estimator
from retone.estimators.closed_form import ClosedForm
from retone.estimators.content_statistics import packaged
from retone.estimators.refine import Refined


def faithful(first: Estimator | None = None) -> Refined:
    """The closed form and its refinement, told that recordings hardly differ by content.

    The other estimators undo only what two recordings rarely differ by, since the rest may be
    another voice. This one takes every difference for treatment, with the equaliser's whole
    range: what one wants if the *sum* should sound like the reference, and what Table 3 of
    DeepAFx-ST asks for.

    Args:
        first: what is refined, instead of the closed form.
    """
    content = packaged().ignored()
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
    return replace(Refined(first or start, steps=8, prior_sd=0.3, content=content), name="faithful")

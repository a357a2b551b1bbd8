"""Test that presets move recordings to their style, and hardly change them a second time.

A held-out recording is matched to a preset, its output is matched again, and so is the recording
with random settings of the style. Changes are in dB between input and output: of the band levels
(without overall level, RMS over bands) and of the spread of short-term levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retone.dsp.measure import StyleStatistics, measure, valid_bands
from retone.effects import MATCH_CHAIN
from retone.estimators.base import Estimator, Excerpt
from retone.lab.curated_presets import CURATED, pick_patch
from retone.lab.evaluate.methods import excerpt
from retone.lab.evaluate.result import Result, Row
from retone.presets import open_preset
from retone.process.stream import render_whole
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.styles import apply_style
from retone.training.provenance import provenance

COLUMNS = {
    "tone_to_style_before": "tone, input to the style (dB)",
    "tone_to_style": "tone, output to the style (dB)",
    "spread_to_style_before": "spread, input to the style (dB)",
    "spread_to_style": "spread, output to the style (dB)",
    "tone_first": "change of tone, first time (dB)",
    "tone_second": "second time (dB)",
    "tone_styled": "in the style already (dB)",
    "spread_first": "change of spread, first time (dB)",
    "spread_second": "second time (dB)",
    "spread_styled": "in the style already (dB)",
}


def evaluate(
    corpus: Corpus,
    names: Sequence[str],
    estimators: Sequence[Estimator],
    *,
    count: int,
    seconds: float,
    seed: int,
    progress: Progress = silent,
) -> Result:
    """Measure presets on ``count`` passages of a corpus's voices or tracks in turn.

    Args:
        corpus: held-out recordings.
        names: shipped presets, whose styles define the target.
        estimators: rows.
        count: passages for each preset.
        seconds: length of a passage.
        seed: random seed for passages and styles.
    """
    rate = corpus.sample_rate
    tracks = sorted(corpus.tracks, key=lambda t: t.group)
    tracks = [t for t in tracks if t.samples > seconds * rate]
    question = {
        "what": "presets", "corpus": corpus.name, "corpus_sha256": corpus.sha256,
        "sample_rate": rate, "seconds": seconds, "count": count, "seed": seed,
    }  # fmt: skip
    result = Result(question, provenance())
    done = 0
    for name in names:
        profile = open_preset(name).profile
        style = CURATED[name].style
        for item in range(count):
            rng = np.random.default_rng([seed, item])
            track = tracks[int(rng.integers(len(tracks)))]
            patch = pick_patch(track, round(seconds * rate), rng)
            done += 1
            progress(Phase("evaluating", "passages"), done, count * len(names))
            if patch is None:
                continue
            patch = patch * np.float32(10 ** (-float(rng.uniform(*style.headroom_db)) / 20))
            target = apply_style(patch, rate, MATCH_CHAIN, style.draw(rng))
            source, styled = excerpt(patch, rate)[0], excerpt(target, rate)[0]
            for estimator in estimators:
                values = _measure(source, styled, profile, estimator)
                result.rows.append(Row(item, track.group, name, estimator.name, values))
    return result


def _measure(
    source: Excerpt, styled: Excerpt, profile: Any, estimator: Estimator
) -> dict[str, float]:
    once = _apply(source, profile, estimator)
    twice = _apply(once, profile, estimator)
    kept = _apply(styled, profile, estimator)
    rate = source.sample_rate
    s, goal, a, b, c = (measure(e.audio, rate) for e in (source, styled, once, twice, kept))
    return {
        "tone_to_style_before": _tone(s, goal, rate),
        "tone_to_style": _tone(a, goal, rate),
        "spread_to_style_before": _spread(s, goal),
        "spread_to_style": _spread(a, goal),
        "tone_first": _tone(s, a, rate),
        "tone_second": _tone(a, b, rate),
        "tone_styled": _tone(goal, c, rate),
        "spread_first": _spread(s, a),
        "spread_second": _spread(a, b),
        "spread_styled": _spread(goal, c),
    }


def _apply(source: Excerpt, profile: Any, estimator: Estimator) -> Excerpt:
    found = estimator.estimate(source, [profile], locks={})
    audio = source.audio[None].numpy()
    out = render_whole(found.effect, audio, source.sample_rate, found.setting)
    return excerpt(out[0], source.sample_rate)[0]


def _tone(one: StyleStatistics, other: StyleStatistics, rate: int) -> float:
    use = valid_bands(rate)
    difference = (other.band_level_db - one.band_level_db)[0, use]
    return float(np.sqrt(np.mean((difference - difference.mean()) ** 2)))


def _spread(one: StyleStatistics, other: StyleStatistics) -> float:
    return float(np.abs(other.level_percentiles_db - one.level_percentiles_db).mean())

"""The five production styles of DeepAFx-ST: an equaliser and a compressor with random settings.

C. J. Steinmetz, N. J. Bryan, J. D. Reiss, "Style transfer of audio effects with differentiable
signal processing", JAES 70(9), 2022, and the published program. A style is a low shelf, one peak,
a high shelf (all Q 0.707) and a compressor without knee or makeup; every example draws its own
settings uniformly. Warm has two variants: the paper lowers the highs, the published program
raises them (a sign error).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from retone.dsp.effect import Effect
from retone.errors import DataError, SettingError, nearest
from retone.training.data.corpora import Corpus, Track

Array = np.ndarray
Range = tuple[float, float]
SUBSETS = {"train": 0.6, "val": 0.2, "test": 0.2}
LEAD_SAMPLES = 16384
"""Warm-up samples before an example, in which the compressor settles; they are dropped."""
MIN_MEAN_SQUARE = 3e-4
"""Lowest mean square of any whole second of a passage whose peak is 1."""
TRIES = 40


@dataclass(frozen=True)
class Style:
    """One style: ranges of a uniform draw, in physical units.

    Args:
        name: lower case, unique.
        label: name in tables.
        threshold_db, ratio, attack_ms, release_ms: the compressor; ratio (1, 1) is off.
        low_gain_db, low_hz, high_gain_db, high_hz: the shelves.
        peak_gain_db, peak_hz: the peak; (0, 0) dB is none.
        headroom_db: how far below full scale the peak lies before the effect.
    """

    name: str
    label: str
    low_gain_db: Range
    low_hz: Range
    high_gain_db: Range
    high_hz: Range
    threshold_db: Range = (0.0, 0.0)
    ratio: Range = (1.0, 1.0)
    attack_ms: Range = (50.0, 50.0)
    release_ms: Range = (250.0, 250.0)
    peak_gain_db: Range = (0.0, 0.0)
    peak_hz: Range = (1000.0, 1000.0)
    headroom_db: Range = (3.0, 9.0)

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """One setting, under the names of the chain equaliser, compressor; knee and makeup 0."""

        def one(bounds: Range) -> float:
            return float(rng.uniform(*bounds))

        return {
            "equalizer.low_shelf_gain_db": one(self.low_gain_db),
            "equalizer.low_shelf_frequency_hz": one(self.low_hz),
            "equalizer.peak_2_gain_db": one(self.peak_gain_db),
            "equalizer.peak_2_frequency_hz": one(self.peak_hz),
            "equalizer.high_shelf_gain_db": one(self.high_gain_db),
            "equalizer.high_shelf_frequency_hz": one(self.high_hz),
            "compressor.threshold_db": one(self.threshold_db),
            "compressor.ratio": one(self.ratio),
            "compressor.attack_ms": one(self.attack_ms),
            "compressor.release_ms": one(self.release_ms),
            "compressor.knee_db": 0.0,
        }


def _styles(*styles: Style) -> dict[str, Style]:
    return {style.name: style for style in styles}


STYLES: dict[str, Style] = _styles(
    Style(
        "telephone",
        "Telephone",
        (-26.0, -20.0),
        (200.0, 400.0),
        (-26.0, -20.0),
        (4000.0, 6000.0),
        (-40.0, -20.0),
        (1.5, 3.0),
        (1.0, 6.0),
        (10.0, 60.0),
        (12.0, 16.0),
        (1000.0, 2000.0),
    ),
    Style("warm", "Warm", (20.0, 26.0), (200.0, 400.0), (-26.0, -20.0), (8000.0, 10000.0)),
    Style("bright", "Bright", (-26.0, -20.0), (200.0, 400.0), (20.0, 26.0), (8000.0, 10000.0)),
    Style(
        "neutral",
        "Neutral",
        (1.0, 3.0),
        (80.0, 200.0),
        (1.0, 3.0),
        (6000.0, 8000.0),
        (-30.0, -20.0),
        (1.5, 2.0),
        (50.0, 70.0),
        (100.0, 300.0),
    ),
    Style(
        "broadcast",
        "Broadcast",
        (2.0, 6.0),
        (80.0, 200.0),
        (2.0, 6.0),
        (6000.0, 8000.0),
        (-50.0, -40.0),
        (3.0, 5.0),
        (5.0, 30.0),
        (50.0, 150.0),
    ),
    Style(
        "warm-published",
        "Warm (published program)",
        (20.0, 26.0),
        (200.0, 400.0),
        (14.0, 20.0),
        (8000.0, 10000.0),
    ),
)  # fmt: skip
FIVE = ("telephone", "warm", "bright", "neutral", "broadcast")


def style_named(name: str) -> Style:
    """The style of that name.

    Raises:
        SettingError: there is none; the message names the nearest.
    """
    if name not in STYLES:
        raise SettingError(f"no style is called '{name}'.{nearest(name, STYLES)}")
    return STYLES[name]


def apply_style(
    audio: Array, sample_rate: float, effect: Effect, setting: Mapping[str, float]
) -> Array:
    """Render ``audio`` [T] with a drawn setting (the effect's other parameters are neutral)."""
    full = effect.params.neutral(1)
    full |= {n: torch.tensor([v], dtype=torch.float64) for n, v in setting.items()}
    # Corner frequencies stay below half of the sample rate.
    for name in effect.params.with_role("frequency"):
        full[name] = full[name].clamp(max=0.45 * sample_rate)
    with torch.no_grad():
        one = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))[None, None]
        return np.asarray(effect.render(one, sample_rate, full, checked=False).audio[0, 0].numpy())


@dataclass(frozen=True)
class Example:
    """A styled clip: ``audio`` [T] float32 with its peak at 1, and how it was made.

    ``group`` is its voice or track; ``headroom_db`` is how far below full scale the recording's
    peak lay before the effect; subset and index reproduce it.
    """

    audio: Array
    style: str
    group: str
    setting: dict[str, float]
    subset: str
    index: int
    headroom_db: float


@dataclass(frozen=True)
class StyleSet:
    """Seeded examples of styles from a corpus; no passage is used for two subsets or styles.

    The paper splits the files of a corpus that has several for each voice. Here recordings are
    cut into passages of ``passage_s`` seconds, which are shuffled and split 60/20/20 into train,
    val and test; in each of these every style gets its own fifth. With ``apart="voices"`` whole
    voices or tracks are split instead, which is harder. A patch with a whole second
    below ``MIN_MEAN_SQUARE`` is drawn again.

    Args:
        corpus: recordings to cut from.
        effect: a chain of an equaliser and a compressor.
        length: samples of an example.
        seed: random seed.
        styles: names; their order matters to the draw.
        passage_s: length of passages, in seconds.
        apart: ``"passages"`` or ``"voices"``.
    """

    corpus: Corpus
    effect: Effect
    length: int
    seed: int
    styles: tuple[str, ...] = FIVE
    passage_s: float = 20.0
    apart: str = "passages"
    shares: Mapping[str, float] = field(default_factory=lambda: SUBSETS)

    @property
    def sample_rate(self) -> int:
        return self.corpus.sample_rate

    def _long(self) -> list[Track]:
        need = self.length + LEAD_SAMPLES
        return [t for t in self.corpus.tracks if t.samples >= need]

    @functools.cached_property
    def _units(self) -> dict[tuple[str, str], list[tuple[Track, int, int]]]:
        """(subset, style) -> its passages as (track, first sample, last sample)."""
        need = self.length + LEAD_SAMPLES
        pieces: list[tuple[Track, int, int]] = []
        size = max(need, round(self.passage_s * self.sample_rate))
        for track in sorted(self._long(), key=lambda t: t.group):
            count = max(1, track.samples // size) if self.apart == "passages" else 1
            edges = np.linspace(0, track.samples, count + 1).astype(int)
            pieces += [(track, int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]
        least = len(self.shares) * len(self.styles)
        if len(pieces) < least:
            raise DataError(
                f"{self.corpus.name}: {len(pieces)} {self.apart} of "
                f"{need / self.sample_rate:.1f} s; "
                f"{len(self.styles)} styles need {least}. Add recordings."
            )
        order = np.random.default_rng([self.seed, 0]).permutation(len(pieces))
        spare = len(pieces) - least
        counts = [len(self.styles) + int(share * spare) for share in self.shares.values()]
        counts[0] += len(pieces) - sum(counts)
        found = {}
        start = 0
        for subset, count in zip(self.shares, counts, strict=True):
            mine = [pieces[i] for i in order[start : start + count]]
            start += count
            for k, style in enumerate(self.styles):
                found[subset, style] = mine[k :: len(self.styles)]
        return found

    def example(self, subset: str, style: str, index: int) -> Example:
        """Example ``index`` of a style in a subset; always the same."""
        patch, group, rng = self._patch(subset, style, index)
        known = style_named(style)
        headroom_db = float(rng.uniform(*known.headroom_db))
        setting = known.draw(rng)
        audio = self._styled(patch, headroom_db, setting)
        return Example(audio, style, group, setting, subset, index, headroom_db)

    def in_style_of(self, source: Example, reference: Example) -> Array:
        """The source's unprocessed recording [T] with the reference's own settings."""
        patch, _, _ = self._patch(source.subset, source.style, source.index)
        return self._styled(patch, reference.headroom_db, reference.setting)

    def _styled(self, patch: Array, headroom_db: float, setting: Mapping[str, float]) -> Array:
        patch = patch * np.float32(10 ** (-headroom_db / 20))
        out = apply_style(patch, self.sample_rate, self.effect, setting)[LEAD_SAMPLES:]
        out = out / max(float(np.abs(out).max()), 1e-9)
        return out.astype(np.float32)

    def _patch(self, subset: str, style: str, index: int) -> tuple[Array, str, np.random.Generator]:
        """Recording of an example with its warm-up, peak 1; its group; its random generator."""
        units = self._units[subset, style]
        seed = [self.seed, 1, list(self.shares).index(subset), self.styles.index(style), index]
        rng = np.random.default_rng(seed)
        need = self.length + LEAD_SAMPLES
        best: tuple[float, Array, str] | None = None
        for _ in range(TRIES):
            track, first, last = units[int(rng.integers(len(units)))]
            start = int(rng.integers(first, max(first, last - need) + 1))
            patch = track.read(start, need)
            peak = float(np.abs(patch).max(initial=0.0))
            if peak < 1e-4:
                continue
            patch = patch / np.float32(peak)
            second = self.sample_rate
            whole = patch[: patch.size // second * second].reshape(-1, second)
            least = float((whole * whole).mean(axis=1).min())
            if best is None or least > best[0]:
                best = (least, patch, track.group)
            if least > MIN_MEAN_SQUARE:
                break
        if best is None:
            raise DataError(f"{self.corpus.name}: no passage with sound for style {style}.")
        return best[1], best[2], rng


def ordered_pairs(styles: Sequence[str]) -> list[tuple[str, str]]:
    """Every (input style, reference style), same to same included."""
    return [(a, b) for a in styles for b in styles]

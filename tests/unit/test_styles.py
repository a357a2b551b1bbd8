"""Five styles, realistic transfer and its pictures, on recordings whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from retone.dsp.effect import split_setting
from retone.effects import MATCH_CHAIN
from retone.errors import DataError, SettingError
from retone.estimators.base import Estimate, Excerpt
from retone.lab.evaluate import figures, realistic
from retone.lab.evaluate.methods import Input, Target
from retone.lab.evaluate.style_page import heat_map, page, realistic_section
from retone.training.data.corpora import PCM_SCALE, Corpus, Track
from retone.training.data.excerpts import open_excerpts
from retone.training.data.pairs import Pair
from retone.training.data.styles import (
    FIVE,
    LEAD_SAMPLES,
    STYLES,
    StyleSet,
    apply_style,
    ordered_pairs,
    style_named,
)

RATE = 24000
LENGTH = 49152


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, make_audio: Callable[..., torch.Tensor]):
    folder = tmp_path_factory.mktemp("corpus")
    tracks = []
    for voice in range(3):
        audio = make_audio(16 * RATE, RATE, seed=voice)[0, 0].numpy()
        path = folder / f"{voice}.npy"
        np.save(path, np.rint(audio * PCM_SCALE).astype("<i2"))
        tracks.append(Track(f"v{voice}", "test", "speech", path, audio.size))
    return Corpus("made-up/test", RATE, tuple(tracks), "0" * 64)


@pytest.fixture(scope="module")
def styles(corpus: Corpus) -> StyleSet:
    return StyleSet(corpus, MATCH_CHAIN, LENGTH, seed=42, passage_s=2.8)


def curve_db(setting: dict[str, float], frequency_hz: list[float]) -> np.ndarray:
    full = MATCH_CHAIN.params.neutral(1)
    full |= {n: torch.tensor([v], dtype=torch.float64) for n, v in setting.items()}
    h = MATCH_CHAIN.members[0].response(
        torch.tensor(frequency_hz), RATE, split_setting(full, "equalizer")
    )
    assert h is not None
    return 20 * np.log10(h.abs().numpy()[0])


@pytest.mark.parametrize("name", STYLES)
def test_draws_stay_in_their_ranges_and_sound_like_their_name(name: str) -> None:
    for seed in range(20):
        drawn = STYLES[name].draw(np.random.default_rng(seed))
        assert STYLES[name].ratio[0] <= drawn["compressor.ratio"] <= STYLES[name].ratio[1]
        low, middle, high = curve_db(drawn, [60.0, 1000.0, 11000.0]).tolist()
        match name:
            case "telephone":
                assert low < middle - 15 and high < middle - 15
            case "warm":
                assert low > middle + 15 and high < middle - 10
            case "warm-published":
                assert low > middle + 15 and high > middle + 8
            case "bright":
                assert low < middle - 15 and high > middle + 10
            case _:
                assert 0 < low - middle < 8 and 0 < high - middle < 8
    assert STYLES[name].draw(np.random.default_rng(1)) == STYLES[name].draw(
        np.random.default_rng(1)
    )


def test_a_wrong_style_gets_the_nearest() -> None:
    with pytest.raises(SettingError, match="broadcast"):
        style_named("broadcst")


def test_examples_are_seeded_and_share_no_passage(styles: StyleSet) -> None:
    one, again = (styles.example("train", "bright", 3) for _ in range(2))
    np.testing.assert_array_equal(one.audio, again.audio)
    assert one.audio.shape == (LENGTH,) and np.abs(one.audio).max() == pytest.approx(1.0)
    assert not np.array_equal(one.audio, styles.example("train", "bright", 4).audio)
    seen: set[tuple[str, int]] = set()
    for units in styles._units.values():
        for track, first, last in units:
            assert last - first >= LENGTH + LEAD_SAMPLES
            assert (track.group, first) not in seen
            seen.add((track.group, first))
    with pytest.raises(DataError, match="need 15"):
        replace(styles, apart="voices").example("train", "warm", 0)


def test_the_settling_time_is_cut_off(corpus: Corpus) -> None:
    audio = corpus.tracks[0].read(0, LENGTH)
    flat = apply_style(audio, RATE, MATCH_CHAIN, {})
    np.testing.assert_allclose(flat, audio, atol=1e-6)


def test_a_recording_in_another_ones_style_has_its_settings_and_its_own_content(
    styles: StyleSet,
) -> None:
    source, reference = styles.example("train", "telephone", 2), styles.example("val", "bright", 1)
    np.testing.assert_array_equal(styles.in_style_of(source, source), source.audio)
    there = styles.in_style_of(source, reference)
    # back through the source's settings: the same recording under both
    back = styles.in_style_of(
        replace(reference, subset="train", style="telephone", index=2), source
    )
    np.testing.assert_array_equal(back, source.audio)
    high = [np.abs(np.fft.rfft(x))[LENGTH // 4 :].sum() for x in (source.audio, there)]
    assert high[1] > 2 * high[0]


def test_the_row_of_the_target_is_the_styled_recording(styles: StyleSet) -> None:
    styles = replace(styles, styles=("telephone", "bright"))
    heard: list[Pair] = []

    @dataclass(frozen=True)
    class Listen:
        name: str = "listen"

        def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
            heard.append(pair)
            return Target("oracle").run(pair, sample_rate)

    realistic.evaluate(styles, [Listen()], kind="speech", trials=1, seed=16)
    source, reference = realistic.draw_pair(styles, "telephone", "bright", 1, 16)
    styled = styles.in_style_of(source, reference)
    np.testing.assert_allclose(heard[1].target / np.abs(heard[1].target).max(), styled, atol=1e-6)
    assert np.abs(heard[1].target - heard[1].reference).max() > 0.01


@dataclass(frozen=True)
class Copy:
    """Gives the reference itself: nothing can be nearer."""

    name: str = "copy"

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        return pair.reference


def test_realistic_transfer_counts_pairs_and_knows_the_perfect_method(
    styles: StyleSet, tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    styles = replace(styles, styles=("telephone", "bright"))
    result = realistic.evaluate(
        styles, [Input(), Copy()], kind="speech", trials=1, seed=16, path=path
    )
    assert len(result.rows) == 2 * 4 and len(result.names("case")) == 4
    assert len(ordered_pairs(FIVE)) == 25
    assert max(max(r.values.values()) for r in result.rows if r.method == "copy") < 1e-4
    own = realistic.matrix(result, "Input", "msd")
    assert own.shape == (2, 2)
    assert np.mean(np.diag(own)) < np.mean(own[~np.eye(2, dtype=bool)])
    text = realistic.table(result)
    assert "| copy |" in text and "x0.00" in text and "paper: AD" in text
    saved = path.read_text()
    realistic.evaluate(styles, [Input(), Copy()], kind="speech", trials=1, seed=16, path=path)
    assert path.read_text() == saved  # nothing is measured twice
    svg = heat_map(result, "copy")
    cells = [e for e in ElementTree.fromstring(svg).iter() if e.get("class") == "cell"]
    assert len(cells) == 4 * 4
    made = page([realistic_section(result, "pictures/x.svg", "copy")])
    assert "Rows without weights" in made and "Telephone" in made


def test_excerpts_of_a_corpus(tmp_path: Path, make_audio: Callable[..., torch.Tensor]) -> None:
    import soundfile as sf

    for voice in range(4):
        (tmp_path / "c" / f"v{voice}").mkdir(parents=True)
        sf.write(tmp_path / "c" / f"v{voice}" / "a.wav",
                 0.3 * make_audio(2 * RATE, RATE, seed=voice)[0, 0].numpy(), RATE)  # fmt: skip
    found = open_excerpts("folder", tmp_path / "c", sample_rate=16000, split="train", max_groups=2,
                          seconds=1.5, cache=tmp_path)  # fmt: skip
    assert len(found.tracks) == 2 and {t.samples for t in found.tracks} == {24000}
    with pytest.raises(DataError, match="no recording of 9 s"):
        open_excerpts("folder", tmp_path / "c", sample_rate=16000, split="train", max_groups=2,
                      seconds=9.0, cache=tmp_path)  # fmt: skip


# Figures


@dataclass(frozen=True)
class Contrary:
    """Boosts the highs by what the input lacks of them; its threshold follows the crest."""

    name: str = "contrary"

    def estimate(self, source: Excerpt, references, *, locks, progress=None) -> Estimate:  # type: ignore[no-untyped-def]
        x = source.audio.numpy()
        power = np.abs(np.fft.rfft(x)) ** 2
        f = np.fft.rfftfreq(x.size, 1 / source.sample_rate)
        tilt_db = 10 * np.log10(power[f > 5000].sum() / power[(f > 300) & (f < 2000)].sum())
        loud_db = 10 * np.log10(np.mean(x * x))
        values = {
            "equalizer.high_shelf_gain_db": float(np.clip(-0.4 * tilt_db, -24, 24)),
            "equalizer.high_shelf_frequency_hz": 4000.0,
            "compressor.threshold_db": float(np.clip(loud_db, -100, 0)),
            "compressor.ratio": float(np.clip(1 - loud_db / 10, 1, 20)),
        }
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.setting(values))


def test_trends_are_found_and_drawn(corpus: Corpus) -> None:
    clips = [(t.group, t.read(0, 3 * RATE)) for t in corpus.tracks]
    found = figures.trends(clips, RATE, Contrary(), seed=4)
    assert found["brighter"].spearman("highs_db")[0] < -0.99
    # This voice has slow syllables: a fast compressor raises its crest, so loudness falls.
    assert found["compressed"].spearman("compressor.threshold_db")[0] < -0.8
    assert found["compressed"].spearman("compressor.ratio")[0] > 0.8
    svg = figures.trend_picture(found, "three <voices>")
    assert len([e for e in ElementTree.fromstring(svg) if e.tag.endswith("svg")]) == 3


def test_five_references_make_one_picture(corpus: Corpus) -> None:
    a, b = (t.read(0, 2 * RATE) for t in corpus.tracks[:2])
    chosen = figures.five_references(a, b, RATE, Contrary(), seed=1)
    assert [c.label for c in chosen] == [STYLES[n].label for n in FIVE]
    svg = figures.parameters_picture(chosen, "about")
    ElementTree.fromstring(svg)
    assert all(c.label in svg for c in chosen)


@pytest.mark.parametrize(
    ("y", "rho"),
    [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([5, 5, 5, 5], 0.0), ([1, 3, 2, 4], 0.8)],
)
def test_rank_correlation(y: list[float], rho: float) -> None:
    x = np.arange(4.0)
    assert figures.rank_correlation(x, np.array(y, dtype=float)) == pytest.approx(rho)

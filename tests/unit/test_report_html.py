"""The report: what it draws is what the effects do, and the file stands on its own."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retone.audio.meters.envelope import Envelope, EnvelopeMeter, LevelHistogram
from retone.audio.meters.spectrum import SpectrumMeter, log_frequencies
from retone.dsp import scan
from retone.dsp.effect import Effect
from retone.effects import EFFECTS, Compressor, DynamicEqualizer, Equalizer, Fir, Gain, chain
from retone.process.compressor_levels import CompressorLevels
from retone.process.settings_file import LevelPlan, SettingsFile, Source
from retone.report import collect, figures
from retone.report.data import ReportData
from retone.report.format import decibels, hertz, label, range_text, seconds, split_label
from retone.report.html import render_report
from retone.report.summary import summary
from retone.report.svg import Axis, Plot, log_ticks, spread, ticks, time_ticks

RATE = 44100
VOICE = chain("voice", Gain("input"), Equalizer(), Compressor())


def example(effect: Effect = VOICE, seed: int = 0, *, points: int = 1500) -> ReportData:
    """A report with every part, from a random setting and made-up recordings."""
    rng = np.random.default_rng(seed)
    drawn = effect.params.sample(1, torch.Generator().manual_seed(seed))
    made = SettingsFile(
        effect,
        {n: float(v[0]) for n, v in drawn.items()},
        RATE,
        "test",
        level_plan=LevelPlan(-2.0, -16.0, -1.0, 1.5, 0.5),
        levels={r: {"integrated_lufs": -20.0, "true_peak_dbtp": None} for r in ("before", "after")},
        sources=(
            Source("input", "a<script>alert(1)</script>.wav", RATE, 2, 3700),
            Source("reference", "b&c.wav", RATE, 1, 12),
        ),
        notes=("One <note>.",),
        warnings=("One & warning.",),
    )
    f = log_frequencies(RATE)
    time_s = np.linspace(0, 3700, points)
    curves = rng.uniform(-12, 0, (7, 1, points))
    names = [f"band_{i}_gain_reduction_db" for i in range(1, 7)]
    if not isinstance(effect, DynamicEqualizer):
        names = ["compressor.gain_reduction_db"]
    meters = {
        n: SimpleNamespace(result=lambda i=i: Envelope(time_s, curves[i], curves[i] / 2))
        for i, n in enumerate(names)
    }
    return ReportData(
        made,
        f,
        spectra={r: rng.uniform(-90, -30, f.size) for r in ("before", "after", "reference")},
        **collect.views(effect, made.effective_setting(), RATE, f),  # type: ignore[arg-type]
        reductions=collect.reductions(effect, made.effective_setting(), meters),  # type: ignore[arg-type]
        waveforms={
            r: Envelope(time_s, -curves[i] / 12, curves[i] / 12)
            for i, r in enumerate(("before", "after"))
        },
    )


class Balanced(HTMLParser):
    """Fails on tags that are closed in the wrong order or left open."""

    EMPTY = frozenset({"meta", "line", "rect", "circle", "polyline", "polygon", "path", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.scripts += tag == "script"
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


@pytest.mark.parametrize("effect", [*EFFECTS, VOICE], ids=lambda e: e.name)
def test_the_file_stands_on_its_own(effect: Effect) -> None:
    html = render_report(example(effect))
    assert len(html.encode()) < 400_000
    own = r'(?:src|href)="(?!#|data:)|(?:src|href)=(?!")|url\((?!#)|@import|https?:'
    assert not re.search(own, html)
    assert "default-src 'none'" in html
    assert not re.search(r"\b(?:nan|inf|None|NaN)\b", re.sub(r"<(style|script)>.*?</\1>", "", html))
    page = Balanced()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.scripts == 1  # ours; the file's name did not become one
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)
    clips = re.findall(r'clipPath id="([^"]+)"', html)
    assert len(clips) == len(set(clips))


def test_every_parameter_is_in_the_table() -> None:
    html = render_report(example())
    rows = re.findall(r'<table class="settings">(.*?)</table>', html, re.DOTALL)
    assert sum(r.count('class="slot"') for r in rows) == len(VOICE.params)
    assert "Equalizer · Peak 2" in html


def points_of(svg: str, css: str) -> np.ndarray:
    found = re.search(rf'<polyline class="line {css}"[^>]*points="([^"]+)"', svg)
    assert found
    return np.array([[float(v) for v in p.split(",")] for p in found[1].split()])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_drawn_response_is_the_effects_response(seed: int) -> None:
    data = example(Equalizer(), seed, points=10)
    plot = figures.response(data.frequency_hz, data.responses[0])
    xy = points_of(plot.render(), "sum")
    drawn_hz = plot.x.low * (plot.x.high / plot.x.low) ** (
        (xy[:, 0] - plot.x0) / (plot.x1 - plot.x0)
    )
    drawn_db = plot.y.low + (xy[:, 1] - plot.y0) / (plot.y1 - plot.y0) * (plot.y.high - plot.y.low)
    wanted = Equalizer().response(
        torch.from_numpy(drawn_hz), RATE, data.settings.effective_setting()
    )
    wanted_db = 20 * torch.log10(wanted[0].abs()).numpy()
    pixel_db = (plot.y.high - plot.y.low) / (plot.y0 - plot.y1)
    slope_db = np.abs(np.gradient(wanted_db, xy[:, 0]))
    assert (np.abs(drawn_db - wanted_db) < pixel_db + 0.2 * slope_db).all()
    assert wanted_db.max() <= plot.y.high and wanted_db.min() >= plot.y.low


def test_views_follow_the_chain() -> None:
    effect = chain("a", Equalizer("one"), Fir("two", (0.5,)), chain("b", Compressor("three")))
    found = collect.views(effect, effect.params.defaults(1), RATE, np.array([100.0, 1000.0]))
    assert [r.name for r in found["responses"]] == ["one", "two"]
    assert [c.name for c in found["curves"]] == ["b.three"]
    np.testing.assert_allclose(found["responses"][1].total_db, 20 * math.log10(0.5))  # type: ignore[union-attr]


def side(role: str, audio: np.ndarray, rate: int, lufs: float) -> SimpleNamespace:
    meter = SpectrumMeter(rate)
    meter.update(audio)
    levels = SimpleNamespace(integrated_lufs=lufs)
    return SimpleNamespace(role=role, spectrum=meter, sample_rate=rate, levels=levels, lufs=lufs)


def test_spectra_are_aligned_in_loudness() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, RATE))
    sides = [
        side("before", noise / 2, RATE, -26.02),
        side("after", noise, RATE, -20.0),
        side("reference", noise * 4, RATE, -7.96),
        side("reference", noise, RATE, -20.0),
    ]
    spectra, about = collect.align_spectra(sides, log_frequencies(RATE))  # type: ignore[arg-type]
    assert "equal loudness" in about
    for role in ("before", "reference"):
        np.testing.assert_allclose(spectra[role], spectra["after"], atol=0.01)
    low = side("reference", noise, 16000, -20.0)
    spectra, _ = collect.align_spectra([sides[1], low], log_frequencies(RATE))  # type: ignore[list-item]
    f = log_frequencies(RATE)
    assert np.isnan(spectra["reference"][f > 8000]).all()
    assert np.isfinite(spectra["reference"][f < 7800]).all()


def test_silence_is_drawn_without_complaint() -> None:
    data = example(points=10)
    nothing = np.full(data.frequency_hz.size, np.nan)
    flat = Envelope(np.zeros(0), np.zeros((1, 0)), np.zeros((1, 0)))
    quiet = replace(
        data,
        spectra=dict.fromkeys(data.spectra, nothing),
        waveforms=dict.fromkeys(data.waveforms, flat),
        reductions=tuple(replace(d, envelope=flat) for d in data.reductions),
    )
    assert "polyline" in render_report(quiet)
    assert render_report(ReportData(data.settings, data.frequency_hz)).count("<svg") == 0


@pytest.mark.parametrize("makeup_db", [0.0, 6.0])
def test_levels_at_the_compressor_are_found_from_its_output(makeup_db: float) -> None:
    effect = chain("c", Equalizer(), Compressor(), Gain("out"))
    setting = effect.params.setting(
        {
            "equalizer.peak_2_gain_db": 9.0,
            "compressor.threshold_db": -30,
            "compressor.ratio": 4,
            "compressor.makeup_db": makeup_db,
            "out.gain_db": -5,
        }
    )
    audio = 0.2 * torch.randn(1, 2, 6000, generator=torch.Generator().manual_seed(0)).double()
    levels = CompressorLevels(effect, setting, RATE)
    wanted = LevelHistogram(RATE)
    with scan.forced():
        out = effect.render(audio, RATE, setting, curves=True)
        part = {n.partition(".")[2]: v for n, v in setting.items() if n.startswith("equalizer.")}
        wanted.update(Equalizer().render(audio, RATE, part).audio[0].numpy())
    for cut in (slice(0, 100), slice(100, None)):
        levels.update(
            out.audio[0].numpy()[:, cut], {n: c[0].numpy()[cut] for n, c in out.curves.items()}
        )
    assert set(levels.histograms) == {"compressor"}
    np.testing.assert_allclose(levels.histograms["compressor"].share(), wanted.share(), atol=1e-9)
    behind = chain("d", Compressor(), Equalizer())
    assert CompressorLevels(behind, behind.params.defaults(1), RATE).histograms == {}


def test_summary_says_what_was_done() -> None:
    data = example(points=10)
    setting = {p.name: p.default for p in VOICE.params} | {
        "equalizer.low_shelf_gain_db": -6.0,
        "equalizer.low_shelf_frequency_hz": 400.0,
    }
    made = replace(data.settings, setting=setting)
    views = collect.views(VOICE, made.effective_setting(), RATE, data.frequency_hz)
    meter = EnvelopeMeter(RATE)
    meter.update(np.array([[0.0, -4.25, -1.0]]))
    shown = collect.reductions(
        VOICE, made.effective_setting(), {"compressor.gain_reduction_db": meter}
    )
    text = summary(replace(data, settings=made, reductions=shown, **views))  # type: ignore[arg-type]
    found = re.search(r"Equalizer changes the spectrum by up to −([56]\.\d) dB \(at (\d+)", text)
    assert found and 30 <= float(found[2]) < 200  # where something is heard, not at 20 Hz
    assert "Compressor lowers the level by up to 4.2 dB" in text
    assert "limiter holds peaks at −1.0 dBTP (at most 1.5 dB, 0.5 % of the time)" in text


widths = st.lists(st.floats(10, 120), min_size=1, max_size=7)


@given(widths, st.lists(st.floats(-50, 1050), min_size=7, max_size=7))
def test_callouts_never_overlap(sizes: list[float], wanted: list[float]) -> None:
    places = spread(sorted(wanted[: len(sizes)]), sizes, 0, 1000)
    edges = [(p - w / 2, p + w / 2) for p, w in zip(places, sizes, strict=True)]
    assert edges[0][0] >= -1e-6 and edges[-1][1] <= 1000 + 1e-6
    assert all(a[1] <= b[0] + 1e-6 for a, b in zip(edges, edges[1:], strict=False))


@given(st.floats(-1000, 1000), st.floats(0.01, 2000), st.integers(2, 12))
def test_ticks_are_round_even_and_inside(low: float, span: float, count: int) -> None:
    found = [v for v, _ in ticks(low, low + span, count)]
    texts = [t for _, t in ticks(low, low + span, count)]
    assert len(found) <= count + 1 and len(set(texts)) == len(texts)
    assert all(low - 1e-6 * span <= v <= low + span * (1 + 1e-6) for v in found)
    assert np.allclose(np.diff(found), np.diff(found)[:1] if len(found) > 1 else 0)
    for value, text in zip(found, texts, strict=True):
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=1e-6 * span)


def test_log_and_time_ticks() -> None:
    assert [t for _, t in log_ticks(20, 22050)] == [
        "20", "50", "100", "200", "500", "1k", "2k", "5k", "10k", "20k",
    ]  # fmt: skip
    assert [t for _, t in time_ticks(0.35)] == ["0.0", "0.1", "0.2", "0.3"]
    assert [t for _, t in time_ticks(600, 5)] == ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]
    for duration in (0.05, 3, 119, 121, 4000, 90000):
        assert 1 <= len(time_ticks(duration)) <= 9


def test_a_plot_of_its_own_is_a_whole_svg_file() -> None:
    plot = Plot("p", "A <plot>", 300, 200, Axis(0, 1, "x"), Axis(-1, 1, "y"))
    plot.line(np.array([0, 0.5, 1, 1]), np.array([0, np.nan, 1, -1]), "after", legend="a < b")
    root = ElementTree.fromstring(plot.render(standalone=True))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall(".//{*}polyline")) == 1  # the lone point before the gap is not a line


def test_numbers_read_as_people_write_them() -> None:
    assert [hertz(v) for v in (82.41, 1250, 12000)] == ["82.4 Hz", "1.25 kHz", "12 kHz"]
    assert [decibels(v, signed=True) for v in (3.21, -0.04, -12)] == [
        "+3.2 dB", "0.0 dB", "−12.0 dB",
    ]  # fmt: skip
    assert [seconds(v) for v in (3.214, 245, 3753)] == ["3.21 s", "4:05 min", "1:02:33 h"]
    table = VOICE.params
    assert label(table["equalizer.peak_1_q"]) == "Peak 1 Q"
    assert split_label(table["equalizer.low_shelf_gain_db"]) == ("Low shelf", "Gain")
    assert split_label(DynamicEqualizer().params["crossover_1_hz"]) == ("", "Crossover 1")
    assert range_text(table["equalizer.peak_1_frequency_hz"]) == "60 Hz to 2 kHz"
    assert range_text(table["compressor.ratio"]) == "1 to 20 : 1"

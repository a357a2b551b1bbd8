"""``retone match`` from a user's seat: what is asked for is in the files that come out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.process.settings_file import SettingsFile

from .conftest import Fixed

RATE = 44100


def settings(output: Path) -> dict:  # type: ignore[type-arg]
    return json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))


def values(output: Path) -> dict[str, float]:
    return {name: entry["value"] for name, entry in settings(output)["setting"].items()}


def lufs(path: Path) -> float:
    meter = pytest.importorskip("pyloudnorm")
    samples, rate = sf.read(path)
    return float(meter.Meter(rate).integrated_loudness(samples))


def true_peak_db(path: Path) -> float:
    """Peak of the band-limited curve through the samples, by eightfold FFT interpolation."""
    samples, _ = sf.read(path, always_2d=True)
    n = 1 << (len(samples) + 1024).bit_length()
    padded = np.pad(samples, ((512, n - 512 - len(samples)), (0, 0)))
    fine = np.fft.irfft(np.fft.rfft(padded, axis=0), 8 * n, axis=0) * 8
    return float(20 * np.log10(np.abs(fine).max()))


# --- real recordings ------------------------------------------------------------------------


@pytest.fixture
def excerpt(repository: Path, tmp_path: Path):
    """``excerpt("dull_voice.flac", seconds)`` of an example, as a 16-bit WAV."""

    def cut(name: str, seconds: float = 3.0, start: float = 2.0) -> Path:
        with sf.SoundFile(repository / "examples" / name) as file:
            file.seek(round(start * file.samplerate))
            samples = file.read(round(seconds * file.samplerate))
            path = tmp_path / f"{Path(name).stem}.wav"
            sf.write(path, samples, file.samplerate)
        return path

    return cut


@pytest.mark.parametrize("estimator", ["closed-form", "rules"])
@pytest.mark.parametrize(
    ("own", "other"),
    [("dull_voice.flac", "bright_voice.flac"), ("game_music.ogg", "orchestra.ogg"),
     ("reading_16khz.flac", "bright_voice.flac")],
)  # fmt: skip
def test_examples_come_nearer_to_their_reference(
    retone, excerpt, tmp_path: Path, estimator: str, own: str, other: str
) -> None:
    source, reference, output = excerpt(own), excerpt(other), tmp_path / "out.wav"
    done = retone("match", source, "--to", reference, "-o", output, "--estimator", estimator)
    assert (done.code, done.err) == (0, "")
    levels = settings(output)["levels"]
    before, after, goal = (levels[r]["integrated_lufs"] for r in ("before", "after", "reference"))
    assert abs(after - goal) < max(0.3, abs(before - goal))
    assert settings(output)["estimator"] == estimator
    made, given = sf.info(output), sf.info(source)
    assert (made.samplerate, made.channels, made.frames, made.subtype) == (
        given.samplerate, given.channels, given.frames, given.subtype,
    )  # fmt: skip


# --- how much, and of what ------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_amount_0_keeps_every_sample(retone, record, fixed, tmp_path: Path, subtype: str) -> None:
    source = record("a.wav", channels=2, subtype=subtype)
    output = tmp_path / "out.wav"
    done = retone("match", source, "--to", record("b.wav", seed=1), "-o", output, "--amount", 0)
    assert done.code == 0
    kind = {"FLOAT": "float32", "DOUBLE": "float64"}.get(subtype, "int32")
    np.testing.assert_array_equal(sf.read(output, dtype=kind)[0], sf.read(source, dtype=kind)[0])
    assert output.with_suffix(".html").stat().st_size > 5000


def test_half_the_amount_lies_between(retone, record, fixed, tmp_path: Path) -> None:
    source, reference = record("a.wav", gain=0.1), record("b.wav", seed=1, gain=0.5)
    made = {}
    for share in (0.0, 0.5, 1.0):
        made[share] = tmp_path / f"{share}.wav"
        done = retone("match", source, "--to", reference, "-o", made[share], "--amount", share,
                      "--true-peak", "off")  # fmt: skip
        assert done.code == 0
    # Loudness goes half the way, and so does the sound with its level taken away.
    levels = {share: lufs(path) for share, path in made.items()}
    assert levels[0.5] == pytest.approx((levels[0.0] + levels[1.0]) / 2, abs=0.1)
    shapes = {s: sf.read(p)[0] * 10 ** (-levels[s] / 20) for s, p in made.items()}
    whole = np.abs(shapes[1.0] - shapes[0.0]).mean()
    for end in (0.0, 1.0):
        assert 0.2 * whole < np.abs(shapes[0.5] - shapes[end]).mean() < 0.8 * whole


@pytest.mark.parametrize("estimator", ["closed-form", "rules"])
def test_eq_only_leaves_the_compressor_neutral(
    retone, record, tmp_path: Path, estimator: str
) -> None:
    output = tmp_path / "out.wav"
    done = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "-o", output,
                  "--eq-only", "--estimator", estimator)  # fmt: skip
    assert done.code == 0
    found = values(output)
    assert found["compressor.ratio"] == 1.0
    assert found["compressor.makeup_db"] == 0.0


@pytest.mark.parametrize("estimator", ["closed-form", "rules"])
def test_dynamics_only_leaves_the_spectrum_alone(
    retone, record, tmp_path: Path, estimator: str
) -> None:
    output = tmp_path / "out.wav"
    done = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "-o", output,
                  "--dynamics-only", "--estimator", estimator)  # fmt: skip
    assert done.code == 0
    gains = {n: v for n, v in values(output).items() if re.match(r"equalizer\..*gain_db", n)}
    assert set(gains.values()) <= {0.0}
    kinds = [m["type"] for m in settings(output)["effect"]["members"]]
    assert "fir" not in kinds
    assert bool(gains) == ("equalizer" in kinds)


# --- locks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [1, 0.3])
def test_locks_hold_exactly_and_ignore_the_amount(
    retone, record, tmp_path: Path, amount: float
) -> None:
    wanted = {
        "compressor.ratio": 2.34567,
        "compressor.threshold_db": -31.2578,
        "equalizer.peak_2_frequency_hz": 1234.5678,
        "equalizer.low_shelf_gain_db": 0.123,
    }
    locks = [w for n, v in wanted.items() for w in ("--lock", f"{n}={v}")]
    output = tmp_path / "out.wav"
    done = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "-o", output,
                  "--amount", amount, *locks)  # fmt: skip
    assert done.code == 0
    found = values(output)
    heard = SettingsFile.read(output.with_suffix(".json")).effective_setting()
    for name, value in wanted.items():
        assert found[name] == value
        assert float(heard[name][0]) == value
    assert settings(output)["locks"] == wanted


def test_lock_wins_over_eq_only(retone, record, fixed, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    retone("match", record("a.wav"), "--to", record("b.wav"), "-o", output, "--eq-only",
           "--lock", "compressor.ratio=2")  # fmt: skip
    assert values(output)["compressor.ratio"] == 2.0
    assert values(output)["compressor.makeup_db"] == 0.0


def test_the_estimator_hears_a_locked_threshold_at_its_own_level(
    retone, record, fixed: Fixed, tmp_path: Path
) -> None:
    """It hears a peak of -12 dBFS; for a file that peaks at -32 the threshold is 20 dB higher."""
    t = np.arange(RATE) / RATE
    quiet = (10 ** (-32 / 20) * np.sin(2 * np.pi * 441 * t + 0.1))[None]
    quiet *= 10 ** (-32 / 20) / np.abs(quiet).max()
    source = record("a.wav", samples=quiet, subtype="FLOAT")
    output = tmp_path / "out.wav"
    retone("match", source, "--to", record("b.wav"), "-o", output,
           "--lock", "compressor.threshold_db=-50")  # fmt: skip
    assert fixed.heard[0]["compressor.threshold_db"] == pytest.approx(-30.0, abs=1e-3)
    assert values(output)["compressor.threshold_db"] == -50.0


# --- references -----------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["one option", "two options"])
def test_several_references_are_averaged(retone, record, fixed, tmp_path: Path, style: str) -> None:
    one, two = record("b.wav", seed=1, gain=0.1), record("c.flac", seed=2, gain=0.4, rate=48000)
    to = ["--to", one, two] if style == "one option" else ["--to", one, "--to", two]
    output = tmp_path / "out.wav"
    done = retone("match", record("a.wav"), *to, "-o", output, "--true-peak", "off")
    names = [s["file"] for s in settings(output)["sources"] if s["role"] == "reference"]
    assert names == ["b.wav", "c.flac"]
    goal = (lufs(one) + lufs(two)) / 2
    assert lufs(output) == pytest.approx(goal, abs=0.3)
    shown = float(re.search(r"^loudness.*?(\S+)$", done.out, re.MULTILINE)[1])  # type: ignore[index]
    assert shown == pytest.approx(goal, abs=0.3)


# --- level ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "goal"), [(None, None), ("match", None), ("-16", -16.0),
                                           ("-35.5", -35.5)])  # fmt: skip
def test_loudness_is_measured_on_the_written_file(
    retone, record, fixed, tmp_path: Path, how: str | None, goal: float | None
) -> None:
    reference = record("b.wav", seed=1, gain=0.1, seconds=2)
    output = tmp_path / "out.wav"
    words = ["--loudness", how] if how else []
    retone("match", record("a.wav", seconds=2), "--to", reference, "-o", output, *words,
           "--true-peak", "off")  # fmt: skip
    assert lufs(output) == pytest.approx(lufs(reference) if goal is None else goal, abs=0.3)


def test_loudness_off_adds_no_gain(retone, record, fixed, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "-o", output,
           "--loudness", "off")  # fmt: skip
    plan = settings(output)["level_plan"]
    assert (plan["gain_db"], plan.get("target_lufs")) == (0.0, None)


@pytest.mark.parametrize("ceiling", [-1.0, -6.0, 0.0])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_true_peak_holds_and_a_missed_loudness_is_told(
    retone, record, make_audio, fixed, tmp_path: Path, ceiling: float, rate: int
) -> None:
    """Content ends at 0.4 of the rate: above, the standard's meter itself reads too little."""
    from scipy.signal import firwin, lfilter

    whole = make_audio(rate, rate, channels=2)[0].numpy()
    source = record("a.wav", samples=0.3 * lfilter(firwin(101, 0.8), 1, whole), rate=rate)
    output = tmp_path / "out.wav"
    done = retone("match", source, "--to", record("b.wav"), "-o", output,
                  "--loudness", "-6", "--true-peak", ceiling)  # fmt: skip
    assert true_peak_db(output) <= ceiling + 0.1
    assert settings(output)["level_plan"]["limiter_most_db"] > 3
    assert "limiter reduced peaks" in done.out
    short = re.search(r"([\d.]+) LU quieter than its target", done.out)
    assert short and float(short[1]) == pytest.approx(-6 - lufs(output), abs=0.3)


def test_true_peak_off_lets_peaks_through(retone, record, fixed, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    source = record("a.wav", subtype="FLOAT")
    done = retone("match", source, "--to", record("b.wav"), "-o", output, "--loudness", "-6",
                  "--true-peak", "off")  # fmt: skip
    assert done.code == 0
    assert np.abs(sf.read(output)[0]).max() > 1.0
    assert "limiter" not in done.out
    assert settings(output)["level_plan"]["ceiling_dbtp"] is None
    assert lufs(output) == pytest.approx(-6, abs=0.3)


# --- what is written and printed ------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page would load, and checks that its tags close."""

    VOID = frozenset(
        {"input", "meta", "br", "line", "path", "rect", "circle", "img", "link", "hr", "col"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v for k, v in attrs if k in ("src", "href", "data", "xlink:href") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_else(retone, record, tmp_path: Path) -> None:
    source, reference = record("my <own> & voice.wav"), record("b'ref.wav", seed=1)
    output = tmp_path / "out.wav"
    retone("match", source, "--to", reference, "-o", output)
    text = output.with_suffix(".html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(v.startswith(("#", "data:")) for v in page.loads)
    assert not re.search(r"(?:url\(|@import|fetch\(|src=)\s*['\"]?(?:https?:)?//", text)
    assert "my <own> & voice.wav" in page.text
    assert "b'ref.wav" in page.text
    assert str(tmp_path) not in text


def test_the_output_goes_beside_the_input(retone, record, fixed, tmp_path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    source, reference = record("a.take 1.flac"), record("b.wav")
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = retone("match", source, "--to", reference)
    assert done.code == 0
    made = {p.name for p in tmp_path.iterdir()} - {"a.take 1.flac", "b.wav", "elsewhere"}
    assert made == {f"a.take 1.matched.{end}" for end in ("flac", "json", "html")}
    assert list((tmp_path / "elsewhere").iterdir()) == []
    for name in made:
        assert name in done.out


def test_no_report_and_quiet(retone, record, fixed, tmp_path: Path) -> None:
    done = retone("match", record("a.wav"), "--to", record("b.wav"), "-q", "--no-report")
    assert done == type(done)(0, "", "")
    assert not (tmp_path / "a.matched.html").exists()
    assert (tmp_path / "a.matched.json").exists()


def test_progress_keeps_out_of_the_output(retone, record, fixed, tmp_path, monkeypatch) -> None:
    from retone import terminal as progress

    source, reference = record("a.wav", seconds=4), record("b.wav")
    plain = retone("match", source, "--to", reference, "-o", tmp_path / "out.wav")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    shown = retone("match", source, "--to", reference, "-o", tmp_path / "out.wav", "--force")
    assert shown.out == plain.out
    assert plain.err == ""
    assert re.search(r"\rrendering \[#+-*\] \d+ of 4 s", shown.err)
    assert shown.err.endswith(" \r")


def test_force_replaces_all_three(retone, record, fixed, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    companions = [output, output.with_suffix(".json"), output.with_suffix(".html")]
    for path in companions:
        path.write_text("old")
    done = retone("match", record("a.wav"), "--to", record("b.wav"), "-o", output, "--force")
    assert done.code == 0
    assert all(path.stat().st_size > 1000 for path in companions)

"""The sound of a report: what is embedded, how loud, and how large."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import retone
from retone.audio.encoders import ogg_opus as encoder
from retone.audio.meters.loudness import LevelMeter, LoudnessMeter, loudness_lufs
from retone.audio.meters.spectrogram import Spectrogram
from retone.audio.meters.spectrum import SpectrumMeter
from retone.audio.meters.stereo import StereoMeter
from retone.process.result import Side
from retone.report import sound

RATE = 22050


def noise(seconds: float, level: np.ndarray | float = 1.0, channels: int = 1, seed: int = 0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    return (0.05 * level * rng.standard_normal((channels, round(seconds * RATE)))).astype("f4")


@pytest.fixture
def matched(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A match of two short files."""
    rng = np.random.default_rng(1)
    mine, theirs = tmp_path / "<i>mine.wav", tmp_path / "theirs & co.wav"
    sf.write(mine, 0.1 * rng.standard_normal(4 * RATE), RATE)
    sf.write(theirs, np.diff(0.2 * rng.standard_normal(5 * RATE)), RATE)
    return retone.match(mine, theirs, tmp_path / "out.wav")


def test_before_after_and_reference_are_embedded_and_equally_loud(matched) -> None:  # type: ignore[no-untyped-def]
    found = sound.sound_of(matched)
    assert found is not None
    assert [t.role for t in found.tracks] == ["before", "after", "reference"]
    assert [p.title for p in found.passages] == [sound.WHOLE]
    gains, loud = found.gains_db(), {}
    for t in found.tracks:
        audio, rate = sf.read(io.BytesIO(t.data), dtype="float32", always_2d=True)
        assert rate == encoder.RATE and len(audio) / rate == pytest.approx(t.seconds, abs=0.03)
        loud[t.role] = loudness_lufs(audio.T * 10 ** (gains[t.role] / 20), rate)
    assert (
        max(loud.values()) - min(loud.values()) < 0.5
    )  # white noise, which codecs keep least exactly
    assert max(gains.values()) <= 1e-9  # nothing is raised, so nothing clips
    before, after = (
        sf.read(io.BytesIO(t.data), dtype="float32")[0][: 3 * encoder.RATE]
        for t in found.tracks[:2]
    )
    lag = np.argmax(np.correlate(after[4800:14400], before[4800 + 50 : 14400 - 50], "valid")) - 50
    assert abs(lag) <= 2  # one time line: switching does not jump


def test_the_page_escapes_names_and_needs_no_sound(matched) -> None:  # type: ignore[no-untyped-def]
    html = matched.report
    assert 'id="player"' in html and "<i>mine" not in html and "&lt;i&gt;mine" in html
    quiet = matched.page(sound=False)
    assert 'id="player"' not in quiet and len(quiet) < 300_000 < len(html) + 300_000
    assert 'id="player"' not in matched._repr_html_()


def test_a_file_that_is_gone_leaves_a_report_without_sound(matched) -> None:  # type: ignore[no-untyped-def]
    for s in matched.sides:
        s.path.unlink()
    assert sound.sound_of(matched) is None
    assert "<h1>" in matched.report and 'id="player"' not in matched.report


def test_arrays_are_heard_too() -> None:
    result = retone.match(noise(2), noise(2, seed=2), sample_rate=RATE)
    found = sound.sound_of(result)
    assert found is not None and len(found.tracks) == 3


def side(role: str, level: np.ndarray, duration_s: float) -> Side:
    audio = noise(duration_s, np.repeat(level, round(duration_s * RATE / len(level)) + 1)[
        : round(duration_s * RATE)])  # fmt: skip
    meter = LevelMeter(RATE, 1)
    meter.update(audio)
    return Side(role, Path(role), RATE, 1, duration_s, meter.result(), None,
                loudness=meter.short_term(), samples=audio)  # fmt: skip


def test_passages_of_a_long_recording_are_its_loudest_a_quiet_and_the_most_changed() -> None:
    minutes = np.full(12, 0.5)  # one value for each 20 s
    minutes[2], minutes[8] = 1.0, 0.2
    after = minutes * 0.5
    after[5] *= 3
    found = sound.passages_of(side("before", minutes, 240.0), side("after", after, 240.0))
    middle = {p.title: (p.start_s + p.stop_s) / 2 for p in found}
    assert 40 <= middle[sound.LOUDEST] <= 60
    assert 160 <= middle[sound.QUIET] <= 180
    assert 100 <= middle[sound.CHANGED] <= 120
    starts = [p.start_s for p in found]
    assert starts == sorted(starts) and all(b - a >= 10 for a, b in zip(starts, starts[1:]))  # noqa: B905


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 39.0, 41.0])
def test_passages_lie_inside_the_recording(seconds: float) -> None:
    for level in (0.0, 1.0):
        both = [side(r, np.array([level]), seconds) for r in ("before", "after")]
        for p in sound.passages_of(*both):
            assert 0 <= p.start_s <= p.stop_s <= seconds + 1e-6


def test_the_limit_on_sound_holds_for_stereo_of_any_length() -> None:
    seconds = 2 * max(sound.WHOLE_S, 3 * sound.PASSAGE_S) + sound.REFERENCE_S
    assert seconds * sound.BIT_RATE[2] / 8 * 4 / 3 < 1.6e6  # base64, in bytes


def test_both_encoders_keep_the_sound() -> None:
    audio = noise(1.0, channels=2)
    for encode in (encoder._by_ffmpeg, encoder._by_sndfile):
        import soxr

        wide = soxr.resample(audio.T, RATE, encoder.RATE)
        read, rate = sf.read(io.BytesIO(encode(wide, 96_000)), dtype="float32")
        assert rate == encoder.RATE and read.shape[1] == 2
        assert abs(loudness_lufs(read.T, rate) - loudness_lufs(audio, RATE)) < 0.5


# --- meters of the pictures --------------------------------------------------------------------


def test_short_term_loudness_is_that_of_the_meter() -> None:
    audio = noise(20.0, np.linspace(0.1, 1, 20 * RATE))
    meter = LoudnessMeter(RATE, 1)
    meter.update(audio)
    time_s, lufs = meter.short_term(points=40)
    assert len(time_s) <= 40 and (np.diff(time_s) > 0).all()
    at = len(time_s) // 2
    part = audio[:, round((time_s[at] - 1.5) * RATE) : round((time_s[at] + 1.5) * RATE)]
    assert lufs[at] == pytest.approx(loudness_lufs(part, RATE), abs=0.3)
    empty = LoudnessMeter(RATE, 1)
    assert empty.short_term()[0].size == 0


def test_stereo_directions_are_where_the_sound_is() -> None:
    mono = noise(1.0)[0]
    zero = np.zeros_like(mono)
    for pair, degrees in (((mono, mono), 0), ((mono, zero), -45), ((zero, mono), 45)):
        meter = StereoMeter(2)
        for first in range(0, len(mono), 777):
            meter.update(np.stack(pair)[:, first : first + 777])
        angle, share = meter.result()  # type: ignore[misc]
        assert share.sum() == pytest.approx(1)
        assert abs(float((angle * share).sum()) - degrees) < 1.5
    meter = StereoMeter(2)
    meter.update(np.stack([mono, -mono]))
    angle, share = meter.result()  # type: ignore[misc]
    assert share[np.abs(angle) > 88].sum() > 0.99
    assert StereoMeter(1).result() is None


@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0])
def test_spectrograms_have_few_columns_and_the_mean_of_the_spectrum(seconds: float) -> None:
    meter = SpectrumMeter(RATE, over_time=True)
    assert meter.spectrogram is not None
    meter.spectrogram = Spectrogram(RATE, meter.segment, columns=8)
    audio = noise(seconds)
    for first in range(0, audio.shape[1], 5000):
        meter.update(audio[:, first : first + 5000])
    picture = meter.spectrogram.result()
    if seconds < 0.2:
        assert picture is None
        return
    assert picture is not None and 1 <= picture.level_db.shape[1] <= 8
    mean = 10 * np.log10((10 ** (picture.level_db / 10)).mean(axis=1))
    f = np.sqrt(picture.frequency_hz[1:] * picture.frequency_hz[:-1])
    wide = f > 500
    third = meter.result(f[wide]) + 10 * math.log10(2)  # from a sixth to a third of an octave
    assert np.abs(mean[wide] - third).mean() < 1.5


def test_every_number_has_an_entry_in_the_legend(matched) -> None:  # type: ignore[no-untyped-def]
    html = matched.report
    for row in re.findall(r"<tr[^>]*>(?:(?!</tr>).)*class=\"num\"(?:(?!</tr>).)*</tr>", html):
        if "<td></td>" not in row:
            assert re.search(r'href="#term-\w+" aria-describedby="about-\w+"', row), row
    for key in set(re.findall(r'aria-describedby="about-(\w+)"', html)):
        assert html.count(f'id="about-{key}"') == html.count(f'id="term-{key}"') == 1
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html.split('<div class="pair">')[-1])
    assert pairs and all("#term-" in name for name, _ in pairs[:8])


def test_the_command_can_leave_the_sound_out(tmp_path: Path) -> None:
    from retone.cli.main import main

    sf.write(tmp_path / "a.wav", noise(2.0)[0], RATE)
    for option, plays in (([], True), (["--no-report-sound"], False)):
        words = ["match", str(tmp_path / "a.wav"), "--preset", "podcast", "--force", "-q",
                 "-o", str(tmp_path / "out.wav"), *option]  # fmt: skip
        assert main(words) == 0
        assert ('id="player"' in (tmp_path / "out.html").read_text()) == plays

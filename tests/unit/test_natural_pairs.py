"""Natural pairs and devices: how pairs are drawn, rows, resuming, tables, the command."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, correlate, sosfilt

from retone.audio import Clip
from retone.errors import DataError
from retone.lab.evaluate import natural
from retone.lab.evaluate.devices import DEVICES, played
from retone.lab.evaluate.natural_page import page, pairs_table, ratio_interval, worse_pairs
from retone.lab.evaluate.natural_rows import ROWS, NaturalRow, Output, SixBands, Untouched, rendered
from retone.lab.evaluate.result import Result, Row
from retone.lab.main import main
from retone.metrics.natural import tone

VOICES, PIECES = 4, 3
SPLIT = "test"


def phrases(seed: int, rate: int, seconds: float) -> np.ndarray:
    """Noise with a spectrum and syllables of its own."""
    rng = np.random.default_rng(seed)
    edge = butter(1, rng.uniform(300.0, 4000.0), "lowpass", fs=rate, output="sos")
    x = sosfilt(edge, rng.standard_normal(int(seconds * rate)))
    level = np.repeat(rng.uniform(-20.0, 0.0, int(4 * seconds) + 1), rate // 4)[: x.size]
    x *= 10 ** (level / 20)
    return 0.3 * x / np.abs(x).max()


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    rows = []
    for i in range(VOICES + PIECES):
        kind, rate = ("speech", 24000) if i < VOICES else ("music", 44100)
        for take in range(2):
            path = f"{kind}{i}_{take}.wav"
            soundfile.write(folder / path, phrases(10 * i + take, rate, 9.0), rate)
            rows.append(
                {"path": path, "source": "made", "speaker": str(i), "licence": "CC0",
                 "author": "-", "split": SPLIT if i != 0 or take else "dev", "kind": kind}
            )  # fmt: skip
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def passages(count: int, kind: str = "speech") -> list[natural.Passage]:
    return [natural.Passage(Path(f"{i}.wav"), f"v{i}", kind) for i in range(count)]


@pytest.mark.parametrize(("voices", "count"), [(2, 2), (9, 20), (44, 44), (26, 40)])
def test_pairs_are_different_and_use_every_voice_alike(voices: int, count: int) -> None:
    pairs = natural.natural_pairs(passages(voices), count, seed=3)
    both = [(p.input.voice, p.reference.voice) for p in pairs]
    assert len(set(both)) == count
    assert all(a != b for a, b in both)
    for side in zip(*both, strict=True):
        used = Counter(side)
        assert max(used.values()) - min(used.get(f"v{i}", 0) for i in range(voices)) <= 1
    assert both == [
        (p.input.voice, p.reference.voice)
        for p in natural.natural_pairs(passages(voices), count, seed=3)
    ]


def test_more_pairs_than_there_are_is_an_error_that_says_how_many() -> None:
    with pytest.raises(DataError, match="3 voices or pieces give 6"):
        natural.natural_pairs(passages(3), 7, seed=0)


def test_one_file_of_each_voice_of_the_split(kit: Path) -> None:
    found = natural.find([("kit", kit)], SPLIT, "speech", seed=1)
    assert [p.voice for p in found] == [f"made/{i}" for i in range(VOICES)]
    assert found[0].path.name == "speech0_1.wav"  # its other file is in dev
    assert found == natural.find([("kit", kit)], SPLIT, "speech", seed=1)
    assert {p.kind for p in natural.find([("kit", kit)], SPLIT, "music", seed=1)} == {"music"}
    with pytest.raises(DataError, match="two voices"):
        natural.find([("kit", kit)], "dev", "speech", seed=1)


def test_devices_get_studio_recordings(kit: Path, tmp_path: Path) -> None:
    found = natural.find([("kit", kit)], SPLIT, "speech", seed=1)
    pairs = natural.device_pairs(found, ["hum"], 9, seed=1)
    assert len(pairs) == 2 * VOICES
    for same, other in zip(pairs[::2], pairs[1::2], strict=True):
        assert same.input == other.input and same.item == other.item
        assert same.reference.path == same.input.path != other.reference.path
        assert same.input.share[1] <= same.reference.share[0]  # no sample is in both
    low = butter(8, 3400, "lowpass", fs=24000, output="sos")
    for i in range(2):
        narrow = sosfilt(low, phrases(i, 24000, 9.0))
        soundfile.write(tmp_path / f"{i}.wav", narrow, 24000, "FLOAT")
    narrow_voices = [natural.Passage(tmp_path / f"{i}.wav", str(i), "speech") for i in range(2)]
    with pytest.raises(DataError, match="full-band"):
        natural.device_pairs(narrow_voices, ["hum"], 1, seed=1)


def test_any_corpus_gives_pairs(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"v{i}").mkdir()
        soundfile.write(tmp_path / f"v{i}" / "a.wav", phrases(i, 8000, 3.5), 8000)
    sides = [{p.voice for p in natural.find([("folder", tmp_path)], s, "speech", 0)}
             for s in natural.SPLITS]  # fmt: skip
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 40


@pytest.mark.parametrize("name", list(DEVICES))
@pytest.mark.parametrize("rate", [24000, 44100])
def test_devices_are_aligned_and_repeatable(name: str, rate: int) -> None:
    if name == "codec" and "MP3" not in soundfile.available_formats():
        pytest.skip("libsndfile writes no MP3")
    x = phrases(5, rate, 6.0).astype(np.float32)
    y, clean = played(name, x, rate, np.random.default_rng(1))
    assert y.shape == clean.shape and y.dtype == np.float32 and np.isfinite(y).all()
    np.testing.assert_array_equal(y, played(name, x, rate, np.random.default_rng(1))[0])
    middle = clean.size - 1
    near = slice(middle - 200, middle + 201)
    late = int(np.argmax(np.abs(correlate(y, clean, method="fft")[near]))) - 200
    assert abs(late) <= 0.0003 * rate
    if name == "gaps":
        assert np.sum(y == 0) >= 16 * rate
        assert y[y != 0].size == x[x != 0].size


def test_a_badly_set_equaliser_changes_the_tone_by_up_to_its_gains() -> None:
    click = np.zeros(48000)
    click[0] = 1.0
    spreads: dict[str, list[float]] = {"equalizer": [], "strong-equalizer": []}
    for name, found in spreads.items():
        for seed in range(20):
            out = DEVICES[name](click, 24000, np.random.default_rng(seed))
            found.append(float(np.std(20 * np.log10(np.abs(np.fft.rfft(out)[200:20000])))))
    once, twice = (np.array(v) for v in spreads.values())
    assert np.all((once > 1) & (once < 12)) and np.unique(once.round(3)).size == 20
    np.testing.assert_allclose(twice, 2 * once, rtol=0.35)


@dataclass(frozen=True)
class Late:
    """The input with ``extra`` samples more or fewer at its end."""

    extra: int

    def run(self, input: Clip, reference: Clip) -> Output:
        longer = np.pad(input.samples, ((0, 0), (0, max(self.extra, 0))))
        return Output(longer[:, : min(self.extra, 0) or None], 1.0)


@pytest.mark.parametrize("extra", [-100, 0, 100])
def test_outputs_are_as_long_as_the_input(extra: int) -> None:
    clip = Clip(phrases(6, 24000, 1.0)[None], 24000)
    found = rendered(Late(extra), clip, clip)
    assert found.audio.shape == clip.samples.shape and found.seconds == 1.0


def test_six_bands_bring_the_tone_nearer() -> None:
    own, other = (Clip(phrases(s, 24000, 8.0)[None].astype(np.float32), 24000) for s in (7, 8))
    out = rendered(SixBands(), own, other).audio
    levels = [natural.third_octave_levels_db(x, 24000) for x in (own.samples, out, other.samples)]
    found = tone(*levels)
    assert found.after_db < 0.5 * found.before_db


def row(item: int, before: float, after: float, **more: float) -> Row:
    values = {"tone_before": before, "tone_after": after, "apart": 10.0, "right": 8.0,
              "worse": 1.0, "cpu_s": 0.1, **more}  # fmt: skip
    return Row(item, f"v{item}", "speech", "closed-form", values)


def test_a_recording_left_alone_is_not_worse_by_rounding() -> None:
    assert worse_pairs([row(0, 2.0, 2.0 + 1e-7), row(1, 2.0, 2.01)]) == (1, 2)


def test_tables_count_what_a_user_would_notice() -> None:
    rows = [
        row(0, 4.0, 2.0, dnsmos_before=3.0, dnsmos_after=2.8, notes=0, boost=3.0),
        row(1, 4.0, 2.0, dnsmos_before=3.0, dnsmos_after=2.7, notes=1, boost=0.2),
        row(2, 2.0, 2.5, dnsmos_before=3.0, dnsmos_after=3.1, notes=0, floor=2.0),
    ]
    assert worse_pairs(rows) == (1, 3)
    low, high = (float(v) for v in ratio_interval(rows, "tone").strip(" []").split(","))
    assert low < 6.5 / 10 < high
    assert ratio_interval([row(0, 4.0, 4.0)], "tone") == ""
    text = pairs_table(Result({}, {}, rows), "speech")
    for part in ("x0.65", "1 of 3 (33 %)", "80.0 %", "3 of 30", "3.0, 1 of 2 above 1", "+2.0",
                 "worst -0.30, 2 fall by more than 0.1, 1 of them without a note"):  # fmt: skip
        assert part in text


def test_the_command_measures_resumes_and_writes_the_page(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ROWS, "peer", NaturalRow("a peer", lambda k: Untouched(), "no_such_peer"))
    results = tmp_path / "docs" / "results"
    results.mkdir(parents=True)
    words = ["evaluate", "natural", "--corpus", f"kit={kit}", "--split", SPLIT, "--no-quality"]
    words += ["--speech-pairs", "3", "--music-pairs", "2", "-o", str(results / "natural_a.json")]
    assert main([*words, "--rows", "input"]) == 0
    first = Result.load(results / "natural_a.json")
    assert len(first.rows) == 5
    assert main([*words, "--rows", "input", "six-band", "peer"]) == 0
    shown = capsys.readouterr().out
    assert "| a peer | not measured |" in shown and "no_such_peer is not installed" in shown
    result = Result.load(results / "natural_a.json")
    assert [r.method for r in result.rows] == ["Input", ROWS["six-band"].label] * 5
    assert result.rows[0].values == first.rows[0].values
    assert result.provenance.items() > first.provenance.items()
    made = result.provenance[ROWS["six-band"].label]
    assert result.provenance == first.provenance | {ROWS["six-band"].label: made}
    assert made == {key: first.provenance[key] for key in ("command", "commit", "date")}
    same = [r.values for r in result.rows if r.method == "Input"]
    assert all(
        v["tone_before"] == v["tone_after"] and v["floor"] == 0 for v in same if "floor" in v
    )
    six = [r for r in result.rows if r.method != "Input"]
    assert worse_pairs(six) == (0, 5)
    assert "0 of 3 (0 %)" in pairs_table(result, "speech")

    words = [w.replace("natural_a", "natural_b") for w in words]
    words += ["--table", "devices", "--devices", "hum", "gaps", "--voices", "2"]
    assert main([*words, "--rows", "input", "six-band"]) == 0
    devices = Result.load(results / "natural_b.json")
    assert len(devices.rows) == 2 * 2 * 2 * 2
    gaps = [r for r in devices.rows if r.case.startswith("gaps") and r.method == "Input"]
    assert all(r.values["truth_before"] == pytest.approx(0.0, abs=1e-6) for r in gaps)

    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "natural-docs"]) == 0
    text = (tmp_path / "docs" / "natural.md").read_text()
    assert text == page([result, devices])
    assert f"retone {first.provenance['retone']}, {first.provenance['date']}." in text
    made["date"] = "2100-01-31"
    assert f"{first.provenance['date']} ({ROWS['six-band'].label}: 2100-01-31)." in page([result])
    for part in ("## Speech: kit, test", "## Music: kit, test", "### Reference by the same voice"):
        assert part in text


def test_without_recordings_the_command_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RETONE_SHARED", raising=False)
    assert main(["evaluate", "natural"]) == 2
    assert "needs recordings" in capsys.readouterr().err

"""The CLAP and LV2 plug-ins render what ``retone apply`` renders, and behave as hosts expect."""

from __future__ import annotations

import locale
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from plugin_cases import (
    EFFECTS,
    SAME_DB,
    clap_text,
    music,
    rendered,
    residual_db,
    settings_of,
)

import retone
from retone.core import build, plugin_library
from retone.effects.native import GAIN, NATIVE_CHAINS
from retone.exports.base import write_exported
from retone.exports.clap_host import ClapPlugin
from retone.exports.install import install, write_lv2
from retone.exports.lv2 import TARGET as LV2
from retone.exports.native import stable_id, symbol, uri
from retone.exports.native_table import c_source
from retone.exports.plan import plan_of
from retone.exports.verify import own_render
from retone.process.settings_file import SettingsFile

NAMES = tuple(EFFECTS)
CHAINS = {c.name: c for c in NATIVE_CHAINS}
RATE = 48000


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plugin(name: str) -> Iterator[ClapPlugin]:
    with ClapPlugin(plugin_library(), name, 2) as made:
        yield made


def id_of(name: str, parameter: str) -> int:
    return stable_id(CHAINS[name].table[parameter])


# -- the same audio ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "block", "channels", "seed"),
    [(8000, 64, 1, 0), (22050, 7, 2, 1), (44100, 512, 2, 2), (48000, 8192, 1, 3),
     (48000, 1, 2, 4), (96000, 63, 2, 5), (192000, 1024, 1, 6)],
)  # fmt: skip
def test_clap_renders_what_apply_renders(
    name: str, rate: int, block: int, channels: int, seed: int
) -> None:
    settings = settings_of(name, seed)
    audio = music(0.25 if block == 1 else 1.0, rate, channels, seed)
    found = rendered(settings, name, audio, rate, block)
    assert residual_db(found, own_render(settings, audio, rate)) < SAME_DB


def test_equal_to_the_command(name: str) -> None:
    """``apply`` warms its dynamics up; after a second of silence both have settled."""
    settings = settings_of(name, 7)
    quick = {n: 60.0 for n in settings.setting if n.endswith("release_ms")}
    settings = SettingsFile(
        settings.effect, {**settings.setting, **quick}, RATE, "test", level_plan=settings.level_plan
    )
    audio = np.pad(music(1.0, RATE, 2), ((0, 0), (RATE, 0)))
    wanted = retone.apply(audio, settings, sample_rate=RATE, true_peak_dbtp=None).audio
    found = rendered(settings, name, audio, RATE, 512)
    assert residual_db(found[:, RATE:], np.asarray(wanted, np.float64)[:, RATE:]) < SAME_DB


@pytest.mark.parametrize(
    ("program", "channels"), [("lv2apply", 1), ("lv2apply", 2), ("lv2proc", 2)]
)
def test_lv2_renders_what_apply_renders(
    name: str, program: str, channels: int, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    settings = settings_of(name, 11, gain_db=-24.0)  # lv2proc clips
    audio = music(0.5, RATE, channels)
    wanted = own_render(settings, audio, RATE)
    if program == "lv2apply":
        text = LV2.write(plan_of(settings)).text
        found = LV2.render(text, audio, RATE, tmp_path)
    else:
        found = by_lv2proc(settings, name, audio, tmp_path)
    assert residual_db(found, wanted) < SAME_DB


def by_lv2proc(settings: SettingsFile, name: str, audio: np.ndarray, folder: Path) -> np.ndarray:
    """In blocks of 100 frames; it has no presets, so the values are given one by one."""
    import soundfile

    write_lv2(folder)
    soundfile.write(folder / "in.wav", audio.T, RATE, "FLOAT")
    values = {n.replace(".", "_"): v for n, v in settings.setting.items()}
    values[GAIN.replace(".", "_")] = settings.level_plan.gain_db  # type: ignore[union-attr]
    words = [w for n, v in values.items() for w in ("-c", f"{n}:{v}")]
    subprocess.run(
        ["lv2proc", "-i", "in.wav", "-o", "out.wav", "-n", "100", *words,
         uri(CHAINS[name], audio.shape[0])],
        cwd=folder, env={"LV2_PATH": f"{folder}:/usr/lib/lv2"}, check=True, capture_output=True,
    )  # fmt: skip
    found = soundfile.read(folder / "out.wav", dtype="float64", always_2d=True)[0].T
    return found[:, : audio.shape[1]]


def test_same_buffers_for_input_and_output(plugin: ClapPlugin, name: str) -> None:
    audio = music(0.2, RATE, 2)
    plugin.load_state(clap_text(settings_of(name, 1)))
    plugin.activate(RATE)
    apart = plugin.process(audio)
    plugin.reset()
    assert np.array_equal(plugin.process(audio, in_place=True), apart)


# -- automation -------------------------------------------------------------------------------


def test_automation_does_not_depend_on_the_blocks(plugin: ClapPlugin, name: str) -> None:
    audio = music(0.5, RATE, 2)
    table = CHAINS[name].table
    rng = np.random.default_rng(5)
    places = sorted(int(n) for n in rng.integers(0, audio.shape[1], 60))
    changes = []
    for n in places:
        p = table.params[int(rng.integers(len(table)))]
        changes.append((n, stable_id(p), float(rng.uniform(p.low, p.high))))
    found = []
    for block in (1, 17, 512, 8192):
        plugin.load_state(clap_text(settings_of(name, 2)))
        plugin.activate(RATE)
        found.append(plugin.process(audio, block, changes))
    assert all(np.array_equal(f, found[0]) for f in found[1:])
    assert np.isfinite(found[0]).all()


@pytest.mark.parametrize("parameter", ["gain", "band", "makeup"])
def test_a_change_starts_at_its_sample_and_ends_without_a_click(
    plugin: ClapPlugin, name: str, parameter: str
) -> None:
    full = {
        "gain": GAIN, "band": "equalizer.peak_2_gain_db",
        "makeup": {"retone-match": "compressor.makeup_db"}.get(name, "multiband.band_3_gain_db"),
    }[parameter]  # fmt: skip
    neutral = "\n".join(f"{n} = {float(v[0])}" for n, v in CHAINS[name].table.neutral(1).items())
    start, hz = 10000, 1000.0
    audio = (
        np.sin(2 * np.pi * hz * np.arange(RATE) / RATE).astype(np.float32)[None].repeat(2, 0) / 4
    )
    state = f"{name} 1\n{neutral}\n".encode()

    def run(changes: list[tuple[int, int, float]]) -> np.ndarray:
        assert plugin.load_state(state)
        plugin.activate(RATE)
        return plugin.process(audio, 256, changes).astype(np.float64)

    still = run([])
    moved = run([(start, id_of(name, full), 12.0)])
    loud = run([(0, id_of(name, full), 12.0)])
    assert np.array_equal(moved[:, :start], still[:, :start])
    assert not np.array_equal(moved[:, start : start + 8], still[:, start : start + 8])
    settled = start + round(0.1 * RATE)
    assert residual_db(moved[:, settled:], loud[:, settled:]) < -100
    # a click is a corner: the largest second difference is hardly larger than the loud sine's own
    corner = np.abs(np.diff(moved, 2)).max()
    assert corner < 1.1 * np.abs(np.diff(loud[:, settled:], 2)).max()


def test_values_beyond_their_range_are_held(plugin: ClapPlugin, name: str) -> None:
    plugin.activate(RATE)
    for p in CHAINS[name].table:
        for given, held in ((p.high + 1e6, p.high), (-1e9, p.low), (math.nan, p.default)):
            plugin.process(music(0.01, RATE, 2), 64, [(0, stable_id(p), given)])
            assert plugin.value(stable_id(p)) == held


# -- life -------------------------------------------------------------------------------------


def test_reset_and_another_rate_start_from_silence(plugin: ClapPlugin, name: str) -> None:
    plugin.load_state(clap_text(settings_of(name, 3)))
    audio = music(0.2, RATE, 2)
    plugin.activate(RATE)
    first = plugin.process(audio)
    assert not np.array_equal(plugin.process(audio), first)  # it has a memory
    plugin.reset()
    assert np.array_equal(plugin.process(audio), first)
    plugin.activate(44100)
    other = plugin.process(audio)
    assert not np.array_equal(other, first)
    plugin.activate(RATE)
    assert np.array_equal(plugin.process(audio), first)
    assert plugin.latency() == 0


@pytest.mark.parametrize("fault", [math.nan, math.inf, 3e38])
def test_a_fault_in_the_input_does_not_last(plugin: ClapPlugin, name: str, fault: float) -> None:
    plugin.load_state(clap_text(settings_of(name, 4)))
    plugin.activate(RATE)
    audio = music(1.0, RATE, 2)
    audio[0, 5000] = fault
    out = plugin.process(audio, 256)
    assert np.isfinite(out).all()
    assert np.abs(out[:, -RATE // 4 :]).max() > 1e-4


def test_silence_after_sound_costs_no_more_and_holds_no_denormals(
    plugin: ClapPlugin, name: str
) -> None:
    plugin.load_state(clap_text(settings_of(name, 5)))
    plugin.activate(RATE)
    noise, silence = music(1.0, RATE, 2), np.zeros((2, RATE), np.float32)

    def cost(audio: np.ndarray) -> tuple[float, np.ndarray]:
        begin = time.thread_time()
        out = plugin.process(audio, 4096)
        return time.thread_time() - begin, out

    loud = min(cost(noise)[0] for _ in range(3))
    quiet = []
    for _ in range(6):
        spent, out = cost(silence)
        quiet.append(spent)
        assert not ((out != 0) & (np.abs(out) < np.finfo(np.float32).tiny)).any()
    assert min(quiet[3:]) < 3 * loud


def test_audio_thread_allocates_locks_and_calls_nothing(tmp_path: Path) -> None:
    """A C host counts allocations and locks; then seccomp ends it at the first system call."""
    if not sys.platform.startswith("linux"):
        pytest.skip("uses Linux's seccomp")
    program = tmp_path / "audio_thread"
    source = Path(__file__).with_name("audio_thread.c")
    try:
        words = build.compiler()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    subprocess.run([*words, "-O1", "-rdynamic", "-o", program, source, "-ldl"], check=True)
    done = subprocess.run([program, plugin_library()], capture_output=True, text=True, check=False)
    if done.returncode == 5:
        pytest.skip("malloc cannot be counted, or seccomp is not available, on this machine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no allocation, no lock, no system call") == 4


# -- parameters, state and presets ------------------------------------------------------------


def test_c_table_is_made_from_the_parameter_tables() -> None:
    made = (build.FOLDER / "plugin" / "parameters.c").read_text(encoding="utf-8")
    assert made == c_source(), "run: python scripts/make_plugins.py --table"


def test_parameters_are_those_of_the_tables(plugin: ClapPlugin, name: str) -> None:
    table = CHAINS[name].table
    assert [i.id for i in plugin.infos] == [stable_id(p) for p in table]
    assert len({i.id for i in plugin.infos}) == len(table)
    for info, p in zip(plugin.infos, table, strict=True):
        assert (info.low, info.high, info.default) == (p.low, p.high, p.default)
        assert plugin.value(info.id) == p.default
        shown = plugin.text(info.id, p.default)
        assert shown.endswith(p.unit)
        assert plugin.from_text(info.id, shown) == pytest.approx(p.default, rel=0.01, abs=0.01)
    assert plugin.from_text(id_of(name, "equalizer.peak_1_frequency_hz"), "1.5 kHz") == 1500
    assert plugin.from_text(plugin.infos[0].id, "loud") is None


def test_state_survives(plugin: ClapPlugin, name: str) -> None:
    settings = settings_of(name, 8)
    assert plugin.load_state(clap_text(settings))
    for full, value in settings.setting.items():
        assert plugin.value(id_of(name, full)) == value
    saved = plugin.save_state()
    plugin.flush([(0, i.id, i.low) for i in plugin.infos])
    assert plugin.load_state(saved)
    assert plugin.save_state() == saved
    assert not plugin.load_state(b"something else")
    assert not plugin.load_state(b"x" * 100_000)
    assert plugin.save_state() == saved


@pytest.fixture
def decimal_comma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A locale that writes numbers with a comma, as hosts set it."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"],
        capture_output=True, check=False,
    )  # fmt: skip
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
    except locale.Error:
        pytest.skip(f"no locale with a decimal comma: {made.stderr.decode()}")
    yield
    locale.setlocale(locale.LC_NUMERIC, before)


def test_state_has_a_decimal_point_in_every_locale(
    plugin: ClapPlugin, name: str, decimal_comma: None
) -> None:
    settings = settings_of(name, 9)
    assert plugin.load_state(clap_text(settings))
    saved = plugin.save_state()
    assert b"," not in saved
    assert plugin.load_state(saved)
    for full, value in settings.setting.items():
        assert plugin.value(id_of(name, full)) == value


def test_a_state_of_another_version(plugin: ClapPlugin, name: str) -> None:
    """Unknown names are skipped; missing ones get their default."""
    p = CHAINS[name].table.params[0]
    text = f"{name} 1\r\nfuture.value = 7\r\n  {p.name}=-2.5e0\n"
    assert plugin.load_state(text.encode())
    assert plugin.value(stable_id(p)) == -2.5
    assert all(plugin.value(i.id) == i.default for i in plugin.infos[1:])


def test_preset_files_open(plugin: ClapPlugin, name: str, tmp_path: Path) -> None:
    settings = settings_of(name, 10)
    path = tmp_path / "räume.retone-preset"
    path.write_bytes(clap_text(settings))
    assert plugin.load_preset(path)
    assert plugin.value(id_of(name, GAIN)) == -6.0
    assert not plugin.load_preset(tmp_path / "none")


def test_lv2_bundle_and_preset_are_valid(name: str, tmp_path: Path) -> None:
    if shutil.which("sord_validate") is None or shutil.which("lv2_validate") is None:
        pytest.skip("sord_validate and lv2_validate are not installed")
    bundle, _, _ = install(tmp_path / "lv2", tmp_path / "clap")
    preset = tmp_path / "voice.lv2"
    write_exported(LV2.write(plan_of(settings_of(name, 12))), preset, inside=LV2.inside)
    files = [str(p) for folder in (bundle, preset) for p in folder.glob("*.ttl")]
    done = subprocess.run(["lv2_validate", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Found 0 errors" in done.stdout + done.stderr, done.stderr


def test_lv2_hosts_find_plugins_and_presets(name: str, tmp_path: Path) -> None:
    if shutil.which("lv2info") is None:
        pytest.skip("lv2info is not installed")
    settings = settings_of(name, 13)
    write_lv2(tmp_path)
    write_exported(LV2.write(plan_of(settings)), tmp_path / "voice.lv2", inside=LV2.inside)
    for channels in (1, 2):
        found = subprocess.run(
            ["lv2info", uri(CHAINS[name], channels)], capture_output=True, text=True, check=True,
            env={"LV2_PATH": f"{tmp_path}:/usr/lib/lv2"},
        ).stdout  # fmt: skip
        assert found.count("Symbol:") == 2 * channels + len(CHAINS[name].table)
        assert all(f"Symbol:      {symbol(p)}\n" in found for p in CHAINS[name].table)
        assert "settings" in found.partition("Presets:")[2].partition("Port 0")[0]

"""Settings, signals and measures that the tests of plug-ins and of live processing share."""

from __future__ import annotations

import numpy as np
import torch

from retone.dsp.param import tidy_setting, to_numbers
from retone.effects import ENHANCE_CHAIN, SOUND_CHAIN, Chain
from retone.exports.clap_host import ClapPlugin
from retone.process.settings_file import LevelPlan, SettingsFile

EFFECTS: dict[str, Chain] = {"retone-match": SOUND_CHAIN, "retone-enhance": ENHANCE_CHAIN}
SAME_DB = -120.0


def settings_of(name: str, seed: int, rate: int = 48000, gain_db: float = -6.0) -> SettingsFile:
    """Random settings of a plug-in's effects over the whole ranges, rounded as retone does."""
    effect = EFFECTS[name]
    drawn = effect.params.sample(1, torch.Generator().manual_seed(seed))
    values = to_numbers(tidy_setting(effect.params, drawn))
    return SettingsFile(effect, values, rate, "test", level_plan=LevelPlan(gain_db=gain_db))


def music(seconds: float, rate: int, channels: int, seed: int = 0) -> np.ndarray:
    """Noise of changing level with tones, [C, T] float32, peaks below 1."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    level = 10 ** (-1.5 + 1.2 * np.sin(2 * np.pi * 3 * t))
    tones = sum(np.sin(2 * np.pi * f * t) for f in (110, 1234, 0.3 * rate))
    rows = [level * (rng.standard_normal(len(t)) + tones) for _ in range(channels)]
    return (0.05 * np.stack(rows)).astype(np.float32)


def residual_db(found: np.ndarray, wanted: np.ndarray) -> float:
    """RMS of the difference relative to the wanted signal, in dB."""
    assert found.shape == wanted.shape
    difference = np.sqrt(np.mean((found.astype(np.float64) - wanted) ** 2))
    return float(20 * np.log10(max(difference / np.sqrt(np.mean(wanted**2)), 1e-12)))


def clap_text(settings: SettingsFile) -> bytes:
    """The settings as a CLAP plug-in's state."""
    from retone.exports import target_named
    from retone.exports.plan import plan_of

    return target_named("clap").write(plan_of(settings)).text.encode()


def rendered(
    settings: SettingsFile, name: str, audio: np.ndarray, rate: int, block: int
) -> np.ndarray:
    """The CLAP plug-in's output."""
    from retone.core import plugin_library

    with ClapPlugin(plugin_library(), name, audio.shape[0]) as plugin:
        assert plugin.load_state(clap_text(settings))
        plugin.activate(rate)
        return plugin.process(audio, block)

"""The main job in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from retone.errors import SettingError
from retone.estimators.base import Estimator
from retone.estimators.choose import estimator_named
from retone.estimators.profile import Profile
from retone.presets import Preset, open_preset
from retone.process.decide import Matcher, MatchResult, Options
from retone.process.render import output_beside
from retone.process.settings_file import SettingsFile
from retone.progress import Progress, silent


def match(
    source: str | Path,
    to: str | Path | Sequence[str | Path] | None = None,
    output: str | Path | None = None,
    *,
    preset: str | Path | Preset | None = None,
    amount: float = 1.0,
    part: str = "all",
    locks: Mapping[str, float] | None = None,
    loudness: str | float = "match",
    true_peak_dbtp: float | None = -1.0,
    estimator: Estimator | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> MatchResult:
    """Make a recording sound like another one and write the result.

    Args:
        source: recording to change; any length, 8-192 kHz, any number of channels.
        to: recording(s) that sound right; several are averaged.
        output: where to write; its extension decides the container. None writes beside the
            source: ``voice.matched.wav``.
        preset: instead of ``to``: a preset, its name or its file (``retone.presets``).
        amount: 0 leaves every sample as it is, 1 is the whole change.
        part: ``"all"``, ``"eq"`` or ``"dynamics"``.
        locks: parameters that keep a value: ``{"compressor.ratio": 2.0}``.
        loudness: ``"match"``, ``"off"`` or a target in LUFS.
        true_peak_dbtp: ceiling of the true peak, None for no limiter.
        estimator: what chooses the settings; None takes the default.
        force: replace an existing output.
        progress: called with seconds done and in all.

    Returns:
        Settings, measured levels and spectra; ``result.decision.setting`` holds the values.

    Raises:
        AudioError: a recording cannot be read, used or written.
        SettingError: an option or a lock is not possible, or no preset has that name.
        DataError: a preset's file is damaged.
    """
    if (to is None) == (preset is None):
        raise SettingError("match: give either 'to' (recordings) or 'preset' (a name or a file).")
    references: list[Path | Profile]
    if preset is not None:
        known = preset if isinstance(preset, Preset) else open_preset(preset)
        references = [known.profile]
    else:
        paths = [to] if isinstance(to, (str, Path)) else list(to or ())
        references = [Path(p) for p in paths]
    options = Options(amount, part, dict(locks or {}), loudness, true_peak_dbtp)
    return Matcher(estimator or estimator_named(None)).match(
        Path(source),
        references,
        Path(output) if output is not None else output_beside(Path(source), "matched"),
        options,
        force=force,
        progress=progress,
    )


def open_settings(path: str | Path) -> SettingsFile:
    """Read a settings file that ``retone match`` wrote.

    Raises:
        DataError: the file is missing or damaged.
        SettingError: a parameter is unknown or out of range.
    """
    return SettingsFile.read(Path(path))

"""The main job in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from retone.estimators.base import Estimator
from retone.estimators.choose import estimator_named
from retone.matcher import Matcher, MatchResult, Options
from retone.progress import Progress, silent
from retone.report.settings import SettingsFile


def match(
    source: str | Path,
    to: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
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
        output: where to write; its extension decides the container.
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
        SettingError: an option or a lock is not possible.
    """
    references = [to] if isinstance(to, (str, Path)) else list(to)
    options = Options(amount, part, dict(locks or {}), loudness, true_peak_dbtp)
    return Matcher(estimator or estimator_named(None)).match(
        Path(source),
        [Path(r) for r in references],
        Path(output),
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

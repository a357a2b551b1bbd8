"""Doing again, to any recording, what a settings file says."""

from __future__ import annotations

from pathlib import Path

from retone.audio import open_reader
from retone.process.render import (
    Decision,
    MatchResult,
    Observe,
    Options,
    check_output,
    check_writable,
    render_file,
)
from retone.process.settings_file import SettingsFile
from retone.progress import Progress, silent


def apply_settings(
    source: Path,
    output: Path,
    settings: SettingsFile,
    *,
    amount: float | None = None,
    loudness: str | float | None = None,
    true_peak: str | float | None = "file",
    force: bool = False,
    progress: Progress = silent,
    observe: Observe | None = None,
) -> MatchResult:
    """Render a recording with a settings file.

    Args:
        source: recording to change; any rate and channel count.
        output: where to write.
        settings: what ``SettingsFile.from_json`` read.
        amount: instead of the file's.
        loudness: a target in LUFS or ``"off"``; None takes the gain that the file holds, or, with
            another amount than the file's, goes that share of the way to the file's target.
        true_peak: ceiling in dBTP, None for no limiter, ``"file"`` for the file's own.

    Raises:
        AudioError: a recording cannot be read or written.
        SettingError: the settings hold a FIR filter made for another sample rate.
    """
    check_output((source,), output, force)
    plan = settings.level_plan
    ceiling = (plan.ceiling_dbtp if plan else None) if true_peak == "file" else true_peak
    target = float(loudness) if isinstance(loudness, (int, float)) else None
    gain_db = None
    if loudness is None:
        target = plan.target_lufs if plan else None
        if target is None or amount in (None, settings.amount):  # else the gain is another one
            gain_db = plan.gain_db if plan else 0.0
    options = Options(
        amount=settings.amount if amount is None else amount,
        locks=dict(settings.locks),
        loudness="off" if target is None else "match" if loudness is None else target,
        true_peak_dbtp=None if ceiling is None else float(ceiling),
    )
    with open_reader(source) as reader:
        check_writable(reader, output, force)
        effect = settings.effect_at(reader.info.sample_rate)
        own = any(s.role == "input" and s.file == source.name for s in settings.sources)
        notes = settings.notes if own else ()  # they speak of the recording that was heard
        decision = Decision(effect, effect.params.setting(settings.setting), notes)
        return render_file(
            reader,
            source,
            output,
            decision,
            options,
            estimator=settings.estimator,
            target_lufs=target,
            gain_db=gain_db,
            warnings=[],
            force=force,
            progress=progress,
            observe=observe,
        )

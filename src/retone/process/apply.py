"""Apply a settings file to a recording."""

from __future__ import annotations

from retone.audio.reader import AudioInfo
from retone.errors import SettingError
from retone.process.result import Decision, Options
from retone.process.settings_file import SettingsFile


def decision_of(
    settings: SettingsFile,
    info: AudioInfo,
    *,
    amount: float | None = None,
    loudness: str | float | None = None,
    true_peak_dbtp: str | float | None = "file",
) -> tuple[Decision, Options]:
    """The decision in a settings file, ready to be rendered.

    Args:
        settings: the settings file.
        info: properties of the recording; any sample rate and channel count.
        amount: 0 to 1; None takes the file's.
        loudness: a target in LUFS or ``"off"``; None takes the gain in the file or, with another
            amount, moves the loudness that share of the way to the file's target.
        true_peak_dbtp: ceiling in dBTP, None for no limiter, ``"file"`` for the file's ceiling.

    Raises:
        SettingError: an option is out of range, or the settings hold a FIR filter made for another
            sample rate.
    """
    plan = settings.level_plan
    own_ceiling = plan.ceiling_dbtp if plan else None
    ceiling = own_ceiling if true_peak_dbtp == "file" else true_peak_dbtp
    if isinstance(loudness, str) and loudness != "off":
        raise SettingError(f"loudness = {loudness!r}: expected 'off' or a target in LUFS.")
    target = None if loudness is None or isinstance(loudness, str) else float(loudness)
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
    effect = settings.effect_at(info.sample_rate)
    own = any(s.role == "input" and s.file == info.path.name for s in settings.sources)
    decision = Decision(
        effect,
        effect.params.setting(settings.setting),
        estimator=settings.estimator,
        strength=settings.strength,
        target_lufs=target,
        gain_db=gain_db,
        notes=settings.notes if own else (),  # they are about the recording that was analysed
    )
    return decision, options

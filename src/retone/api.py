"""retone's functions for files and arrays: match, enhance, apply, decide, export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.audio.clip import Clip
from retone.audio.formats import OutputFormat
from retone.audio.reader import AudioReader
from retone.audio.resampled import at_sample_rate
from retone.errors import ArgumentError, SettingError, expect_number
from retone.estimators.base import Estimator
from retone.estimators.choose import estimator_named
from retone.estimators.profile import Profile
from retone.presets import AUTO, Preset, open_preset
from retone.process import decide as deciding
from retone.process.apply import decision_of
from retone.process.arguments import check_kinds
from retone.process.excerpt import content_of_recording
from retone.process.level import SPEECH_LUFS
from retone.process.recording import open_recording, recording_of
from retone.process.render import (
    check_output,
    check_writable,
    output_beside,
    render_to_array,
    render_to_file,
)
from retone.process.result import Decision, Options
from retone.process.settings_file import SettingsFile
from retone.progress import Progress, silent
from retone.report.result import Result

if TYPE_CHECKING:
    from retone.estimators.matching import DynamicsKind, EqKind, StereoKind

Audio = Any
"""A path (``str`` or ``Path``), or a NumPy array or torch tensor: [T] or [C, T], float32 or
float64, full scale is 1."""


def match(
    input: Audio = None,
    to: Audio | Sequence[Audio] | None = None,
    output: str | Path | None = None,
    *,
    sample_rate: int | None = None,
    preset: str | Path | Preset | None = None,
    amount: float = 1.0,
    strength: float | None = None,
    eq: EqKind = "bands",
    eq_phase: str | None = None,
    eq_smooth_octaves: float = 0.0,
    eq_range_hz: Sequence[float] | None = None,
    dynamics: DynamicsKind = "broadband",
    stereo: StereoKind = "linked",
    part: str = "all",
    locks: Mapping[str, float] | None = None,
    loudness: str | float = "match",
    true_peak_dbtp: float | None = -1.0,
    mono_as: str = "dual",
    estimator: Estimator | str | None = None,
    force: bool = False,
    output_format: OutputFormat | None = None,
    progress: Progress = silent,
    source: Audio = None,
) -> Result:
    """Make a recording sound like another one.

    Args:
        input: recording to change: a path, or an array or tensor [T] or [C, T]; any length,
            8-384 kHz, 1-64 channels.
        to: reference recording(s) of the same kinds; several (in a list) are averaged.
        output: where to write; its extension decides the container. None writes next to an input
            file (``voice.matched.wav``) and writes no file for an array.
        sample_rate: sample rate of the arrays in Hz; not for paths.
        preset: a preset, its name or its file (``retone.presets``), instead of ``to``; ``"auto"``
            is the default preset for speech or for music, whichever the recording holds.
        amount: 0 leaves every sample unchanged, 1 applies the full change.
        strength: what to match: 0 only the reference's processing, 1 its whole sound, its tone and
            dynamics; None is ``retone.estimators.matching.STRENGTH`` (0 for presets).
        eq: ``"bands"``, six bands, or ``"curve"``, a smooth curve with a gain per third octave.
        eq_phase: of the curve: ``"minimum"`` (None) or ``"linear"``.
        eq_smooth_octaves: width over which the curve is smoothed, 0 to 3 octaves.
        eq_range_hz: lowest and highest frequency that the curve changes; None for 20 to 20000.
        dynamics: ``"broadband"``, one compressor, or ``"multiband"``, six bands in front of it that
            follow the reference's dynamics octave by octave.
        stereo: ``"linked"``, both channels alike, or ``"mid-side"``, the tone of mid and side
            apart, and the width.
        part: ``"all"``, ``"eq"`` or ``"dynamics"``.
        locks: fixed values of parameters by name: ``{"compressor.ratio": 2.0}``.
        loudness: ``"match"``, ``"off"`` or a target in LUFS.
        true_peak_dbtp: true-peak ceiling in dBTP, None for no limiter.
        mono_as: where mono meets stereo: ``"dual"``, mono is played by two loudspeakers, or
            ``"single"``.
        estimator: another estimator of the settings, or its name; None is
            ``retone.estimators.matching.Matching``, which ``strength``, ``eq``, ``dynamics`` and
            ``stereo`` are for.
        force: replace an existing output.
        output_format: format, bit depth and sample rate of the output
            (``retone.audio.OutputFormat``), where its name and the input do not decide.
        progress: called with (phase, done, total), see ``retone.progress``.
        source: former name of ``input``.

    Returns:
        Audio, settings, measured levels and report; ``result.decision.setting`` holds the values.

    Raises:
        AudioError: a recording cannot be read, used or written.
        SettingError: an option or a lock is invalid, or no preset has that name.
        DataError: a preset's file is damaged.
        ArgumentError: an argument is of another kind, or an array has no sample rate, or a path
            has one.
    """
    check_kinds(
        locals(),
        ("output", "preset", "strength", "eq_phase", "eq_range_hz", "locks", "true_peak_dbtp",
         "estimator", "output_format"),
    )  # fmt: skip
    input = _renamed(input, source)
    options = Options(amount, part, dict(locks or {}), loudness, true_peak_dbtp, mono_as=mono_as)
    recording, references = _recordings("match", input, to, preset, sample_rate)
    chosen = _estimator(
        estimator, strength, eq, eq_phase, eq_smooth_octaves, eq_range_hz, dynamics, stereo
    )
    return _transfer(
        recording, references, output, "matched", options, chosen, force, output_format, progress,
        {preset: "the preset"} if isinstance(preset, (str, Path)) else {},
    )  # fmt: skip


def enhance(
    input: Audio,
    output: str | Path | None = None,
    *,
    sample_rate: int | None = None,
    weights: str | Path | None = None,
    amount: float = 1.0,
    locks: Mapping[str, float] | None = None,
    loudness: str | float | None = None,
    true_peak_dbtp: float | None = -1.0,
    force: bool = False,
    output_format: OutputFormat | None = None,
    progress: Progress = silent,
) -> Result:
    """Make a speech recording sound as if made in a studio, without a reference.

    Args:
        input: speech recording: a path, or an array or tensor [T] or [C, T].
        output: where to write. None writes next to an input file (``voice.enhanced.wav``) and
            writes no file for an array.
        sample_rate: of an array, in Hz; not for paths.
        weights: file of a network trained with ``retone.training``; None for the shipped one.
        amount: 0 leaves every sample unchanged, 1 applies the full change.
        locks: fixed values of parameters by name, in physical units.
        loudness: a target in LUFS or ``"off"``; None for -19 LUFS (mono) or
            -16 LUFS (stereo), scaled by ``amount``.
        true_peak_dbtp: true-peak ceiling in dBTP, None for no limiter.
        force: replace an existing output.
        output_format: format, bit depth and sample rate of the output
            (``retone.audio.OutputFormat``), where its name and the input do not decide.
        progress: called with (phase, done, total).

    Returns:
        Audio, settings, measured levels and report.

    Raises:
        AudioError: the recording cannot be read, used or written.
        SettingError: an option or a lock is invalid.
        DataError: the weights are missing or damaged.
        ArgumentError: an argument is of another kind, or an array has no sample rate, or a path
            has one.
    """
    from retone.estimators.reference_free import ReferenceFree

    check_kinds(
        locals(), ("output", "weights", "locks", "loudness", "true_peak_dbtp", "output_format")
    )
    if loudness == "match":
        raise SettingError(
            "enhance: loudness = 'match' needs a reference. Give a target in LUFS, or 'off'."
        )
    options = Options(
        amount,
        locks=dict(locks or {}),
        loudness=SPEECH_LUFS if loudness is None else loudness,
        true_peak_dbtp=true_peak_dbtp,
        target_is_default=loudness is None,
    )
    recording = recording_of(input, sample_rate, "enhance", "input")
    estimator = ReferenceFree(weights=None if weights is None else Path(weights))
    return _transfer(
        recording, (), output, "enhanced", options, estimator, force, output_format, progress,
        {weights: "the weights"},
    )  # fmt: skip


def apply(
    input: Audio,
    settings: SettingsFile | str | Path,
    output: str | Path | None = None,
    *,
    sample_rate: int | None = None,
    amount: float | None = None,
    loudness: str | float | None = None,
    true_peak_dbtp: str | float | None = "file",
    force: bool = False,
    output_format: OutputFormat | None = None,
    progress: Progress = silent,
) -> Result:
    """Apply settings to a recording: the same effect, with no estimation.

    Args:
        input: recording to change: a path, or an array or tensor [T] or [C, T].
        settings: ``result.settings``, or a settings file's path.
        output: where to write. None writes next to an input file (``voice.applied.wav``) and
            writes no file for an array.
        sample_rate: of an array, in Hz; not for paths.
        amount: 0 to 1; None takes the amount in the settings.
        loudness: a target in LUFS or ``"off"``; None takes the gain in the settings or, with
            another amount, moves the loudness that share of the way to their target.
        true_peak_dbtp: ceiling in dBTP, None for no limiter, ``"file"`` for the settings' ceiling.
        force: replace an existing output.
        output_format: format, bit depth and sample rate of the output
            (``retone.audio.OutputFormat``), where its name and the input do not decide.
        progress: called with (phase, done, total).

    Returns:
        Audio, settings, measured levels and report.

    Raises:
        AudioError: the recording cannot be read or written.
        DataError: the settings file is missing or damaged.
        SettingError: an option is invalid, or the settings hold a FIR filter made for another
            sample rate.
        ArgumentError: an argument is of another kind, or an array has no sample rate, or a path
            has one.
    """
    check_kinds(locals(), ("output", "amount", "loudness", "true_peak_dbtp", "output_format"))
    if loudness == "match":
        raise SettingError(
            "apply: loudness = 'match' needs a reference. Give a target in LUFS, or 'off'."
        )
    recording = recording_of(input, sample_rate, "apply", "input")
    known = settings if isinstance(settings, SettingsFile) else open_settings(settings)
    target = _target(recording, (), output, "applied", force,
                     {} if known is settings else {settings: "the settings file"})  # fmt: skip
    with _opened(recording, output_format) as reader:
        if target:
            check_writable(reader.info, target, force, output_format)
        decision, options = decision_of(
            known, reader.info, amount=amount, loudness=loudness, true_peak_dbtp=true_peak_dbtp
        )
        return _rendered(reader, target, decision, options, force, output_format, progress)


def decide(
    input: Audio,
    to: Audio | Sequence[Audio] | None = None,
    *,
    sample_rate: int | None = None,
    preset: str | Path | Preset | None = None,
    strength: float | None = None,
    eq: EqKind = "bands",
    dynamics: DynamicsKind = "broadband",
    stereo: StereoKind = "linked",
    part: str = "all",
    locks: Mapping[str, float] | None = None,
    loudness: str | float = "match",
    estimator: Estimator | str | None = None,
    progress: Progress = silent,
) -> Decision:
    """Find the settings that ``match`` would use, and render nothing.

    Args:
        input, to, sample_rate, preset, strength, eq, dynamics, stereo, part, locks, loudness,
            estimator, progress: as in ``match``. Neither ``to`` nor ``preset`` is needed by an
            estimator that works without a reference.

    Returns:
        The effect, its setting, the target loudness, and the estimator's notes.

    Raises:
        AudioError: a recording cannot be read or used.
        SettingError: an option or a lock is not possible, or no preset has that name.
        ArgumentError: an argument is of another kind, or an array has no sample rate, or a path
            has one.
    """
    check_kinds(locals(), ("preset", "strength", "locks", "estimator"))
    options = Options(part=part, locks=dict(locks or {}), loudness=loudness)
    if to is None and preset is None and isinstance(estimator, Estimator):
        recording: Path | Clip = recording_of(input, sample_rate, "decide", "input")
        references: list[Path | Clip | Profile] = []
    else:
        recording, references = _recordings("decide", input, to, preset, sample_rate)
    return deciding.decide(
        recording,
        references,
        options,
        estimator=_estimator(estimator, strength, eq, dynamics=dynamics, stereo=stereo),
        progress=progress,
    )


def export(
    settings: SettingsFile | str | Path,
    target: str,
    output: str | Path | None = None,
    *,
    force: bool = False,
) -> str:
    """Convert settings to another program's format.

    Args:
        settings: ``result.settings``, or a settings file's path.
        target: name of the target, such as ``"ffmpeg"``, ``"reaper"`` or ``"equalizer-apo"``
            (``retone.exports.TARGETS``).
        output: where to write it; None writes no file.
        force: replace an existing file.

    Returns:
        The exported text. What the target cannot express is issued as Python warnings. Files that
        the text refers to, such as impulse responses, are written beside ``output``.

    Raises:
        SettingError: no target has that name.
        DataError: the settings file is missing or damaged.
        AudioError: the file exists or cannot be written.
    """
    import warnings

    from retone.exports import target_named
    from retone.exports.base import write_exported
    from retone.exports.plan import plan_of

    check_kinds(locals(), ("output",))
    known = settings if isinstance(settings, SettingsFile) else open_settings(settings)
    chosen = target_named(target)
    exported = chosen.write(plan_of(known))
    for note in exported.notes:
        warnings.warn(note, stacklevel=2)
    if output is not None:
        own = {} if isinstance(settings, SettingsFile) else {Path(settings): "the settings file"}
        write_exported(exported, Path(output), force=force, reads=own, inside=chosen.inside)
    return exported.text


def open_settings(path: str | Path) -> SettingsFile:
    """Read a settings file.

    Args:
        path: path of the JSON file.

    Returns:
        The settings: effect, values in physical units, locks, level plan.

    Raises:
        DataError: the file is missing or damaged.
        SettingError: a parameter is unknown or out of range.
    """
    check_kinds(locals())
    return SettingsFile.read(Path(path))


def _transfer(
    recording: Path | Clip,
    references: Sequence[Path | Clip | Profile],
    output: str | Path | None,
    suffix: str,
    options: Options,
    estimator: Estimator,
    force: bool,
    output_format: OutputFormat | None,
    progress: Progress,
    others: Mapping[Any, str],
) -> Result:
    """Decide and render; ``others`` are read besides recordings: file -> what it is."""
    files = [r for r in references if isinstance(r, Path)]
    target = _target(recording, files, output, suffix, force, others)
    with _opened(recording, output_format) as reader:
        if target:
            check_writable(reader.info, target, force, output_format)
        decision = deciding.decide(
            reader, references, options, estimator=estimator, progress=progress
        )
        return _rendered(reader, target, decision, options, force, output_format, progress)


def _opened(recording: Path | Clip, output_format: OutputFormat | None) -> AudioReader:
    """The recording to change, at the output's sample rate."""
    rate = output_format.sample_rate if output_format else None
    return at_sample_rate(open_recording(recording), rate)


def _target(
    recording: Path | Clip,
    references: Sequence[Path],
    output: str | Path | None,
    suffix: str,
    force: bool,
    others: Mapping[Any, str],
) -> Path | None:
    """The file to write, None for memory; refused before any work if it cannot be."""
    if output is None and isinstance(recording, Clip):
        return None
    if output is not None:
        target = Path(output)
    else:
        assert isinstance(recording, Path)
        target = output_beside(recording, suffix)
    own = [recording] if isinstance(recording, Path) else []
    files = {Path(p): what for p, what in others.items() if isinstance(p, (str, Path))}
    check_output((*own, *references), target, force, files)
    return target


def _rendered(
    reader: AudioReader,
    target: Path | None,
    decision: Decision,
    options: Options,
    force: bool,
    output_format: OutputFormat | None,
    progress: Progress,
) -> Result:
    if target is None:
        found = render_to_array(reader, decision, options, progress=progress)
    else:
        found = render_to_file(
            reader, target, decision, options,
            force=force, output_format=output_format, progress=progress,
        )  # fmt: skip
    return Result.of(found)


def _estimator(
    estimator: Estimator | str | None,
    strength: float | None = None,
    eq: EqKind = "bands",
    phase: str | None = None,
    smooth_octaves: float = 0.0,
    range_hz: Sequence[float] | None = None,
    dynamics: DynamicsKind = "broadband",
    stereo: StereoKind = "linked",
) -> Estimator:
    curve = None
    if phase or smooth_octaves or range_hz is not None:
        from retone.estimators.curve_fit import CurveRules

        if eq != "curve":
            raise SettingError(
                "match: eq_phase, eq_smooth_octaves and eq_range_hz belong to eq = 'curve'."
            )
        low, high = (20.0, 20000.0) if range_hz is None else range_hz
        expect_number(smooth_octaves, "eq_smooth_octaves", 0, 3)
        if not 20 <= low < high <= 20000:
            raise SettingError(
                f"eq_range_hz = {low:g} to {high:g} Hz; expected 20 to 20000 Hz, the lowest first."
            )
        if smooth_octaves or range_hz is not None:
            curve = CurveRules(smooth_octaves, low, high)
    if estimator is None or isinstance(estimator, str):
        return estimator_named(
            estimator, strength=strength, eq=eq, phase=phase, curve=curve,
            dynamics=dynamics, stereo=stereo,
        )  # fmt: skip
    if (strength, eq, dynamics, stereo) != (None, "bands", "broadband", "linked"):
        raise SettingError(
            "match: 'strength', 'eq', 'dynamics' and 'stereo' belong to the default estimator. "
            "Leave out 'estimator', or them."
        )
    return estimator


def _renamed(input: Audio, source: Audio) -> Audio:
    if (input is None) == (source is None):
        raise ArgumentError("match: give 'input', a path or an array.")
    return source if input is None else input


def _recordings(
    who: str,
    input: Audio,
    to: Audio | Sequence[Audio] | None,
    preset: str | Path | Preset | None,
    sample_rate: int | None,
) -> tuple[Path | Clip, list[Path | Clip | Profile]]:
    """The input and its references, checked."""
    if (to is None) == (preset is None):
        raise SettingError(f"{who}: give either 'to' (recordings) or 'preset' (a name or a file).")
    given = [] if to is None else list(to) if isinstance(to, (list, tuple)) else [to]
    if to is not None and not given:
        raise SettingError(f"{who}: 'to' is empty. Give at least one reference recording.")
    if sample_rate is not None and all(isinstance(r, (str, Path)) for r in (input, *given)):
        raise ArgumentError(f"{who}: sample_rate is for arrays; a file has its own. Leave it out.")
    rates = [None if isinstance(r, (str, Path)) else sample_rate for r in (input, *given)]
    recording = recording_of(input, rates[0], who, "input")
    references: list[Path | Clip | Profile] = [
        recording_of(r, rate, who, "to") for r, rate in zip(given, rates[1:], strict=True)
    ]
    if preset == "auto":
        preset = AUTO[content_of_recording(recording).kind]
    if preset is not None:
        known = preset if isinstance(preset, Preset) else open_preset(preset)
        references = [known.profile]
    return recording, references

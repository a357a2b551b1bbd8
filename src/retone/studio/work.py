"""The jobs of a page: match, enhance, preset, and writing the result."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from retone.audio import open_reader
from retone.audio.formats import CONTAINERS
from retone.audio.meters.spectrum import log_frequencies
from retone.dsp.effect import Effect
from retone.effects import SOUND_CHAIN
from retone.errors import RetoneError
from retone.estimators.choose import DEFAULT, NAMES, estimator_named
from retone.files.fields import number
from retone.presets import available, open_preset
from retone.process.decide import decide
from retone.process.level import speech_loudness
from retone.process.render import render_to_file
from retone.process.result import PARTS, Decision, Options
from retone.process.settings_file import LevelPlan, SettingsFile, Source
from retone.progress import Progress
from retone.report.collect import report_of
from retone.report.html import render_report
from retone.report.sound import sound_of
from retone.studio.intake import short
from retone.studio.limits import Refused
from retone.studio.live import plan_of
from retone.studio.session import Recording, Session
from retone.studio.state import POINTS, State, stages

MANUAL = "by hand"
KEPT_FILE = 1 << 20
"""The longest settings file, in characters, that a page keeps for itself."""
COMPANION_BYTES = 2 << 20
"""More than the tags, settings file and report of a recording."""


def presets() -> list[dict[str, str]]:
    """Name, description and kind of every preset."""
    return [{"name": p.name, "description": p.description, "kind": p.kind} for p in available()]


def can_enhance() -> str | None:
    """None if ``enhance`` has weights, else the reason."""
    from retone.errors import DataError
    from retone.estimators.reference_free import ReferenceFree

    try:
        ReferenceFree().load()
    except DataError as error:
        return str(error)
    return None


def manual(session: Session) -> dict[str, Any]:
    """The chain of the default estimator with every parameter neutral, to set by hand."""
    return _page_state(
        session, Decision(SOUND_CHAIN, SOUND_CHAIN.params.neutral(1), estimator=MANUAL)
    )


def strengths() -> dict[str, Any]:
    """What the page's strength and choices start with, and the method that they belong to."""
    from retone.estimators.matching import KINDS, PRESET_STRENGTH, STRENGTH

    return {
        "estimator": DEFAULT,
        "strength": {"match": STRENGTH, "preset": PRESET_STRENGTH},
        **{name: list(kinds) for name, kinds in KINDS.items()},
    }


def _page_state(
    session: Session, decision: Decision, recording: Recording | None = None
) -> dict[str, Any]:
    """A decision as JSON for the page; ``recording`` is what it was made for."""
    rate = (recording or session.need_input()).sample_rate
    number = session.remember(decision)
    return {
        "effect": number,
        "known": list(session.effects),
        "file": _short_file(decision, rate),
        "stages": stages(decision.effect),
        "setting": {n: float(v[0]) for n, v in decision.setting.items()},
        "plan": plan_of(decision.effect, rate),
        "estimator": decision.estimator,
        "strength": decision.strength,
        **({} if decision.strength is None else _kinds_of(decision.effect)),
        "target_lufs": decision.target_lufs,
        "notes": list(decision.notes),
    }


def _short_file(decision: Decision, rate: int) -> str | None:
    """A settings file that the page keeps, to load it after this session; None if it is long."""
    text = SettingsFile(
        effect=decision.effect,
        setting={n: float(v[0]) for n, v in decision.setting.items()},
        sample_rate=rate,
        estimator=decision.estimator,
        strength=decision.strength,
        level_plan=LevelPlan(0.0, decision.target_lufs, None),
        notes=decision.notes,
    ).to_json()
    return text if len(text) <= KEPT_FILE else None


def _kinds_of(effect: Effect) -> dict[str, str]:
    """The choices with which the default estimator sets this effect's parameters."""
    from retone.estimators.matching import KINDS, Matching

    for choice in itertools.product(*KINDS.values()):
        kinds: dict[str, Any] = dict(zip(KINDS, choice, strict=True))
        if Matching(**kinds).effect.params.names == effect.params.names:
            return kinds
    return {}


def find(
    session: Session,
    recording: Recording,
    references: Sequence[Recording],
    kind: str,
    body: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Choose settings for a recording.

    Args:
        recording, references: those that the page had when it asked.
        kind: ``"match"`` (to the session's references), ``"preset"`` or ``"enhance"``.
        body: ``locks`` (fixed values), ``part``, ``estimator``, ``strength``, ``eq``
            and ``preset``.
    """
    locks = body.get("locks") or {}
    if not isinstance(locks, dict):
        raise Refused(400, "The request's locks are not what a page sends.")
    fixed = {str(n): number(v, str(n), low=-1e9, high=1e9) for n, v in locks.items()}
    loudness: str | float = "match"
    sounds: list[Any] = []
    if kind == "enhance":
        from retone.estimators.reference_free import ReferenceFree

        estimator: Any = ReferenceFree()
        loudness = speech_loudness(recording.channels)
        known = set(estimator.effect.params.names)
    else:
        estimator = _estimator(body)
        sounds = _references(session, references, kind, body)
        known = set(getattr(estimator, "effect", SOUND_CHAIN).params.names)
    part = str(body.get("part") or "all")
    options = Options(
        part=part if part in PARTS and kind != "enhance" else "all",
        locks={n: v for n, v in fixed.items() if n in known},
        loudness=loudness,
    )
    decision = decide(recording.path, sounds, options, estimator=estimator, progress=progress)
    return _page_state(session, decision, recording) | {
        "warnings": [public(w, session) for w in decision.warnings],
        "style": _style(decision, recording.sample_rate) if kind == "preset" else None,
    }


def _estimator(body: Mapping[str, Any]) -> Any:
    """The method that the page asks for; the default one by its strength and equaliser."""
    name = str(body.get("estimator") or DEFAULT)
    if name not in NAMES:
        raise Refused(400, f"No estimator has that name; expected one of {', '.join(NAMES)}.")
    return _matching(body) if name == DEFAULT else estimator_named(name)


def _matching(body: Mapping[str, Any]) -> Any:
    """The default estimator with the page's strength and choices."""
    from retone.estimators.matching import KINDS, Matching

    strength = body.get("strength")
    number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
    if strength is not None and not (number and 0 <= strength <= 1):
        raise Refused(400, "The strength must be a number from 0 to 1.")
    kinds: dict[str, Any] = {}
    for name, known in KINDS.items():
        kinds[name] = body.get(name) or known[0]
        if kinds[name] not in known:
            raise Refused(400, f"{name}: expected one of {', '.join(known)}.")
    return Matching(strength=None if strength is None else float(strength), **kinds)


def _references(
    session: Session, references: Sequence[Recording], kind: str, body: Mapping[str, Any]
) -> list[Any]:
    if kind == "preset":
        named = str(body.get("preset"))
        if named in session.presets:
            return [session.presets[named].profile]
        if named not in [p["name"] for p in presets()]:
            raise Refused(400, "No preset has that name.")
        return [open_preset(named).profile]
    if not references:
        raise Refused(409, "Choose a reference recording first.")
    return [r.path for r in references]


MOST_PRESETS = 16


def own_preset(session: Session, body: Mapping[str, Any]) -> dict[str, Any]:
    """A preset of the page's references, kept for this session, and its file to keep for good."""
    from retone.presets.making import make_preset

    references = list(session.references)
    if not references:
        raise Refused(409, "A preset is made of references: choose some under 'Recording' first.")
    kind = "music" if body.get("kind") == "music" else "speech"
    try:
        made = make_preset(str(body.get("name") or ""), [r.path for r in references], kind=kind)
    except RetoneError as error:
        raise Refused(422, public(str(error), session)) from None
    made = replace(made, credits=tuple(r.name for r in references))
    with session.guard:
        session.presets[made.name] = made
        while len(session.presets) > MOST_PRESETS:
            del session.presets[next(iter(session.presets))]
    about = {"name": made.name, "description": made.description, "kind": made.kind}
    return {"preset": about, "file": f"{made.name}.json", "text": made.to_json()}


def _style(decision: Decision, sample_rate: int) -> dict[str, Any] | None:
    """A preset's average spectrum for the page to draw as the reference."""
    profile = next((s.profile for s in decision.references if s.profile), None)
    if profile is None:
        return None
    spectrum = profile.spectrum(log_frequencies(sample_rate, count=POINTS))
    return {"name": profile.name, "spectrum_db": short(spectrum, 1)}


def write_result(
    session: Session,
    recording: Recording,
    references: Sequence[Recording],
    state: State,
    progress: Progress,
) -> dict[str, Any]:
    """Render an original file with the page's settings: audio, settings file and report.

    ``recording`` and ``references`` are those that the page had when it asked.
    """
    suffix = Path(recording.name).suffix.lower()
    suffix = suffix if suffix in CONTAINERS else ".wav"
    output = session.new_file(suffix)
    stem = Path(recording.name).stem
    found = {"audio": output}
    try:
        with open_reader(recording.path) as reader:
            info = reader.info
            width = 8 if info.dtype.itemsize == 8 else 4
            session.claim(output, info.frames * info.channels * width + COMPANION_BYTES)
            result = render_to_file(
                reader, output, state.decision, state.options, progress=progress
            )
        session.settle(output)
        output_name = f"{stem}.retone{suffix}"
        settings = _named(result.settings, session, recording, references, output_name)
        report = render_report(
            replace(report_of(result), settings=settings, sound=sound_of(result))
        )
        for kind, ending, text in (
            ("settings", ".json", settings.to_json()),
            ("report", ".html", report),
        ):
            data = text.encode("utf-8", "replace")
            path = found[kind] = session.new_file(ending)
            session.claim(path, len(data))
            path.write_bytes(data)
    except BaseException:
        for path in found.values():
            session.remove(path)
        raise
    _keep_newest(session, found, stem, suffix)
    levels = settings.levels.get("after", {})
    return {
        "downloads": {k: f"{k}-{p.stem}" for k, p in found.items()},
        "names": {k: session.downloads[f"{k}-{p.stem}"][1] for k, p in found.items()},
        "levels": dict(levels),
        "limiter_most_db": round(result.limiter_most_db, 2),
        "warnings": [public(w, session) for w in result.warnings],
    }


_TYPES = {
    "audio": "application/octet-stream",
    "settings": "application/json",
    "report": "text/html",
}


def _keep_newest(session: Session, found: Mapping[str, Path], stem: str, suffix: str) -> None:
    """Offer the new files and remove the previous ones."""
    endings = {"audio": f".retone{suffix}", "settings": ".retone.json", "report": ".retone.html"}
    with session.guard:
        old = list(session.downloads.values())
        session.downloads = {
            f"{k}-{p.stem}": (p, stem + endings[k], _TYPES[k]) for k, p in found.items()
        }
    for path, _, _ in old:
        session.remove(path)


def settings_file(session: Session, state: State, gain_db: float) -> SettingsFile:
    """The page's settings as a settings file, with the gain that the page measured."""
    recording = session.need_input()
    used = [("input", recording), *(("reference", r) for r in session.references)]
    return SettingsFile(
        effect=state.effect,
        setting=state.setting,
        sample_rate=recording.sample_rate,
        estimator=state.found.estimator,
        strength=state.found.strength,
        amount=state.amount,
        locks=state.options.locks,
        level_plan=LevelPlan(gain_db, state.target_lufs, state.ceiling_dbtp),
        sources=tuple(_source(role, r) for role, r in used),
        notes=state.found.notes,
    )


def _source(role: str, r: Recording) -> Source:
    return Source(role, r.name, r.sample_rate, r.channels, r.frames / r.sample_rate)


def load_settings(session: Session, text: str) -> dict[str, Any]:
    """A settings file's text as the page's state."""
    settings = SettingsFile.from_json(text, "settings file")
    effect = settings.effect_at(session.need_input().sample_rate)
    plan = settings.level_plan
    decision = Decision(
        effect,
        effect.params.setting(settings.setting),
        estimator=settings.estimator,
        strength=settings.strength,
        target_lufs=plan.target_lufs if plan else None,
        notes=settings.notes,
    )
    return _page_state(session, decision) | {
        "locks": list(settings.locks),
        "amount": settings.amount,
        "loudness": "off" if decision.target_lufs is None else "match",
        "ceiling_dbtp": plan.ceiling_dbtp if plan else None,
    }


def _named(
    settings: SettingsFile,
    session: Session,
    recording: Recording,
    references: Sequence[Recording],
    output: str,
) -> SettingsFile:
    """Recordings, including references, under the names that the user gave them."""
    sources = []
    for s in settings.sources:
        if s.role == "input":
            sources.append(replace(s, file=recording.name))
        elif s.role == "output":
            sources.append(replace(s, file=output))
    sources += [_source("reference", r) for r in references]
    return replace(
        settings,
        sources=tuple(sources),
        warnings=tuple(public(w, session) for w in settings.warnings),
    )


def public(text: str, session: Session) -> str:
    """A sentence with the names that the user gave the files, instead of paths on the server."""
    recordings: list[Recording] = [r for r in (session.input, *session.references) if r]
    for r in recordings:
        text = text.replace(str(r.path), r.name).replace(r.path.name, r.name)
    return text.replace(str(session.folder), "").strip()

"""The jobs of a page: match, enhance, preset, and writing the result."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from retone.audio import open_reader
from retone.audio.formats import CONTAINERS
from retone.audio.meters.spectrum import log_frequencies
from retone.effects import MATCH_CHAIN
from retone.estimators.choose import DEFAULT, NAMES, estimator_named
from retone.process.decide import Matcher, MatchResult, Options
from retone.process.render import PARTS, render_file
from retone.process.settings_file import LevelPlan, SettingsFile, Source
from retone.progress import Progress
from retone.report.collect import CompressorLevels, report_of, settings_of
from retone.studio.intake import short
from retone.studio.limits import Refused
from retone.studio.session import Driven, Recording, Session
from retone.studio.state import POINTS, State, stages

ENHANCED_LUFS = -19.0
MANUAL = "by hand"


def presets() -> list[dict[str, str]]:
    """Name, description and kind of every preset this version has."""
    if importlib.util.find_spec("retone.presets") is None:
        return []
    library = importlib.import_module("retone.presets")
    return [
        {"name": p.name, "description": p.description, "kind": p.kind} for p in library.available()
    ]


def can_enhance() -> str | None:
    """None if ``enhance`` has weights, else the sentence that says why not."""
    from retone.errors import DataError
    from retone.estimators.reference_free import ReferenceFree

    try:
        ReferenceFree().load()
    except DataError as error:
        return str(error)
    return None


def manual(session: Session) -> dict[str, Any]:
    """The match chain doing nothing, to set by hand."""
    table = MATCH_CHAIN.params
    setting = {n: float(v[0]) for n, v in table.neutral(1).items()}
    return _driven(session, Driven(MATCH_CHAIN, MANUAL), setting)


def _driven(session: Session, driven: Driven, setting: Mapping[str, float]) -> dict[str, Any]:
    return {
        "effect": session.remember(driven),
        "stages": stages(driven.effect),
        "setting": dict(setting),
        "estimator": driven.estimator,
        "target_lufs": driven.target_lufs,
        "notes": list(driven.notes),
    }


def find(
    session: Session, kind: str, body: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """Choose settings for the session's recording.

    Args:
        kind: ``"match"`` (to the session's references), ``"preset"`` or ``"enhance"``.
        body: ``locks`` (values that stay), ``part``, ``estimator`` and ``preset``.
    """
    source = session.need_input()
    locks = body.get("locks") or {}
    if not isinstance(locks, dict):
        raise Refused(400, "The request's locks are not what a page sends.")
    loudness: str | float = "match"
    references: list[Any] = []
    if kind == "enhance":
        from retone.estimators.reference_free import ReferenceFree

        estimator: Any = ReferenceFree()
        loudness = ENHANCED_LUFS
        known = set(estimator.load().effect.params.names)
    else:
        name = str(body.get("estimator") or DEFAULT)
        if name not in NAMES:
            raise Refused(400, f"No estimator is called so; expected one of {', '.join(NAMES)}.")
        estimator = estimator_named(name)
        references = _references(session, kind, body)
        known = set(MATCH_CHAIN.params.names)
    part = str(body.get("part") or "all")
    options = Options(
        part=part if part in PARTS and kind != "enhance" else "all",
        locks={str(n): float(v) for n, v in locks.items() if n in known},
        loudness=loudness,
    )
    output = session.new_file(".wav")
    try:
        result = Matcher(estimator).match(
            source.path, references, output, options, progress=progress
        )
    finally:
        output.unlink(missing_ok=True)
    driven = Driven(
        result.decision.effect, result.estimator, result.target_lufs, result.decision.notes
    )
    setting = {n: float(v[0]) for n, v in result.decision.setting.items()}
    found = _driven(session, driven, setting)
    warnings = [public(w, session) for w in result.warnings]
    style = _style(result, source.sample_rate) if kind == "preset" else None
    return found | {"warnings": warnings, "style": style}


def _references(session: Session, kind: str, body: Mapping[str, Any]) -> list[Any]:
    if kind == "preset":
        named = str(body.get("preset"))
        if named not in [p["name"] for p in presets()]:
            raise Refused(400, "No preset is called so.")
        return [importlib.import_module("retone.presets").open_preset(named).profile]
    if not session.references:
        raise Refused(409, "Choose a recording that sounds right first.")
    return [r.path for r in session.references]


def _style(result: MatchResult, sample_rate: int) -> dict[str, Any] | None:
    """A preset's average spectrum for the page to draw as the reference."""
    profiles = (getattr(s, "profile", None) for s in result.sides if s.role == "reference")
    profile = next((p for p in profiles if p is not None), None)
    if profile is None:
        return None
    spectrum = profile.spectrum(log_frequencies(sample_rate, count=POINTS))
    return {"name": profile.name, "spectrum_db": short(spectrum, 1)}


def write_result(session: Session, state: State, progress: Progress) -> dict[str, Any]:
    """Render the original file with the page's settings: audio, settings file and report."""
    source = session.need_input()
    suffix = Path(source.name).suffix.lower()
    suffix = suffix if suffix in CONTAINERS else ".wav"
    output = session.new_file(suffix)
    try:
        with open_reader(source.path) as reader:
            result = render_file(
                reader, source.path, output, state.decision, state.options,
                estimator=state.driven.estimator, target_lufs=state.target_lufs,
                warnings=[], progress=progress, observe=CompressorLevels,
            )  # fmt: skip
    except BaseException:
        output.unlink(missing_ok=True)
        raise
    stem = Path(source.name).stem
    settings = _named(settings_of(result), session, f"{stem}.retone{suffix}")
    from retone.report.html import render_report

    histograms = getattr(result.observed, "histograms", None)
    report = render_report(replace(report_of(result, histograms), settings=settings))
    found = {"audio": output}
    for kind, ending, text in (
        ("settings", ".json", settings.to_json()),
        ("report", ".html", report),
    ):
        path = session.new_file(ending)
        path.write_text(text, encoding="utf-8", newline="\n")
        found[kind] = path
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
    """Offer the new files; the ones before them go."""
    endings = {"audio": f".retone{suffix}", "settings": ".retone.json", "report": ".retone.html"}
    with session.guard:
        old = list(session.downloads.values())
        session.downloads = {
            f"{k}-{p.stem}": (p, stem + endings[k], _TYPES[k]) for k, p in found.items()
        }
    for path, _, _ in old:
        path.unlink(missing_ok=True)


def settings_file(session: Session, state: State, gain_db: float) -> SettingsFile:
    """The page's settings as a settings file, with the gain that the page measured."""
    source = session.need_input()
    rate = source.sample_rate
    people = [("input", source), *(("reference", r) for r in session.references)]
    return SettingsFile(
        effect=state.driven.effect,
        setting=state.setting,
        sample_rate=rate,
        estimator=state.driven.estimator,
        amount=state.amount,
        locks=state.options.locks,
        level_plan=LevelPlan(gain_db, state.target_lufs, state.ceiling_dbtp),
        sources=tuple(
            Source(role, r.name, r.sample_rate, r.channels, r.frames / r.sample_rate)
            for role, r in people
        ),
        notes=state.driven.notes,
    )


def load_settings(session: Session, text: str) -> dict[str, Any]:
    """A settings file's text as the page's state."""
    settings = SettingsFile.from_json(text, "settings file")
    source = session.need_input()
    effect = settings.effect_at(source.sample_rate)
    plan = settings.level_plan
    target = plan.target_lufs if plan else None
    driven = Driven(effect, settings.estimator, target, settings.notes)
    return _driven(session, driven, settings.setting) | {
        "locks": list(settings.locks),
        "amount": settings.amount,
        "loudness": "off" if target is None else "match",
        "ceiling_dbtp": plan.ceiling_dbtp if plan else None,
    }


def _named(settings: SettingsFile, session: Session, output: str) -> SettingsFile:
    """Sources under the names people know, references included; our own file names gone."""
    sources = []
    for s in settings.sources:
        if s.role == "input":
            sources.append(replace(s, file=session.need_input().name))
        elif s.role == "output":
            sources.append(replace(s, file=output))
    sources += [
        Source("reference", r.name, r.sample_rate, r.channels, r.frames / r.sample_rate)
        for r in session.references
    ]
    return replace(
        settings,
        sources=tuple(sources),
        warnings=tuple(public(w, session) for w in settings.warnings),
    )


def public(text: str, session: Session) -> str:
    """A sentence with the names that people gave their files instead of our paths."""
    recordings: list[Recording] = [r for r in (session.input, *session.references) if r]
    for r in recordings:
        text = text.replace(str(r.path), r.name).replace(r.path.name, r.name)
    return text.replace(str(session.folder), "").strip()

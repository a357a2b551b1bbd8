"""Prepare a listening test: cut, align in loudness, filter anchors, write the page's folder.

All sounds of a test have one loudness (BS.1770), chosen so low that none goes above -1 dBTP, and
all versions of an item one length. The folder can be copied to any web server.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from retone.audio.files import load
from retone.audio.meters.loudness import LoudnessMeter, loudness_lufs
from retone.audio.meters.true_peak import true_peak_dbtp
from retone.errors import DataError, OutputExistsError, SettingError
from retone.files.atomic import new_folder
from retone.files.fields import parse, read_text
from retone.studio.listening.plan import DESIGNS, Item, Plan

VERSION = 1
CEILING_DBTP = -1.0
SECONDS = 12.0
LUFS = -23.0
_FADE_S = 0.005  # BS.1534: 5 ms
CATEGORIES = ("Bad", "Poor", "Fair", "Good", "Excellent")
CHECKS = 12
"""Attention checks of a test of pairs. Ten must be right, which guessing reaches in 1.9 %."""
LEAST_TRAPS = 5
"""Attention checks of an ACR test, where the page says what to choose. Four must be right."""
TRAP = 2
"""The answer that an attention check of an ACR test asks for."""
PAGE = ("index.html", "listen.css", "order.js", "sound.js", "listen.js")
MOST_STUDY_BYTES = 16 << 20
MOST_INLINE = 60_000_000
"""Largest page in one file, in bytes of sound."""


@dataclass(frozen=True)
class Prepared:
    """A sound of the test: ``audio`` [C, T] aligned later, ``lufs`` as it is."""

    system: str
    role: str
    audio: np.ndarray
    lufs: float
    peak_dbtp: float


def prepare(
    plan: Plan,
    folder: Path,
    *,
    seconds: float = SECONDS,
    lufs: float = LUFS,
    one_file: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write a test's folder: the page, ``study.json`` and the sounds.

    Args:
        plan: what is compared.
        folder: where to write; created.
        seconds: longest sound; the loudest stretch of a longer one is taken.
        lufs: loudness of all sounds, lowered where a peak would reach above -1 dBTP.
        one_file: put everything into ``index.html``, which then opens without a server.
        force: replace an existing folder's test.

    Returns:
        The content of ``study.json``.

    Raises:
        AudioError: a recording cannot be read.
        OutputExistsError: the folder holds a test and ``force`` is false.
        SettingError: a length or loudness is out of range.
    """
    if not 0.1 <= seconds <= 600:
        raise SettingError(f"seconds = {seconds:g} is outside 0.1..600.")
    if not -70 <= lufs <= -5:
        raise SettingError(f"lufs = {lufs:g} is outside -70..-5.")
    if (folder / "study.json").exists() and not force:
        raise OutputExistsError(folder / "study.json")
    rate = _rate_of(plan)
    items = [_item(plan, item, rate, seconds) for item in plan.items]
    everything = [s for _, sounds in items for s in sounds]
    goal = _goal(everything, lufs)
    with new_folder(folder) as place:
        (place / "sounds").mkdir()
        names: dict[int, str] = {}
        for sound in everything:
            gain_db = goal - sound.lufs if math.isfinite(sound.lufs) else 0.0
            audio = (sound.audio * 10 ** (gain_db / 20)).astype(np.float32)
            name = "sounds/" + hashlib.sha256(audio.tobytes()).hexdigest()[:16] + ".flac"
            coded = io.BytesIO()
            sf.write(coded, audio.T, rate, format="FLAC", subtype="PCM_24")
            (place / name).write_bytes(coded.getvalue())
            names[id(sound)] = name
        study = _study(plan, items, names, rate, goal)
        _write_page(study, place, one_file)
    return study


def _rate_of(plan: Plan) -> int:
    """The highest sample rate of all files."""
    from retone.audio.reader import info

    return max(info(p).sample_rate for item in plan.items for p in _paths(item))


def _paths(item: Item) -> list[Path]:
    return [*item.systems.values(), *([item.reference] if item.reference else [])]


def _item(plan: Plan, item: Item, rate: int, seconds: float) -> tuple[Item, list[Prepared]]:
    """An item's versions, its reference and its anchors, cut alike."""
    versions = {name: load(path).resample(rate).samples for name, path in item.systems.items()}
    reference = load(item.reference).resample(rate).samples if item.reference else None
    same = [*versions.values(), *([reference] if reference is not None and plan.aligned else [])]
    length = min(a.shape[1] for a in same)
    if length < 0.1 * rate:
        raise DataError(f"item '{item.name}' is shorter than 0.1 s. Leave it out.")
    guide = reference if reference is not None and plan.aligned else same[0]
    first, count = _stretch(guide[:, :length], rate, seconds)
    found = [
        _prepared(name, "system", audio[:, first : first + count], rate)
        for name, audio in versions.items()
    ]
    if reference is not None:
        start, size = (first, count) if plan.aligned else _stretch(reference, rate, seconds)
        found.append(_prepared("reference", "reference", reference[:, start : start + size], rate))
    for cut_hz in _anchors(plan, reference is not None):
        if cut_hz < 0.45 * rate:
            source = guide[:, first : first + count]
            name = f"anchor{cut_hz / 100:.0f}"
            found.append(_prepared(name, "anchor", low_passed(source, rate, cut_hz), rate))
    return item, found


def _anchors(plan: Plan, with_reference: bool) -> tuple[float, ...]:
    """Cut-off frequencies in Hz; none where a dull sound may be what the reference is like."""
    dull_is_worse = plan.aligned or plan.design == "abx" or not with_reference
    return plan.anchors if dull_is_worse else ()


def low_passed(audio: np.ndarray, sample_rate: int, cut_hz: float) -> np.ndarray:
    """An anchor of BS.1534: a linear-phase low-pass; 25 dB down an octave above ``cut_hz`` / 0.8.

    Args:
        audio: [C, T].
        sample_rate: in Hz.
        cut_hz: end of the pass band, 3500 or 7000 in the recommendation.
    """
    from scipy.signal import fftconvolve, firwin

    taps = 2 * round(0.01 * sample_rate) + 1
    kernel = firwin(taps, cut_hz, fs=sample_rate, window=("kaiser", 8.0))
    return np.asarray(fftconvolve(audio, kernel[None], mode="same", axes=1))


def _stretch(audio: np.ndarray, rate: int, seconds: float) -> tuple[int, int]:
    """First sample and length of the loudest stretch of at most ``seconds``."""
    count = min(audio.shape[1], round(seconds * rate))
    if count == audio.shape[1]:
        return 0, count
    meter = LoudnessMeter(rate, len(audio))
    meter.update(audio)
    time_s, lufs = meter.short_term(points=10_000)
    if not len(time_s):
        return 0, count
    wide = max(1, round((seconds - 3.0) / max(float(time_s[1] - time_s[0]), 0.1)))
    power = np.convolve(10 ** (np.maximum(lufs, -100) / 10), np.ones(wide) / wide, "same")
    middle = float(time_s[int(power.argmax())])
    first = round((middle - seconds / 2) * rate)
    return min(max(first, 0), audio.shape[1] - count), count


def _prepared(system: str, role: str, audio: np.ndarray, rate: int) -> Prepared:
    audio = np.array(audio[:2], dtype=np.float64)
    fade = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, max(2, round(_FADE_S * rate))))
    audio[:, : len(fade)] *= fade[: audio.shape[1]]
    audio[:, -len(fade) :] *= fade[::-1][-audio.shape[1] :]
    return Prepared(
        system, role, audio, loudness_lufs(audio, rate), true_peak_dbtp(audio, rate)
    )  # fmt: skip


def _goal(sounds: list[Prepared], lufs: float) -> float:
    """The loudness at which no sound's peak is above the ceiling."""
    above = [s.peak_dbtp + lufs - s.lufs - CEILING_DBTP for s in sounds if math.isfinite(s.lufs)]
    return lufs - max([0.0, *above])


def _study(
    plan: Plan,
    items: list[tuple[Item, list[Prepared]]],
    names: Mapping[int, str],
    rate: int,
    goal: float,
) -> dict[str, Any]:
    trials: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for item, sounds in items:
        described = [{"system": s.system, "role": s.role, "file": names[id(s)]} for s in sounds]
        reference = next((d["file"] for d in described if d["role"] == "reference"), None)
        own = [d for d in described if d["role"] == "system"]
        anchors = [d for d in described if d["role"] == "anchor"]
        base = {"item": item.name, "reference": reference}
        if plan.design == "mushra":
            trials.append({**base, "kind": "rate", "stimuli": described})
        elif plan.design == "acr":
            gold = [d for d in described if d["role"] == "reference" and plan.aligned] + anchors
            trials += [{**base, "reference": None, "kind": "rate", "stimuli": [d]}
                       for d in [*own, *gold]]  # fmt: skip
        else:
            repeats = plan.repeats if plan.design == "abx" else 1
            given = None if plan.design == "abx" else reference
            for a, b in plan.pairs or itertools.combinations([d["system"] for d in own], 2):
                pair = [next(d for d in own if d["system"] == name) for name in (a, b)]
                trials += [{**base, "reference": given, "kind": "rate", "stimuli": pair}] * repeats
            if anchors:
                hidden = [d for d in described if d["role"] == "reference" and plan.aligned]
                clean = (hidden or own)[0]
                check = {"kind": "check", "expected": clean["system"], "reference": given}
                checks.append({**base, **check, "stimuli": [clean, anchors[-1]]})
    if plan.design == "ab" and plan.anchors and not checks:
        pairs = list(itertools.islice(itertools.cycle(trials), CHECKS))
        checks = [
            {**t, "kind": "check", "expected": t["stimuli"][i % 2]["system"], "told": True}
            for i, t in enumerate(pairs)
        ]
    trials += itertools.islice(itertools.cycle(checks), CHECKS if checks else 0)
    if plan.design == "acr":
        count = max(LEAST_TRAPS, min(10, len(trials) // 10))
        traps = itertools.islice(itertools.cycle(trials[:: max(1, len(trials) // count)]), count)
        trials += [{**t, "kind": "check", "expected": TRAP} for t in traps]
    for number, trial in enumerate(trials):
        trial = trials[number] = dict(trial)
        trial["id"] = number
    content = {
        "retone_listening": VERSION,
        "title": plan.title,
        "design": plan.design,
        "question": plan.asked,
        "aligned": plan.aligned,
        "tie": plan.tie and plan.design == "ab",
        "categories": list(CATEGORIES),
        "sample_rate": rate,
        "loudness_lufs": round(goal, 2),
        "least_heard_s": 1.0,
        "shortest_s": round(min(s.audio.shape[1] for _, own in items for s in own) / rate, 3),
        "trials": trials,
    }
    text = json.dumps(content, sort_keys=True).encode()
    return {"id": hashlib.sha256(text).hexdigest()[:12], **content}


def _write_page(study: Mapping[str, Any], folder: Path, one_file: bool) -> None:
    page = resources.files("retone.studio.listening") / "page"
    files = {name: (page / name).read_text("utf-8") for name in PAGE}
    text = json.dumps(study, indent=1)
    if not one_file:
        for name, content in {**files, "study.js": f"const STUDY = {text};\n"}.items():
            (folder / name).write_text(content, "utf-8")
        (folder / "study.json").write_text(text + "\n", "utf-8")  # last: now the test is there
        return
    sounds = {n: (folder / n).read_bytes() for t in study["trials"] for n in _files_of(t)}
    size = sum(len(data) for data in sounds.values())
    if size > MOST_INLINE:
        raise SettingError(
            f"the sounds take {size / 1e6:.0f} MB, too much for one file (at most "
            f"{MOST_INLINE / 1e6:.0f} MB). Take fewer or shorter sounds, or a folder."
        )
    packed = {n: base64.b64encode(data).decode() for n, data in sounds.items()}
    script = f"const STUDY = {json.dumps({**study, 'sounds': packed})};".replace("<", "\\u003c")
    html = files["index.html"]
    html = html.replace(
        '<link rel="stylesheet" href="listen.css">', f"<style>{files['listen.css']}</style>"
    )
    for name in ("study.js", "order.js", "sound.js", "listen.js"):
        content = script if name == "study.js" else files[name]
        html = html.replace(f'<script src="{name}"></script>', f"<script>{content}</script>")
    (folder / "index.html").write_text(html, "utf-8")
    (folder / "study.json").write_text(text + "\n", "utf-8")


def _files_of(trial: Mapping[str, Any]) -> list[str]:
    own = [s["file"] for s in trial["stimuli"]]
    return own if trial["reference"] is None else [*own, trial["reference"]]


def read_study(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``study.json``.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / "study.json"
    if not path.exists():
        raise DataError(f"{path} is missing: {folder} holds no listening test.")
    found = parse(read_text(path, "a listening test", most_bytes=MOST_STUDY_BYTES), str(path))
    if not isinstance(found, dict) or found.get("retone_listening") != VERSION:
        raise DataError(f"{path} is no listening test of version {VERSION}. Prepare it again.")
    if not _is_study(found):
        raise DataError(f"{path} is damaged. Prepare the test again.")
    return found


def _is_study(found: Mapping[str, Any]) -> bool:
    """Whether the fields that are used have the types that ``_study`` writes."""
    texts = [found.get(k) for k in ("id", "title", "question", "design")]
    trials, words = found.get("trials"), found.get("categories")
    if not (isinstance(trials, list) and trials and isinstance(words, list)):
        return False
    for number, trial in enumerate(trials):
        if not isinstance(trial, dict) or trial.get("id") != number or "reference" not in trial:
            return False
        stimuli = trial.get("stimuli")
        if not (isinstance(stimuli, list) and all(isinstance(s, dict) for s in stimuli)):
            return False
        given = [trial["reference"]] if trial["reference"] is not None else []
        texts += [trial.get("kind"), trial.get("item"), *given]
        texts += [s.get(k) for s in stimuli for k in ("system", "role", "file")]
    return found.get("design") in DESIGNS and all(isinstance(t, str) for t in texts)

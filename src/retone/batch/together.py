"""Recordings that belong together: one setting for a season, one relation for an album.

*Same settings*: parts of all recordings, at their own levels, are matched as one recording; its
settings are then applied to every recording. *Album*: each song is matched by itself, but to a
loudness of its own: all songs are moved by the same number of LU, so that quiet songs stay quiet,
and the album as a whole has the target loudness.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.batch import storage
from retone.batch.job import Job, default_workers
from retone.batch.pool import each
from retone.batch.rows import Recipe, Row
from retone.errors import RetoneError, SettingError
from retone.progress import Progress, silent

if TYPE_CHECKING:
    from retone.process.together import Passage

TOGETHER = ("target", "same-settings", "album")
POOLED_S, LEAST_S = 120.0, 2.0
"""Length of the recording that stands for all, and of each one's part."""
SETTINGS, REPORT = "same_settings.json", "same_settings.html"
_FORMAT = ("format", "bit_depth", "sample_rate")


def joined(job: Job, how: str, progress: Progress = silent) -> Job:
    """A job whose recordings are treated together.

    Args:
        job: a job that matches.
        how: ``"target"``, ``"same-settings"`` or ``"album"``.
        progress: called while the recordings are analysed.

    Returns:
        The job to run instead.

    Raises:
        SettingError: the job cannot be treated so.
        AudioError: a file that would be written exists and is not retone's.
    """
    if how == "target":
        return job
    if job.recipe.verb != "match" or how not in TOGETHER:
        raise SettingError(f"together = {how!r}: expected one of {', '.join(TOGETHER)}, to match.")
    if any({"to", "preset", "loudness"} & set(row.options or ()) for row in job.plan.rows):
        raise SettingError(
            f"together = {how!r} has one target for all recordings: leave references, presets and "
            "loudness out of the manifest."
        )
    if job.refused():
        return job
    return _same_settings(job) if how == "same-settings" else _album(job, progress)


def _album(job: Job, progress: Progress) -> Job:
    from retone.process.level import mono_offset_lu
    from retone.process.together import album_loudness

    options = dict(job.recipe.options)
    wanted = options.get("loudness", "match")
    if wanted == "off":
        raise SettingError("an album needs a loudness: match the reference, or a target in LUFS.")
    if isinstance(wanted, str) and options.get("preset") == "auto":
        raise SettingError("an album needs one preset, not one chosen for each song.")
    if isinstance(wanted, str) and not (options.get("preset") or options.get("to")):
        raise SettingError("an album needs references, a preset, or a loudness in LUFS.")
    target = _target(options) if isinstance(wanted, str) else float(wanted)
    plan = replace(job.plan, rows=list(job.plan.rows))
    first = Job(plan, Recipe("inspect"), job.folder, job.engine, ledger="inspected")
    found = {o.number: o.values for o in first.run(progress) if not o.failed}
    levels = {
        number: (float(values["integrated_lufs"]), float(values["duration_s"]))
        for number, values in found.items()
        if values["integrated_lufs"] is not None
    }
    own = album_loudness(list(levels.values()))
    if target is not None and isinstance(wanted, str) and not options.get("preset"):
        channels = Counter(int(values["channels"]) for values in found.values()).most_common(1)
        count = channels[0][0] if channels else 2
        target -= mono_offset_lu(count, options.get("mono_as", "dual"))
    move = 0.0 if target is None or own is None else target - own
    rows = []
    for number, row in enumerate(job.plan.rows):
        if number in levels:
            goal = round(levels[number][0] + move, 2)
            row = replace(row, options={**(row.options or {}), "loudness": goal})
        rows.append(row)
    return replace(job, plan=replace(job.plan, rows=rows))


def _target(options: Mapping[str, Any]) -> float | None:
    """Loudness that the references, as played, or the preset ask for in LUFS; None for none."""
    from retone import api
    from retone.process.together import references_loudness

    if options.get("preset"):
        return api.open_preset(options["preset"]).profile.loudness_lufs
    with ExitStack() as stack:
        references = _local(list(options["to"]), stack)
        return references_loudness(references, options.get("mono_as", "dual"))


def _local(names: list[str], stack: ExitStack) -> list[Path]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="retone-")))
    return [stack.enter_context(storage.fetched(name, folder)) for name in names]


@dataclass(frozen=True)
class _Part:
    """Takes a part of a recording, in a worker."""

    seconds: float

    def __call__(self, row: Row) -> Passage | None:
        from retone.process.together import passage_of

        try:
            with ExitStack() as stack:
                return passage_of(_local([row.input], stack)[0], self.seconds)
        except RetoneError:
            return None


def _same_settings(job: Job) -> Job:
    from retone import api
    from retone.process.together import pooled

    job.claim(SETTINGS, REPORT)
    rows = [row for row in job.plan.rows if not row.problem]
    count = min(len(rows), int(POOLED_S / LEAST_S))
    chosen = [rows[i * len(rows) // count] for i in range(count)]
    workers = min(default_workers(), count)
    parts = [p for p in each(_Part(POOLED_S / max(count, 1)), chosen, workers, in_order=True) if p]
    if not parts:
        raise SettingError("none of the recordings can be analysed, so there are no settings.")
    options = dict(job.recipe.options)
    own = {name: value for name, value in options.items() if name not in _FORMAT}
    if job.recipe.estimator is not None:
        own["estimator"] = job.recipe.estimator()
    with ExitStack() as stack:
        if own.get("to"):
            own["to"] = _local(own["to"], stack)
        result = api.match(pooled(parts), **own)
    settings = storage.join(job.folder, SETTINGS)
    text = result.settings.to_json()
    if storage.read_bytes(settings) != text.encode("utf-8"):  # else every recording is read again
        storage.write_text(settings, text)
    storage.write_text(storage.join(job.folder, REPORT), result.report)
    if len(chosen) < len(rows):
        job.plan.notes.append(f"The settings were found from {len(chosen)} of {len(rows)}.")
    kept = {name: options[name] for name in _FORMAT if name in options}
    if not isinstance(options.get("loudness", "match"), str):
        kept["loudness"] = options["loudness"]
    recipe = replace(
        job.recipe, verb="apply", options={**kept, "settings": settings}, estimator=None
    )
    return replace(job, recipe=recipe)

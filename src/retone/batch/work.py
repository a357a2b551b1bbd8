"""What a worker does with one task; a worker keeps models and references between tasks."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.batch import storage
from retone.batch.at_work import Note, progress_of
from retone.batch.rows import Outcome, Recipe, Task
from retone.errors import RetoneError, lacks_memory
from retone.files.atomic import content_of, together, write_text_atomic
from retone.progress import Progress, silent

if TYPE_CHECKING:
    from retone.api import Result

SETTINGS_ENDING, REPORT_ENDING = ".json", ".html"
"""Appended to an output's whole name, so that ``a.wav`` and ``a.flac`` do not share one."""
_LEVELS = (
    "integrated_lufs", "true_peak_dbtp", "loudness_range_lu", "crest_db", "short_term_max_lufs",
)  # fmt: skip


class Worker:
    """Processes the tasks of one job.

    Args:
        recipe: what is done with every row.
        note: called while it works.
    """

    def __init__(self, recipe: Recipe, note: Note = lambda *mark: None) -> None:
        if recipe.prepare is not None:
            recipe.prepare()
        self.recipe, self.note = recipe, note
        self.estimator = recipe.estimator() if recipe.estimator is not None else None

    def __call__(self, task: Task) -> Outcome:
        """Process a row; whatever goes wrong is in the outcome."""
        row, begin = task.row, time.process_time()
        outcome = Outcome(task.number, row.input, row.output)
        try:
            with ExitStack() as stack:
                self._process(task, outcome, stack)
        except RetoneError as error:
            fail(outcome, str(error))
        except Exception as error:
            if lacks_memory(error):
                fail(outcome, "there is not enough memory. Use fewer workers.")
            else:
                fail(outcome, f"unexpected {type(error).__name__}: {error}")
        outcome.cpu_s = time.process_time() - begin
        return outcome

    def _process(self, task: Task, outcome: Outcome, stack: ExitStack) -> None:
        options, folder = dict(task.options), Path()
        if storage.is_url(task.row.input) or storage.is_url(task.folder):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="retone-")))
        source = stack.enter_context(storage.fetched(task.row.input, folder))
        outcome.sources = [_content(task.row.input, source, task.row.state)]
        for name in sources(options):
            outcome.sources.append(_shared_content(name, _state_or_none(name)))
        if task.known is not None and list(task.known) == [c for _, c in outcome.sources]:
            outcome.status = "same"
            return
        if "to" in options:
            options["to"] = [str(stack.enter_context(_shared(r))) for r in options["to"]]
        for name in ("settings", "weights"):
            if options.get(name):
                options[name] = str(stack.enter_context(_shared(options[name])))
        progress = progress_of(task.number, self.note)
        if self.recipe.verb == "inspect":
            outcome.values = inspected(source, progress)
            return
        remote = storage.is_url(task.folder)
        place = folder / "out" if remote else Path(task.folder)
        output = place / task.row.output
        output.parent.mkdir(parents=True, exist_ok=True)
        force = task.replace or remote
        written = {task.row.output: output}
        with together():  # a row that fails leaves none of its files
            result = self._result(source, output, options | {"progress": progress}, force)
            texts = {SETTINGS_ENDING: result.settings.to_json()}
            if self.recipe.report:
                texts[REPORT_ENDING] = result.page(output=content_of(output))
            for ending, text in texts.items():
                name = task.row.output + ending
                write_text_atomic(place / name, text, force)
                written[name] = place / name
        outcome.values = measured(result)
        for name, path in written.items():
            outcome.files[name] = (path.stat().st_size, storage.digest(path))
        if remote:
            for name, path in written.items():
                storage.deliver(path, storage.join(task.folder, name))

    def _result(
        self, source: Path, output: Path, options: Mapping[str, Any], force: bool
    ) -> Result:
        from retone import api

        given = {
            n: v for n, v in options.items() if n not in ("format", "bit_depth", "sample_rate")
        }
        asked = [options.get(name) for name in ("format", "bit_depth", "sample_rate")]
        if asked != [None, None, None]:
            given["output_format"] = api.OutputFormat(*asked)
        if self.recipe.verb == "apply":
            return api.apply(source, given.pop("settings"), output, force=force, **given)
        if self.recipe.verb == "enhance":
            return api.enhance(source, output, force=force, **given)
        if self.estimator is not None:
            given["estimator"] = self.estimator
        return api.match(source, output=output, force=force, **given)


def fail(outcome: Outcome, error: str) -> Outcome:
    """The outcome as failed, with one sentence that names the recording."""
    text = " ".join(error.split())
    if storage.base_name(outcome.input) not in text:
        text = f"{outcome.input}: {text}"
    outcome.status, outcome.error, outcome.values = "failed", text, {}
    outcome.files = {}
    return outcome


def sources(options: Mapping[str, Any]) -> Iterator[str]:
    """Files that options refer to, besides the input."""
    yield from options.get("to") or ()
    for name in ("preset", "settings", "weights"):
        value = options.get(name)
        if value and (storage.is_url(str(value)) or os.path.isfile(str(value))):
            yield str(value)


def measured(result: Result) -> dict[str, Any]:
    """A row of the table of results."""
    settings = result.settings
    before = next(s for s in settings.sources if s.role == "input")
    found: dict[str, Any] = {
        "duration_s": before.duration_s,
        "sample_rate_hz": before.sample_rate_hz,
        "channels": before.channels,
    }
    for role in ("before", "after", "reference"):
        for name in _LEVELS if role != "reference" else _LEVELS[:1]:
            value = settings.levels.get(role, {}).get(name)
            found[f"{role}_{name}"] = value
    plan = settings.level_plan
    if plan is not None:
        found |= {
            "target_lufs": plan.target_lufs,
            "gain_db": plan.gain_db,
            "limiter_most_db": plan.limiter_most_db,
            "limiter_active_percent": plan.limiter_active_percent,
        }
    found["summary"] = result.summary
    found["notes"] = " ".join((*settings.notes, *settings.warnings))
    return found


def inspected(source: Path, progress: Progress = silent) -> dict[str, Any]:
    """The measurements of ``retone.audio.inspect`` as a row."""
    from retone.audio.inspect import inspect

    return {**inspect(source, progress=progress).to_dict(), "content": content_word(source)}


def content_word(path: Path) -> str | None:
    """``speech`` or ``music``; None where it cannot be told."""
    from retone.api import content_of_recording

    try:
        return content_of_recording(path).kind
    except RetoneError:  # silent or short
        return None


def _content(name: str, local: Path, listed: str) -> tuple[str, str]:
    """State and content of an input; the state is "" where it says nothing."""
    try:
        state = listed or storage.state(name) if storage.is_url(name) else storage.settled(name)
        return state, storage.digest(local)
    except FileNotFoundError:
        return "", ""  # opening it says what is wrong
    except OSError:
        return "", ""


def _state_or_none(name: str) -> str:
    try:
        return storage.state(name) if storage.is_url(name) else storage.settled(name)
    except OSError:
        return ""


@functools.lru_cache(maxsize=256)
def _shared_content(name: str, state: str) -> tuple[str, str]:
    try:
        with _shared(name) as local:
            return state, storage.digest(local)
    except (OSError, RetoneError):
        return "", ""


class _shared:
    """A file that many rows read: fetched once per worker, kept until the process ends."""

    _kept: dict[str, tuple[str, tempfile.TemporaryDirectory[str], Path]] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Path:
        if not storage.is_url(self.name):
            return Path(self.name)
        state = _state_or_none(self.name)
        known = self._kept.get(self.name)
        if known is None or known[0] != state:
            folder = tempfile.TemporaryDirectory(prefix="retone-")
            with storage.fetched(self.name, Path(folder.name)) as local:
                kept = Path(folder.name) / local.name
                local.rename(kept)
            self._kept[self.name] = known = (state, folder, kept)
        return known[2]

    def __exit__(self, *error: object) -> None:
        return None


_worker: Worker | str = ""


def start(recipe: Recipe, note: Note = lambda *mark: None) -> None:
    """Prepare this process to be a worker; every task answers with what went wrong here."""
    global _worker
    try:
        _worker = Worker(recipe, note)
    except RetoneError as error:
        _worker = str(error)


def run(task: Task) -> Outcome:
    """Process a task in a process that was started as a worker."""
    if isinstance(_worker, str):
        return fail(Outcome(task.number, task.row.input, task.row.output), _worker)
    return _worker(task)


def died(task: Task) -> Outcome:
    """The outcome of a task whose process ended without an answer."""
    return fail(
        Outcome(task.number, task.row.input, task.row.output),
        "the process that worked on it ended unexpectedly, perhaps for lack of memory.",
    )

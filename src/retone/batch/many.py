"""Jobs over many recordings in Python: ``retone.process_many``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from retone.batch.job import Job, local_engine
from retone.batch.manifest import check, row_of
from retone.batch.plan import plan_of
from retone.batch.pool import require_guard
from retone.batch.rows import SUFFIXES, Outcome, Recipe
from retone.batch.shared import check_shared
from retone.batch.together import joined
from retone.errors import SettingError, nearest
from retone.process.arguments import check_kinds
from retone.progress import Progress, silent


def process_many(
    items: Iterable[str | Path | Mapping[str, Any]],
    output: str | Path | None = None,
    *,
    verb: str = "match",
    workers: int = 0,
    cluster: str | None = None,
    together: str = "target",
    report: bool = True,
    force: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Iterator[Outcome]:
    """Process many recordings; yields an outcome for each, in the order of the items.

    Recordings that were done before, with the same content and options, are skipped. What fails is
    an outcome with an ``error``; the others are still processed. Only a few recordings per worker
    are in flight, however many there are.

    Args:
        items: recordings: paths, folders, patterns and URLs, or mappings with ``input``, perhaps
            ``output``, and options of one recording.
        output: folder for the results, a path or URL; needed for all but ``"inspect"``.
        verb: ``"match"``, ``"enhance"``, ``"apply"`` or ``"inspect"``.
        workers: processes to work in; 0 works in this one. A script that asks for processes needs
            ``if __name__ == "__main__":`` around what it does.
        cluster: address of a Ray cluster to work on instead, ``"local"`` to start one.
        together: ``"target"``, ``"same-settings"`` or ``"album"``, for ``"match"``.
        report: also write a report next to each output.
        force: replace files in ``output`` that retone did not write.
        progress: called with minutes of audio.
        options: as of ``retone.match``, ``enhance`` or ``apply``: ``to``, ``preset``, ``loudness``,
            ``settings``, ...; and ``format``, ``bit_depth`` and ``sample_rate`` of the output.

    Returns:
        An iterator; work begins with the first outcome that is taken.

    Raises:
        SettingError: an option is unknown, there is no recording at all, or a script that asks for
            processes has no guard.
        AudioError: another job works in ``output``, or it cannot be written to, or a reference
            that all share cannot be read. Nothing is left of a job that is refused.
    """
    if isinstance(items, (str, os.PathLike)):
        items = [items]
    check_kinds(locals(), ("output", "cluster"))
    if workers or cluster or together == "same-settings":
        require_guard()
    if verb not in SUFFIXES:
        raise SettingError(f"verb = {verb!r} is unknown.{nearest(verb, SUFFIXES)}")
    if output is None and verb != "inspect":
        raise SettingError("process_many: give 'output', the folder for the results.")
    check_kinds(options, options)
    folder = "" if output is None else str(output)
    given = [i if isinstance(i, Mapping) else os.fspath(i) for i in items]
    own = {name: _plain(value) for name, value in check(options, verb).items()}
    if any(isinstance(item, Mapping) for item in given):
        records = [item if isinstance(item, Mapping) else {"input": item} for item in given]
        rows = [row_of(_record(r), f"item {n}", "", verb) for n, r in enumerate(records)]
        plan = plan_of([], folder, verb=verb, format_name=own.get("format"), rows=rows)
    else:
        names = [str(item) for item in given]
        plan = plan_of(names, folder, verb=verb, format_name=own.get("format"))
    if cluster is not None:
        from retone.batch.cluster import ray_engine

        engine = ray_engine(None if cluster == "local" else cluster)
    else:
        engine = local_engine(workers)
    check_shared(own)
    job = joined(Job(plan, Recipe(verb, own, report), folder, engine, force), together, progress)
    return job.run(progress, in_order=True)


def _record(item: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _plain(value) for name, value in item.items()}
    if isinstance(found.get("to"), str):
        found["to"] = [found["to"]]
    return found


def _plain(value: Any) -> Any:
    """Paths as text, so that options can be compared and sent."""
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, os.PathLike) else value

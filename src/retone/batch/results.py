"""What a job leaves besides the recordings: the table of results and the summary page."""

from __future__ import annotations

from pathlib import Path

from retone.batch import storage, summary, tables
from retone.batch.job import Job
from retone.errors import RetoneError
from retone.files.atomic import write_text_atomic

TABLE, PAGE = "results", "summary.html"


def write_results(job: Job, table: str = "csv") -> dict[str, str]:
    """Write both next to the results; what cannot be written is added to the job's problems.

    Args:
        job: a job that has run.
        table: ``"csv"`` or ``"parquet"``.

    Returns:
        What was written: ``table`` and ``summary`` -> path or URL.
    """
    written = {}
    verb = job.recipe.verb
    try:
        target = storage.join(job.folder, f"{TABLE}.{table}")
        tables.write_table(job.records(), target, verb)
        written["table"] = target
        target, page = storage.join(job.folder, PAGE), summary.render(job.records(), verb)
        if storage.is_url(target):
            storage.write_bytes(target, page.encode("utf-8", "backslashreplace"))
        else:
            write_text_atomic(Path(target), page, force=True)
        written["summary"] = target
    except RetoneError as error:
        job.totals.problems.append(str(error))
    return written

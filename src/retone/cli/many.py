"""What commands share when they work on many recordings: options, progress and the end report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retone.batch.job import Job, Totals

INPUT_HELP = (
    "recordings to change: files, folders, patterns such as 'ep*.wav', URLs, or a manifest "
    "(.csv, .jsonl, .parquet); - is standard input"
)


def path_or_url(text: str) -> Any:
    """A path, or a URL as text."""
    return text if "://" in text else Path(text)


class _Manifest(argparse.Action):
    """Collects manifests, whose rows may hold all that else has to be given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])
        for action in parser._actions:
            action.required = False
        for group in parser._mutually_exclusive_groups:
            group.required = False


def add_many_arguments(
    parser: argparse.ArgumentParser,
    *,
    together: bool = False,
    metavar: str = "INPUT",
    about: str = INPUT_HELP,
) -> None:
    """The inputs, and the options of jobs over many of them."""
    parser.add_argument("inputs", nargs="+", metavar=metavar, help=about)
    many = parser.add_argument_group(
        "many recordings (-o names a folder then)",
        "The folder also gets a table (results.csv) and a page (summary.html). What an earlier run "
        "has done there is not done again.",
    )
    many.add_argument(
        "--manifest",
        action=_Manifest,
        default=[],
        metavar="FILE",
        help="a table with one recording per row, its references and options (repeatable)",
    )
    many.add_argument(
        "--jobs",
        type=_count,
        default=None,
        metavar="N",
        help="worker processes, 0 to work without (default: one per processor)",
    )
    if together:
        many.add_argument(
            "--together",
            choices=("target", "same-settings", "album"),
            default="target",
            help="each to the same target; all with the same settings, found from all of them; or "
            "an album, whose songs keep their differences in loudness (default: target)",
        )
    many.add_argument(
        "--table",
        choices=("csv", "parquet"),
        default="csv",
        help="format of the table of results (default: csv)",
    )
    many.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where to work: processes here, or a Ray cluster (default: local)",
    )
    many.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="address of the Ray cluster, such as ray://head:10001 (default: start one here)",
    )


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of processes, such as 4")
    return value


def is_many(args: argparse.Namespace) -> bool:
    """Whether the inputs stand for more than one recording; sets ``args.input`` if not."""
    from retone.batch.plan import is_many as several

    many = bool(args.manifest) or several(args.inputs) or isinstance(args.output, str)
    if not many:
        args.input = Path(args.inputs[0])
    return many


def output_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of every command that writes audio, as a job takes them."""
    found = {
        "amount": args.amount, "loudness": args.loudness, "format": args.format,
        "bit_depth": args.bit_depth, "sample_rate": args.sample_rate,
    }  # fmt: skip
    options: dict[str, Any] = {n: v for n, v in found.items() if v is not None}
    if args.true_peak is not Ellipsis:
        options["true_peak_dbtp"] = args.true_peak
    return options


def run_many(
    verb: str,
    args: argparse.Namespace,
    options: Mapping[str, Any],
    *,
    prepare: Callable[[], object] | None = None,
    estimator: Callable[[], Any] | None = None,
    stamp: str = "",
) -> int:
    """Run a job and report on it.

    Returns:
        The exit code, as of ``exit_code``.
    """
    from retone.batch.shared import check_shared
    from retone.cli.streams import STREAM, refuse_stream
    from retone.errors import SettingError
    from retone.terminal import progress_bar

    if args.output is None:
        raise SettingError("several recordings need a folder for the results: give -o FOLDER.")
    if args.output == STREAM:
        raise SettingError("standard output (-) is no folder: give -o FOLDER.")
    if Path(args.output).is_file():
        raise SettingError(f"{args.output} is a file; several recordings need a folder.")
    refuse_stream(options.get("to", ()))
    job = job_of(verb, args, options, prepare=prepare, estimator=estimator, stamp=stamp)
    check_shared(options)
    _check_results(job, args)
    if not args.quiet:
        for note in job.plan.notes:
            print(f"note: {one_line(note)}")
    with progress_bar() as progress:
        if getattr(args, "together", "target") != "target":
            from retone.batch.together import joined

            job = joined(job, args.together, progress)
        for _ in job.run(progress):
            pass
    return finish(job, args)


def _check_results(job: Job, args: argparse.Namespace) -> None:
    """Refuse to write the table or the page over what is read or is not retone's."""
    from retone.batch import storage, tables
    from retone.files.atomic import protect

    names = _result_names(args.table)
    tables.require_writer(names[0])
    if not storage.is_url(job.folder):
        read = [n for n in (*(args.inputs or ()), *args.manifest) if not storage.is_url(n)]
        written = [Path(storage.join(job.folder, name)) for name in names]
        protect({Path(name): "the manifest" for name in read}, written)
    job.claim(*names)


def _result_names(table: str) -> tuple[str, str]:
    return f"results.{table}", "summary.html"


def job_of(verb: str, args: argparse.Namespace, options: Mapping[str, Any], **how: Any) -> Job:
    """The job over the inputs of a command line; ``how`` are fields of ``Recipe``."""
    from retone.batch.job import Job, default_workers, local_engine
    from retone.batch.plan import plan_of
    from retone.batch.rows import Recipe
    from retone.errors import SettingError

    if "-" in (args.inputs or ()):
        alone = "without -o" if verb == "inspect" else "with -o FILE"
        raise SettingError(
            f"standard input (-) is processed alone, {alone}, and not as one of many or as a job. "
            "To have it among others, save it as a file."
        )
    folder = str(args.output or "")
    plan = plan_of(
        args.inputs or (), folder, verb=verb, format_name=args.format, manifests=args.manifest
    )
    if args.engine == "ray":
        from retone.batch.cluster import ray_engine

        engine = ray_engine(args.cluster, args.jobs)
    else:
        workers = default_workers() if args.jobs is None else args.jobs
        engine = local_engine(min(workers, len(plan.rows)))
    recipe = Recipe(verb, options, report=not args.no_report, **how)
    return Job(plan, recipe, folder, engine, force=args.force)


def finish(job: Job, args: argparse.Namespace) -> int:
    """Write table and summary, list what failed; returns the exit code."""
    totals = job.totals
    written = _write_results(job, args.table)
    if not args.quiet:
        print(counts(totals))
        for what, name in written.items():
            print(f"{what:9} {name}")
    list_errors(job, f"retone {args.command}")
    return exit_code(totals.failed, totals.rows) or (1 if totals.problems else 0)


def exit_code(failed: int, of: int) -> int:
    """0 if no recording failed, 1 if some did, 2 if all did, as for one alone."""
    return 0 if not failed else 2 if failed == of else 1


def _write_results(job: Job, table: str) -> dict[str, str]:
    """Write the table and the page; what cannot be written is one of the job's problems."""
    from retone.batch import storage, tables
    from retone.errors import RetoneError
    from retone.report.many import render_many

    verb = job.recipe.verb
    written: dict[str, str] = {}
    if job.refused():
        return written
    results, summary = (storage.join(job.folder, name) for name in _result_names(table))
    try:
        tables.write_table(job.records(), results, verb)
        written["table"] = results
        storage.write_text(summary, render_many(job.records(), verb))
        written["summary"] = summary
    except RetoneError as error:
        job.totals.problems.append(str(error))
    return written


def counts(totals: Totals) -> str:
    """``18 done, 2 done before, 1 failed.``"""
    found = [f"{totals.done} done"]
    if totals.same:
        found.append(f"{totals.same} done before")
    if totals.failed:
        found.append(f"{totals.failed} failed")
    return ", ".join(found) + "."


def list_errors(job: Job, program: str) -> None:
    """One line for each recording that failed."""
    from retone.terminal import as_options

    totals = job.totals
    if totals.errors:
        print(f"{program}: {totals.failed} of {totals.rows} recordings failed:", file=sys.stderr)
    for number in sorted(totals.errors):
        print(f"  {one_line(as_options(totals.errors[number]))}", file=sys.stderr)
    for problem in totals.problems:
        print(f"{program}: {one_line(problem)}", file=sys.stderr)


def one_line(text: str) -> str:
    """Text that any terminal can show on one line."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = sys.stderr.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)

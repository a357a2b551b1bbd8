"""Which recordings a job processes and what each output is called.

Inputs are files, folders, patterns with ``*``, ``?`` and ``[...]``, URLs and manifests. The plan
holds one row per recording in a fixed order. What cannot be processed is a row too, with its
problem, so that it is listed among the results.
"""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePosixPath

from retone.audio.formats import CONTAINERS, READABLE, extension_of
from retone.batch import manifest, storage
from retone.batch.rows import Row
from retone.errors import SettingError

MANIFESTS = (".csv", ".jsonl", ".ndjson", ".parquet")
_MAGIC = frozenset("*?[")


@dataclass
class Plan:
    """Rows in the order of the results, and sentences for the user."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_many(inputs: Sequence[str]) -> bool:
    """Whether inputs stand for more than one plain recording."""
    if len(inputs) != 1:
        return True
    name = inputs[0]
    if storage.is_url(name):
        return True
    if name.lower().endswith(MANIFESTS) and os.path.isfile(name):
        return True
    return os.path.isdir(name) or (_has_magic(name) and not os.path.exists(name))


def plan_of(
    inputs: Sequence[str],
    folder: str = "",
    *,
    verb: str = "match",
    format_name: str | None = None,
    manifests: Sequence[str] = (),
    rows: Sequence[Row] = (),
) -> Plan:
    """List the recordings of a job.

    Names of outputs: the contents of one folder, of one pattern's folder or of a manifest keep
    their tree below ``folder``. Several folders keep their own names. Single files go directly into
    ``folder``, or keep their tree below the folder that all of them share where two have one name.

    Args:
        inputs: files, folders, patterns, URLs, and manifests by their ending.
        folder: path or URL where outputs go; empty where nothing is written.
        verb: what is done; ``"inspect"`` keeps the names as they are.
        format_name: the format of all outputs, which decides their endings.
        manifests: files with one recording per row.
        rows: further recordings, with their options.

    Raises:
        SettingError: there is no recording at all, or a manifest's column or value is not possible.
        DataError: a manifest cannot be read.
    """
    plan = Plan()
    listed = [n for n in inputs if n.lower().endswith(MANIFESTS) and not storage.is_folder(n)]
    others = [name for name in inputs if name not in listed]
    tree = _Tree(plan, folder)
    tables = (manifest.rows_of(name, verb) for name in (*listed, *manifests))
    for row in (*rows, *chain.from_iterable(tables)):
        problem = row.problem or tree.missing(row.input)
        plan.rows.append(replace(row, problem=problem, size=_size(row.input)))
    folders = [name for name in others if storage.is_folder(name)]
    singles: list[str] = []
    for name in others:
        if name in folders:
            below = f"{storage.base_name(os.path.abspath(name))}/" if len(folders) > 1 else ""
            if storage.is_url(name) and below:
                below = f"{storage.base_name(name.rstrip('/'))}/"
            plan.rows += tree.rows(name, below)
        elif _has_magic(name) and not os.path.exists(name):
            matches = _matches(name)
            if not matches:
                plan.rows.append(Row(name, name, problem=_no_match(name)))
            found = [m for m in matches if not storage.is_folder(m)]
            singles += [m for m in found if not tree.is_output(m)]
        else:
            singles.append(name)
    plan.rows += [tree.single(name, output) for name, output in _named(singles)]
    if not plan.rows:
        where = ", ".join((*inputs, *manifests)) or "the manifest"
        raise SettingError(
            f"{where}: no recording found. Expected files such as .wav, .flac, .mp3 or .m4a."
        )
    if all(row.problem == _no_match(row.input) for row in plan.rows):
        raise SettingError(" ".join(row.problem for row in plan.rows))
    if verb != "inspect":
        plan.rows = [_with_ending(row, format_name) for row in plan.rows]
    plan.rows = _without_clashes(plan.rows, folder)
    return plan


class _Tree:
    """Walks folders: every folder once, links followed, the job's own results left out."""

    def __init__(self, plan: Plan, folder: str) -> None:
        self.plan = plan
        self.url = folder if storage.is_url(folder) else ""
        self.results = os.path.realpath(folder) if folder and not self.url else ""
        self.seen: set[tuple[int, int]] = set()

    def is_output(self, name: str) -> bool:
        """Whether a path lies in the folder of the results."""
        if not self.results or storage.is_url(name):
            return False
        path = os.path.realpath(name)
        return path == self.results or path.startswith(self.results.rstrip(os.sep) + os.sep)

    def missing(self, name: str) -> str:
        """What is wrong with a file that was named, or ""."""
        if storage.is_url(name):
            return ""
        if not os.path.lexists(name):
            return f"{name} does not exist. Check the name."
        if not os.path.exists(name):
            return f"{name} is a link to a file that does not exist."
        if not os.path.isfile(name):
            return _no_file(name)
        if self.is_output(name):
            return f"{name} is in the folder of the results. Choose another folder for them."
        return ""

    def single(self, name: str, output: str) -> Row:
        """The row of one named file."""
        problem = self.missing(name)
        return Row(name, output, 0 if problem else _size(name), problem=problem)

    def rows(self, folder: str, below: str) -> Iterator[Row]:
        """The recordings of a folder and its subfolders, in order of their names."""
        if storage.is_url(folder):
            results = self.url.rstrip("/") + "/" if self.url else None
            for name, info in storage.found_in(folder).items():
                source = storage.join(folder, name)
                if _is_recording(name) and not (results and source.startswith(results)):
                    state = storage.remote_state(info)
                    yield Row(source, below + name, int(info.get("size") or 0), state)
            return
        if self.is_output(folder):
            yield Row(
                folder,
                below or folder,
                problem=f"{folder} is the folder of the results, or inside it. Choose another.",
            )
            return
        waiting: list[tuple[str, str, tuple[str, ...], bool]] = [(folder, below, (), False)]
        linked: list[tuple[str, str, tuple[str, ...], bool]] = []
        while waiting or linked:
            path, prefix, above, is_link = waiting.pop() if waiting else linked.pop(0)
            real = os.path.realpath(path)
            try:
                status = os.stat(path)
                entries = sorted(os.scandir(path), key=lambda e: e.name)
            except OSError as error:
                why = error.strerror or "it cannot be read"
                yield Row(
                    path, prefix or path, problem=f"{path}: the folder cannot be read: {why}."
                )
                continue
            if real in above:
                yield Row(path, prefix, problem=f"{path} is a link that leads back to {real}.")
                continue
            if (status.st_dev, status.st_ino) in self.seen and is_link:
                self.plan.notes.append(f"{path} is a link to a folder that was listed already.")
                continue
            self.seen.add((status.st_dev, status.st_ino))
            inner: list[tuple[str, str, tuple[str, ...], bool]] = []
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if self.results and self.is_output(entry.path):
                        self.plan.notes.append(f"{entry.path} holds the results; left out.")
                        continue
                    step = (
                        entry.path,
                        f"{prefix}{entry.name}/",
                        (*above, real),
                        entry.is_symlink(),
                    )
                    (linked if entry.is_symlink() else inner).append(step)
                elif _is_recording(entry.name):
                    yield self._file(entry, prefix)
            waiting += reversed(inner)

    def _file(self, entry: os.DirEntry[str], prefix: str) -> Row:
        output = prefix + entry.name
        try:
            size = entry.stat().st_size
        except OSError:
            problem = f"{entry.path} is a link to a file that does not exist."
            return Row(entry.path, output, problem=problem)
        if not entry.is_file():
            return Row(entry.path, output, problem=_no_file(entry.path))
        return Row(entry.path, output, size)


def _no_file(name: str) -> str:
    """What is wrong with a named pipe, which would be waited for without end, and the like."""
    return f"{name} is not a file. Leave it out, or save its sound as a file."


def _is_recording(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in READABLE


def _has_magic(name: str) -> bool:
    return bool(_MAGIC & set(name))


def _no_match(pattern: str) -> str:
    return f"{pattern} matches no file."


def _matches(pattern: str) -> list[str]:
    """Files that match a pattern; Windows' shells leave that to the program."""
    if storage.is_url(pattern):
        return storage.expanded(pattern)
    found = sorted(glob.glob(pattern, recursive=True))
    return [name for name in found if os.path.isfile(name)]


def _named(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Single files with the names of their outputs; a file that is named twice counts once."""
    once = list(dict.fromkeys(names))
    bases = [storage.base_name(name) for name in once]
    if len(set(bases)) == len(bases):
        yield from zip(once, bases, strict=True)
        return
    whole = [n if storage.is_url(n) else Path(os.path.abspath(n)).as_posix() for n in once]
    shared = os.path.commonprefix([PurePosixPath(name).parent.parts for name in whole])
    for name, full in zip(once, whole, strict=True):
        yield name, "/".join(PurePosixPath(full).parts[len(shared) :])


def _size(name: str) -> int:
    return 0 if storage.is_url(name) else storage.size_of(name) or 0


def _with_ending(row: Row, format_name: str | None) -> Row:
    """The output's ending: that of the format, the input's, or .wav where it cannot be written."""
    options = row.options or {}
    stem, ending = os.path.splitext(row.output)
    named = options.get("format") or format_name
    if row.options is not None and "output" in row.options:
        return replace(row, options={n: v for n, v in options.items() if n != "output"})
    if named:
        return replace(row, output=stem + extension_of(named))
    if ending.lower() in CONTAINERS or row.problem:
        return row
    return replace(row, output=stem + ".wav")


def _without_clashes(rows: list[Row], folder: str) -> list[Row]:
    """Rows whose output another row writes too get a problem.

    A recording that keeps its own name comes before one whose ending had to change; of several
    that keep or change it, none is the right one.
    """
    fold = _ignores_case(folder)

    def key(output: str) -> str:
        return unicodedata.normalize("NFC", output).casefold() if fold else output

    counts = Counter(key(row.output) for row in rows if not row.problem)
    twice = {name for name, count in counts.items() if count > 1}
    if not twice:
        return rows
    groups: dict[str, list[str]] = {}
    for row in sorted(rows, key=_keeps_ending, reverse=True):
        if not row.problem and key(row.output) in twice:
            groups.setdefault(key(row.output), []).append(row.input)
    kept = Counter(key(r.output) for r in rows if not r.problem and _keeps_ending(r))
    found = []
    for row in rows:
        others = groups.get(key(row.output), []) if not row.problem else []
        if others and not (_keeps_ending(row) and kept[key(row.output)] == 1):
            other = next((o for o in others if o != row.input), None)
            row = replace(
                row,
                problem=f"{row.input}: its output would be {row.output}, and so would that of "
                f"{other}. Rename one, or give both outputs names in a manifest."
                if other
                else f"{row.input} is listed {len(others)} times, and each output would be "
                f"{row.output}. Give each row an output of its own.",
            )
        found.append(row)
    return found


def _keeps_ending(row: Row) -> bool:
    return os.path.splitext(row.input)[1].lower() == os.path.splitext(row.output)[1].lower()


def _ignores_case(folder: str) -> bool:
    """Whether the disk of a folder takes upper and lower case for the same name."""
    if not folder or storage.is_url(folder):
        return False
    path = Path(folder).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    for here in (path, *path.parents):
        other = here.with_name(here.name.swapcase()) if here.name else here
        if other.name != here.name:
            return other.exists() and other.samefile(here)
    return os.name == "nt"

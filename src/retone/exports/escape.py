"""Text from files in the languages of other programs: one function for each language.

Names of recordings and effects come from settings files, which people share. In a comment, a label
or a cell they must stay text. Everything that a target writes from a plan passes through here.
"""

from __future__ import annotations

import re

from retone.errors import no_formula, one_line

_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}


def hash_comment(text: str) -> str:
    """A comment line of YAML or Equalizer APO, which evaluates what stands between backticks."""
    return "# " + one_line(text).replace("`", "'")


def jsfx_text(text: str) -> str:
    """Text for a title, a label or a comment of a JSFX script.

    Its preprocessor runs what stands between ``<?`` and ``?>``, and a slider's label ends its line.
    """
    return re.sub("[<>]", " ", one_line(text))


def jsfx_comment(text: str) -> str:
    """A comment line of a JSFX script."""
    return "// " + jsfx_text(text).rstrip("\\")


def docstring(text: str) -> str:
    """Text inside a Python docstring."""
    return one_line(text).replace("\\", "/").replace('"', "'")


def yaml_key(name: str) -> str:
    """A name as a plain key of YAML: letters, digits, ``_`` and ``-``; text in every case."""
    key = re.sub(r"[^\w-]", "_", name)
    plain = key[:1].isalpha() and key.lower() not in _YAML_WORDS
    return key if plain else f"_{key}"


def csv_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula."""
    plain = no_formula(one_line(text))
    return '"' + plain.replace('"', '""') + '"' if re.search('[,"]', plain) else plain


def file_stem(text: str) -> str:
    """Part of a file's name, of characters that need no quoting; never empty, never a folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:80] or "settings"

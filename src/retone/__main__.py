"""``python -m retone`` is the ``retone`` command."""

from retone.cli.main import console

raise SystemExit(console())

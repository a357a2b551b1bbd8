"""``python -m retone`` is the ``retone`` command."""

from retone.cli.main import main

raise SystemExit(main())

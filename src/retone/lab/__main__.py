"""``python -m retone.lab`` runs the lab's command line."""

from retone.lab.main import main
from retone.terminal import run_process

raise SystemExit(run_process(main))

"""Free training corpora from Debian packages: ``build`` fetches, cleans and lays them out."""

from __future__ import annotations

from retone.training.debian.builder import build

__all__ = ["build"]

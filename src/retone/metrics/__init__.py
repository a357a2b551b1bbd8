"""Metrics of both papers, one entry each in ``METRICS``."""

from __future__ import annotations

from retone.metrics.table import (
    ENHANCE_METRICS,
    LEVEL_FREE,
    METRICS,
    STYLE_METRICS,
    TABLE_I,
    Metric,
)

__all__ = ["ENHANCE_METRICS", "LEVEL_FREE", "METRICS", "STYLE_METRICS", "TABLE_I", "Metric"]

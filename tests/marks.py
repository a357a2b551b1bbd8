"""Which tests are slow, need a GPU or a browser: one list instead of marks in every file.

Chosen by ``pytest --durations``. ``make check`` leaves these out.
"""

from __future__ import annotations

SLOW = (
    "tests/architecture/test_lazy_imports.py",
    "tests/architecture/test_rooms.py",
    "tests/batch/",
    "tests/cli/",
    "tests/contract/test_edges.py::test_a_second_derivative_is_right_or_refused",
    "tests/contract/test_effects.py::test_blocks_equal_the_whole",
    "tests/contract/test_effects.py::test_finite_at_both_ends_of_every_range",
    "tests/contract/test_effects.py::test_gradcheck",
    "tests/contract/test_effects.py::test_response_is_what_an_impulse_measures",
    "tests/contract/test_metrics.py",
    "tests/docs/test_examples.py",
    "tests/docs/test_notebooks.py",
    "tests/docs/test_pages.py::test_a_page_runs_from_top_to_bottom",
    "tests/export/test_export_renders.py",
    "tests/golden/",
    "tests/outside/",
    "tests/studio/",
    "tests/training/",
    "tests/unit/test_audio_limiter.py",
    "tests/unit/test_audio_writer.py",
    "tests/unit/test_bench.py",
    "tests/unit/test_bench_report.py",
    "tests/unit/test_core.py",
    "tests/unit/test_expectation.py",
    "tests/unit/test_function_transforms.py",
    "tests/unit/test_kernel_dynamics.py",
    "tests/unit/test_presets.py",
    "tests/unit/test_report_page.py",
    "tests/unit/test_report_sound.py",
    "tests/unit/test_styles.py",
)
"""Folders, files and tests, as pytest names them."""

BROWSER = (
    "tests/studio/test_listening_page.py",
    "tests/studio/test_studio_faults.py",
    "tests/studio/test_studio_page.py",
    "tests/unit/test_report_page.py",
)


def marks_of(node: str) -> list[str]:
    """The marks of a test, by its node id."""
    marks = []
    if node.startswith(SLOW) or "[scan" in node or "-scan" in node:
        marks.append("slow")
    if node.startswith(BROWSER):
        marks.append("browser")
    if "cuda" in node.partition("[")[2]:
        marks.append("gpu")
    return marks

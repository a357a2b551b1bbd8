"""What ``retone.match`` and its companions return: audio, settings and the report."""

from __future__ import annotations

import functools
from dataclasses import fields, replace
from html import escape
from pathlib import Path

from retone.process.result import Rendered
from retone.process.single_thread import single_thread
from retone.report.collect import measured_of, report_of
from retone.report.html import render_report
from retone.report.sound import beside, sound_of
from retone.report.summary import noticed


class Result(Rendered):
    """A processed recording: ``audio``, ``sample_rate``, ``settings``, ``summary``, ``report``
    and ``save``.

    ``result.decision.setting`` holds the parameter values, ``result.sides`` the measured levels and
    spectra, ``result.warnings`` and ``result.decision.notes`` sentences for the user. A notebook
    shows the report.
    """

    @classmethod
    def of(cls, rendered: Rendered) -> Result:
        """The same with a report."""
        return cls(**{f.name: getattr(rendered, f.name) for f in fields(rendered)})

    @functools.cached_property
    def summary(self) -> str:
        """What a listener would notice, in one sentence: "Brighter above 3 kHz by 6 dB." """
        return noticed(measured_of(self))

    @functools.cached_property
    def report(self) -> str:
        """The report: one HTML page that needs nothing else, with sound."""
        return self.page()

    def page(self, *, sound: bool = True, output: Path | None = None) -> str:
        """The report as a page.

        Args:
            sound: embed the recording before and after and the reference, up to about 40 s each as
                compressed sound, so that the page can play them.
            output: where the output's content is, if it does not have its name yet.
        """
        with single_thread():
            data = report_of(self)
            return render_report(replace(data, sound=sound_of(self, output)) if sound else data)

    def page_beside(self, stem: str, output: Path | None = None) -> tuple[str, dict[str, bytes]]:
        """The report as a page that plays files beside it.

        Args:
            stem: of the page's name; the files begin with it.
            output: where the output's content is, if it does not have its name yet.

        Returns:
            The page, and the content of each file by name: whole recordings of up to half an
            hour as Ogg Opus.
        """
        with single_thread():
            sound = sound_of(self, output, whole=True)
            if sound is None:
                return self.page(sound=False), {}
            sound, files = beside(sound, stem)
            return render_report(replace(report_of(self), sound=sound)), files

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.page(sound=False))}" width="100%" height="640" '
            'style="border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        before, after = self.sides[:2]
        where = f"'{self.output}'" if self.output else "in memory"
        loudness = [s.levels.integrated_lufs for s in (before, after) if s.levels]
        return (
            f"Result({where}, {after.duration_s:.2f} s, {after.channels} ch, "
            f"{self.sample_rate} Hz, {loudness[0]:.1f} to {loudness[1]:.1f} LUFS, "
            f"by '{self.estimator}')"
        )

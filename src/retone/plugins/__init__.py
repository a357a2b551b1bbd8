"""Code that nobody here wrote, run where it can do no harm: VST3 plug-ins and Python functions.

A source is ``PATH.vst3`` or ``FILE.py:FUNCTION``. It runs in a process of its own
(``retone.plugins.worker``), which a ``Host`` starts, watches and, when it crashes or hangs, starts
again. Numpy in, numpy out.
"""

from __future__ import annotations

from retone.plugins.host import Host, allow, allowed, host_of
from retone.plugins.stream import Stream

__all__ = ["Host", "Stream", "allow", "allowed", "host_of"]

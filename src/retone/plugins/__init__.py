"""Third-party code in separate processes: VST3 plug-ins and Python functions.

A source is ``PATH.vst3`` or ``FILE.py:FUNCTION``. It runs in a separate process
(``retone.plugins.worker``) that a ``Host`` starts, watches, and restarts if it crashes or hangs.
Audio is passed as NumPy arrays.
"""

from __future__ import annotations

from retone.plugins.host import Host, allow, allowed, host_of
from retone.plugins.stream import Stream

__all__ = ["Host", "Stream", "allow", "allowed", "host_of"]

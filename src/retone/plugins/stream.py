"""Stream a recording through a plug-in block by block, as if it were processed in one go.

The plug-in's internal state cannot be read, so a stream keeps its process and spools the input to
disk. If the process dies, or an earlier block is requested, a new process is fed the spooled input
again and continues from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from retone.errors import PluginError
from retone.plugins.host import Child, Host, Lost

Array = np.ndarray


class Stream:
    """A plug-in's pass through one recording.

    Args:
        host: the plug-in's host.
        first: the first block [C, T], which ``host`` has just rendered with a reset.
        sample_rate: sample rate in Hz.
        settings: values that the block was rendered with.
    """

    def __init__(
        self, host: Host, first: Array, sample_rate: float, settings: Mapping[str, float]
    ) -> None:
        self.host, self.sample_rate = host, sample_rate
        self._first: tuple[Array, dict[str, float]] | None = (first, dict(settings))
        self._blocks: list[tuple[tuple[int, ...], dict[str, float]]] = []
        self._spool: BinaryIO | None = None
        self._child: Child | None = host.child
        self._calls = host.child.calls if host.child else -1
        self._own = False
        self.position = first.shape[1]

    def render(self, at: int, block: Array, settings: Mapping[str, float], limit_s: float) -> Array:
        """The next block [C, T], ``at`` samples from the beginning.

        Raises:
            PluginError: the plug-in failed twice.
        """
        self._keep_first()
        problem = ""
        for _ in range(2):
            try:
                child = self._child_at(at, limit_s)
                out = self.host.render(
                    block, self.sample_rate, settings, limit_s, child=child, reset=False
                )
            except Lost as e:
                problem, self._child = str(e), None
                self.host.restarts += 1
                continue
            self._append(at, block, settings)
            return out
        raise PluginError(
            f"the plug-in {self.host.name} {problem}, and again after a restart, "
            f"{at / self.sample_rate:.1f} s into the recording."
        )

    def _keep_first(self) -> None:
        if self._first is not None:
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115
            first, settings = self._first
            self._first, self.position = None, 0
            self._append(0, first, settings)

    def _append(self, at: int, block: Array, settings: Mapping[str, float]) -> None:
        assert self._spool is not None
        done, count = 0, 0
        for shape, _ in self._blocks:  # blocks after ``at`` are replaced
            if done >= at:
                break
            done, count = done + shape[1], count + 1
        del self._blocks[count:]
        self._spool.seek(sum(4 * s[0] * s[1] for s, _ in self._blocks))
        self._spool.write(np.ascontiguousarray(block, "<f4").tobytes())
        self._blocks.append((block.shape, dict(settings)))
        self.position = at + block.shape[1]

    def _child_at(self, at: int, limit_s: float) -> Child:
        """A process whose plug-in has processed exactly the first ``at`` samples."""
        if self._child is not None and self.position == at:
            if self._own:
                return self._child
            if self.host.child is self._child and self._child.calls == self._calls:
                self._own = True
                return self.host.take_child()
        self.close()
        self._child, self._own = Child(self.host.source), True
        assert self._spool is not None
        self._spool.seek(0)
        done = 0
        for shape, settings in self._blocks:
            if done >= at:
                break
            data = self._spool.read(4 * shape[0] * shape[1])
            self.host.render(
                np.frombuffer(data, "<f4").reshape(shape), self.sample_rate, settings, limit_s,
                child=self._child, reset=done == 0,
            )  # fmt: skip
            done += shape[1]
        return self._child

    def close(self) -> None:
        """End the stream's process."""
        if self._child is not None and self._own:
            self._child.close()
        self._child = None

    def __del__(self) -> None:
        if getattr(self, "_own", False):
            self.close()
        spool: Any = getattr(self, "_spool", None)
        if spool is not None:
            spool.close()

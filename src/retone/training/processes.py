"""Several processes of one run, as torchrun starts them, and the signals that stop one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from retone.errors import SettingError


def device_named(name: str) -> torch.device:
    """A device on which tensors can be made.

    Raises:
        SettingError: PyTorch does not know it, or this machine does not have it.
    """
    try:
        place = torch.device(name)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, AttributeError, ValueError) as e:
        why = str(e).strip().partition("\n")[0].rstrip(".")
        raise SettingError(
            f"device '{name}' cannot be used ({why}). Use cpu, or see 'retone doctor'."
        ) from None
    return place


@dataclass(frozen=True)
class DistributedContext:
    """Rank of this process, number of processes (``world``), and the device of its tensors.

    ``joined``: this object opened the process group, so that ``leave`` closes it.
    """

    rank: int
    world: int
    device: torch.device
    joined: bool = False

    @staticmethod
    def join(device: str) -> DistributedContext:
        """Join the process group that torchrun announced, if any, each process on its own GPU."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        rank = int(os.environ.get("RANK", "0"))
        if device == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        place = device_named(device)
        if place.type == "cuda":
            torch.cuda.set_device(place)  # else every process also opens a context on GPU 0
        joined = world > 1 and not dist.is_initialized()
        if joined:
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        return DistributedContext(rank, world, place, joined)

    def leave(self) -> None:
        """Close the process group that ``join`` opened."""
        if self.joined and dist.is_initialized():
            dist.destroy_process_group()

    def any(self, value: bool) -> bool:
        """Whether ``value`` is true in any process; every process must call this."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, on the CPU; every process must call this."""
        if self.world == 1:
            return values
        total = values.to(self.device)
        dist.all_reduce(total)
        return total.cpu()

    def mean(self, value: float) -> float:
        """Mean over the processes; every process must call this."""
        return float(self.sum(torch.tensor(value, dtype=torch.float64))) / self.world

    def from_first(self, value: Any) -> Any:
        """The value of rank 0, which may hold tensors; every process must call this."""
        if self.world == 1:
            return value
        held = [_on_cpu(value) if self.rank == 0 else None]
        dist.broadcast_object_list(held, 0, device=self.device)
        return held[0]

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.world > 1:
            dist.barrier()


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {k: _on_cpu(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(v) for v in value)
    return value


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Yields whether Ctrl-C or SIGTERM has come; a second Ctrl-C raises KeyboardInterrupt."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def handle(number: int, _: Any) -> None:
        seen.append(number)
        if signal.SIGINT in before:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {
        which: signal.signal(which, handle)
        for which in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(which) is not signal.SIG_IGN  # as in a background job
    }
    try:
        yield lambda: bool(seen)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)

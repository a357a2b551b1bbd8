"""Weights and training states as single safetensors files, written atomically.

Everything that is not a tensor is JSON in the file's header, so one file is one consistent state.
A crash while writing leaves the previous file intact, and nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules import module as hooks

from retone.errors import AudioError, DataError, RetoneError
from retone.files.atomic import AtomicFile, write_error
from retone.files.fields import parse

_KEY = "retone"
MOST_BYTES = 2 << 30
"""Largest file that is read; it is read into memory as a whole."""
_SPARE = 1 << 20
"""Numbers of a network that need not be in its file, such as tables that are computed."""
NETWORK, EFFECT_NETWORKS = "model.", "model.stand_in."
"""Prefixes of tensor names: for the estimator's network, and for networks that a differentiation
strategy puts in the effect's place."""


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header; the file is complete or absent.

    Raises:
        DataError: the file cannot be written, for instance because the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    try:
        with AtomicFile(path, force=True) as file:
            try:
                save_file(plain, file.path, metadata={_KEY: json.dumps(header)})
            except SafetensorError as error:  # it says in words what the system refused
                why = file.reason(error)
                raise write_error(path, why, sum(t.nbytes for t in plain.values())) from None
    except AudioError as error:
        raise DataError(str(error)) from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file.

    Raises:
        DataError: the file is missing, damaged or not one of retone's.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"no weights at {path}: give the path of a .safetensors file.")
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path} is larger than {MOST_BYTES >> 30} GB, so it holds no weights.")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as e:
        if _pickled(path):
            raise DataError(
                f"{path} is a pickle (as torch.save writes). retone never opens pickles, because "
                "reading one can run any code. Use weights that 'retone train' wrote."
            ) from e
        raise DataError(f"{path} is not a readable safetensors file ({e}).") from e
    if _KEY not in metadata:
        raise DataError(f"{path} was not written by retone: its header has no '{_KEY}' entry.")
    try:
        known = parse(metadata[_KEY], f"its '{_KEY}' entry")
    except DataError as e:
        raise DataError(f"{path}: the file is damaged, its entry is not JSON: {e}") from None
    if not isinstance(known, dict):
        raise DataError(f"{path}: its '{_KEY}' entry is not an object; the file is damaged.")
    try:
        return _dequantised(tensors), known
    except RuntimeError:
        raise DataError(f"{path}: its tensors and their row scales do not fit together.") from None


def tensors_under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix``, named without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def network_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The estimator's network of a weights file, by the module's own names."""
    own = {n: t for n, t in tensors.items() if not n.startswith(EFFECT_NETWORKS)}
    return tensors_under(own, NETWORK)


ROW_SCALE = ".row_scale"
SMALL = 4096
"""Tensors with fewer elements are stored in 16 bits."""


def quantised(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for shipping: 8 bits per element with one scale per row; 16 bits for small tensors.

    The error of an element is at most half of its row's largest magnitude / 127. ``read`` restores
    float tensors.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or tensor.numel() < SMALL or not tensor.is_floating_point():
            packed[name] = tensor.half() if tensor.is_floating_point() else tensor
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(1).clamp(min=1e-12) / 127
        packed[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(tensor.shape)
        packed[name + ROW_SCALE] = scale
    return packed


class Rounded(NamedTuple):
    """Weights [R, C] as integers in 16 bits, and powers [R] and [C] of the scales of rows and
    columns (``scale``) that they are multiplied by."""

    whole: Tensor
    rows: Tensor
    columns: Tensor

    def weights(self) -> Tensor:
        """The weights [R, C]."""
        return self.whole.float() * scale(self.rows)[:, None] * scale(self.columns)


POWERS = 4
"""Scales are powers of 2 ** (1 / 4)."""
ROW_POWER, COLUMN_POWER, HIGH = ".row_power", ".column_power", ".high_byte"


def scale(powers: Tensor) -> Tensor:
    """Scales of rows or columns from their powers."""
    return torch.exp2(powers.float() / POWERS)


def packed_rounded(name: str, rounded: Rounded, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Tensors of a file for weights of this shape. They are small once a wheel has compressed them.

    Integers of similar size are next to each other: rows or columns, whichever scales differ more,
    are in the order of their scales. High bytes have a tensor of their own, up to the last one that
    is not 0.
    """
    whole = rounded.whole.int()
    by_column, order = _order(rounded.rows, rounded.columns)
    whole = (whole.T if by_column else whole)[order].reshape(shape)
    low = (whole + 128) % 256 - 128
    high = ((whole - low) // 256).flatten()
    large = high.nonzero()
    packed = {name: low.to(torch.int8), name + ROW_POWER: rounded.rows}
    if len(large):
        packed[name + HIGH] = high[: int(large[-1]) + 1].to(torch.int8)
    return packed | {name + COLUMN_POWER: rounded.columns}


def _order(rows: Tensor, columns: Tensor) -> tuple[bool, Tensor]:
    """Whether weights are stored column by column, and the order of columns or of rows."""
    by_column = _variance(columns) > _variance(rows)
    return by_column, torch.argsort(columns if by_column else rows, stable=True)


def _variance(powers: Tensor) -> float:
    """Variance of integers, the same on every machine, since writer and reader compare it."""
    values = powers.flatten().tolist()
    count = max(len(values), 1)
    return float(count * sum(v * v for v in values) - sum(values) ** 2) / count**2


def _of_rounded(low: Tensor, high: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """The weights that ``packed_rounded`` packed."""
    by_column, order = _order(rows, columns)
    stored = low.short().flatten()
    if high is not None:
        stored[: high.numel()] += 256 * high.flatten().short()
    whole = torch.empty_like(stored).reshape(len(order), -1)
    whole[order] = stored.reshape(len(order), -1)
    found = Rounded(whole.T if by_column else whole, rows, columns).weights()
    return found.reshape(low.shape)


def _dequantised(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    beside = (ROW_SCALE, ROW_POWER, COLUMN_POWER, HIGH)
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(beside):
            continue
        row_scale, rows, columns, high = (tensors.get(name + suffix) for suffix in beside)
        if row_scale is not None:
            tensor = tensor.float() * row_scale.reshape(-1, *[1] * (tensor.dim() - 1))
        elif rows is not None and columns is not None:
            tensor = _of_rounded(tensor, high, rows, columns)
        out[name] = tensor
    return out


def _pickled(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return handle.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    except OSError:
        return False


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors and JSON, keyed by parameter position."""
    state = optimizer.state_dict()
    tensors = {
        f"optimizer.{index}.{name}": value if torch.is_tensor(value) else torch.tensor(value)
        for index, entry in state["state"].items()
        for name, value in entry.items()
    }
    return tensors, {"param_groups": state["param_groups"]}


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Restore what ``pack_optimizer`` stored."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": header["param_groups"]})


def built(config: Any, tensors: Mapping[str, Tensor], where: str) -> Any:
    """A network as its config describes it, refused where it is larger than the weights for it.

    Args:
        config: has ``build()``.
        tensors: the network's weights.
        where: the file's name, for messages.

    Raises:
        DataError: it cannot be built, or would hold more numbers than its file.
    """
    most = sum(t.numel() for t in tensors.values()) + _SPARE
    left, mine = [most], threading.get_ident()

    def count(module: Any, name: str, value: Tensor | None) -> None:
        if value is None or threading.get_ident() != mine:
            return
        left[0] -= value.numel()  # counted before it is filled, so before it takes memory
        if left[0] < 0:
            raise DataError(f"{where}: the file holds {most} numbers, its network more.")

    taken = (
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    )
    try:
        with damaged(where, "cannot be built"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about sizes that do not fit anyway
            return config.build()
    finally:
        for handle in taken:
            handle.remove()


@contextlib.contextmanager
def damaged(where: str, what: str = "cannot run") -> Iterator[None]:
    """Say of a network from a file that it is damaged, where running it fails.

    Args:
        where: the file's name.
        what: what cannot be done with it.

    Raises:
        DataError: for every error but retone's own.
    """
    try:
        yield
    except RetoneError:
        raise
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError,
        RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        words = " ".join(str(error).split())[:200]
        raise DataError(
            f"{where}: its network {what} ({words}); the file is damaged, or it was made by "
            "another version."
        ) from error


def finite(predicted: Tensor, where: str) -> Tensor:
    """What a network predicts, unchanged.

    Raises:
        DataError: it holds NaN or infinite numbers.
    """
    if not torch.isfinite(predicted).all():
        raise DataError(
            f"{where}: its network predicts NaN or infinite numbers. Use other weights."
        )
    return predicted


def load_module(module: torch.nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load a module's weights; names and shapes must match exactly.

    Raises:
        DataError: names or shapes differ, and the message lists the first of them, or there are
            numbers that are not finite.
    """
    own = module.state_dict()
    missing = sorted(set(own) - set(tensors))
    extra = sorted(set(tensors) - set(own))
    wrong = sorted(n for n in set(own) & set(tensors) if own[n].shape != tensors[n].shape)
    for what, names in (("lacks", missing), ("has unknown", extra), ("has misshapen", wrong)):
        if names:
            raise DataError(
                f"{where} {what} {', '.join(names[:3])} ({len(names)} in all): it was made for "
                "another network. Use weights made by this version, or train them again."
            )
    for name in own:
        if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise DataError(f"{where}: {name} holds NaN or infinite numbers; the file is damaged.")
    module.load_state_dict({n: t.to(own[n].dtype) for n, t in tensors.items()})

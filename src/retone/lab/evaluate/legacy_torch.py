"""Reads tensors from an old torch.save file without running code from it.

Before its zip format torch wrote several pickles, then the data. ``torch.load`` with
``weights_only`` refuses some of these files because of harmless old opcodes. The unpickler here
only allows dictionaries, plain values and tensors.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from retone.errors import DataError

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ByteStorage": np.uint8,
}


class _Storage:
    """Data that follows later in the file."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.values: np.ndarray | None = None


class _Tensor:
    """A tensor to build: a view of a storage."""

    def __init__(
        self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def build(self) -> torch.Tensor:
        flat = torch.from_numpy(self.storage.values)
        return flat.as_strided(self.size, self.stride, self.offset).clone()


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, where: str) -> None:
        super().__init__(file)
        self.where = where
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in KINDS:
            return name
        raise DataError(f"{self.where}: it uses {module}.{name}, which is not allowed.")

    def persistent_load(self, pid: Any) -> Any:
        what, kind, key = pid[:3]
        if what != "storage" or kind not in KINDS:
            raise DataError(f"{self.where}: an unknown kind of storage.")
        return self.storages.setdefault(str(key), _Storage(kind))


def read(path: Path) -> Any:
    """Contents of the file, with tensors.

    Raises:
        DataError: the format is another one, or the file is damaged or not only tensors.
    """
    where = path.name
    try:
        with path.open("rb") as file:
            if _Reader(file, where).load() != MAGIC:
                raise DataError(f"{where}: not an old torch file.")
            _Reader(file, where).load()  # the version
            _Reader(file, where).load()  # sizes of types
            reader = _Reader(file, where)
            value = reader.load()
            for key in _Reader(file, where).load():
                storage = reader.storages[str(key)]
                count = int(np.frombuffer(file.read(8), np.int64)[0])
                dtype = np.dtype(KINDS[storage.kind])
                data = file.read(count * dtype.itemsize)
                storage.values = np.frombuffer(data, dtype).copy()
        return _rebuilt(value)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError,
            RuntimeError, pickle.UnpicklingError) as error:  # fmt: skip
        raise DataError(f"{where}: cannot be read as an old torch file ({error}).") from error


def _rebuilt(value: Any) -> Any:
    if isinstance(value, _Tensor):
        return value.build()
    if isinstance(value, dict):
        return {k: _rebuilt(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rebuilt(v) for v in value]
    return value

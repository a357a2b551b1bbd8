"""Hosts that browse presets find the files of ``retone export --to clap``."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin_cases import clap_text, settings_of

from retone.core import plugin_library
from retone.exports.clap import SUFFIX, preset_folder

CALL = c.CFUNCTYPE


class FileType(c.Structure):
    _fields_ = [("name", c.c_char_p), ("description", c.c_char_p), ("extension", c.c_char_p)]


class Location(c.Structure):
    _fields_ = [("flags", c.c_uint32), ("name", c.c_char_p), ("kind", c.c_uint32),
                ("location", c.c_char_p)]  # fmt: skip


class Indexer(c.Structure):
    _fields_ = [
        ("version", c.c_uint32 * 3), ("name", c.c_char_p), ("vendor", c.c_char_p),
        ("url", c.c_char_p), ("product_version", c.c_char_p), ("data", c.c_void_p),
        ("declare_filetype", CALL(c.c_bool, c.c_void_p, c.POINTER(FileType))),
        ("declare_location", CALL(c.c_bool, c.c_void_p, c.POINTER(Location))),
        ("declare_soundpack", c.c_void_p), ("get_extension", c.c_void_p),
    ]  # fmt: skip


class UniversalId(c.Structure):
    _fields_ = [("abi", c.c_char_p), ("id", c.c_char_p)]


class Receiver(c.Structure):
    _fields_ = [
        ("data", c.c_void_p),
        ("on_error", CALL(None, c.c_void_p, c.c_int32, c.c_char_p)),
        ("begin_preset", CALL(c.c_bool, c.c_void_p, c.c_char_p, c.c_char_p)),
        ("add_plugin_id", CALL(None, c.c_void_p, c.POINTER(UniversalId))),
        ("rest", c.c_void_p * 7),
    ]


class Provider(c.Structure):
    _fields_ = [
        ("desc", c.c_void_p), ("data", c.c_void_p),
        ("init", CALL(c.c_bool, c.c_void_p)), ("destroy", CALL(None, c.c_void_p)),
        ("get_metadata",
         CALL(c.c_bool, c.c_void_p, c.c_uint32, c.c_char_p, c.POINTER(Receiver))),
    ]  # fmt: skip


class Factory(c.Structure):
    _fields_ = [
        ("count", CALL(c.c_uint32, c.c_void_p)),
        ("descriptor", CALL(c.c_void_p, c.c_void_p, c.c_uint32)),
        ("create", CALL(c.POINTER(Provider), c.c_void_p, c.POINTER(Indexer), c.c_char_p)),
    ]


class Host:
    """What a host hears of presets."""

    def __init__(self) -> None:
        self.types: list[bytes] = []
        self.places: list[bytes] = []
        self.presets: list[tuple[bytes, ...]] = []
        self.errors: list[bytes] = []
        fields = dict(Indexer._fields_)  # type: ignore[arg-type]
        self.indexer: Any = Indexer()
        self.indexer.declare_filetype = fields["declare_filetype"](
            lambda host, kind: not self.types.append(kind[0].extension)
        )
        self.indexer.declare_location = fields["declare_location"](
            lambda host, place: not self.places.append(place[0].location)
        )
        fields = dict(Receiver._fields_)  # type: ignore[arg-type]
        self.receiver: Any = Receiver()
        self.receiver.on_error = fields["on_error"](
            lambda to, number, text: self.errors.append(text)
        )
        self.receiver.begin_preset = fields["begin_preset"](
            lambda to, name, key: not self.presets.append((name,))
        )
        self.receiver.add_plugin_id = fields["add_plugin_id"](
            lambda to, one: self.presets.append((*self.presets.pop(), one[0].abi, one[0].id))
        )


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def provider(host: Host) -> Iterator[Any]:
    library = c.CDLL(str(plugin_library()))
    entry = (c.c_void_p * 5).in_dll(library, "clap_entry")  # 12 bytes of version, then functions
    functions = [CALL(c.c_bool, c.c_char_p)(entry[2]), CALL(c.c_void_p, c.c_char_p)(entry[4])]
    assert functions[0](b"")
    found = functions[1](b"clap.preset-discovery-factory/2")
    assert found and found == functions[1](b"clap.preset-discovery-factory/draft-2")
    factory = c.cast(found, c.POINTER(Factory))[0]
    assert factory.count(None) == 1
    made = factory.create(None, c.byref(host.indexer), b"io.github.retone.presets")
    assert made[0].init(made)
    yield made
    made[0].destroy(made)


def test_type_and_folder(host: Host, provider: Any) -> None:
    assert host.types == [SUFFIX.removeprefix(".").encode()]
    assert host.places == [str(preset_folder()).encode()]


@pytest.mark.parametrize("name", ["retone-match", "retone-enhance"])
def test_a_preset_names_its_plugin(host: Host, provider: Any, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"My voice{SUFFIX}"
    path.write_bytes(clap_text(settings_of(name, 0)))
    place = str(path).encode()
    assert provider[0].get_metadata(provider, 0, place, c.byref(host.receiver))
    assert host.presets == [(b"My voice", b"clap", f"io.github.{name.replace('-', '.')}".encode())]


def test_other_files_are_refused(host: Host, provider: Any, tmp_path: Path) -> None:
    path = tmp_path / f"other{SUFFIX}"
    for content in (b"", b"retone-matchless 1\n", b"x" * 100_000):
        path.write_bytes(content)
        place = str(path).encode()
        assert not provider[0].get_metadata(provider, 0, place, c.byref(host.receiver))
    assert len(host.errors) == 3 and not host.presets

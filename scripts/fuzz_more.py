"""Further kinds of input for ``scripts/fuzz.py``: plug-ins, those that are hosted, and lists."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_kinds import NASTY_TEXT, RATE, Kind, json_text, mutated_bytes, mutated_json

NASTY_FLOAT = (0.0, -0.0, 1.0, -1.0, 1e-40, 1e30, -1e30, 3e38, float("nan"), float("inf"))


class Plugins(Kind):
    """retone's own LV2 and CLAP plug-ins: presets, parameters, rates, blocks and audio, mutated.

    Whatever comes, the process lives and the audio that leaves is finite.
    """

    suffix = ".clap-preset"

    def __init__(self) -> None:
        super().__init__()
        import torch

        from retone.dsp.param import tidy_setting, to_numbers
        from retone.effects.native import NATIVE_CHAINS
        from retone.exports import target_named
        from retone.exports.plan import plan_of
        from retone.process.settings_file import LevelPlan, SettingsFile

        self.names = [chain.name for chain in NATIVE_CHAINS]
        for chain in NATIVE_CHAINS:
            effect = chain.effect
            for seed in range(3):
                drawn = effect.params.sample(1, torch.Generator().manual_seed(seed))
                values = to_numbers(tidy_setting(effect.params, drawn))
                made = SettingsFile(effect, values, RATE, "test", level_plan=LevelPlan(-6.0))
                self.seeds.append(target_named("clap").write(plan_of(made)).text.encode())

    def make(self, rng: random.Random) -> bytes:
        preset = rng.choice(self.seeds)
        if rng.random() < 0.3:
            with contextlib.suppress(ValueError):
                preset = json_text(mutated_json(json.loads(preset), rng))
        elif rng.random() < 0.8:
            preset = mutated_bytes(preset, rng, self.seeds)
        how = {
            "plugin": rng.choice(self.names),
            "format": rng.choice(("clap", "lv2")),
            "channels": rng.choice((1, 2)),
            "rate": rng.choice((1.0, 8000.0, 44100.0, 48000.0, 192000.0, 1e6)),
            "block": rng.choice((1, 7, 63, 64, 512, 8192)),
            "seed": rng.randrange(1 << 30),
        }
        return json.dumps(how).encode() + b"\n" + preset

    def use(self, data: bytes, place: Path) -> None:
        head, _, preset = data.partition(b"\n")
        how = json.loads(head)
        rng = random.Random(how["seed"])
        noise = np.random.default_rng(how["seed"]).standard_normal((how["channels"], 3000))
        audio = (0.1 * noise).astype(np.float32)
        for _ in range(rng.choice((0, 0, 1, 20))):
            audio[rng.randrange(len(audio)), rng.randrange(3000)] = rng.choice(NASTY_FLOAT)
        if rng.random() < 0.1:
            audio[:] = rng.choice(NASTY_FLOAT)
        run = _clap if how["format"] == "clap" else _lv2
        for out in run(how, preset, audio, rng, place):
            assert np.isfinite(out).all(), f"{how['plugin']} as {how['format']}: not finite"


def _clap(how: Any, preset: bytes, audio: np.ndarray, rng: random.Random, place: Path) -> Any:
    from retone.core import plugin_library
    from retone.exports.clap_host import ClapPlugin

    with ClapPlugin(plugin_library(), how["plugin"], how["channels"]) as plugin:
        before = plugin.save_state()
        if not plugin.load_state(preset):
            assert plugin.save_state() == before, "a refused state changed the plug-in"
        place.write_bytes(preset)
        plugin.load_preset(place)
        plugin.activate(how["rate"])
        yield plugin.process(audio, how["block"])
        ids = [info.id for info in plugin.infos] + [0, 0xFFFFFFFF]
        changes = [
            (rng.randrange(3000), rng.choice(ids), rng.choice((*NASTY_FLOAT, rng.uniform(-99, 99))))
            for _ in range(rng.choice((1, 3, 50)))
        ]
        yield plugin.process(audio, how["block"], sorted(changes), in_place=rng.random() < 0.5)
        plugin.flush(changes)
        for info in plugin.infos:
            assert np.isfinite(plugin.value(info.id))
            plugin.text(info.id, rng.choice(NASTY_FLOAT))
            plugin.from_text(info.id, rng.choice(NASTY_TEXT[6:8] + NASTY_TEXT[9:10]))
        assert plugin.load_state(plugin.save_state()), "its own state is refused"
        yield plugin.process(audio, how["block"])


class _Lv2(ctypes.Structure):
    _fields_ = [
        ("uri", ctypes.c_char_p),
        ("instantiate", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double,
                                         ctypes.c_char_p, ctypes.c_void_p)),
        ("connect_port", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)),
        ("activate", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("run", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)),
        ("deactivate", ctypes.c_void_p),
        ("cleanup", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]  # fmt: skip


def _lv2(how: Any, preset: bytes, audio: np.ndarray, rng: random.Random, place: Path) -> Any:
    """A host that sets any values, from the preset's bytes, and leaves some ports unconnected."""
    from retone.core import plugin_library

    library = ctypes.CDLL(str(plugin_library()))
    library.lv2_descriptor.restype = ctypes.POINTER(_Lv2)
    number = 2 * rng.randrange(2) + (how["channels"] == 1)
    found = library.lv2_descriptor(number)
    call, channels = found[0], how["channels"]
    one = call.instantiate(ctypes.addressof(call), how["rate"], b"", None)
    assert one
    controls = (ctypes.c_float * 128)()
    source = np.ascontiguousarray(audio)
    out = np.zeros_like(source)
    for i in range(128):
        if rng.random() < 0.95:
            call.connect_port(one, 2 * channels + i, ctypes.addressof(controls) + 4 * i)
    call.activate(one)
    whole = preset + bytes(512)
    for turn in range(3):
        for i in range(128):
            raw = struct.unpack_from("<f", whole, (4 * i + turn) % (len(whole) - 4))[0]
            controls[i] = rng.choice((raw, rng.uniform(-30, 30), *NASTY_FLOAT))
        for at in range(0, source.shape[1], how["block"]):
            count = min(how["block"], source.shape[1] - at)
            for c in range(channels):
                call.connect_port(one, c, source[c, at:].ctypes.data)
                call.connect_port(one, channels + c, out[c, at:].ctypes.data)
            call.run(one, count)
            call.run(one, 0)
        yield out
    call.cleanup(one)


class _Process:
    """A plug-in's process whose answers are bytes that are there already."""

    def __init__(self, answers: bytes) -> None:
        self.stdin, self.stdout = io.BytesIO(), io.BytesIO(answers)
        self.code = -11 if len(answers) % 2 else 1

    def kill(self) -> None:
        pass

    def wait(self, timeout: float | None = None) -> int:
        return self.code


class Hosted(Kind):
    """What a plug-in's process may answer: a plug-in runs in it, and can write anything there."""

    suffix = ".answers"

    def __init__(self) -> None:
        super().__init__()
        parameters = [
            {"name": "gain_db", "low": -12.0, "high": 12.0, "default": 0.0, "unit": "dB"},
            {"name": "cut_hz", "low": 20.0, "high": 2e4, "default": 1e3, "unit": "Hz"},
        ]
        self.told = {"name": "Thing", "parameters": parameters, "switches": {"bypass": 0.0}}
        self.audio = np.ones((2, 16), np.float32)

    def make(self, rng: random.Random) -> bytes:
        headers = [{"ready": True}, json.loads(json.dumps(self.told)), {"shape": [2, 16]}]
        at = rng.randrange(-1, 3)
        parts = []
        for i, header in enumerate(headers):
            text = json_text(mutated_json(header, rng) if i == at else header)
            if i == at and rng.random() < 0.2:
                shape = rng.choice(("x", [], [2**62, 2], [-1, 16], [2, 16.0], None))
                errors = rng.choice(NASTY_TEXT), [3]
                text = json_text(rng.choice(([], 1, None, "x", {"error": rng.choice(errors)},
                                             {"shape": shape})))  # fmt: skip
            body = self.audio.tobytes() if i == 2 else b""
            if i == 2 and rng.random() < 0.3:
                body = mutated_bytes(body, rng, [body])
            sizes = [len(text), len(body)]
            if rng.random() < 0.1:
                sizes[rng.randrange(2)] = rng.choice((0, 1, 2**20, 2**31, 2**32 - 1))
                if rng.random() < 0.5:
                    sizes[1] = rng.choice((2**40, 2**63, 2**64 - 1))
            parts.append(struct.pack("<IQ", *sizes) + text + body)
        data = b"".join(parts)
        return mutated_bytes(data, rng, [data]) if rng.random() < 0.3 else data

    def use(self, data: bytes, place: Path) -> None:
        import torch

        from retone.effects.plugin import Plugin
        from retone.effects.spec import effect_from_spec, effect_to_spec
        from retone.plugins import host

        source = place.with_name("thing.py")
        source.write_text("")
        real, made = host.subprocess.Popen, lambda *a, **k: _Process(data)
        host.subprocess.Popen = made  # type: ignore[assignment,misc]
        host._HOSTS.clear()
        try:
            plugin = Plugin.open(f"{source}:thing")
            spec = json.loads(json.dumps(effect_to_spec(plugin, RATE), allow_nan=False))
            assert effect_from_spec(spec, RATE).params.names == plugin.params.names
            with torch.no_grad():
                audio = torch.from_numpy(self.audio)[None]
                out = plugin.render(audio, RATE, plugin.params.defaults(1)).audio
            assert out.shape == audio.shape and torch.isfinite(out).all()
        finally:
            host.subprocess.Popen = real  # type: ignore[misc]
            host._HOSTS.clear()


class Lists(Kind):
    """Lists of recordings that another person wrote: corpora, and rows of a job."""

    suffix = ".csv"

    def __init__(self) -> None:
        super().__init__()
        from retone.training.data.manifest import Entry, Manifest

        rows = [
            "file,speaker,corpus,split,licence,source,bandwidth_hz\na.wav,x,c,train,CC0,s,8000\n"
            "b.wav,y,c,dev,CC0,s,\n",
            "path,source,speaker,licence,author,split,kind\na.wav,s,x,CC0,me,test,speech\n",
            "input,output,to,strength,locks,loudness\na.wav,o.wav,b.wav;c.wav,0.5,x=1,-16\n",
        ]
        self.seeds = [row.encode() for row in rows]
        entry = Entry("a.wav", "s", "g", "speech", 2.0, RATE, "CC0", "me", "0" * 64, "train")
        with contextlib.suppress(ValueError):
            import tempfile

            with tempfile.TemporaryDirectory() as name:
                path = Path(name) / "manifest.jsonl"
                Manifest("m", (entry, entry), {"duplicate": ("c.wav",)}).save(path)
                self.seeds.append(path.read_bytes())
        self.seeds.append(b'{"input": "a.wav", "to": ["b.wav"], "locks": {"x": 1}}\n')

    def make(self, rng: random.Random) -> bytes:
        seed = rng.choice(self.seeds)
        if seed.startswith(b"{") and rng.random() < 0.7:
            lines = seed.splitlines()
            at = rng.randrange(len(lines))
            lines[at] = json_text(mutated_json(json.loads(lines[at]), rng))
            return b"\n".join(lines) + b"\n"
        return mutated_bytes(seed, rng, [*self.seeds, b"../../x", b'"', b"\0", b"1e999", b"\xff"])

    def use(self, data: bytes, place: Path) -> None:
        from retone.batch.manifest import rows_of
        from retone.errors import RetoneError
        from retone.training.data.corpora import open_corpus
        from retone.training.data.layouts import any_folder, kit

        folder = place.parent / "corpus"
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        used, refusal = False, None
        ending = "jsonl" if data.startswith(b"{") else "csv"
        (folder / f"manifest.{ending}").write_bytes(data)
        (folder / f"manifest.{'csv' if ending == 'jsonl' else 'jsonl'}").unlink(missing_ok=True)
        readers = [lambda: list(rows_of(str(folder / f"manifest.{ending}"), "match"))]
        if ending == "csv":
            readers += [lambda: any_folder(folder), lambda: kit(folder)]
        names = ("debian-speech",) if ending == "jsonl" else ("folder", "kit")
        readers += [
            lambda name=name: open_corpus(  # type: ignore[misc]
                name, folder, sample_rate=RATE, cache=place.parent / "cache"
            )
            for name in names
        ]
        for reader in readers:
            try:
                found = reader()
                used = True
            except RetoneError as error:
                refusal = error
                continue
            for row in found if isinstance(found, list) else ():
                output = getattr(row, "output", "")
                assert row.__class__.__name__ != "Row" or row.problem or not (
                    output.startswith("/") or ".." in output.split("/")
                ), output  # fmt: skip
        if refusal is not None and not used:
            raise refusal


class Listening(Kind):
    """A listening test's folder and its listeners' results."""

    suffix = ".json"

    def __init__(self) -> None:
        super().__init__()
        systems = (("a", "system"), ("b", "system"), ("ref", "reference"))
        stimuli = [{"system": s, "role": r, "file": f"sounds/{s}.flac"} for s, r in systems]
        trials = [{"id": i, "item": f"i{i}", "kind": "rate", "reference": None, "stimuli": stimuli}
                  for i in range(2)]  # fmt: skip
        self.study = {
            "id": "abc", "retone_listening": 1, "title": "t", "design": "mushra", "question": "q",
            "aligned": True, "tie": False, "categories": ["Bad", "Good"], "sample_rate": RATE,
            "loudness_lufs": -23.0, "least_heard_s": 1.0, "trials": trials,
        }  # fmt: skip
        rows = [
            {"study": "abc", "listener": "me", "trial": i, "position": i, "kind": "rate",
             "item": f"i{i}", "system": s, "role": "system", "other": "", "score": 50 + 9 * i,
             "choice": "", "correct": None}
            for i in range(2) for s in ("a", "b")
        ]  # fmt: skip
        self.results = {"study": "abc", "listener": "me", "rows": rows}
        self.table = ",".join(rows[0]) + "\n" + ",".join(
            str(v or "") if k not in ("trial", "position") else str(v) for k, v in rows[0].items()
        )  # fmt: skip

    def make(self, rng: random.Random) -> bytes:
        study: Any = json.loads(json.dumps(self.study))
        results: Any = json.loads(json.dumps(self.results))
        which = rng.randrange(4)
        study["design"] = rng.choice(("mushra", "ab", "abx", "acr"))
        if which == 0:
            study = mutated_json(study, rng)
        if which == 1:
            results = mutated_json(results, rng)
        parts = [json_text(study), json_text(results), self.table.encode()]
        if which == 2:
            parts[2] = mutated_bytes(parts[2], rng, parts)
        if which == 3:
            at = rng.randrange(2)
            parts[at] = mutated_bytes(parts[at], rng, parts)
        return b"\n\x1e\n".join(parts)

    def use(self, data: bytes, place: Path) -> None:
        from retone.errors import RetoneError
        from retone.studio.listening.analysis import analyse_folder, files_of
        from retone.studio.listening.prepare import read_study
        from retone.studio.listening.results import store

        folder = place.parent / "test"
        results = folder / "results"
        results.mkdir(parents=True, exist_ok=True)
        for old in results.iterdir():
            old.unlink()
        parts = [*data.split(b"\n\x1e\n"), b"", b""]
        (folder / "study.json").write_bytes(parts[0])
        study = read_study(folder)
        with contextlib.suppress(RetoneError):
            made = store(folder, parts[1], study)
            assert made.parent == results
        (results / "other.csv").write_bytes(parts[2])
        for text in files_of(analyse_folder(folder)).values():
            text.encode()
            assert "\x1b" not in text

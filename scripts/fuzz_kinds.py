"""Kinds of input for ``scripts/fuzz.py``: their seeds, how they are mutated, and how used."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000
LIMIT_S = 20
MOST_DOUBLED = 20000
"""Most entries that doubling a list adds: the mutator itself must stay small."""
NASTY_TEXT = (
    "", "\x00", "\n", "\x1b[2J", "\u202e", "\ud800", "../../x", "'\"`$(id)", "x" * 100000, "NaN",
    "\u2028a", "%s%n", "equalizer", "é" * 300,
)  # fmt: skip
NASTY_NUMBER = (
    0, -1, 1, 1e308, -1e308, 5e-324, 1e19, 2**31, 2**63, -(2**63), 10**400, 0.1, 48000, 1e-9, True,
)  # fmt: skip
NASTY_VALUE: tuple[Any, ...] = (*NASTY_NUMBER, None, False, [], {}, [[]], {"type": "gain"})


# mutators


def mutated_bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Bits, numbers and passages changed, cut, doubled, zeroed or taken from another seed."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = min(rng.randrange(len(out) + 1), rng.choice((64, 1 << 30)))
        at = min(at, max(0, len(out) - 1))
        size = rng.choice((1, 2, 4, 8, 64, 1024))
        match rng.randrange(9):
            case 0 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 1 if out:
                out[at] = rng.randrange(256)
            case 2:
                number = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
                out[at : at + 4] = struct.pack(rng.choice("<>") + "I", number)
            case 3:
                del out[at:]
            case 4:
                del out[at : at + size]
            case 5:
                out[at:at] = out[at : at + size]
            case 6:
                out[at : at + size] = bytes(size)
            case 7:
                other = rng.choice(others)
                where = rng.randrange(max(1, len(other)))
                out[at : at + size] = other[where : where + size]
            case _:
                out[at : at + size] = rng.randbytes(size)
    return bytes(out)


def mutated_json(data: Any, rng: random.Random) -> Any:
    """Values replaced, removed, doubled, renamed or nested, anywhere in a structure."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any, depth: int = 0) -> None:
        keys = value.keys() if isinstance(value, dict) else range(len(value))
        for key in list(keys):
            places.append((value, key))
            if isinstance(value[key], (dict, list)) and depth < 40:
                walk(value[key], depth + 1)

    for _ in range(rng.choice((1, 1, 2, 5))):
        places.clear()
        walk(data)
        if not places:
            return data
        holder, key = rng.choice(places)
        match rng.randrange(8):
            case 0 | 1:
                holder[key] = rng.choice(NASTY_VALUE)
            case 2:
                holder[key] = rng.choice(NASTY_TEXT)
            case 3:
                del holder[key]
            case 4 if isinstance(holder, dict):
                holder[rng.choice((*NASTY_TEXT[:6], "name", "type"))] = holder[key]
            case 5:
                nested: Any = holder[key]
                for _ in range(rng.choice((2, 60, 70, 3000))):
                    nested = [nested] if rng.random() < 0.5 else {"effect": nested}
                holder[key] = nested
            case 6 if isinstance(holder, list):
                holder.extend((holder * rng.choice((1, 50)))[:MOST_DOUBLED])
            case _ if isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
                factor = rng.choice((-1, 0.5, 1.001, 1000))
                with contextlib.suppress(OverflowError):
                    holder[key] = holder[key] * factor + rng.choice((0, 1))
    return data


def json_text(data: Any) -> bytes:
    """JSON as a file holds it; what is nested without an end, or nearly, is written by hand."""
    try:
        return json.dumps(data).encode()
    except (RecursionError, ValueError):
        return b"[" * 100000 + b"]" * 100000


# kinds: seeds, a mutated input, and what is done with it


class Kind:
    """A kind of input. ``use`` returns whether it was accepted; retone's own errors refuse it."""

    suffix = ".bin"

    def __init__(self) -> None:
        self.seeds: list[bytes] = []

    def make(self, rng: random.Random) -> bytes:
        seed = rng.choice(self.seeds)
        return mutated_bytes(seed, rng, self.seeds)

    def prepare(self, place: Path) -> None:
        """What takes long, once in each child."""

    def use(self, data: bytes, place: Path) -> None:
        raise NotImplementedError


class Recordings(Kind):
    suffix = ".snd"

    def __init__(self) -> None:
        super().__init__()
        x = 0.3 * np.random.default_rng(3).normal(size=(2400, 2)).clip(-3, 3) / 3
        for container, subtype in (
            ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"),
            ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
            ("AIFF", "PCM_24"), ("CAF", "ALAC_16"), ("W64", "PCM_16"), ("AU", "PCM_16"),
        ):  # fmt: skip
            out = io.BytesIO()
            soundfile.write(out, x, RATE, subtype, format=container)
            self.seeds.append(out.getvalue())
        with tempfile.TemporaryDirectory() as name:
            from retone.audio import AtomicWriter
            from retone.errors import RetoneError

            for suffix, subtype in ((".m4a", None), (".mka", None), (".wav", "PCM_16")):
                path = Path(name) / f"x{suffix}"
                try:
                    with AtomicWriter(
                        path, sample_rate=48000, channels=2, subtype=subtype,
                        tags={"title": "x", "artist": "y"},
                    ) as writer:  # fmt: skip
                        writer.write(x.T.astype(np.float32))
                    self.seeds.append(path.read_bytes())
                except RetoneError:
                    continue

    def use(self, data: bytes, place: Path) -> None:
        from retone.audio import load
        from retone.audio.inspect import inspect

        place.write_bytes(data)
        inspect(place)
        assert np.isfinite(load(place).samples).all()


class Settings(Kind):
    suffix = ".json"

    def __init__(self) -> None:
        super().__init__()
        from retone.effects import ENHANCE_CHAIN, MATCH_CHAIN, CurveEqualizer, Fir, MidSide, chain
        from retone.process.settings_file import LevelPlan, SettingsFile, Source

        fir = chain("fixed", Fir("fir", (0.5, 0.25, -0.1)), MATCH_CHAIN)
        for effect in (MATCH_CHAIN, ENHANCE_CHAIN, CurveEqualizer(), fir, chain("m", MidSide())):
            values = {n: float(v[0]) for n, v in effect.params.defaults(1).items()}
            made = SettingsFile(
                effect, values, RATE, "match", level_plan=LevelPlan(3.0, -20.0, -1.0),
                levels={"before": {"integrated_lufs": -23.0}}, notes=("A note.",),
                sources=(Source("input", "voice.wav", RATE, 1, 1.0),), locks={},
            )  # fmt: skip
            self.seeds.append(made.to_json().encode())
        self.audio = (0.1 * np.random.default_rng(4).normal(size=(1, 3200))).astype(np.float32)

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return super().make(rng)
        return json_text(mutated_json(json.loads(rng.choice(self.seeds)), rng))

    def use(self, data: bytes, place: Path) -> None:
        from retone import api
        from retone.exports import TARGETS, target_named
        from retone.exports.plan import plan_of
        from retone.process.settings_file import SettingsFile

        place.write_bytes(data)
        settings = SettingsFile.read(place)
        again = SettingsFile.from_json(settings.to_json())
        assert again.setting == settings.setting
        result = api.apply(self.audio, settings, sample_rate=RATE)
        assert np.isfinite(result.audio).all()
        result.settings.to_json().encode()
        for name in TARGETS:
            text = target_named(name).write(plan_of(settings)).text
            assert "\x1b" not in text
            text.encode()


class Presets(Kind):
    suffix = ".json"

    def __init__(self) -> None:
        super().__init__()
        from importlib import resources

        folder = resources.files("retone.presets") / "data"
        names = sorted(i.name for i in folder.iterdir() if i.name.endswith(".json"))
        self.seeds = [(folder / n).read_bytes() for n in (names[0], names[-1])]

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return super().make(rng)
        return json_text(mutated_json(json.loads(rng.choice(self.seeds)), rng))

    def use(self, data: bytes, place: Path) -> None:
        from retone.presets.file import Preset

        place.write_bytes(data)
        preset = Preset.read(place)
        assert np.isfinite(preset.profile.spectrum(np.array([100.0, 1000.0]))).any()
        Preset.from_json(preset.to_json(), "again")


class Weights(Kind):
    suffix = ".safetensors"

    def __init__(self) -> None:
        super().__init__()
        from importlib import resources

        from retone.audio import Clip
        from retone.estimators.base import Excerpt

        self.seeds = [
            (resources.files("retone") / "weights" / "enhance_speech.safetensors").read_bytes()
        ]
        x = (0.1 * np.random.default_rng(5).normal(size=(1, 24000))).astype(np.float32)
        self.clip, self.kind = Clip(x, 24000), Excerpt

    def make(self, rng: random.Random) -> bytes:
        seed = self.seeds[0]
        size = struct.unpack("<Q", seed[:8])[0]
        header = json.loads(seed[8 : 8 + size])
        body = seed[8 + size :]
        match rng.randrange(4):
            case 0:
                return super().make(rng)
            case 1:
                inner = mutated_json(json.loads(header["__metadata__"]["retone"]), rng)
                header["__metadata__"]["retone"] = json_text(inner).decode()
            case 2:
                header = mutated_json(header, rng)
            case _:
                at = rng.randrange(0, len(body) - 4096)
                body = (
                    body[:at]
                    + rng.choice((b"\xff\x7f", b"\x00\xfc", b"\xff")) * 64
                    + body[at + 128 :]
                )
        text = json_text(header)
        return struct.pack("<Q", len(text)) + text + body

    def use(self, data: bytes, place: Path) -> None:
        import torch

        from retone.estimators import loading
        from retone.nets import checkpoint

        place.write_bytes(data)
        loading.load.cache_clear()
        loaded = loading.load(place)
        clips = torch.from_numpy(self.clip.samples[:, : loaded.length])
        with torch.no_grad(), checkpoint.damaged(place.name):
            net: Any = loaded.network
            checkpoint.finite(net(clips), place.name)


@dataclass
class _Answer:
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Requests(Kind):
    suffix = ".http"

    def __init__(self) -> None:
        super().__init__()
        self.studio: Any = None
        self.token = "a" * 20
        self.key = ""
        ground = [
            "GET /", "GET /static/main.js", "GET /api/offers", "POST /api/session",
            f"GET /?token={self.token}",
            "GET /api/sound/KEY/input", "POST /api/forget/KEY/0", "POST /api/cancel/KEY/1",
            "POST /api/describe/KEY", "POST /api/window/KEY", "POST /api/render/KEY",
            "POST /api/settings/KEY", "POST /api/export/KEY/sox", "GET /api/download/KEY/audio-x",
            "POST /api/upload/KEY/input?name=a.wav", "POST /api/job/KEY/match",
            "POST /api/leave/OTHER",
        ]  # fmt: skip
        bodies = [
            b"",
            b'{"effect": 1, "setting": {}, "amount": 1}',
            b'{"start_s": 0, "stop_s": 1}',
            b"RIFF",
        ]
        heads = [
            "host: 127.0.0.1:8765", "host: [::1]:8765", "origin: http://127.0.0.1:8765",
            f"authorization: Bearer {self.token}", f"cookie: retone_token={self.token}; a=b",
            "content-length: 4", "content-type: application/json",
        ]  # fmt: skip
        for line in ground:
            for body in bodies:
                text = "\n".join((line, heads[0], heads[3], *heads[4:]))
                self.seeds.append(text.encode() + b"\n\n" + body)

    def make(self, rng: random.Random) -> bytes:
        head, _, body = rng.choice(self.seeds).partition(b"\n\n")
        match rng.randrange(3):
            case 0:
                head = mutated_bytes(head, rng, self.seeds)
            case 1:
                body = mutated_bytes(body, rng, self.seeds)
            case _:
                body = json_text(
                    mutated_json({"effect": 1, "setting": {"x": 1}, "locks": [], "a": {}}, rng)
                )
        return head + b"\n\n" + body

    def use(self, data: bytes, place: Path) -> None:
        self.prepare(place)
        asyncio.run(self._ask(data))

    def prepare(self, place: Path) -> None:
        """Start the server: it has threads, so not before a fork."""
        from retone.studio.server import Studio

        if self.studio is None:
            self.studio = Studio(token=self.token, parent=place.parent)
            self.studio.state.warm_up.result(300)

    async def _ask(self, data: bytes) -> None:
        first = await self.one("POST /api/session", [], b"")
        self.key = json.loads(first.body).get("session", "") if first.status == 200 else ""
        head, _, body = data.partition(b"\n\n")
        line, *heads = head.decode("latin-1").split("\n")
        fields = [tuple(h.partition(": ")[::2]) for h in heads if ": " in h]
        got = await self.one(line.replace("KEY", self.key), fields, body)
        assert got.status != 500, f"500 for {line[:80]!r}"
        assert got.status == 0 or any(k == b"content-security-policy" for k, _ in got.headers)
        for session in self.studio.state.sessions.all():
            self.studio.state.queue.cancel(session.key)
            self.studio.state.sessions.end(session)

    async def one(self, line: str, fields: list[tuple[str, ...]], body: bytes) -> _Answer:
        """One request to the application itself, as uvicorn would pass it on."""
        method, _, target = line.partition(" ")
        path, _, query = target.partition("?")
        known = fields or [("host", "127.0.0.1"), ("authorization", f"Bearer {self.token}")]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "method": re.sub(r"[^A-Z]", "", method.upper()) or "GET", "scheme": "http",
            "path": path or "/", "raw_path": path.encode("latin-1", "replace"),
            "query_string": query.encode("latin-1", "replace"), "root_path": "",
            "headers": [(k.lower().encode("latin-1", "replace"), v.encode("latin-1", "replace"))
                        for k, v in known],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8765), "state": {},
        }  # fmt: skip
        answer, sent = _Answer(), [False]

        async def receive() -> dict[str, Any]:
            if sent[0]:
                await asyncio.sleep(0.05)
                return {"type": "http.disconnect"}
            sent[0] = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], tuple(message["headers"])
            else:
                answer.body += message.get("body", b"")

        await asyncio.wait_for(self.studio.app(scope, receive, send), LIMIT_S)
        return answer

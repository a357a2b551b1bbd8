"""A studio for tests: skipped where its packages are not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the studio needs pip install 'retone[studio]'")
pytest.importorskip("uvicorn", reason="the studio needs pip install 'retone[studio]'")

from studio_client import Page, Server, running, wav  # noqa: E402

from retone.effects import MATCH_CHAIN  # noqa: E402
from retone.estimators.base import Estimate, Excerpt  # noqa: E402
from retone.progress import ESTIMATING  # noqa: E402

RATE = 16000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def server(place: Path) -> Iterator[Server]:
    with running(place, grace_s=2.0) as found:
        yield found


@pytest.fixture
def page(server: Server) -> Page:
    return Page(server)


@pytest.fixture(scope="session")
def voice(make_audio: Callable[..., Any]) -> bytes:
    """A second and a half of a voice, as a WAV."""
    return wav(0.3 * make_audio(RATE * 3 // 2, RATE, seed=1)[0].numpy(), RATE)


@pytest.fixture(scope="session")
def other(make_audio: Callable[..., Any]) -> bytes:
    return wav(0.5 * make_audio(RATE * 2, RATE, seed=2)[0].numpy(), RATE)


@dataclass(frozen=True)
class Quick:
    """An estimator that always answers the same, after as many steps as a test wants."""

    name: str = "quick"
    steps: int = 0
    wait_s: float = 0.0
    heard: list[float] = field(default_factory=list)

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Excerpt],
        *,
        locks: Mapping[str, float],
        progress: Any = None,
    ) -> Estimate:
        import time

        for i in range(self.steps):
            time.sleep(self.wait_s)
            self.heard.append(i)
            progress(ESTIMATING, i, self.steps)
        values = {"equalizer.peak_3_gain_db": 6.0, "equalizer.low_shelf_gain_db": -3.0}
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.setting({**values, **locks}))


@pytest.fixture
def estimator(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """``estimator(Quick(...))`` is what every match uses from then on."""

    def use(made: Any) -> Any:
        monkeypatch.setattr("retone.studio.work._estimator", lambda body: made)
        return made

    return use


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("place")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    from chromium import launched

    with launched(
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    ) as found:  # fmt: skip
        yield found


@pytest.fixture
def tab(browser: Any, served: Server) -> Iterator[Any]:
    """The studio in a tab of the browser."""
    from studio_browser import opened

    with opened(browser, served) as found:
        yield found


@pytest.fixture
def files(tmp_path: Path, voice: bytes, other: bytes) -> tuple[str, str]:
    one, two = tmp_path / "my voice.wav", tmp_path / "podcast.wav"
    one.write_bytes(voice)
    two.write_bytes(other)
    return str(one), str(two)

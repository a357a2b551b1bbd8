"""A whole listening session of each design in Chromium, and what listeners can rely on."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from listeners import QUALITY, answers, results_folder, sent

from chromium import browser_only, launched, look, violations, with_axe
from retone.studio.listening.analysis import analyse_folder
from retone.studio.listening.order import order_of
from retone.studio.listening.plan import DESIGNS, plan_of_folder
from retone.studio.listening.prepare import prepare
from retone.studio.listening.results import store
from retone.studio.listening.serve import server_of

pytestmark = browser_only


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 420, "height": 800}, accept_downloads=True)
    found = context.new_page()
    found.set_default_timeout(30_000)
    wrong: list[str] = []
    found.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    found.on("pageerror", lambda e: wrong.append(str(e)))
    own = ("http://127.0.0.1", "file:", "data:", "blob:")
    found.on("request", lambda r: None if r.url.startswith(own) else wrong.append(r.url))
    yield found
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("results"), seconds=0.3, items=1)


def begin(page: Any, name: str) -> None:
    page.locator("body[data-ready=true]").wait_for()
    assert page.locator("#begin").is_disabled()
    page.fill("#listener", name)
    page.click("#begin")
    page.locator("body[data-trial='0']").wait_for()


def session(page: Any, study: dict[str, Any], name: str) -> None:
    """Answer every trial as a listener of known preference would."""
    rows = answers(study, name, sure=0.02)
    for position, place in enumerate(order_of(study, name)):
        page.locator(f"body[data-trial='{position}']").wait_for()
        trial = study["trials"][place["trial"]]
        own = [r for r in rows if r.position == position]
        assert page.locator("#next").is_disabled()
        judged = page.locator("#answers input")
        assert all(judged.nth(i).is_disabled() for i in range(judged.count()))  # not heard yet
        for button in page.locator("[data-play]").all():
            button.click()
            page.wait_for_timeout(420)
        page.click("#stop")
        if study["design"] == "mushra":
            for i, s in enumerate(place["sounds"]):
                system = trial["stimuli"][s]["system"]
                score = next(r.score for r in own if r.system == system)
                page.locator("#answers input").nth(i).fill(str(int(score or 0)))
        elif study["design"] == "acr":
            page.check(f"input[value='{int(own[0].score or 0)}']")
        else:
            letters = ["A", "B"]
            at = [trial["stimuli"][s]["system"] for s in place["sounds"]]
            pick = place["x"] if study["design"] == "abx" else at.index(own[0].choice)
            page.check(f"input[value='{letters[pick]}']")
        page.locator("#next:enabled").click()
    page.locator("body[data-finished=true]").wait_for()


@pytest.mark.parametrize("design", DESIGNS)
def test_a_session_from_the_first_page_to_the_analysis(
    page: Any, results: Path, tmp_path: Path, design: str
) -> None:
    plan = plan_of_folder(
        results, design, title="<b>Test</b>", pairs=(("input", "ours"),), repeats=1
    )
    study = prepare(plan, tmp_path)
    server = server_of(tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        assert page.locator("h1").inner_text() == "<b>Test</b>"
        begin(page, "Änne")
        session(page, study, "Änne")
        assert "stored" in page.locator("#stored").inner_text()
        with page.expect_download() as csv:
            page.click("#csv")
    finally:
        server.shutdown()
        server.server_close()
    alone = analyse_folder(tmp_path)
    assert alone.listeners == 1 and not alone.left_out
    stored = json.loads(next((tmp_path / "results").glob("*.json")).read_text())
    wanted = {(r.trial, r.system): r for r in answers(study, "Änne", sure=0.02)}
    for r in stored["rows"]:
        own = wanted[r["trial"], r["system"]]
        if design in ("mushra", "acr"):
            assert r["score"] == own.score
        elif design == "ab":
            assert r["choice"] == own.choice
        else:
            assert r["correct"] == 1  # X was named in every trial
        assert r["heard_s"] >= 0.25
    next((tmp_path / "results").glob("*.json")).unlink()
    shutil.copy(csv.value.path(), tmp_path / "results" / "one.csv")
    for i in range(7):  # with others, without the browser
        store(tmp_path, sent(study, f"l{i}", answers(study, f"l{i}")), study)
    together = analyse_folder(tmp_path)
    assert together.listeners == 8
    if design in ("mushra", "acr"):
        ranked = [x.system for x in together.lines]
        assert ranked[0] == "reference" and ranked[-1] == "anchor35"
        assert abs(together.line("ours").estimate.value - alone.line("ours").estimate.value) < 15
        if design == "mushra":
            e = together.line("ours").estimate
            assert e.low - 5 <= 100 * QUALITY["ours"] <= e.high + 5
    elif design == "ab":
        assert together.line("input", "ours").estimate.value < 0.5


def test_orders_are_the_same_on_the_page(page: Any, results: Path, tmp_path: Path) -> None:
    study = prepare(plan_of_folder(results, "mushra"), tmp_path, one_file=True)
    page.goto((tmp_path / "index.html").as_uri())
    for name in ("ann", "Änne ☃", "", "x" * 60):
        drawn = page.evaluate("(name) => orderOf(STUDY, name)", name)
        assert drawn == order_of(study, name)
    many = [json.dumps(page.evaluate("(n) => orderOf(STUDY, n)", f"l{i}")) for i in range(10)]
    assert len(set(many)) > 5


def test_one_file_plays_without_a_server_and_a_reload_goes_on(
    page: Any, results: Path, tmp_path: Path
) -> None:
    study = prepare(plan_of_folder(results, "ab"), tmp_path, one_file=True)
    shutil.rmtree(tmp_path / "sounds")
    page.goto((tmp_path / "index.html").as_uri())
    begin(page, "ann")
    before = order_of(study, "ann")
    for button in page.locator("[data-play]").all():
        button.click()
        page.wait_for_timeout(420)
    page.check("input[value=A]")
    page.locator("#next:enabled").click()
    page.locator("body[data-trial='1']").wait_for()
    page.reload()
    page.locator("#go-on").click()
    page.locator("body[data-trial='1']").wait_for()
    assert page.locator("#count").inner_text() == f"2 of {len(before)}"
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input")].filter((e) =>
          !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length)).length"""
    )
    assert nameless == 0


def test_results_stay_until_they_are_stored(page: Any, results: Path, tmp_path: Path) -> None:
    """The server is away at the end, and another listener begins: nothing is overwritten."""
    study = prepare(plan_of_folder(results, "ab"), tmp_path)
    server = server_of(tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    kept = "Object.keys(localStorage).length"
    try:
        page.goto(address)
        begin(page, "ann")
        page.evaluate(
            "() => { const real = fetch; window.fetch = (a, o) => (o?.method === 'POST'"
            " ? Promise.reject(new TypeError('away')) : real(a, o)); }"
        )
        session(page, study, "ann")
        assert "could not be stored" in page.locator("#stored").inner_text()
        page.reload()
        begin(page, "bob")
        for button in page.locator("[data-play]").all():
            button.click()
            page.wait_for_timeout(420)
        page.check("input[value=A]")
        page.locator("#next:enabled").click()
        page.locator("body[data-trial='1']").wait_for()
        page.reload()
        assert page.evaluate(kept) == 2
        page.get_by_text("Results of ann").click()
        page.locator("body[data-finished=true]").wait_for()
        assert "are stored" in page.locator("#stored").inner_text()
        assert page.evaluate(kept) == 1  # what bob has answered so far
    finally:
        server.shutdown()
        server.server_close()
    stored = [json.loads(p.read_text()) for p in (tmp_path / "results").glob("*.json")]
    assert [s["listener"] for s in stored] == ["ann"]


def test_the_server_answers_this_machine_and_its_own_page_only(
    results: Path, tmp_path: Path
) -> None:
    import http.client

    study = prepare(plan_of_folder(results, "ab"), tmp_path)
    server = server_of(tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> int:
        line = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        line.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        status = line.getresponse().status
        line.close()
        return status

    good = sent(study, "a", answers(study, "a"))
    json_ = {"Content_Type": "application/json"}
    try:
        assert ask("GET", "/") == ask("GET", "/study.js") == 200
        assert ask("GET", "/../study.json") == ask("GET", "/results/") == 404
        assert ask("GET", "/", Host="evil.example:80") == 403
        assert ask("POST", "/results", good, **json_, Sec_Fetch_Site="cross-site") == 404
        assert ask("POST", "/results", good, Content_Type="text/plain") == 413
        assert ask("POST", "/results", b"[]", **json_) == 422
        assert ask("POST", "/results", b"[" * 5000, **json_) == 422
        assert not (tmp_path / "results").exists()
        assert ask("POST", "/results", good, **json_) == 200
    finally:
        server.shutdown()
        server.server_close()
    assert len(list((tmp_path / "results").iterdir())) == 1


@with_axe
@look
@pytest.mark.parametrize("design", DESIGNS)
def test_axe_finds_nothing(
    browser: Any, results: Path, tmp_path: Path, design: str, width: int, scheme: str
) -> None:
    """On the first page, in a question, when one comes back, and at the end."""
    prepare(plan_of_folder(results, design), tmp_path, one_file=True)
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    found = context.new_page()
    found.goto((tmp_path / "index.html").as_uri())
    found.locator("body[data-ready=true]").wait_for()
    wrong = violations(found)
    begin(found, "ann")
    for button in found.locator("[data-play]").all():
        button.click()
        found.wait_for_timeout(350)
    wrong += violations(found)
    found.evaluate(
        "(kept) => localStorage.setItem(`retone-listening-${STUDY.id}/1`, JSON.stringify(kept))",
        {"listener": "ann", "position": 999, "rows": [], "begun": "1"},
    )
    found.reload()
    found.locator("#go-on").wait_for()
    wrong += violations(found)
    found.click("#go-on")
    found.locator("body[data-finished=true]").wait_for()
    wrong += violations(found)
    context.close()
    assert wrong == []

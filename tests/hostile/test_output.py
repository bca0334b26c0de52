"""What strangers wrote is shown and logged as text: it moves no cursor, forges no line and runs in no browser."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from calls import add_text, assert_problem
from conftest import finished

from pegasus import printing
from pegasus.cli.options import print_json
from pegasus.client import Client
from pegasus.telemetry import configure_logging
from pegasus.text.lines import visible
from pegasus.upload import print_outcomes

# Clears the screen, sets the window's title, goes to the start of the line, is C1's CSI, writes from right to left.
COMMANDS = ["\x1b[2J", "\x1b]0;owned\x07", "\r", "\b", "\x7f", "\x9b31m", "\u202egpj.exe", "\u2066", "\u2028"]
FAKE_LINE = "2026-01-01T00:00:00.000000Z [info     ] access.key_created key=pgs_fake"
ID = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"


def obeyed(printed: str) -> list[str]:
    """Characters that a terminal would act upon."""
    return [
        c for c in printed if c not in "\n\t" and ((not c.isprintable() and not c.isspace()) or c in "\r\u2028\x85")
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_written_out_and_the_text_around_it_kept(command: str) -> None:
    assert obeyed(command)
    assert not obeyed(visible(f"a{command}b"))
    assert visible(f"a{command}b").startswith("a\\u")


def test_text_of_all_scripts_is_shown_as_it_is() -> None:
    text = "naïve 北京 עברית العربية 👩‍👩‍👧 e\u0301\tx\n"
    assert visible(text) == text


def printed_passage(text: str) -> None:
    printing.print_passages([{"title": text, "heading": f"{text} > {text}", "text": text, "ranks": {"lexical": 1},
                              "document_id": ID, "start": 0, "end": 1}])  # fmt: skip


def printed_answer(text: str) -> None:
    citation = {"title": text, "quote": text, "document_id": ID, "version": 1, "start": 0, "end": 1, "sha256": "0" * 64}
    printing.print_answer({"answer": text, "citations": [citation], "found": True, "nearest": []})


def printed_job(text: str) -> None:
    job = {"id": ID, "kind": "ingest", "state": "failed", "step": "read", "attempts": 1, "document_id": ID, "version": 1,
           "created_at": "", "updated_at": "", "progress": {}, "error": {"detail": text, "hint": text},
           "history": [{"number": 1, "step": "read", "outcome": "failed", "worker": text, "started_at": "", "ended_at": "",
                        "error": {"detail": text, "hint": text}}]}  # fmt: skip
    printing.print_jobs([job])
    item = {"ordinal": 1, "name": text, "outcome": "refused", "state": "failed", "error": {"detail": text}}
    printing.print_job(job, [item])


def printed_outcome(text: str) -> None:
    print_outcomes([{"source": f"/x/{text}", "document_id": ID, "state": "failed", "error": {"detail": text}}])


@pytest.mark.parametrize("show", [printed_passage, printed_answer, printed_job, printed_outcome, print_json])
def test_the_command_line_prints_nothing_that_a_terminal_obeys(show: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "[red]" + "x".join(COMMANDS) + "[/red] =cmd|'/c calc'!A1"
    show(text)
    printed = capsys.readouterr().out
    assert not obeyed(printed)
    folded = "".join(printed.split())
    assert "[red]" in folded  # and rich's markup is text, too
    assert "\\u001b[2J" in folded


def test_json_for_programs_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(COMMANDS)
    assert json.loads(capsys.readouterr().out) == COMMANDS


@pytest.fixture
def bare_root_logger() -> Iterator[logging.Logger]:
    """Without the handlers that pytest puts there, and that keep ours away."""
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], []
    yield root
    root.handlers[:] = before


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_value_forges_no_line_of_the_log(
    bare_root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    bare_root_logger.handlers.clear()
    hostile = "x\n" + FAKE_LINE + "\x1b[2J\x7f\r\n" + FAKE_LINE
    configure_logging("info", log_format)
    logger = structlog.get_logger("test")
    logger.info("http.request", path=hostile)
    try:
        raise ValueError(hostile)
    except ValueError:
        logger.exception("http.unexpected_error", path=hostile)
    logging.getLogger("uvicorn.error").warning("Bad header %s", hostile)
    written = capsys.readouterr().err
    assert written.count("access.key_created") >= 6
    assert not [line for line in written.splitlines() if line.startswith(FAKE_LINE[:30])]
    assert not obeyed(written)
    if log_format == "json":
        values = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
        assert [value["path"] for value in values] == [hostile, hostile]


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_html_in_titles_and_quotes_stays_json_that_no_browser_takes_for_a_page(
    client: Client, http: httpx.Client
) -> None:
    added = add_text(client, f"The mooring is {SCRIPT} by the pier.", title=SCRIPT, uri=f"x:{SCRIPT}", tags=[SCRIPT])
    finished(client, added["job"]["id"])
    answers = [
        http.get("/v1/documents"),
        http.get(f"/v1/documents/{added['document']['id']}/content"),
        http.post("/v1/search", json={"query": "mooring"}),
        http.post("/v1/ask", json={"question": "Where is the mooring?"}),
        http.get(f"/v1/documents/{SCRIPT}"),
        http.get(f"/{SCRIPT}"),
        http.get(f"/v1/jobs/{added['job']['id']}/events"),
    ]
    for answer in answers:
        assert "html" not in answer.headers["content-type"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert SCRIPT in answers[2].text


def test_the_api_page_has_nothing_of_the_documents_in_it_and_cannot_be_framed(
    client: Client, http: httpx.Client
) -> None:
    add_text(client, "Words.", title=SCRIPT)
    page = http.get("/docs", params={"x": SCRIPT})
    assert SCRIPT not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("text", ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a%0d%0aX-Injected: 1", "\u560a\u560dX: 1"])
def test_nothing_that_is_sent_becomes_a_header_of_the_answer(client: Client, http: httpx.Client, text: str) -> None:
    key = text.replace("\r", "%0d").replace("\n", "%0a").encode()
    answers = [
        http.post("/v1/documents", json={"text": text, "title": text, "uri": text, "tags": [text]}),
        http.post("/v1/documents", json={"text": "words"}, headers={"X-Request-Id": key, "Idempotency-Key": key}),
        http.get("/v1/documents", params={"tag": text, "uri": text}),
        http.get(f"/v1/documents/{key.decode()}"),
        http.post("/v1/documents", files={"file": (text, b"words of a file")}),
    ]
    for answer in answers:
        assert "x-injected" not in answer.headers
        assert answer.status_code < 500
        assert len(answer.headers["x-request-id"]) == 36, "an id of our own, whatever was sent"
    assert_problem(http.get(f"/v1/jobs/{key.decode()}"), 404, "not-found")

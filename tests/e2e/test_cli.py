"""The command line as it is installed: what it prints, where, and with which exit code."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import typer
from processes import PEGASUS, ServerProcess, environment

from pegasus.cli import app
from pegasus.cli.service import names_told
from pegasus.client import running_server
from pegasus.data_directory import data_directory
from pegasus.demo import QUESTION
from pegasus.errors import Conflict, Misconfigured
from pegasus.samples import SampleDocument, make_docx, make_pdf
from pegasus.server import address_of, announced, listen
from pegasus.settings import load_settings

Result = subprocess.CompletedProcess[str]

HANDBOOK = SampleDocument("Hut handbook", [("Keys", ["The spare key of the hut is kept by Marta Lindqvist."])])
MINUTES = SampleDocument("Minutes", [("Roof", ["Jonas Weber reported that the northern side of the roof leaks."])])
UNKNOWN = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"


def run(*arguments: str, data: Path | None = None, **settings: str) -> Result:
    where = ["--data", str(data)] if data else []
    return subprocess.run(
        [PEGASUS, *arguments, *where], env=environment(data, settings), capture_output=True, text=True, timeout=60
    )


def assert_refused(result: Result, exit_code: int, *words: str) -> None:
    """It failed as said, with these words and a next step for a person, and without a traceback."""
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    assert not [word for word in words if word not in result.stderr], result.stderr
    assert "Next: " in result.stderr or "for help" in result.stderr, result.stderr


@dataclass
class Library:
    """A folder of files and the data directory that they were added to; ``first`` is what the first add said."""

    folder: Path
    data: Path
    first: Result

    def run(self, *arguments: str, **settings: str) -> Result:
        return run(*arguments, data=self.data, **settings)

    def json(self, *arguments: str) -> dict:
        result = self.run(*arguments, "--json")
        value: dict = json.loads(result.stdout)
        return value


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root: Path = tmp_path_factory.mktemp("cli")
    folder = root / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "hut.txt").write_text("The hut opens in May. Bring :key: and [bold]boots[/bold].")
    (folder / "deep" / "birds.md").write_text("# Birds\n\nThe ptarmigan turns white in winter.")
    (folder / "handbook.pdf").write_bytes(make_pdf(HANDBOOK))
    (folder / "minutes.docx").write_bytes(make_docx(MINUTES))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 this is not one")
    (folder / ".hidden.txt").write_text("The hidden file stays out.")
    return Library(folder, root / "data", run("add", str(folder), "--tag", "notes", data=root / "data"))


@pytest.fixture(scope="module")
def served(library: Library) -> Iterator[Library]:
    """The same, with a server on the data directory."""
    server = ServerProcess(library.data)
    server.start().close()
    yield library
    server.end(signal.SIGKILL)


def commands() -> Iterator[list[str]]:
    root = typer.main.get_command(app)
    assert isinstance(root, click.Group) or hasattr(root, "commands")
    for name, command in root.commands.items():
        yield [name]
        yield from ([name, inner] for inner in getattr(command, "commands", {}))


class TestHelp:
    @pytest.mark.parametrize("words", [[], *commands()], ids=" ".join)
    def test_is_there_for_every_command(self, words: list[str]) -> None:
        result = run(*words, "--help")
        assert (result.returncode, result.stderr) == (0, "")
        assert f"Usage: pegasus {' '.join(words)}".rstrip() in result.stdout


class TestWithoutServer:
    def test_a_folder_is_added_but_for_what_cannot_be_read(self, library: Library) -> None:
        assert library.first.returncode == 1
        assert "Traceback" not in library.first.stderr
        assert "4 succeeded" in library.first.stdout
        (broken,) = [line for line in library.first.stdout.splitlines() if "broken.pdf" in line]
        assert broken.startswith("failed")
        assert len(broken.split()) > 6, "it does not say why"
        assert "hidden" not in library.first.stdout

    def test_added_again_what_worked_is_unchanged(self, library: Library) -> None:
        result = library.run("add", str(library.folder), "--json")
        assert result.returncode == 1
        states = {Path(outcome["source"]).name: outcome["state"] for outcome in json.loads(result.stdout)}
        assert states.pop("broken.pdf") == "failed"
        assert set(states.values()) == {"unchanged"}
        assert len(states) == 4

    def test_what_was_added_is_found_and_stdout_is_pure_json(self, library: Library) -> None:
        result = library.run("search", "spare key", "--json")
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout)["passages"][0]["title"] == "Hut handbook"

    def test_nothing_is_left_running(self, library: Library) -> None:
        assert running_server(library.data) is None
        assert not (library.data / "server.json").exists()


class TestAskAndSearch:
    def test_json_has_the_answer_and_its_citations(self, served: Library) -> None:
        result = served.run("ask", "Who keeps the spare key of the hut?", "--json")
        assert (result.returncode, result.stderr) == (0, "")
        answer = json.loads(result.stdout)
        assert answer["citations"][0]["quote"] == "The spare key of the hut is kept by Marta Lindqvist."

    @pytest.mark.parametrize("stream", [[], ["--stream"]])
    def test_text_has_the_answer_once_and_its_citations(self, served: Library, stream: list[str]) -> None:
        result = served.run("ask", "Who keeps the spare key of the hut?", *stream)
        assert (result.returncode, result.stderr) == (0, "")
        first, second, *_ = result.stdout.splitlines()
        assert first == "The spare key of the hut is kept by Marta Lindqvist."
        assert second.startswith("  [1] Hut handbook: ")

    @pytest.mark.parametrize("command", ["search", "ask"])
    def test_text_is_shown_as_it_stands_in_the_document(self, served: Library, command: str) -> None:
        assert "Bring :key: and [bold]boots[/bold]." in served.run(command, "bring boots key").stdout

    def test_options_narrow_the_search(self, served: Library) -> None:
        options = ["--since", "2020-01-31", "--mode", "lexical", "--tag", "notes", "--tag", "others", "--limit", "1"]
        assert len(served.json("search", "hut", *options)["passages"]) == 1
        assert not served.json("search", "hut", "--until", "2020-01-31")["passages"]

    def test_nothing_found_is_no_error(self, served: Library) -> None:
        result = served.run("search", "quetzalcoatl", "--mode", "lexical")
        assert (result.returncode, result.stderr) == (0, "")
        assert "Nothing was found" in result.stdout


class TestAdd:
    def test_a_page_is_fetched_and_one_that_is_missing_is_told(self, served: Library, page: str) -> None:
        outcomes = served.json("add", f"{page}/crane.html", f"{page}/missing.html", "--tag", "web")
        assert [outcome["state"] for outcome in outcomes] == ["succeeded", "failed"]
        assert "404" in outcomes[1]["error"]["detail"]
        assert served.json("search", "crane dances", "--tag", "web")["passages"]

    def test_a_name_that_is_no_utf8_does_not_stop_the_others(self, served: Library, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("The café is open.")
        (tmp_path / "other.txt").write_text("The other file is fine.")
        result = served.run("add", str(tmp_path))
        assert "Traceback" not in result.stderr, result.stderr[-500:]
        assert "other.txt" in result.stdout

    def test_what_is_not_there_is_told_before_anything_is_sent(self, served: Library, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("Never sent.")
        assert_refused(served.run("add", str(tmp_path / "a.txt"), "/no/such/file"), 1, "/no/such/file")
        assert not served.json("search", "never sent", "--mode", "lexical")["passages"]


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of a site with one page, crane.html."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/crane.html"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<title>Crane</title><p>The crane dances at dawn.</p>" if found else b"no")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()


class TestJobs:
    def test_are_listed_shown_with_why_they_failed_and_retried(self, served: Library) -> None:
        failed = served.json("jobs", "list", "--state", "failed")["items"][-1]
        assert failed["id"] in served.run("jobs", "list", "--state", "failed").stdout
        assert failed["error"]["detail"][:40] in served.run("jobs", "show", failed["id"]).stdout
        result = served.run("jobs", "retry", failed["id"])
        assert (result.returncode, result.stdout) == (1, f"The job {failed['id']} is failed.\n")

    @pytest.mark.embedded("it makes a job dead in the file of the rows")
    def test_that_are_dead_tell_of_their_attempts_and_are_all_retried_at_once(self, served: Library) -> None:
        failed = served.json("jobs", "list", "--state", "failed")["items"][-1]
        with closing(sqlite3.connect(served.data / "pegasus.sqlite3", timeout=10)) as rows, rows:
            rows.execute("UPDATE jobs SET state = 'dead' WHERE id = ?", [failed["id"]])
        assert [job["id"] for job in served.json("jobs", "list", "--state", "dead")["items"]] == [failed["id"]]
        assert "Attempts that ended badly" in served.run("jobs", "show", failed["id"]).stdout
        assert served.json("jobs", "show", failed["id"])["history"][0]["outcome"] == "failed"
        assert served.json("jobs", "retry", "--dead", "--kind", "erase") == {"retried": 0}
        assert served.run("jobs", "retry", "--dead").stdout.startswith("1 dead letters were queued again.")
        assert served.json("jobs", "list", "--state", "dead")["items"] == []

    @pytest.mark.parametrize("arguments", [[], [UNKNOWN, "--dead"]])
    def test_are_retried_by_id_or_all_and_not_both(self, served: Library, arguments: list[str]) -> None:
        assert served.run("jobs", "retry", *arguments).returncode == 2

    def test_can_be_cancelled_while_they_run(self, served: Library, tmp_path: Path) -> None:
        (tmp_path / "long.txt").write_text(
            "\n\n".join(f"Paragraph {n} of Jonas Weber's long tale." for n in range(20_000))
        )
        (added,) = served.json("add", str(tmp_path), "--no-wait")
        result = served.run("jobs", "cancel", added["job_id"])
        assert (result.returncode, result.stdout) == (0, f"The job {added['job_id']} is cancelled.\n")

    def test_show_the_items_of_an_archive(self, served: Library, tmp_path: Path) -> None:
        import zipfile

        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("one.txt", "The first member.")
            archive.writestr("bad.pdf", "%PDF-1.7 broken")
        result = served.run("add", str(tmp_path / "all.zip"), "--json")
        (outcome,) = json.loads(result.stdout)
        assert "1 of its items failed" in outcome["error"]["detail"]
        assert result.returncode == 1, "an item failed"
        shown = served.run("jobs", "show", outcome["job_id"]).stdout
        assert "one.txt" in shown
        assert "bad.pdf" in shown


class TestKeys:
    def test_are_created_listed_and_revoked(self, served: Library) -> None:
        created = served.run("keys", "create", "my phone", "--scope", "admin")
        key = created.stdout.strip()
        assert key.startswith("pgs_")
        assert "not shown again" in created.stderr
        id_ = created.stderr.split()[-1]
        listed = served.run("keys", "list").stdout
        assert id_ in listed
        assert "my phone" in listed
        assert key not in listed
        assert served.run("keys", "revoke", id_, PEGASUS_KEY=key).returncode == 0  # It opens the door, one last time.
        assert_refused(served.run("search", "hut", PEGASUS_KEY=key), 1, "not valid")

    def test_have_a_scope_an_end_and_limits(self, served: Library) -> None:
        options = ["--scope", "read", "--expires", "30", "--rate", "60/minute", "--max-body-bytes", "5000"]
        created = served.json("keys", "create", "reader", *options)
        assert (created["scope"], created["rate_limit"], created["max_body_bytes"]) == ("read", "60/minute", 5_000)
        assert created["expires_at"] > created["created_at"]
        listed = served.run("keys", "list").stdout
        assert {"read", "operator", "60/minute,", "5,000"} <= set(listed.split())
        key = created["key"]
        assert served.run("search", "hut", PEGASUS_KEY=key).returncode == 0
        assert_refused(served.run("keys", "list", PEGASUS_KEY=key), 1, "scope admin", "--scope admin")
        assert served.json("keys", "create", "guest", "--expires", "2099-01-31")["expires_at"][:10] == "2099-01-31"

    @pytest.mark.parametrize(
        "option",
        [["--expires", "soon"], ["--rate", "x"], ["--scope", "x"]],
        ids=" ".join,
    )
    def test_with_nonsense_are_refused(self, served: Library, option: list[str]) -> None:
        assert_refused(served.run("keys", "create", "x", *option), 2)

    def test_the_local_one_is_shown(self, served: Library) -> None:
        result = served.run("keys", "show-local")
        assert result.stdout.strip() == (served.data / "key").read_text().strip()
        assert_refused(run("keys", "show-local", data=served.folder), 1, "no key")


class TestWorkspaces:
    def test_are_created_with_a_key_and_listed(self, served: Library) -> None:
        created = served.run("workspaces", "create", "family")
        key = created.stdout.strip()
        assert "not shown again" in created.stderr
        listed = served.run("workspaces", "list").stdout
        assert {"family", "local"} <= set(listed.split())
        assert key not in listed
        assert served.run("jobs", "list", "--json", PEGASUS_KEY=key).returncode == 0
        assert json.loads(served.run("jobs", "list", "--json", PEGASUS_KEY=key).stdout)["items"] == []
        assert_refused(served.run("workspaces", "list", PEGASUS_KEY=key), 1, "operator")


class TestAudit:
    def test_is_listed_and_verified(self, served: Library) -> None:
        key = served.json("keys", "create", "audited")["id"]
        listed = served.run("audit", "list", "--action", "key.created", "--verify")
        assert listed.returncode == 0
        assert key in listed.stdout
        assert "as they were written" in listed.stderr
        head = listed.stderr.split()[-1]
        again = served.json("audit", "list", "--verify", "--noted", head, "--limit", "1")
        assert (again["chain"]["intact"], len(again["items"])) == (True, 1)

    def test_that_is_not_as_it_was_written_exits_with_1(self, served: Library) -> None:
        result = served.run("audit", "list", "--verify", "--noted", "0" * 64)
        assert result.returncode == 1
        assert "not as it was written" in result.stderr


class TestErase:
    def test_by_id_and_by_tag(self, served: Library, tmp_path: Path) -> None:
        for name in ("one", "two", "three"):
            (tmp_path / f"{name}.txt").write_text(f"The walrus named {name}.")
        added = served.json("add", str(tmp_path), "--tag", "walrus")
        erased = served.run("erase", added[0]["document_id"])
        assert (erased.returncode, erased.stdout) == (0, "1 of 1 documents are erased.\n")
        assert served.run("erase", "--tag", "walrus").stdout == "2 of 2 documents are erased.\n"
        assert served.json("search", "walrus", "--mode", "lexical")["passages"] == []

    def test_of_what_is_not_there_is_told(self, served: Library) -> None:
        assert_refused(served.run("erase", UNKNOWN), 1, UNKNOWN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_up_on_loopback_has_no_names_to_tell(host: str) -> None:
    assert names_told(load_settings(host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "nas.local"])
def test_up_for_others_tells_by_which_names(host: str) -> None:
    told = names_told(load_settings(host=host, trusted_hosts="nas.local,box.local")) or ""
    for word in ("nas.local, box.local", "IP addresses", "PEGASUS_TRUSTED_HOSTS"):
        assert word in told


class TestUp:
    def test_says_where_it_is_and_keeps_the_directory_to_its_owner_and_itself(self, tmp_path: Path) -> None:
        data = tmp_path / "new" / "data"
        server = ServerProcess(data)
        data.parent.mkdir()
        try:
            server.start().close()
            assert server.process
            assert server.process.stdout
            key = next(line for line in server.process.stdout if line.startswith("API key: ")).split()[2]
            assert key == (data / "key").read_text().strip()
            assert stat.S_IMODE((data / "key").stat().st_mode) == 0o600
            assert stat.S_IMODE(data.stat().st_mode) == 0o700
            assert json.loads((data / "server.json").read_text())["address"] == server.address
            assert run("jobs", "list", data=data).returncode == 0
            assert_refused(run("up", "--port", "0", data=data), 1, f"process {server.pid}", str(data))
            taken = server.address.rsplit(":", 1)[1]
            assert_refused(run("up", "--port", taken, data=tmp_path / "other"), 2, taken, "in use")
        finally:
            server.end(signal.SIGKILL)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_promptly_and_well_at_a_signal(self, tmp_path: Path, number: signal.Signals) -> None:
        server = ServerProcess(tmp_path / "data")
        server.start().close()
        assert server.end(number, timeout_seconds=30) == 0
        assert "Traceback" not in server.log
        assert not (tmp_path / "data" / "server.json").exists()

    def test_killed_leaves_a_directory_that_the_next_command_can_use(self, tmp_path: Path) -> None:
        server = ServerProcess(tmp_path / "data")
        client = server.start()
        client.call("POST", "/v1/documents", json={"text": "The last words before the end."})
        client.close()
        server.end(signal.SIGKILL)
        assert (tmp_path / "data" / "server.json").exists()
        result = run("search", "last words", "--json", data=tmp_path / "data")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["passages"]

    def test_demo_asks_a_question_and_shows_a_cited_answer(self, tmp_path: Path) -> None:
        server = subprocess.Popen(
            [PEGASUS, "up", "--demo", "--port", "0", "--data", str(tmp_path)],
            env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout
        shown = ""
        for line in server.stdout:
            shown += line
            if "Ctrl-C" in line:
                break
        server.kill()
        _, errors = server.communicate()
        assert f"Question: {QUESTION}" in shown
        assert "Answer:   The spare key of the hut is kept by Marta Lindqvist" in shown
        assert "Citation: Hut handbook, characters" in shown
        assert "Traceback" not in errors

    def test_on_a_port_that_another_one_is_about_to_listen_on_is_refused(self) -> None:
        with listen("127.0.0.1", 0) as first:
            port = int(address_of(first).rsplit(":", 1)[1])
            with pytest.raises(Misconfigured, match="in use"):
                listen("127.0.0.1", port).close()

    def test_address_of_a_killed_server_is_not_taken_for_that_of_a_command_that_runs_now(self, tmp_path: Path) -> None:
        with announced(tmp_path, "http://127.0.0.1:9"):
            left_behind = (tmp_path / "server.json").read_text()
        (tmp_path / "server.json").write_text(left_behind.replace(str(os.getpid()), "999999"))
        with data_directory(tmp_path), pytest.raises(Conflict):
            running_server(tmp_path)


class TestMistakes:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["frobnicate"],
            ["search"],
            ["search", "x", "--limit", "0"],
            ["search", "x", "--frob"],
            ["jobs", "frob"],
            ["erase"],
            ["up", "--port", "99999"],
            ["up", "--port", "x"],
            ["add"],
        ],
        ids=" ".join,
    )
    def test_in_the_arguments_exit_with_2_and_a_next_step(self, arguments: list[str], tmp_path: Path) -> None:
        assert_refused(run(*arguments, PEGASUS_DATA=str(tmp_path / "data")), 2)
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        "arguments",
        [["search", "x", "--mode", "magic"], ["ask", "x", "--since", "never"], ["jobs", "list", "--state", "asleep"]],
        ids=" ".join,
    )  # fmt: skip
    def test_that_the_server_finds_exit_with_2_too(self, served: Library, arguments: list[str]) -> None:
        assert_refused(served.run(*arguments), 2)

    @pytest.mark.parametrize("arguments", [["jobs", "show", "x"], ["jobs", "retry", UNKNOWN]])
    def test_in_an_id_exit_with_1_and_a_next_step(self, served: Library, arguments: list[str]) -> None:
        assert_refused(served.run(*arguments), 1, arguments[-1])

    def test_are_json_for_a_program(self, served: Library) -> None:
        result = served.run("search", "?", "--json")
        assert (result.returncode, json.loads(result.stdout)["type"]) == (2, "urn:pegasus:problem:invalid")


class TestSettings:
    @pytest.mark.parametrize("command", [["search", "x"], ["up", "--port", "0"]])
    def test_a_data_directory_that_cannot_be_is_told(self, command: list[str]) -> None:
        assert_refused(run(*command, PEGASUS_DATA="/dev/null/pegasus"), 2, "/dev/null/pegasus")

    @pytest.mark.parametrize("name", ["VERTEX_AI_PROJECT_ID", "VERTEX_AI_LOCATION"])
    def test_of_what_is_not_there_yet_are_refused_rather_than_ignored(self, tmp_path: Path, name: str) -> None:
        assert_refused(run("keys", "show-local", data=tmp_path, **{name: "somewhere"}), 2, name)

    def test_of_the_server_tier_are_refused_in_the_settings_file_too(self, tmp_path: Path) -> None:
        (tmp_path / "pegasus.env").write_text("VERTEX_AI_PROJECT_ID=notes\n")
        result = run("keys", "show-local", data=tmp_path, PEGASUS_SETTINGS_FILE=str(tmp_path / "pegasus.env"))
        assert_refused(result, 2, "VERTEX_AI_PROJECT_ID")

    def test_a_server_that_does_not_answer_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        result = run("search", "x", PEGASUS_URL=f"http://127.0.0.1:{port}", PEGASUS_KEY="pgs_x")
        assert_refused(result, 1, str(port))
        assert_refused(run("search", "x", PEGASUS_URL=f"http://127.0.0.1:{port}"), 1, "PEGASUS_KEY")


@pytest.mark.parametrize("arguments", [["search", "hut", "--json"], ["ask", "hut?", "--stream"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error_worth_a_traceback(served: Library, arguments: list[str]) -> None:
    where = [] if arguments == ["--help"] else ["--data", str(served.data)]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = subprocess.run(
            [PEGASUS, *arguments, *where],
            env=environment(served.data),
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.stderr == ""

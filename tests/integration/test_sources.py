"""Sources over HTTP: who may add what, what a run erases and what it never does, schedules, cancelling, removing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from calls import assert_problem, walk
from conftest import finished
from origins import Site, respond, web_site
from pipeline import Pipeline, Workspace, pipeline

from pegasus.client import ProblemError
from pegasus.sources import service


@pytest.fixture(scope="module")
def pegasus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pipeline(tmp_path_factory.mktemp("sources")) as running:
        yield running


@pytest.fixture
def workspace(pegasus: Pipeline) -> Iterator[Workspace]:
    with pegasus.workspace() as made:
        yield made


@pytest.fixture
def folder(pegasus: Pipeline, tmp_path: Path) -> Path:
    made = pegasus.folder / tmp_path.name
    made.mkdir()
    return made


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as made:
        yield made


def folder_origin(folder: Path) -> dict[str, Any]:
    return {"kind": "folder", "path": str(folder)}


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.md").write_text(f"# {name}\n\nAll about {name} of {folder.name}.")


def until(condition: Callable[[], Any], timeout_seconds: float = 20) -> Any:
    end = time.monotonic() + timeout_seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


PAGE = {"kind": "page", "url": "https://example.org/"}


class TestAdding:
    def test_a_source_is_shown_as_it_was_added(self, workspace: Workspace) -> None:
        body = {"name": " my  blog ", "origin": {"kind": "feed", "url": "https://example.org/feed#x"}, "tags": ["web"]}
        made = workspace.client.call("POST", "/v1/sources", json=body)
        assert (made["name"], made["kind"], made["tags"]) == ("my blog", "feed", ["web"])
        assert made["origin"] == {"kind": "feed", "url": "https://example.org/feed"}
        assert (made["job"], made["next_run_at"], made["documents"]) == (None, None, 0)
        assert workspace.client.call("GET", f"/v1/sources/{made['id']}") == made
        assert workspace.client.call("GET", "/v1/sources?name=my blog")["items"] == [made]
        assert workspace.client.call("GET", "/v1/sources?name=other")["items"] == []

    @pytest.mark.parametrize(
        "origin",
        [
            {"kind": "feed", "url": "https://me:secret@example.org/"},
            {"kind": "feed", "url": "https://me@example.org/"},
            {"kind": "page", "url": "ftp://example.org/"},
            {"kind": "page", "url": "file:///etc/passwd"},
            {"kind": "page", "url": "https://"},
            {"kind": "page", "url": "https://example.org:port/"},
            {"kind": "page", "url": "https://[::1/"},
            {"kind": "page", "url": "https://example.org/ x"},
            {"kind": "page", "url": "https://example.org/\r\nHost: x"},
            {"kind": "page"},
            {"kind": "folder", "path": "relative"},
            {"kind": "folder", "path": "~nobody-of-this-name/x"},
            {"kind": "folder", "path": "/x\0y"},
            {"kind": "folder", "path": ""},
            {"kind": "gopher", "url": "https://example.org/"},
            {"kind": "page", "url": "https://example.org/", "more": 1},
            {"kind": "sitemap", "url": "https://example.org/", "max_pages": 0},
            {"kind": "bucket", "bucket": "../x"},
            {"kind": "bucket", "bucket": "notes", "access_key_id_secret": "PEGASUS_SECRET_A"},
            {"kind": "mailbox", "host": "imap.example.org/x", "user": "me", "password_secret": "PEGASUS_SECRET_A"},
            "page",
            None,
        ],
    )
    def test_what_is_no_origin_is_a_422_without_what_was_sent(
        self, workspace: Workspace, origin: Any, pegasus: Pipeline
    ) -> None:
        with pytest.raises(ProblemError) as raised:
            workspace.add("x", origin)
        assert raised.value.body["status"] == 422
        assert "secret@" not in str(raised.value.body)

    @pytest.mark.parametrize("fields", [{"every_seconds": 59}, {"every_seconds": 10**9}, {"tags": "x"}, {"more": 1}])
    def test_other_fields_are_checked(self, workspace: Workspace, fields: dict[str, Any]) -> None:
        with pytest.raises(ProblemError) as raised:
            workspace.add("x", PAGE, **fields)
        assert raised.value.body["status"] == 422

    def test_a_name_is_taken_once_in_a_workspace(self, pegasus: Pipeline, workspace: Workspace) -> None:
        workspace.add("blog", PAGE)
        with pytest.raises(ProblemError) as raised:
            workspace.add(" blog ", PAGE)
        assert raised.value.body["status"] == 409
        with pegasus.workspace() as other:
            other.add("blog", PAGE)

    def test_an_idempotency_key_adds_and_runs_once(self, pegasus: Pipeline, workspace: Workspace) -> None:
        http, headers = workspace.client._http, {"Idempotency-Key": "add"}
        body = {"name": "blog", "origin": PAGE}
        first, again = (http.post("/v1/sources", json=body, headers=headers) for _ in range(2))
        assert (first.status_code, first.json()) == (201, again.json())
        path, headers = f"/v1/sources/{first.json()['id']}/run", {"Idempotency-Key": "run"}
        ids = {http.post(path, headers=headers).json()["job"]["id"] for _ in range(2)}
        assert len(ids) == 1

    def test_sources_are_listed_newest_first(self, workspace: Workspace) -> None:
        ids = [workspace.add(f"source {n}", PAGE) for n in range(3)]
        assert walk(workspace.client, "/v1/sources") == ids[::-1]


class TestPermission:
    def test_the_servers_disk_is_open_below_the_folders_that_are_named(
        self, pegasus: Pipeline, workspace: Workspace, folder: Path, tmp_path: Path
    ) -> None:
        (folder / "link").symlink_to(tmp_path)
        for path in (tmp_path, folder / "link", folder / ".." / "..", "/etc", f"{pegasus.folder}-x"):
            for kind in ("folder", "mbox", "chat"):
                with pytest.raises(ProblemError, match="PEGASUS_SOURCE_FOLDERS|server's disk") as raised:
                    workspace.add("x", {"kind": kind, "path": str(path)})
                assert raised.value.body["status"] == 422
        workspace.add("x", folder_origin(folder))

    @pytest.mark.parametrize(
        "origin",
        [
            {"kind": "mailbox", "host": "imap.example.org", "user": "me", "password_secret": "PEGASUS_SECRET_A"},
            {"kind": "bucket", "bucket": "notes"},
        ],
    )
    def test_the_servers_secrets_are_open_to_the_operator_only(
        self, pegasus: Pipeline, workspace: Workspace, origin: dict[str, Any]
    ) -> None:
        with pytest.raises(ProblemError) as raised:
            workspace.add("x", origin)
        assert raised.value.body["status"] == 422
        made = pegasus.operator.add(f"operator's {origin['kind']}", origin)
        pegasus.operator.client.call("DELETE", f"/v1/sources/{made}")

    def test_the_operator_may_read_any_folder(self, pegasus: Pipeline, tmp_path: Path) -> None:
        fill(tmp_path, "anywhere")
        source = pegasus.operator.add("anywhere", folder_origin(tmp_path))
        assert pegasus.operator.counts(source) == {"created": 1}

    def test_the_data_directory_is_left_out(self, pegasus: Pipeline) -> None:
        above = pegasus.application.settings.data.parent
        source = pegasus.operator.add("above", folder_origin(above))
        pegasus.operator.counts(source)
        data = pegasus.application.settings.data.as_uri()
        assert not [uri for uri in pegasus.operator.uris() if uri and uri.startswith(data)]

    @pytest.mark.parametrize("kind", ["page", "feed", "sitemap"])
    @pytest.mark.parametrize(
        "url",
        ["http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://2130706433/",
         "http://10.0.0.1/", "http://localhost/"],
    )  # fmt: skip
    def test_the_private_network_is_not_reached(self, workspace: Workspace, kind: str, url: str) -> None:
        source = workspace.add("inside", {"kind": kind, "url": url})
        run = workspace.run(source)
        detail = (run["error"] or run["errors"][0])["detail"]
        # The allowed 127.0.0.1 is allowed under this name only.
        assert "not a public one" in detail
        assert workspace.documents() == []


class TestErasing:
    def test_most_of_many_gone_at_once_is_held_until_confirmed(self, workspace: Workspace, folder: Path) -> None:
        names = [f"note{n}" for n in range(10)]
        fill(folder, *names)
        source = workspace.add("notes", folder_origin(folder))
        assert workspace.counts(source) == {"created": 10}
        for name in names[:6]:
            (folder / f"{name}.md").unlink()
        fill(folder, *(f"new{n}" for n in range(9)))  # New ones do not make the loss look smaller.
        assert workspace.counts(source) == {"created": 9, "unchanged": 4, "failed": 1, "held": 6}
        assert len(workspace.documents()) == 19
        run = workspace.run(source)
        assert run["held"] == 6
        assert "--confirm" in run["errors"][0]["hint"]
        assert workspace.counts(source, confirm=True) == {"unchanged": 13, "erased": 6}
        assert len(workspace.documents()) == 13

    def test_half_or_a_few_are_erased(self, workspace: Workspace, folder: Path) -> None:
        fill(folder, *(f"note{n}" for n in range(10)))
        source = workspace.add("notes", folder_origin(folder))
        workspace.counts(source)
        for gone, left in ((range(5), 5), (range(5, 9), 1)):
            for number in gone:
                (folder / f"note{number}.md").unlink()
            assert workspace.counts(source) == {"unchanged": left, "erased": len(gone)}

    def test_all_gone_is_held_even_if_it_is_one(self, workspace: Workspace, folder: Path) -> None:
        fill(folder, "only")
        source = workspace.add("notes", folder_origin(folder))
        workspace.counts(source)
        (folder / "only.md").unlink()
        assert workspace.counts(source) == {"failed": 1, "held": 1}
        fill(folder, "only")  # It was a mistake, and nothing has happened.
        assert workspace.counts(source) == {"unchanged": 1}

    def test_what_is_moved_is_neither_erased_nor_held(self, workspace: Workspace, folder: Path) -> None:
        names = [f"note{n}" for n in range(12)]
        fill(folder, *names)
        source = workspace.add("notes", folder_origin(folder))
        workspace.counts(source)
        before = {document["id"] for document in workspace.documents()}
        (folder / "moved").mkdir()
        for name in names:
            (folder / f"{name}.md").rename(folder / "moved" / f"{name}.md")
        assert workspace.counts(source) == {"unchanged": 12}
        assert {document["id"] for document in workspace.documents()} == before
        assert workspace.uris() == {(folder / "moved" / f"{name}.md").as_uri() for name in names}

    def test_a_document_of_two_sources_goes_with_the_second(self, workspace: Workspace, folder: Path) -> None:
        one, two = folder / "one", folder / "two"
        for each in (one, two):
            each.mkdir()
            (each / "shared.md").write_text("The very same words.")
            fill(each, "own")
        sources = [workspace.add(each.name, folder_origin(each)) for each in (one, two)]
        assert [workspace.counts(source) for source in sources] == [{"created": 2}, {"created": 1, "unchanged": 1}]
        (one / "shared.md").unlink()
        assert workspace.counts(sources[0]) == {"unchanged": 1}
        assert workspace.finds("very") == 1
        (two / "shared.md").unlink()
        assert workspace.counts(sources[1]) == {"unchanged": 1, "erased": 1}
        assert workspace.finds("very") == 0

    def test_what_a_person_added_is_never_erased(self, workspace: Workspace, folder: Path) -> None:
        by_hand = {"text": "By hand before the source."}
        workspace.client.call("POST", "/v1/documents", json=by_hand)
        (folder / "same.md").write_text("By hand before the source.")
        fill(folder, "own", "named")
        source = workspace.add("notes", folder_origin(folder))
        assert workspace.counts(source) == {"created": 2, "unchanged": 1}
        text = (folder / "named.md").read_text()
        workspace.client.call("POST", "/v1/documents", json={"text": text, "uri": "note://by-hand"})
        for name in ("same", "named"):
            (folder / f"{name}.md").unlink()
        assert workspace.counts(source) == {"unchanged": 1}
        assert len(workspace.documents()) == 3
        assert workspace.remove(source)["state"] == "succeeded"
        assert len(workspace.documents()) == 2

    def test_what_a_person_erased_comes_back_only_when_it_changes(
        self, pegasus: Pipeline, workspace: Workspace, folder: Path
    ) -> None:
        fill(folder, "kept", "unwanted")
        source = workspace.add("notes", folder_origin(folder))
        workspace.counts(source)
        (unwanted,) = [d for d in workspace.documents() if d["title"] == "unwanted"]
        finished(workspace.client, workspace.client.call("DELETE", f"/v1/documents/{unwanted['id']}")["job"]["id"])
        with pegasus.application.relational.read() as tx:
            assert tx.one("SELECT 1 FROM source_items WHERE document_id = :id", {"id": unwanted["id"]}) is None
        assert workspace.counts(source) == {"unchanged": 2}
        assert len(workspace.documents()) == 1
        (folder / "unwanted.md").write_text("A fresh start.")
        assert workspace.counts(source) == {"created": 1, "unchanged": 1}

    def test_a_copy_that_changes_leaves_the_other_alone(self, workspace: Workspace, folder: Path) -> None:
        for name in ("a", "b"):
            (folder / f"{name}.md").write_text("The same words in both.")
        source = workspace.add("notes", folder_origin(folder))
        assert workspace.counts(source) == {"created": 1, "unchanged": 1}
        (folder / "a.md").write_text("Other words now.")
        assert workspace.counts(source) == {"created": 1, "unchanged": 1}
        (folder / "b.md").write_text("Words of its own, too.")
        assert workspace.counts(source) == {"updated": 1, "unchanged": 1}
        assert (len(workspace.documents()), workspace.finds("both")) == (2, 0)


class TestRemoving:
    def test_documents_are_kept_unless_they_are_to_be_erased(self, workspace: Workspace, folder: Path) -> None:
        fill(folder, "a", "b")
        source = workspace.add("notes", folder_origin(folder))
        workspace.counts(source)
        assert workspace.client.call("DELETE", f"/v1/sources/{source}") == {"job": None}
        assert len(workspace.documents()) == 2
        assert workspace.client.call("GET", "/v1/sources")["items"] == []
        with pytest.raises(ProblemError):
            workspace.client.call("GET", f"/v1/sources/{source}")

    def test_erasing_ends_with_the_source_gone(self, workspace: Workspace, folder: Path) -> None:
        fill(folder, *(f"note{n}" for n in range(12)))
        source = workspace.add("notes", folder_origin(folder))
        workspace.counts(source)
        done = workspace.remove(source)
        assert (done["state"], done["result"]) == ("succeeded", {"items": 12, "failed": 0})
        assert workspace.documents() == []
        assert workspace.client.call("GET", "/v1/sources")["items"] == []
        workspace.add("notes", folder_origin(folder))  # The name is free again.

    def test_a_run_ends_with_its_source(self, workspace: Workspace, site: Site) -> None:
        source, job, go = slow_run(workspace, site)
        assert workspace.client.call("DELETE", f"/v1/sources/{source}") == {"job": None}
        go.set()
        assert finished(workspace.client, job)["state"] == "cancelled"
        assert workspace.documents() == []


def slow_run(workspace: Workspace, site: Site, pages: int = 1) -> tuple[str, str, threading.Event]:
    """A run that hangs at its last page until the event is set: source, job."""
    asked, go = threading.Event(), threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        go.wait(20)
        respond(request, 200, b"<p>Late words.</p>", {"Content-Type": "text/html"})

    urls = []
    for number in range(pages - 1):
        site.text(f"/{number}", f"Page {number}", f"Words of page{number}.")
        urls.append(f"/{number}")
    site.answers["/slow"] = slow
    listed = "".join(f"<url><loc>{site.url(url)}</loc></url>" for url in [*urls, "/slow"])
    site.pages["/sitemap.xml"] = ("application/xml", f"<urlset>{listed}</urlset>".encode())
    source = workspace.add("slow", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
    job = workspace.client.call("POST", f"/v1/sources/{source}/run")["job"]["id"]
    assert asked.wait(20)
    return source, job, go


class TestRunning:
    def test_a_source_has_one_run_at_a_time(self, workspace: Workspace, site: Site) -> None:
        source, job, go = slow_run(workspace, site)
        again = workspace.client.call("POST", f"/v1/sources/{source}/run")["job"]
        assert (again["id"], again["state"]) == (job, "running")
        with pytest.raises(ProblemError) as raised:
            workspace.client.call("POST", f"/v1/sources/{source}/run?confirm=true")
        assert raised.value.body["status"] == 409
        go.set()
        assert workspace.report(job, source)["created"] == 1
        assert workspace.client.call("POST", f"/v1/sources/{source}/run")["job"]["id"] != job

    def test_a_cancelled_run_stops_and_the_next_one_takes_in_the_rest(self, workspace: Workspace, site: Site) -> None:
        source, job, go = slow_run(workspace, site, pages=4)
        progress = workspace.client.call("GET", f"/v1/jobs/{job}")["progress"]
        assert progress["total"] == 4
        assert workspace.client.call("POST", f"/v1/jobs/{job}/cancel")["state"] == "cancelled"
        with pytest.raises(ProblemError, match="Run the source|cancelled run"):
            workspace.client.call("POST", f"/v1/jobs/{job}/retry")
        go.set()
        run = workspace.run(source)
        assert run["state"] == "succeeded"
        assert {(d["uri"], d["state"]) for d in workspace.documents()} == {
            (site.url(path), "ready") for path in ("/0", "/1", "/2", "/slow")
        }

    def test_a_site_that_fails_all_the_time_is_tried_later(self, workspace: Workspace, site: Site) -> None:
        failures = itertools.count()
        errors: list[str] = []

        def fail_five_times(request: BaseHTTPRequestHandler) -> None:
            """The site is down for the first try, however late or early the next one comes."""
            if next(failures) < 5:
                respond(request, 500)
            else:
                jobs = workspace.client.call("GET", "/v1/jobs")["items"]
                errors.extend(str(job["error"]) for job in jobs if job["kind"] == "source")
                respond(request, 200, f"<p>Works at {request.path} again.</p>".encode(), {"Content-Type": "text/html"})

        paths = [f"/{number}" for number in range(12)]
        for path in paths[1:]:
            site.answers[path] = fail_five_times
        site.text("/0", "Page", "The one that works.")
        listed = "".join(f"<url><loc>{site.url(path)}</loc></url>" for path in paths)
        site.pages["/sitemap.xml"] = ("application/xml", f"<urlset>{listed}</urlset>".encode())
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        job = workspace.client.call("POST", f"/v1/sources/{source}/run")["job"]["id"]
        run = workspace.report(job, source)
        assert (run["state"], run["created"], run["failed"]) == ("succeeded", 7, 5)
        # Given up after five failures in a row, then read on from there: no page was asked for twice.
        assert "answered 500." in errors[0]
        assert sorted(path for path, _ in site.requests if path in paths) == sorted(paths)
        assert workspace.counts(source) == {"created": 5, "unchanged": 7}

    def test_results_tell_of_each_item(self, workspace: Workspace, folder: Path) -> None:
        fill(folder, "a", "b")
        source = workspace.add("notes", folder_origin(folder))
        run = workspace.run(source)
        items = list(workspace.client.lines(f"/v1/jobs/{run['id']}/results"))
        assert [(item["name"], item["outcome"], item["state"]) for item in items] == [
            ("a.md", "created", "succeeded"), ("b.md", "created", "succeeded"),
        ]  # fmt: skip
        job = workspace.client.call("GET", f"/v1/jobs/{run['id']}")
        assert (job["kind"], job["progress"]["done"], job["progress"]["total"]) == ("source", 2, 2)

    def test_reports_are_kept_newest_first(self, workspace: Workspace, folder: Path) -> None:
        source = workspace.add("notes", folder_origin(folder))
        ids = [workspace.run(source)["id"] for _ in range(3)]
        assert walk(workspace.client, f"/v1/sources/{source}/runs") == ids[::-1]


class TestSchedule:
    def test_a_scheduled_source_runs_at_once_and_then_when_its_time_has_come(
        self, pegasus: Pipeline, workspace: Workspace, folder: Path
    ) -> None:
        fill(folder, "a")
        source = workspace.add("notes", folder_origin(folder), every_seconds=60)

        def runs() -> list[dict[str, Any]]:
            found = workspace.client.call("GET", f"/v1/sources/{source}/runs")["items"]
            return [run for run in found if run["state"] == "succeeded"]

        until(runs)
        shown = workspace.client.call("GET", f"/v1/sources/{source}")
        assert shown["next_run_at"]
        for moment in (time.time() - 1, time.time() + 10**6):  # due; and left behind by a clock that was set back
            before = len(runs())
            with pegasus.application.relational.write() as tx:
                tx.execute("UPDATE sources SET next_run_at = :t WHERE id = :id", {"t": moment, "id": source})
            until(lambda before=before: len(runs()) == before + 1)
        assert len(workspace.documents()) == 1

    def test_what_still_runs_is_not_started_again(self, pegasus: Pipeline, workspace: Workspace, site: Site) -> None:
        source, job, go = slow_run(workspace, site)
        with pegasus.application.relational.write() as tx:
            tx.execute("UPDATE sources SET every_seconds = 60, next_run_at = 1 WHERE id = :id", {"id": source})
            assert service.start_due(tx, time.time()) == 0
        go.set()
        finished(workspace.client, job)
        until(lambda: len(workspace.client.call("GET", f"/v1/sources/{source}/runs")["items"]) == 2)


def test_the_same_origin_in_two_workspaces_is_two_things(pegasus: Pipeline, workspace: Workspace, folder: Path) -> None:
    fill(folder, "a", "b")
    with pegasus.workspace() as other:
        mine, theirs = (w.add("notes", folder_origin(folder)) for w in (workspace, other))
        assert workspace.counts(mine) == other.counts(theirs) == {"created": 2}
        assert not {d["id"] for d in workspace.documents()} & {d["id"] for d in other.documents()}
        (folder / "a.md").unlink()
        assert workspace.counts(mine) == {"unchanged": 1, "erased": 1}
        assert (len(workspace.documents()), len(other.documents())) == (1, 2)
        other.client.call("DELETE", f"/v1/sources/{theirs}")
        assert workspace.counts(mine) == {"unchanged": 1}


def test_an_unknown_source_is_a_404(pegasus: Pipeline, workspace: Workspace) -> None:
    http: httpx.Client = workspace.client._http
    for id_ in ("0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1", "x"):
        for method, path in (("GET", ""), ("GET", "/runs"), ("POST", "/run"), ("DELETE", "")):
            assert_problem(http.request(method, f"/v1/sources/{id_}{path}"), 404, "not-found")

"""One process whose vectors, graph or files are in servers: everything works as it does without, and says what not."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import finished
from servers import (
    ACCESS_KEY_ID,
    PASSWORD,
    REGION,
    SECRET_ACCESS_KEY,
    BoltServer,
    ChromaServer,
    S3Server,
    chroma_server,
)
from test_integrity import FAULTS, Installation, story

from pegasus import bootstrap
from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.adapters.chroma_server import ChromaServerVectorStore
from pegasus.bootstrap import embedded, open_stores, truth
from pegasus.client import Client
from pegasus.errors import Misconfigured, Unavailable
from pegasus.identifiers import new_id
from pegasus.integrity.backup import back_up
from pegasus.integrity.encryption import Key, unlock
from pegasus.integrity.restore import check as check_archive
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

pytestmark = pytest.mark.embedded("it names its servers itself")

SERVERS = {"vectors": "chroma", "graph": "bolt", "files": "s3"}


@pytest.fixture
def urls(bolt: BoltServer, s3: S3Server, chroma: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the settings are when everything is in servers; each test has a database and a prefix of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    place = bolt.address.removeprefix("bolt://")
    with closing(ChromaServerVectorStore(chroma.url)) as left:
        left.rebuild([])  # Of the test before: nobody may begin anew beside it.
    return {
        "vectors": f"{chroma.url}/{new_id()}",
        "graph": f"bolt://root:{quote(PASSWORD)}@{place}/{bolt.new_database()}",
        "files": f"s3://{s3.bucket}/{new_id()}?region={REGION}&endpoint={s3.endpoint}",
    }


@contextmanager
def installed(directory: Path, urls: dict[str, str]) -> Iterator[Installation]:
    given = {f"{name}_url": url for name, url in urls.items()}
    settings = load_settings(data=directory, embedder="hash", parse_timeout_seconds=10, **given)
    with embedded(settings) as application, serving_in_background(application) as address:
        with application.relational.write() as tx:
            workspace_id = access.ensure_workspace(tx)
            _, key = access.create_key(tx, workspace_id, "test", scope=Scope.OPERATOR)
        client = Client(address, key)
        yield Installation(application, client, workspace_id)
        client.close()


@pytest.fixture
def installation(urls: dict[str, str], tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path / "data", urls) as made:
        yield made


def run(installation: Installation, path: str, **body: Any) -> dict[str, Any]:
    job = finished(installation.client, installation.client.call("POST", path, **body)["job"]["id"])
    assert job["state"] == "succeeded", job
    return job


def found(installation: Installation, query: str) -> list[str]:
    passages = installation.client.call("POST", "/v1/search", json={"query": query})["passages"]
    return [passage["document_id"] for passage in passages]


@pytest.mark.parametrize("chosen", [("vectors",), ("graph",), ("files",), ("vectors", "graph", "files")], ids="+".join)
def test_any_mix_of_servers_and_embedded_stores_works(
    urls: dict[str, str], tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    used = {name: urls[name] for name in chosen}
    with installed(tmp_path / "data", used) as i:
        documents = [i.add_text(story(i.random, n), f"Story {n}", f"https://example.org/{n}") for n in range(4)]
        page = i.add_file("page.md", b"# Page\n\nAda Lovelace met Quillon Featherstonehaugh.\n")
        assert i.check()["consistent"], i.check()
        assert found(i, "Quillon Featherstonehaugh")[0] == page
        entities = i.client.call("GET", "/v1/graph/entities", params={"q": "Ada Lovelace"})["items"]
        neighbours = i.client.call("GET", f"/v1/graph/entities/{entities[0]['id']}/neighbours", params={"depth": 1})
        assert neighbours
        for erased in (page, documents[0]):
            assert finished(i.client, i.client.call("DELETE", f"/v1/documents/{erased}")["job"]["id"])["result"]
            receipt = i.client.call("GET", f"/v1/erasures/{erased}")
            assert receipt["state"] == "verified"
            assert {look["left"] for look in receipt["looks"]} == {0}
        run(i, "/v1/integrity/rebuild", json={"stores": ["vectors", "graph", "fulltext"]})
        assert i.check()["consistent"], i.check()
        result = run(i, "/v1/integrity/compact")["result"]
        # What a server keeps in its files nobody here can tell, so nobody says that it is gone.
        in_servers = [name for name in chosen if name != "files"]
        assert result.get("left_to_servers", []) == in_servers
        assert result.get("erasures_purged") == (None if in_servers else 2)
        # Nor does it compact by itself, for that would be due again each day.
        assert ("compaction" in {chore.name for chore in i.application.reaper._chores}) == (not in_servers)
        assert i.check()["consistent"], i.check()
    with installed(tmp_path / "data", used) as i:
        assert i.check()["consistent"], i.check()
        assert found(i, "letter")[0] in documents
    kept = {path.name for path in (tmp_path / "data").iterdir()}
    for name, place in (("vectors", "vectors"), ("graph", "graph.ladybug"), ("files", "files")):
        assert (place in kept) == (name not in chosen)


BY_THE_PORTS = [
    "a vector is lost", "a vector is another", "a vector belongs to nothing", "nodes belong to nothing",
    "a passage's node is lost", "an entity's node is lost", "a document's links are lost",
    "a document's node has another title",
]  # fmt: skip


def test_faults_in_servers_are_found_told_and_mended(installation: Installation) -> None:
    documents = [
        installation.add_text(story(installation.random, n), f"Story {n}", f"https://example.org/{n}") for n in range(4)
    ]
    for fault in BY_THE_PORTS:
        plant, expected = FAULTS[fault]
        plant(installation, documents[1])
        assert set(installation.check()["counts"]) == expected, fault
        assert {result["outcome"] for result in installation.repair()} == {"repaired"}
        again = installation.check()
        assert again["consistent"], (fault, again["differences"])


def test_a_lost_object_is_noticed_and_an_orphan_is_deleted(installation: Installation) -> None:
    document = installation.add_file("story.md", b"# Title\n\nAda wrote it.\n")
    ((key,),) = installation.sql("SELECT file_key FROM document_versions WHERE document_id = ?", document)
    installation.application.files.delete(key)
    assert set(installation.check()["counts"]) == {"files:missing"}
    installation.repair()
    assert installation.check()["consistent"]
    with (installation.directory / "pegasus.sqlite3").open("rb") as stream:
        installation.application.files.put(installation.workspace_id, stream, 10**9)
    assert set(installation.check()["counts"]) == {"files:orphan"}
    installation.repair()
    assert installation.check()["consistent"]
    assert len(list(installation.application.files.stored_keys())) == 1


def test_a_server_that_was_emptied_is_noticed_and_filled_again(urls: dict[str, str], tmp_path: Path) -> None:
    with (
        chroma_server(tmp_path / "chroma") as server,
        installed(tmp_path / "data", {"vectors": f"{server.url}/notes"}) as i,
    ):
        documents = [i.add_text(story(i.random, n), f"Story {n}") for n in range(3)]
        assert found(i, "engine letter")
        server.process.kill()
        with pytest.raises(Unavailable):
            i.application.checks["vectors"]()
        shutil.rmtree(server.directory)
        server.process.start()
        report = i.check()
        assert set(report["counts"]) == {"vectors:missing"}
        assert {one["document_id"] for one in report["differences"]} == set(documents)
        i.repair()
        assert i.check()["consistent"]


def test_a_document_that_came_while_a_server_was_away_is_indexed_when_it_is_back(tmp_path: Path) -> None:
    with (
        chroma_server(tmp_path / "chroma") as server,
        installed(tmp_path / "data", {"vectors": f"{server.url}/notes"}) as i,
    ):
        server.process.kill()
        added = i.client.call("POST", "/v1/documents", json={"title": "Note", "text": "Ada wrote of the zanzibarite."})
        lexical = {"query": "zanzibarite", "mode": "lexical"}
        until = time.monotonic() + 30
        while i.client.call("GET", f"/v1/jobs/{added['job']['id']}")["attempts"] < 1:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert i.client.call("POST", "/v1/search", json=lexical)["passages"]
        server.process.start()
        assert finished(i.client, added["job"]["id"])["state"] == "succeeded"
        assert i.check()["consistent"], i.check()


def test_backup_restore_and_drill_know_the_servers(urls: dict[str, str], tmp_path: Path) -> None:
    archive = tmp_path / "backup.pegasus"

    def ignored(_what: str, _done: int, _total: int) -> None: ...

    with installed(tmp_path / "data", urls) as i:
        document = i.add_file("story.md", b"# Title\n\nAda Lovelace wrote it.\n")
        settings = i.application.settings
        with truth(settings.data, settings.files) as (relational, files):
            back_up(relational, files, archive, lock=None, keep_days=None, force=False, progress=ignored)
        opened = unlock(archive, Key())
        manifest = check_archive(opened, ignored)
        assert manifest.files == 1
        before = sorted(i.application.files.stored_keys())
        assert bootstrap.drill(settings, opened, manifest, ignored).report()["passed"]
        assert sorted(i.application.files.stored_keys()) == before
        assert i.check()["consistent"], i.check()
        for key in before:  # As when the bucket is lost.
            i.application.files.delete(key)
    settings = settings.model_copy(update={"data": tmp_path / "restored"})

    def lost(_what: str, _done: int, total: int) -> None:
        if _what == "vectors":
            raise Unavailable("the server was lost")

    with pytest.raises(Unavailable, match="lost"):
        bootstrap.restore(settings, opened, manifest, lost)
    bootstrap.restore(settings, opened, manifest, ignored)  # Nothing of the first stands in its way.
    with closing(open_stores(settings, settings.data)) as stores:
        assert sorted(stores.files.stored_keys()) == before
    with installed(tmp_path / "restored", urls) as i:
        assert i.check()["consistent"], i.check()
        assert found(i, "Ada Lovelace") == [document]


@pytest.mark.parametrize("name", SERVERS)
def test_what_another_installation_has_is_left_alone_by_one_that_begins(
    urls: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Somebody names another's server by mistake, or the rows were lost."""
    used = {name: urls[name]}
    with installed(tmp_path / "one", used) as one:
        document = one.add_file("story.md", b"# Title\n\nAda wrote it.\n")
    with (
        pytest.raises(Misconfigured, match=f"no rows, but {name} still hold") as raised,
        installed(tmp_path / "other", used),
    ):
        pass
    assert "backup" in (raised.value.hint or "")
    with installed(tmp_path / "one", used) as one:
        assert one.check()["consistent"], one.check()
        assert found(one, "Ada") == [document]


def test_nothing_of_a_bucket_is_swept_at_start(urls: dict[str, str], tmp_path: Path) -> None:
    with installed(tmp_path / "one", {"files": urls["files"]}) as one:
        one.add_file("story.md", b"# Title\n\nAda wrote it.\n")
    with installed(tmp_path / "other", {}) as other:
        other.add_text("It has rows of its own.")
    with installed(tmp_path / "other", {"files": urls["files"]}) as other:
        assert len(list(other.application.files.stored_keys())) == 1


@pytest.mark.embedded("it takes away the file of the rows")
def test_rows_that_are_lost_are_no_first_start(tmp_path: Path) -> None:
    with installed(tmp_path, {}) as i:
        i.add_file("story.md", b"# Title\n\nAda wrote it.\n")
    rows = tmp_path / "pegasus.sqlite3"
    rows.rename(tmp_path / "aside")
    with (
        pytest.raises(Misconfigured, match="vectors and graph and files still hold documents"),
        installed(tmp_path, {}),
    ):
        pass
    (tmp_path / "aside").rename(rows)
    with installed(tmp_path, {}) as i:
        assert i.check()["consistent"], i.check()


@pytest.mark.parametrize("name", SERVERS)
def test_pegasus_starts_without_its_servers_and_says_that_they_are_away(
    name: str, urls: dict[str, str], tmp_path: Path
) -> None:
    away = {
        "vectors": "http://127.0.0.1:9",
        "graph": "bolt://neo4j:p4ssword-never-seen@127.0.0.1:9",
        "files": "s3://bucket?region=us-east-1&endpoint=http://127.0.0.1:9",
    }
    with installed(tmp_path / "data", {name: away[name]}) as i:
        with pytest.raises(Unavailable) as raised:
            i.application.checks[name]()
        assert f"PEGASUS_{name.upper()}_URL" in (raised.value.hint or "")
        assert "p4ssword" not in str(raised.value.problem())


@pytest.mark.parametrize(("name", "url"), [
    ("graph", "bolt://root:wrong@{bolt}"),
    ("graph", "bolt://root:{password}@{bolt}/nosuchdatabase"),
    ("files", "s3://no-such-bucket?region=us-east-1&endpoint={s3}"),
    ("vectors", "{s3}"),
])  # fmt: skip
def test_servers_that_refuse_us_or_are_others_keep_pegasus_from_starting(
    name: str, url: str, bolt: BoltServer, s3: S3Server, urls: dict[str, str], tmp_path: Path
) -> None:
    url = url.format(bolt=bolt.address.removeprefix("bolt://"), password=quote(PASSWORD), s3=s3.endpoint)
    with pytest.raises(Misconfigured) as raised:
        open_stores(load_settings(data=tmp_path, **{f"{name}_url": url}), tmp_path)
    assert raised.value.hint
    assert "wrong" not in str(raised.value.problem())
    assert PASSWORD not in str(raised.value.problem())


def test_an_extra_that_is_missing_is_told_with_the_next_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = bootstrap.importlib.util.find_spec
    monkeypatch.setattr(
        bootstrap.importlib.util, "find_spec", lambda name: None if name == "neo4j" else installed(name)
    )
    with pytest.raises(Misconfigured, match="neo4j") as raised:
        open_stores(load_settings(data=tmp_path, graph_url="bolt://graph:7687"), tmp_path)
    assert "pegasus[server]" in (raised.value.hint or "")

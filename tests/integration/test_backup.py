"""A backup has everything, of one moment; what is restored from it is the same, and goes on where it was."""

from __future__ import annotations

import copy
import fcntl
import io
import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from installations import fill, rows, said, settings_for, silent, stopped, truth_of
from stores import differences
from tier import copied, one_machine

from pegasus import bootstrap
from pegasus.adapters.files import FolderFileStore
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client
from pegasus.data_directory import data_directory
from pegasus.errors import Conflict, Invalid, NotFound, Unavailable
from pegasus.identifiers import new_id
from pegasus.integrity import archive as archives
from pegasus.integrity import records
from pegasus.integrity.archive import FORMAT, ArchiveReader, ArchiveWriter, Manifest
from pegasus.integrity.backup import Backup, back_up, backups_holding
from pegasus.integrity.encryption import Key, Lock, unlock
from pegasus.integrity.restore import Restored, check
from pegasus.migrations import HEAD
from pegasus.server import serving_in_background

OLD = sorted((Path(__file__).parents[1] / "data").glob("format-*.pegasus"))
REFERRING = ("document_uris", "document_tags", "document_versions", "links", "link_keys")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("filled") / "data"
    return {"folder": str(folder), **fill(folder)}


@pytest.fixture(scope="module")
def saved(made: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "archive"
    save(Path(made["folder"]), path)
    return path


def save(folder: Path, path: Path, **options: Any) -> Backup:
    with truth_of(folder) as (relational, files):
        return back_up(relational, files, path, progress=silent, **options)


def bring_back(path: Path, folder: Path, key: Key = Key()) -> Restored:
    opened = unlock(path, key)
    return bootstrap.restore(settings_for(one_machine(folder)), opened, check(opened, silent), silent)


def ask_all(folder: Path, key: str | None = None) -> str:
    """What is answered while no worker changes anything."""
    with stopped(folder) as application, serving_in_background(application) as address:
        client = Client(address, key or local_access(application, folder).key)
        try:
            return said(client)
        finally:
            client.close()


class TestRoundTrip:
    @pytest.fixture(scope="class")
    def restored(self, made: dict[str, str], saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("restored") / "data"
        bring_back(saved, folder)
        return folder

    def test_every_row_is_as_it_was_but_for_what_was_being_erased(
        self, made: dict[str, str], saved: Path, tmp_path: Path
    ) -> None:
        bring_back(saved, tmp_path / "data")
        with truth_of(Path(made["folder"])) as (relational, _):
            before = rows(relational)
        with truth_of(tmp_path / "data") as (relational, _):
            after = rows(relational)
        assert any(row["document_id"] == made["erasing"] for row in before["document_versions"])
        for table in REFERRING:
            before[table] = [row for row in before[table] if row["document_id"] != made["erasing"]]
        before["documents"] = [row for row in before["documents"] if row["id"] != made["erasing"]]
        # That it was made, and that it was restored, is noted when all has been saved and loaded.
        for found, action in ((before, "backup.made"), (after, "backup.restored")):
            while (event := max(found["audit_events"], key=lambda row: row["id"]))["action"] == action:
                found["audit_events"].remove(event)
        assert after.pop("audit_heads") != before.pop("audit_heads")
        assert after == before
        filled = {table for table, found in after.items() if found}
        # Otherwise this shows little. Tables of others, of whom this knows nothing, may be empty.
        assert filled >= {
            "api_keys", "batch_items", "document_tags", "document_uris", "document_versions", "documents", "entities",
            "idempotency_keys", "jobs", "link_keys", "links", "mentions", "messages", "passage_embeddings", "passages",
            "removals", "sessions", "workspaces", "backups",
        }  # fmt: skip

    def test_it_answers_the_same_to_every_byte_and_to_the_keys_of_before(
        self, made: dict[str, str], saved: Path, tmp_path: Path
    ) -> None:
        original = copied(Path(made["folder"]), tmp_path / "copy")
        bring_back(saved, tmp_path / "data")
        wanted = ask_all(original)
        assert '"citations": [{' in wanted
        assert ask_all(tmp_path / "data") == wanted
        assert ask_all(tmp_path / "data", made["key"]) == wanted
        assert ask_all(tmp_path / "data", made["other key"]) == ask_all(original, made["other key"]) != wanted
        with pytest.raises(Exception, match="not valid"):
            ask_all(tmp_path / "data", made["revoked"])

    def test_the_local_key_is_a_new_one(self, made: dict[str, str], saved: Path, tmp_path: Path) -> None:
        bring_back(saved, tmp_path / "data")
        with stopped(tmp_path / "data") as application:
            key = local_access(application, tmp_path / "data").key
        assert key != (Path(made["folder"]) / "key").read_text().strip()

    def test_unfinished_work_goes_on_and_the_stores_agree(
        self, made: dict[str, str], saved: Path, tmp_path: Path
    ) -> None:
        bring_back(saved, tmp_path / "data")
        with embedded(settings_for(tmp_path / "data")) as application, serving_in_background(application) as address:
            client = Client(address, local_access(application, tmp_path / "data").key)
            until_done(client, made["erasure"])
            client.call("POST", f"/v1/jobs/{made['dead job']}/retry")
            until_done(client, made["dead job"])
            assert client.call("GET", f"/v1/documents/{made['waiting']}")["state"] == "ready"
            versions = [1, 2]
            texts = [client.call("GET", f"/v1/documents/{made['lighthouse']}/content?version={v}") for v in versions]
            assert [content["version"] for content in texts] == versions
            (_, answer) = client.call("GET", f"/v1/sessions/{made['session']}")["messages"]
            assert answer["citations"]
            client.close()
        with stopped(tmp_path / "data") as application:
            assert differences(application) == []

    def test_the_original_files_are_there_and_for_their_owner_only(
        self, made: dict[str, str], saved: Path, tmp_path: Path
    ) -> None:
        bring_back(saved, tmp_path / "data")
        after = tmp_path / "data" / "files"
        with truth_of(tmp_path / "data") as (relational, _), relational.read() as tx:
            keys = [row["file_key"] for row in tx.all("SELECT file_key FROM document_versions") if row["file_key"]]
        assert keys
        assert sorted(keys) == sorted(FolderFileStore(after).stored_keys())
        with truth_of(Path(made["folder"])) as (_, files):
            for key in keys:
                with files.path(key) as before:
                    assert (after / key).read_bytes() == before.read_bytes()
                assert (after / key).stat().st_mode & 0o077 == 0
        assert saved.stat().st_mode & 0o777 == 0o600

    def test_the_archive_has_no_secret_and_nothing_of_what_was_being_erased(
        self, made: dict[str, str], saved: Path
    ) -> None:
        with saved.open("rb") as file, ArchiveReader(file) as reader:
            content = b"".join(member.whole(10**8) for member in reader.members())
        for secret in (made["key"], made["other key"], (Path(made["folder"]) / "key").read_text().strip()):
            assert secret.encode() not in content
        assert b"has to be gone" not in content
        assert b"lighthouse" in content

    def test_the_archive_remembers_itself(self, saved: Path, tmp_path: Path) -> None:
        bring_back(saved, tmp_path / "data")
        with truth_of(tmp_path / "data") as (relational, _), relational.read() as tx:
            (record,) = backups_holding(tx, created_before=10**10)
        assert (record.name, record.size_bytes) == ("archive", saved.stat().st_size)


def until_done(client: Client, job_id: str) -> None:
    from conftest import finished

    assert finished(client, job_id)["state"] == "succeeded"


class TestEncrypted:
    def test_a_passphrase_opens_it(self, made: dict[str, str], tmp_path: Path) -> None:
        save(Path(made["folder"]), tmp_path / "a", lock=Lock(passphrase="open sesame"))
        assert b"lighthouse" not in (tmp_path / "a").read_bytes()
        bring_back(tmp_path / "a", tmp_path / "data", Key(passphrase="open sesame"))
        with truth_of(tmp_path / "data") as (relational, _):
            assert rows(relational)["documents"]


class TestRecords:
    def test_a_backup_is_known_until_it_expires(self, made: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "data"
        copied(Path(made["folder"]), folder)
        kept = save(folder, tmp_path / "kept", keep_days=30)
        save(folder, tmp_path / "deleted", keep_days=0)
        with truth_of(folder) as (relational, _), relational.read() as tx:
            found = {record.id: record for record in backups_holding(tx, kept.created_at + 1)}
            assert not {record.id for record in backups_holding(tx, kept.created_at)} & {kept.id}
        assert found[kept.id].name == "kept"
        assert found[kept.id].sha256 == kept.sha256
        assert found[kept.id].expires_at == kept.created_at + 30 * 86_400
        assert "deleted" not in {record.name for record in found.values()}

    def test_one_that_failed_is_not_known(self, made: dict[str, str], tmp_path: Path) -> None:
        with truth_of(Path(made["folder"])) as (relational, _), relational.read() as tx:
            before = backups_holding(tx, 10**10)
        with pytest.raises(Unavailable, match="cannot be written"):
            save(Path(made["folder"]), tmp_path / "no such folder" / "a")
        with truth_of(Path(made["folder"])) as (relational, _), relational.read() as tx:
            assert backups_holding(tx, 10**10) == before


class TestWriting:
    def test_an_existing_file_is_replaced_only_on_purpose(self, made: dict[str, str], tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_text("precious")
        with pytest.raises(Conflict, match="exists already"):
            save(Path(made["folder"]), path)
        assert path.read_text() == "precious"
        save(Path(made["folder"]), path, force=True)
        check(unlock(path, Key()), silent)
        assert list(tmp_path.iterdir()) == [path]

    def test_what_a_killed_backup_left_is_taken_over(self, made: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "a.partial").write_bytes(b"x" * 10**6)
        (tmp_path / "a.partial").chmod(0o644)
        save(Path(made["folder"]), tmp_path / "a")
        check(unlock(tmp_path / "a", Key()), silent)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600

    def test_what_killed_backups_of_other_names_left_is_removed_but_not_what_is_being_written(
        self, made: dict[str, str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "data"
        copied(Path(made["folder"]), folder)
        with truth_of(folder) as (relational, _):
            with relational.write() as tx:
                for name in ("killed", "writing"):
                    records.insert(tx, new_id(), name, 0, None)
            for name in ("killed", "writing", "a stranger's"):
                (tmp_path / f"{name}.partial").write_bytes(b"x")
            with (tmp_path / "writing.partial").open() as writing:
                fcntl.flock(writing, fcntl.LOCK_EX)
                save(folder, tmp_path / "a")
            assert sorted(p.stem for p in tmp_path.glob("*.partial")) == ["a stranger's", "writing"]
            with relational.read() as tx:
                assert {"a", "writing"} <= records.names(tx)
                assert "killed" not in records.names(tx)

    def test_two_backups_do_not_write_one_file(
        self, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def waiting(key: str) -> Any:
            reached.set()
            go_on.wait(30)
            return stored(key)

        reached, go_on = threading.Event(), threading.Event()
        folder = Path(made["folder"])
        with truth_of(folder) as (relational, files):
            stored, slow = files.path, copy.copy(files)
            monkeypatch.setattr(slow, "path", waiting)
            first = threading.Thread(
                target=back_up, args=(relational, slow, tmp_path / "twice"), kwargs={"progress": silent}
            )
            first.start()
            assert reached.wait(30)
            with pytest.raises(Conflict, match="Another backup"):
                back_up(relational, files, tmp_path / "twice", progress=silent)
            go_on.set()
            first.join()
            with relational.read() as tx:  # The one that was refused has not forgotten the other.
                assert "twice" in records.names(tx)
        check(unlock(tmp_path / "twice", Key()), silent)

    def test_it_begins_again_when_a_file_goes_with_its_document(
        self, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        erased: list[str] = []

        def erasing(key: str) -> Any:
            """The first document is erased just before its file is saved."""
            if not erased:
                erased.append(key)
                with relational.write() as tx:
                    tx.execute(
                        "UPDATE documents SET state = 'erasing' WHERE id = (SELECT document_id FROM"
                        " document_versions WHERE file_key = :key)", {"key": key},
                    )  # fmt: skip
                files.delete(key)
            return stored(key)

        folder = tmp_path / "data"
        copied(Path(made["folder"]), folder)
        with truth_of(folder) as (relational, files):
            stored = files.path
            monkeypatch.setattr(files, "path", erasing)
            back_up(relational, files, tmp_path / "a", progress=silent)
        bring_back(tmp_path / "a", tmp_path / "restored")
        with truth_of(tmp_path / "restored") as (relational, restored):
            named = {row["file_key"] for row in rows(relational)["document_versions"] if row["file_key"]}
            assert named == set(restored.stored_keys())
            assert erased[0] not in named

    @pytest.mark.parametrize("harm", ["missing", "changed"])
    def test_a_damaged_installation_is_not_saved_as_if_it_were_whole(
        self, harm: str, made: dict[str, str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "data"
        copied(Path(made["folder"]), folder)
        with truth_of(folder) as (relational, files), relational.read() as tx:
            named = "SELECT file_key FROM document_versions WHERE document_id = :id"
            key = tx.one(named, {"id": made["pdf"]})["file_key"]
            files.delete(key)
            if harm == "changed":
                files.put_back(key, io.BytesIO(b"something else"))
        with pytest.raises((NotFound, Invalid), match=key):
            save(folder, tmp_path / "a")
        assert not (tmp_path / "a").exists()
        assert not (tmp_path / "a.partial").exists()

    def test_where_nothing_is_there_is_nothing_to_save(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="nothing in"):
            save(tmp_path, tmp_path / "a")
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    @pytest.mark.embedded("a restore is into a directory")
    def test_documents_are_not_overwritten(self, made: dict[str, str], saved: Path, tmp_path: Path) -> None:
        copied(Path(made["folder"]), tmp_path / "data")
        with pytest.raises(Conflict, match="only where there are none"):
            bring_back(saved, tmp_path / "data")
        with stopped(tmp_path / "data") as application, application.relational.read() as tx:
            assert tx.one("SELECT 1 FROM documents")

    @pytest.mark.embedded("it is about SQLite's own file")
    def test_what_cannot_be_opened_is_not_overwritten(self, saved: Path, tmp_path: Path) -> None:
        (tmp_path / "pegasus.sqlite3").write_bytes(b"not a database, but whose?" * 100)
        with pytest.raises(Conflict, match="only where there are none"):
            bring_back(saved, tmp_path)
        assert (tmp_path / "pegasus.sqlite3").read_bytes().startswith(b"not a database")

    def test_a_directory_in_use_is_left_alone(self, saved: Path, tmp_path: Path) -> None:
        script = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(); input()"
        import subprocess
        import sys

        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            other.stdout.readline()
            with pytest.raises(Conflict, match="Another Pegasus"):
                bring_back(saved, tmp_path)
            other.stdin.close()

    def test_an_installation_without_documents_is_replaced(self, saved: Path, tmp_path: Path) -> None:
        with stopped(tmp_path / "data") as application:
            local_access(application, tmp_path / "data")
        bring_back(saved, tmp_path / "data")
        with stopped(tmp_path / "data") as application, application.relational.read() as tx:
            assert tx.one("SELECT 1 FROM documents")

    def refused(self, path: Path, tmp_path: Path) -> str:
        """Why it was; nothing was left."""
        with pytest.raises(Invalid) as caught:
            bring_back(path, tmp_path / "data")
        assert not list((tmp_path / "data").glob("*")) or {p.name for p in (tmp_path / "data").iterdir()} == {"lock"}
        return caught.value.detail

    def changed(
        self, tmp_path: Path, saved: Path, *, skip: str = "", add: dict[str, bytes] = {}, **manifest: Any
    ) -> Path:
        """An archive with a true seal that was made by somebody else: with members left out, added, replaced."""
        path = tmp_path / "changed"
        with saved.open("rb") as source, ArchiveReader(source) as reader, path.open("wb") as target:
            values = {name: getattr(reader.manifest, name) for name in Manifest.__slots__} | manifest
            with ArchiveWriter(target, Manifest(**values)) as writer:
                for name, content in add.items():
                    writer.add(name, content)
                for member in reader.members():
                    if not skip or skip not in member.name:
                        writer.add(member.name, member.whole(10**8), compress=False)
                writer.finish()
        return path

    def test_a_newer_schema(self, saved: Path, tmp_path: Path) -> None:
        path = self.changed(tmp_path, saved, schema="9999", pegasus="9.0")
        assert re.search("Pegasus 9.0, whose schema '9999'", self.refused(path, tmp_path))

    def test_a_newer_format(self, saved: Path, tmp_path: Path) -> None:
        assert "format 2" in self.refused(self.changed(tmp_path, saved, format=FORMAT + 1), tmp_path)

    @pytest.mark.parametrize("missing", ["rows/passages/", "files/", ".vector", "rows/workspaces/"])
    def test_a_missing_part(self, missing: str, saved: Path, tmp_path: Path) -> None:
        self.refused(self.changed(tmp_path, saved, skip=missing), tmp_path)

    @pytest.mark.parametrize(
        "name",
        ["../../evil", "/etc/evil", "files/../../evil", "files/0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1/../../evil",
         "rows/sqlite_master/000000.ndjson",
         "rows/../x/000000.ndjson", "rows/documents/000000.other", "anything"],
    )  # fmt: skip
    def test_a_member_that_has_no_place(self, name: str, saved: Path, tmp_path: Path) -> None:
        self.refused(self.changed(tmp_path, saved, add={name: b"{}\n"}), tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["changed", "data"]

    @pytest.mark.parametrize(
        "line",
        [b"not json", b"[]", b"{}", b'{"id":"x","name":"y","created_at":1,"name; DROP TABLE jobs":1}', b"[" * 10_000,
         b'{"id":"x","name":{"a":1},"created_at":1}', b'{"id":null,"name":null,"created_at":1}',
         b'{"id":"x","name":1e999999999999999999999999999,"created_at":123456789012345678901234567890}'],
    )  # fmt: skip
    def test_rows_that_are_none(self, line: bytes, saved: Path, tmp_path: Path) -> None:
        path = self.changed(tmp_path, saved, add={"rows/workspaces/999999.ndjson": line + b"\n"})
        self.refused(path, tmp_path)

    def test_more_than_there_is_room_for(self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
        with pytest.raises(Unavailable, match="10 are free"):
            bring_back(saved, tmp_path / "data")
        assert {path.name for path in (tmp_path / "data").iterdir()} == {"lock"}

    def test_flipped_bytes_and_truncations(self, saved: Path, tmp_path: Path) -> None:
        content = saved.read_bytes()
        for place in range(0, len(content), len(content) // 150):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            for damaged in (flipped, content[:place]):
                (tmp_path / "a").write_bytes(damaged)
                with pytest.raises(Invalid):
                    check(unlock(tmp_path / "a", Key()), silent)


class TestOlderVersions:
    @pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
    def test_archives_of_earlier_versions_are_restored(self, path: Path, tmp_path: Path) -> None:
        assert path.stat().st_size < 50_000
        bring_back(path, tmp_path / "data")
        with embedded(settings_for(tmp_path / "data")) as application, serving_in_background(application) as address:
            client = Client(address, local_access(application, tmp_path / "data").key)
            answer = client.call("POST", "/v1/ask", json={"question": "What did the keeper of the lighthouse write?"})
            assert "wrote down every storm" in answer["answer"]
            client.close()

    def test_there_is_an_archive_of_this_format_and_schema(self) -> None:
        """When this fails, the schema has changed: python -m tests.installations tests/data/<name>"""
        assert f"format-{FORMAT}-schema-{HEAD}" in {path.stem for path in OLD}

    def test_rows_of_the_first_schema_are_loaded_into_it_and_brought_forward(self, tmp_path: Path) -> None:
        tables = {"workspaces": {"id": new_id(), "name": "old", "created_at": 1.5}}
        manifest = Manifest(FORMAT, new_id(), "0.1.0", "0001", "2026-01-31T00:00:00+00:00", {"workspaces": 1}, 0)
        with (tmp_path / "a").open("wb") as file, ArchiveWriter(file, manifest) as writer:
            for name, row in tables.items():
                writer.add(f"rows/{name}/000000.ndjson", json.dumps(row).encode() + b"\n")
            writer.finish()
        bring_back(tmp_path / "a", tmp_path / "data")
        with truth_of(tmp_path / "data") as (relational, _):
            assert rows(relational)["workspaces"] == [{**tables["workspaces"], "erasing_at": None}]
            with relational.read() as tx:
                assert tx.one("SELECT version_num FROM alembic_version")["version_num"] == HEAD

    @pytest.mark.embedded("it is about SQLite's own file")
    def test_a_directory_of_the_first_schema_is_upgraded_in_place(self, tmp_path: Path) -> None:
        relational = bootstrap._open_relational(tmp_path, None)
        relational.migrate("0001")
        with relational.write() as tx:
            tx.execute("INSERT INTO workspaces (id, name, created_at) VALUES ('w', 'old', 1)")
        relational.close()
        save(tmp_path, tmp_path / "a")
        with truth_of(tmp_path) as (relational, _):
            assert [row["name"] for row in rows(relational)["workspaces"]] == ["old"]


class TestDrill:
    def test_it_restores_searches_asks_and_cleans_up(self, made: dict[str, str], saved: Path, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        copied(Path(made["folder"]), folder)
        opened = unlock(saved, Key())
        with data_directory(folder):  # As a server does that runs meanwhile.
            drill = bootstrap.drill(settings_for(folder), opened, check(opened, silent), silent)
        assert drill.passed
        assert 0 < drill.searches == drill.found
        assert 0 < drill.citations == drill.verified
        assert list(tmp_path.iterdir()) == [folder]

    def test_it_removes_what_a_killed_drill_has_left_and_nothing_else(self, saved: Path, tmp_path: Path) -> None:
        for name in ("data-drill-killed", "data-drill-running", "data-drill-notes"):
            (tmp_path / name).mkdir()
        (tmp_path / "data-drill-killed" / "lock").write_text("1")
        opened = unlock(saved, Key())
        with data_directory(tmp_path / "data-drill-running"):
            bootstrap.drill(settings_for(tmp_path / "data"), opened, check(opened, silent), silent)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data-drill-notes", "data-drill-running"]

    def test_it_does_not_pass_what_is_found_no_more(
        self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = unlock(saved, Key())
        monkeypatch.setattr("pegasus.search.service.SearchService.search", lambda *_, **__: [])
        drill = bootstrap.drill(settings_for(tmp_path / "data"), opened, check(opened, silent), silent)
        assert not drill.passed
        assert drill.found == 0


class TestPutInPlace:
    def test_what_was_restored_in_full_is_put_in_place_by_whoever_opens_the_directory(
        self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process dies after every step of the replacement; each time the next one goes on from there."""
        from pegasus import data_directory as module

        folder = tmp_path / "data"
        with stopped(folder) as application:
            local_access(application, folder)
        (folder / "pegasus.sqlite3-wal").write_bytes(b"the log of a database that is no more")
        with monkeypatch.context() as patch:
            patch.setattr(module, "_settle", lambda directory: None)
            (folder / "pegasus.sqlite3-wal").unlink()
            bring_back(saved, folder)
        assert (folder / "restored").is_dir()
        left = len(list((folder / "restored").iterdir()))
        original = Path.replace
        for _ in range(left):
            moved = []

            def once(self: Path, target: Path, moved: list[Path] = moved) -> Path:
                if moved:
                    raise KeyboardInterrupt
                moved.append(self)
                return original(self, target)

            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", once)
                try:
                    with data_directory(folder):
                        pass
                except KeyboardInterrupt:
                    continue
        with stopped(folder) as application, application.relational.read() as tx:
            assert tx.one("SELECT count(*) AS n FROM documents")["n"] > 5
        assert not (folder / "restored").exists()

    def test_what_was_not_restored_in_full_is_removed_by_whoever_opens_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "restoring" / "files").mkdir(parents=True)
        with data_directory(tmp_path):
            assert not (tmp_path / "restoring").exists()


def test_the_list_of_digests_may_be_larger_than_what_is_held_in_memory(
    monkeypatch: pytest.MonkeyPatch, made: dict[str, str], tmp_path: Path
) -> None:
    monkeypatch.setattr(archives, "_MAX_LIST_IN_MEMORY", 100)
    save(Path(made["folder"]), tmp_path / "a")
    bring_back(tmp_path / "a", tmp_path / "data")

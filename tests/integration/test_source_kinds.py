"""Each kind of source end to end on a real origin: what is new, changed, gone or bad there, here."""

from __future__ import annotations

import gzip
import json
import mailbox
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from origins import (
    ACCESS_KEY_ID,
    PASSWORD,
    REGION,
    SECRET_ACCESS_KEY,
    USER,
    Bucket,
    Mailbox,
    Site,
    bucket,
    mail_server,
    message,
    respond,
    web_site,
)
from pipeline import Pipeline, Workspace, pipeline

from pegasus.client import ProblemError


@pytest.fixture(scope="module")
def pegasus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pipeline(tmp_path_factory.mktemp("kinds"), max_upload_bytes=200_000) as running:
        yield running


@pytest.fixture
def workspace(pegasus: Pipeline) -> Iterator[Workspace]:
    with pegasus.workspace() as made:
        yield made


@pytest.fixture
def folder(pegasus: Pipeline, request: pytest.FixtureRequest) -> Path:
    made = pegasus.folder / re.sub(r"\W+", "-", request.node.name)
    made.mkdir()
    return made


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as made:
        yield made


class TestFolder:
    def test_new_changed_and_deleted_files(self, workspace: Workspace, folder: Path) -> None:
        for name in ("a.md", "b.md", "sub/c.txt", ".hidden.md", ".git/config.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"# {name}\n\nThe text of {name}.")
        source = workspace.add("notes", {"kind": "folder", "path": str(folder)}, tags=["disk"])
        assert workspace.counts(source) == {"created": 3}
        assert workspace.uris() == {(folder / name).as_uri() for name in ("a.md", "b.md", "sub/c.txt")}
        assert {tuple(document["tags"]) for document in workspace.documents()} == {("disk",)}
        assert workspace.counts(source) == {"unchanged": 3}
        (folder / "a.md").write_text("Now zebras.")
        (folder / "b.md").unlink()
        (folder / "d.md").write_text("Brand new.")
        assert workspace.counts(source) == {"created": 1, "updated": 1, "unchanged": 1, "erased": 1}
        assert workspace.uris() == {(folder / name).as_uri() for name in ("a.md", "sub/c.txt", "d.md")}
        assert workspace.finds("zebras") == 1
        (changed,) = [d for d in workspace.documents() if d["uri"] == (folder / "a.md").as_uri()]
        assert changed["version"] == 2

    def test_patterns_say_which_files(self, workspace: Workspace, folder: Path) -> None:
        for name in ("a.md", "b.txt", "drafts/c.md", "deep/er/d.md"):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(name)
        origin = {"kind": "folder", "path": str(folder), "include": ["*.md"], "exclude": ["drafts/*"]}
        assert workspace.counts(workspace.add("notes", origin)) == {"created": 2}
        assert workspace.uris() == {(folder / name).as_uri() for name in ("a.md", "deep/er/d.md")}

    def test_bad_files_do_not_stop_the_rest(self, workspace: Workspace, folder: Path) -> None:
        (folder / "good.md").write_text("A good one.")
        (folder / "empty.txt").write_text("")
        (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and nothing more")
        (folder / "large.txt").write_text("x" * 200_001)
        (folder / os.fsdecode(b"latin-\xe9.txt")).write_text("An old name.")
        with zipfile.ZipFile(folder / "some.zip", "w") as archive:
            archive.writestr("inner.txt", "Packed.")
        os.mkfifo(folder / "pipe.txt")
        source = workspace.add("notes", {"kind": "folder", "path": str(folder)})
        run = workspace.run(source)
        assert (run["state"], run["failed"]) == ("succeeded", 5)
        assert {error["item"] for error in run["errors"]} == {
            "bad.pdf", "empty.txt", "large.txt", "latin-?.txt", "some.zip",
        }  # fmt: skip
        assert all(error["detail"] for error in run["errors"])
        assert workspace.finds("good") == 1
        # What could not be taken in is tried again, what is here but unreadable only when it changes.
        assert workspace.run(source)["failed"] == 3

    def test_links_lead_nowhere(self, workspace: Workspace, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("Outside.")
        (folder / "inside.txt").write_text("Inside.")
        (folder / "file.txt").symlink_to(tmp_path / "secret.txt")
        (folder / "folder").symlink_to(tmp_path)
        source = workspace.add("notes", {"kind": "folder", "path": str(folder)})
        assert workspace.counts(source) == {"created": 1}
        assert workspace.finds("outside") == 0

    def test_a_folder_that_became_a_link_is_not_read(self, workspace: Workspace, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("Outside.")
        inner = folder / "inner"
        inner.mkdir()
        source = workspace.add("notes", {"kind": "folder", "path": str(inner)})
        inner.rmdir()
        inner.symlink_to(tmp_path)
        run = workspace.run(source)
        assert (run["state"], workspace.documents()) == ("failed", [])

    def test_a_folder_that_is_away_erases_nothing(self, workspace: Workspace, folder: Path) -> None:
        disk = folder / "disk"
        disk.mkdir()
        (disk / "a.md").write_text("On the disk.")
        source = workspace.add("disk", {"kind": "folder", "path": str(disk)})
        workspace.counts(source)
        disk.rename(folder / "unmounted")
        run = workspace.run(source)
        assert (run["state"], run["error"]["status"]) == ("failed", 422)
        assert len(workspace.documents()) == 1


class TestPage:
    def test_a_page_is_asked_for_once_a_run_and_sent_only_when_changed(self, workspace: Workspace, site: Site) -> None:
        site.text("/article", "Herons", "Herons stand still.")
        source = workspace.add("herons", {"kind": "page", "url": site.url("/article#part")})
        assert workspace.counts(source) == {"created": 1}
        assert workspace.counts(source) == {"unchanged": 1}
        assert [status for _, status in site.requests] == [200, 304]
        site.text("/article", "Herons", "Herons have flown.")
        assert workspace.counts(source) == {"updated": 1}
        (document,) = workspace.documents()
        assert (document["title"], document["uri"], document["version"]) == ("Herons", site.url("/article"), 2)

    def test_a_page_that_fails_is_kept_and_one_that_is_gone_waits_for_a_word(
        self, workspace: Workspace, site: Site
    ) -> None:
        site.text("/", "Title", "Here.")
        source = workspace.add("page", {"kind": "page", "url": site.url("/")})
        workspace.counts(source)
        site.answers["/"] = lambda request: respond(request, 500)
        assert workspace.counts(source) == {"failed": 1}
        site.answers["/"] = lambda request: respond(request, 404)
        assert workspace.counts(source) == {"failed": 1, "held": 1}
        assert len(workspace.documents()) == 1
        assert workspace.counts(source, confirm=True) == {"erased": 1}
        assert workspace.documents() == []


def sitemap(*entries: str | tuple[str, str]) -> bytes:
    urls = "".join(
        f"<url><loc>{e}</loc></url>" if isinstance(e, str) else f"<url><loc>{e[0]}</loc><lastmod>{e[1]}</lastmod></url>"
        for e in entries
    )
    return f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'.encode()


class TestSitemap:
    def test_pages_come_change_and_go_with_the_sitemap(self, workspace: Workspace, site: Site) -> None:
        for name in "abc":
            site.text(f"/{name}", name, f"The page {name}.")
        site.pages["/sitemap.xml"] = (
            "application/xml",
            sitemap((site.url("/a"), "2026-01-01"), site.url("/b"), (site.url("/c"), "2026-01-01")),
        )
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        assert workspace.counts(source) == {"created": 3}
        site.requests.clear()
        assert workspace.counts(source) == {"unchanged": 3}
        # A page whose date is the same is not even asked for; one without a date is.
        assert [r for r in site.requests if r[0] in ("/a", "/b", "/c")] == [("/b", 304)]
        site.text("/a", "a", "The page a, mended.")
        site.pages["/sitemap.xml"] = (
            "application/xml", sitemap((site.url("/a"), "2026-02-02"), site.url("/b"))
        )  # fmt: skip
        assert workspace.counts(source) == {"updated": 1, "unchanged": 1, "erased": 1}
        assert workspace.uris() == {site.url("/a"), site.url("/b")}

    def test_an_index_and_packed_sitemaps_are_followed(self, workspace: Workspace, site: Site) -> None:
        site.text("/a", "a", "The page a.")
        site.text("/b", "b", "The page b.")
        parts = "".join(f"<sitemap><loc>{site.url(p)}</loc></sitemap>" for p in ("/1.xml", "/2.xml.gz", "/index.xml"))
        index = f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{parts}</sitemapindex>'
        site.pages["/index.xml"] = ("application/xml", index.encode())
        site.pages["/1.xml"] = ("application/xml", sitemap(site.url("/a")))
        site.pages["/2.xml.gz"] = ("application/gzip", gzip.compress(sitemap(site.url("/b"), site.url("/a"))))
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/index.xml")})
        assert workspace.counts(source) == {"created": 2}
        # A part that cannot be had leaves the listing with a gap: nothing is erased for it.
        del site.pages["/2.xml.gz"]
        run = workspace.run(source)
        assert (run["erased"], run["held"], run["failed"]) == (0, 0, 1)
        assert len(workspace.documents()) == 2

    def test_robots_txt_is_honoured(self, workspace: Workspace, site: Site) -> None:
        site.pages["/robots.txt"] = ("text/plain", b"User-agent: *\nDisallow: /private\n")
        site.text("/open", "open", "Everybody's.")
        site.text("/private/x", "private", "Nobody's.")
        site.pages["/sitemap.xml"] = ("application/xml", sitemap(site.url("/open"), site.url("/private/x")))
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        run = workspace.run(source)
        assert (run["created"], [error["item"] for error in run["errors"]]) == (1, [site.url("/private/x")])
        assert "/private/x" not in {path for path, _ in site.requests}

    def test_a_site_whose_robots_txt_fails_is_not_crawled(self, workspace: Workspace, site: Site) -> None:
        site.answers["/robots.txt"] = lambda request: respond(request, 500)
        site.text("/a", "a", "The page a.")
        site.pages["/sitemap.xml"] = ("application/xml", sitemap(site.url("/a")))
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        job = workspace.client.call("POST", f"/v1/sources/{source}/run")["job"]
        assert "/a" not in {path for path, _ in site.requests}
        workspace.client.call("POST", f"/v1/jobs/{job['id']}/cancel")
        assert workspace.documents() == []

    @pytest.mark.parametrize(
        "target",
        ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "https://example.org/", "file:///etc"],
    )
    def test_pages_of_other_hosts_are_told_and_not_fetched(self, workspace: Workspace, site: Site, target: str) -> None:
        site.pages["/sitemap.xml"] = ("application/xml", sitemap(target))
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        run = workspace.run(source)
        assert (run["failed"], run["created"]) == (1, 0)
        assert "another host" in run["errors"][0]["detail"]

    @pytest.mark.parametrize(
        "content",
        [
            b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><urlset><url><loc>&b;</loc>'
            b"</url></urlset>",
            b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>',
            b"<html></html>",
            b"no XML",
            b"",
            b"\x1f\x8bbroken",
            gzip.compress(b" " * (60 * 2**20)),
        ],
    )
    def test_what_is_no_honest_sitemap_is_refused(self, workspace: Workspace, site: Site, content: bytes) -> None:
        site.pages["/sitemap.xml"] = ("application/xml", content)
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        run = workspace.run(source)
        assert (run["state"], workspace.documents()) == ("failed", [])
        assert run["error"]["detail"]

    def test_an_entry_that_is_no_url_does_not_stop_the_rest(self, workspace: Workspace, site: Site) -> None:
        site.text("/a", "a", "The page a.")
        entries = ("http://[", "http://[::1", "", " ", "http://%5b/", site.url("/a"))
        site.pages["/sitemap.xml"] = ("application/xml", sitemap(*entries))
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml")})
        run = workspace.run(source)
        assert (run["state"], run["created"]) == ("succeeded", 1)

    def test_a_sitemap_is_read_to_its_limit(self, workspace: Workspace, site: Site) -> None:
        for number in range(5):
            site.text(f"/{number}", "page", f"The page {number}.")
        site.pages["/sitemap.xml"] = ("application/xml", sitemap(*(site.url(f"/{number}") for number in range(5))))
        source = workspace.add("site", {"kind": "sitemap", "url": site.url("/sitemap.xml"), "max_pages": 3})
        assert workspace.counts(source) == {"created": 3, "failed": 1}


def rss(*entries: tuple[str, str, str]) -> bytes:
    items = "".join(
        f"<item><guid>{id_}</guid><title>{title}</title><link>https://blog.example/{id_}</link>"
        f"<description><![CDATA[<p>{text}</p><script>alert(1)</script>]]></description></item>"
        for id_, title, text in entries
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Blog</title>{items}</channel></rss>'.encode()


class TestFeed:
    def test_entries_come_and_change_and_stay_when_the_feed_drops_them(self, workspace: Workspace, site: Site) -> None:
        site.pages["/feed"] = ("application/rss+xml", rss(("1", "One", "Otters swim."), ("2", "Two", "Badgers dig.")))
        source = workspace.add("blog", {"kind": "feed", "url": site.url("/feed")})
        assert workspace.counts(source) == {"created": 2}
        assert {(d["title"], d["uri"]) for d in workspace.documents()} == {
            ("One", "feed:https://blog.example/1"), ("Two", "feed:https://blog.example/2"),
        }  # fmt: skip
        (one,) = [d for d in workspace.documents() if d["title"] == "One"]
        assert one["metadata"]["link"] == "https://blog.example/1"
        assert workspace.counts(source) == {"unchanged": 2}
        assert site.requests == [("/feed", 200), ("/feed", 304)]
        site.pages["/feed"] = (
            "application/rss+xml",
            rss(("2", "Two", "Badgers sleep."), ("3", "Three", "Foxes bark.")),
        )
        assert workspace.counts(source) == {"created": 1, "updated": 1}
        assert len(workspace.documents()) == 3
        assert (workspace.finds("otters"), workspace.finds("alert")) == (1, 0)

    def test_an_atom_feed_is_read(self, workspace: Workspace, site: Site) -> None:
        atom = (
            '<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><entry><id>urn:1</id><title>Ünïcode &amp; more'
            '</title><link href="https://a.example/1"/><author><name>Ann</name></author><updated>2026-01-01T00:00:00Z'
            '</updated><content type="html">&lt;b&gt;Bold&lt;/b&gt; words.</content></entry></feed>'
        )
        site.pages["/atom"] = ("application/atom+xml", atom.encode())
        assert workspace.counts(workspace.add("atom", {"kind": "feed", "url": site.url("/atom")})) == {"created": 1}
        (document,) = workspace.documents()
        assert (document["title"], document["metadata"]["author"]) == ("Ünïcode & more", "Ann")
        assert "Bold words." in workspace.text(document["uri"])

    @pytest.mark.parametrize(
        "content",
        [
            b"<html><body>No feed.</body></html>",
            b"",
            b"\0\1\2",
            b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">]><rss version="2.0"><channel><item><title>&a;</title></item>'
            b"</channel></rss>",
        ],
    )
    def test_what_is_no_honest_feed_is_refused(self, workspace: Workspace, site: Site, content: bytes) -> None:
        site.pages["/feed"] = ("application/rss+xml", content)
        run = workspace.run(workspace.add("blog", {"kind": "feed", "url": site.url("/feed")}))
        assert (run["state"], workspace.documents()) == ("failed", [])


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGASUS_SECRET_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("PEGASUS_SECRET_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("PEGASUS_SECRET_MAIL", PASSWORD)


@pytest.fixture
def objects() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


def bucket_origin(made: Bucket, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "bucket",
        "bucket": made.name,
        "endpoint": made.address,
        "region": REGION,
        "access_key_id_secret": "PEGASUS_SECRET_KEY_ID",
        "secret_access_key_secret": "PEGASUS_SECRET_KEY",
        **fields,
    }


@pytest.mark.usefixtures("secrets")
class TestBucket:
    def test_objects_come_change_and_go(self, pegasus: Pipeline, objects: Bucket) -> None:
        workspace = pegasus.operator
        objects.objects = {f"docs/{n} ü+&.md": f"The object {n}.".encode() for n in range(5)}
        objects.objects |= {"docs/folder/": b"", "other/x.md": b"Not asked for."}
        source = workspace.add("bucket", bucket_origin(objects, prefix="docs/"))
        try:
            assert workspace.counts(source) == {"created": 5}
            assert objects.listed > 2
            assert workspace.counts(source) == {"unchanged": 5}
            assert len(objects.fetched) == 5
            objects.objects["docs/0 ü+&.md"] = b"The object changed."
            del objects.objects["docs/1 ü+&.md"]
            assert workspace.counts(source) == {"updated": 1, "unchanged": 3, "erased": 1}
            objects.objects["docs/large.md"] = b"x" * 200_001
            assert workspace.counts(source) == {"unchanged": 4, "failed": 1}
            assert workspace.text(f"{objects.address}/notes/docs/0 ü+&.md") == "The object changed."
        finally:
            answer = workspace.client.call("DELETE", f"/v1/sources/{source}?documents=erase")
            assert answer["job"]

    def test_a_wrong_secret_is_told_without_the_secret(
        self, pegasus: Pipeline, objects: Bucket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PEGASUS_SECRET_KEY", "wr0ng-and-secret")
        source = pegasus.operator.add("locked bucket", bucket_origin(objects))
        run = pegasus.operator.run(source)
        assert run["state"] == "failed"
        shown = json.dumps(run) + json.dumps(pegasus.operator.client.call("GET", f"/v1/sources/{source}"))
        out, err = capfd.readouterr()
        for secret in ("wr0ng-and-secret", ACCESS_KEY_ID):
            assert secret not in shown + out + err
        pegasus.operator.client.call("DELETE", f"/v1/sources/{source}")

    def test_a_secret_that_is_not_set_is_named(
        self, pegasus: Pipeline, objects: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PEGASUS_SECRET_KEY")
        source = pegasus.operator.add("unset bucket", bucket_origin(objects))
        run = pegasus.operator.run(source)
        assert "PEGASUS_SECRET_KEY" in run["error"]["detail"]
        pegasus.operator.client.call("DELETE", f"/v1/sources/{source}")

    def test_an_endpoint_inside_is_refused(self, pegasus: Pipeline, objects: Bucket) -> None:
        source = pegasus.operator.add("inner bucket", bucket_origin(objects, endpoint="http://169.254.169.254"))
        run = pegasus.operator.run(source)
        assert "not a public one" in run["error"]["detail"]
        pegasus.operator.client.call("DELETE", f"/v1/sources/{source}")


@pytest.fixture(scope="module")
def mail() -> Iterator[Mailbox]:
    with mail_server() as made:
        yield made


@pytest.mark.usefixtures("secrets")
class TestMailbox:
    def origin(self, mail: Mailbox, **fields: Any) -> dict[str, Any]:
        secret = {"password_secret": "PEGASUS_SECRET_MAIL"}
        return {
            "kind": "mailbox",
            "host": "127.0.0.1",
            "port": mail.port,
            "user": USER,
            "tls": False,
            **secret,
            **fields,
        }

    def test_messages_come_and_go_and_stay_unseen(self, pegasus: Pipeline, mail: Mailbox) -> None:
        workspace = pegasus.operator
        mail.deliver(*(message(f"Letter {n}", f"Words of letter{n}.") for n in range(3)))
        source = workspace.add("mail", self.origin(mail))
        assert workspace.counts(source) == {"created": 3}
        assert mail.unseen() == 3
        assert workspace.counts(source) == {"unchanged": 3}
        mail.deliver(message("Letter 3", "Words of letter3."), b"\xff\xfe no mail at all")
        mail.delete("Letter 0")
        run = workspace.run(source)
        assert (run["created"], run["unchanged"], run["erased"]) == (2, 2, 1)
        assert [workspace.finds(f"letter{n}") for n in range(4)] == [0, 1, 1, 1]
        (document,) = [d for d in workspace.documents() if d["title"] == "Letter 3"]
        assert document["metadata"]["from"] == "Ann <ann@example.org>"
        workspace.client.call("DELETE", f"/v1/sources/{source}?documents=erase")

    def test_a_wrong_password_or_folder_is_told_without_the_password(
        self, pegasus: Pipeline, mail: Mailbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        folder = pegasus.operator.add("no folder", self.origin(mail, folder='Entwürfe & "mehr"'))
        assert "no folder" in pegasus.operator.run(folder)["error"]["detail"]
        monkeypatch.setenv("PEGASUS_SECRET_MAIL", "wr0ng-and-secret")
        locked = pegasus.operator.add("locked mail", self.origin(mail))
        run = pegasus.operator.run(locked)
        assert "does not let" in run["error"]["detail"]
        assert "wr0ng-and-secret" not in json.dumps(run) + "".join(capfd.readouterr())
        for source in (folder, locked):
            pegasus.operator.client.call("DELETE", f"/v1/sources/{source}")

    def test_mail_is_not_fetched_without_tls_from_elsewhere(self, pegasus: Pipeline, mail: Mailbox) -> None:
        source = pegasus.operator.add("bare mail", self.origin(mail, host="imap.example.org"))
        assert "without TLS" in pegasus.operator.run(source)["error"]["detail"]
        pegasus.operator.client.call("DELETE", f"/v1/sources/{source}")


class TestMbox:
    def test_messages_come_and_go(self, workspace: Workspace, folder: Path) -> None:
        path = folder / "mail.mbox"
        box = mailbox.mbox(path)
        keys = [box.add(message(f"Letter {n}", f"From me.\nWords of letter{n}.")) for n in range(3)]
        box.flush()
        source = workspace.add("mbox", {"kind": "mbox", "path": str(path)})
        assert workspace.counts(source) == {"created": 3}
        assert workspace.counts(source) == {"unchanged": 3}
        box.remove(keys[0])
        box.add(message("Letter 4", "Words of letter4."))
        box.add(message("Large", "x" * 200_001))
        box.flush()
        box.close()
        assert workspace.counts(source) == {"created": 1, "unchanged": 2, "erased": 1, "failed": 1}
        assert [workspace.finds(f"letter{n}") for n in (0, 1, 2, 4)] == [0, 1, 1, 1]

    def test_what_is_no_mbox_is_refused(self, workspace: Workspace, folder: Path) -> None:
        (folder / "x.mbox").write_text("Dear diary")
        run = workspace.run(workspace.add("mbox", {"kind": "mbox", "path": str(folder / "x.mbox")}))
        assert (run["state"], "no mbox" in run["error"]["detail"]) == ("failed", True)


def slack_day(*texts: str) -> str:
    return json.dumps(
        [{"type": "message", "user": "U1", "text": t, "ts": f"1700000{n:03}.0"} for n, t in enumerate(texts)]
    )


class TestChat:
    def test_a_slack_export_comes_by_channel_and_day(self, workspace: Workspace, folder: Path) -> None:
        users = json.dumps([{"id": "U1", "name": "ann", "profile": {"display_name": "Ann"}}])

        def export(**days: str) -> None:
            with zipfile.ZipFile(folder / "slack.zip", "w") as archive:
                archive.writestr("users.json", users)
                archive.writestr("channels.json", "[]")
                for day, content in days.items():
                    archive.writestr(f"general/{day.replace('_', '-').strip('-')}.json", content)

        export(_2023_11_14=slack_day("Tapirs, <@U1>!"), _2023_11_15=slack_day("Second day"), _2023_11_16="{broken")
        source = workspace.add("slack", {"kind": "chat", "path": str(folder / "slack.zip")})
        assert workspace.counts(source) == {"created": 2, "failed": 1}
        (document,) = [d for d in workspace.documents() if "11-14" in d["uri"]]
        assert document["title"] == "#general, 2023-11-14"
        assert "Ann** (22:13): Tapirs, @Ann!" in workspace.text(document["uri"])
        export(_2023_11_14=slack_day("Tapirs, <@U1>!"), _2023_11_15=slack_day("Second day", "and more"))
        assert workspace.counts(source) == {"updated": 1, "unchanged": 1}

    @pytest.mark.parametrize(
        ("name", "content", "word"),
        [
            ("conversations.json", json.dumps([{
                "id": "c1", "title": "Ferns", "current_node": "b", "mapping": {
                    "a": {"message": {"author": {"role": "user"}, "content": {"parts": ["What is a fern?"]},
                                      "create_time": 1.7e9}, "parent": None, "children": ["b"]},
                    "b": {"message": {"author": {"role": "assistant"}, "content": {"parts": ["A plant."]}},
                          "parent": "a", "children": []}}}]), "fern"),
            ("result.json", json.dumps({"name": "Ann", "id": 7, "messages": [
                {"type": "message", "date": "2023-11-14T10:00:00", "from": "Ann",
                 "text": ["Look at ", {"type": "link", "text": "mosses"}]}]}), "mosses"),
            ("WhatsApp Chat with Ann.txt", "14/11/2023, 10:00 - Ann: Lichens\nand more\n14/11/2023, 10:01 - Bob: Yes\n",
             "lichens"),
        ],
    )  # fmt: skip
    def test_other_exports_are_read(
        self, workspace: Workspace, folder: Path, name: str, content: str, word: str
    ) -> None:
        (folder / name).write_text(content)
        assert workspace.counts(workspace.add("chat", {"kind": "chat", "path": str(folder / name)})) == {"created": 1}
        assert workspace.finds(word) == 1

    @pytest.mark.parametrize("name", ["notes.txt", "data.json", "broken.zip", "nothing"])
    def test_an_unknown_export_is_refused(self, workspace: Workspace, folder: Path, name: str) -> None:
        content = {"notes.txt": b"Dear diary", "data.json": b'{"a": 1}', "broken.zip": b"PK\x05\x06" + b"\0" * 18}
        if name in content:
            (folder / name).write_bytes(content[name])
        run = workspace.run(workspace.add("chat", {"kind": "chat", "path": str(folder / name)}))
        assert run["errors"] or run["error"]
        assert workspace.documents() == []

    def test_a_bomb_is_not_unpacked(self, workspace: Workspace, folder: Path) -> None:
        with zipfile.ZipFile(folder / "slack.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("general/2023-11-14.json", b" " * 2**27)
            archive.writestr("general/2023-11-15.json", slack_day("Good."))
        source = workspace.add("slack", {"kind": "chat", "path": str(folder / "slack.zip")})
        assert workspace.counts(source) == {"created": 1, "failed": 1}


def test_secrets_of_other_things_cannot_be_named(pegasus: Pipeline) -> None:
    for name in ("PEGASUS_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PATH", "PEGASUS_SECRET_"):
        origin = {"kind": "mailbox", "host": "imap.example.org", "user": "me", "password_secret": name}
        with pytest.raises(ProblemError, match="password_secret"):
            pegasus.operator.add("mail", origin)

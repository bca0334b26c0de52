"""Work for a server that is killed all the time: endless steps made from a seed, and the client that takes them."""

from __future__ import annotations

import io
import json
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from ledger import Entry, Ledger
from origins import Site

from pegasus.client import Client, ProblemError
from pegasus.errors import Unavailable
from pegasus.samples import SampleDocument, make_docx, make_pdf

PEOPLE = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Somerville", "Katherine Johnson"]
# The directory must not grow with the number of kills: past so many documents the oldest are erased.
_MOST_DOCUMENTS = 60
_ITEMS = 16  # Of each source, give or take a few.
_MEMBERS = 3
_STEPS = {
    "text": 24, "version": 12, "again": 8, "erase": 10, "return": 3, "pdf": 7, "docx": 4, "zip": 3, "batch": 4,
    "file": 10, "page": 8, "run folder": 4, "run site": 3, "find": 6, "talk": 3, "rebuild": 1, "repair": 1, "anew": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    kind: str
    name: str = ""  # The uri of a document, the name of an item
    version: int = 1  # Of the words, which count on when a document is erased and comes back; 0: take it away


def words_of(name: str, version: int) -> tuple[str, ...]:
    plain = "".join(c for c in name if c.isalnum())
    return tuple(f"word{plain}v{version}p{paragraph}" for paragraph in range(2))


def paragraphs(name: str, version: int) -> list[str]:
    """Each a passage of its own with a word that no other has, with people whom others mention, too, and a link."""
    first = sum(name.encode())
    one, other = PEOPLE[first % 5], PEOPLE[(first + version) % 5]
    return [
        f"{word} {one} wrote to {other} in London. Olive Berg{first} read [[Title {first // 2}]]. " + "Rain. " * 120
        for word in words_of(name, version)
    ]


def text_of(name: str, version: int) -> str:
    return "\n\n".join(paragraphs(name, version))


def sample_of(name: str, version: int) -> SampleDocument:
    return SampleDocument(f"Title {name}", [("Part", paragraphs(name, version))])


def steps(chance: Random) -> Iterator[Step]:
    """Each depends on the seed and on the steps before it, on nothing that happens."""
    live: dict[str, int] = {}  # Documents by uri, oldest first, with the version of their words.
    gone: dict[str, int] = {}
    items = {"file": dict[str, int](), "page": dict[str, int]()}
    number = 0
    for kind, there in items.items():
        for n in range(_ITEMS):
            there[f"{kind}{n}"] = 1
            yield Step(kind, f"{kind}{n}")
    while True:
        (kind,) = chance.choices(list(_STEPS), list(_STEPS.values()))
        if kind in ("text", "pdf", "docx", "zip", "batch"):
            number += 1
            name = f"{kind}:{number}"
            yield Step(kind, name)
            live |= dict.fromkeys(members_of(name) if kind in ("zip", "batch") else [name], 1)
        elif kind == "version" and live:
            name = chance.choice(list(live))
            live[name] += 1
            yield Step("version", name, live[name])
        elif kind in ("again", "find") and live:
            name = chance.choice(list(live))
            yield Step(kind, name, live[name])
        elif kind == "erase" and live:
            name = chance.choice(list(live))
            gone[name] = live.pop(name)
            yield Step("erase", name)
        elif kind == "return" and gone:
            name = chance.choice(list(gone))
            live[name] = gone.pop(name)
            yield Step("return", name, live[name])
        elif kind == "talk":
            yield Step(kind, chance.choice(PEOPLE))
        elif kind in items:
            yield _changed_item(kind, items[kind], chance)
        elif kind not in ("version", "again", "find", "erase", "return"):
            yield Step(kind)
        while len(live) > _MOST_DOCUMENTS:
            name = next(iter(live))
            gone[name] = live.pop(name)
            yield Step("erase", name)
        while len(gone) > _MOST_DOCUMENTS:
            del gone[next(iter(gone))]


def _changed_item(kind: str, there: dict[str, int], chance: Random) -> Step:
    """A new item, a changed one, or one less; about as many as there were."""
    if len(there) < _ITEMS:
        name = f"{kind}{chance.randrange(10**9)}"
        there[name] = 0
    else:
        name = chance.choice(list(there))
        if len(there) > _ITEMS - 3 and chance.random() < 0.3:
            del there[name]
            return Step(kind, name, 0)
    there[name] += 1
    return Step(kind, name, there[name])


def members_of(name: str) -> list[str]:
    """The uris of what an archive or a batch holds."""
    return [f"zip:{_file_name(name)}!/{n}.md" if name[:3] == "zip" else f"{name}:{n}" for n in range(_MEMBERS)]


def _file_name(name: str) -> str:
    return name.replace(":", "") + ".zip"


def archive_of(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for n, uri in enumerate(members_of(name)):
            # A fixed time: the request that is sent again must have the same bytes.
            file.writestr(zipfile.ZipInfo(f"{n}.md"), text_of(uri, 1))
    return made.getvalue()


class Folder:
    """Files of a source; each is put in its place at once, as editors do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.wanted: dict[str, tuple[str, ...]] = {}

    def put(self, name: str, version: int) -> None:
        # One in eight is a Word document, which takes longer to read.
        suffix = "docx" if sum(name.encode()) % 8 == 0 else "md"
        file = self.path / f"{name}.{suffix}"
        if version == 0:
            file.unlink()
            del self.wanted[file.as_uri()]
            return
        content = make_docx(sample_of(name, version)) if suffix == "docx" else text_of(name, version).encode()
        hidden = self.path / f".{name}"
        hidden.write_bytes(content)
        hidden.replace(file)
        self.wanted[file.as_uri()] = words_of(name, version)


class Pages:
    """Pages of a web site, and the sitemap that names them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.wanted: dict[str, tuple[str, ...]] = {}
        self.sitemap = site.url("/sitemap.xml")
        self._name_all()

    def put(self, name: str, version: int) -> None:
        url = self._site.url(f"/{name}")
        if version == 0:
            del self._site.pages[f"/{name}"], self.wanted[url]
        else:
            self._site.text(f"/{name}", f"Title {name}", text_of(name, version))
            self.wanted[url] = words_of(name, version)
        self._name_all()

    def _name_all(self) -> None:
        entries = "".join(f"<url><loc>{url}</loc></url>" for url in self.wanted)
        content = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'
        self._site.pages["/sitemap.xml"] = ("application/xml", content.encode())


class Line:
    """The way to the server that is running now; who calls waits for it, and calls again when it was killed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._client: Client | None = None
        self._closed = False

    def connect(self, client: Client | None) -> None:
        with self._changed:
            if self._client:
                self._client.close()
            self._client = client
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
        self.connect(None)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The answer, from whichever server gives it. Raises ``ProblemError``, and ``Unavailable`` once closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._client or self._closed)
                if self._closed:
                    raise Unavailable("The line is closed.")
                client = self._client
            assert client
            try:
                return client.call(method, path, **options)
            except (Unavailable, RuntimeError):  # httpx says so of a client that was closed meanwhile.
                time.sleep(0.01)

    def create(self, path: str, **options: Any) -> Any:
        """A request that creates, under a key of its own, so that sending it again creates nothing more."""
        return self.call("POST", path, headers={"Idempotency-Key": str(uuid.uuid4())}, **options)


class Worker(threading.Thread):
    """Takes one step after the other, each until it is accepted, and writes into the ledger what was answered."""

    def __init__(self, line: Line, ledger: Ledger, chance: Random, folder: Folder, pages: Pages) -> None:
        super().__init__(daemon=True)
        self._line, self._ledger, self._steps = line, ledger, steps(chance)
        self._places = {"file": folder, "page": pages}
        self._origins = {
            "folder": {"kind": "folder", "path": str(folder.path)},
            "site": {"kind": "sitemap", "url": pages.sitemap},
        }
        self.sources = dict[str, str]()
        self._turn = threading.Lock()
        self._stopping = False
        self.taken = 0
        self._session = ""
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._session = self._line.create("/v1/sessions", json={})["id"]
            for name in self._origins:
                self._add_source(name)
            while not self._stopping:
                with self._turn:
                    step = next(self._steps)
                    self._ledger.begin(step.name)
                    self._take(step)
                    self._ledger.begin("")
                    self.taken += 1
                time.sleep(0.005)  # Also so that the lock may pass to who wants the work to rest.
        except BaseException as error:  # noqa: BLE001 - the inspector raises it.
            self.error = error

    def resting(self) -> threading.Lock:
        """While this is held, the last step is accepted and no other is begun."""
        return self._turn

    def stop(self) -> None:
        self._stopping = True
        self._line.close()
        self.join(60)

    def _add_source(self, name: str) -> None:
        body = {"name": name, "origin": self._origins[name]}
        self.sources[name] = self._line.create("/v1/sources", json=body)["id"]

    def _add_anew(self, name: str) -> None:
        """Remove a source with all of its documents, maybe in the midst of a run, and begin again."""
        id_ = self.sources[name]
        self._ledger.removed_sources.add(id_)
        try:
            self._line.call("DELETE", f"/v1/sources/{id_}?documents=erase")
            while True:
                self._line.call("GET", f"/v1/sources/{id_}")
                time.sleep(0.02)
        except ProblemError as error:
            if error.body["status"] != 404:
                raise
        self._add_source(name)

    def _take(self, step: Step) -> None:
        match step.kind:
            case "text" | "return":
                self._add(step, "text", None)
            case "pdf" | "docx":
                self._add(step, step.kind, None)
            case "version":
                self._add(step, "text", self._settled(step.name))
            case "again":
                before = self._settled(step.name)
                self._add(step, before.form, before)
            case "zip":
                files = {"file": (_file_name(step.name), archive_of(step.name))}
                job = self._line.create("/v1/documents", files=files)["job"]["id"]
                for uri in members_of(step.name):
                    self._ledger.accepted(Entry(uri, words_of(uri, 1), 1, job_id=job))
            case "batch":
                self._add_batch(step.name)
            case "erase":
                self._erase(step.name)
            case "find":
                self._find(step.name)
            case "file" | "page":
                self._places[step.kind].put(step.name, step.version)
            case "run folder" | "run site":
                source = self.sources[step.kind.removeprefix("run ")]
                self._ledger.jobs.add(self._line.create(f"/v1/sources/{source}/run")["job"]["id"])
            case "talk":
                path, content = f"/v1/sessions/{self._session}/messages", {"content": f"Who wrote to {step.name}?"}
                self._line.create(path, json=content)
            case "anew":
                self._add_anew("site")
            case "rebuild":
                body = {"stores": ["vectors", "graph", "fulltext"]}
                self._ledger.jobs.add(self._line.call("POST", "/v1/integrity/rebuild", json=body)["job"]["id"])
            case "repair":
                self._ledger.jobs.add(self._line.call("POST", "/v1/integrity/repair")["job"]["id"])

    def _add(self, step: Step, form: str, before: Entry | None) -> None:
        """``before``: what there is under the name already, of which this is a new version or the same again."""
        if form == "text":
            body = {"title": f"Title {step.name}", "text": text_of(step.name, step.version), "uri": step.name}
            answer = self._line.create("/v1/documents", json=body)
        else:
            content = (make_pdf if form == "pdf" else make_docx)(sample_of(step.name, step.version))
            files = {"file": (f"{step.name}.{form}", content)}
            answer = self._line.create("/v1/documents", files=files, data={"uri": step.name})
        document, job_id = answer["document"], answer["job"]["id"] if answer["job"] else ""
        version = 1 if before is None else before.version + (step.kind == "version")
        assert document["version"] == version, (step, document, before)
        if before is None:
            assert document["id"] not in self._ledger.gone, (step, document)
        else:
            assert document["id"] == before.document_id, (step, document, before)
        words = words_of(step.name, step.version)
        self._ledger.accepted(Entry(step.name, words, version, document["id"], job_id, form))

    def _add_batch(self, name: str) -> None:
        uris = members_of(name)
        lines = [{"title": f"Title {uri}", "text": text_of(uri, 1), "uri": uri} for uri in uris]
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        job = self._line.create("/v1/documents/batch", content=content)["job"]["id"]
        for uri in uris:
            self._ledger.accepted(Entry(uri, words_of(uri, 1), 1, self._id_of(uri), job))

    def _settled(self, uri: str) -> Entry:
        """The entry with its document's id: a member of an archive has one once that is unpacked."""
        entry = self._ledger.entry(uri)
        if entry.document_id:
            return entry
        while self._line.call("GET", f"/v1/jobs/{entry.job_id}")["state"] in ("queued", "running"):
            time.sleep(0.02)
        return self._ledger.known(uri, self._id_of(uri))

    def _id_of(self, uri: str) -> str:
        (document,) = self._line.call("GET", "/v1/documents", params={"uri": uri})["items"]
        return str(document["id"])

    def _erase(self, uri: str) -> None:
        entry, job = self._settled(uri), None
        try:
            job = self._line.call("DELETE", f"/v1/documents/{entry.document_id}")["job"]["id"]
        except ProblemError as error:
            if error.body["status"] not in (404, 409):  # The answer to an earlier try was lost.
                raise
        self._ledger.erased(uri, job)

    def _find(self, uri: str) -> None:
        """What was sent as a text can be found as soon as it is accepted, however often the server was killed."""
        entry = self._ledger.entry(uri)
        if entry.document_id and uri.startswith(("text:", "batch:")):
            body = {"query": entry.words[0], "mode": "lexical"}
            found = self._line.call("POST", "/v1/search", json=body)["passages"]
            assert {p["document_id"] for p in found} == {entry.document_id}, (entry, found)

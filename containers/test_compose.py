"""compose.yaml as it is, with the images built for real: what one container was given, another answers from.

``make compose-test`` runs it. Everything it makes has a name of its own and is removed at the end, with its volumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from containers import image
from containers.credentials import make_credentials
from containers.engine import ROOT, CommandFailed, Engine, NoEngine, engine, run

pytestmark = pytest.mark.timeout(1_800)

_PROJECT = "pegasus-test"
_START_SECONDS, _WAIT_SECONDS = 420, 120
_OURS = ("api", "worker", "scheduler", "vectors")
_STORES = ("postgres", "redis", "neo4j")
_TEXT = "The keeper of the lighthouse wrote down the storm of 1884. Ada Lovelace had asked him for it."
_QUESTION = "What did the keeper of the lighthouse write down?"

# Runs within a container: the published port is the first API's alone.
_REQUEST = """
import json, sys, urllib.request
key = open("/run/secrets/pegasus_settings").read().partition("PEGASUS_KEY=")[2].split()[0]
body = sys.stdin.read()
request = urllib.request.Request(
    "http://127.0.0.1:8000" + sys.argv[1], None if body == "null" else body.encode(),
    {"X-API-Key": key, "Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=30) as answer:
    sys.stdout.write(answer.read().decode())
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What compose.yaml makes, under a name and a port of its own."""

    engine: Engine
    secrets: Path
    environment: dict[str, str]

    def compose(self, *arguments: str, stdin: str | None = None) -> str:
        command = (*self.engine.compose, "--project-name", _PROJECT, "--file", "compose.yaml", *arguments)
        return run(command, self.environment, _START_SECONDS, stdin)

    def up(self, *arguments: str) -> None:
        # Our own engine has all images already, and nothing to pull them from.
        pulling = ("--pull", "never") if self.engine.own else ()
        waiting = ("--wait", "--wait-timeout", str(_START_SECONDS - 20))
        try:
            self.compose("up", "--detach", "--no-build", *waiting, *pulling, *arguments)
        except CommandFailed as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail', '30')}") from error
        for service in (*_OURS, *_STORES):
            assert self.inspect(self.container(service))["State"]["Health"]["Status"] == "healthy", service

    def pegasus(self, container: str, *arguments: str) -> Any:
        """What the command line within a container prints, as JSON; it asks the server in that container."""
        server = ("--env", "PEGASUS_URL=http://127.0.0.1:8000")
        return json.loads(self.engine.docker("exec", *server, container, "pegasus", *arguments, "--json"))

    def request(self, container: str, path: str, body: object = None) -> Any:
        """An answer of the server in a container to its operator; with a body it is a POST."""
        asking = ("exec", "--interactive", container, "python", "-c", _REQUEST, path)
        return json.loads(self.engine.docker(*asking, stdin=json.dumps(body)))

    def add(self, title: str, text: str) -> str:
        """The id of a document that the API has accepted."""
        accepted = self.request(self.container("api"), "/v1/documents", {"title": title, "text": text})
        return str(accepted["document"]["id"])

    def container(self, service: str) -> str:
        return f"{_PROJECT}-{service}-1"

    def inspect(self, container: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.engine.docker("container", "inspect", container))
        return found[0]


@pytest.fixture(scope="module")
def found_engine() -> Iterator[Engine]:
    try:
        with engine() as found:
            yield found
    except NoEngine as error:
        reason = f"there is no container engine, so nothing was shown: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def images(found_engine: Engine) -> Engine:
    image.build(found_engine)
    return found_engine


@pytest.fixture(scope="module")
def installation(images: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("secrets")
    make_credentials(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**images.environment, "PEGASUS_SECRETS": str(folder), "PEGASUS_PORT": str(port)}
    made = Installation(images, folder, environment)
    made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")  # Of a run that was killed.
    try:
        begun = time.monotonic()
        made.up()
        print(f"All containers were healthy after {time.monotonic() - begun:.0f} s.", file=sys.stderr)
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


@pytest.fixture(scope="module")
def document(installation: Installation) -> str:
    """The id of a document that the first API took and a worker made ready."""
    return installation.add("Lighthouse", _TEXT)


def await_that(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, f"waited for {_WAIT_SECONDS} s: {what}"
        time.sleep(0.5)


def check_answer(installation: Installation, container: str, document: str) -> None:
    """That a container answers from the document, with a citation that is in the text which it has of it."""
    answer = installation.pegasus(container, "ask", _QUESTION)
    cited = [citation for citation in answer["citations"] if citation["document_id"] == document]
    assert cited, answer
    for citation in cited:
        content = installation.request(container, f"/v1/documents/{document}/content")
        quote = content["text"][citation["start"] : citation["end"]]
        assert quote == citation["quote"]
        assert hashlib.sha256(quote.encode()).hexdigest() == citation["sha256"]
        assert "storm of 1884" in quote


def test_what_one_container_was_given_another_answers_from(installation: Installation, document: str) -> None:
    other = f"{_PROJECT}-api-other"
    installation.compose("run", "--detach", "--no-deps", "--name", other, "api")
    try:
        await_that(lambda: installation.inspect(other)["State"]["Health"]["Status"] == "healthy", "a second API")
        await_that(lambda: is_ready(installation, other, document), "a worker to index the document")
        check_answer(installation, other, document)
    finally:
        installation.engine.docker("rm", "--force", other)


def test_the_port_on_this_machine_is_the_api(installation: Installation, document: str) -> None:
    port, key = installation.environment["PEGASUS_PORT"], (installation.secrets / "operator_key").read_text()
    headers = {"X-API-Key": key}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/documents/{document}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["id"] == document


def is_ready(installation: Installation, container: str, document: str) -> bool:
    return bool(installation.request(container, f"/v1/documents/{document}")["state"] == "ready")


def test_a_replaced_container_answers_the_same(installation: Installation, document: str) -> None:
    before = installation.inspect(installation.container("api"))["Id"]
    installation.up("--no-deps", "--force-recreate", "api")
    assert installation.inspect(installation.container("api"))["Id"] != before
    check_answer(installation, installation.container("api"), document)


@pytest.mark.parametrize("service", _OURS + _STORES)
def test_containers_can_do_no_more_than_they_need(installation: Installation, service: str) -> None:
    container = installation.container(service)
    host = installation.inspect(container)["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"]
    assert host["PidsLimit"]
    assert [bound["HostIp"] for bounds in host["PortBindings"].values() for bound in bounds] == (
        ["127.0.0.1"] if service == "api" else []
    )
    # All processes, by what the kernel says of them: user and capabilities.
    statuses = installation.engine.docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/status")
    assert "0" not in re.findall(r"^Uid:\s+(\d+)", statuses, re.M)
    assert set(re.findall(r"^Cap(?:Prm|Eff|Bnd):\s+(\w+)", statuses, re.M)) == {"0" * 16}
    if service != "neo4j":  # It writes its configuration beside its programs.
        assert host["ReadonlyRootfs"]
        for place in ("/", "/opt", "/etc", "/usr/local/bin"):
            with pytest.raises(CommandFailed, match=r"Read-only file system|Permission denied"):
                installation.engine.docker("exec", container, "touch", f"{place}/written")


def test_stores_reach_nobody_and_are_reached_by_pegasus_only(installation: Installation) -> None:
    for service in (*_STORES, "vectors"):
        assert list(installation.inspect(installation.container(service))["NetworkSettings"]["Networks"]) == [
            f"{_PROJECT}_stores"
        ]
    [network] = json.loads(installation.engine.docker("network", "inspect", f"{_PROJECT}_stores"))
    assert network["Internal"]


def test_a_second_chroma_on_the_same_volume_is_refused(installation: Installation) -> None:
    with pytest.raises(CommandFailed, match="Another Pegasus"):
        installation.engine.docker(
            "run", "--rm", "--network", "none", "--volumes-from", installation.container("vectors"),
            image.IMAGES["vectors"],
        )  # fmt: skip


def test_stopping_finishes_or_hands_back_what_is_in_hand(installation: Installation) -> None:
    text = "The wind was from the west and the sea was rough. " * 400
    added = [installation.add(f"Log {number}", f"Log {number} of the station. {text}") for number in range(12)]
    worker = installation.container("worker")
    begun = time.monotonic()
    installation.engine.docker("stop", "--time", "75", worker)
    seconds = time.monotonic() - begun
    assert installation.inspect(worker)["State"]["ExitCode"] == 0
    assert seconds < 70
    print(f"The worker was stopped in mid-work within {seconds:.1f} s.", file=sys.stderr)
    installation.engine.docker("start", worker)
    for document in added:
        await_that(partial(is_ready, installation, installation.container("api"), document), f"{document} to be ready")


def test_starting_again_keeps_everything(installation: Installation, document: str) -> None:
    begun = time.monotonic()
    installation.compose("stop")
    print(f"All containers were stopped within {time.monotonic() - begun:.0f} s.", file=sys.stderr)
    for service in _OURS:
        state = installation.inspect(installation.container(service))["State"]
        assert state["ExitCode"] == 0, (service, state)
    installation.compose("down")
    installation.up()
    check_answer(installation, installation.container("api"), document)


def test_the_stores_agree_after_all_that(installation: Installation) -> None:
    report = installation.pegasus(installation.container("api"), "check")
    assert report["consistent"], report


def test_secrets_are_files_and_nowhere_else(installation: Installation) -> None:
    values = [
        file.read_text().rpartition("/")[2] for file in installation.secrets.iterdir() if "settings" not in file.name
    ]
    assert len(values) == 5
    seen = ""
    for service in (*_OURS, *_STORES, "schema"):
        seen += json.dumps(installation.inspect(installation.container(service)))
        seen += installation.compose("logs", "--no-color", service)
        if service != "schema":
            seen += installation.engine.docker("top", installation.container(service))
    assert [value for value in values if value in seen] == []
    assert installation.secrets.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("target", image.IMAGES)
def test_nothing_is_in_the_images_that_does_not_belong_there(images: Engine, target: str) -> None:
    name = image.IMAGES[target]
    history = images.docker("history", "--no-trunc", name) + images.docker("image", "inspect", name)
    # What the host told pip, and who made the image, as far as it can be recognised.
    private = [value for value in (os.environ.get("PIP_INDEX_URL"), socket.getfqdn(), str(ROOT)) if value]
    assert [value for value in private if value in history and len(value) > 3] == []
    files, findings = scan(images, name)
    assert "opt/app/pegasus/__init__.py" in files  # It does look into the layers.
    assert findings == []
    wrong = (
        r"/run/secrets/.+|.*/pip\.conf|root/\.cache/.*|.*\.whl|(.*/)?(gcc|g\+\+|cc|make|curl|wget)"
        r"|build/.*|opt/tools/.*|opt/(pegasus|chroma)/bin/pip.*|.*/(\.git|\.env|id_rsa|credentials)|.*/secrets/.*"
    )
    base = scan(images, image.base_image())[0]
    assert [file for file in sorted(files - base) if re.fullmatch(wrong, file) and "/secrets/__" not in file] == []
    configuration = json.loads(images.docker("image", "inspect", name))[0]["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", configuration["User"])
    assert configuration["Healthcheck"]["Test"][1].endswith("python")
    # Fargate gives a volume the owner and the rights that the image's directory has, where the image says VOLUME.
    data = "/var/lib/pegasus" if target == "pegasus" else "/var/lib/chroma"
    assert set(configuration["Volumes"]) == {"/tmp", data}
    command = ("run", "--rm", "--read-only", "--network", "none", "--entrypoint", "python", name, "-c", _OWNERS)
    assert images.docker(*command, *configuration["Volumes"]).split() == ["10001", "10001", "written", "written"]


# Who owns the directory with the data, and whether what is mounted can be written to.
_OWNERS = """
import os, pathlib, sys
folders = sorted(sys.argv[1:])
print(os.stat(folders[1]).st_uid, os.stat(folders[1]).st_gid)
for folder in folders:
    pathlib.Path(folder, "probe").write_text("x")
    print("written")
"""
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}|\bAKIA[0-9A-Z]{16}\b")


def scan(engine: Engine, name: str) -> tuple[set[str], list[str]]:
    """Every file in any layer of an image, and those with a private key or an access key in them."""
    files, findings = set[str](), list[str]()
    with subprocess.Popen((engine.client, "save", name), env=engine.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isfile() else None
                # Layers are archives in the archive; their names differ between versions of the engine.
                if content and (entry.name.endswith("layer.tar") or entry.name.startswith("blobs/")):
                    scan_layer(content, files, findings)
    assert process.returncode == 0
    return files, findings


def scan_layer(content: IO[bytes], files: set[str], findings: list[str]) -> None:
    try:
        layer = tarfile.open(fileobj=content, mode="r|*")  # noqa: SIM115 - closed below
    except tarfile.ReadError:
        return  # A manifest.
    with layer:
        for entry in layer:
            files.add(entry.name.removeprefix("./"))
            text = layer.extractfile(entry) if entry.isfile() and entry.size < 2**20 else None
            if text and _KEY.search(text.read()):
                findings.append(entry.name)


def test_the_image_is_hardly_larger_than_what_it_needs(images: Engine) -> None:
    for target in image.IMAGES:
        assert image.ratio(images, target) <= image.MOST


def test_the_image_says_what_it_cannot_do(images: Engine) -> None:
    with pytest.raises(CommandFailed, match=r"PEGASUS_GRAPH_URL|PEGASUS_VECTORS_URL"):
        images.docker("run", "--rm", "--network", "none", "--tmpfs", "/tmp",
                      image.IMAGES["pegasus"], "up", "--data", "/tmp/data")  # fmt: skip


def test_everything_that_runs_in_the_image_can_be_imported(images: Engine) -> None:
    script = (
        "import importlib, pkgutil, pegasus\n"
        "for module in pkgutil.walk_packages(pegasus.__path__, 'pegasus.'):\n"
        "    if module.name.rpartition('.')[2] not in ('env', 'spacy_entities', 'neptune_signature'):\n"
        "        importlib.import_module(module.name)\n"
    )
    images.docker("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python", image.IMAGES["pegasus"],
                  "-c", script)  # fmt: skip

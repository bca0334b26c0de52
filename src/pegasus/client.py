"""The command line's way in: always HTTP, to the server that is running, or to one of its own for a moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from pegasus.data_directory import KEY_FILE, SERVER_FILE, holder
from pegasus.errors import Conflict, NotFound, PegasusError, Unauthorized, Unavailable
from pegasus.settings import Settings

# Another command may be at work; most end within seconds.
_WAIT_SECONDS, _RETRY_SECONDS = 20.0, 0.1
_TIMEOUT = httpx.Timeout(300.0, connect=5.0)
# How long a request is sent again that comes too soon after others.
_PATIENCE_SECONDS = 120.0


class ProblemError(PegasusError):
    """A problem that the server answered with."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title")), hint=problem.get("hint"))
        self.body = dict(problem)
        # Bad input is the caller's to mend, as 2 says everywhere on the command line.
        self.exit_code = 2 if problem.get("status") in (400, 413, 415, 422) else 1  # type: ignore[misc]

    def problem(self) -> dict[str, Any]:
        return self.body


class Client:
    def __init__(self, address: str, key: str, *, is_own: bool = False) -> None:
        """``is_own``: the server lives only as long as this client."""
        self.is_own = is_own
        # Loading the certificates takes longer than most requests to a local server, which needs none.
        needs_certificates = address.startswith("https:")
        self._http = httpx.Client(
            base_url=address, headers={"X-API-Key": key}, timeout=_TIMEOUT, verify=needs_certificates
        )
        self.address = address

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer, None where there is none. Raises ``ProblemError`` and ``Unavailable``.

        Where the key's rate is used up, it waits as long as the server says.
        """
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                raise self._unreachable(error) from error
            wait = float(response.headers.get("retry-after", "0")) if response.status_code == 429 else 0.0
            if not wait or time.monotonic() + wait > until:
                return _body(response)
            time.sleep(wait)

    def lines(self, path: str) -> Iterator[Any]:
        """Each line of an ``application/x-ndjson`` answer."""
        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                    _body(response)
                for line in response.iter_lines():
                    yield json.loads(line)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def events(
        self, path: str, body: Mapping[str, Any] | None = None, *, method: str = "POST"
    ) -> Iterator[tuple[str, Any]]:
        """(name, data) of server-sent events as they come. An ``error`` event is raised as ``ProblemError``."""
        headers = {"Accept": "text/event-stream"}
        try:
            with self._http.stream(method, path, json=body, headers=headers) as response:
                if response.is_error:
                    response.read()
                    _body(response)
                name = ""
                for line in response.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        data = json.loads(line.removeprefix("data: "))
                        if name == "error":
                            raise ProblemError(data)
                        yield name, data
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"The server at {self.address} cannot be reached: {error}.", hint="Is it running? Start it: pegasus up"
        )

    def close(self) -> None:
        self._http.close()


def _body(response: httpx.Response) -> Any:
    if response.is_error:
        try:
            problem = response.json()
        except ValueError:
            problem = {"status": response.status_code, "detail": f"The server answered {response.status_code}."}
        raise ProblemError(problem)
    return response.json() if response.content else None


@contextmanager
def connected(settings: Settings) -> Iterator[Client]:
    """A client of the server that PEGASUS_URL names, or that has the data directory; else of one just for this.

    A directory that another command is using is waited for, for ``_WAIT_SECONDS``.
    """
    until = time.monotonic() + _WAIT_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                client = _connect(settings, stack)
                break
            except Conflict:
                if time.monotonic() > until:
                    raise
                time.sleep(_RETRY_SECONDS)
        yield client


def _connect(settings: Settings, stack: ExitStack) -> Client:
    if settings.url:
        return stack.enter_context(closing(Client(settings.url, _given_key(settings))))
    if settings.broker:
        return stack.enter_context(closing(_of_several(settings, stack)))
    if address := running_server(settings.data):
        return stack.enter_context(closing(Client(address, settings.key or local_key(settings.data))))
    # Only now, and only here: opening the stores costs seconds that a running server has already spent.
    from pegasus.bootstrap import embedded, local_access
    from pegasus.server import serving_in_background

    application = stack.enter_context(embedded(settings))
    access = local_access(application, settings.data)
    address = stack.enter_context(serving_in_background(application))
    return stack.enter_context(closing(Client(address, settings.key or access.key, is_own=True)))


def _of_several(settings: Settings, stack: ExitStack) -> Client:
    """A client of a server just for this, on stores that are shared: other processes do the work."""
    from pegasus.bootstrap import Role, distributed
    from pegasus.server import serving_in_background

    key = settings.key or (settings.operator_key.get_secret_value() if settings.operator_key else None)
    if key is None:
        raise Unauthorized(
            "REDIS_URL says that several processes share their stores, and there is no key to them.",
            hint="Set PEGASUS_KEY, or PEGASUS_OPERATOR_KEY as pegasus api has it.",
        )
    application = stack.enter_context(distributed(settings, Role.COMMAND))
    return Client(stack.enter_context(serving_in_background(application)), key)


def _given_key(settings: Settings) -> str:
    if not settings.key:
        raise Unauthorized(f"There is no key for {settings.url}.", hint="Set PEGASUS_KEY to an API key of that server.")
    return settings.key


def local_key(directory: Path) -> str:
    """The key of a data directory. Raises ``NotFound`` where there is none yet."""
    file = directory / KEY_FILE
    if not file.is_file():
        raise NotFound(f"There is no key in {directory} yet.", hint="The first start makes one: pegasus up")
    return file.read_text().strip()


def running_server(directory: Path) -> str | None:
    """The address of the server that has the directory now; None when no process has it.

    Raises ``Conflict`` when a process has it that is no server, as a command that is just using the stores.
    """
    process = holder(directory)
    if process is None:
        return None
    file = directory / SERVER_FILE
    announced = json.loads(file.read_text()) if file.is_file() else {}
    # A killed server's file stays behind, and somebody else may have its port by now.
    if str(announced.get("process")) != process:
        raise Conflict(
            f"Another pegasus command is using {directory}, or a server is just starting.",
            hint="Try again in a moment.",
        )
    return str(announced["address"])

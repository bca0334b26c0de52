"""The messages of a folder of an IMAP account. A message never changes; it comes and goes."""

from __future__ import annotations

import binascii
import imaplib
import io
import ipaddress
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import quote

import httpx

from pegasus.errors import Invalid, Misconfigured, NotFound, TooLarge, Unavailable
from pegasus.ports import Dialer, FoundItem, ItemContent, Listing

_PORTS = (993,)
_SILENT_SECONDS = 30.0
_UID_LINE = re.compile(rb"\bUID (\d+)")
_EML = "message/rfc822"


class _Connection(imaplib.IMAP4):
    """imaplib over a connection of ours, which never takes more into memory than a message may have."""

    def __init__(self, dial: Callable[[], socket.socket], max_bytes: int) -> None:
        self._dial, self._max_bytes = dial, max_bytes
        super().__init__()

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:  # noqa: ARG002
        self.sock = self._dial()
        self.file = self.sock.makefile("rb")

    def read(self, size: int) -> bytes:
        if size > self._max_bytes:
            raise TooLarge(f"The message is larger than {self._max_bytes:,} bytes.", hint="Leave it out.")
        return super().read(size)


class ImapReader:
    """Messages by their UIDs, which a server never gives twice; read without marking them as seen."""

    def __init__(
        self, dialer: Dialer, host: str, port: int, user: str, password: str, folder: str, max_bytes: int, *, tls: bool
    ) -> None:
        if not tls and not _is_loopback(host):
            raise Misconfigured(
                f"Mail is not fetched from {host} without TLS.", hint="Only a mail server on this machine may lack it."
            )
        self._dialer, self._host, self._port, self._tls = dialer, host, port, tls
        self._user, self._password, self._folder, self._max_bytes = user, password, folder, max_bytes
        self._connection: _Connection | None = None
        self._validity = ""

    def listing(self, token: str | None) -> Listing:  # noqa: ARG002
        return Listing(self._items())

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002
        with self._talking() as connection:
            validity, _, uid = key.partition(".")
            if validity != self._validity:
                raise NotFound(f"The message {key} is of an earlier numbering.")
            parts = _checked(connection.uid("FETCH", uid, "(UID BODY.PEEK[])"))
        content = next((part[1] for part in parts if isinstance(part, tuple)), None)
        if content is None:
            raise NotFound(f"The message {key} is gone.")
        return ItemContent(io.BytesIO(content), f"{uid}.eml", _EML)

    def close(self) -> None:
        if self._connection:
            with suppress(imaplib.IMAP4.error, OSError):
                self._connection.logout()
            self._connection = None

    def _items(self) -> Iterator[FoundItem]:
        with self._talking() as connection:
            # A line for each message: the one line of a SEARCH would be too long for imaplib in a large folder.
            lines = _checked(connection.uid("FETCH", "1:*", "(UID FLAGS)"))
        place = f"imap://{self._host}/{quote(self._folder, safe='')};UIDVALIDITY={self._validity}"
        for line in lines:
            content = line if isinstance(line, bytes) else b"".join(line or ())
            found = _UID_LINE.search(content)
            if found and rb"\Deleted" not in content:
                uid = found[1].decode()
                yield FoundItem(f"{self._validity}.{uid}", f"{place}/;UID={uid}", "1")

    def _talking(self) -> _Talk:
        if self._connection is None:
            self._connection = self._connect()
        return _Talk(self, self._connection)

    def _connect(self) -> _Connection:
        try:
            connection = _Connection(self._dial, self._max_bytes)
        except (imaplib.IMAP4.error, OSError) as error:
            raise self._unavailable(error) from error
        try:
            self._enter(connection)
        except BaseException as error:
            connection.shutdown()
            if isinstance(error, (imaplib.IMAP4.abort, OSError)):
                raise self._unavailable(error) from error
            raise
        return connection

    def _enter(self, connection: _Connection) -> None:
        try:
            connection.login(self._user, self._password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise Invalid(
                f"{self._host} does not let {self._user!r} in.", hint="Check the user and the secret of the source."
            ) from error
        if connection.select(_quoted(self._folder), readonly=True)[0] != "OK":
            raise Invalid(f"{self._host} has no folder {self._folder!r}.", hint="Check its name.")
        (validity,) = connection.response("UIDVALIDITY")[1] or [b""]
        self._validity = (validity or b"0").decode()

    def _dial(self) -> socket.socket:
        dialled = self._dialer.connect(self._host, self._port, _PORTS, _SILENT_SECONDS)
        return httpx.create_ssl_context().wrap_socket(dialled, server_hostname=self._host) if self._tls else dialled

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"The mail server {self._host} broke off: {error}.", hint="Try again later.")


class _Talk:
    """One exchange; what breaks the connection has the next one make a new one."""

    def __init__(self, reader: ImapReader, connection: _Connection) -> None:
        self._reader, self._connection = reader, connection

    def __enter__(self) -> _Connection:
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, NotFound):
            return
        with suppress(OSError):
            self._connection.shutdown()
        self._reader._connection = None
        if isinstance(error, (imaplib.IMAP4.error, OSError)):
            raise self._reader._unavailable(error) from error


def _checked(answer: tuple[str, list[bytes | tuple[bytes, bytes] | None]]) -> list[bytes | tuple[bytes, bytes] | None]:
    if answer[0] != "OK":
        raise Unavailable(f"The mail server answered {answer[0]}.", hint="Try again later.")
    return answer[1]


def _quoted(folder: str) -> str:
    """A folder's name as a quoted string in the UTF-7 of IMAP (RFC 3501, 5.1.3)."""

    def coded(found: re.Match[str]) -> str:
        base64 = binascii.b2a_base64(found[0].encode("utf-16-be"), newline=False).decode()
        return f"&{base64.rstrip('=').replace('/', ',')}-"

    name = re.sub(r"[^\x20-\x7e]+", coded, folder.replace("&", "&-"))
    return '"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

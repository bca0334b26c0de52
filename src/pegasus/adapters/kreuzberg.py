"""Turns files into text: light formats here, whatever is heavy or hostile in a child process with limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pegasus.adapters.extraction_process import (
    FEED,
    LIGHT,
    read_frame,
    read_light,
    to_entries,
    to_extraction,
    write_frame,
)  # fmt: skip
from pegasus.domain import Extraction
from pegasus.errors import Unavailable, Unreadable, UnsupportedFormat
from pegasus.text import formats
from pegasus.text.feed import FeedEntry

_IN_CHILD = frozenset({formats.PDF, formats.DOCX, formats.PPTX, formats.XLSX, formats.HTML, formats.EPUB, formats.EML})
# -I keeps the environment out of the child; like multiprocessing's spawn it is told the parent's import path instead.
_BOOTSTRAP = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from pegasus.adapters.extraction_process import main; main(int(sys.argv[1]))"
)
_ENVIRONMENT_KEPT = ("TMPDIR", "TEMP", "TMP", "SYSTEMROOT")
_GIB = 1024**3
# JSON and CSV can take a hundred times their size in memory: up to here the server can bear it.
_AT_ONCE_BYTES = 2**20


class KreuzbergTextExtractor:
    """One file at a time; its child process starts with the first file that needs it, and ends when it is idle.

    ``child_command`` is for tests that need a child which misbehaves.
    """

    def __init__(
        self, *, timeout_seconds: float = 60, memory_bytes: int = 2 * _GIB, idle_seconds: float = 30,
        child_command: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self._timeout_seconds, self._memory_bytes, self._idle_seconds = timeout_seconds, memory_bytes, idle_seconds
        self._command = child_command
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closing = False
        self._idle_timer: threading.Timer | None = None

    def extract(
        self, path: Path, media_type: str, *, filename: str | None = None, charset: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Extraction:  # fmt: skip
        """The text of the file at ``path``, which is of ``media_type`` (see ``detect_media_type``).

        Raises ``Unreadable`` or ``UnsupportedFormat`` with the reason; no later try with the same file helps.
        """
        if media_type in LIGHT and path.stat().st_size <= _AT_ONCE_BYTES:
            return read_light(path.read_bytes(), media_type, charset)
        if media_type == formats.ZIP:
            raise UnsupportedFormat(
                "The file is a ZIP archive, which is not a document.", hint="Unpack it, and add the files in it."
            )
        if media_type not in _IN_CHILD and media_type not in LIGHT:
            raise UnsupportedFormat(
                f"Files of the type {media_type!r} are not read.",
                hint=f"Pegasus reads {', '.join(formats.NAMES.values())}.",
            )
        allowed = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        request = {
            "path": str(path.resolve()),
            "media_type": media_type,
            "charset": charset,
            "timeout_seconds": allowed,
        }
        return to_extraction(self._ask(request, filename or path.name, allowed))

    def read_feed(self, content: bytes, url: str, content_type: str | None) -> list[FeedEntry]:
        """As ``pegasus.text.feed.read_feed``, in the child. Raises ``Unreadable`` as ``extract`` does, too."""
        request = {
            "media_type": FEED,
            "content": content.decode("latin-1"),
            "url": url,
            "content_type": content_type,
            "timeout_seconds": self._timeout_seconds,
        }
        return to_entries(self._ask(request, url, self._timeout_seconds))

    def close(self, grace_seconds: float = 0) -> None:
        """Ends the child; a file at hand has ``grace_seconds``, then its reading ends with ``Unavailable``."""
        if not self._lock.acquire(timeout=grace_seconds):
            self._closing = True
            child = self._child
            if child is not None:
                child.process.kill()
            self._lock.acquire()
        try:
            self._end_child()
        finally:
            self._lock.release()

    @property
    def child_pid(self) -> int | None:
        """The running child's process id, for those who watch memory."""
        return self._child.process.pid if self._child else None

    def _ask(self, request: Mapping[str, Any], name: str, timeout_seconds: float) -> Mapping[str, Any]:
        with self._lock:
            child, reply = self._try(request, timeout_seconds)
            if reply is None and child.has_answered and not child.timed_out and not self._closing:
                # An earlier file or the system may have ended it: a fresh child tells whether this file does.
                child, reply = self._try(request, timeout_seconds)
        if reply is not None:
            return reply
        if self._closing:
            raise Unavailable(
                "Pegasus was stopped while the file was being read.", hint="It is read at the next start."
            )
        if child.timed_out:
            raise Unreadable(
                f"Reading {name!r} took longer than {timeout_seconds:g} s and was stopped.",
                hint="Split the file, or save it again in its own program: damaged files can keep a reader busy.",
            )
        if child.was_killed:
            # No file does that: its own limits end a reader otherwise. Whoever did it may not do it again.
            raise Unavailable(
                f"The reader was killed from outside while it read {name!r}.",
                hint="It is tried again. If that goes on, the machine may be short of memory: see the system's log.",
            )
        raise Unreadable(
            f"The reader crashed on {name!r}: {child.death(self._memory_bytes)}.",
            hint="The file is damaged or too large: save it again in its own program, or split it.",
        )

    def _try(self, request: Mapping[str, Any], timeout_seconds: float) -> tuple[_Child, Mapping[str, Any] | None]:
        child = self._ready_child()
        reply = child.ask(request, timeout_seconds)
        if child.timed_out or reply is None:
            self._end_child()
        else:
            self._end_child_when_idle()
        return child, reply

    def _ready_child(self) -> _Child:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._child is None or self._child.process.poll() is not None:
            self._end_child()
            self._child = _Child(self._command or _child_command(self._memory_bytes))
        return self._child

    def _end_child_when_idle(self) -> None:
        timer = threading.Timer(self._idle_seconds, lambda: self._retire(timer))
        timer.daemon = True
        self._idle_timer = timer
        timer.start()

    def _retire(self, timer: threading.Timer) -> None:
        with self._lock:
            if self._idle_timer is timer:  # else a file came in between, and a newer timer runs
                self._end_child()

    def _end_child(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """A running child process and the pipes to it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.timed_out = self.has_answered = self._stayed = False
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child
        kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            close_fds=True,
            # A signal to the whole process group, as a terminal or systemd sends it, must not fail the file at hand.
            start_new_session=True,
            cwd=tempfile.gettempdir(),
            env={**kept, "PATH": os.defpath, "LANG": "C.UTF-8"},
        )

    def ask(self, request: Mapping[str, Any], timeout_seconds: float) -> Mapping[str, Any] | None:
        """The reply, or None when the child died or had to be killed (then it ``timed_out``)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(timeout_seconds, self._kill_late)
        timer.daemon = True
        timer.start()
        try:
            write_frame(self.process.stdin, request)
            reply = read_frame(self.process.stdout)
        except BrokenPipeError:
            return None
        finally:
            timer.cancel()
            timer.join()
        self.has_answered |= reply is not None
        return reply

    @property
    def was_killed(self) -> bool:
        """By somebody else; Windows does not tell."""
        return os.name == "posix" and self.process.returncode == -signal.SIGKILL and not self._stayed

    def death(self, memory_bytes: int) -> str:
        """Why the ended child died, as far as its exit and its last words tell."""
        if self._ran_out_of_memory:
            return f"it needs more than {memory_bytes / _GIB:.1f} GiB of memory"
        code = self.process.returncode
        if code < 0:
            return f"it was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"{self._last_words or 'without a message'} (exit status {code})"

    def end(self) -> None:
        """Lets an idle child leave by closing its stdin, and kills one that stays."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):  # a request was still on its way to a child that is gone
            self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._stayed = True
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._ran_out_of_memory, self._last_words = self._read_errors()

    def _kill_late(self) -> None:
        self.timed_out = True
        self.process.kill()

    def _read_errors(self) -> tuple[bool, str]:
        with self._errors as errors:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4096))
            tail = errors.read().decode("utf-8", "replace").strip()
        memory = any(sign in tail for sign in ("MemoryError", "memory allocation of", "Cannot allocate memory"))
        return memory, tail.rpartition("\n")[2][:300]


def _child_command(memory_bytes: int) -> list[str]:
    import_path = [entry or str(Path.cwd()) for entry in sys.path]
    return [sys.executable, "-I", "-c", _BOOTSTRAP, str(memory_bytes), *import_path]

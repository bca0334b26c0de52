"""Broken files of every format, read as an upload is: nothing but a refusal or a text with true offsets comes out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from budget import MINUTES, SEED, numbers
from mutations import mutated

from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
from pegasus.domain import Extraction
from pegasus.errors import PegasusError
from pegasus.ingestion.archives import Limits, members
from pegasus.ingestion.chunking import chunk_text
from pegasus.text.entities import find_mentions
from pegasus.text.formats import ZIP, detect_media_type

_SHORT_RUN = 1_500
_LIMIT_SECONDS = 5.0
_CONTAINED = ("crashed", "took longer", "Error:")
_MEMORY_BYTES = 1024 * 2**20
# What the parent may grow by over the whole run; its child has a limit of its own.
_GROWTH_BYTES = 300 * 2**20


@pytest.fixture
def extractor() -> Iterator[KreuzbergTextExtractor]:
    made = KreuzbergTextExtractor(timeout_seconds=_LIMIT_SECONDS, memory_bytes=_MEMORY_BYTES)
    yield made
    made.close()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def outcome(extractor: KreuzbergTextExtractor, path: Path, name: str) -> str:
    """What became of the file, in a word. Raises whatever no caller expects."""
    try:
        media_type = detect_media_type(path.read_bytes(), name, None)
        if media_type == ZIP:
            return read_members(path)
        found = extractor.extract(path, media_type, filename=name)
    except PegasusError as error:
        assert error.hint, f"no next step: {error.detail}"
        # Parsers written in C may crash or hang, which is contained and told; Python ends no process.
        assert "(exit status" not in error.detail, error.detail
        return next((told for told in _CONTAINED if told in error.detail), error.code)
    assert_true(found)
    return "read"


def read_members(path: Path) -> str:
    for member in members(path, Limits(max_member_bytes=2**20)):
        try:
            with member.open() as source:
                source.read()
        except PegasusError as error:
            assert error.hint
    return "unpacked"


def assert_true(found: Extraction) -> None:
    """What is stored can be stored, and everything that names a place names the right one."""
    text = found.text
    assert text.strip()
    assert not set("\r\0") & set(text)
    text.encode()
    for heading in found.headings:
        assert text[heading.start : heading.start + len(heading.title)] == heading.title
        assert heading.title == heading.title.strip()
        assert "\n" not in heading.title
        assert 1 <= heading.level <= 9
    assert [heading.start for heading in found.headings] == sorted(heading.start for heading in found.headings)
    for link in found.links:
        assert link.target.strip()
        link.target.encode()
        link.label.encode()
    for chunk in chunk_text(text, found.headings):
        assert text[chunk.start : chunk.end] == chunk.text
        for mention in find_mentions(chunk.text):
            assert 0 <= mention.start < mention.end <= len(chunk.text)


@pytest.mark.slow
@pytest.mark.timeout(120 + 90 * MINUTES)
def test_a_broken_file_is_read_or_refused_and_nothing_else(extractor: KreuzbergTextExtractor, tmp_path: Path) -> None:
    path, outcomes, failures = tmp_path / "file", Counter[str](), list[str]()
    before = 0
    for number in numbers(_SHORT_RUN):
        name, content = mutated(Random(f"{SEED}:{number}"))
        path.write_bytes(content)
        begun = time.process_time()
        try:
            outcomes[outcome(extractor, path, name)] += 1
        except Exception as error:  # noqa: BLE001 - each is a finding, and there may be others.
            failures.append(f"FUZZ_SEED={SEED} input {number} ({name}): {type(error).__name__}: {error}"[:500])
        # The server's own time; that of the child, and of whoever else keeps this machine busy, is not in it.
        took = time.process_time() - begun
        if took > 2 * _LIMIT_SECONDS:
            failures.append(f"FUZZ_SEED={SEED} input {number} ({name}) took {took:.1f} s")
        before = before or resident_bytes()
    print(f"{sum(outcomes.values())} files: {dict(outcomes)}")
    assert not failures, "\n".join(failures[:50])
    assert outcomes["read"] > 0.1 * sum(outcomes.values())
    assert resident_bytes() - before < _GROWTH_BYTES

"""The code of the release before this one, kept in the tree: its successor's schema must bear it.

``python -m tests.previous_release`` keeps the code as it is now, for what comes after it: ``make previous-release``,
once a release is made.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pegasus import __version__
from pegasus.migrations import HEAD

ARCHIVE = Path(__file__).parent / "data/previous-release.zip"
_SOURCE = Path(__file__).parents[1] / "src"
_SAME_TIME = (2026, 1, 1, 0, 0, 0)  # The same code makes the same bytes.


def unpack(folder: Path) -> Path:
    """The folder, now with the package in it, as PYTHONPATH wants it."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def texts() -> frozenset[str]:
    """Every text in the code, whole or the parts of one with gaps; the schema's own steps and rules left out."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        sources = [archive.read(name) for name in archive.namelist() if not name.startswith("pegasus/migrations/")]
    return frozenset(text for source in sources for text in _texts(source))


def head() -> str:
    """The revision that it was made for."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        source = archive.read("pegasus/migrations/__init__.py")
    return next(
        str(ast.literal_eval(node.value))
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HEAD"
    )


def _texts(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def keep() -> None:
    """The sources alone: no model's data, which its tests do without."""
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted((_SOURCE / "pegasus").rglob("*.py")):
            archive.writestr(
                zipfile.ZipInfo(str(path.relative_to(_SOURCE)), _SAME_TIME), path.read_bytes(), zipfile.ZIP_DEFLATED, 9
            )


if __name__ == "__main__":
    keep()
    print(f"Kept {__version__} with schema {HEAD}: {ARCHIVE.stat().st_size:,} bytes", file=sys.stderr)

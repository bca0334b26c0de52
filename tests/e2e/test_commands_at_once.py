"""Commands without a server share a data directory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import command


@pytest.mark.slow
def test_of_two_commands_at_once_the_second_waits_its_turn(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda _: command(tmp_path / "data", "search", "harbour"), range(2)))
    assert [(done.returncode, done.stderr) for done in ended] == [(0, ""), (0, "")]

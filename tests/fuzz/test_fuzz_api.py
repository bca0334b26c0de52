"""The HTTP interface, fuzzed from its own description by schemathesis: a real process, a real port, every phase.

No 5xx, nothing that takes longer than the limits in schemathesis.toml, no status, content type or form that the
description does not name, no method beyond it, nothing found again after its deletion.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from budget import MINUTES, SEED
from processes import ServerProcess
from servers import ON_SERVERS

_FOLDER = Path(__file__).parent
_SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
# With twelve every operation gets some hundred requests, which takes too long to be done on both tiers.
_SHORT_RUN = ["--max-examples", "12" if ON_SERVERS else "3"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    # A rate would have most of the requests answered with 429.
    process = ServerProcess(
        tmp_path / "data", PEGASUS_RATE_LIMIT="1000000/second", PEGASUS_ASK_RATE_LIMIT="1000000/second"
    )
    process.start().close()
    yield process
    process.end()


@pytest.mark.slow
@pytest.mark.timeout(150 + 90 * MINUTES)
def test_no_request_gets_an_answer_that_the_description_does_not_allow(server: ServerProcess, tmp_path: Path) -> None:
    client = server.client()
    # Keys of their own: what is fuzzed may revoke keys, too. Sources are added with less, or a folder of this machine
    # that was hit upon by chance would be read.
    keys = {
        f"FUZZ_{scope.upper()}_KEY": client.call("POST", "/v1/keys", json={"name": "fuzzer", "scope": scope})["key"]
        for scope in ("operator", "write")
    }
    length = ["--max-time", str(int(MINUTES * 60))] if MINUTES else _SHORT_RUN
    run = subprocess.run(
        [_SCHEMATHESIS, "--config-file", str(_FOLDER / "schemathesis.toml"), "--no-color", "run",
         f"{server.address}/openapi.json", "--seed", str(SEED), *length],
        env={**os.environ, **keys, "PYTHONPATH": os.pathsep.join([str(_FOLDER), os.environ.get("PYTHONPATH", "")]),
             "SCHEMATHESIS_HOOKS": "hooks"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(run.stdout[-20_000:], run.stderr[-5_000:])
    assert run.returncode == 0, f"FUZZ_SEED={SEED}"
    assert "http.unexpected_error" not in server.log
    assert client.call("GET", "/ready")["ready"]
    client.close()

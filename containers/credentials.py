"""Makes the passwords that compose.yaml hands to its services, at the first start: ``make compose-up`` runs it.

Each is a file that only the services which need it get to see; none is in a variable, where ``docker inspect`` would
show it, and none has a default. The folder is for its owner only. The files in it are readable by all, for they are
mounted as they are into containers whose users are not their owner, and Compose can give them no other one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from secrets import token_urlsafe

ROOT = Path(__file__).parent.parent


def make_credentials(folder: Path) -> bool:
    """Make what is missing; False where all was there. What is there stays: the stores were made with it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    passwords = {name: _kept(folder, name) for name in ("postgres_password", "database_password", "redis_password")}
    graph = _kept(folder, "neo4j_auth", "neo4j/").partition("/")[2]
    operator_key = _kept(folder, "operator_key")
    settings = (
        f"DATABASE_URL=postgresql://pegasus:{passwords['database_password']}@postgres:5432/pegasus\n"
        f"REDIS_URL=redis://:{passwords['redis_password']}@redis:6379/0\n"
        f"PEGASUS_CACHE_URL=redis://:{passwords['redis_password']}@redis:6379/1\n"
        f"PEGASUS_GRAPH_URL=bolt://neo4j:{graph}@neo4j:7687/neo4j\n"
        # The second is what the command line within a container uses.
        f"PEGASUS_OPERATOR_KEY={operator_key}\nPEGASUS_KEY={operator_key}\n"
    )
    file = folder / "pegasus_settings"
    if file.is_file():
        return False
    _write(file, settings)
    return True


def _kept(folder: Path, name: str, before: str = "") -> str:
    file = folder / name
    if not file.is_file():
        _write(file, before + token_urlsafe(32))
    return file.read_text()


def _write(file: Path, text: str) -> None:
    """In one step: a start that is cut off leaves no half of a password behind."""
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    temporary.chmod(0o444)
    temporary.replace(file)


def main() -> None:
    folder = Path(os.environ.get("PEGASUS_SECRETS") or ROOT / "secrets")
    if make_credentials(folder):
        print(f"Passwords are made, in {folder}. Keep them for as long as you keep the volumes.", file=sys.stderr)
    print(f"The key that opens everything: {folder / 'operator_key'}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""checkov, in an environment of its own: beside boto3 and networkx of this one it could not be installed.

Where that cannot be made the check is skipped, and the plan says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pegasus_aws.plan.findings import Finding, NotRun
from pegasus_aws.plan.policy.system import System
from pegasus_aws.programs import NotInstalled, programs_of

_RUN_SECONDS = 300


def check_with_checkov(system: System) -> list[Finding]:
    """Raises ``NotRun`` when checkov cannot be had or does not answer."""
    try:
        program = programs_of("checkov") / "checkov"
    except NotInstalled as error:
        raise NotRun(f"{error.detail} {error.hint}") from error
    with tempfile.TemporaryDirectory() as folder:
        for stack, template in system.templates.items():
            (Path(folder) / f"{stack}.json").write_text(json.dumps(template), "utf-8")
        return list(_findings(_run(program, folder)))


def _run(program: Path, folder: str) -> Any:
    # Without --skip-download it asks its maker's servers for more rules.
    arguments = ("--directory", folder, "--framework", "cloudformation", "--output", "json", "--quiet", "--compact")
    command = [str(program), *arguments, "--skip-download", "--soft-fail"]
    # Nothing of ours: neither our modules nor credentials are its to see.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - a program that was installed by its hashes, and no shell.
            command, capture_output=True, text=True, timeout=_RUN_SECONDS, env=environment, check=False
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"checkov gave no answer within {_RUN_SECONDS} s.") from error
    except ValueError as error:
        raise NotRun(f"checkov ended without a report: {done.stderr.strip()[-300:]}") from error


def _findings(report: Any) -> Iterator[Finding]:
    for framework in report if isinstance(report, list) else [report]:
        # An empty report has no results; it would mean that no template was looked at.
        results: Mapping[str, Any] | None = framework.get("results")
        if results is None:
            raise NotRun("checkov looked at no template.")
        for error in results.get("parsing_errors", []):
            yield Finding("checkov", "parsing", Path(error).stem, "template", "checkov cannot read it.", "Mend it.")
        for failed in results["failed_checks"]:
            yield Finding(
                check="checkov",
                rule=failed["check_id"],
                stack=Path(failed["file_path"]).stem,
                resource=failed["resource"].rpartition(".")[2],
                message=failed["check_name"],
                hint=f'Mend the resource, or say why it is so with because({failed["check_id"]}="...").',
            )

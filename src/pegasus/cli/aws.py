"""The one door to the deployment: opened when ``pegasus aws`` is called, so that nothing else pays for its imports."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from pegasus.errors import Misconfigured


def aws(context: typer.Context) -> None:
    """Plan what runs on AWS: pegasus aws --help lists the commands."""
    if not (find_spec("troposphere") and find_spec("cfnlint") and find_spec("boto3")):
        raise Misconfigured(
            "The commands for AWS are not installed.", hint="Install them with: pip install 'pegasus[aws]'"
        )
    from pegasus_aws.cli import app

    app(args=context.args or ["--help"], prog_name="pegasus aws")

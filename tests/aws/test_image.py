"""What the templates take for granted of the images: the Dockerfile says the same."""

from __future__ import annotations

import json
import re
import ssl
from importlib.resources import files
from pathlib import Path

import pytest
from aws.test_stacks import built, container

from pegasus_aws import application

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text("utf-8")
BUNDLE = "rds-global-bundle.pem"


def stage(name: str) -> str:
    (found,) = [part for part in DOCKERFILE.split("\nFROM ") if part.splitlines()[0].endswith(f" AS {name}")]
    return found


@pytest.mark.parametrize(
    ("image", "task"),
    [("pegasus", "BackendApiTask"), ("pegasus", "CeleryWorkerTask"), ("pegasus", "SchedulerTask"),
     ("pegasus", "DataPipelineTask"), ("pegasus", "MigrationTask"), ("vectors", "ChromadbTask")],
)  # fmt: skip
def test_what_a_task_mounts_is_a_volume_of_its_image_so_that_it_belongs_to_its_user(image: str, task: str):
    (volumes,) = re.findall(r"^VOLUME (.+)$", stage(image), re.MULTILINE)
    mounted = container(built("production"), task)

    assert {point["ContainerPath"] for point in mounted["MountPoints"]} == set(json.loads(volumes))
    # Before that line: what comes after it is lost.
    assert f"--owner {application.USER_ID} --group {application.USER_ID}" in stage("base")
    assert mounted["User"] in stage("base")


def test_the_image_has_the_authorities_where_the_url_of_the_database_names_them():
    assert f"COPY src/pegasus_aws/{BUNDLE} {application.DATABASE_AUTHORITIES}" in stage("pegasus")
    assert application.DATABASE_AUTHORITIES in json.dumps(container(built("production"), "MigrationTask"))


def test_the_authorities_are_amazons_own_roots_and_last():
    text = files("pegasus_aws").joinpath(BUNDLE).read_text("ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    found = context.get_ca_certs()

    assert len(found) == text.count("BEGIN CERTIFICATE") == 84
    assert all(one["subject"] == one["issuer"] for one in found)
    assert all((("organizationalUnitName", "Amazon RDS"),) in one["subject"] for one in found)
    assert min(ssl.cert_time_to_seconds(str(one["notAfter"])) for one in found) > ssl.cert_time_to_seconds(
        "Jan  1 00:00:00 2060 GMT"
    )
    assert {f"# {name}" for name in application.database_authorities()} == set(
        re.findall(r"^# Amazon RDS .+$", text, re.MULTILINE)
    )
    assert "Amazon RDS us-east-1 Root CA RSA2048 G1" in application.database_authorities()

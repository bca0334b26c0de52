"""ECS tasks as containers that are what their definition says.

By itself the emulator asks a registry for each image, and leaves out entry point, user, health check, read-only root,
capabilities, memory, volumes, time to stop and names.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from ministack.services import ecr, ecs, servicediscovery

from pegasus_aws.rehearsal.inside.engine import Engine

_STOP_LABEL = "pegasus.rehearsal.stop-seconds"
_SECOND = 1_000_000_000  # In nanoseconds, which the engine counts in.
# A laptop's patience: what waits for minutes on AWS, so that nothing flaps there, waits for seconds here.
HEALTH_INTERVAL_SECONDS = 2
_AUTHORITY = "/rehearsal/authority.pem"
_ROOT = re.compile(r"sslrootcert=([^&]+)")
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")


def install(engine: Engine, authority: Path) -> None:
    """``authority`` is the file whose certificates the stores have."""

    def arguments(
        definition: dict[str, Any], task: dict[str, Any], variables: dict[str, str], _ports: Any, _network: Any,
        _host_mode: Any, task_id: str, task_arn: str, *_: Any,
    ) -> dict[str, Any]:  # fmt: skip
        return _arguments(engine, authority, definition, task, variables, task_id, task_arn)

    _images_of_the_engine(engine)
    ecs._get_docker = lambda: engine.client
    ecs._build_run_kwargs = arguments
    ecs._run_docker_container = _run
    ecs._remove_docker_container = _remove
    # An image is named by its digest, which is its id in this engine; no registry is asked.
    ecs._prepare_service_images = lambda *_: None
    ecs._deployment_needs_first_task = lambda *_: False


def _images_of_the_engine(engine: Engine) -> None:
    """Nothing is pushed: what the engine has is in every repository, its id for a digest."""
    plain = ecr._find_image

    def find(repository: str, wanted: dict[str, str]) -> Any:
        if (found := plain(repository, wanted)) or not (digest := wanted.get("imageDigest")):
            return found
        with suppress(ImageNotFound):
            image = engine.client.images.get(digest)
            return {"imageDigest": image.id, "imageTags": [], "imagePushedAt": int(time.time())}
        return None

    ecr._find_image = find


def _run(client: Any, definition: dict[str, Any], arguments: dict[str, Any], **_: Any) -> Any:
    image = definition["image"]
    digest = _DIGEST.search(image)
    try:
        # Not by run(), which pulls what it does not find.
        container = client.containers.create(digest[1] if digest else image, **arguments)
    except ImageNotFound as error:
        raise ecs._ImagePullError(f"no image {image} in this engine") from error
    try:
        container.start()
    except APIError:
        container.remove(v=True)
        raise
    return container


def _remove(client: Any, container: Any) -> None:
    """SIGTERM, as long as the definition gives it, and SIGKILL."""
    if client is None:
        return  # It has ended by itself; its last words may still be on their way into the log.
    with suppress(NotFound, APIError):
        found = client.containers.get(container) if isinstance(container, str) else container
        found.stop(timeout=int(found.labels.get(_STOP_LABEL, "30")))
        found.remove(v=True, force=True)


def _arguments(
    engine: Engine,
    authority: Path,
    definition: dict[str, Any],
    task: dict[str, Any],
    variables: dict[str, str],
    task_id: str,
    arn: str,
) -> dict[str, Any]:
    linux = definition.get("linuxParameters", {})
    capabilities = linux.get("capabilities", {})
    aliases = _names(arn)
    return {
        "name": f"{engine.network}-{task_id[:8]}-{definition['name']}",
        "labels": {**engine.labels, _STOP_LABEL: str(definition.get("stopTimeout", 30))},
        "environment": _variables(engine, variables, arn),
        "entrypoint": definition.get("entryPoint"),
        "command": definition.get("command"),
        "user": definition.get("user"),
        "read_only": bool(definition.get("readonlyRootFilesystem")),
        "init": bool(linux.get("initProcessEnabled")),
        "cap_drop": capabilities.get("drop"),
        "cap_add": capabilities.get("add"),
        "mem_limit": f"{definition.get('memory') or task.get('memory', '512')}m",
        "healthcheck": _health_check(definition.get("healthCheck")),
        "volumes": [*_volumes(engine, definition, task), *_authority(authority, variables)],
        "network": engine.network,
        "networking_config": {engine.network: engine.client.api.create_endpoint_config(aliases=aliases)},
    }


def _variables(engine: Engine, variables: dict[str, str], arn: str) -> dict[str, str]:
    # botocore takes credentials over HTTP from loopback only; what a role may do is not looked at in here anyway.
    kept = {name: value for name, value in variables.items() if not name.startswith("AWS_CONTAINER_")}
    region = arn.split(":")[3]
    return kept | {
        "AWS_ENDPOINT_URL": engine.endpoint, "AWS_REGION": region, "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "rehearsal", "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "SSL_CERT_FILE": _AUTHORITY, "AWS_CA_BUNDLE": _AUTHORITY,
        "ECS_CONTAINER_METADATA_URI_V4": variables["ECS_CONTAINER_METADATA_URI_V4"].replace(
            f"http://host.docker.internal:{engine.port}", engine.endpoint
        ),
    }  # fmt: skip


def _authority(file: Path, variables: dict[str, str]) -> list[str]:
    """For who looks where the system has its authorities, and for who is told a file of RDS's."""
    told = {found[1] for value in variables.values() if (found := _ROOT.search(value))}
    return [f"{file}:{path}:ro" for path in {_AUTHORITY, *told}]


def _health_check(check: dict[str, Any] | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "test": check["command"],
        "interval": min(check.get("interval", 30), HEALTH_INTERVAL_SECONDS) * _SECOND,
        "timeout": check.get("timeout", 5) * _SECOND,
        "retries": check.get("retries", 3),
        "start_period": check.get("startPeriod", 0) * _SECOND,
    }


def _volumes(engine: Engine, definition: dict[str, Any], task: dict[str, Any]) -> list[str]:
    """What Fargate gives goes with the task; a directory of EFS is one of its access point's, for all who mount it."""
    kinds = {one["name"]: one.get("efsVolumeConfiguration") for one in task.get("volumes", [])}
    found = []
    for mount in definition.get("mountPoints", []):
        directory = kinds[mount["sourceVolume"]]
        mode = ":ro" if mount.get("readOnly") else ""
        if directory is None:
            found.append(mount["containerPath"])
        else:
            point = directory.get("authorizationConfig", {}).get("accessPointId", directory["fileSystemId"])
            found.append(f"{engine.volume(point)}:{mount['containerPath']}{mode or ':rw'}")
    return found


def _names(arn: str) -> list[str]:
    """Of Cloud Map, under which others find the task."""
    group = ecs._tasks[arn].get("group", "")
    cluster = ecs._cluster_name_from_arn(ecs._tasks[arn]["clusterArn"])
    service = ecs._services.get(f"{cluster}/{group.partition(':')[2]}", {})
    arns = {one["registryArn"] for one in service.get("serviceRegistries", [])}
    named = [one for one in servicediscovery._services.values() if one["Arn"] in arns]
    return [f"{one['Name']}.{servicediscovery._namespaces[one['NamespaceId']]['Name']}" for one in named]

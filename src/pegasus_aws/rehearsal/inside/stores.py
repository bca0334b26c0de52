"""Containers that stand in for stores of AWS's, under the names, passwords and certificates that tasks expect."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from ministack.services import ec2, rds, secretsmanager
from ministack.services.cloudformation import provisioners

from pegasus_aws.rehearsal.inside.authority import Authority
from pegasus_aws.rehearsal.inside.engine import Engine
from pegasus_aws.rehearsal.inside.waiting import on_a_thread_of_its_own
from pegasus_aws.rehearsal.inside.wraps import is_clustered, redis_address

# What compose.yaml runs, too: whoever has tried that has them already. They are no measure of AWS's versions.
POSTGRES, REDIS, NEO4J, PYTHON = (
    "postgres:17-bookworm", "redis:7.4-bookworm", "neo4j:5.26-community", "python:3.11-slim-bookworm",
)  # fmt: skip
_USER, _GRAPH_USER = 999, 7474  # Of the first two images, and of the third.
_BOLT_PORT = 7687
# On its host Neo4j has TLS by its own configuration; here it is before it, which no client can tell.
_TLS = """
import asyncio, ssl, sys
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/rehearsal/tls.crt", "/rehearsal/tls.key")
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        behind, before = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, before), pump(behind, writer))
async def main():
    async with await asyncio.start_server(serve, "", int(sys.argv[2]), ssl=tls) as server:
        await server.serve_forever()
asyncio.run(main())
"""
_FILES = "/rehearsal"
_SECONDS = 120.0
Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class Stores:
    engine: Engine
    authority: Authority
    # The emulator does not keep the passwords of users: who they are, by their ids, and their ids by their group's.
    users: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Sequence[str]] = field(default_factory=dict)

    def database(self, name: str) -> None:
        instance = rds._instances[name]
        user, port = instance["MasterUsername"], int(instance["Endpoint"]["Port"])
        address = instance["Endpoint"]["Address"]
        tls = self.authority.certificate(address)
        create = f"createdb --username={user} --template=template0 --encoding=UTF8 {instance['DBName']}"
        container = self._started(
            f"database-{name}", POSTGRES, address,
            {f"{_FILES}/password": instance["_MasterUserPassword"].encode(), f"{_FILES}/tls.crt": tls.chain,
             f"{_FILES}/tls.key": tls.key,
             "/docker-entrypoint-initdb.d/database.sh": create.encode()},
            environment={"POSTGRES_USER": user, "POSTGRES_PASSWORD_FILE": f"{_FILES}/password", "PGPORT": str(port)},
            command=["postgres", "-c", "ssl=on", "-c", f"ssl_cert_file={_FILES}/tls.crt",
                     "-c", f"ssl_key_file={_FILES}/tls.key"],
        )  # fmt: skip
        # Over TCP: at its first start a passing server answers on the socket only.
        _await(container, ["pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}", f"--username={user}"])

    def redis(self, name: str, properties: Properties) -> None:
        clustered = is_clustered(properties)
        address = redis_address(name, clustered)
        tls, chief = self.authority.certificate(address), token_urlsafe(24)
        users = [self.users[user] for group in properties.get("UserGroupIds", []) for user in self.groups[group]]
        lines = [
            "port 0", "tls-port 6379", "tls-auth-clients no", "dir /data", "user default off",
            f"tls-cert-file {_FILES}/tls.crt", f"tls-key-file {_FILES}/tls.key", f"tls-ca-cert-file {_FILES}/ca.crt",
            f"user rehearsal on >{chief} ~* &* +@all", *users,
        ]  # fmt: skip
        if clustered:
            lines += [
                "cluster-enabled yes", "tls-cluster yes", "cluster-preferred-endpoint-type hostname",
                f"cluster-announce-hostname {address}",
            ]  # fmt: skip
        container = self._started(
            f"redis-{name}", REDIS, address,
            {f"{_FILES}/redis.conf": "\n".join(lines).encode(), f"{_FILES}/tls.crt": tls.chain,
             f"{_FILES}/tls.key": tls.key, f"{_FILES}/ca.crt": self.authority.pem},
            command=["redis-server", f"{_FILES}/redis.conf"],
        )  # fmt: skip
        ask = ["redis-cli", "--tls", "--cacert", f"{_FILES}/ca.crt", "--sni", address, "--user", "rehearsal",
               "--pass", chief, "--no-auth-warning"]  # fmt: skip
        _await(container, [*ask, "PING"])
        if clustered:
            _do(container, [*ask, "CLUSTER", "ADDSLOTSRANGE", "0", "16383"])  # One node has all the keys.

    def graph(self, name: str) -> None:
        """What the host's own script would start there; the script itself does not run."""
        secret = next(one for one in secretsmanager._secrets if one.endswith("/neo4j-user"))
        password = json.loads(secretsmanager.resolve_secret_string(secret))["password"]
        behind = f"{name}.neo4j.rehearsal"
        neo4j = self._started(
            f"graph-{name}", NEO4J, behind, {f"{_FILES}/auth": f"neo4j/{password}".encode()}, user=_GRAPH_USER,
            environment={"NEO4J_AUTH_FILE": f"{_FILES}/auth", "NEO4J_dbms_usage__report_enabled": "false"},
        )  # fmt: skip
        tls = self.authority.certificate(self.engine.reserved)
        self._started(
            f"graph-tls-{name}", PYTHON, name, {f"{_FILES}/tls.crt": tls.chain, f"{_FILES}/tls.key": tls.key},
            at=self.engine.reserved, command=["python", "-c", _TLS, behind, str(_BOLT_PORT)],
        )  # fmt: skip
        _await(neo4j, ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{_BOLT_PORT}"])

    def remove(self, kind: str, name: str) -> None:
        try:
            self.engine.client.containers.get(self._name(f"{kind}-{name}")).remove(force=True, v=True)
        except NotFound:
            return  # It failed before it was there.

    def _name(self, name: str) -> str:
        return f"{self.engine.network}-{name}"

    def _started(
        self, name: str, image: str, alias: str, files: Mapping[str, bytes], *, user: int = _USER,
        at: str | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        client = self.engine.client
        try:
            client.images.get(image)
        except ImageNotFound:
            client.images.pull(image)
        container = client.containers.create(
            image, name=self._name(name), labels=dict(self.engine.labels), user=f"{user}:{user}",
            network=self.engine.network, cap_drop=["ALL"],
            networking_config={
                self.engine.network: client.api.create_endpoint_config(aliases=[alias], ipv4_address=at)
            }, **more,
        )  # fmt: skip
        container.put_archive("/", _archive(files, user))
        container.start()
        return container


def install(engine: Engine, authority: Authority) -> None:
    stores = Stores(engine, authority)
    _users(stores)
    handlers = provisioners._RESOURCE_HANDLERS
    database, group = handlers["AWS::RDS::DBInstance"], handlers["AWS::ElastiCache::ReplicationGroup"]
    _with_container(database, "database", stores, lambda name, _: stores.database(name))
    _with_container(group, "redis", stores, stores.redis)
    host = handlers["AWS::AutoScaling::AutoScalingGroup"]
    _with_container(host, "graph-tls", stores, lambda _, __: None)
    _with_container(host, "graph", stores, lambda name, _: stores.graph(name))
    _address_of_the_graph(engine)
    on_a_thread_of_its_own(
        "AWS::RDS::DBInstance", "AWS::ElastiCache::ReplicationGroup", "AWS::AutoScaling::AutoScalingGroup"
    )


def _address_of_the_graph(engine: Engine) -> None:
    """The one interface that our templates make is the graph's; it is given an address that a container can have."""
    handler = provisioners._RESOURCE_HANDLERS["AWS::EC2::NetworkInterface"]
    create = handler["create"]

    def created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create(logical_id, properties, stack)
        ec2._network_interfaces[made[0]]["PrivateIpAddress"] = engine.reserved
        return made[0], {**made[1], "PrimaryPrivateIpAddress": engine.reserved}

    handler["create"] = created


def _with_container(
    handler: dict[str, Any], kind: str, stores: Stores, start: Callable[[str, Properties], None]
) -> None:
    create, delete = handler["create"], handler["delete"]

    def created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create(logical_id, properties, stack)
        try:
            start(made[0], properties)
        except (APIError, ImageNotFound, ValueError) as error:
            deleted(made[0], properties)
            raise ValueError(f"{made[0]} does not start: {error}") from error
        return made

    def deleted(physical_id: str, properties: Properties) -> None:
        delete(physical_id, properties)
        stores.remove(kind, physical_id)

    handler |= {"create": created, "delete": deleted}


def _users(stores: Stores) -> None:
    handlers = provisioners._RESOURCE_HANDLERS
    user, group = handlers["AWS::ElastiCache::User"], handlers["AWS::ElastiCache::UserGroup"]
    create_user, create_group = user["create"], group["create"]

    def user_created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create_user(logical_id, properties, stack)
        passwords = " ".join(f">{one}" for one in properties.get("Passwords", []))
        stores.users[made[0]] = f"user {properties['UserName']} {passwords} {properties['AccessString']}"
        return made

    def group_created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create_group(logical_id, properties, stack)
        stores.groups[made[0]] = properties.get("UserIds", [])
        return made

    user["create"], group["create"] = user_created, group_created


def _archive(files: Mapping[str, bytes], user: int) -> bytes:
    """For the user of the image alone, as PostgreSQL wants it of a key."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        folder = tarfile.TarInfo(_FILES)
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o700, user, user
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o600, user, user
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def _await(container: Any, question: Sequence[str]) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        container.reload()
        if container.status == "running" and container.exec_run(question).exit_code == 0:
            return
        if container.status == "exited" or time.monotonic() > until:
            raise ValueError(f"{container.name} does not answer: {container.logs(tail=5).decode(errors='replace')}")
        time.sleep(0.2)


def _do(container: Any, command: Sequence[str]) -> None:
    done = container.exec_run(command)
    if done.exit_code:
        raise ValueError(f"{container.name}: {command[0]} failed: {done.output.decode(errors='replace')[-300:]}")

"""The container engine as the rehearsal has it: a network of its own, and nothing left of it afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
from docker.types import IPAMConfig, IPAMPool

_LABEL = "pegasus.rehearsal"  # Its value is the process whose it is.
_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Engine:
    client: Any
    network: str
    gateway: str  # This machine, as containers see it.
    reserved: str  # An address that no container is given but by name of it.
    port: int

    @property
    def endpoint(self) -> str:
        return f"https://{self.gateway}:{self.port}"

    @property
    def labels(self) -> Mapping[str, str]:
        return {_LABEL: str(os.getpid())}

    def volume(self, name: str) -> str:
        """A volume that lasts as long as the rehearsal; made at the first time."""
        full = f"{self.network}-{name}"
        self.client.volumes.create(full, labels=dict(self.labels))
        return full


def start(port: int) -> Engine:
    """Raises ``docker.errors.DockerException`` where no engine answers."""
    client = docker.from_env(timeout=_SECONDS)
    for process in _owners(client):
        if not Path(f"/proc/{process}").exists():
            remove(client, process)
    name = f"pegasus-rehearsal-{os.getpid()}"
    subnet = _network(client, name, None)
    _network(client, name, IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))]))
    return Engine(client, name, str(subnet[1]), str(subnet[-2]), port)


def _network(client: Any, name: str, pool: IPAMConfig | None) -> IPv4Network:
    """Twice: the engine knows which addresses are free, and lets one be asked for only in a network that names them."""
    for before in client.networks.list(names=[name]):
        before.remove()
    network = client.networks.create(name, driver="bridge", labels={_LABEL: str(os.getpid())}, ipam=pool)
    network.reload()
    return IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])


def _owners(client: Any) -> set[str]:
    filters = {"label": _LABEL}
    found = [one.labels[_LABEL] for one in client.containers.list(all=True, filters=filters)]
    found += [one.attrs["Labels"][_LABEL] for one in client.networks.list(filters=filters)]
    return {*found, *(one.attrs["Labels"][_LABEL] for one in client.volumes.list(filters=filters))}


def remove(client: Any, process: str) -> None:
    """All that the rehearsal of that process made."""
    filters = {"label": f"{_LABEL}={process}"}
    for container in client.containers.list(all=True, filters=filters):
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=filters):
        network.remove()
    for volume in client.volumes.list(filters=filters):
        volume.remove(force=True)

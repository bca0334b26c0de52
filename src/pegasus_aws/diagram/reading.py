"""Reads in the templates what a picture shows. It asks nothing else, so that a picture cannot say more than they do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegasus_aws.plan.policy.system import Json, System, listed

INTERNET = "internet"
_ANYWHERE = "0.0.0.0/0"
_GROUP = "SecurityGroup"
Place = tuple[str, str]  # A stack, and what a resource is called in it.


@dataclass(frozen=True, slots=True)
class Arrow:
    """Somebody who may open a connection: the way out of the one and the way in of the other are both open."""

    source: str
    target: str
    port: int
    why: str


@dataclass(frozen=True, slots=True)
class Tier:
    name: str
    blocks: Sequence[str]  # of addresses, one a zone
    way_out: str


class Templates:
    """The templates with the threads between them tied: what an import or a reference leads to."""

    def __init__(self, system: System) -> None:
        self.system, self.environment = system, system.environment
        self._exports = {
            output["Export"]["Name"]: (stack, output["Value"])
            for stack, template in system.templates.items()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }

    def resource(self, place: Place) -> Json:
        found: Json = self.system.templates[place[0]]["Resources"][place[1]]
        return found

    def properties(self, place: Place) -> Json:
        found: Json = self.resource(place).get("Properties", {})
        return found

    def type_of(self, place: Place) -> str:
        return str(self.resource(place)["Type"])

    def of(self, *types: str) -> list[Place]:
        return [(stack, name) for stack, name, _ in self.system.of(*types)]

    def named_in(self, stack: str, value: Any) -> Iterator[Place]:
        """Every resource that a value speaks of, in whichever stack it is."""
        if isinstance(value, list):
            for below in value:
                yield from self.named_in(stack, below)
        if not isinstance(value, Mapping):
            return
        for key, below in value.items():
            if key == "Fn::ImportValue":
                yield from self.named_in(*self._exports[below])
            elif key in ("Ref", "Fn::GetAtt"):
                name = below if key == "Ref" else below[0]
                if name in self.system.templates[stack]["Resources"]:
                    yield stack, name
            else:
                yield from self.named_in(stack, below)

    def named_by(self, place: Place) -> set[Place]:
        return set(self.named_in(place[0], self.properties(place)))

    def parties(self) -> Mapping[str, Sequence[Place]]:
        """Each security group by its short name, with those who carry it."""
        groups = {place: _short(place[1]) for place in self.of("AWS::EC2::SecurityGroup")}
        carriers: dict[str, list[Place]] = {name: [] for name in groups.values()}
        rules = ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        for stack, name, resource in self.system.resources():
            if resource["Type"] not in rules:
                for place in self.named_by((stack, name)) & groups.keys():
                    carriers[groups[place]].append((stack, name))
        for party, found in carriers.items():
            if not found:  # A task that no service keeps: whoever releases starts it, in this group.
                found += [one for one in self.of("AWS::ECS::TaskDefinition") if one[1].lower() == f"{party}task"]
        return carriers

    def arrows(self) -> tuple[Arrow, ...]:
        """Who may talk to whom: where both ends of it say so, or the other end is the internet."""
        ways_in = dict(self._rules("AWS::EC2::SecurityGroupIngress", "SourceSecurityGroupId", inwards=True))
        ways_out = dict(self._rules("AWS::EC2::SecurityGroupEgress", "DestinationSecurityGroupId", inwards=False))
        found = [
            Arrow(*way, why)
            for way, why in {**ways_out, **ways_in}.items()
            if (way in ways_in or way[1] == INTERNET) and (way in ways_out or way[0] == INTERNET)
        ]
        return tuple(sorted(found, key=lambda one: (one.source, one.target, one.port)))

    def _rules(self, type_: str, other: str, *, inwards: bool) -> Iterator[tuple[tuple[str, str, int], str]]:
        for _, _, rule in self.system.of(type_):
            party = _short(rule["GroupId"]["Ref"])
            peer = _short(rule[other]["Ref"]) if other in rule else rule["CidrIp"]
            peer = INTERNET if peer == _ANYWHERE else peer
            for port in range(rule["FromPort"], rule["ToPort"] + 1):
                yield ((peer, party, port) if inwards else (party, peer, port)), rule["Description"]

    def meaning(self, party: str) -> str:
        return next(
            str(self.properties(place)["GroupDescription"])
            for place in self.of("AWS::EC2::SecurityGroup")
            if _short(place[1]) == party
        )

    def tiers(self) -> Sequence[Tier]:
        """Subnets that differ by their zone only, in the order of the template."""
        blocks: dict[str, list[str]] = {}
        for place in self.of("AWS::EC2::Subnet"):
            blocks.setdefault(_tier(place[1]), []).append(self.properties(place)["CidrBlock"])
        return [Tier(name, addresses, self._way_out(name)) for name, addresses in blocks.items()]

    def tier_of(self, place: Place) -> str | None:
        """Where a resource is: in the subnets that it names itself, or by way of a group of subnets."""
        for stack, name in self.named_in(place[0], self.properties(place)):
            type_ = self.type_of((stack, name))
            if type_ == "AWS::EC2::Subnet":
                return _tier(name)
            if type_.endswith("SubnetGroup"):
                return self.tier_of((stack, name))
        return None

    def _way_out(self, tier: str) -> str:
        tables = {
            self.properties(place)["RouteTableId"]["Ref"]
            for place in self.of("AWS::EC2::SubnetRouteTableAssociation")
            if _tier(self.properties(place)["SubnetId"]["Ref"]) == tier
        }
        routes = [
            properties
            for _, _, properties in self.system.of("AWS::EC2::Route")
            if properties["RouteTableId"]["Ref"] in tables
        ]
        if any("GatewayId" in route for route in routes):
            return "a route to the internet"
        gateways = {route["NatGatewayId"]["Ref"] for route in routes}
        if not gateways:
            return "no route out"
        return "the way out is the NAT gateway" if len(gateways) == 1 else "the way out is the zone's NAT gateway"

    def told(self, task: Place) -> Mapping[str, Any]:
        """The settings that a task's container is given."""
        (container,) = self.properties(task)["ContainerDefinitions"]
        secrets = {one["Name"]: one["ValueFrom"] for one in listed(container.get("Secrets"))}
        return {**{one["Name"]: one["Value"] for one in listed(container.get("Environment"))}, **secrets}


def _short(group: str) -> str:
    return group.removesuffix(_GROUP).lower()


def _tier(subnet: str) -> str:
    return re.sub(r"Subnet[A-Z]$", "", subnet)

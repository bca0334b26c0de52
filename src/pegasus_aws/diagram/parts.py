"""The parties of the network as cards: whatever has a security group, with a few facts of what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pegasus_aws.diagram.reading import Place, Templates
from pegasus_aws.plan.policy.system import Json

Kind = Literal["door", "task", "function", "store"]
_Describe = Callable[[Templates, Sequence[Place]], Iterator[str]]

_HOST = ("AWS::EC2::LaunchTemplate", "AWS::EC2::Volume", "AWS::AutoScaling::AutoScalingGroup")
# What belongs to a part without having its security group: they name it, or it names them.
_NAME_IT = (
    *_HOST, "AWS::Neptune::DBInstance", "AWS::Batch::JobQueue", "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::WAFv2::WebACLAssociation",
)  # fmt: skip
_ARE_NAMED = ("AWS::ECS::TaskDefinition", "AWS::EFS::FileSystem", "AWS::ElasticLoadBalancingV2::TargetGroup")


@dataclass(frozen=True, slots=True)
class Part:
    party: str
    title: str
    facts: Sequence[str]
    kind: Kind
    tier: str
    resources: Sequence[Place]


def parts(templates: Templates) -> Sequence[Part]:
    return [_part(templates, party, carriers) for party, carriers in templates.parties().items()]


def _part(templates: Templates, party: str, carriers: Sequence[Place]) -> Part:
    places = list(dict.fromkeys(place for one in carriers for place in (one, *_behind(templates, one))))
    types = {templates.type_of(place) for place in places}
    title, kind, describe = next(found for type_, found in _DESCRIBED.items() if type_ in types)
    tier = next(filter(None, map(templates.tier_of, carriers)), None) or _tier_of_tasks(templates)
    name = title or ("API" if party == "api" else party.capitalize())
    return Part(party, name, tuple(describe(templates, places)), kind, tier, places)


def _tier_of_tasks(templates: Templates) -> str:
    """Of one that is started by hand: where the others are."""
    tiers = (templates.tier_of(place) for place in templates.of("AWS::ECS::Service"))
    return next(tier for tier in tiers if tier)


def _behind(templates: Templates, place: Place) -> Iterator[Place]:
    for named in templates.named_in(place[0], templates.properties(place)):
        if templates.type_of(named) in _ARE_NAMED:
            yield named
    host = templates.type_of(place) == "AWS::EC2::NetworkInterface"
    for other in templates.of(*_NAME_IT):
        # The disk and the group of Neo4j's one host speak of each other in a script only.
        if place in templates.named_by(other) or (host and templates.type_of(other) in _HOST):
            yield other


def _each(templates: Templates, places: Sequence[Place], type_: str) -> Iterator[Json]:
    """The properties of those of a type."""
    return (templates.properties(place) for place in places if templates.type_of(place) == type_)


def _balancer(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for listener in _each(templates, places, "AWS::ElasticLoadBalancingV2::Listener"):
        sent = listener["DefaultActions"][0]["Type"] == "redirect"
        yield f"{listener['Port']}: {'sent to HTTPS' if sent else 'HTTPS, TLS 1.2 and 1.3'}"
    yield from ("behind the web firewall" for _ in _each(templates, places, "AWS::WAFv2::WebACLAssociation"))


def _service(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield from _sizes(templates, places)
    for service in _each(templates, places, "AWS::ECS::Service"):
        if "DesiredCount" in service:
            yield "always one task" if service["DesiredCount"] == 1 else f"{service['DesiredCount']} tasks"
        yield from _scaled(templates, service["ServiceName"])
        strategy = {one["CapacityProvider"]: one for one in service.get("CapacityProviderStrategy", [])}
        if "FARGATE_SPOT" in strategy:
            first = strategy.get("FARGATE", {}).get("Base", 0)
            yield f"from Spot after the first{f' {first}' if first > 1 else ''}" if first else "from Spot"


def _scaled(templates: Templates, service: str) -> Iterator[str]:
    """A service without a number of tasks has one that follows the load."""
    for target in _each(templates, templates.of(_SCALED), _SCALED):
        if target["ResourceId"].endswith(f"/{service}"):
            least, most = target["MinCapacity"], target["MaxCapacity"]
            yield f"{least} to {most} tasks" if most > least else f"{least} tasks"


_SCALED = "AWS::ApplicationAutoScaling::ScalableTarget"


def _scheduled(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield from _sizes(templates, places)
    for schedule in _each(templates, places, "AWS::Scheduler::Schedule"):
        yield f"started by the clock: {schedule['ScheduleExpression']}"
    for batch in _each(templates, places, "AWS::Batch::ComputeEnvironment"):
        yield f"backfills: AWS Batch, up to {batch['ComputeResources']['MaxvCpus']} vCPU"


def _once(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield from _sizes(templates, places)
    yield "once a release"


def _sizes(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for task in _each(templates, places, "AWS::ECS::TaskDefinition"):
        (container,) = task["ContainerDefinitions"]
        yield " ".join(("pegasus", *container["Command"])) if "Command" in container else container["Name"]
        yield f"{int(task['Cpu']) / 1024:g} vCPU, {int(task['Memory']) / 1024:g} GB"


def _rotation(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield "AWS's function (Lambda)"
    for rotation in _each(templates, places, "AWS::SecretsManager::RotationSchedule"):
        yield f"a new password every {rotation['RotationRules']['AutomaticallyAfterDays']} days"


def _database(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for database in _each(templates, places, "AWS::RDS::DBInstance"):
        yield f"PostgreSQL {database['EngineVersion']} on RDS"
        yield database["DBInstanceClass"]
        yield "a standby in another zone" if database["MultiAZ"] else "in one zone"
        yield f"{database['AllocatedStorage']} GB, grows to {database['MaxAllocatedStorage']}"


def _redis(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for group in _each(templates, places, "AWS::ElastiCache::ReplicationGroup"):
        yield f"{group['Engine'].capitalize()} {group['EngineVersion']} on ElastiCache"
        yield group["CacheNodeType"]
        replicas = group.get("NumCacheClusters", 1) - 1
        if group["ClusterMode"] == "enabled":
            replicas = group["ReplicasPerNodeGroup"]
            yield f"a cluster: {_counted(group['NumNodeGroups'], 'shard')}"
        yield f"fails over to {_counted(replicas, 'standby')}" if replicas else "no standby"


def _neptune(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for cluster in _each(templates, places, "AWS::Neptune::DBCluster"):
        scaling = cluster["ServerlessScalingConfiguration"]
        yield f"Neptune {cluster['EngineVersion']}"
        yield f"serverless, {scaling['MinCapacity']:g} to {scaling['MaxCapacity']:g} NCU"
    readers = len(list(_each(templates, places, "AWS::Neptune::DBInstance"))) - 1
    yield f"a writer, {_counted(readers, 'reader')}" if readers else "a writer"


def _neo4j(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for launch in _each(templates, places, "AWS::EC2::LaunchTemplate"):
        yield f"Neo4j on EC2, {launch['LaunchTemplateData']['InstanceType']}"
    for disk in _each(templates, places, "AWS::EC2::Volume"):
        yield f"EBS, {disk['Size']} GB"
    yield from ("a host that fails is replaced" for _ in _each(templates, places, "AWS::AutoScaling::AutoScalingGroup"))


def _files(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield "Chroma's directory, on EFS"
    yield f"reached in {len(list(_each(templates, places, 'AWS::EFS::MountTarget')))} zones"


def _endpoints(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for endpoint in _each(templates, places, "AWS::EC2::VPCEndpoint"):
        yield endpoint["ServiceName"]["Fn::Sub"].rpartition(".")[2]


def _counted(number: int, name: str) -> str:
    several = f"{name.removesuffix('y')}ies" if name.endswith("y") else f"{name}s"
    return f"{number} {name if number == 1 else several}"


# By the type of resource that says what a part is. A pipeline has tasks, too: what starts it goes first.
_DESCRIBED: Mapping[str, tuple[str, Kind, _Describe]] = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ("Load balancer", "door", _balancer),
    "AWS::ECS::Service": ("", "task", _service),
    "AWS::Scheduler::Schedule": ("", "task", _scheduled),
    "AWS::ECS::TaskDefinition": ("", "task", _once),
    "AWS::SecretsManager::RotationSchedule": ("", "function", _rotation),
    "AWS::RDS::DBInstance": ("", "store", _database),
    "AWS::ElastiCache::ReplicationGroup": ("", "store", _redis),
    "AWS::Neptune::DBCluster": ("", "store", _neptune),
    "AWS::EC2::NetworkInterface": ("", "store", _neo4j),
    "AWS::EFS::MountTarget": ("", "store", _files),
    "AWS::EC2::VPCEndpoint": ("", "door", _endpoints),
}

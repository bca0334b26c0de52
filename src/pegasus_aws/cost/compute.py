"""Tasks on Fargate, and the one host."""

from __future__ import annotations

from collections.abc import Iterator

from pegasus_aws.cost.charges import HOURS, Charge, Json, Resource, priced

FARGATE = "ECS on Fargate"
_DISK_INCLUDED_GB = 20
_ARCHITECTURES = {"X86_64": "x86", "ARM64": "arm"}


@priced("AWS::ECS::Service")
def service(resource: Resource) -> Iterator[Charge]:
    """Its tasks for the whole month: those that are always there, and what is assumed above them."""
    task = resource.system.named(resource.stack, resource.properties["TaskDefinition"]["Ref"]).properties
    family = task["ContainerDefinitions"][0]["Name"]
    count = _tasks(resource, family)
    for tasks, factor in _shares(resource.properties.get("CapacityProviderStrategy", []), count):
        yield from _running(task, family, tasks * HOURS, factor)
    network = resource.properties["NetworkConfiguration"]["AwsvpcConfiguration"]
    if network["AssignPublicIp"] == "ENABLED":
        yield Charge("VPC", "public addresses of tasks", count * HOURS, "ipv4")


def _tasks(resource: Resource, family: str) -> float:
    if "DesiredCount" in resource.properties:
        return float(resource.properties["DesiredCount"])
    name = resource.properties["ServiceName"]
    scaled = {target.properties["ResourceId"].rpartition("/")[2]: target for target in _targets(resource)}
    limits = scaled[name].properties
    above = {
        "backend-api": resource.usage.api_tasks_above_least,
        "celery-worker": resource.usage.workers_above_least,
    }[family]
    least, most = float(limits["MinCapacity"]), float(limits["MaxCapacity"])
    return min(least + above, most)


def _targets(resource: Resource) -> list[Resource]:
    return list(resource.system.of("AWS::ApplicationAutoScaling::ScalableTarget"))


def _shares(strategy: list[Json], count: float) -> Iterator[tuple[float, str | None]]:
    """(tasks, factor): first the base of each provider, then by weight; a service without providers is on demand."""
    if not strategy:
        yield count, None
        return
    bases = {one["CapacityProvider"]: min(one.get("Base", 0), count) for one in strategy}
    rest = count - sum(bases.values())
    weights = sum(one.get("Weight", 0) for one in strategy)
    for one in strategy:
        tasks = bases[one["CapacityProvider"]] + rest * one.get("Weight", 0) / weights
        if tasks:
            yield tasks, "spot" if one["CapacityProvider"].endswith("_SPOT") else None


def _running(task: Json, family: str, hours: float, factor: str | None) -> Iterator[Charge]:
    architecture = _ARCHITECTURES[task["RuntimePlatform"]["CpuArchitecture"]]
    kept = task.get("EphemeralStorage", {}).get("SizeInGiB", _DISK_INCLUDED_GB) - _DISK_INCLUDED_GB
    spot = " on Spot" if factor else ""
    yield Charge(
        FARGATE, f"{family}{spot}, vCPU", hours * int(task["Cpu"]) / 1024, f"fargate.{architecture}.vcpu", factor
    )
    yield Charge(
        FARGATE, f"{family}{spot}, memory", hours * int(task["Memory"]) / 1024, f"fargate.{architecture}.gb", factor
    )
    if kept > 0:
        yield Charge(FARGATE, f"{family}, disk beyond {_DISK_INCLUDED_GB} GB", hours * kept, "fargate.disk.gb")


@priced("AWS::Scheduler::Schedule")
def schedule(resource: Resource) -> Iterator[Charge]:
    """The tasks that it starts; the schedules themselves are free up to 14 million a month."""
    started = resource.properties["Target"].get("EcsParameters")
    if started:
        task = resource.system.named(resource.stack, started["TaskDefinitionArn"]["Ref"]).properties
        hours = resource.usage.pipeline_hours * started.get("TaskCount", 1)
        yield from _running(task, task["ContainerDefinitions"][0]["Name"], hours, None)


@priced("AWS::Batch::JobDefinition")
def backfills(resource: Resource) -> Iterator[Charge]:
    container = resource.properties["ContainerProperties"]
    needs = {one["Type"]: float(one["Value"]) for one in container["ResourceRequirements"]}
    task = {
        "RuntimePlatform": container["RuntimePlatform"],
        "EphemeralStorage": container["EphemeralStorage"],
        "Cpu": needs["VCPU"] * 1024,
        "Memory": needs["MEMORY"],
    }
    (environment,) = resource.system.of("AWS::Batch::ComputeEnvironment")
    spot = environment.properties["ComputeResources"]["Type"] == "FARGATE_SPOT"
    yield from _running(task, "backfills", resource.usage.backfill_hours, "spot" if spot else None)


@priced("AWS::AutoScaling::AutoScalingGroup")
def hosts(resource: Resource) -> Iterator[Charge]:
    launch = resource.properties["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
    data = resource.system.named(resource.stack, launch).properties["LaunchTemplateData"]
    count = int(resource.properties["DesiredCapacity"])
    yield Charge("EC2", f"host of the graph, {data['InstanceType']}", count * HOURS, f"ec2.{data['InstanceType']}")
    for disk in data["BlockDeviceMappings"]:
        yield Charge("EC2", "its first disk", count * disk["Ebs"]["VolumeSize"], f"ebs.{disk['Ebs']['VolumeType']}")

"""What runs, and how it is exchanged for the next."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pegasus_aws.plan.policy.system import Found, System, containers, rule


@rule("hardened-container", "Run as a numeric user, with a read-only root and no capability.")
def _hardened_container(system: System) -> Iterator[Found]:
    for stack, name, container in containers(system):
        user = str(container.get("User", ""))
        if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user):
            yield stack, name, f"It runs as {user or 'root'}."
        if container.get("ReadonlyRootFilesystem") not in (True, "true"):
            yield stack, name, "It can write to its own root."
        if container.get("Privileged") in (True, "true"):
            yield stack, name, "It is privileged."


@rule("image-digest", "Name the image as REPOSITORY@${Digest}, of a parameter of migration or services.")
def _image_digest(system: System) -> Iterator[Found]:
    for stack, name, container in containers(system):
        image = json.dumps(container["Image"])
        if not re.search(r"@\$\{\w+Digest\}|@sha256:[0-9a-f]{64}", image):
            yield stack, name, f"A tag can become another image: {image}."
        if stack not in ("migration", "services"):
            yield stack, name, "A release would change this stack too."


@rule("immutable-tags", "Set ImageTagMutability IMMUTABLE, scan on push, and a lifecycle.")
def _immutable_tags(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ECR::Repository"):
        if properties.get("ImageTagMutability") != "IMMUTABLE":
            yield stack, name, "A tag can be moved to another image."
        if properties.get("ImageScanningConfiguration", {}).get("ScanOnPush") not in (True, "true"):
            yield stack, name, "Images are not scanned."
        if "LifecyclePolicy" not in properties:
            yield stack, name, "Images are kept for ever."


@rule("health-check", "Give the container a HealthCheck that needs no curl: ECS ignores the Dockerfile's.")
def _health_check(system: System) -> Iterator[Found]:
    kept = {properties["TaskDefinition"]["Ref"] for _, _, properties in system.of("AWS::ECS::Service")}
    for stack, name, container in containers(system):
        command = json.dumps(container.get("HealthCheck", {}).get("Command", []))
        if name in kept and command == "[]":
            yield stack, name, "Nobody asks it whether it is well."
        if "curl" in command or "wget" in command:
            yield stack, name, "The image has no curl."


@rule("stop-timeout", "Set StopTimeout, at most 120 s, and for workers all of it.")
def _stop_timeout(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ECS::TaskDefinition"):
        for container in properties["ContainerDefinitions"]:
            seconds = container.get("StopTimeout")
            if seconds is None or not 30 < seconds <= 120:
                yield stack, name, f"StopTimeout is {seconds}; work in hand is cut off."


@rule("one-chroma", "Run exactly one task of Chroma: DesiredCount 1, 0 to 100 %, no Spot, no scaling.")
def _one_chroma(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ECS::Service"):
        if not str(properties.get("ServiceName")).endswith("chromadb"):
            continue
        deployment = properties.get("DeploymentConfiguration", {})
        if properties.get("DesiredCount") != 1:
            yield stack, name, f"{properties.get('DesiredCount')} tasks on one directory destroy it."
        if (deployment.get("MinimumHealthyPercent"), deployment.get("MaximumPercent")) != (0, 100):
            yield stack, name, "A deployment would start the new task beside the old one, on one directory."
        if "CapacityProviderStrategy" in properties:
            yield stack, name, "Spot would end it at any moment."
    for stack, name, properties in system.of("AWS::ApplicationAutoScaling::ScalableTarget"):
        if "chromadb" in json.dumps(properties.get("ResourceId")):
            yield stack, name, "It would scale Chroma to several tasks on one directory."


@rule("spot", "Keep Spot for workers; what answers people and what writes files runs on demand.")
def _spot(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ECS::Service"):
        spot = "FARGATE_SPOT" in json.dumps(properties.get("CapacityProviderStrategy", []))
        if spot and not str(properties.get("ServiceName")).endswith("celery-worker"):
            yield stack, name, "Spot may end it with two minutes' notice."


@rule("circuit-breaker", "Enable the circuit breaker with rollback, and the alarms that a release watches.")
def _circuit_breaker(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ECS::Service"):
        breaker = properties.get("DeploymentConfiguration", {}).get("DeploymentCircuitBreaker", {})
        if not (breaker.get("Enable") in (True, "true") and breaker.get("Rollback") in (True, "true")):
            yield stack, name, "A release that does not come up stays."


@rule("alarm-exists", "Name alarms of the stack observability, which is built before the services.")
def _alarm_exists(system: System) -> Iterator[Found]:
    there = {properties.get("AlarmName") for _, _, properties in system.of("AWS::CloudWatch::Alarm")}
    for stack, name, properties in system.of("AWS::ECS::Service"):
        watched = properties.get("DeploymentConfiguration", {}).get("Alarms", {}).get("AlarmNames", [])
        for alarm in watched:
            if alarm not in there:
                yield stack, name, f"The alarm {alarm} that its deployment watches is not there."


@rule("alarm-tells", "Give the alarm the topic as its action, and a description that says where to look.")
def _alarm_tells(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::CloudWatch::Alarm"):
        if not properties.get("AlarmActions") or not properties.get("AlarmDescription"):
            yield stack, name, "It goes off and tells nobody what."


@rule("scaled-service", "Leave DesiredCount out: a release would set it back to that number.")
def _scaled_service(system: System) -> Iterator[Found]:
    scaled = {
        str(one.get("ResourceId")).rpartition("/")[2]
        for _, _, one in system.of("AWS::ApplicationAutoScaling::ScalableTarget")
    }
    for stack, name, properties in system.of("AWS::ECS::Service"):
        if properties.get("ServiceName") in scaled and "DesiredCount" in properties:
            yield stack, name, "It scales, and has a fixed number too."

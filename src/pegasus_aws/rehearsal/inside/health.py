"""Who is well: looks at targets and containers, and lets only that decide about deployments and where requests go.

By itself the emulator takes every target for healthy, completes a deployment when its containers have lived for a
second, and looks at no alarm: a release whose ``/health`` answers 503 would be let through.
"""

from __future__ import annotations

import http.client
import logging
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from docker.errors import DockerException
from ministack.core.responses import request_scope
from ministack.services import alb, cloudwatch, ecs

from pegasus_aws.rehearsal.inside.engine import Engine

_LOG = logging.getLogger("rehearsal.health")
_TICK_SECONDS, _ANSWER_SECONDS = 0.5, 2.0
# What a release waits for on AWS, in minutes, is waited for in seconds here.
_GRACE_SHARE = 1 / 6
Target = tuple[str, str, int]  # Group, address, port.


@dataclass(slots=True)
class Health:
    state: str = "initial"
    passed: int = 0
    failed: int = 0
    why: str = "Elb.InitialHealthChecking"

    def note(self, answer: str, healthy_after: int, unhealthy_after: int) -> None:
        """A new target is well at its first good answer, and one that was sick after several."""
        if not answer:
            self.passed, self.failed = self.passed + 1, 0
            if self.state == "initial" or self.passed >= healthy_after:
                self.state, self.why = "healthy", ""
        else:
            self.passed, self.failed = 0, self.failed + 1
            if self.failed >= unhealthy_after:
                self.state, self.why = "unhealthy", answer


@dataclass(slots=True)
class Monitor:
    engine: Engine
    targets: dict[Target, Health] = field(default_factory=dict)
    # The alarms that were on when a deployment began: AWS does not watch these.
    on_before: dict[str, set[str]] = field(default_factory=dict)

    def run(self) -> None:
        while True:
            try:
                self.look()
            except (DockerException, KeyError, RuntimeError):
                _LOG.exception("looked in vain")  # Something went while it was looked at; there is a next time.
            time.sleep(_TICK_SECONDS)

    def look(self) -> None:
        self._look_at_targets()
        for (account, region, key), service in ecs._services.all_items():
            if service["status"] == "ACTIVE":
                with request_scope(account, region):
                    self._look_at_service(key, service)

    def _look_at_targets(self) -> None:
        there: dict[Target, dict[str, Any]] = {}
        for (account, region, arn), group in alb._tgs.all_items():
            with request_scope(account, region):
                for one in alb._targets.get(arn, []):
                    there[arn, one["Id"], int(one.get("Port") or group["Port"])] = group
        for gone in self.targets.keys() - there.keys():
            del self.targets[gone]
        for target, group in there.items():
            health = self.targets.setdefault(target, Health())
            answer = _ask(target[1], target[2], group)
            health.note(answer, int(group["HealthyThresholdCount"]), int(group["UnhealthyThresholdCount"]))

    def _look_at_service(self, key: str, service: dict[str, Any]) -> None:
        cluster, _, name = key.partition("/")
        for task in list(ecs._tasks.values()):
            ours = task.get("group") == f"service:{name}" and task.get("clusterArn") == service["clusterArn"]
            if ours and task.get("lastStatus") == "RUNNING":
                self._look_at_task(key, service, task)
        self._look_at_alarms(service)
        ecs._refresh_service_state(cluster, f"service:{name}")
        ecs._reconcile_service_tasks(cluster, key)
        ecs._complete_service_deployment(cluster, key)

    def _look_at_task(self, key: str, service: dict[str, Any], task: dict[str, Any]) -> None:
        container, sick = self._container_health(task), self._sick(service, task)
        task["healthStatus"] = "UNKNOWN" if container == "STARTING" else container
        grace = service["healthCheckGracePeriodSeconds"] * _GRACE_SHARE
        if container == "UNHEALTHY":
            _replace(task, "Task failed container health checks")
        elif sick and (task.get("_startup_stable") or _age(task) > grace):
            _replace(task, f"Task failed ELB health checks in ({sick})")
        elif container != "STARTING" and not self._not_yet(service, task):
            ecs._record_service_task_healthy(key, task)

    def _container_health(self, task: dict[str, Any]) -> str:
        """Of the container that has a health check; without one there is nothing to wait for."""
        worst = "UNKNOWN"
        for container in task.get("_docker_ids") or []:
            state = self.engine.client.api.inspect_container(container)["State"].get("Health", {}).get("Status")
            if state == "unhealthy":
                return "UNHEALTHY"
            if state == "starting":
                worst = "STARTING"
            elif state == "healthy" and worst == "UNKNOWN":
                worst = "HEALTHY"
        return worst

    def _of(self, service: dict[str, Any], task: dict[str, Any]) -> list[Health]:
        address = ecs._task_ip(task)
        wanted = [(one["targetGroupArn"], address, int(one["containerPort"])) for one in service["loadBalancers"]]
        return [self.targets.get(target, Health()) for target in wanted]

    def _sick(self, service: dict[str, Any], task: dict[str, Any]) -> str:
        return next((one.why for one in self._of(service, task) if one.state == "unhealthy"), "")

    def _not_yet(self, service: dict[str, Any], task: dict[str, Any]) -> bool:
        return any(one.state != "healthy" for one in self._of(service, task))

    def _look_at_alarms(self, service: dict[str, Any]) -> None:
        watched = (service.get("deploymentConfiguration") or {}).get("alarms") or {}
        deployment = ecs._primary_deployment(service)
        if not watched.get("enable") or not deployment or deployment["rolloutState"] != "IN_PROGRESS":
            return
        on = {name for name in watched["alarmNames"] if cloudwatch._alarms.get(name, {}).get("StateValue") == "ALARM"}
        new = on - self.on_before.setdefault(deployment["id"], on)
        if new:
            _fail(service, deployment, f"alarm detected: {', '.join(sorted(new))}")

    def describe(self, parameters: Any) -> Any:
        """DescribeTargetHealth, by what was seen."""
        arn = alb._p(parameters, "TargetGroupArn")
        if arn not in alb._tgs:
            return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
        asked = {one["Id"] for one in alb._parse_targets_param(parameters)}
        members = ""
        for one in alb._targets.get(arn, []):
            port = int(one.get("Port") or alb._tgs[arn]["Port"])
            health = self.targets.get((arn, one["Id"], port), Health())
            if asked and one["Id"] not in asked:
                continue
            reason = "" if health.state == "healthy" else "<Reason>Target.FailedHealthChecks</Reason>"
            members += (
                f"<member><Target><Id>{one['Id']}</Id><Port>{port}</Port></Target><TargetHealth><State>{health.state}"
                f"</State>{reason}<Description>{health.why}</Description></TargetHealth></member>"
            )
        return alb._xml(200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>")

    def choose(self, arn: str, group: dict[str, Any]) -> dict[str, Any] | None:
        """A healthy target; where all are sick, any of them, as the balancer has it."""
        by_state: dict[str, list[dict[str, Any]]] = {}
        for one in alb._targets.get(arn, []):
            health = self.targets.get((arn, one["Id"], int(one.get("Port") or group["Port"])), Health())
            by_state.setdefault(health.state, []).append(one)
        candidates = by_state.get("healthy") or by_state.get("unhealthy")
        return random.choice(candidates) if candidates else None


def install(engine: Engine) -> None:
    monitor = Monitor(engine)
    plain = alb._forward_to_tg

    async def forward(arn: str, method: str, path: str, headers: Any, body: Any, query: Any,
                      raw_query: Any = None, raw_path: Any = None) -> Any:  # fmt: skip
        group = alb._tgs.get(arn)
        if group is None or group.get("TargetType") != "ip":
            return await plain(arn, method, path, headers, body, query, raw_query, raw_path)
        target = monitor.choose(arn, group)
        if target is None:
            return 503, {"Content-Type": "text/plain"}, b"No target is there to answer."
        return await alb._proxy_http_target(target, group, method, raw_path or path, headers, body, query, raw_query)

    alb._forward_to_tg = forward
    alb._ACTION_MAP["DescribeTargetHealth"] = monitor.describe
    # The monitor completes deployments; nothing is well only because a second has gone by.
    ecs._schedule_service_deployment_completion = lambda *_, **__: None
    threading.Thread(target=monitor.run, daemon=True, name="rehearsal-health").start()


def _ask(address: str, port: int, group: dict[str, Any]) -> str:
    """What is wrong with the answer; nothing when it is as the group wants it."""
    connection = http.client.HTTPConnection(address, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", group["HealthCheckPath"], headers={"User-Agent": "ELB-HealthChecker/2.0"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"Health checks failed: {type(error).__name__}"
    finally:
        connection.close()
    wanted = str(group.get("Matcher", {}).get("HttpCode", "200"))
    return "" if _matches(status, wanted) else f"Health checks failed with these codes: [{status}]"


def _matches(status: int, wanted: str) -> bool:
    for part in wanted.split(","):
        first, _, last = part.partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


def _age(task: dict[str, Any]) -> float:
    return time.monotonic() - float(task.setdefault("_seen_running", time.monotonic()))


def _replace(task: dict[str, Any], reason: str) -> None:
    """The scheduler ends a sick task; it counts against its deployment as one that ended by itself does."""
    if ecs._mark_task_stopped(task["taskArn"], task, reason, "ServiceSchedulerInitiated"):
        ecs._record_service_task_failure(task)
        with suppress(DockerException):
            ecs._cleanup_task_resources(task, ecs._get_docker())


def _fail(service: dict[str, Any], deployment: dict[str, Any], reason: str) -> None:
    """End a deployment as its circuit breaker does, which then goes back to the last good one."""
    deployment["failedTasks"] = ecs._circuit_breaker_threshold(service) - 1
    ecs._record_service_task_failure(
        {
            "group": f"service:{service['serviceName']}",
            "clusterArn": service["clusterArn"],
            "_deployment_id": deployment["id"],
        }
    )
    deployment["rolloutStateReason"] = f"ECS deployment failed: {reason}."

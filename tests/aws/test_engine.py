"""Tasks of the emulator in a container engine: described once, run as described, and judged by their health."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws.emulated import Account, account, resource
from servers import REQUIRED

from pegasus_aws import names
from pegasus_aws.environments import DEVELOPMENT
from pegasus_aws.plan.synthesis import synthesise

pytestmark = [pytest.mark.aws, pytest.mark.timeout(600)]
_SECONDS = 90.0
# The base that the images of Pegasus are built on; a server of a few lines needs no more.
_IMAGE = "python:3.11-slim-bookworm"
_SERVER = """
import http.server, json, os, pathlib, signal, sys
def facts():
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    def writable(path):
        try:
            pathlib.Path(path, "probe").write_text("x")
            return True
        except OSError:
            return False
    return {
        "say": os.environ.get("SAY"), "password": os.environ.get("PASSWORD"), "user": os.getuid(),
        "capabilities": int(status["CapBnd"], 16), "root": writable("/"), "work": writable("/tmp"),
        "directory": writable("/var"), "first": pathlib.Path("/proc/1/comm").read_text().strip(),
    }
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ.get("STATUS", "200")) if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(facts()).encode())
    def log_message(self, *_):
        pass
def stop(*_):
    print("stopping", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("started", flush=True)
if os.environ.get("EXIT"):
    sys.exit(int(os.environ["EXIT"]))
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def engine() -> str:
    """Where a container engine answers; DOCKER_HOST, or the usual place."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not Path(address.removeprefix("unix://")).exists():
        if REQUIRED and os.environ.get("DOCKER_HOST"):
            pytest.fail(f"No container engine answers at {address}.")
        pytest.skip("no container engine; make aws-rehearse brings one")
    return address


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("engine"), DEVELOPMENT, engine=engine()) as made:
        yield made


def template(name: str, *, path: str = "/health", grace: int = 30, **variables: str) -> dict[str, Any]:
    """A service of two tasks behind a balancer."""
    container = {
        "Name": "api", "Image": _IMAGE, "EntryPoint": ["python", "-c", _SERVER], "Essential": True, "StopTimeout": 5,
        "User": "10001:10001", "ReadonlyRootFilesystem": True,
        "LinuxParameters": {"Capabilities": {"Drop": ["ALL"]}, "InitProcessEnabled": True},
        "MountPoints": [{"SourceVolume": "work", "ContainerPath": "/tmp"}],
        "PortMappings": [{"ContainerPort": 8000}],
        "Environment": [{"Name": key, "Value": value} for key, value in variables.items()],
        "Secrets": [{"Name": "PASSWORD", "ValueFrom": {"Fn::Join": ["", [
            {"Fn::GetAtt": ["Secret", "Id"]}, ":password::"]]}}],
        "HealthCheck": {"Command": ["CMD", "true"], "Interval": 10, "StartPeriod": 10},
        "LogConfiguration": {"LogDriver": "awslogs", "Options": {
            "awslogs-group": {"Ref": "Logs"}, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "task"}},
    }  # fmt: skip
    service = resource(
        "AWS::ECS::Service", ServiceName=name, Cluster={"Ref": "Cluster"}, TaskDefinition={"Ref": "Task"},
        LaunchType="FARGATE", DesiredCount=2, HealthCheckGracePeriodSeconds=grace,
        LoadBalancers=[{"ContainerName": "api", "ContainerPort": 8000, "TargetGroupArn": {"Ref": "Targets"}}],
        DeploymentConfiguration={
            "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
            "MinimumHealthyPercent": 100, "MaximumPercent": 200,
            "Alarms": {"AlarmNames": [f"{name}-bad"], "Enable": True, "Rollback": True},
        },
    )  # fmt: skip
    forward = [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}]
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    return {"Resources": {
        "Logs": resource("AWS::Logs::LogGroup", LogGroupName=f"/{name}"),
        "Secret": resource("AWS::SecretsManager::Secret", Name=name, SecretString='{"password": "a-secret"}'),
        "Vpc": resource("AWS::EC2::VPC", CidrBlock="10.0.0.0/16"),
        "Subnet": resource("AWS::EC2::Subnet", CidrBlock="10.0.0.0/20", VpcId={"Ref": "Vpc"}),
        "Balancer": resource("AWS::ElasticLoadBalancingV2::LoadBalancer", Name=name, Subnets=[{"Ref": "Subnet"}]),
        "Targets": resource(
            "AWS::ElasticLoadBalancingV2::TargetGroup", TargetType="ip", Port=8000, Protocol="HTTP",
            VpcId={"Ref": "Vpc"}, HealthCheckPath=path, HealthyThresholdCount=2, UnhealthyThresholdCount=3),
        "Listener": resource("AWS::ElasticLoadBalancingV2::Listener", LoadBalancerArn={"Ref": "Balancer"}, Port=80,
                             Protocol="HTTP", DefaultActions=forward),
        "Bad": resource("AWS::CloudWatch::Alarm", AlarmName=f"{name}-bad", EvaluationPeriods=1, Threshold=1,
                        ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
                        Metrics=[{"Id": "a", "MetricStat": stat}]),
        "Cluster": resource("AWS::ECS::Cluster", ClusterName=name),
        "Task": resource(
            "AWS::ECS::TaskDefinition", Family=name, NetworkMode="awsvpc", RequiresCompatibilities=["FARGATE"],
            Cpu="256", Memory="512", Volumes=[{"Name": "work"}], ContainerDefinitions=[container]),
        "Service": {**service, "DependsOn": ["Listener", "Bad"]},
    }}  # fmt: skip


def answer(one: Account, name: str, path: str = "/") -> dict[str, Any]:
    with urllib.request.urlopen(f"{one.emulator.endpoint}/_alb/{name}{path}", timeout=20) as answered:
        return dict(json.load(answered))


def changed(one: Account, name: str, wanted: dict[str, Any]) -> str:
    status = one.build(name, wanted, "UPDATE")
    one.cloudformation.delete_change_set(StackName=name, ChangeSetName="update")
    return status


def deployments(one: Account, name: str) -> list[dict[str, Any]]:
    return list(one.client("ecs").describe_services(cluster=name, services=[name])["services"][0]["deployments"])


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_task_is_the_container_that_its_definition_says_and_a_good_release_fails_no_request(ours: Account):
    assert ours.build("good", template("good", SAY="one")) == "CREATE_COMPLETE", ours.failures("good")
    first = answer(ours, "good")
    assert first.pop("first") != "python"  # An init process is there before it.
    assert first == {
        "say": "one", "password": "a-secret", "user": 10001, "capabilities": 0,
        "root": False, "work": True, "directory": False,
    }  # fmt: skip

    outcomes, over = Counter[str](), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                outcomes[str(answer(ours, "good")["say"])] += 1
            except (OSError, urllib.error.URLError) as error:
                outcomes[f"failed: {error}"] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert changed(ours, "good", template("good", SAY="two")) == "UPDATE_COMPLETE", ours.failures("good")
        eventually(lambda: len(deployments(ours, "good")) == 1)
    finally:
        over.set()
        asking.join()
    assert outcomes.keys() == {"one", "two"}, outcomes
    assert answer(ours, "good")["say"] == "two"
    logs = ours.client("logs")

    def said() -> set[str]:
        streams = logs.describe_log_streams(logGroupName="/good")["logStreams"]
        pages = [logs.get_log_events(logGroupName="/good", logStreamName=one["logStreamName"]) for one in streams]
        return {event["message"] for page in pages for event in page["events"]}

    eventually(lambda: said() >= {"started", "stopping"})
    assert ours.remove("good") == "DELETE_COMPLETE"


@pytest.mark.parametrize("wrong", ["sick", "ends", "missing"])
def test_a_bad_release_is_taken_back_and_never_serves(ours: Account, wrong: str):
    name = f"bad-{wrong}"
    assert ours.build(name, template(name, SAY="good", grace=12)) == "CREATE_COMPLETE", ours.failures(name)
    if wrong == "sick":
        bad = template(name, SAY="bad", STATUS="503", grace=12)
    elif wrong == "ends":
        bad = template(name, SAY="bad", EXIT="3", grace=12)
    else:
        bad = template(name, SAY="bad", grace=12)
        bad["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0]["Image"] = f"nobody/has@sha256:{'0' * 64}"
    seen, over = Counter[str](), threading.Event()

    def ask() -> None:
        while not over.is_set():
            seen[str(answer(ours, name)["say"])] += 1
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert changed(ours, name, bad) == "UPDATE_ROLLBACK_COMPLETE"
    finally:
        over.set()
        asking.join()
    assert seen.keys() == {"good"}
    assert "Circuit Breaker was triggered" in " ".join(ours.failures(name))
    stopped = ours.client("ecs").list_tasks(cluster=name, desiredStatus="STOPPED")["taskArns"]
    tasks = ours.client("ecs").describe_tasks(cluster=name, tasks=stopped)["tasks"]
    why = {"sick": "Task failed ELB health checks", "ends": "Essential container exited", "missing": "CannotPull"}
    assert any(why[wrong] in one["stoppedReason"] for one in tasks)
    if wrong == "ends":
        assert 3 in {one["containers"][0].get("exitCode") for one in tasks}
    assert ours.remove(name) == "DELETE_COMPLETE"


def test_a_first_deployment_that_does_not_come_up_fails_its_stack(ours: Account):
    assert ours.build("never", template("never", STATUS="500", grace=6)) == "ROLLBACK_COMPLETE"
    assert "Circuit Breaker was triggered" in " ".join(ours.failures("never"))
    assert ours.remove("never") == "DELETE_COMPLETE"
    # Nothing of it is in the way of the next one.
    assert ours.build("never", template("never", SAY="one")) == "CREATE_COMPLETE", ours.failures("never")
    assert ours.remove("never") == "DELETE_COMPLETE"


def test_an_alarm_takes_a_release_back_but_not_one_that_was_on_before(ours: Account):
    name = "alarmed"
    watch = ours.client("cloudwatch")
    assert ours.build(name, template(name, SAY="one", grace=600)) == "CREATE_COMPLETE", ours.failures(name)
    # Its new tasks never get well, and for longer than anybody waits here nothing else would end it.
    which = {"StackName": name, "ChangeSetName": "slow"}
    slow = json.dumps(template(name, SAY="two", STATUS="503", grace=3600))
    ours.cloudformation.create_change_set(**which, ChangeSetType="UPDATE", TemplateBody=slow)
    ours.cloudformation.execute_change_set(**which)
    eventually(lambda: any(one["rolloutState"] == "IN_PROGRESS" for one in deployments(ours, name)))
    time.sleep(2)  # The monitor has seen it without the alarm.
    watch.set_alarm_state(AlarmName=f"{name}-bad", StateValue="ALARM", StateReason="told to")
    assert ours.settled(name) == "UPDATE_ROLLBACK_COMPLETE"
    assert f"alarm detected: {name}-bad" in " ".join(ours.failures(name))
    assert answer(ours, name)["say"] == "one"

    assert changed(ours, name, template(name, SAY="three", grace=600)) == "UPDATE_COMPLETE"
    assert ours.remove(name) == "DELETE_COMPLETE"


def test_target_health_is_what_requests_see(ours: Account):
    name = "seen"
    assert ours.build(name, template(name, SAY="one")) == "CREATE_COMPLETE", ours.failures(name)
    balancers = ours.client("elbv2")
    group = next(one for one in balancers.describe_target_groups()["TargetGroups"] if name in one["TargetGroupName"])

    def states() -> Counter[str]:
        found = balancers.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
        return Counter(one["TargetHealth"]["State"] for one in found)

    eventually(lambda: states() == {"healthy": 2})
    # What is asked for is right for none of them; ECS ends them, as it would, and starts others that are no better.
    balancers.modify_target_group(
        TargetGroupArn=group["TargetGroupArn"], HealthCheckPath="/", Matcher={"HttpCode": "204"}
    )
    eventually(lambda: states()["healthy"] == 0)
    assert ours.remove(name) == "DELETE_COMPLETE"


def test_a_task_that_is_run_once_tells_how_it_ended(ours: Account):
    name = "once"
    assert ours.build(name, template(name, SAY="one")) == "CREATE_COMPLETE", ours.failures(name)
    ecs = ours.client("ecs")
    override = {"containerOverrides": [{"name": "api", "environment": [{"name": "EXIT", "value": "7"}]}]}
    task = ecs.run_task(cluster=name, taskDefinition=name, launchType="FARGATE", overrides=override)["tasks"][0]

    def described() -> dict[str, Any]:
        return dict(ecs.describe_tasks(cluster=name, tasks=[task["taskArn"]])["tasks"][0])

    eventually(lambda: described()["lastStatus"] == "STOPPED")
    assert described()["containers"][0]["exitCode"] == 7
    assert ours.remove(name) == "DELETE_COMPLETE"


def test_nothing_of_it_is_left_in_the_engine(tmp_path: Path):
    address = engine()
    with account(tmp_path, DEVELOPMENT, engine=address) as one:
        assert one.build("left", template("left", SAY="one")) == "CREATE_COMPLETE", one.failures("left")
        process = one.emulator.process
    assert owned(address, process) == ""


def owned(address: str, process: int) -> str:
    found = ""
    for kind in (["container", "ls", "--all"], ["network", "ls"], ["volume", "ls"]):
        found += subprocess.run(
            ["docker", *kind, "--quiet", "--filter", f"label=pegasus.rehearsal={process}"],
            env={**os.environ, "DOCKER_HOST": address}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    return found


_CLIENTS = """
import os, psycopg, redis
from neo4j import GraphDatabase
from redis.cluster import RedisCluster
from urllib.parse import urlsplit
with psycopg.connect(os.environ["DATABASE"]) as database:
    assert database.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    assert database.execute("SHOW server_encoding").fetchone() == ("UTF8",)
assert redis.Redis.from_url(os.environ["BROKER"]).set("a", "1")
assert RedisCluster.from_url(os.environ["CACHE"].partition("?")[0]).set("b", "2")
graph = urlsplit(os.environ["GRAPH"])
with GraphDatabase.driver(f"{graph.scheme}://{graph.hostname}:{graph.port}", auth=("neo4j", graph.password)) as driver:
    assert driver.execute_query("RETURN 1 AS one", database_="neo4j").records[0]["one"] == 1
for name in ("BROKER", "CACHE"):
    try:
        wrong = os.environ[name].partition("?")[0].replace("rediss://dev:", "rediss://dev:wrong")
        redis.Redis.from_url(wrong).ping()
    except redis.AuthenticationError:
        print("refused")
"""


def test_the_stores_are_there_under_the_names_passwords_and_certificates_of_the_templates(tmp_path: Path):
    address = engine()
    with account(tmp_path, DEVELOPMENT, engine=address) as one:
        for stack in synthesise(DEVELOPMENT)[:2]:
            name = names.stack(DEVELOPMENT, stack.name)
            assert one.build(name, stack.body()) == "CREATE_COMPLETE", one.failures(name)

        def secret(name: str) -> dict[str, Any]:
            value = one.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
            return dict(json.loads(value))

        login = secret("pegasus/dev/postgres")
        chief = secret(login["masterarn"])
        variables = {
            "DATABASE": f"host={login['host']} port={login['port']} dbname=pegasus user={chief['username']} "
                        f"password={chief['password']} sslmode=verify-full sslrootcert=/authority.pem",
            "BROKER": secret("pegasus/dev/redis")["broker_url"], "CACHE": secret("pegasus/dev/redis")["cache_url"],
            "GRAPH": secret("pegasus/dev/graph")["url"], "SSL_CERT_FILE": "/authority.pem",
        }  # fmt: skip
        done = subprocess.run(
            ["docker", "run", "--rm", "--network", f"pegasus-rehearsal-{one.emulator.process}",
             "--volume", f"{one.emulator.log.parent / 'authority.pem'}:/authority.pem:ro",
             *(f"--env={key}={value}" for key, value in variables.items()),
             "--entrypoint", "/opt/pegasus/bin/python", "pegasus:local", "-c", _CLIENTS],
            env={**os.environ, "DOCKER_HOST": address}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stdout.split()) == (0, ["refused", "refused"]), done.stderr
        assert one.remove("pegasus-dev-data") == "DELETE_COMPLETE"

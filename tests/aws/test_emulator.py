"""The emulator as a rehearsal uses it: what it would pass falsely by itself, and that it does not in here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws.emulated import Account, account, resource
from botocore.exceptions import ClientError

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import DEVELOPMENT, PRODUCTION, Environment, Network
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.programs import programs_of

pytestmark = [pytest.mark.aws, pytest.mark.timeout(900)]
_SECONDS = 60.0
_DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("ours")) as made:
        yield made


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """As its makers made it, with the types that it lacks."""
    with account(tmp_path_factory.mktemp("stock"), mended=False) as made:
        yield made


def stacks_of(environment: Environment) -> list[tuple[str, Stack, dict[str, str]]]:
    return [
        (names.stack(environment, one.name), one, dict.fromkeys(one.template.to_dict().get("Parameters", {}), _DIGEST))
        for one in synthesise(environment)
    ]


_BUILT = {
    "dev": DEVELOPMENT,
    "production": PRODUCTION.model_copy(update={"protected": False}),
    "without-nat": DEVELOPMENT.model_copy(update={"network": Network(nat_gateways=0)}),
}


@pytest.mark.parametrize("name", _BUILT)
def test_all_stacks_are_built_stay_as_they_are_and_go_again(name: str, tmp_path: Path):
    environment = _BUILT[name]
    with account(tmp_path, environment) as one:
        for stack, made, parameters in stacks_of(environment):
            assert one.build(stack, made.body(), **parameters) == "CREATE_COMPLETE", one.failures(stack)
        for stack, made, parameters in stacks_of(environment):
            assert "didn't contain changes" in one.build(stack, made.body(), "UPDATE", **parameters)
        for stack, _, _ in reversed(stacks_of(environment)):
            assert one.remove(stack) == "DELETE_COMPLETE", stack
        assert left_over(one) == {}


def left_over(one: Account) -> dict[str, list[Any]]:
    """What describe calls still show; what AWS keeps by itself, and what a template retains, is not looked at."""
    ec2 = one.client("ec2")
    found = {
        "addresses": ec2.describe_addresses()["Addresses"],
        "gateways": [it for it in ec2.describe_nat_gateways()["NatGateways"] if it["State"] != "deleted"],
        "interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "flow logs": ec2.describe_flow_logs()["FlowLogs"],
        "services": one.client("ecs").list_services(cluster="pegasus-dev").get("serviceArns", []),
        "balancers": one.client("elbv2").describe_load_balancers()["LoadBalancers"],
        "databases": one.client("rds").describe_db_instances()["DBInstances"],
        "redis": one.client("elasticache").describe_replication_groups()["ReplicationGroups"],
    }
    return {name: there for name, there in found.items() if there}


def test_it_listens_on_loopback_only_and_at_one_port(ours: Account):
    sockets = {str(one.readlink()) for one in Path(f"/proc/{ours.emulator.process}/fd").iterdir()}
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in sockets
    ]
    assert listening == [f"0100007F:{int(ours.emulator.endpoint.rpartition(':')[2]):04X}"]


def test_it_goes_with_whoever_started_it(tmp_path: Path):
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from pegasus_aws.environments import DEVELOPMENT\n"
        "from pegasus_aws.rehearsal.emulator import running_emulator\n"
        "with running_emulator(Path(sys.argv[1]), DEVELOPMENT) as emulator:\n"
        "    print(emulator.process, flush=True)\n    time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    emulator = int(starter.stdout.readline())
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    until = time.monotonic() + _SECONDS
    while Path(f"/proc/{emulator}").exists() and "Z" not in Path(f"/proc/{emulator}/stat").read_text().split()[2]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_another_version_of_the_emulator_is_refused(tmp_path: Path):
    other = tmp_path / "ministack-9.9.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: ministack\nVersion: 9.9.9\n")
    (tmp_path / "pegasus_aws").symlink_to(Path(names.__file__).parent)
    done = subprocess.run(
        [str(programs_of("emulator") / "python"), "-m", "pegasus_aws.rehearsal.inside"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode != 0
    assert "knows ministack 1.5.33, and this is 9.9.9" in done.stderr


def test_what_a_recorded_resource_cannot_be_without_is_asked_for(ours: Account):
    queue = resource("AWS::Batch::JobQueue", Priority=1)
    assert ours.build("lacking", {"Resources": {"Queue": queue}}) == "ROLLBACK_COMPLETE"
    assert "ComputeEnvironmentOrder is missing" in " ".join(ours.failures("lacking"))


def test_a_recorded_resource_cannot_name_what_is_not_there(ours: Account):
    reader = resource("AWS::Neptune::DBInstance", DBInstanceClass="db.serverless", DBClusterIdentifier="nobody's")
    assert ours.build("dangling", {"Resources": {"Reader": reader}}) == "ROLLBACK_COMPLETE"
    assert "names no AWS::Neptune::DBCluster: nobody's" in " ".join(ours.failures("dangling"))


_CONTAINER = {
    "Name": "one",
    "Image": "an-image",
    "Secrets": [{"Name": "PASSWORD", "ValueFrom": "arn:secret:password::"}],
    "HealthCheck": {"Command": ["CMD", "true"], "StartPeriod": 60},
}
_VOLUME = {
    "Name": "data",
    "EFSVolumeConfiguration": {"FilesystemId": "fs-1", "AuthorizationConfig": {"IAM": "ENABLED"}},
}


def _task(one: Account, name: str) -> dict[str, Any]:
    definition = resource("AWS::ECS::TaskDefinition", Family=name, ContainerDefinitions=[_CONTAINER], Volumes=[_VOLUME])
    assert one.build(name, {"Resources": {"Task": definition}}) == "CREATE_COMPLETE"
    return dict(one.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"])


def test_a_task_has_the_secrets_the_health_check_and_the_volume_that_its_template_gives_it(
    stock: Account, ours: Account
):
    # boto3 drops what it does not know, as whoever starts the container would.
    plain = _task(stock, "plain")
    assert plain["containerDefinitions"][0]["secrets"] == [{}]

    task = _task(ours, "mended")
    container = task["containerDefinitions"][0]
    assert container["secrets"] == [{"name": "PASSWORD", "valueFrom": "arn:secret:password::"}]
    assert container["healthCheck"] == {"command": ["CMD", "true"], "startPeriod": 60}
    volume = task["volumes"][0]["efsVolumeConfiguration"]
    assert (volume["fileSystemId"], volume["authorizationConfig"]) == ("fs-1", {"iam": "ENABLED"})


def _service(one: Account, name: str) -> dict[str, Any]:
    resources = {
        "Cluster": resource("AWS::ECS::Cluster", ClusterName=name),
        "Task": resource("AWS::ECS::TaskDefinition", Family=name, ContainerDefinitions=[_CONTAINER]),
        "Service": resource(
            "AWS::ECS::Service", ServiceName=name, Cluster={"Ref": "Cluster"}, TaskDefinition={"Ref": "Task"},
            LaunchType="FARGATE", DesiredCount=2, HealthCheckGracePeriodSeconds=90,
            ServiceRegistries=[{"RegistryArn": "arn:registry"}],
            DeploymentConfiguration={"Alarms": {"AlarmNames": ["bad"], "Enable": True, "Rollback": True}},
        ),
    }  # fmt: skip
    assert one.build(name, {"Resources": resources}) == "CREATE_COMPLETE"
    return dict(one.client("ecs").describe_services(cluster=name, services=[name])["services"][0])


def test_a_service_keeps_its_grace_period_registry_and_alarms(stock: Account, ours: Account):
    plain, mended = _service(stock, "kept"), _service(ours, "kept")

    assert (plain["healthCheckGracePeriodSeconds"], plain["serviceRegistries"]) == (0, [])
    assert (mended["healthCheckGracePeriodSeconds"], mended["serviceRegistries"]) == (
        90, [{"registryArn": "arn:registry"}],
    )  # fmt: skip
    assert mended["deploymentConfiguration"]["alarms"] == {"alarmNames": ["bad"], "enable": True, "rollback": True}


def test_without_a_container_engine_no_task_is_said_to_run(stock: Account, ours: Account):
    plain, mended = _service(stock, "idle"), _service(ours, "idle")

    assert (plain["runningCount"], plain["deployments"][0]["rolloutState"]) == (2, "COMPLETED")
    assert (mended["runningCount"], mended["deployments"][0]["rolloutState"]) == (0, "IN_PROGRESS")
    refused = ours.client("ecs").run_task(cluster="idle", taskDefinition="idle")
    assert refused["tasks"] == []
    assert "no container engine" in refused["failures"][0]["reason"]


def test_a_database_whose_password_is_managed_has_a_secret_with_it_and_takes_it_along(stock: Account, ours: Account):
    database = resource("AWS::RDS::DBInstance", Engine="postgres", DBInstanceClass="db.t4g.micro",
                        AllocatedStorage="20", MasterUsername="chief", ManageMasterUserPassword=True)  # fmt: skip
    database["DeletionPolicy"] = "Delete"
    out = {"Secret": {"Value": {"Fn::GetAtt": ["Database", "MasterUserSecret.SecretArn"]}}}
    template = {"Resources": {"Database": database}, "Outputs": out}

    assert stock.build("managed", template) != "CREATE_COMPLETE"
    assert ours.build("managed", template) == "CREATE_COMPLETE"
    secret = ours.cloudformation.describe_stacks(StackName="managed")["Stacks"][0]["Outputs"][0]["OutputValue"]
    login = json.loads(ours.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    assert login["username"] == "chief"
    assert len(login["password"]) >= 20
    assert ours.remove("managed") == "DELETE_COMPLETE"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        ours.client("secretsmanager").get_secret_value(SecretId=secret)


def _redis(mode: str) -> dict[str, Any]:
    group = resource("AWS::ElastiCache::ReplicationGroup", ReplicationGroupDescription=mode, Engine="valkey",
                     CacheNodeType="cache.t4g.micro", ClusterMode=mode, NumNodeGroups=1)  # fmt: skip
    group["DeletionPolicy"] = "Delete"
    attribute = "ConfigurationEndPoint.Address" if mode == "enabled" else "PrimaryEndPoint.Address"
    out = {"Address": {"Value": {"Fn::GetAtt": ["Group", attribute]}}}
    return {"Resources": {"Group": group}, "Outputs": out}


def test_a_cluster_of_one_shard_is_a_cluster_and_no_two_groups_have_one_address(stock: Account, ours: Account):
    assert stock.build("clustered", _redis("enabled")) != "CREATE_COMPLETE"

    assert ours.build("clustered", _redis("enabled")) == "CREATE_COMPLETE"
    assert ours.build("single", _redis("disabled")) == "CREATE_COMPLETE"
    described = [ours.cloudformation.describe_stacks(StackName=name)["Stacks"][0] for name in ("clustered", "single")]
    cluster, single = (one["Outputs"][0]["OutputValue"] for one in described)
    assert cluster.startswith("clustercfg.")
    assert single.startswith("master.")


def test_an_alarm_of_several_metrics_goes_off_when_it_is_told_to(stock: Account, ours: Account):
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    alarm = resource(
        "AWS::CloudWatch::Alarm", AlarmName="several", ComparisonOperator="GreaterThanThreshold", Threshold=1,
        EvaluationPeriods=1, TreatMissingData="notBreaching",
        Metrics=[{"Id": "a", "MetricStat": stat, "ReturnData": False}, {"Id": "b", "Expression": "a * 2"}],
    )  # fmt: skip
    template = {"Resources": {"Alarm": alarm}}

    assert stock.build("alarm", template) != "CREATE_COMPLETE"
    assert ours.build("alarm", template) == "CREATE_COMPLETE"
    watch = ours.client("cloudwatch")

    def state() -> str:
        return str(watch.describe_alarms(AlarmNames=["several"])["MetricAlarms"][0]["StateValue"])

    assert state() == "OK"
    watch.set_alarm_state(AlarmName="several", StateValue="ALARM", StateReason="told to")
    assert state() == "ALARM"


def test_what_is_protected_stays_until_that_is_taken_back(stock: Account, ours: Account):
    def template(protected: bool) -> dict[str, Any]:
        database = resource("AWS::RDS::DBInstance", Engine="postgres", DBInstanceClass="db.t4g.micro",
                            AllocatedStorage="20", MasterUsername="chief", MasterUserPassword="a-password",
                            DeletionProtection=protected)  # fmt: skip
        return {"Resources": {"Database": {**database, "DeletionPolicy": "Delete"}}}

    for one, status in ((stock, "DELETE_COMPLETE"), (ours, "DELETE_FAILED")):
        assert one.build("guarded", template(True)) == "CREATE_COMPLETE"
        assert one.remove("guarded") == status
    assert "deletion protection" in " ".join(ours.failures("guarded"))
    ours.client("rds").modify_db_instance(
        DBInstanceIdentifier=ours.client("rds").describe_db_instances()["DBInstances"][0]["DBInstanceIdentifier"],
        DeletionProtection=False,
    )
    assert ours.remove("guarded") == "DELETE_COMPLETE"


def test_a_generated_password_has_no_character_that_it_may_not_have(stock: Account, ours: Account):
    asked = {"SecretStringTemplate": '{"username": "me"}', "GenerateStringKey": "password",
             "PasswordLength": 128, "ExcludePunctuation": True}  # fmt: skip
    template = {
        "Resources": {"Secret": resource("AWS::SecretsManager::Secret", Name="made", GenerateSecretString=asked)}
    }

    def made(one: Account) -> dict[str, str]:
        assert one.build("secret", template) == "CREATE_COMPLETE"
        return dict(json.loads(one.client("secretsmanager").get_secret_value(SecretId="made")["SecretString"]))

    assert not made(stock)["password"].isalnum()
    login = made(ours)
    assert (login["username"], len(login["password"]), login["password"].isalnum()) == ("me", 128, True)

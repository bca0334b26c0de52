"""What the templates say, trap by trap; the numbers are those of the list of traps in decision 22."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from pegasus.identifiers import UPLOADS
from pegasus.settings import Settings
from pegasus_aws import application, names
from pegasus_aws.environments import DEVELOPMENT, ENVIRONMENTS, PRODUCTION, Environment, Google, Network
from pegasus_aws.plan.policy import System
from pegasus_aws.plan.synthesis import synthesise, system_of

_STORES = ("AWS::RDS::DBInstance", "AWS::Neptune::DBCluster", "AWS::ElastiCache::ReplicationGroup")
# Of Google's agent, whose settings have a name before they have an adapter.
_TO_COME = {
    "VERTEX_AI_PROJECT_ID", "VERTEX_AI_LOCATION", "VERTEX_AI_AGENT_ENGINE_ID", "VERTEX_AI_AUDIENCE",
    "VERTEX_AI_SERVICE_ACCOUNT_KEY",
}  # fmt: skip


@cache
def built(name: str) -> System:
    return system_of(ENVIRONMENTS[name], synthesise(ENVIRONMENTS[name]))


def changed(environment: Environment, **values: Any) -> System:
    made = environment.model_copy(update=values)
    return system_of(made, synthesise(made))


def properties(system: System, stack: str, name: str) -> Mapping[str, Any]:
    return system.templates[stack]["Resources"][name]["Properties"]


def container(system: System, task: str) -> Mapping[str, Any]:
    stack = "migration" if task in ("RolesTask", "MigrationTask") else "services"
    return properties(system, stack, task)["ContainerDefinitions"][0]


def environments() -> Any:
    return pytest.mark.parametrize("name", ENVIRONMENTS)


@environments()
def test_broker_and_cache_are_two_and_only_the_cache_is_a_cluster(name: str):
    """Traps 1 and 3."""
    broker, cache_ = (properties(built(name), "data", one) for one in ("Broker", "Cache"))

    assert (broker["ClusterMode"], cache_["ClusterMode"]) == ("disabled", "enabled")
    assert properties(built(name), "data", "BrokerParameters")["Properties"]["maxmemory-policy"] == "noeviction"
    assert broker["SecurityGroupIds"] != cache_["SecurityGroupIds"]
    assert broker["TransitEncryptionMode"] == cache_["TransitEncryptionMode"] == "required"


def test_a_password_of_redis_needs_no_quoting_in_a_url():
    """Trap 2."""
    generated = properties(built("dev"), "data", "RedisUserSecret")["GenerateSecretString"]

    assert (generated["PasswordLength"], generated["ExcludePunctuation"]) == (64, True)
    assert "rediss://" in json.dumps(properties(built("dev"), "data", "RedisSecret")["SecretString"])


@environments()
def test_what_clients_send_and_never_hand_in_ends(name: str):
    rules = properties(built(name), "data", "FilesBucket")["LifecycleConfiguration"]["Rules"]
    (url,) = (
        e["Value"] for e in container(built(name), "BackendApiTask")["Environment"] if e["Name"] == "PEGASUS_FILES_URL"
    )
    prefix = url["Fn::Sub"][0].partition("?")[0].removeprefix("s3://${Bucket}/")

    assert [rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == f"{prefix}/{UPLOADS}/"] == [2]
    assert not any(rule.get("ExpirationInDays") for rule in rules if "Prefix" not in rule)


@environments()
def test_workers_scale_by_backlog_per_task_measured_by_the_scheduler(name: str):
    """Trap 5."""
    policy = properties(built(name), "services", "CeleryWorkerBacklogScaling")[
        "TargetTrackingScalingPolicyConfiguration"
    ]
    metrics = {one["Id"]: one for one in policy["CustomizedMetricSpecification"]["Metrics"]}

    assert policy["TargetValue"] == 50
    assert "waiting / " in metrics["backlog"]["Expression"]
    assert metrics["running"]["MetricStat"]["Stat"] == "SampleCount"
    assert properties(built(name), "observability", "QueueWaitingMetric")["LogGroupName"] == {"Ref": "SchedulerLogs"}


@environments()
def test_only_workers_run_on_spot_and_the_first_of_them_do_not(name: str):
    """Trap 6."""
    strategy = properties(built(name), "services", "CeleryWorkerService")["CapacityProviderStrategy"]

    assert ENVIRONMENTS[name].worker.on_demand == sum(one.get("Base", 0) for one in strategy)
    assert container(built(name), "CeleryWorkerTask")["StopTimeout"] == 120


@environments()
def test_a_worker_may_protect_its_own_task_and_no_other_role_may(name: str):
    """Trap 7."""
    may = [role for _, role, one in built(name).of("AWS::IAM::Role") if "ecs:UpdateTaskProtection" in json.dumps(one)]

    assert may == ["CeleryWorkerTaskRole"]


@environments()
def test_health_is_asked_in_the_task_definition_without_curl(name: str):
    """Trap 8."""
    for task in ("BackendApiTask", "CeleryWorkerTask", "SchedulerTask"):
        assert "http://127.0.0.1:8000/health" in container(built(name), task)["HealthCheck"]["Command"][-1]
        told = {one["Name"]: one["Value"] for one in container(built(name), task)["Environment"]}
        assert told["PEGASUS_PORT"] == "8000"
        assert told["PEGASUS_HOST"] == ("0.0.0.0" if task == "BackendApiTask" else "127.0.0.1")
    assert "/heartbeat" in container(built(name), "ChromadbTask")["HealthCheck"]["Command"][-1]


@environments()
def test_secrets_are_named_by_their_whole_arn_and_a_key(name: str):
    """Trap 9."""
    secrets = {one["Name"]: one["ValueFrom"] for one in container(built(name), "BackendApiTask")["Secrets"]}

    imported = {"Fn::ImportValue": f"pegasus-{name}-data-PostgresSecret"}
    assert {"Fn::Join": ["", [imported, ":password::"]]} == secrets["PGPASSWORD"]


@environments()
def test_a_deployment_rolls_back_by_itself_and_watches_alarms_that_are_built_before(name: str):
    """Trap 10."""
    for service, family in (("BackendApiService", "backend-api"), ("CeleryWorkerService", "celery-worker")):
        deployment = properties(built(name), "services", service)["DeploymentConfiguration"]
        assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
        watched = [names.alarm(ENVIRONMENTS[name], one) for one in names.RELEASE_ALARMS[family]]
        assert watched == deployment["Alarms"]["AlarmNames"]
    assert names.STACKS.index("observability") < names.STACKS.index("services")


@environments()
def test_a_deployment_has_room_for_a_new_task_however_few_there_are(name: str):
    """ECS rounds down: 150 per cent of one task is one, and then nothing is exchanged, for ever."""
    fleets = {"BackendApiService": ENVIRONMENTS[name].api, "CeleryWorkerService": ENVIRONMENTS[name].worker}
    for service, fleet in fleets.items():
        most = properties(built(name), "services", service)["DeploymentConfiguration"]["MaximumPercent"]
        assert all(tasks * most // 100 > tasks for tasks in range(fleet.least, fleet.most + 1))


@environments()
def test_only_what_a_release_changes_knows_a_digest(name: str):
    """Trap 11: what a release changes is a parameter, and of the task that runs before it."""
    known = {"services": {"BackendDigest", "ChromaDigest"}, "migration": {"BackendDigest"}}
    for stack, template in built(name).templates.items():
        digests = {one for one in template.get("Parameters", {}) if one.endswith("Digest")}
        assert digests == known.get(stack, set())
    pattern = built(name).templates["services"]["Parameters"]["BackendDigest"]["AllowedPattern"]
    assert pattern == "^sha256:[0-9a-f]{64}$"


def test_google_is_reached_by_federation_and_a_key_is_only_the_fallback():
    """Trap 14."""
    federated = Google(project_id="p", agent_engine_id="1", audience="//iam.googleapis.com/projects/1")
    for google, by_key in ((federated, False), (federated.model_copy(update={"audience": None}), True)):
        system = changed(PRODUCTION, google=google)
        told = {one["Name"] for one in container(system, "BackendApiTask")["Environment"]}
        read = {one["Name"] for one in container(system, "BackendApiTask")["Secrets"]}
        assert {"VERTEX_AI_PROJECT_ID", "VERTEX_AI_LOCATION", "VERTEX_AI_AGENT_ENGINE_ID"} <= told
        assert by_key == ("VERTEX_AI_SERVICE_ACCOUNT_KEY" in read) == ("VERTEX_AI_AUDIENCE" not in told)
        assert by_key == ("GoogleSecret" in system.templates["data"]["Resources"])


@environments()
def test_chroma_is_one_task_that_ends_before_the_next_one_starts(name: str):
    """Trap 15."""
    service = properties(built(name), "services", "ChromadbService")
    deployment = service["DeploymentConfiguration"]

    assert (service["DesiredCount"], deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (1, 0, 100)
    assert service["LaunchType"] == "FARGATE"


@environments()
def test_the_database_is_asked_for_its_certificate_and_no_url_has_a_password(name: str):
    """Trap 16."""
    told = {one["Name"]: json.dumps(one["Value"]) for one in container(built(name), "BackendApiTask")["Environment"]}

    assert f"sslmode=verify-full&sslrootcert={application.DATABASE_AUTHORITIES}" in told["DATABASE_URL"]
    assert "@" not in told["DATABASE_URL"]


def test_neptune_is_private_and_signed_for_by_those_who_ask_it_only():
    """Trap 18."""
    system = built("production")
    may = {role for _, role, one in system.of("AWS::IAM::Role") if "neptune-db:connect" in json.dumps(one)}

    assert properties(system, "data", "Graph")["IamAuthEnabled"]
    assert {"BackendApiTaskRole", "CeleryWorkerTaskRole", "SchedulerTaskRole", "DataPipelineTaskRole"} == may
    assert "auth=sigv4" in json.dumps(system.templates["data"]["Outputs"]["GraphUrl"])


@environments()
def test_the_schema_is_brought_forward_by_a_task_of_its_own(name: str):
    """Trap 19: never when a container starts."""
    commands = {task: one["ContainerDefinitions"][0].get("Command") for _, task, one in tasks(built(name))}

    assert commands["MigrationTask"] == ["schema", "upgrade"]
    assert {"PGUSER", "PGPASSWORD"} == {one["Name"] for one in container(built(name), "MigrationTask")["Secrets"]}


@environments()
def test_only_the_task_that_makes_roles_knows_the_administrator_of_the_database(name: str):
    system = built(name)
    secret = {"Fn::ImportValue": f"pegasus-{name}-data-DatabaseAdminSecret"}
    told = {one["Name"]: one["ValueFrom"] for one in container(system, "RolesTask")["Secrets"]}
    by_name = json.loads(
        properties(system, "data", "PostgresSecret")["GenerateSecretString"]["SecretStringTemplate"]["Fn::Sub"]
    )

    assert container(system, "RolesTask")["Command"][:2] == ["schema", "roles"]
    # AWS's function makes its second login of the first one's name.
    assert container(system, "RolesTask")["Command"][2:] == [by_name["username"], f"{by_name['username']}_clone"]
    assert told["PEGASUS_DATABASE_ADMIN_PASSWORD"] == {"Fn::Join": ["", [secret, ":password::"]]}
    assert [role for _, role, one in system.of("AWS::IAM::Role") if json.dumps(secret) in json.dumps(one)] == [
        "RolesExecutionRole"
    ]
    assert [task for _, task, one in tasks(system) if json.dumps(secret) in json.dumps(one)] == ["RolesTask"]
    assert statements(properties(system, "platform", "RolesTaskRole")) == []


@environments()
def test_a_stream_outlives_its_silences(name: str):
    """Trap 20: a heartbeat comes every 15 s."""
    attributes = properties(built(name), "platform", "Balancer")["LoadBalancerAttributes"]

    assert {"Key": "idle_timeout.timeout_seconds", "Value": "120"} in attributes


@environments()
def test_the_firewall_lets_content_through_and_hides_keys(name: str):
    """Trap 21."""
    rules = {one["Name"]: one for one in properties(built(name), "platform", "Firewall")["Rules"]}
    last = json.dumps(rules["bodies-elsewhere"])

    assert "core-rule-set:SizeRestrictions_Body" in last
    assert all(path in last for path in ("/v1/documents", "/v1/ask", "/v1/search", "/v1/sessions"))
    assert max(rules.values(), key=lambda one: one["Priority"])["Name"] == "bodies-elsewhere"


@environments()
def test_the_certificate_is_proved_in_a_zone_that_was_there_before(name: str):
    """Trap 22."""
    assert not list(built(name).of("AWS::Route53::HostedZone"))
    option = properties(built(name), "platform", "Certificate")["DomainValidationOptions"][0]
    assert ENVIRONMENTS[name].hosted_zone_id == option["HostedZoneId"]


@environments()
def test_the_door_to_s3_is_free_and_others_stand_in_for_a_missing_nat_gateway_only(name: str):
    """Trap 24."""
    without = changed(ENVIRONMENTS[name], network=Network(nat_gateways=0))

    assert [endpoint for _, endpoint, _ in built(name).of("AWS::EC2::VPCEndpoint")] == ["S3Endpoint"]
    assert len(list(without.of("AWS::EC2::VPCEndpoint"))) == 3
    assert not list(without.of("AWS::EC2::NatGateway"))
    network = properties(without, "services", "BackendApiService")["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "ENABLED"


@environments()
def test_nothing_with_data_can_be_lost_by_a_change_of_its_stack(name: str):
    for stack, resource, body in built(name).resources():
        if body["Type"] in (*_STORES, "AWS::EFS::FileSystem", "AWS::S3::Bucket", "AWS::EC2::Volume", "AWS::KMS::Key"):
            assert body["DeletionPolicy"] in ("Snapshot", "RetainExceptOnCreate"), (stack, resource)
    protected = properties(built(name), "data", "Database")["DeletionProtection"]
    assert ENVIRONMENTS[name].protected == protected


@environments()
def test_each_task_reads_its_own_secrets_and_no_others(name: str):
    """Least privilege: what a task is told it may read is what its starter may read."""
    system = built(name)
    for _, task, body in tasks(system):
        told = {json.dumps(one["ValueFrom"]["Fn::Join"][1][0]) for one in container(system, task).get("Secrets", [])}
        role = properties(system, "platform", f"{task.removesuffix('Task')}ExecutionRole")
        may = {
            json.dumps(secret)
            for statement in statements(role)
            if "secretsmanager:GetSecretValue" in statement["Action"]
            for secret in statement["Resource"]
        }
        assert told == may, task
        assert body["ExecutionRoleArn"] == {
            "Fn::ImportValue": f"pegasus-{name}-platform-{task.removesuffix('Task')}ExecutionRole"
        }


@environments()
def test_chroma_may_nothing_but_mount_its_directory(name: str):
    role = properties(built(name), "platform", "ChromadbTaskRole")

    mount = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    assert [one["Action"] for one in statements(role)] == [mount]
    assert container(built(name), "ChromadbTask")["Secrets"] == []


@environments()
def test_settings_are_those_that_the_application_knows(name: str):
    known = {field.validation_alias or f"PEGASUS_{setting.upper()}" for setting, field in Settings.model_fields.items()}
    of_others = {"PGUSER", "PGPASSWORD", "ANONYMIZED_TELEMETRY"}  # libpq's and Chroma's
    for _, task, body in tasks(built(name)):
        one = body["ContainerDefinitions"][0]
        told = {setting["Name"] for setting in [*one["Environment"], *one["Secrets"]]}
        assert told <= known | _TO_COME | of_others, task


def test_environments_differ_in_values_only():
    """Development with production's values is production, but for its name."""
    like = PRODUCTION.model_copy(update={"name": "dev"})
    made = json.dumps({stack.name: stack.template.to_dict() for stack in synthesise(like)})

    expected = json.dumps({stack.name: stack.template.to_dict() for stack in synthesise(PRODUCTION)})
    assert made == expected.replace("production", "dev")


def test_the_host_of_neo4j_starts_with_a_sound_script_that_has_no_secret():
    launch = properties(built("dev"), "data", "GraphLaunch")["LaunchTemplateData"]
    script, values = launch["UserData"]["Fn::Base64"]["Fn::Sub"]
    given = {"AWS::StackName": "s", "AWS::Region": "r", "GraphDisk": "vol-1", "GraphUserSecret.Id": "x"}
    for name, value in {**values, **given}.items():
        script = script.replace(f"${{{name}}}", value)
    script = script.replace("${!", "${")

    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""
    assert "${AWS" not in script
    assert launch["MetadataOptions"]["HttpTokens"] == "required"


def test_the_default_way_out_of_a_group_is_closed():
    for _, _, one in built("production").of("AWS::EC2::SecurityGroup"):
        assert [rule["CidrIp"] for rule in one["SecurityGroupEgress"]] == ["127.0.0.1/32"]


def test_development_lets_nobody_but_the_balancer_hear_the_internet():
    system = changed(DEVELOPMENT, network=Network(nat_gateways=0))
    open_ = [one for _, _, one in system.of("AWS::EC2::SecurityGroupIngress") if "CidrIp" in one]

    assert {json.dumps({"Ref": "BalancerSecurityGroup"})} == {json.dumps(one["GroupId"]) for one in open_}


def tasks(system: System) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    return system.of("AWS::ECS::TaskDefinition")


def statements(role: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for policy in role.get("Policies", []) for one in policy["PolicyDocument"]["Statement"]]

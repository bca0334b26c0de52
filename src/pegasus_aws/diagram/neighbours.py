"""What stands beside the network: services of the region that have no place in a subnet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pegasus_aws.diagram.reading import Place, Templates


@dataclass(frozen=True, slots=True)
class Neighbour:
    title: str
    facts: Sequence[str]
    resources: Sequence[Place]


def neighbours(templates: Templates) -> Sequence[Neighbour]:
    return [
        Neighbour(title, tuple(describe(templates, places)), places)
        for title, types, describe in _NEIGHBOURS
        if (places := templates.of(*types))
    ]


def network_facts(templates: Templates) -> Iterator[str]:
    for _, _, endpoint in templates.system.of("AWS::EC2::VPCEndpoint"):
        if endpoint["VpcEndpointType"] == "Gateway":
            yield f"{endpoint['ServiceName']['Fn::Sub'].rpartition('.')[2].upper()} through a door of its own"
    for _, _, flows in templates.system.of("AWS::EC2::FlowLog"):
        yield f"{'refused' if flows['TrafficType'] == 'REJECT' else 'all'} connections are logged"


def asked_outside(templates: Templates) -> Sequence[str]:
    """What tasks ask on the internet, by their settings and by the ports that are open for them."""
    told = {name for task in templates.of("AWS::ECS::TaskDefinition") for name in templates.told(task)}
    return ["AWS", *(["Vertex AI"] if "VERTEX_AI_PROJECT_ID" in told else []), "pages", "mailboxes"]


def _domain(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    names = [templates.properties(place).get("Name") for place in places]
    yield from filter(None, names)
    yield from ("certificate by ACM" for name in names if not name)


def _firewall(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        yield f"{len(templates.properties(place)['Rules'])} rules"


def _buckets(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    tasks = templates.of("AWS::ECS::TaskDefinition")
    for place in places:
        users = [_family(templates, task) for task in tasks if place in _told(templates, task)]
        yield ": ".join(filter(None, (place[1].removesuffix("Bucket").lower(), ", ".join(users))))


def _family(templates: Templates, task: Place) -> str:
    return str(templates.properties(task)["ContainerDefinitions"][0]["Name"])


def _told(templates: Templates, task: Place) -> set[Place]:
    return set(templates.named_in(task[0], dict(templates.told(task))))


def _secrets(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield f"{len(places)}, read when a task starts"
    for _, _, rotation in templates.system.of("AWS::SecretsManager::RotationSchedule"):
        yield f"one changes every {rotation['RotationRules']['AutomaticallyAfterDays']} days"


def _keys(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        turns = templates.properties(place).get("EnableKeyRotation")
        yield f"a key of our own{', changed yearly' if turns else ''}"


def _repositories(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    yield "images, by digest"
    yield ", ".join(templates.properties(place)["RepositoryName"].rpartition("/")[2] for place in places)


def _logs(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    kept = [days for place in places if (days := templates.properties(place).get("RetentionInDays"))]
    yield f"{len(kept)} logs, kept {' or '.join(map(str, sorted(set(kept))))} days"
    yield f"{len(places) - len(kept)} alarms"


def _topics(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        values = templates.properties(place)
        if "Endpoint" in values:
            yield f"alarms by {values['Protocol']}: {values['Endpoint']}"


def _backups(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        for rule in templates.properties(place)["BackupPlan"]["BackupPlanRule"]:
            yield f"{rule['RuleName']}, kept {rule['Lifecycle']['DeleteAfterDays']} days"


def _clock(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    starts = sum("EcsParameters" in templates.properties(place)["Target"] for place in places)
    yield f"{starts} starts tasks" if starts == 1 else f"{starts} start tasks"
    yield f"{len(places) - starts} exchange tasks for new ones"


def _names(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    kinds = {place: templates.type_of(place).rpartition("::")[2] for place in places}
    names = [templates.properties(place)["Name"] for place, kind in kinds.items() if kind == "Service"]
    spaces = [templates.properties(place)["Name"] for place, kind in kinds.items() if kind != "Service"]
    yield f"{', '.join(names)} in {', '.join(spaces)}"


def _roles(templates: Templates, places: Sequence[Place]) -> Iterator[str]:
    tasks = {
        role
        for task in templates.of("AWS::ECS::TaskDefinition")
        for role in templates.named_in(task[0], templates.properties(task))
        if role in places
    }
    yield f"{len(tasks)} roles of tasks, two for each family"
    yield f"{len(places) - len(tasks)} of services of AWS"


_NEIGHBOURS: Sequence[tuple[str, Sequence[str], Callable[[Templates, Sequence[Place]], Iterator[str]]]] = (
    ("Route 53, ACM", ("AWS::Route53::RecordSet", "AWS::CertificateManager::Certificate"), _domain),
    ("Web firewall", ("AWS::WAFv2::WebACL",), _firewall),
    ("S3", ("AWS::S3::Bucket",), _buckets),
    ("Secrets Manager", ("AWS::SecretsManager::Secret",), _secrets),
    ("KMS", ("AWS::KMS::Key",), _keys),
    ("ECR", ("AWS::ECR::Repository",), _repositories),
    ("CloudWatch", ("AWS::Logs::LogGroup", "AWS::CloudWatch::Alarm"), _logs),
    ("SNS", ("AWS::SNS::Topic", "AWS::SNS::Subscription"), _topics),
    ("AWS Backup", ("AWS::Backup::BackupPlan",), _backups),
    ("EventBridge Scheduler", ("AWS::Scheduler::Schedule",), _clock),
    ("Cloud Map", ("AWS::ServiceDiscovery::Service", "AWS::ServiceDiscovery::PrivateDnsNamespace"), _names),
    ("IAM", ("AWS::IAM::Role",), _roles),
)

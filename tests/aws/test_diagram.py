"""The pictures of a deployment: all of it, nothing else, and to be read."""

from __future__ import annotations

import copy
import re
import struct
from importlib.resources import files
from pathlib import Path

import pytest
from aws.drawn import Drawn, advances
from aws.generated import environments
from aws.test_plan_command import run
from hypothesis import HealthCheck, given, settings

from pegasus_aws.diagram import architecture, letters, reachability
from pegasus_aws.diagram.drawing import draw
from pegasus_aws.diagram.png import as_png
from pegasus_aws.diagram.reading import Templates
from pegasus_aws.environments import DEVELOPMENT, PRODUCTION, Environment, Google, Network
from pegasus_aws.plan.policy.system import System
from pegasus_aws.plan.synthesis import synthesise, system_of
from pegasus_aws.reachability import flows

WITHOUT_NAT = DEVELOPMENT.model_copy(update={"network": Network(nat_gateways=0)})
SHOWN = pytest.mark.parametrize("one", [DEVELOPMENT, PRODUCTION, WITHOUT_NAT], ids=["dev", "production", "without-nat"])
# What a picture leaves out: how things are tied, named, allowed and watched. Whoever adds a type says which it is.
LEFT_OUT = {
    "AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Backup::BackupSelection", "AWS::Backup::BackupVault",
    "AWS::Batch::JobDefinition", "AWS::EC2::EIP", "AWS::EC2::EIPAssociation", "AWS::EC2::FlowLog",
    "AWS::EC2::InternetGateway", "AWS::EC2::Route", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup",
    "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::Subnet",
    "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPC", "AWS::EC2::VPCGatewayAttachment", "AWS::ECS::Cluster",
    "AWS::ECS::ClusterCapacityProviderAssociations", "AWS::EFS::AccessPoint", "AWS::ElastiCache::ParameterGroup",
    "AWS::ElastiCache::SubnetGroup", "AWS::ElastiCache::User", "AWS::ElastiCache::UserGroup",
    "AWS::ElasticLoadBalancingV2::ListenerRule", "AWS::IAM::InstanceProfile", "AWS::KMS::Alias",
    "AWS::Logs::MetricFilter", "AWS::Neptune::DBClusterParameterGroup", "AWS::Neptune::DBParameterGroup",
    "AWS::Neptune::DBSubnetGroup", "AWS::RDS::DBParameterGroup", "AWS::RDS::DBSubnetGroup", "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy", "AWS::Scheduler::ScheduleGroup", "AWS::ServiceDiscovery::Instance",
    "AWS::WAFv2::LoggingConfiguration",
}  # fmt: skip
# Shown in words, once for the network, not as a card.
IN_WORDS = {("network", "S3Endpoint")}


def system(one: Environment) -> System:
    return system_of(one, synthesise(one))


def expected(one: Environment) -> list[str]:
    return sorted(f"{flow.source}>{flow.target}:{flow.port}" for flow in flows(one))


@SHOWN
def test_every_resource_that_runs_or_keeps_something_has_a_card(one: Environment):
    made = system(one)
    shown = {name for card in Drawn(architecture.draw(made)).cards for name in card.resources}

    missing = {
        f"{stack}/{name} is an {resource['Type']}"
        for stack, name, resource in made.resources()
        if resource["Type"] not in LEFT_OUT and f"{stack}/{name}" not in shown and (stack, name) not in IN_WORDS
    }

    assert missing == set()
    assert shown <= {f"{stack}/{name}" for stack, name, _ in made.resources()}


@SHOWN
def test_each_way_has_its_arrow_in_both_pictures_and_there_is_no_other(one: Environment):
    assert sorted(Drawn(architecture.draw(system(one))).arrows("data-arrows")) == expected(one)
    assert sorted(Drawn(reachability.draw(system(one))).arrows("data-arrow")) == expected(one)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(environments())
def test_pictures_of_any_environment_can_be_read(one: Environment):
    made = system(one)

    for svg, attribute in ((architecture.draw(made), "data-arrows"), (reachability.draw(made), "data-arrow")):
        drawn = Drawn(svg)
        assert sorted(drawn.arrows(attribute)) == expected(one)
        _can_be_read(drawn)


@SHOWN
def test_words_are_in_their_boxes_and_nothing_lies_over_something_else(one: Environment):
    for draw_one in (architecture.draw, reachability.draw):
        _can_be_read(Drawn(draw_one(system(one))))


def _can_be_read(drawn: Drawn) -> None:
    words, cards, labels = drawn.words, drawn.cards, drawn.labels
    assert all(one.within(drawn.whole) for one in words)
    for label in labels:
        assert [word for word in label.words if not word.within(label.box)] == []
    for index, word in enumerate(words):
        assert [other for other in words[index + 1 :] if word.meets(other)] == []
    boxes = [label.box for label in labels]
    for index, box in enumerate(boxes):
        assert [other for other in boxes[index + 1 :] if box.meets(other)] == []
    for card in cards:  # A line may end at a card, and never goes through one.
        assert [line for line in drawn.lines if line.meets(card.box)] == []
    free = [word for word in words if not any(word.within(label.box) for label in labels)]
    assert [(word, line) for word in free for line in drawn.lines if word.meets(line)] == []


@pytest.mark.parametrize("kind", ["Ingress", "Egress"])
def test_a_way_that_is_open_at_one_end_only_has_no_arrow(kind: str):
    made = system(PRODUCTION)
    templates = copy.deepcopy(dict(made.templates))
    del templates["network"]["Resources"][f"FromWorkerToBroker6379{'In' if kind == 'Ingress' else 'Out'}"]
    shut = System(PRODUCTION, templates)

    gone = {*Templates(made).arrows()} - {*Templates(shut).arrows()}

    assert [(one.source, one.target, one.port) for one in gone] == [("worker", "broker", 6379)]
    left = sorted(set(expected(PRODUCTION)) - {"worker>broker:6379"})
    assert sorted(Drawn(architecture.draw(shut)).arrows("data-arrows")) == left
    assert sorted(Drawn(reachability.draw(shut)).arrows("data-arrow")) == left


def test_environments_differ_where_they_should():
    dev, production, without = (
        " ".join(word.words for word in Drawn(draw(one, "architecture")).words)
        for one in (DEVELOPMENT, PRODUCTION, WITHOUT_NAT)
    )

    assert "Neo4j on EC2" in dev
    assert "Neptune" not in dev
    assert "Neptune 1.4.6.0" in production
    assert "Neo4j" not in production
    assert "NAT gateway in each of 2 zones" in production
    assert "NAT gateway" in dev
    assert "each of" not in dev
    assert "NAT" not in without
    assert "public addresses of their own" in without
    assert "Endpoints" in without
    assert "Endpoints" not in dev
    assert "2 to 20 tasks" in production
    assert "1 to 3 tasks" in dev
    assert "a standby in another zone" in production
    assert "Vertex AI" not in production


def test_vertex_ai_is_among_what_is_asked_when_tasks_are_told_of_it():
    google = Google(project_id="p", agent_engine_id="1", audience="//iam.googleapis.com/projects/1")

    svg = draw(PRODUCTION.model_copy(update={"google": google}), "architecture")

    assert "AWS, Vertex AI, pages, mailboxes" in svg


def test_words_are_taken_for_at_least_as_wide_as_the_letters_of_the_png_are():
    for weight, file in ((400, "Lato-Regular.ttf"), (600, "Lato-Bold.ttf")):
        widths = advances(Path(str(files("font_lato").joinpath("files", file))))
        assert len(widths) > 100
        for letter in map(chr, range(32, 127)):
            assert letters.width_of(letter, 1000, weight) >= widths[letter], letter


def test_a_png_has_twice_the_size_and_letters_without_any_font_of_the_machine():
    svg = draw(PRODUCTION, "reachability")
    bare = re.sub(r"<text.*?</text>", "", svg)

    drawn, size = as_png(svg), Drawn(svg).whole

    assert drawn.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">II", drawn[16:24]) == (2 * size.right, 2 * size.bottom)
    assert len(drawn) > 1.5 * len(as_png(bare))


def test_the_command_prints_svg_and_writes_files_by_their_names(tmp_path: Path):
    printed = run("aws", "diagram", "--env", "production")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == draw(PRODUCTION, "architecture")

    file = tmp_path / "reachability.PNG"
    written = run("aws", "diagram", "--kind", "reachability", "--out", str(file))
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert file.read_bytes() == as_png(draw(DEVELOPMENT, "reachability"))


@pytest.mark.parametrize(
    ("name", "said"), [("picture.jpg", "neither an SVG nor a PNG"), ("no/such.svg", "No such file")]
)
def test_a_file_that_cannot_be_is_told_with_what_to_do(tmp_path: Path, name: str, said: str):
    done = run("aws", "diagram", "--out", str(tmp_path / name))

    assert done.returncode == 2
    assert said in done.stderr
    assert "Next: " in done.stderr

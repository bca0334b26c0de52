"""What it costs: figures that were summed by hand, and what has to hold of any estimate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aws.generated import environments
from aws.test_plan_command import run
from hypothesis import HealthCheck, given, settings

from pegasus.errors import Invalid
from pegasus_aws.cost import Estimate, estimate
from pegasus_aws.cost.charges import RULES
from pegasus_aws.cost.comparison import Comparison
from pegasus_aws.cost.free import FREE
from pegasus_aws.cost.what_if import changed
from pegasus_aws.diagram import costs
from pegasus_aws.environments import DEVELOPMENT, ENVIRONMENTS, PRODUCTION, Environment, with_values
from pegasus_aws.plan import price
from pegasus_aws.plan.findings import NotRun
from pegasus_aws.plan.price import estimate_of, over_budget
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.prices.book import shipped
from pegasus_aws.usage import Usage

BOOK = shipped()
# The sizes that the plan for production names.
THE_PLANS_OWN = ("database.size=db.r6g.large", "broker.size=cache.r6g.large", "cache.size=cache.r6g.large")
_TIME_IS_NOT_THE_POINT = [HealthCheck.too_slow, HealthCheck.data_too_large]
_FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=_TIME_IS_NOT_THE_POINT)


def cost_of(environment: Environment) -> Estimate:
    return estimate_of(environment, BOOK, day=BOOK.read)


@pytest.fixture(scope="module")
def templates() -> dict[str, dict[str, dict[str, object]]]:
    return {
        name: {stack.name: stack.template.to_dict() for stack in synthesise(one)} for name, one in ENVIRONMENTS.items()
    }


@pytest.fixture(scope="module")
def estimates() -> dict[str, Estimate]:
    return {name: cost_of(one) for name, one in ENVIRONMENTS.items()}


def usd(found: Estimate, service: str, *words: str) -> float:
    """The sum of a service's lines that have any of these words."""
    lines = [line for line in found.lines if line.service == service and any(word in line.what for word in words)]
    assert lines
    return round(sum(line.monthly_usd for line in lines), 2)


@pytest.mark.parametrize(("name", "least", "most"), [("dev", 100, 200), ("production", 500, 1000)])
def test_both_environments_land_in_their_band(name: str, least: int, most: int, estimates: dict[str, Estimate]):
    found = estimates[name]

    assert least <= found.monthly_usd <= most
    assert (found.environment.budget.least_usd, found.environment.budget.most_usd) == (least, most)
    assert over_budget(found) == []
    assert found.unpriced == found.warnings == ()


def test_the_plans_own_sizes_leave_the_band_and_the_plan_says_what_to_change(estimates: dict[str, Estimate]):
    found = cost_of(changed(PRODUCTION, THE_PLANS_OWN))

    (finding,) = over_budget(found)
    assert found.monthly_usd > 1000
    assert usd(found, "RDS", "db.r6g.large") == 328.50  # 2 instances x 730 h x 0.225
    assert usd(found, "ElastiCache", "nodes") == 481.22  # 4 nodes x 730 h x 0.1648
    assert "the budget is 1,000" in finding.message
    assert "database.size" in finding.hint
    assert "--what-if" in finding.hint
    assert [line.price.item for line in found.lines if "unverified" in line.source and line.service == "RDS"] == [
        "rds.db.r6g.large"
    ]


def test_production_as_summed_by_hand(estimates: dict[str, Estimate]):
    found = estimates["production"]

    assert usd(found, "RDS", "db.t4g.medium") == 94.90  # 2 x 730 x 0.065
    assert usd(found, "RDS", "disk") == 23.00  # 100 GB in two zones x 0.23
    assert usd(found, "ElastiCache", "nodes") == 74.75  # 4 x 730 x 0.0256
    assert usd(found, "Neptune", "capacity") == 234.77  # 2 NCU x 730 x 0.1608
    assert usd(found, "VPC", "NAT gateways") == 70.20  # 2 x 730 x 0.045, and 100 GB x 0.045
    assert usd(found, "ECS on Fargate", "backend-api, vCPU") == 73.88  # 2.5 tasks x 730 x 0.04048
    assert usd(found, "ECS on Fargate", "backend-api, memory") == 16.22  # 2.5 tasks x 2 GB x 730 x 0.004445
    # Of three workers one is on demand: 730 x (0.04048 + 4 x 0.004445), the others at half of that.
    assert usd(found, "ECS on Fargate", "worker, vCPU", "worker, memory") == 42.53
    assert usd(found, "ECS on Fargate", "worker on Spot") == 42.53
    assert usd(found, "ECS on Fargate", "chromadb") == 42.53
    assert usd(found, "Load balancer", "") == 17.60  # 730 x 0.0225, and 5 / 25 units x 730 x 0.008
    assert usd(found, "WAF", "") == 17.88  # 5 + 5 rules, and 5 x 730 x 3600 requests at 0.60 a million
    assert usd(found, "AWS Backup", "database") == 7.98  # 50 GB x (1 + 34 x 2 %) x 0.095
    assert usd(found, "CloudWatch", "alarms of the scaling") == 0.80  # 2 alarms of 1, 1 and 2 metrics


def test_development_as_summed_by_hand(estimates: dict[str, Estimate]):
    found = estimates["dev"]

    assert usd(found, "RDS", "") == 13.98  # 730 x 0.016, and 20 GB x 0.115
    assert usd(found, "EC2", "") == 14.34  # 730 x 0.0168, and 26 GB x 0.08
    assert usd(found, "VPC", "NAT gateways") == 33.75  # 730 x 0.045, and 20 GB x 0.045
    assert usd(found, "VPC", "public addresses") == 10.95  # of NAT and of the balancer in two zones: 3 x 730 x 0.005
    assert usd(found, "ECS on Fargate", "worker on Spot") == 13.88  # half of 730 x (0.5 x 0.04048 + 4 x 0.004445)
    assert usd(found, "Secrets Manager", "secret") == 2.85  # 7 of them, the database's own included, and 10,000 looks
    assert "Neptune" not in found.by_service()


def test_without_a_nat_gateway_tasks_have_addresses_and_functions_have_doors(estimates: dict[str, Estimate]):
    found = cost_of(with_values(DEVELOPMENT, {"network": {"nat_gateways": 0}}))

    assert usd(found, "VPC", "addresses of tasks") == 14.60  # 4 tasks x 730 x 0.005
    assert usd(found, "VPC", "interface endpoints") == 14.60  # 2 x 730 x 0.01
    assert not [line for line in found.lines if "NAT" in line.what]


def test_arm_and_more_zones_and_readers_have_their_price():
    arm = cost_of(with_values(PRODUCTION, {"architecture": "ARM64"}))
    readers = cost_of(with_values(PRODUCTION, {"graph": {"replicas": 2, "least_ncu": 3}}))
    zones = cost_of(with_values(PRODUCTION, {"network": {"zones": 3, "nat_gateways": 3}}))

    assert {line.price.item for line in arm.lines if line.what == "chromadb, vCPU"} == {"fargate.arm.vcpu"}
    assert usd(readers, "Neptune", "capacity") == 1056.46  # 3 instances x 3 NCU, more than is assumed
    assert usd(zones, "VPC", "NAT gateways") == 103.05  # 3 x 730 x 0.045, and as many GB as before
    assert usd(zones, "VPC", "addresses of the balancer") == 10.95


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_sums_by_service_and_by_stack_are_the_total(name: str, estimates: dict[str, Estimate]):
    found = estimates[name]

    lines = round(sum(line.monthly_usd for line in found.lines), 2)
    assert lines == found.monthly_usd
    assert round(sum(found.by_service().values()), 2) == found.monthly_usd
    assert round(sum(found.by_stack().values()), 2) == found.monthly_usd
    assert all(line.source and line.price.unit for line in found.lines)


@_FEW
@given(environments())
def test_every_resource_of_any_environment_is_priced_or_free_for_a_reason(
    estimates: dict[str, Estimate], one: Environment
):
    found = cost_of(one)

    assert found.unknown == ()
    beside = Comparison("beside", estimates["dev"], found)
    assert round(sum(beside.as_dict()["differences"].values()), 2) == beside.difference_usd
    assert {item.rpartition(".")[2] for _, item in found.missing} <= {"2xlarge", "large"}  # Sizes without a row.
    assert round(sum(found.by_stack().values()), 2) == found.monthly_usd == round(sum(found.by_service().values()), 2)


def test_every_row_of_the_book_is_a_size_or_used(estimates: dict[str, Estimate]):
    other = with_values(DEVELOPMENT, {"architecture": "ARM64", "network": {"nat_gateways": 0},
                                      "database": {"multi_az": True}, "usage": {"database_gb": 500}})  # fmt: skip
    used = {line.price.item for found in (*estimates.values(), cost_of(other)) for line in found.lines}

    sizes = ("rds.db.", "valkey.cache.", "ec2.")
    assert [item for item in BOOK.prices if item not in used and not item.startswith(sizes)] == []


def test_a_type_that_nobody_has_priced_is_told(templates: dict[str, dict[str, dict[str, object]]]):
    planted = json.loads(json.dumps(templates["dev"]))
    planted["data"]["Resources"]["Lake"] = {"Type": "AWS::Redshift::Cluster", "Properties": {}}

    found = estimate(DEVELOPMENT, planted, BOOK, BOOK.read)

    assert found.unpriced == ("data/Lake: nobody has said what AWS::Redshift::Cluster costs",)
    with pytest.raises(NotRun, match="Redshift"):
        over_budget(found)


def test_nothing_is_both_free_and_priced_and_what_is_free_says_why():
    assert not set(FREE) & set(RULES)
    assert all(len(reason) > 15 and reason.endswith(".") for reason in FREE.values())


@_FEW
@given(environments())
def test_more_never_costs_less(one: Environment):
    before = cost_of(one).monthly_usd

    for fleet in ("api", "worker"):
        values = getattr(one, fleet)
        more = with_values(one, {fleet: {"least": values.least + 1, "most": values.most + 1}})
        assert cost_of(more).monthly_usd >= before


@pytest.mark.parametrize("name", Usage.model_fields)
def test_more_use_costs_more(name: str, templates: Mapping[str, Mapping[str, Mapping[str, object]]]):
    """In one environment at least: what is assumed of Neptune means nothing to Neo4j."""
    dearer = []
    for environment in ENVIRONMENTS.values():
        there = templates[environment.name]
        used = getattr(environment.usage, name)
        # So much more that it shows, where a task or a capacity may not be more than the environment allows.
        more = with_values(
            environment, {"usage": {name: min(used * 2 + 1, 100) if "percent" in name else used * 2 + 1}}
        )
        before, after = (estimate(one, there, BOOK, BOOK.read).monthly_usd for one in (environment, more))
        assert after >= before
        dearer.append(after > before)
    assert any(dearer)


def test_tasks_above_the_least_end_at_the_most():
    most = with_values(DEVELOPMENT, {"usage": {"workers_above_least": 2}})
    beyond = with_values(DEVELOPMENT, {"usage": {"workers_above_least": 200}})

    assert cost_of(beyond).monthly_usd == cost_of(most).monthly_usd


def test_spot_is_half_of_it_and_without_it_all_is_on_demand(estimates: dict[str, Estimate]):
    without = cost_of(with_values(DEVELOPMENT, {"worker": {"spot": False}}))

    spot = usd(estimates["dev"], "ECS on Fargate", "on Spot, ")
    assert usd(without, "ECS on Fargate", "celery-worker, vCPU", "celery-worker, memory", "backfills, vCPU",
               "backfills, memory") == pytest.approx(2 * spot, abs=0.05)  # fmt: skip
    assert not [line for line in without.lines if line.factor]


def test_a_what_if_adds_up_and_is_undone_by_its_opposite(estimates: dict[str, Estimate]):
    before = estimates["production"]
    after = changed(PRODUCTION, ["worker.least=4", "graph.engine=neo4j", 'pipeline.buckets=["mine"]'])
    both = Comparison("more", before, cost_of(after))

    assert both.difference_usd == round(both.after.monthly_usd - before.monthly_usd, 2)
    assert round(sum(both.as_dict()["differences"].values()), 2) == both.difference_usd
    assert both.by_service()["Neptune"][1] == 0
    assert both.by_service()["EC2"][0] == 0
    graph = PRODUCTION.graph.model_dump()
    again = with_values(changed(after, ["worker.least=2", "pipeline.buckets=[]"]), {"graph": graph})
    assert again == PRODUCTION


def test_changes_of_different_parts_add_up(estimates: dict[str, Estimate]):
    before = estimates["production"].monthly_usd
    one, other = ("database.storage_gb=200",), ("vectors.cpu=2048",)

    apart = [cost_of(changed(PRODUCTION, change)).monthly_usd - before for change in (one, other)]

    assert cost_of(changed(PRODUCTION, one + other)).monthly_usd - before == pytest.approx(sum(apart), abs=0.011)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("worker.least", "no KEY=VALUE"),
        ("=3", "no KEY=VALUE"),
        ("worker..least=3", "no KEY=VALUE"),
        ("worker.leest=3", "worker.leest: Extra inputs"),
        ("nonsense=3", "nonsense: Extra inputs"),
        ("worker.least=many", "worker.least: Input should be a valid integer"),
        ("worker.least=900", "less than or equal to 100"),
        ("database.size=large", "database.size"),
        ("usage.sent_gb=-1", "greater than or equal to 0"),
        ("usage.sent_gb=inf", "finite"),
        ("usage.sent_gb=nan", "finite"),
    ],
)
def test_a_change_that_cannot_be_is_named(assignment: str, says: str):
    with pytest.raises(Invalid, match=says) as raised:
        changed(PRODUCTION, [assignment])

    assert raised.value.hint


def test_one_value_cannot_be_a_table_too():
    with pytest.raises(Invalid, match="worker is given"):
        changed(PRODUCTION, ["worker=3", "worker.least=3"])


def test_a_price_that_is_not_known_leaves_the_budget_open_unless_the_rest_is_over_it_already():
    unknown = with_values(PRODUCTION, {"database": {"size": "db.m7g.2xlarge"}})

    with pytest.raises(NotRun, match="the price book has no rds.db.m7g.2xlarge"):
        over_budget(cost_of(unknown))
    poor = with_values(unknown, {"budget": {"most_usd": 500}})
    assert [one.rule for one in over_budget(cost_of(poor))] == ["budget"]


def test_what_is_said_of_services_is_said_of_services_that_there_are(estimates: dict[str, Estimate]):
    there = {service for found in estimates.values() for service in found.by_service()}

    assert set(price._LEVERS) <= there
    assert set(costs._COLOURS) <= there


def test_a_promise_is_only_told_where_a_source_has_its_rate(estimates: dict[str, Estimate]):
    told = {one.service: one for one in estimates["production"].commitments()}

    assert told["RDS"].committed_usd == round(94.90 * 0.704, 2)
    assert told["ECS on Fargate"].committed_usd is None
    assert told["Neptune"].source is None
    assert "unverified" in str(told["ElastiCache"].source)


def test_the_picture_shows_each_estimate_and_its_budget(estimates: dict[str, Estimate]):
    drawn = costs.draw(list(estimates.values()), list(estimates))

    words = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    for name, found in estimates.items():
        assert name in words
        assert f"{found.monthly_usd:,.2f}" in words
        for service, value in list(found.by_service().items())[:9]:
            assert service in words
            assert f"{value:,.2f}" in words


def test_the_command_prints_what_programs_and_people_need(tmp_path: Path):
    picture = tmp_path / "costs.svg"

    done = run("aws", "cost", "--env", "production", "--json", "--what-if", "worker.least=3", "--beside", "dev",
               "--usage", "sent_gb=150", "--picture", str(picture))  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["usage"]["sent_gb"] == 150
    assert told["monthly_usd"] == round(sum(told["by_stack"].values()), 2) == round(sum(told["by_service"].values()), 2)
    assert {"quantity", "unit", "unit_usd", "monthly_usd", "source", "verified"} <= set(told["lines"][0])
    more, dev = told["compared"]
    assert more["difference_usd"] == round(more["monthly_usd"] - told["monthly_usd"], 2) > 0
    assert dev["monthly_usd"] < told["monthly_usd"]
    assert "worker.least=3" in picture.read_text()

    shown = run("aws", "cost", "--what-if", "database.size=db.r6g.large")
    assert "unverified" in shown.stdout
    assert "Within the budget of 100 to 200" in shown.stdout
    assert "Over the budget of 200 with database.size=db.r6g.large" in shown.stdout


def test_what_cannot_be_written_or_read_is_told(tmp_path: Path):
    done = run("aws", "cost", "--picture", str(tmp_path / "none" / "costs.svg"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr

    done = run("aws", "cost", "--refresh")
    assert done.returncode == 2
    assert "AWS_PROFILE" in done.stderr

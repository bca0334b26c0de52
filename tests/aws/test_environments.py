"""An environment of one's own: values over those that come with Pegasus, and clear words about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pegasus.errors import Invalid, NotFound
from pegasus_aws.environments import PRODUCTION, Neo4j, Neptune, load, named


def test_values_stand_over_those_of_the_environment_that_it_is_like(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('like = "production"\nname = "mine"\n[database]\nsize = "db.r6g.large"\n')

    mine = load(file)

    assert (mine.name, mine.database.size, mine.database.multi_az) == ("mine", "db.r6g.large", True)
    assert PRODUCTION.api == mine.api


def test_another_engine_has_nothing_of_the_first(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('like = "production"\nname = "mine"\n[graph]\nengine = "neo4j"\n')

    assert Neo4j() == load(file).graph
    assert isinstance(PRODUCTION.graph, Neptune)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('like = "dev"\nname = "Not A Name"', "name"),
        ('like = "dev"\n[network]\nnat_gateways = 2\nzones = 3', "nat_gateways is 0, 1 or one for each"),
        ('like = "dev"\n[network]\ncidr = "8.8.0.0/16"', "private network"),
        ('like = "dev"\n[api]\ncpu = 512\nmemory_mb = 8192', "memory_mb is 1024 to 4096"),
        ('like = "dev"\n[worker]\nleast = 5\nmost = 2', "least is not above most"),
        ('like = "dev"\n[database]\nbackup_days = 1', "database.backup_days"),
        ('like = "dev"\n[database]\nstorage_gb = 100\nstorage_limit_gb = 100', "a tenth more"),
        ('like = "dev"\nbugdet = 3', "bugdet"),
        ('name = "mine"', "database: Field required"),
        ("like = ", "cannot be read as TOML"),
    ],
)
def test_a_bad_value_is_named_with_what_it_takes(text: str, says: str, tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(text)

    with pytest.raises(Invalid, match=says) as raised:
        load(file)

    assert raised.value.hint


def test_the_documented_file_is_production():
    assert load(Path(__file__).parents[2] / "docs/reference/environment.toml") == PRODUCTION


def test_an_unknown_name_is_told_which_there_are(tmp_path: Path):
    with pytest.raises(NotFound, match="dev, production"):
        named("staging")
    file = tmp_path / "mine.toml"
    file.write_text('like = "staging"')
    with pytest.raises(NotFound, match="dev, production"):
        load(file)


def test_what_only_its_owner_knows_is_missing_until_it_is_told():
    owned = {"domain": "notes.acme.io", "alert_email": "ops@acme.io", "hosted_zone_id": "Z08215993DDR6WABC"}

    assert PRODUCTION.missing == ("domain", "alert_email", "hosted_zone_id")
    assert PRODUCTION.model_copy(update=owned).missing == ()

"""The price book: each row says where it is from, and newer ones come from a server that answers as AWS's list does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from aws.pricing import Shelf, serving
from aws.test_plan_command import run

from pegasus.errors import Invalid, Misconfigured, Unavailable
from pegasus_aws.environments import DEVELOPMENT, with_values
from pegasus_aws.plan.price import estimate_of, refresh
from pegasus_aws.prices.book import ASKED, Ask, PriceBook, book_for, cached, load, shipped, written

_NAT, _VCPU, _REQUESTS = "nat.hour", "fargate.x86.vcpu", "waf.requests"


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def shelf(no_cache: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    made = Shelf()
    with serving(made) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", address)
        yield made


def test_every_row_says_where_it_is_from_and_how_it_is_asked_for():
    book = shipped()

    for row in (*book.prices.values(), *book.factors.values()):
        assert row.source in book.sources
        assert date(2024, 1, 1) < row.date <= book.read
    for row in book.prices.values():
        assert row.usd > 0
        assert row.unit
        assert row.ask.service
        assert row.ask.usagetype
    assert not book.prices["rds.db.r6g.large"].verified
    assert not book.factors["spot"].verified


def test_a_book_that_is_written_is_read_again_as_the_same(tmp_path: Path):
    file = tmp_path / "book.toml"
    file.write_text(written(shipped()))

    assert load(file) == shipped()


@pytest.mark.parametrize("text", ["region = ", 'region = "us-east-1"', "prices = 3", '[prices.nat]\nusd = "much"'])
def test_a_file_that_is_no_price_book_is_refused_with_the_way_out(text: str, tmp_path: Path):
    file = tmp_path / "book.toml"
    file.write_text(text)

    with pytest.raises(Invalid, match="no price book") as raised:
        load(file)

    assert raised.value.hint


def test_a_price_book_that_is_old_or_of_another_region_says_so():
    book = shipped()

    assert book.warnings("us-east-1", book.read + timedelta(days=90)) == ()
    assert "91 days ago" in book.warnings("us-east-1", book.read + timedelta(days=91))[0]
    assert "prices of us-east-1" in book.warnings("eu-west-1", book.read)[0]


def test_a_refresh_takes_what_the_list_has_one_price_for_and_keeps_the_rest(shelf: Shelf):
    book = shipped()
    shelf.put(book.prices[_NAT].ask, "us-east-1", 0.05)
    shelf.put(book.prices["nat.gb"].ask, "us-east-1", 0.06, prefix="USE1-")
    shelf.put(book.prices[_NAT].ask, "us-east-1", 9.0, prefix="TS-")
    shelf.put(book.prices[_NAT].ask, "us-east-1", 9.0, prefix="USE1-ExtendedSupportYr3-")
    shelf.put(book.prices[_VCPU].ask, "us-east-1", 0.04, prefix="USE1-")
    shelf.put(book.prices[_VCPU].ask, "us-east-1", 0.05, prefix="USE1-")
    # What is free at first, and dearer by the million than by the piece.
    shelf.put(book.prices[_REQUESTS].ask, "us-east-1", 0.0, 0.7, prefix="USE1-", begins=("0", "100"))

    done = refresh(DEVELOPMENT.region, [])

    fresh = done.book.prices
    assert {item: now for item, _, now in done.changed} == {_NAT: 0.05, "nat.gb": 0.06, _REQUESTS: 0.7}
    assert (fresh[_NAT].source, fresh[_NAT].verified, fresh["nat.gb"].usd) == (ASKED, True, 0.06)
    assert fresh[_VCPU] == book.prices[_VCPU]
    kept = dict(done.kept)
    assert kept[_VCPU] == "the list has 2 prices for it"
    assert kept["ipv4"] == "the list has none for it"
    assert {"ServiceCode": "AmazonEC2", "productFamily": "NAT Gateway", "regionCode": "us-east-1"} in shelf.asked


def test_what_was_refreshed_holds_from_then_on(shelf: Shelf):
    shelf.put(shipped().prices[_NAT].ask, "us-east-1", 0.05)

    refresh(DEVELOPMENT.region, [])

    assert book_for("us-east-1").prices[_NAT].usd == 0.05
    assert book_for("eu-west-1") == shipped()


def test_another_region_has_its_own_prices_and_marks_those_that_are_not(shelf: Shelf):
    ours = with_values(DEVELOPMENT, {"region": "eu-west-1"})
    shelf.put(shipped().prices[_NAT].ask, "eu-west-1", 0.048, prefix="EU-")

    refresh(ours.region, [ours])

    book = book_for("eu-west-1")
    assert (book.region, book.prices[_NAT].usd, book.prices[_NAT].verified) == ("eu-west-1", 0.048, True)
    assert (book.prices["ipv4"].note, book.prices["ipv4"].verified) == ("us-east-1's", False)
    assert not [one for one in estimate_of(ours, book).warnings if "prices of" in one]


def test_a_size_without_a_row_is_asked_for_and_gets_one(shelf: Shelf):
    ours = with_values(DEVELOPMENT, {"database": {"size": "db.m7g.large"}})
    shelf.put(_of_size(shipped().prices["rds.db.t4g.micro"].ask, "db.m7g.large"), "us-east-1", 0.168)

    before = estimate_of(ours, shipped())
    after = estimate_of(ours, refresh(ours.region, [DEVELOPMENT, ours]).book)

    assert before.missing == (("data/Database", "rds.db.m7g.large"),)
    assert after.missing == ()
    assert round(after.monthly_usd - before.monthly_usd, 2) == round(730 * 0.168, 2)


def test_the_command_tells_what_changed_beside_the_estimate_and_keeps_it(shelf: Shelf, tmp_path: Path):
    shelf.put(shipped().prices[_NAT].ask, "us-east-1", 0.05)
    like = shipped().prices["ec2.t4g.small"].ask
    shelf.put(_of_size(like, "t4g.large"), "us-east-1", 0.0672)
    asking = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "XDG_CACHE_HOME": str(tmp_path)}
    address = {"AWS_ENDPOINT_URL_PRICING": os.environ["AWS_ENDPOINT_URL_PRICING"]}

    done = run("aws", "cost", "--refresh", "--json", "--what-if", "graph.size=t4g.large", **asking, **address)
    again = run("aws", "cost", "--json", XDG_CACHE_HOME=str(tmp_path))

    assert done.returncode == 0
    assert "nat.hour: 0.05, was 0.045" in done.stderr
    assert "ipv4 stays as it was: the list has none for it." in done.stderr
    assert "ec2.t4g.large: 0.0672" in done.stderr
    told = json.loads(done.stdout)
    assert {line["source"].split()[0] for line in told["lines"] if line["price"] == _NAT} == {ASKED}
    assert told["compared"][0]["difference_usd"] == 36.80  # 730 x (0.0672 - 0.0168)
    assert json.loads(again.stdout)["monthly_usd"] == told["monthly_usd"]


def _of_size(like: Ask, size: str) -> Ask:
    usagetype = like.usagetype.replace(like.attributes["instanceType"], size)
    return replace(like, usagetype=usagetype, attributes={**like.attributes, "instanceType": size})


def test_a_list_that_refuses_leaves_everything_as_it_was(shelf: Shelf):
    shelf.refuses = True

    with pytest.raises(Unavailable, match="not authorized") as raised:
        refresh(DEVELOPMENT.region, [])

    assert "pricing:GetProducts" in str(raised.value.hint)
    assert not cached("us-east-1").exists()


def test_prices_that_cannot_be_kept_are_told(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("Not a directory.")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(Misconfigured, match="cannot be kept") as raised:
        refresh(DEVELOPMENT.region, [])

    assert "XDG_CACHE_HOME" in str(raised.value.hint)


def test_without_credentials_a_refresh_says_that_they_are_missing(no_cache: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pegasus_aws.plan.price.has_credentials", lambda: False)

    with pytest.raises(Misconfigured, match="credentials") as raised:
        refresh(DEVELOPMENT.region, [])

    assert "AWS_PROFILE" in str(raised.value.hint)


def test_a_book_from_the_cache_is_the_one_that_is_used(no_cache: None):
    cached("us-east-1").parent.mkdir(parents=True)
    mine: PriceBook = replace(shipped(), read=date(2030, 1, 1))
    cached("us-east-1").write_text(written(mine))

    assert book_for("us-east-1") == mine

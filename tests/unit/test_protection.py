"""Scale-in protection, asked of an agent that behaves as that of Amazon ECS does; and of one that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from agents import ARN, EcsAgent, ecs_agent
from several import until

from pegasus.adapters.ecs_protection import EcsScaleInProtection
from pegasus.errors import Unavailable
from pegasus.jobs import protection
from pegasus.jobs.protection import protecting

PROTECT = {"ProtectionEnabled": True, "ExpiresInMinutes": 10}


@pytest.fixture
def agent() -> Iterator[EcsAgent]:
    with ecs_agent() as running:
        yield running


def test_it_asks_as_the_agent_wants_to_be_asked(agent: EcsAgent) -> None:
    ecs = EcsScaleInProtection(agent.address)
    ecs.protect(10)
    assert agent.protected
    ecs.release()
    assert not agent.protected
    assert agent.asked == [PROTECT, {"ProtectionEnabled": False}]


FAILURES = {
    "throttled": (429, {"error": {"Arn": ARN, "Code": "ThrottlingException", "Message": "Rate exceeded"}}),
    "deployment blocked": (200, {"failure": {"Arn": ARN, "Reason": "DEPLOYMENT_BLOCKED", "Detail": "Blocked."}}),
    "denied": (400, {"error": {"Arn": ARN, "Code": "AccessDeniedException", "Message": "Not authorized"}}),
    "broken": (500, b"<html>Internal Server Error</html>"),
    "no object": (200, []),
    "not done": (200, {"protection": {"ProtectionEnabled": False, "TaskArn": ARN}}),
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_what_the_agent_does_not_do_is_told(agent: EcsAgent, answer: tuple[int, object]) -> None:
    agent.answers = [answer]
    with pytest.raises(Unavailable, match="ECS agent"):
        EcsScaleInProtection(agent.address).protect(10)


def test_an_agent_that_is_away_is_told() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        EcsScaleInProtection("http://127.0.0.1:9/api").protect(10)


def test_there_is_protection_for_as_long_as_there_is_work(agent: EcsAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "_QUIET_SECONDS", 0.5)
    monkeypatch.setattr(protection, "_RETRY_SECONDS", 0.2)
    busy = threading.Event()
    # The first requests fail: work goes on, and they are made again.
    agent.answers = [FAILURES["throttled"], FAILURES["broken"]]
    with protecting(EcsScaleInProtection(agent.address), busy.is_set):
        time.sleep(0.5)
        assert agent.asked == [], "nothing is asked for without work"
        busy.set()
        until(lambda: agent.protected, "protected")
        assert agent.asked == [PROTECT] * 3
        monkeypatch.setattr(protection, "_RENEW_SECONDS", 0.0)
        until(lambda: len(agent.asked) >= 5, "prolonged while the work lasts")
        assert set(map(str, agent.asked)) == {str(PROTECT)}
        busy.clear()
        until(lambda: not agent.protected, "released when it has ended")

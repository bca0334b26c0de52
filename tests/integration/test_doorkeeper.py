"""Keys are remembered for a second; once a revocation is answered they open nothing, in whatever process."""

from __future__ import annotations

import pytest

from pegasus.access import service as access
from pegasus.access.doorkeeper import Doorkeeper, Rates
from pegasus.access.scopes import Principal, Scope
from pegasus.adapters.memory_limiter import InMemoryRateLimiter
from pegasus.domain import Rate
from pegasus.errors import Unauthorized
from pegasus.ports import RelationalStore

RATES = Rates(Rate(1_000, "second"), Rate(1_000, "second"))


def doorkeeper(store: RelationalStore) -> Doorkeeper:
    return Doorkeeper(store, InMemoryRateLimiter(), RATES, shared=True)


def test_a_revocation_that_was_answered_holds_in_every_process(empty_store: RelationalStore) -> None:
    with empty_store.write() as tx:
        workspace_id = access.create_workspace(tx, "test")
        key, secret = access.create_key(tx, workspace_id, "test")
    here, elsewhere = doorkeeper(empty_store), doorkeeper(empty_store)
    for one in (here, elsewhere):
        assert one.admit_at_once(secret) is None  # Nobody has looked it up yet.
        one.admit(secret, "127.0.0.1")
        assert one.admit_at_once(secret)
    with empty_store.write() as tx:
        access.revoke_key(tx, Principal("", workspace_id, Scope.OPERATOR), key.id)
    here.forget()
    for one in (here, elsewhere):
        assert one.admit_at_once(secret) is None
        with pytest.raises(Unauthorized):
            one.admit(secret, "127.0.0.1")

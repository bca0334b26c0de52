"""Search over HTTP."""

from __future__ import annotations

import time

from pegasus.search.schemas import PassageOut, SearchIn, SearchOut
from pegasus.web import App, Reader, Router, problems

router = Router(prefix="/v1/search", tags=["search"])


@router.post("", responses=problems(422))
def search(app: App, caller: Reader, given: SearchIn) -> SearchOut:
    """The passages that fit best by their words, their meaning and the graph."""
    begun = time.perf_counter()
    found = app.search.search(
        caller.workspace_id, given.query, limit=given.limit, mode=given.mode, filters=given.filters()
    )
    took_ms = round((time.perf_counter() - begun) * 1000, 2)
    return SearchOut(passages=[PassageOut.of(passage) for passage in found], took_ms=took_ms)

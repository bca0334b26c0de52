"""Schema changes, as expand and contract steps that Alembic runs; HEAD is the revision that this code needs."""

HEAD = "0005"

"""The roles of a database that is somebody else's to administer: one owns it, logins act as that one.

A password that is changed every so often is changed on the login that nobody uses just then, so that nobody who runs is
locked out. So tables belong to no login, and each login becomes the owner as it comes in. The owner is an ordinary
role: row-level security, which is forced on owners, holds for it (``postgres_walls``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from psycopg.sql import SQL, Identifier, Literal

from pegasus.adapters.postgres_connection import checked, first_line, opened
from pegasus.errors import Invalid, Misconfigured

_LOCK = 7_345_004  # Any number that is nobody else's in this database; postgres and postgres_schema have others.


@dataclass(frozen=True, slots=True)
class RolesMade:
    owner: str
    logins: Sequence[str]
    made: Sequence[str]  # Of both, those that were not there.
    password_set: bool

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def make_roles(url: str, admin: str, admin_password: str, others: Sequence[str], owner: str) -> RolesMade:
    """``url`` is what Pegasus logs in with: that login is made, and ``others`` without a password.

    May be done at any time, also when all is there. A login that the database lets in keeps its password, whoever has
    changed it; one that it does not let in gets the one that it came with.
    """
    address = checked(url)
    login, password = _login_of(address)
    logins = list(dict.fromkeys([login, *others]))
    if admin in (login, *others, owner):
        raise Misconfigured(
            f"{admin} is the administrator, and what Pegasus logs in as too.",
            hint="Name the login in DATABASE_URL or PGUSER, the administrator in PEGASUS_DATABASE_ADMIN_USER.",
        )
    if owner in logins:
        raise Invalid(f"{owner} owns the tables, and cannot log in too.", hint="Name another with --owner.")
    as_admin = make_conninfo(address, user=admin, password=admin_password)
    with opened(as_admin) as connection, _refusals_told():
        with _alone(connection):
            made = _make(connection, owner, logins)
        with _alone(connection):  # The new login is there for others only now.
            refused = not _lets_in(address)
            if refused:
                _set_password(connection, login, password)
        _prove(address, owner)
    return RolesMade(owner, logins, made, refused)


def _login_of(address: str) -> tuple[str, str]:
    """As libpq sees it: what the address leaves out may be in its environment."""
    defaults = {one.keyword.decode(): one.val.decode() for one in Conninfo.get_defaults() if one.val}
    found = {**defaults, **conninfo_to_dict(address)}
    if not found.get("user") or not found.get("password"):
        raise Misconfigured(
            "Neither DATABASE_URL nor PGUSER and PGPASSWORD say what Pegasus logs in with.",
            hint="Write it as postgresql://user:password@host:5432/database.",
        )
    return str(found["user"]), str(found["password"])


@contextmanager
def _alone(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """All of it or nothing; two at a time would make the same role, and neither would end well."""
    with connection.transaction():
        connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        yield


def _make(connection: psycopg.Connection[Any], owner: str, logins: Sequence[str]) -> list[str]:
    there = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    made = [name for name in (owner, *logins) if name not in there]
    if owner in made:
        connection.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(owner)))
    for login in logins:
        if login in made:
            connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(login)))
        connection.execute(SQL("GRANT {} TO {}").format(Identifier(owner), Identifier(login)))
        connection.execute(SQL("ALTER ROLE {} SET role = {}").format(Identifier(login), Literal(owner)))
    _hand_over(connection, owner)
    return made


def _hand_over(connection: psycopg.Connection[Any], owner: str) -> None:
    """The owner of a database may make tables in it."""
    row = connection.execute(
        "SELECT current_database(), pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert row
    database, belongs_to = row
    if belongs_to != owner:
        # Only to a role that one may become oneself.
        connection.execute(SQL("GRANT {} TO CURRENT_USER").format(Identifier(owner)))
        connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(database), Identifier(owner)))


def _lets_in(address: str) -> bool:
    try:
        with psycopg.connect(address):
            return True
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            return False
        raise


def _set_password(connection: psycopg.Connection[Any], login: str, password: str) -> None:
    """The server gets what it proves passwords by, not the password: a statement may come to stand in its log."""
    proof = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(login), Literal(proof)))


def _prove(address: str, owner: str) -> None:
    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT current_user").fetchone()
    if row != (owner,):
        raise Misconfigured(
            f"Who logs in with DATABASE_URL does not become {owner}.",
            hint="Does the address set a role of its own, as by options=-crole=...?",
        )


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise Misconfigured(
            f"The roles cannot be made: {first_line(error)}.",
            hint="It needs CREATEROLE and CREATEDB, has to own the database, and to have made those that are there.",
        ) from error

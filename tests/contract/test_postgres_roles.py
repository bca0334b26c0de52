"""The roles of a database, made as an administrator who is no superuser, as RDS has one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
from postgresql import PostgresServer
from psycopg.sql import SQL, Identifier, Literal

from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.postgres_roles import RolesMade, make_roles
from pegasus.errors import Invalid, Misconfigured, Unavailable
from pegasus.identifiers import new_id
from pegasus.migrations import HEAD

ADMIN_PASSWORD, PASSWORD = "the-administrator's", "a-first+password"


@dataclass
class Database:
    """A database as RDS hands it over: its administrator owns it, may make roles, and is no superuser."""

    server: PostgresServer
    name: str
    prefix: str  # Roles are the server's, not the database's.

    @property
    def admin(self) -> str:
        return f"{self.prefix}_admin"

    @property
    def owner(self) -> str:
        return f"{self.prefix}_owner"

    @property
    def login(self) -> str:
        return f"{self.prefix}_app"

    @property
    def clone(self) -> str:
        return f"{self.login}_clone"

    def url(self, login: str, password: str) -> str:
        quoted = password.replace("+", "%2B").replace("'", "%27")
        return f"postgresql://{login}:{quoted}@127.0.0.1:{self.server.port}/{self.name}"

    def make(self, login: str = "", password: str = PASSWORD) -> RolesMade:
        url = self.url(login or self.login, password)
        return make_roles(url, self.admin, ADMIN_PASSWORD, [self.login, self.clone], self.owner)

    def as_admin(self, statement: str, *names: str, password: str = "") -> None:
        address = self.url(self.admin, ADMIN_PASSWORD)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names), password=Literal(password)))

    def rotate(self, login: str, password: str) -> None:
        """What AWS's function does for two logins that take turns, as their administrator."""
        self.as_admin("ALTER USER {} WITH PASSWORD {password}", login, password=password)

    def lets_in(self, login: str, password: str) -> bool:
        try:
            with psycopg.connect(self.url(login, password)) as connection:
                return connection.execute("SELECT current_user, session_user").fetchone() == (self.owner, login)
        except psycopg.OperationalError:
            return False


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    name = postgres_server.create()
    made = Database(postgres_server, name, name)
    password = ADMIN_PASSWORD.replace("'", "''")
    postgres_server.administer(SQL(f"CREATE ROLE {{}} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'"), made.admin)
    postgres_server.administer(SQL("ALTER DATABASE {} OWNER TO {}"), name, made.admin)
    yield made
    postgres_server.drop(name)
    for role in (made.login, made.clone, made.owner, made.admin):
        postgres_server.administer(SQL("DROP ROLE IF EXISTS {}"), role)


def test_from_nothing_the_schema_is_made_by_whoever_logs_in_and_the_wall_holds_for_him(database: Database):
    made = database.make()

    assert made == RolesMade(
        database.owner, [database.login, database.clone], [database.owner, database.login, database.clone], True
    )
    assert database.lets_in(database.login, PASSWORD)
    store = PostgresRelationalStore(database.url(database.login, PASSWORD), 1)
    store.migrate(HEAD)
    assert store.drift() == []
    workspace, other = new_id(), new_id()
    with store.write() as tx:
        for one in (workspace, other):
            tx.execute("INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, 0)", {"id": one, "name": one})
    with store.read(workspace) as tx:
        assert [row["id"] for row in tx.all("SELECT id FROM workspaces")] == [workspace]
    with store.read() as tx:
        owners = tx.all(
            "SELECT DISTINCT pg_get_userbyid(relowner) AS name FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace"
        )
        powers = tx.one(
            "SELECT rolsuper OR rolbypassrls OR rolcreaterole AS any FROM pg_roles WHERE rolname = current_user"
        )
    store.close()
    assert [row["name"] for row in owners] == [database.owner]
    assert powers == {"any": 0}


def test_again_it_changes_nothing(database: Database):
    database.make()

    assert database.make() == RolesMade(database.owner, [database.login, database.clone], [], False)


def test_a_password_that_was_changed_by_turns_stays_and_both_logins_work(database: Database):
    database.make()
    assert not database.lets_in(database.clone, PASSWORD)

    database.rotate(database.clone, "a-second+password")
    # The secret speaks of the other login now; a task from before it was changed has the first one.
    for login, password in ((database.clone, "a-second+password"), (database.login, PASSWORD)):
        assert not database.make(login, password).password_set
        assert database.lets_in(database.clone, "a-second+password")
        assert database.lets_in(database.login, PASSWORD)
    database.rotate(database.login, "a-third+password")
    assert not database.make(database.login, "a-third+password").password_set
    assert database.lets_in(database.clone, "a-second+password")


def test_tables_that_one_login_made_are_the_others_too(database: Database):
    database.make()
    with psycopg.connect(database.url(database.login, PASSWORD)) as connection:
        connection.execute("CREATE TABLE notes (id text)")
    database.rotate(database.clone, "a-second+password")

    with psycopg.connect(database.url(database.clone, "a-second+password")) as connection:
        connection.execute("ALTER TABLE notes ADD COLUMN title text")
        connection.execute("DROP TABLE notes")


def test_a_database_that_came_back_from_a_snapshot_takes_the_password_of_the_secret(database: Database):
    database.make(password="of-another+time")

    made = database.make()

    assert (made.made, made.password_set) == ([], True)
    assert database.lets_in(database.login, PASSWORD)


def test_what_was_interrupted_or_begun_by_hand_is_completed(database: Database):
    database.as_admin("CREATE ROLE {} NOLOGIN", database.owner)
    database.as_admin("CREATE ROLE {} LOGIN PASSWORD {password}", database.login, password=PASSWORD)

    made = database.make()

    assert (made.made, made.password_set) == ([database.clone], False)
    assert database.lets_in(database.login, PASSWORD)


def test_two_at_a_time_both_end_well(database: Database):
    with ThreadPoolExecutor(4) as pool:
        made = [one.result(60) for one in [pool.submit(database.make) for _ in range(4)]]

    assert sorted(len(one.made) for one in made) == [0, 0, 0, 3]
    assert database.lets_in(database.login, PASSWORD)


def test_no_password_comes_to_stand_in_the_log_of_the_server(database: Database):
    password = secrets.token_hex(16)
    database.server.administer(SQL("ALTER DATABASE {} SET log_statement = 'all'"), database.name)

    assert database.make(password=password).password_set

    log = (database.server.folder / "log").read_text()
    assert f'ALTER ROLE "{database.login}" PASSWORD' in log
    assert password not in log


def test_an_administrator_who_may_not_is_told_what_it_takes(database: Database):
    database.server.administer(SQL("ALTER ROLE {} NOCREATEROLE"), database.admin)
    with pytest.raises(Misconfigured, match="roles cannot be made: permission denied") as refused:
        database.make()
    assert "CREATEROLE" in refused.value.hint
    database.server.administer(SQL("ALTER ROLE {} CREATEROLE"), database.admin)
    database.server.administer(SQL("ALTER DATABASE {} OWNER TO postgres"), database.name)
    with pytest.raises(Misconfigured, match="roles cannot be made: must be owner of database"):
        database.make()
    # All of it or nothing.
    database.server.administer(SQL("ALTER DATABASE {} OWNER TO {}"), database.name, database.admin)
    assert len(database.make().made) == 3


def test_names_that_are_one_too_many(database: Database):
    with pytest.raises(Misconfigured, match="is the administrator, and what Pegasus logs in as"):
        database.make(database.admin, ADMIN_PASSWORD)
    with pytest.raises(Invalid, match="owns the tables, and cannot log in"):
        database.make(database.owner)
    with pytest.raises(Misconfigured, match="cannot be made: role name .* is reserved"):
        make_roles(database.url(database.login, PASSWORD), database.admin, ADMIN_PASSWORD, ["pg_mine"], database.owner)


def test_a_wrong_password_of_the_administrator_and_a_server_that_is_away(database: Database):
    url = database.url(database.login, PASSWORD)
    with pytest.raises(Misconfigured, match="refuses") as refused:
        make_roles(url, database.admin, "a-wrong+one", [], database.owner)
    assert "a-wrong+one" not in f"{refused.value} {refused.value.hint}"
    with pytest.raises(Unavailable):
        make_roles(url.replace(str(database.server.port), "9"), database.admin, ADMIN_PASSWORD, [], database.owner)

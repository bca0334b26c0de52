"""Settings: nothing set works, a bad value says which and what it takes, and nothing set is silently ignored."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from pegasus.errors import Misconfigured
from pegasus.settings import Settings, load_settings
from pegasus.store_urls import Bucket, GraphServer, RedisAddress, VectorServer


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pegasus.env"
    monkeypatch.setenv("PEGASUS_SETTINGS_FILE", str(path))
    return path


def test_nothing_set_is_embedded_on_this_machine() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.embedder, settings.agent) == (
        "127.0.0.1", 8000, "minilm", "extractive",
    )  # fmt: skip
    assert settings.data == Path.home() / ".pegasus"
    assert settings.embedding_threads >= 1


@pytest.mark.parametrize(("name", "value", "takes"), [
    ("PEGASUS_PORT", "70000", "65535"),
    ("PEGASUS_PORT", "http", "integer"),
    ("PEGASUS_PORT", "", "integer"),
    ("PEGASUS_EMBEDDER", "gpt", "minilm"),
    ("PEGASUS_JOB_MAX_ATTEMPTS", "0", "1"),
    ("PEGASUS_PARSE_TIMEOUT_SECONDS", "-1", "0"),
    ("PEGASUS_LOG_LEVEL", "loud", "warning"),
])  # fmt: skip
def test_a_bad_value_names_the_setting_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, takes: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as raised:
        load_settings()
    assert name in raised.value.detail
    assert takes in raised.value.detail
    assert raised.value.hint


def test_a_bad_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGASUS_PORT", "70000")
    with pytest.raises(Misconfigured, match="70000"):
        load_settings()


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGASUS_PORT", "x")
    monkeypatch.setenv("PEGASUS_AGENT", "y")
    with pytest.raises(Misconfigured, match=r"(?s)(?=.*PEGASUS_PORT)(?=.*PEGASUS_AGENT)"):
        load_settings()


def test_a_bad_override_names_the_setting() -> None:
    with pytest.raises(Misconfigured, match="PEGASUS_PORT"):
        load_settings(port=-1)


def test_an_override_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, settings_file: Path
) -> None:
    settings_file.write_text("PEGASUS_PORT=1\nPEGASUS_HOST=1.1.1.1\nPEGASUS_LOG_LEVEL=debug\n")
    monkeypatch.setenv("PEGASUS_PORT", "2")
    monkeypatch.setenv("PEGASUS_HOST", "2.2.2.2")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.host, settings.log_level) == (3, "2.2.2.2", "debug")


def test_a_bad_value_in_the_file_names_the_setting(settings_file: Path) -> None:
    settings_file.write_text("# a comment\nPEGASUS_PORT=none\n")
    with pytest.raises(Misconfigured, match="PEGASUS_PORT"):
        load_settings()


def test_a_file_that_is_not_there_is_an_error(settings_file: Path) -> None:
    with pytest.raises(Misconfigured, match="PEGASUS_SETTINGS_FILE"):
        load_settings()


def test_a_file_that_is_no_text_is_an_error_for_a_person(settings_file: Path) -> None:
    settings_file.write_bytes(b"PEGASUS_HOST=\xff\xfe\n")
    with pytest.raises(Misconfigured):
        load_settings()


SERVER_TIER = ("VERTEX_AI_PROJECT_ID", "VERTEX_AI_LOCATION")


@pytest.mark.parametrize("name", SERVER_TIER)
def test_a_server_that_would_not_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "postgresql://db/pegasus")
    with pytest.raises(Misconfigured, match=name):
        load_settings()
    monkeypatch.setenv(name, "")
    load_settings()


@pytest.mark.parametrize("name", SERVER_TIER)
def test_a_server_in_the_file_that_would_not_be_used_is_refused(settings_file: Path, name: str) -> None:
    settings_file.write_text(f"{name}=postgresql://db/pegasus\n")
    with pytest.raises(Misconfigured, match=name):
        load_settings()


@pytest.mark.parametrize(("name", "value"), [
    ("PEGASUS_VECTORS_URL", "chroma:8000"),
    ("PEGASUS_VECTORS_URL", "http://"),
    ("PEGASUS_VECTORS_URL", "http://chroma:80000"),
    ("PEGASUS_VECTORS_URL", "http://admin:p4ssword@chroma:8000"),
    ("PEGASUS_VECTORS_URL", "http://chroma:8000/api?token=p4ssword"),
    ("PEGASUS_VECTORS_URL", "http://chroma:8000/n"),
    ("PEGASUS_VECTORS_URL", "http://chroma:8000/api/v2"),
    ("PEGASUS_GRAPH_URL", "p4ssword"),
    ("PEGASUS_GRAPH_URL", "http://neo4j:p4ssword@graph:7687"),
    ("PEGASUS_GRAPH_URL", "bolt://neo4j:p4ssword@graph:port"),
    ("PEGASUS_GRAPH_URL", "bolt://neo4j:p4ssword[@graph"),
    ("PEGASUS_GRAPH_URL", "bolt://neo4j:p4ssword@graph:7687?tls=on"),
    ("PEGASUS_GRAPH_URL", "bolt+s://graph:8182?auth=sigv4"),
    ("PEGASUS_GRAPH_URL", "bolt+s://graph:8182?region=eu-west-1"),
    ("PEGASUS_GRAPH_URL", "bolt+s://neo4j:p4ssword@graph:8182?auth=sigv4&region=eu-west-1"),
    ("PEGASUS_GRAPH_URL", "bolt://graph:8182?auth=sigv4&region=eu-west-1"),
    ("PEGASUS_GRAPH_URL", "bolt+ssc://graph:8182?auth=sigv4&region=eu-west-1"),
    ("PEGASUS_CACHE_URL", "p4ssword"),
    ("PEGASUS_CACHE_URL", "http://:p4ssword@cache:6379"),
    ("PEGASUS_CACHE_URL", "redis://p4ssword@cache:6379"),
    ("PEGASUS_CACHE_URL", "redis://:p4ssword@cache:port"),
    ("PEGASUS_CACHE_URL", "redis://:p4ssword[@cache"),
    ("PEGASUS_CACHE_URL", "redis://:p4ssword@cache:6379/first"),
    ("PEGASUS_CACHE_URL", "redis://:p4ssword@cache:6379?ssl_cert_reqs=none"),
    ("PEGASUS_CACHE_URL", "redis://:p4ssword@cache:6379?cluster=yes"),
    ("PEGASUS_CACHE_URL", "rediss://:p4ssword@cache:6379/1?cluster=true"),
    ("PEGASUS_FILES_URL", "s3://key:p4ssword@bucket/prefix"),
    ("PEGASUS_FILES_URL", "s3://bucket/prefix?secret=p4ssword"),
    ("PEGASUS_FILES_URL", "s3://bucket?endpoint=http://key:p4ssword@minio:9000"),
    ("PEGASUS_FILES_URL", "s3://bucket?endpoint=minio:9000"),
    ("PEGASUS_FILES_URL", "s3://"),
    ("PEGASUS_FILES_URL", "gs://bucket/p4ssword"),
    ("PEGASUS_FILES_URL", "file://host/path"),
])  # fmt: skip
def test_a_server_that_is_named_wrongly_is_refused_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=name) as raised:
        load_settings()
    assert "p4ssword" not in str(raised.value.problem())
    assert "p4ssword" not in "".join(traceback.format_exception(raised.value))


def test_servers_are_named_by_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load_settings().vector_server, load_settings().graph_server, load_settings().files) == (None, None, None)
    monkeypatch.setenv("PEGASUS_VECTORS_URL", "http://chroma.internal")
    assert load_settings().vector_server == VectorServer("http://chroma.internal:8000")
    monkeypatch.setenv("PEGASUS_VECTORS_URL", "https://chroma.internal/notes/")
    monkeypatch.setenv("PEGASUS_GRAPH_URL", "neo4j+s://reader:p4%40ss@graph/notes")
    monkeypatch.setenv("PEGASUS_FILES_URL", "s3://bucket/a/b/?region=eu-west-1&endpoint=http://127.0.0.1:9000")
    settings = load_settings()
    assert settings.vector_server == VectorServer("https://chroma.internal:443", "notes")
    assert settings.graph_server == GraphServer("neo4j+s://graph:7687", "graph:7687", "reader", "p4@ss", "notes")
    assert settings.files == Bucket("bucket", "a/b", "eu-west-1", "http://127.0.0.1:9000")
    assert "p4" not in f"{settings!r} {settings.graph_server!r}"
    assert settings.embedded(Path("/x")).graph_server is None


@pytest.mark.parametrize(("value", "server"), [
    ("redis://cache", RedisAddress("cache", 6379, tls=False)),
    ("redis://:p4%40ss@cache:7000/3", RedisAddress("cache", 7000, False, None, "p4@ss", 3)),
    ("rediss://pegasus:p4%23ss@cache?cluster=true", RedisAddress("cache", 6379, True, "pegasus", "p4#ss", 0, True)),
    ("rediss://pegasus:p4@[::1]:6380/?cluster=false", RedisAddress("::1", 6380, True, "pegasus", "p4")),
])  # fmt: skip
def test_a_redis_is_named_by_a_url(monkeypatch: pytest.MonkeyPatch, value: str, server: RedisAddress) -> None:
    assert load_settings().cache_server is None
    monkeypatch.setenv("PEGASUS_CACHE_URL", value)
    settings = load_settings()
    assert settings.cache_server == server
    assert "p4" not in f"{settings!r} {settings.cache_server!r}"
    assert settings.embedded(Path("/x")).cache_server is None
    monkeypatch.setenv("PEGASUS_CACHE_URL", "")
    assert load_settings().cache_server is None


def test_neptune_is_asked_with_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGASUS_GRAPH_URL", "bolt+s://db.neptune.amazonaws.com:8182?auth=sigv4&region=eu-west-1")
    place = "db.neptune.amazonaws.com:8182"
    assert load_settings().graph_server == GraphServer(f"bolt+s://{place}", place, region="eu-west-1")


@pytest.mark.parametrize("value", ["/srv/my files", "file:///srv/my%20files"])
def test_files_may_be_in_another_folder(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PEGASUS_FILES_URL", value)
    assert load_settings().files == Path("/srv/my files")


ADDRESS = "postgresql://pegasus:a-secret@db.internal:5432/pegasus"


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS.replace("postgresql:", "postgres:")])
def test_the_address_of_postgresql_is_taken_and_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    settings = load_settings()
    assert settings.database_url
    assert settings.database_url.get_secret_value() == address
    assert "a-secret" not in repr(settings) + settings.model_dump_json()
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().database_url is None


def test_the_address_of_postgresql_may_stand_in_the_file(settings_file: Path) -> None:
    settings_file.write_text(f"DATABASE_URL={ADDRESS}\n")
    assert load_settings().database_url


def test_an_address_of_something_else_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://pegasus:a-secret@db/pegasus")
    with pytest.raises(Misconfigured, match="^DATABASE_URL: .*postgresql://") as raised:
        load_settings()
    assert "a-secret" not in str(raised.value)


def test_postgresql_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", ADDRESS)
    monkeypatch.setattr("pegasus.settings.find_spec", lambda name: None)
    with pytest.raises(Misconfigured, match=r"^DATABASE_URL: .*pegasus\[server\]"):
        load_settings()


def test_another_programs_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY", "URL", "HOST", "PORT", "DATA", "AGENT"):
        monkeypatch.setenv(name, "1")
    assert load_settings() == Settings()
    assert load_settings().key is None


def test_the_key_is_taken_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGASUS_KEY", "pgs_secret")
    settings = load_settings()
    assert settings.key == "pgs_secret"
    assert "pgs_secret" not in repr(settings)


def test_the_data_directory_is_absolute_and_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(data="here").data == tmp_path / "here"
    assert load_settings(data="~/here").data == Path.home() / "here"


def test_a_data_directory_of_nobody_is_an_error_for_a_person() -> None:
    with pytest.raises(Misconfigured, match="PEGASUS_DATA"):
        load_settings(data="~nobody-of-this-name/here")

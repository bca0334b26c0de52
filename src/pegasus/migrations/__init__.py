"""Schema changes, as expand and contract steps that Alembic runs; HEAD is the revision that this code needs."""

HEAD = "0006"


def revisions() -> list[str]:
    """Every revision that this code can bring a schema to, oldest first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "pegasus:migrations")
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]

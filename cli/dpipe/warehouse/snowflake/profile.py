"""What dbt-snowflake is told of the account; secrets stay in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpipe.settings import Project, SnowflakeSettings
    from dpipe.warehouse.snowflake.names import Names

# Statements run in Snowflake, so that more of them than cores are of use.
THREADS = 8


def profile_of(project: Project, settings: SnowflakeSettings, names: Names) -> dict[str, Any]:
    """The output of dbt's profile, whose file holds no secret."""
    output: dict[str, Any] = {
        "type": "snowflake",
        "account": settings.account,
        "user": settings.user,
        "role": names.role,
        "warehouse": names.warehouse,
        "database": names.build,
        "schema": "MAIN",
        "threads": THREADS,
        "client_session_keep_alive": True,
        "query_tag": "dpipe",
    }
    if settings.host is not None:
        output |= {"host": settings.host, "port": settings.port, "protocol": settings.protocol}
    if settings.private_key_file is not None:
        output["private_key_path"] = str(project.root / settings.private_key_file)
        if settings.private_key_passphrase is not None:
            output["private_key_passphrase"] = _from_environment("PRIVATE_KEY_PASSPHRASE")
    else:
        output |= {"authenticator": "oauth", "token": _from_environment("TOKEN")}
    return output


def _from_environment(name: str) -> str:
    return "{{ env_var('DPIPE_SNOWFLAKE__" + name + "') }}"

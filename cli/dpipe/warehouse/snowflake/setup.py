"""What an account needs before it can be loaded: printed first, and made by whoever administers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.contract.quality import quoted
from dpipe.errors import ConfigError
from dpipe.warehouse.snowflake.names import LOAD_SCHEMA, Names, text
from dpipe.warehouse.snowflake.table_copy import COLUMNS, FILES, TABLES, TURN

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import SnowflakeSettings

# What rows of the copies are accounted for by: one row a table, a file and a column of a copy.
LOAD_TABLES = {
    TABLES: "table_name varchar not null, snapshot_id number(19,0) not null, loaded_at timestamp_ltz not null",
    FILES: "table_name varchar not null, path varchar not null, partition_token varchar not null, "
    "row_count number(19,0) not null, bytes number(19,0) not null",
    COLUMNS: "table_name varchar not null, field_id number(10,0) not null, name varchar not null, "
    "type varchar not null",
}


def statements(settings: SnowflakeSettings, *, public_key: str | None) -> list[str]:
    """The account's objects, each made unless it is there: a warehouse that can't run away, databases, two roles.

    One role loads and builds and owns dpipe's databases and nothing else; the other reads published marts. `public_key`
    is the user's, in base64 without its PEM lines. Objects that are there already are not changed, but for the limits.
    """
    names = Names(settings.prefix)
    user = quoted(settings.user.upper())
    return [
        *_roles(names, user),
        *_warehouse(names, settings),
        *_databases(names),
        *_login(names, settings, user, public_key),
        *_load_objects(names),
    ]


def public_key_of(private_key: Path, passphrase: str | None) -> str:
    """The public key that belongs to a private one, in base64. Raises `ConfigError` when the file can't be read."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(private_key.read_bytes(), passphrase.encode() if passphrase else None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the private key `{private_key}` can't be read: {error}",
            hint="it is a PEM file; a passphrase is given in `DPIPE_SNOWFLAKE__PRIVATE_KEY_PASSPHRASE`",
        ) from error
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def _roles(names: Names, user: str) -> list[str]:
    return [
        "use role useradmin",
        f"create role if not exists {names.role} comment = 'dpipe: loads the lake and builds the marts'",
        f"create role if not exists {names.reader} comment = 'dpipe: reads the published marts'",
        f"create user if not exists {user} type = service default_role = {names.role} "
        f"default_warehouse = {names.warehouse} comment = 'dpipe'",
        f"grant role {names.role} to user {user}",
        # Whoever administers sees what the roles own.
        f"grant role {names.role} to role sysadmin",
        f"grant role {names.reader} to role sysadmin",
    ]


def _warehouse(names: Names, settings: SnowflakeSettings) -> list[str]:
    return [
        "use role sysadmin",
        f"create warehouse if not exists {names.warehouse} warehouse_size = {settings.warehouse_size} "
        f"auto_suspend = {settings.auto_suspend_seconds} auto_resume = true initially_suspended = true "
        "statement_timeout_in_seconds = 3600 comment = 'dpipe'",
        "use role accountadmin",
        f"create resource monitor if not exists {names.monitor} with credit_quota = {settings.monthly_credits} "
        "frequency = monthly start_timestamp = immediately "
        "triggers on 80 percent do notify on 100 percent do suspend on 110 percent do suspend_immediate",
        f"alter warehouse {names.warehouse} set resource_monitor = {names.monitor}",
        "use role sysadmin",
        f"grant usage on warehouse {names.warehouse} to role {names.role}",
        f"grant usage on warehouse {names.warehouse} to role {names.reader}",
    ]


def _databases(names: Names) -> list[str]:
    made = []
    for database, what in (
        (names.lake, "copies of tables of the lake"),
        (names.marts, "the published marts"),
        (names.candidate, "the candidate, which nobody reads"),
        (names.build, "marts under construction"),
    ):
        made += [
            f"create database if not exists {database} data_retention_time_in_days = 1 "
            f"comment = {text(f'dpipe: {what}')}",
            f"grant ownership on database {database} to role {names.role} copy current grants",
        ]
    return made


def _login(names: Names, settings: SnowflakeSettings, user: str, public_key: str | None) -> list[str]:
    made = []
    if public_key is not None:
        # A user that is there already may be anybody's.
        made += ["use role accountadmin", f"alter user {user} set rsa_public_key = {text(public_key)}"]
    if settings.allowed_networks:
        allowed = ", ".join(text(network) for network in settings.allowed_networks)
        made += [
            "use role accountadmin",
            f"create network policy if not exists {names.policy} allowed_ip_list = ({allowed})",
            f"alter network policy {names.policy} set allowed_ip_list = ({allowed})",
            f"alter user {user} set network_policy = {names.policy}",
        ]
    return made


def _load_objects(names: Names) -> list[str]:
    tables = [
        f"create table if not exists {names.of_load(table)} ({definition})"
        for table, definition in LOAD_TABLES.items()
    ]
    return [
        f"use role {names.role}",
        f"create schema if not exists {names.lake}.{LOAD_SCHEMA}",
        # Encrypted by Snowflake: files come over TLS, and are gone when they were copied.
        f"create stage if not exists {names.stage} encryption = (type = 'SNOWFLAKE_SSE')",
        *tables,
        # Every load takes its turn by changing this row.
        f"insert into {names.of_load(TABLES)} select {text(TURN)}, 0, current_timestamp() "  # noqa: S608 - names of ours
        f"where not exists (select 1 from {names.of_load(TABLES)} where table_name = {text(TURN)})",
    ]

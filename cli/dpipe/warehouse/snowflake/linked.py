"""The lake read in place by Snowflake: a catalog integration, and a database that is linked to the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.errors import ConfigError
from dpipe.iceberg.catalog import GLUE
from dpipe.warehouse.snowflake.names import Names, text

if TYPE_CHECKING:
    from dpipe.settings import Project

# Stands in what is printed for what the environment holds.
HIDDEN = "<DPIPE_CATALOG_CREDENTIAL>"


def statements(project: Project, names: Names, *, secret: str | None) -> list[str]:
    """What makes `<prefix>_LINKED` show the lake's tables as they are in its REST catalog, to be read only.

    `secret` is the catalog's client secret, None to have `HIDDEN` in its place. Raises `ConfigError` when the lake's
    catalog or its files are where Snowflake can't reach them.
    """
    settings = project.settings
    uri = project.catalog_uri
    if uri == GLUE:
        raise ConfigError(
            "the lake's catalog is set as `glue`, which Snowflake reaches by Glue's REST endpoint and a role of AWS",
            hint="load copies with `dpipe warehouse load`, or write the integration with `type = sigv4` by hand",
        )
    if not uri.startswith("https://") or not settings.warehouse:
        raise ConfigError(
            "Snowflake can read a lake in place when its catalog speaks REST over `https://` and its files are in S3",
            hint="set `catalog_uri` and `warehouse`; for any other lake there is `dpipe warehouse load`",
        )
    credential = settings.catalog_credential
    if credential is None:
        raise ConfigError(
            "the catalog's credential isn't given", hint="give `DPIPE_CATALOG_CREDENTIAL` as `id:secret`"
        )
    client_id = credential.get_secret_value().partition(":")[0]
    token_uri = settings.catalog_oauth2_uri or f"{uri.rstrip('/')}/v1/oauth/tokens"
    integration, database = f"{names.prefix}_CATALOG", f"{names.prefix}_LINKED"
    return [
        "use role accountadmin",
        f"create catalog integration if not exists {integration} catalog_source = iceberg_rest "
        f"table_format = iceberg catalog_namespace = 'raw' "
        f"rest_config = (catalog_uri = {text(uri)} warehouse = {text(settings.warehouse)} "
        "access_delegation_mode = vended_credentials) "
        f"rest_authentication = (type = oauth oauth_token_uri = {text(token_uri)} "
        f"oauth_client_id = {text(client_id)} oauth_client_secret = {text(secret or HIDDEN)} "
        "oauth_allowed_scopes = ('PRINCIPAL_ROLE:ALL')) enabled = true refresh_interval_seconds = 30",
        f"create database if not exists {database} linked_catalog = (catalog = {text(integration)} "
        "allowed_write_operations = none)",
        f"grant usage on database {database} to role {names.role}",
        f"grant usage on future schemas in database {database} to role {names.role}",
        f"grant select on future iceberg tables in database {database} to role {names.role}",
    ]

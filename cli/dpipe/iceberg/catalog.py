"""Opening the catalog and naming its tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pyiceberg.io import load_file_io
from pyiceberg.table import StaticTable
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from dpipe import s3
from dpipe.errors import UnavailableError
from dpipe.folders import make_private
from dpipe.iceberg.lookup import looking_up
from dpipe.iceberg.sql_catalog import LakeCatalog
from dpipe.iceberg.storage import size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.catalog import Catalog

    from dpipe.settings import Project

# Not the project's name: a catalog keeps its tables under this one, and a project may be renamed.
CATALOG_NAME = "dpipe"
RAW = "raw"
QUARANTINE = "quarantine"
LEDGER = ("dpipe", "batches")
COMPACTIONS = ("dpipe", "compactions")
DISMISSED = ("dpipe", "dismissed")
NAMESPACES = (RAW, QUARANTINE, LEDGER[0])
BUSY_TIMEOUT_SECONDS = 30
GLUE = "glue"

# A commit reads every manifest, so that a hundred of them, as is usual, would be a second.
MANIFESTS_TO_MERGE = 8
# Retries are ours: each one must look for its batches again before it appends (see `commit`).
TABLE_PROPERTIES = {
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": str(MANIFESTS_TO_MERGE),
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}

# A metadata file that another process has pruned already is nothing to tell about.
logging.getLogger("pyiceberg.catalog").setLevel(logging.ERROR)


def open_catalog(project: Project) -> Catalog:
    """The project's Iceberg catalog, made on the first call with its three namespaces.

    Raises `UnavailableError` when the catalog can't be used.
    """
    make_private(project.data_dir)
    properties = {"warehouse": project.warehouse, **_storage(project)}
    uri = project.catalog_uri
    if uri == GLUE:
        return _with_namespaces(_glue(properties))
    if uri.startswith(("http://", "https://")):
        return _with_namespaces(_rest(project, uri, properties))
    if not project.settings.warehouse:
        make_private(project.lake)
    try:
        return _open_sql(_patient(uri), properties)
    except SQLAlchemyError as error:
        raise UnavailableError(
            f"the Iceberg catalog can't be used: {error}",
            hint="check `catalog_uri`, its folder's permissions and that the disk isn't full",
        ) from error


@retry(
    retry=retry_if_exception_type((OperationalError, IntegrityError)),
    wait=wait_random(0.01, 0.1),
    stop=stop_after_attempt(6),
    reraise=True,
)
def _open_sql(uri: str, properties: dict[str, str]) -> Catalog:
    """Tried again, since another process may be making the same tables and namespaces just now."""
    return _with_namespaces(LakeCatalog(CATALOG_NAME, uri=uri, **properties))


def _rest(project: Project, uri: str, properties: dict[str, str]) -> Catalog:
    from pyiceberg.catalog.rest import RestCatalog

    settings = project.settings
    if settings.catalog_token is not None:
        properties["token"] = settings.catalog_token.get_secret_value()
    if settings.catalog_credential is not None:
        properties["credential"] = settings.catalog_credential.get_secret_value()
        # The specification's own place, which pyiceberg warns of when it isn't named.
        properties["oauth2-server-uri"] = settings.catalog_oauth2_uri or f"{uri.rstrip('/')}/v1/oauth/tokens"
    return RestCatalog(CATALOG_NAME, uri=uri, **properties)


def _glue(properties: dict[str, str]) -> Catalog:
    from pyiceberg.catalog.glue import GlueCatalog

    # Asked once: a commit that is asked for again, since its answer was lost, meets itself.
    return GlueCatalog(CATALOG_NAME, client=s3.client_of("glue", attempts=1), **properties)


def _with_namespaces(catalog: Catalog) -> Catalog:
    for namespace in NAMESPACES:
        catalog.create_namespace_if_not_exists(namespace)
    return looking_up(catalog)


def _storage(project: Project) -> dict[str, str]:
    """How the tables' files are reached."""
    if not project.settings.warehouse:
        return {}
    found = s3.access()
    named = {
        "s3.endpoint": found.endpoint,
        "s3.region": found.region,
    }
    # Keys of the machine's role end while a long run goes on; pyarrow gets new ones itself.
    if not found.of_role:
        named |= {
            "s3.access-key-id": found.access_key_id,
            "s3.secret-access-key": found.secret_access_key,
            "s3.session-token": found.session_token,
        }
    return {name: value for name, value in named.items() if value is not None}


def metadata_locations(project: Project) -> dict[str, str]:
    """The current metadata file of every table: `{"raw.flights": "file:///…/….metadata.json"}`.

    A location stays readable for the next 20 commits to its table, so ask anew in each session.
    """
    catalog = open_catalog(project)
    names = [name for namespace in NAMESPACES for name in catalog.list_tables(namespace)]
    return {".".join(name): catalog.load_table(name).metadata_location for name in sorted(names)}


def are_there(project: Project, locations: Mapping[str, str]) -> bool:
    """Whether these metadata files can still be read; old ones leave with later commits."""
    io = load_file_io(_storage(project))
    return all(size(io, location) is not None for location in locations.values())


def table_at(project: Project, location: str) -> StaticTable:
    """A table as its metadata file has it, whatever is committed meanwhile."""
    return StaticTable.from_metadata(location, _storage(project))


def _patient(uri: str) -> str:
    """Have SQLite wait for another process's write instead of failing after five seconds."""
    if uri.startswith("sqlite:") and "?" not in uri:
        return f"{uri}?timeout={BUSY_TIMEOUT_SECONDS}"
    return uri

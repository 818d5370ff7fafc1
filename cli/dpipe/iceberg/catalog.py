"""Opening the catalog and naming its tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from dpipe.errors import UnavailableError
from dpipe.folders import make_private
from dpipe.iceberg.sql_catalog import LakeCatalog

if TYPE_CHECKING:
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

    Raises `UnavailableError` when the catalog's database can't be used.
    """
    make_private(project.data_dir)
    make_private(project.lake)
    uri = _patient(project.catalog_uri)
    try:
        return _open(project, uri)
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
def _open(project: Project, uri: str) -> Catalog:
    """Tried again, since another process may be making the same tables and namespaces just now."""
    catalog = LakeCatalog(CATALOG_NAME, uri=uri, warehouse=f"file://{project.lake}")
    for namespace in NAMESPACES:
        catalog.create_namespace_if_not_exists(namespace)
    return catalog


def metadata_locations(project: Project) -> dict[str, str]:
    """The current metadata file of every table: `{"raw.flights": "file:///…/….metadata.json"}`.

    A location stays readable for the next 20 commits to its table, so ask anew in each session.
    """
    catalog = open_catalog(project)
    names = [name for namespace in NAMESPACES for name in catalog.list_tables(namespace)]
    return {".".join(name): catalog.load_table(name).metadata_location for name in sorted(names)}


def local_path(location: str) -> str:
    """The path of a `file://` location."""
    return location.removeprefix("file://")


def _patient(uri: str) -> str:
    """Have SQLite wait for another process's write instead of failing after five seconds."""
    if uri.startswith("sqlite:") and "?" not in uri:
        return f"{uri}?timeout={BUSY_TIMEOUT_SECONDS}"
    return uri

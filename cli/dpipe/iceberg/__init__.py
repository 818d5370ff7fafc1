"""The lake's tables: `raw.<dataset>`, `quarantine.<dataset>` and the ledger `dpipe.batches`."""

from dpipe.iceberg.catalog import metadata_locations, open_catalog

__all__ = ["metadata_locations", "open_catalog"]

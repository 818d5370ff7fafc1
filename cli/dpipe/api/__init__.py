"""The ingestion API. Only `dpipe serve` imports it, so that FastAPI is needed only there."""

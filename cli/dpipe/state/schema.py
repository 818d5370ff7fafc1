"""Tables of the state database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """An instant, stored as ISO 8601 text in UTC with microseconds, so that text order is time order."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Refuse a time without a zone: it would be read back as another instant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read the text back as a time in UTC."""
        return None if value is None else datetime.fromisoformat(value)


runs = Table(
    "runs",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("command", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False, index=True),
    Column("finished_at", UtcTime),
    Column("status", String(16), nullable=False),
    Column("exit_code", Integer),
    Column("error", Text),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", BigInteger),
)

stage_results = Table(
    "stage_results",
    metadata,
    Column("run_id", String(32), nullable=False, index=True),
    Column("stage", String(32), nullable=False),
    Column("dataset", Text),
    Column("started_at", UtcTime, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("records_in", BigInteger),
    Column("accepted", BigInteger),
    Column("rejected", BigInteger),
    Column("duplicate", BigInteger),
    Column("snapshot_id", BigInteger),
    Column("detail", Text),
)

# What stages used, and each run outside of them. A table of its own: a new one appears in databases that are there.
stage_usage = Table(
    "stage_usage",
    metadata,
    Column("run_id", String(32), nullable=False, index=True),
    Column("stage", String(32), nullable=False),
    Column("dataset", Text),
    Column("started_at", UtcTime, nullable=False, index=True),
    Column("seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("records", BigInteger),
    Column("bytes_read", BigInteger),
    Column("bytes_written", BigInteger),
    Column("bytes_stored", BigInteger),
    Column("bytes_scanned", BigInteger),
    Column("s3_writes", BigInteger, nullable=False),
    Column("s3_reads", BigInteger, nullable=False),
    Column("warehouse_seconds", Float),
    Column("warehouse_size", String(16)),
    Column("overlapped", Boolean, nullable=False),
)

quality_results = Table(
    "quality_results",
    metadata,
    Column("run_id", String(32), nullable=False, index=True),
    Column("checked_at", UtcTime, nullable=False),
    Column("layer", String(16), nullable=False),
    Column("relation", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("column_name", Text),
    Column("severity", String(16), nullable=False),
    Column("success", Boolean, nullable=False),
    Column("unexpected_count", BigInteger),
    Column("total_count", BigInteger),
    Column("observed", Text),
    Column("detail", Text),
    Index("quality_results_by_relation", "relation", "checked_at"),
)

refused_batches = Table(
    "refused_batches",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("batch_id", String(64), primary_key=True),
    Column("refused_at", UtcTime, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("counts", Text, nullable=False),
)

processing = Table(
    "processing",
    metadata,
    Column("dataset", String(255), primary_key=True),
    Column("run_id", String(32), primary_key=True),
    Column("batch_ids", Text, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("requests_per_minute", BigInteger),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
)

api_quotas = Table(
    "api_quotas",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("bytes_per_day", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Index("jobs_by_arrival", "received_at", "job_id"),
)

# Who reads which shard of a stream, and how far its records have landed. `counter` grows with every change of hands and
# every renewal; `checkpoint` is the last sequence number of a landed batch.
stream_leases = Table(
    "stream_leases",
    metadata,
    Column("dataset", String(255), primary_key=True),
    Column("stream", String(512), primary_key=True),
    Column("shard", String(128), primary_key=True),
    Column("starting", String(160), primary_key=True),
    Column("owner", Text),
    Column("counter", BigInteger, nullable=False),
    Column("expires_at", UtcTime),
    Column("checkpoint", String(160)),
    Column("finished", Boolean, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

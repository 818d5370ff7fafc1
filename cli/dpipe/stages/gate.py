"""The gate: what must hold of a batch as a whole before it is published, checked on the files as written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression

from dpipe.contract.arrow import arrow_type
from dpipe.iceberg.schema import BATCH_ID
from dpipe.quality.batch import measure
from dpipe.state import QualityResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.contract import Contract, QualityRule
    from dpipe.stages.kernel import BatchCounts

REJECTED_SHARE = "rejected_share"
BATCH = "batch"


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one batch; `reasons` has a sentence for every broken rule that refuses it."""

    batch_id: str
    results: list[QualityResult]
    reasons: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether the batch stays out."""
        return bool(self.reasons)


def judge(
    contract: Contract, batches: Sequence[BatchCounts], accepted: Sequence[str], max_rejected_share: float
) -> list[Verdict]:
    """Check every batch by the kernel's counts and by the contract's whole-batch rules.

    `accepted` are the paths of the Parquet files that hold the batches' accepted rows. Raises `DpipeError`
    when a rule can't be worked out.
    """
    if not contract.quality:
        return [_verdict(contract, batch, [], max_rejected_share) for batch in batches]
    with duckdb.connect() as connection:
        rows = _rows(connection, contract, accepted)
        verdicts = []
        for batch in batches:
            of_batch = ColumnExpression(BATCH_ID) == ConstantExpression(batch.batch_id)
            rows.filter(of_batch).create_view(BATCH, replace=True)
            results = [_measure(connection, contract, rule, batch) for rule in contract.quality]
            verdicts.append(_verdict(contract, batch, results, max_rejected_share))
    return verdicts


def _rows(
    connection: duckdb.DuckDBPyConnection, contract: Contract, paths: Sequence[str]
) -> duckdb.DuckDBPyRelation:
    if paths:
        # The folders are named after partition values, which must not turn into columns.
        return connection.read_parquet(list(paths), hive_partitioning=False)
    columns = [pa.field(column.name, arrow_type(column)) for column in contract.plan.columns]
    return connection.from_arrow(pa.schema([*columns, pa.field(BATCH_ID, pa.string())]).empty_table())


def _measure(
    connection: duckdb.DuckDBPyConnection, contract: Contract, rule: QualityRule, batch: BatchCounts
) -> QualityResult:
    rows = batch.accepted + batch.duplicate
    value = measure(connection, BATCH, rule, dataset=contract.dataset, rows=rows)
    counts_rows = rule.unit == "rows" and rule.metric != "rowCount"
    return QualityResult(
        layer="gate",
        relation=f"raw.{contract.dataset}",
        rule=rule.name,
        column_name=rule.column,
        success=rule.holds(value),
        severity=rule.severity,
        unexpected_count=int(value) if counts_rows else None,
        total_count=batch.accepted,
        observed=f"{value:g}",
        detail=f"{batch.batch_id}: {rule.describe()}",
    )


def _verdict(
    contract: Contract, batch: BatchCounts, measured: list[QualityResult], max_rejected_share: float
) -> Verdict:
    share = batch.rejected / batch.records_in if batch.records_in else 0.0
    rejected = QualityResult(
        layer="gate",
        relation=f"raw.{contract.dataset}",
        rule=REJECTED_SHARE,
        success=share <= max_rejected_share,
        unexpected_count=batch.rejected,
        total_count=batch.records_in,
        observed=f"{share:.6g}",
        detail=f"{batch.batch_id}: rejected share ≤ {max_rejected_share:g}",
    )
    reasons = [] if rejected.success else [_share_broken(batch, share, max_rejected_share)]
    reasons += [
        f"`{result.rule}` is {result.observed}, {(result.detail or '').partition(': ')[2]}"
        for result in measured
        if not result.success and result.severity == "error"
    ]
    return Verdict(batch.batch_id, [rejected, *measured], tuple(reasons))


def _share_broken(batch: BatchCounts, share: float, allowed: float) -> str:
    most = sorted(batch.violations, key=lambda violation: -violation["records"])[:3]
    which = "; ".join(
        f"{violation['records']:,} by `{violation['rule']}`"
        + (f" of `{violation['column']}`" if violation["column"] else "")
        for violation in most
    )
    return (
        f"`{REJECTED_SHARE}` is {share:.2%}, more than {allowed:.2%}: "
        f"{batch.rejected:,} of {batch.records_in:,} records ({which})"
    )

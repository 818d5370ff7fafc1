"""The quarantine: how many records by reason, and the records with their place and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queries import lake

if TYPE_CHECKING:
    import pandas as pd

NAMESPACE = "quarantine"
SHOWN_BYTES = 4000


@dataclass(frozen=True)
class Reason:
    """Which records are meant; None means any. A duplicate's rule is its kind, and it has no column."""

    disposition: str | None = None
    rule: str | None = None
    column: str | None = None
    batch: str | None = None

    def parameters(self) -> dict[str, Any]:
        """The values that `_CHOSEN` binds."""
        return vars(self)


_CHOSEN = """
    ($batch::varchar is null or _dpipe_batch_id = $batch)
    and ($disposition::varchar is null or disposition = $disposition)
    and (
        $rule::varchar is null
        or duplicate_kind = $rule
        or len(list_filter(
            violations, lambda broken: broken.rule = $rule and broken."column" is not distinct from $column::varchar
        )) > 0
    )
"""


def datasets() -> list[str]:
    """Datasets that have a quarantine table, sorted."""
    return [name.removeprefix(f"{NAMESPACE}.") for name in lake.tables() if name.startswith(f"{NAMESPACE}.")]


def reasons(dataset: str, batch: str | None = None) -> pd.DataFrame:
    """Records by `disposition`, `column_name` and `rule`, the most first; who broke several rules counts under each.

    With `batch` those of one batch only.
    """
    return lake.read(
        f"{NAMESPACE}.{dataset}",
        """
        with broken as (
            select _dpipe_batch_id, _dpipe_record_no, unnest(violations) as violation
            from lake_table
            where disposition = 'rejected' and ($batch::varchar is null or _dpipe_batch_id = $batch)
        )
        select
            'rejected' as disposition,
            violation."column" as column_name,
            violation.rule as rule,
            count(distinct (_dpipe_batch_id, _dpipe_record_no)) as records
        from broken
        group by all
        union all
        select 'duplicate', null, duplicate_kind, count(*)
        from lake_table
        where disposition = 'duplicate' and ($batch::varchar is null or _dpipe_batch_id = $batch)
        group by all
        order by records desc, rule, column_name
        """,
        {"batch": batch},
    )


def count(dataset: str, reason: Reason) -> int:
    """How many records there are of a reason."""
    sql = f"select count(*) as records from lake_table where {_CHOSEN}"  # noqa: S608 - a constant
    return int(lake.read(f"{NAMESPACE}.{dataset}", sql, reason.parameters())["records"].iloc[0])


def records(dataset: str, reason: Reason, limit: int) -> pd.DataFrame:
    """At most `limit` records of a reason by batch and place; of `raw`, the first `SHOWN_BYTES` bytes."""
    sql = f"""
        select
            disposition,
            duplicate_kind,
            _dpipe_batch_id as batch_id,
            _dpipe_record_no as record_number,
            member,
            line,
            byte_offset,
            byte_length,
            raw_format,
            raw_header,
            array_slice(raw, 1, {SHOWN_BYTES}) as raw,
            octet_length(raw) as raw_bytes,
            violations,
            winner_batch_id,
            winner_record_no as winner_record_number
        from lake_table
        where {_CHOSEN}
        order by batch_id, record_number
        limit $limit
    """  # noqa: S608 - constants
    return lake.read(f"{NAMESPACE}.{dataset}", sql, {**reason.parameters(), "limit": limit})

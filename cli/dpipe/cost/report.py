"""What `dpipe cost` answers: JSON documents, rows of tables, charts."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from dpipe.cost import charts
from dpipe.cost.model import Figure, Price
from dpipe.cost.money import DAYS_A_MONTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dpipe.cost.architectures import Comparison
    from dpipe.cost.ledger import Bill, Group
    from dpipe.cost.model import PriceFile

PARTS = ("compute", "storage", "warehouse", "requests")
MONTHLY_PARTS = ("compute", "loading", "storage", "stream", "requests")
MB = 1e6


def prices_listed(file: PriceFile) -> list[dict[str, Any]]:
    """Every price by its key in the file."""
    return [
        {"key": key, **{name: value for name, value in one.model_dump().items() if value is not None}}
        for key, one in _walk(file.prices, "prices")
        if isinstance(one, Price)
    ]


def prices_in_use(file: PriceFile) -> list[dict[str, Any]]:
    """The same without machines, editions and warehouses that neither the ledger nor an architecture names."""
    named: set[str] = {file.ledger.vm, file.ledger.edition, file.ledger.warehouse_size}
    for one in file.architectures.values():
        if one.kind == "vm":
            named.add(one.vm)
        elif one.kind == "warehouse":
            named |= {one.size, one.edition}
    prices = file.prices
    others = (prices.vms.keys() | prices.snowflake_credit.keys() | prices.snowflake_warehouses.keys()) - named
    return [one for one in prices_listed(file) if not any(one["key"].endswith(f".{name}") for name in others)]


def assumptions(section: BaseModel | Mapping[str, BaseModel], name: str) -> list[dict[str, Any]]:
    """Every assumption of a section by its key in the file; what is no number is given."""
    found = []
    for key, one in _walk(section, name):
        if isinstance(one, Figure):
            found.append({"key": key, "value": one.value, "basis": one.basis, "note": one.note})
        elif key.rpartition(".")[2] not in {"kind", "title"}:
            found.append({"key": key, "value": one, "basis": "given", "note": None})
    return found


def _walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - models, mappings and leaves
    if isinstance(value, (Price, Figure)):
        yield key, value
    elif isinstance(value, BaseModel):
        for name, one in value:
            yield from _walk(one, f"{key}.{name}")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _walk(one, f"{key}.{name}")
    else:
        yield key, value


def bill_document(bill: Bill, file: PriceFile, since: str | None) -> dict[str, Any]:
    """The answer for machines."""
    return {
        "by": bill.by,
        "since": since,
        "currency": file.currency,
        "groups": [_group(group) for group in bill.groups],
        "total": _group(bill.total),
        "notes": bill.notes,
        "assumptions": assumptions(file.ledger, "ledger"),
        "prices": prices_listed(file),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "used": group.amounts.to_dict(),
        "cost": group.cost.to_dict(),
        "projected": [{"times": times, **cost.to_dict()} for times, cost in group.projected.items()],
    }


def bill_columns(bill: Bill) -> list[str]:
    """Names of the columns of `bill_rows`; those from the second on are numbers made into text."""
    used = ["records", "s", "CPU s", "read MB", "written MB", "scanned MB", "S3 requests", "credits"]
    money = [*PARTS, "total", *(f"at {times}x" for times in bill.total.projected)]
    return [bill.by, *used, *money]


def bill_rows(bill: Bill) -> list[tuple[str, ...]]:
    """A row for each group and one for the total."""
    groups = bill.groups if len(bill.groups) == 1 else [*bill.groups, bill.total]
    return [_bill_row(group) for group in groups]


def _bill_row(group: Group) -> tuple[str, ...]:
    used, cost = group.amounts, group.cost.to_dict()
    return (
        group.name,
        f"{used.records:,.0f}",
        f"{used.seconds:,.2f}",
        f"{used.cpu_seconds:,.2f}",
        *(f"{size / MB:,.1f}" for size in (used.bytes_read, used.bytes_written, used.bytes_scanned)),
        f"{used.s3_writes + used.s3_reads:,.0f}",
        f"{used.credits:,.4f}",
        *(money(cost[part]) for part in PARTS),
        money(cost["total"]),
        *(money(one.total) for one in group.projected.values()),
    )


def money(amount: float) -> str:
    """An amount with two digits after the point; a small one with as many as say something."""
    if not amount:
        return "0"
    return f"{amount:,.{max(2, 2 - math.floor(math.log10(abs(amount))))}f}"


def bill_chart(bill: Bill, file: PriceFile) -> str:
    """The groups as bars."""
    rows = [_bar(group.name, group.cost.to_dict(), PARTS) for group in bill.groups]
    return charts.stacked(f"Cost by {bill.by}", file.currency, PARTS, rows)


def _bar(label: str, cost: Mapping[str, float], parts: Sequence[str]) -> tuple[str, list[float], str]:
    return label, [cost[part] for part in parts], money(cost["total"])


def comparison_document(found: Comparison, file: PriceFile) -> dict[str, Any]:
    """The answer for machines."""
    return {
        "records_per_day": found.records_per_day,
        "currency": file.currency,
        "architectures": [
            {
                **asdict(one),
                "cost": one.cost.to_dict(),
                "per_million_records": per_million(found, one.cost.total),
            }
            for one in found.estimates
        ],
        "savings": found.savings,
        "growth": [
            {
                "title": title,
                "processing": [{"records_per_day": round(records), "cost": cost} for records, cost in line],
            }
            for title, line in found.growth.items()
        ],
        "assumptions": _comparison_assumptions(file),
        "prices": prices_listed(file),
    }


def _comparison_assumptions(file: PriceFile) -> list[dict[str, Any]]:
    return [
        *assumptions(file.workload, "workload"),
        *assumptions(file.rest_of_path, "rest_of_path"),
        *assumptions(file.architectures, "architectures"),
    ]


def per_million(found: Comparison, a_month: float) -> float:
    """What a million records cost."""
    return a_month / (found.records_per_day * DAYS_A_MONTH / 1e6)


COMPARISON = (
    "architecture",
    "rate is",
    "machines",
    "busy h",
    *MONTHLY_PARTS,
    "total a month",
    "a million records",
)


def comparison_rows(found: Comparison) -> list[tuple[str, ...]]:
    """A row for each architecture, as `COMPARISON` names them."""
    return [
        (
            one.title,
            one.basis,
            "" if one.machines is None else str(one.machines),
            f"{one.busy_hours:,.1f}",
            *(money(one.cost.to_dict()[part]) for part in MONTHLY_PARTS),
            money(one.cost.total),
            money(per_million(found, one.cost.total)),
        )
        for one in found.estimates
    ]


def savings_said(found: Comparison, file: PriceFile) -> list[str]:
    """What the kernel saves, in sentences."""
    title = {one.name: one.title for one in found.estimates}
    return [
        f"{title[one.of]} beside {title[one.beside]}: {one.cpu_seconds / 3600:,.1f} processor hours a month less, "
        f"worth {money(one.worth)} {file.currency}; the bill is {_than(one.bill, file.currency)}"
        for one in found.savings
    ]


def _than(less: float, currency: str) -> str:
    if not less:
        return "the same"
    return f"{'lower' if less > 0 else 'higher'} by {money(abs(less))} {currency}"


def comparison_chart(found: Comparison, file: PriceFile) -> str:
    """The architectures as bars."""
    rows = [_bar(one.title, one.cost.to_dict(), MONTHLY_PARTS) for one in found.estimates]
    title = f"{found.records_per_day:,.0f} records a day, by configs/prices.yaml"
    return charts.stacked(title, f"{file.currency} a month", MONTHLY_PARTS, rows)


def growth_chart(found: Comparison, file: PriceFile) -> str:
    """What processing costs as records grow."""
    return charts.log_lines(
        "Loading, checking and modelling, by configs/prices.yaml",
        "records a day",
        f"{file.currency} a month, without storage and requests",
        found.growth,
    )

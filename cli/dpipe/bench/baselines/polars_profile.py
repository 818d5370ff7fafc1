"""polars' profile of the accepted rows.

Grouping a column by its values takes less time than its quantiles alone do, is exact, and leaves few rows for every
other figure. Where values hardly repeat the plain aggregates are taken instead, and a sample is grouped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dpipe.bench.profile import (
    SAMPLE,
    SHARES,
    TOP,
    TRIAL,
    ColumnProfile,
    from_figures,
    hardly_repeat,
    is_profiled,
)

if TYPE_CHECKING:
    import polars as pl

    from dpipe.contract import Column, Plan


def profiles(good: pl.DataFrame, plan: Plan) -> dict[str, ColumnProfile]:
    """A profile of each column of the accepted rows."""
    import polars as pl

    columns = [column for column in plan.columns if is_profiled(column)]
    vain = [column for column in columns if _hardly_repeats(good[column.name])]
    step = max(1, len(good) // SAMPLE)
    queries = [
        *(_grouped(good.lazy(), column, 1) for column in columns if column not in vain),
        *(_plain(good.lazy(), column) for column in vain),
        *(_grouped(good.gather_every(step).lazy(), column, step) for column in vain),
    ]
    found = {
        column.name: ColumnProfile(len(good), good[column.name].null_count())
        for column in plan.columns
        if not is_profiled(column)
    }
    for figures in pl.collect_all(queries):
        told = figures.row(0, named=True)
        profile, whole = from_figures(told), found.get(told["name"])
        found[told["name"]] = (
            replace(whole, quantiles=profile.quantiles, top=profile.top) if whole else profile
        )
    return found


def _hardly_repeats(values: pl.Series) -> bool:
    first = values.head(TRIAL).drop_nulls()
    return len(values) >= TRIAL and hardly_repeat(len(first), first.n_unique())


def _grouped(rows: pl.LazyFrame, column: Column, step: int) -> pl.LazyFrame:
    """The figures by how often each value occurs; what a sample's `step` leaves out counts too."""
    import polars as pl

    value, times = pl.col("value"), pl.col("times")
    counted = (
        rows.group_by(pl.col(column.name).to_physical().alias("value"))
        .agg((pl.len() * step).cast(pl.Int64).alias("times"))
        .sort("value")
    )
    there = times.filter(value.is_not_null())
    length = value.str.len_chars() if column.kind == "string" else None
    number = (value if length is None else length).cast(pl.Float64)
    most = pl.struct("value", "times").filter(value.is_not_null()).top_k_by(there, TOP)
    places = there.cum_sum().search_sorted(pl.lit(pl.Series(SHARES)) * there.sum())
    quantiles = (
        pl.lit(None) if length is not None else value.drop_nulls().gather(places, null_on_oob=True).implode()
    )
    return counted.select(
        pl.lit(column.name).alias("name"),
        rows=times.sum(),
        values=there.sum(),
        distinct=value.count(),
        least=value.min(),
        greatest=value.max(),
        mean=(number * times).sum() / there.sum(),
        lengths=_lengths(length),
        quantiles=quantiles,
        top=most.implode(),
    )


def _plain(rows: pl.LazyFrame, column: Column) -> pl.LazyFrame:
    """The figures but quantiles and frequent values."""
    import polars as pl

    value = pl.col(column.name).to_physical()
    length = value.str.len_chars() if column.kind == "string" else None
    return rows.select(
        pl.lit(column.name).alias("name"),
        rows=pl.len(),
        values=value.count(),
        distinct=value.drop_nulls().approx_n_unique(),
        least=value.min(),
        greatest=value.max(),
        mean=(value if length is None else length).mean(),
        lengths=_lengths(length),
        quantiles=pl.lit(None),
        top=pl.lit(None),
    )


def _lengths(length: pl.Expr | None) -> pl.Expr:
    import polars as pl

    return pl.lit(None) if length is None else pl.concat_list(length.min(), length.max())

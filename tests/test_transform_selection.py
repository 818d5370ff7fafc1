"""Which models new batches ask for, by a manifest that is made up."""

from __future__ import annotations

from typing import Any

from dpipe.warehouse.selection import needed

STORED = {"marts.dim_a", "marts.fct_b", "seeds.codes", "snapshots.snap_a"}
VIEWS = {"stg_a", "stg_b"}


def node(name: str, kind: str, materialized: str, *parents: str, schema: str = "marts") -> dict[str, Any]:
    return {
        "name": name,
        "alias": name,
        "schema": schema,
        "fqn": ["shop", name],
        "resource_type": kind,
        "config": {"materialized": materialized},
        "depends_on": {"nodes": list(parents)},
    }


def source(schema: str, identifier: str) -> dict[str, Any]:
    return {"schema": schema, "identifier": identifier}


NODES = {
    "model.stg_a": node("stg_a", "model", "view", "source.a", schema="staging"),
    "model.stg_b": node("stg_b", "model", "view", "source.b", schema="staging"),
    "model.dim_a": node("dim_a", "model", "table", "model.stg_a"),
    "model.fct_b": node("fct_b", "model", "incremental", "model.stg_b", "model.dim_a", "source.new"),
    "snapshot.snap_a": node(
        "snap_a", "snapshot", "snapshot", "model.stg_a", "source.new", schema="snapshots"
    ),
    "seed.codes": node("codes", "seed", "seed", schema="seeds"),
    "test.a": node("a_is_unique", "test", "test", "model.stg_a"),
    "test.b": node("b_is_unique", "test", "test", "model.stg_b"),
    "test.both": node("both", "test", "test", "model.stg_a", "model.stg_b"),
    "operation.x": node("x", "operation", "view"),
}
SOURCES = {
    "source.a": source("raw", "a"),
    "source.b": source("raw", "b"),
    "source.new": source("dpipe_meta", "batches_to_transform"),
}


def selected(datasets: set[str], there: set[str], new: dict[str, Any] | None = None) -> set[str]:
    children: dict[str, list[str]] = {}
    for name, one in NODES.items():
        for parent in one["depends_on"]["nodes"]:
            children.setdefault(parent, []).append(name)
    sources = SOURCES | {"source.new": new or SOURCES["source.new"]}
    manifest = {"nodes": NODES, "sources": sources, "child_map": children}
    return {name.removeprefix("shop.") for name in needed(manifest, datasets, there)}


def test_what_is_made_of_a_dataset_is_built_and_tested() -> None:
    assert selected({"b"}, STORED) == VIEWS | {"fct_b", "b_is_unique", "both"}
    # A test is run when a model that it looks at is made of the dataset, however far away.
    assert selected({"a"}, STORED) == VIEWS | {"dim_a", "fct_b", "snap_a", "a_is_unique", "both"}


def test_what_the_base_does_not_have_is_built_too() -> None:
    there = STORED - {"seeds.codes"}
    assert selected({"b"}, there) == VIEWS | {"codes", "fct_b", "b_is_unique", "both"}
    assert selected(set(), set()) == VIEWS | {"codes", "dim_a", "fct_b", "snap_a"}


def test_a_source_of_which_nothing_is_known_may_have_changed() -> None:
    assert selected(set(), STORED, source("elsewhere", "prices")) == VIEWS | {"fct_b", "snap_a"}

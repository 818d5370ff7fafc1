"""`dpipe streams`: how far streams have been consumed, and by whom."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

if TYPE_CHECKING:
    from dpipe.state.leases import Lease

app = typer.Typer(help="Streams that feed datasets.", no_args_is_help=True)


@app.command("list")
def list_shards(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(help="Dataset; all when left out", autocompletion=dataset_names),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the shards that are or were consumed: which worker has each, and what landed of it last.

    Example: `dpipe streams list orders`
    """
    from dpipe.state import leases, open_state

    found = [
        (feed, lease)
        for feed, lease in leases.every(open_state(open_project(ctx)))
        if dataset is None or feed.dataset == dataset
    ]
    now = datetime.now(UTC)
    if as_json:
        output.emit_json(
            [
                {
                    "dataset": feed.dataset,
                    "stream": feed.stream,
                    **asdict(lease.key),
                    "state": _state(lease, now),
                    "owner": lease.owner,
                    "expires_at": lease.expires_at,
                    "checkpoint": lease.checkpoint,
                    "changed_at": lease.changed_at,
                }
                for feed, lease in found
            ]
        )
        return
    output.table(
        ["dataset", "stream", "shard", "state", "worker", "checkpoint", "since"],
        [
            (
                feed.dataset,
                feed.stream.rpartition("/")[2],
                lease.key.shard,
                _state(lease, now),
                lease.owner if lease.is_held(now) else None,
                lease.checkpoint,
                lease.changed_at.isoformat(timespec="seconds"),
            )
            for feed, lease in found
        ],
    )


def _state(lease: Lease, now: datetime) -> str:
    if lease.finished:
        return "finished"
    return "consumed" if lease.is_held(now) else "free"

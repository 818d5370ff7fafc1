"""`dpipe keys`: who may use the API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, duration, open_project, size

app = typer.Typer(help="Keys for the API of `dpipe serve`.", no_args_is_help=True)


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose key it is, for people")],
    scope: Annotated[
        list[str],
        typer.Option(help="What it may do, more by repeating it: `write:flights`, `read:*`, `admin:*`."),
    ],
    expires: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="How long it lasts: `12h`, `90d`; default for ever."
        ),
    ] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Requests that it may make a minute.")] = None,
    bytes_per_day: Annotated[
        int | None,
        typer.Option(
            parser=size,
            metavar="SIZE",
            help="Bytes that it may submit a day (UTC): `500MB`, `2GiB`, `1000000`.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key and print it: it is shown this once, and only its hash is kept.

    Example: `dpipe keys create airline-feed --scope write:flights --expires 90d`
    """
    from dpipe.contract import contract_path
    from dpipe.state import keys

    project = open_project(ctx)
    for one in scope:
        dataset = one.partition(":")[2]
        if keys.SCOPE.fullmatch(one) and dataset != keys.ANY:
            contract_path(project, dataset)
    until = None if expires is None else datetime.now(UTC) + expires
    key, text = keys.create(
        project,
        name,
        scope,
        expires_at=until,
        requests_per_minute=per_minute,
        bytes_per_day=bytes_per_day,
    )
    if as_json:
        output.emit_json(asdict(key) | {"key": text})
        return
    output.note(f"key {key.key_id} of `{name}`, which is shown this once:")
    output.emit(text)


@app.command("list")
def list_keys(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the keys, without their secrets.

    Example: `dpipe keys list`
    """
    from dpipe.state import keys, open_state, quotas

    project, now = open_project(ctx), datetime.now(UTC)
    found, used = keys.listed(project), quotas.used(open_state(project), now.date())
    if as_json:
        output.emit_json([asdict(key) | {"bytes_today": used.get(key.key_id)} for key in found])
        return
    output.table(
        ["key", "name", "scopes", "a minute", "bytes a day", "today", "made", "expires", "state"],
        [
            (
                key.key_id,
                key.name,
                ", ".join(key.scopes),
                key.requests_per_minute,
                key.bytes_per_day,
                used.get(key.key_id),
                _day(key.created_at),
                _day(key.expires_at),
                "valid" if key.is_valid(now) else "revoked" if key.revoked_at else "expired",
            )
            for key in found
        ],
    )


@app.command()
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The key's id, as `dpipe keys list` shows it")],
    as_json: JsonFlag = False,
) -> None:
    """Have a key open nothing any more, within seconds also in servers that are running.

    Example: `dpipe keys revoke 3fa90c11d2aa`
    """
    from dpipe.state import keys

    key = keys.revoke(open_project(ctx), key_id)
    if as_json:
        output.emit_json(asdict(key))
    else:
        output.emit(f"key {key.key_id} of `{key.name}` is revoked")


def _day(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(sep=" ", timespec="seconds")

"""`dpipe warehouse`: a Snowflake account's objects, and the lake's tables in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from dpipe.settings import Project

app = typer.Typer(
    name="warehouse",
    help="Snowflake as the warehouse: its account's objects, and the lake's tables in it.",
    no_args_is_help=True,
    epilog="Example: dpipe warehouse init && dpipe warehouse init --apply && dpipe warehouse load",
)


@app.command()
def init(
    ctx: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Make the objects; only printed without.")] = False,
    linked: Annotated[
        bool,
        typer.Option("--linked", help="A database that reads the lake in place by its REST catalog."),
    ] = False,
    connection: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --apply: sign in by this entry of Snowflake's own connections.toml, "
            "as whoever administers the account.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the statements that make what dpipe needs in a Snowflake account, and run them with `--apply`.

    A warehouse that suspends itself with a monitor of its credits, four databases, a role that owns them and one that
    reads published marts, the user's key and networks, a stage. What is there already stays.

    Example: `dpipe warehouse init --apply --connection admin`
    """
    from dpipe.warehouse.snowflake.session import connected, connected_as

    project = open_project(ctx)
    shown = _statements(project, linked=linked, with_secrets=False)
    if apply:
        statements = _statements(project, linked=linked, with_secrets=True)
        signed_in = connected_as(connection) if connection else connected(project, role="ACCOUNTADMIN")
        with signed_in as session:
            for statement, printed in zip(statements, shown, strict=True):
                output.note(f"dpipe warehouse init: {printed[:100]}")
                session.execute(statement)
    if as_json:
        output.emit_json({"statements": shown, "applied": apply})
        return
    for statement in shown:
        output.emit(f"{statement};")
    if not apply:
        output.note(
            "nothing was changed; run it with `--apply`, or hand it to whoever administers the account"
        )


@app.command()
def load(
    ctx: typer.Context,
    afresh: Annotated[
        list[str] | None,
        typer.Option(
            "--afresh",
            metavar="TABLE",
            help="Drop this copy and make it anew, e.g. `raw.flights`; repeatable.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring Snowflake's copies of the lake's tables to what the lake has.

    Only files of new snapshots are copied, and partitions of which rows were replaced; each row is there once, however
    often it breaks off and is run again. `dpipe transform` does it, too, before it builds in Snowflake.

    Example: `dpipe warehouse load --json`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.load import load as stage

    project = open_project(ctx)
    with recorded(project, "load") as run:
        result = stage(
            project,
            afresh=afresh or (),
            run=run,
            on_table=lambda done: output.note(f"dpipe warehouse load: {done.table} …"),
        )
    if as_json:
        output.emit_json(result)
        return
    output.table(
        ("table", "files", "rows", "MB", "partitions loaded anew"),
        [
            (one.table, one.files, one.rows, f"{one.bytes / 1e6:.1f}", one.reloaded_partitions)
            for one in result.tables
            if one.changed
        ],
    )
    same = sum(not one.changed for one in result.tables)
    output.emit(f"{same} tables had what the lake has, in {result.seconds:.1f} s in all")


def _statements(project: Project, *, linked: bool, with_secrets: bool) -> list[str]:
    from dpipe.warehouse.snowflake import linked as linked_ddl
    from dpipe.warehouse.snowflake import setup
    from dpipe.warehouse.snowflake.session import names_of, settings_of

    settings = settings_of(project)
    if linked:
        credential = project.settings.catalog_credential
        secret = credential.get_secret_value().partition(":")[2] if credential and with_secrets else None
        return linked_ddl.statements(project, names_of(project), secret=secret)
    key = None
    if settings.private_key_file is not None:
        passphrase = settings.private_key_passphrase
        key = setup.public_key_of(
            project.root / settings.private_key_file, passphrase.get_secret_value() if passphrase else None
        )
    return setup.statements(settings, public_key=key)

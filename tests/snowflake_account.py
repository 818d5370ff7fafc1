"""Projects whose Snowflake is an emulator: fakesnow, which says nothing of Snowflake's own transactions and roles."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dpipe.settings import Project, load_project
from dpipe.stages.load import LoadResult, load
from dpipe.state import runs
from dpipe.warehouse.snowflake import setup
from dpipe.warehouse.snowflake.session import connected, names_of, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.warehouse.snowflake.session import Session

_prefixes = (f"TEST{number}" for number in itertools.count(1))


def with_account(project: Project, port: int, **settings: Any) -> Project:
    """The project with an account of its own in the emulator, and the account's objects made."""
    path = project.root / "configs" / "dpipe.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    key = project.root / "key.p8"
    key.write_bytes(private_key())
    prefix = next(_prefixes)
    document["snowflake"] = {
        "account": "emulator",
        "user": f"{prefix}_user",
        "private_key_file": key.name,
        "prefix": prefix,
        "host": "127.0.0.1",
        "port": port,
        "protocol": "http",
        **settings,
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    found = load_project(project.root)
    make_objects(found, key)
    return found


def make_objects(project: Project, key: Path) -> None:
    """What `dpipe warehouse init --apply` makes."""
    statements = setup.statements(settings_of(project), public_key=setup.public_key_of(key, None))
    with connected(project, role="ACCOUNTADMIN") as session:
        for statement in statements:
            session.execute(statement)


@functools.cache
def private_key() -> bytes:
    """A user's private key, in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def loaded(project: Project, *afresh: str) -> LoadResult:
    with runs.recorded(project, "load") as run:
        return load(project, afresh=afresh, run=run)


def copy_of(
    project: Project, table: str, columns: str, session: Session | None = None
) -> list[tuple[Any, ...]]:
    """The rows of a table's copy, in a fixed order."""
    sql = f"select {columns} from {names_of(project).table(table)}"
    if session is not None:
        return sorted(session.execute(sql), key=repr)
    with connected(project) as own:
        return sorted(own.execute(sql), key=repr)

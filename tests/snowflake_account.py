"""Projects with a Snowflake account: an emulator's, or a real one's where `DPIPE_TEST_SNOWFLAKE` names its settings.

The emulator, fakesnow, says nothing of Snowflake's own transactions, roles and clones; `just snowflake-account` does.
"""

from __future__ import annotations

import functools
import itertools
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dpipe.settings import Project, load_project
from dpipe.stages.load import LoadResult, load
from dpipe.state import runs
from dpipe.warehouse.snowflake import setup
from dpipe.warehouse.snowflake.session import connected, names_of, settings_of
from servers import fakesnow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.warehouse.snowflake.session import Session

# A YAML file with `account`, `user` and `private_key_file` of somebody who has the role ACCOUNTADMIN.
REAL = os.environ.get("DPIPE_TEST_SNOWFLAKE")
_run = secrets.token_hex(3).upper()
_prefixes = (f"DPIPE_TEST_{_run}_{number}" for number in itertools.count(1))
_made: list[Project] = []


@contextmanager
def account(folder: Path) -> Iterator[int]:
    """The emulator for a block, its port; or, with a real account, 0, and what was made there is dropped at the end."""
    if REAL is None:
        with fakesnow(folder) as port:
            yield port
        return
    try:
        yield 0
    finally:
        for project in _made:
            drop_objects(project)
        _made.clear()


def with_account(project: Project, port: int, **settings: Any) -> Project:
    """The project with an account, and objects of its own in it."""
    path = project.root / "configs" / "dpipe.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    key = project.root / "key.p8"
    prefix = next(_prefixes)
    if REAL is None:
        key.write_bytes(private_key())
        named: dict[str, Any] = {"account": "emulator", "user": f"{prefix}_user"}
        named |= {"host": "127.0.0.1", "port": port, "protocol": "http"}
    else:
        named = yaml.safe_load(Path(REAL).read_text(encoding="utf-8"))
        key = Path(named.pop("private_key_file"))
    document["snowflake"] = {**named, "private_key_file": str(key), "prefix": prefix, **settings}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    found = load_project(project.root)
    make_objects(found, key)
    _made.append(found)
    return found


def make_objects(project: Project, key: Path) -> None:
    """What `dpipe warehouse init --apply` makes."""
    statements = setup.statements(settings_of(project), public_key=setup.public_key_of(key, None))
    with connected(project, role="ACCOUNTADMIN") as session:
        for statement in statements:
            session.execute(statement)


def drop_objects(project: Project) -> None:
    """Leave nothing of a test in an account."""
    names = names_of(project)
    with connected(project, role="ACCOUNTADMIN") as session:
        for database in (names.lake, names.marts, names.candidate, names.build):
            session.execute(f"drop database if exists {database}")
        session.execute(f"drop warehouse if exists {names.warehouse}")
        session.execute(f"drop resource monitor if exists {names.monitor}")
        for role in (names.role, names.reader):
            session.execute(f"drop role if exists {role}")


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

"""Keys for the API: who may do what, until when, how often and how much.

A key is shown once, when it is made. What is stored is the SHA-256 of its secret, which is 256 random bits: nobody can
find it by trying, so that a slow hash would only make every request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import insert, select, update

from dpipe.errors import UsageError
from dpipe.state.engine import open_state
from dpipe.state.schema import api_keys, api_quotas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine, Select

    from dpipe.settings import Project

Action = Literal["read", "write", "admin"]

ANY = "*"
FORM = re.compile(r"dpk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
SCOPE = re.compile(rf"({'|'.join(get_args(Action))}):(\*|[a-z][a-z0-9_]*)")


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key, but for its secret; `scopes` are `action:dataset`, where `*` stands for every dataset."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    requests_per_minute: int | None
    bytes_per_day: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def allows(self, action: Action, dataset: str = ANY) -> bool:
        """Whether the key may do this to a dataset, or to all; `admin` may do everything."""
        return any(f"{one}:{name}" in self.scopes for one in (action, "admin") for name in (dataset, ANY))

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create(
    project: Project,
    name: str,
    scopes: Sequence[str],
    *,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
    bytes_per_day: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; it, and its text, which can't be had again. Raises `UsageError` for a scope that is none."""
    for scope in scopes:
        if not SCOPE.fullmatch(scope):
            raise UsageError(
                f"`{scope}` is no scope", hint="write `read:flights`, `write:flights`, `read:*` or `admin:*`"
            )
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey(
        key_id=key_id,
        name=name,
        scopes=tuple(dict.fromkeys(scopes)),
        requests_per_minute=requests_per_minute,
        bytes_per_day=bytes_per_day,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        revoked_at=None,
    )
    row = {name: value for name, value in vars(key).items() if name != "bytes_per_day"}
    row |= {"scopes": json.dumps(key.scopes), "secret_hash": _digest(secret)}
    with open_state(project).begin() as connection:
        connection.execute(insert(api_keys).values(**row))
        if bytes_per_day is not None:
            quota = {"key_id": key_id, "bytes_per_day": bytes_per_day, "day": "", "bytes": 0}
            connection.execute(insert(api_quotas).values(**quota))
    return key, f"dpk_{key_id}_{secret}"


def listed(project: Project) -> list[ApiKey]:
    """All keys, the latest last, those that were revoked or have expired too."""
    with open_state(project).connect() as connection:
        rows = connection.execute(_keys().order_by(api_keys.c.created_at)).mappings().all()
    return [_key(row) for row in rows]


def revoke(project: Project, key_id: str) -> ApiKey:
    """Have a key open nothing any more; again it changes nothing. Raises `UsageError` when there is none."""
    now = datetime.now(UTC)
    with open_state(project).begin() as connection:
        connection.execute(
            update(api_keys)
            .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        row = connection.execute(_keys().where(api_keys.c.key_id == key_id)).mappings().first()
    if row is None:
        raise UsageError(f"there is no key `{key_id}`", hint="`dpipe keys list` shows them")
    return _key(row)


def find(engine: Engine, text: str) -> ApiKey | None:
    """The key whose text this is; None when it is nobody's, or has expired or was revoked."""
    match = FORM.fullmatch(text)
    if match is None:
        return None
    key_id, secret = match.groups()
    with engine.connect() as connection:
        row = connection.execute(_keys().where(api_keys.c.key_id == key_id)).mappings().first()
    # As long for an id that nobody has as for a wrong secret.
    expected = row["secret_hash"] if row is not None else _digest("")
    if not hmac.compare_digest(_digest(secret), expected) or row is None:
        return None
    key = _key(row)
    return key if key.is_valid(datetime.now(UTC)) else None


def _keys() -> Select[Any]:
    """Every key with its quota, if it has one."""
    joined = api_keys.outerjoin(api_quotas, api_keys.c.key_id == api_quotas.c.key_id)
    return select(api_keys, api_quotas.c.bytes_per_day).select_from(joined)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> ApiKey:  # noqa: ANN401 - a row of the table
    values = {name: row[name] for name in ApiKey.__dataclass_fields__}
    return ApiKey(**values | {"scopes": tuple(json.loads(row["scopes"]))})

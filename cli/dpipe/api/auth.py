"""Who asks, whether they may, and how often."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from anyio import Lock, to_thread
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dpipe.state import keys
from dpipe.state.keys import ApiKey

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dpipe.state.keys import Action

UNAUTHORIZED, FORBIDDEN, TOO_MANY = 401, 403, 429
# A key that is revoked opens nothing any more after so long.
TRUSTED_SECONDS = 5.0
MOST_REMEMBERED = 1000

bearer = HTTPBearer(
    auto_error=False, bearerFormat="dpk_…", description="A key of `dpipe keys create`, as a bearer token."
)


@dataclass
class _Bucket:
    """Requests that a key has left: as many as it may make a minute, and they come back evenly."""

    left: float
    since: float


@dataclass
class Keyring:
    """The keys of the state database, each remembered for a few seconds. For one event loop."""

    engine: Engine
    _known: dict[str, tuple[ApiKey, float]] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _turn: Lock = field(default_factory=Lock)

    async def find(self, text: str) -> ApiKey | None:
        """The valid key whose text this is."""
        found = self._known.get(text)
        if found is not None and time.monotonic() < found[1]:
            return found[0]
        async with self._turn:  # when a key that many use is asked for anew, they wait for one answer
            asked = self._known.get(text)
            if asked is not None and asked is not found:
                return asked[0]
            key = await to_thread.run_sync(keys.find, self.engine, text)
            if key is None:
                self._known.pop(text, None)
                return None
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[text] = key, time.monotonic() + TRUSTED_SECONDS
            return key

    def take(self, key: ApiKey) -> float:
        """Count a request of a key; 0.0, or the seconds until it may make this one."""
        if key.requests_per_minute is None:
            return 0.0
        most, now = float(key.requests_per_minute), time.monotonic()
        bucket = self._buckets.setdefault(key.key_id, _Bucket(most, now))
        bucket.left = min(most, bucket.left + (now - bucket.since) * most / 60)
        bucket.since = now
        if bucket.left < 1:
            return (1 - bucket.left) * 60 / most
        bucket.left -= 1
        return 0.0


async def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> ApiKey:
    """The key of the request, for FastAPI's routes and description; see `admitted`."""
    given = f"{credentials.scheme} {credentials.credentials}" if credentials else None
    return await admitted(request, request.app.state.keyring, given)


async def admitted(request: Request, keyring: Keyring, authorization: str | None) -> ApiKey:
    """The key of the request; raises a 401 without a valid one, and a 429 for one that asks too often."""
    scheme, _, text = (authorization or "").partition(" ")
    is_given = scheme.lower() == "bearer" and bool(text)
    key = await keyring.find(text) if is_given else None
    if key is None:
        raise HTTPException(
            UNAUTHORIZED,
            "a key is needed: `Authorization: Bearer dpk_…`; `dpipe keys create` makes one"
            if not is_given
            else "the key is not one of this server's, or has expired or was revoked",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.state.key_id = key.key_id
    wait = keyring.take(key)
    if wait:
        raise HTTPException(
            TOO_MANY,
            f"the key may make {key.requests_per_minute:,} requests a minute",
            headers={"Retry-After": str(int(wait) + 1)},
        )
    return key


Caller = Annotated[ApiKey, Depends(caller)]


def check(key: ApiKey, action: Action, dataset: str = keys.ANY) -> None:
    """Raise a 403 when the key may not do this."""
    if not key.allows(action, dataset):
        raise HTTPException(FORBIDDEN, f"the key `{key.name}` has no scope `{action}:{dataset}`")

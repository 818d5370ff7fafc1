"""Which leases a worker should have: its fair share of a stream's shards."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from dpipe.state.leases import Lease


def wanted(leases: Collection[Lease], me: str, now: datetime) -> list[Lease]:
    """The leases to take, out of those on shards that can be read.

    The share is all of them divided by the workers that hold one and this one, rounded up. Free ones come first; when
    there is none, one at a time is taken from the worker that has most, as long as it has two more than this one.
    """
    owned = Counter(lease.owner for lease in leases if lease.is_held(now))
    share = math.ceil(len(leases) / len({*owned, me}))
    missing = share - owned[me]
    if missing <= 0:
        return []
    # One whose renewal failed is free to all, and to its owner.
    free = [lease for lease in leases if not lease.is_held(now)]
    if free:
        return free[:missing]
    (most, number), *_ = owned.most_common(1)
    return [next(lease for lease in leases if lease.owner == most)] if number > owned[me] + 1 else []

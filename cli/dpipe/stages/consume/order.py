"""In which order shards are read: one that others were split or merged into comes after these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.state.leases import ShardKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dpipe.streams import Shard


def key_of(shard: Shard) -> ShardKey:
    """What the state database knows a shard by."""
    return ShardKey(shard.shard_id, shard.starting)


def readable(shards: Iterable[Shard], finished: Collection[ShardKey]) -> list[Shard]:
    """Shards that aren't finished, and whose parents all are or are gone from the stream."""
    listed = {shard.shard_id: key_of(shard) for shard in shards}
    return [
        shard
        for shard in shards
        if key_of(shard) not in finished
        and all(listed[parent] in finished for parent in shard.parents if parent in listed)
    ]

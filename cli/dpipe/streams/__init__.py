"""Streams of Kinesis: what is in their shards, taken apart into records, and records put into them."""

from dpipe.streams.kinesis import Answer, Record, Shard, Stream
from dpipe.streams.place import StreamPlace, stream_place
from dpipe.streams.put import Outgoing, Stored, put
from dpipe.streams.reader import ShardReader

__all__ = [
    "Answer",
    "Outgoing",
    "Record",
    "Shard",
    "ShardReader",
    "Stored",
    "Stream",
    "StreamPlace",
    "put",
    "stream_place",
]

"""The state database: runs, stage results, quality results, refused batches, leases on shards of streams.

Batches and their counts are the lake's (`dpipe.iceberg.ledger`); what is here can be lost without losing a
record.
"""

from dpipe.state.engine import open_state
from dpipe.state.quality import QualityResult
from dpipe.state.runs import Run

__all__ = ["QualityResult", "Run", "open_state"]

"""Where records and columns come from and go to: one graph of a project, and OpenLineage events of its runs."""

from dpipe.lineage.recording import recorded

__all__ = ["recorded"]

"""Audit: whether the lake holds what the ledger says, and what became of a batch or a record."""

"""dpipe carries records from submission to dashboard under one data contract."""

__version__ = "0.1.0"

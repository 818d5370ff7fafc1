"""Which project the dashboard shows."""

from __future__ import annotations

from dpipe.settings import Project, load_project


def current() -> Project:
    """The project that `DPIPE_PROJECT` names (`dpipe dash` sets it), or the one around the current folder."""
    return load_project()

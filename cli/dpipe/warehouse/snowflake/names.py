"""What dpipe's objects in an account are called, and how names and values are written in SQL."""

from __future__ import annotations

from dataclasses import dataclass

from dpipe.contract.quality import quoted

# Of the lake's database: what was loaded, and the stage that files are loaded from.
LOAD_SCHEMA = "DPIPE_LOAD"


@dataclass(frozen=True)
class Names:
    """The names that begin with a project's prefix, which is a plain identifier."""

    prefix: str

    @property
    def lake(self) -> str:
        """The database with the lake's tables."""
        return f"{self.prefix}_LAKE"

    @property
    def marts(self) -> str:
        """The database with the published marts."""
        return f"{self.prefix}_MARTS"

    @property
    def build(self) -> str:
        """The database that dbt builds in."""
        return f"{self.prefix}_BUILD"

    @property
    def candidate(self) -> str:
        """The database with the finished candidate."""
        return f"{self.prefix}_CANDIDATE"

    @property
    def warehouse(self) -> str:
        """The virtual warehouse of loads and builds."""
        return f"{self.prefix}_WAREHOUSE"

    @property
    def monitor(self) -> str:
        """The resource monitor of the warehouse."""
        return f"{self.prefix}_MONITOR"

    @property
    def policy(self) -> str:
        """The network policy of the user."""
        return f"{self.prefix}_NETWORK"

    @property
    def role(self) -> str:
        """The role that loads and builds."""
        return f"{self.prefix}_BUILDER"

    @property
    def reader(self) -> str:
        """The role that reads published marts, and nothing else."""
        return f"{self.prefix}_READER"

    @property
    def stage(self) -> str:
        """The stage that files are loaded from."""
        return f"{self.lake}.{LOAD_SCHEMA}.FILES"

    def of_load(self, table: str) -> str:
        """A table that says what was loaded."""
        return f"{self.lake}.{LOAD_SCHEMA}.{table}"

    def table(self, name: str) -> str:
        """The copy of a table of the lake, which is called `<namespace>.<table>`."""
        namespace, _, table = name.partition(".")
        return f"{self.lake}.{quoted(namespace.upper())}.{quoted(table.upper())}"


def column(name: str) -> str:
    """A column's identifier: in capitals, so that SQL which doesn't quote it finds it."""
    return quoted(name.upper())


def text(value: str) -> str:
    """A text constant."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"

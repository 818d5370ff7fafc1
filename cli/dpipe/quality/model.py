"""What a suite of checks is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dpipe.errors import DataError, DpipeError

Layer = Literal["raw", "staging", "marts"]
LAYERS: tuple[Layer, ...] = ("raw", "staging", "marts")
Severity = Literal["error", "warning"]
Status = Literal["passed", "failed", "error"]

# The one check that is not an expectation of Great Expectations' own: SQL whose rows are the bad ones.
UNEXPECTED_ROWS = "unexpected_rows"
# So many failing rows are shown and stored; the report holds more of them, the count is of all.
ROWS_SHOWN = 20


@dataclass(frozen=True)
class Check:
    """One rule that must hold of a relation.

    `rule` and `column` together name it within its suite and in the history. `type` is an expectation of Great
    Expectations in snake case, or `unexpected_rows` with the argument `sql`. `of_rows` says that what breaks
    the rule is rows of the relation, so that it makes sense to say how many of how many.
    """

    rule: str
    type: str
    arguments: dict[str, Any]
    column: str | None = None
    severity: Severity = "error"
    description: str = ""
    of_rows: bool = True


@dataclass(frozen=True)
class Suite:
    """The checks of one relation.

    `relation` is its name in reports (`raw.flights`), `table` in DuckDB (`lake.raw."flights"`); the columns
    `ids` name a row in the list of failing ones. `source` is the file that the checks come from.
    """

    layer: Layer
    relation: str
    table: str
    ids: tuple[str, ...]
    checks: tuple[Check, ...]
    source: str


@dataclass(frozen=True)
class CheckResult:
    """What one check said.

    `status` is `failed` when rows break the rule and `error` when the check could not run: `message` says
    why. `unexpected_count` of `total_count` rows break it; None where a rule does not count rows. `failing`
    are their ids and values, `sql` finds them again.
    """

    layer: Layer
    relation: str
    rule: str
    column: str | None
    severity: Severity
    status: Status
    description: str = ""
    unexpected_count: int | None = None
    total_count: int | None = None
    observed: str | None = None
    failing: tuple[dict[str, Any], ...] = ()
    sql: str | None = None
    message: str | None = None

    @property
    def name(self) -> str:
        """Relation, column and rule, as the text output says them."""
        column = f" `{self.column}`" if self.column else ""
        return f"{self.relation}{column} {self.rule}"

    @property
    def count(self) -> str:
        """How many rows broke the rule, in words."""
        if self.status == "error":
            return f"could not run: {self.message}"
        if self.unexpected_count is None and self.observed is None:
            return "holds" if self.status == "passed" else "does not hold"
        if self.unexpected_count is None:
            return f"found {self.observed}"
        if self.total_count is None:
            return f"{self.unexpected_count:,} unexpected rows"
        return f"{self.unexpected_count:,} of {self.total_count:,} rows"


@dataclass(frozen=True)
class ValidationReport:
    """What a validation found.

    `failed` counts checks of severity error that found bad data, `warnings` those of severity warning,
    `errors` checks that could not run. `skipped` says what was not validated, and why. `seconds` is the
    whole time, of which `import_seconds` went into loading Great Expectations; `database` is the file of
    staging and marts.
    """

    layers: tuple[Layer, ...]
    database: str | None
    results: tuple[CheckResult, ...]
    skipped: tuple[str, ...]
    seconds: float
    import_seconds: float
    passed: int = field(init=False)
    failed: int = field(init=False)
    warnings: int = field(init=False)
    errors: int = field(init=False)

    def __post_init__(self) -> None:
        counts = {
            "passed": len(self._with("passed")),
            "failed": len(self._with("failed", "error")),
            "warnings": len(self._with("failed", "warning")),
            "errors": len(self._with("error")),
        }
        for name, count in counts.items():
            object.__setattr__(self, name, count)

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way: every check ran, and no rule of severity error is broken."""
        return not self.failed and not self.errors

    def problem(self) -> DpipeError | None:
        """The error to raise: checks that could not run (exit code 2) come before broken rules (1)."""
        unable, broken = self._with("error"), self._with("failed", "error")
        if unable:
            return DpipeError(
                f"check {unable[0].name} {unable[0].count}{_more(unable)}",
                hint=f"does the check fit the layer `{unable[0].layer}` as it is? mend the one or the other",
            )
        if broken:
            return DataError(
                f"check {broken[0].name} failed: {broken[0].count}{_more(broken)}", hint=_where(broken[0])
            )
        return None

    def _with(self, status: Status, severity: Severity | None = None) -> list[CheckResult]:
        return [
            result
            for result in self.results
            if result.status == status and severity in {None, result.severity}
        ]


def _more(results: list[CheckResult]) -> str:
    return f" (and {len(results) - 1} more)" if len(results) > 1 else ""


def _where(result: CheckResult) -> str:
    """Where the failing rows of a result are."""
    see = "`dpipe validate --json` lists the failing rows and the SQL that finds them"
    if result.layer != "raw":
        return see
    dataset = result.relation.partition(".")[2]
    return f"{see}; `dpipe quarantine list {dataset}` lists what was kept out of the table"

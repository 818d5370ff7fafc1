"""Results of checks, kept with their history."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import desc, insert, select

from dpipe.state.engine import open_state
from dpipe.state.schema import quality_results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dpipe.settings import Project
    from dpipe.state.runs import Run

Layer = Literal["gate", "raw", "staging", "marts"]


@dataclass(frozen=True)
class QualityResult:
    """What one check of one relation said.

    `relation` is the table, e.g. `raw.flights`; `unexpected_count` of `total_count` rows broke the rule, None
    where a rule doesn't count rows; `observed` is the value seen, `detail` where to look.
    """

    layer: Layer
    relation: str
    rule: str
    success: bool
    severity: Literal["error", "warning"] = "error"
    column_name: str | None = None
    unexpected_count: int | None = None
    total_count: int | None = None
    observed: str | None = None
    detail: str | None = None
    checked_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def add_results(run: Run, results: Iterable[QualityResult]) -> None:
    """Store results under a run."""
    rows = [{"run_id": run.run_id, **asdict(result)} for result in results]
    if not rows:
        return
    with run.engine.begin() as connection:
        connection.execute(insert(quality_results), rows)


def history(
    project: Project,
    *,
    layer: Layer | None = None,
    relation: str | None = None,
    run_id: str | None = None,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """Stored results, newest first, as rows of `quality_results`."""
    query = select(quality_results).order_by(desc(quality_results.c.checked_at)).limit(limit)
    for name, wanted in (("layer", layer), ("relation", relation), ("run_id", run_id)):
        if wanted is not None:
            query = query.where(quality_results.c[name] == wanted)
    with open_state(project).connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]

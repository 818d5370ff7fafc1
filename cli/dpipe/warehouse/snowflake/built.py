"""What the last candidate is made of, kept beside dbt's files so that nobody has to ask Snowflake for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dpipe.folders import replace_text
from dpipe.warehouse.build_folder import folder_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dpipe.settings import Project

FILE = "built.json"


@dataclass(frozen=True)
class Built:
    """The run that built the candidate, the batches that it took in (dataset and id), and the tables' columns.

    `columns` are names and types by `<schema>.<table>` in lower case, in their order.
    """

    run_id: str
    batches: Sequence[tuple[str, str]]
    columns: Mapping[str, Sequence[tuple[str, str]]]

    def keep(self, folder: Path) -> None:
        """Write it into a build folder."""
        replace_text(folder / FILE, json.dumps(asdict(self)))


def last_built(project: Project) -> Built | None:
    """What was built last in this folder, None when nothing was or it can't be read."""
    try:
        found = json.loads((folder_of(project, "snowflake") / FILE).read_text(encoding="utf-8"))
        return Built(
            run_id=found["run_id"],
            batches=[(dataset, batch_id) for dataset, batch_id in found["batches"]],
            columns={
                table: [(name, kind) for name, kind in columns] for table, columns in found["columns"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""What somebody decides about a refused batch: to commit it as it is, or to leave it alone for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.errors import UsageError
from dpipe.iceberg import dismissed, open_catalog
from dpipe.iceberg.dismissed import WHOLE_BATCH
from dpipe.stages.batches import find_batch
from dpipe.stages.kernel import remove_folder
from dpipe.stages.locks import held
from dpipe.stages.process import process
from dpipe.state import refused

if TYPE_CHECKING:
    from dpipe.settings import Project
    from dpipe.stages.batches import Batch
    from dpipe.stages.process import ProcessResult
    from dpipe.state import Run


def release(project: Project, batch_id: str, *, reason: str, run: Run) -> ProcessResult:
    """Commit a refused batch (its id, or the beginning) whatever the gate says; other pending batches go along.

    The reason is in the ledger for good. Raises `UsageError` when the batch isn't refused.
    """
    batch = _refused(project, batch_id)
    (result,) = process(project, [batch.dataset], run=run, released={batch.batch_id: reason})
    if batch.batch_id not in {refusal.batch_id for refusal in result.refused}:
        refused.forget(project, batch.dataset, batch.batch_id)
    return result


def drop(project: Project, batch_id: str, *, reason: str, run: Run) -> Batch:
    """Leave a refused batch alone for good: no later run takes it. Its landed bytes stay, and the lake has the reason.

    Raises `UsageError` when the batch isn't refused.
    """
    batch = _refused(project, batch_id)
    with held(project, batch.dataset):
        _refused(project, batch.batch_id)  # nobody decided otherwise while this waited
        records = [(batch.batch_id, WHOLE_BATCH)]
        dismissed.add(open_catalog(project), batch.dataset, records, reason=reason, run_id=run.run_id)
        refused.forget(project, batch.dataset, batch.batch_id)
        remove_folder(project.refused / batch.dataset / batch.batch_id)
    return find_batch(project, batch.batch_id)


def _refused(project: Project, batch_id: str) -> Batch:
    batch = find_batch(project, batch_id)
    if batch.state != "refused":
        raise UsageError(
            f"batch `{batch.batch_id}` is {batch.state}, not refused",
            hint="`dpipe batches list` shows the states",
        )
    return batch

"""The flights pipeline, once a day: every task is one `dpipe` command.

`DPIPE_BIN` names the executable (default: `dpipe` on the path), `DPIPE_PROJECT` the project (default: the
folder above this one).
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

PROJECT = os.environ.get("DPIPE_PROJECT", str(Path(__file__).resolve().parent.parent))
DPIPE_BIN = os.environ.get("DPIPE_BIN", "dpipe")

# 1: the data broke a contract or a check, 2: usage or configuration, 126 and 127: there is no such command.
# None of them mends itself; 3 (an outside system is unavailable) and signals are worth another try.
HOPELESS_EXIT_CODES = (1, 2, 126, 127)

log = logging.getLogger(__name__)


class DpipeOperator(BashOperator):
    """Runs one `dpipe` command and fails at once where trying again can't help."""

    # Not `env`: Airflow would take a path in there that ends in `.sh` for a template to read.
    template_fields = ("bash_command",)

    def execute(self, context: Context) -> object:
        """Run the command; a hopeless exit code raises `AirflowFailException`, which is never retried."""
        try:
            return super().execute(context)
        except AirflowSkipException as hopeless:
            raise AirflowFailException("mend what the log above names, then run again") from hopeless


def say_where_to_look(context: Context) -> None:
    """Log what failed and the commands that show why."""
    task = context["task_instance"]
    log.error(
        "`%s` of `%s` failed on try %s; in %s see `dpipe runs list` and `dpipe quarantine list`",
        task.task_id,
        task.dag_id,
        task.try_number,
        PROJECT,
    )


def step(task_id: str, command: str) -> DpipeOperator:
    """One task that runs `dpipe <command>`."""
    return DpipeOperator(
        task_id=task_id,
        bash_command=f'"$DPIPE_BIN" {command}',
        env={"DPIPE_BIN": DPIPE_BIN, "DPIPE_PROJECT": PROJECT},
        append_env=True,
        # BashOperator tells of these by an exception of their own, made for skipping.
        skip_on_exit_code=HOPELESS_EXIT_CODES,
    )


with DAG(
    dag_id="flights_daily",
    description="Files to published marts, every stage checked",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["dpipe"],
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": say_where_to_look,
    },
) as dag:
    chain(
        step("ingest", "ingest"),
        step("process", "process"),
        step("validate_raw", "validate --layer raw"),
        step("transform", "transform"),
        step("validate_marts", "validate --layer staging --layer marts"),
        step("publish", "publish"),
    )

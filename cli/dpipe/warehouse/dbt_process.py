"""dbt in a process of its own: its imports, warnings and output stay out of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dpipe import output
from dpipe.errors import ConfigError
from dpipe.warehouse.dbt_results import DbtReport, keep_snapshots, read_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dpipe.warehouse.build_folder import BuildFolder

SECONDS_TO_END = 10
_running: set[subprocess.Popen[str]] = set()
# `-P` keeps the current folder from being imported from: a project may have a folder called `dbt`.
DBT = (sys.executable, "-P", "-W", "ignore", "-c", "from dbt.cli.main import cli; cli()")


def run_dbt(
    command: Sequence[str], project_dir: Path, folder: BuildFolder, target: Mapping[str, Any], *, lock: int
) -> DbtReport:
    """Run a dbt command such as `["build"]` on a target, dbt's output of a profile, and report what each node did.

    `lock` is the descriptor of the warehouse's lock, which dbt holds too. Raises `ConfigError` when dbt is not
    installed or ends without having run the command, as when the project can't be parsed; what failed while it
    ran is in the report.
    """
    if find_spec("dbt") is None or find_spec(f"dbt.adapters.{target['type']}") is None:
        extra = "dbt" if target["type"] == "duckdb" else f"dbt,{target['type']}"
        raise ConfigError(
            f"the transform needs dbt with its adapter of {target['type']}, which is not installed",
            hint=f"pip install 'dpipe[{extra}]'",
        )
    _write_profile(folder, target)
    written = folder.dbt / "target"
    (written / "run_results.json").unlink(missing_ok=True)
    arguments = [
        *command,
        *("--project-dir", str(project_dir)),
        *("--profiles-dir", str(folder.dbt)),
        *("--target-path", str(written)),
        *("--log-path", str(folder.dbt / "logs")),
        *("--log-format", "json"),
        *("--log-format-file", "text"),
        # A tenth of the time is in writing every statement down; those of models are in `target` anyway.
        *("--log-level-file", "debug" if output.options.verbose else "info"),
        "--no-version-check",
        "--no-send-anonymous-usage-stats",
    ]
    complaints = [
        event["info"]["msg"]
        for event in _events([*DBT, *arguments], lock)
        if event["info"]["level"] == "error" and event["info"]["msg"].strip()
    ]
    report = read_report(written, project_dir)
    if report is None:
        raise ConfigError(
            "\n".join(["dbt could not run the project", *(line.rstrip() for line in complaints)]),
            hint=f"mend it in `{project_dir}`; dbt's log is `{folder.dbt / 'logs' / 'dbt.log'}`",
        )
    keep_snapshots(written)
    return report


def end_all() -> None:
    """End every dbt that this process runs, from another thread; who runs it gets what it comes to by then."""
    for process in tuple(_running):
        _end(process)


def _write_profile(folder: BuildFolder, target: Mapping[str, Any]) -> None:
    """The profile that `dbt_project.yml` names; JSON is YAML. It holds no secret."""
    folder.dbt.mkdir(exist_ok=True)
    name = target["type"]
    profile = {"dpipe": {"target": name, "outputs": {name: target}}}
    (folder.dbt / "profiles.yml").write_text(json.dumps(profile, indent=2), encoding="utf-8")


def _events(command: Sequence[str], lock: int) -> Iterator[dict[str, Any]]:
    """dbt's log events as they come; with `--verbose` they are also said on stderr."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        pass_fds=(lock,),
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
    )
    _running.add(process)
    try:
        for line in process.stdout or ():
            event = _event(line)
            if output.options.verbose:
                output.note(f"dbt: {event['info']['msg']}")
            yield event
        process.wait()
    finally:
        _end(process)
        _running.discard(process)
        if process.stdout:
            process.stdout.close()


def _event(line: str) -> dict[str, Any]:
    """A line of dbt's log; whatever else it prints, such as a traceback, counts as an error."""
    with suppress(json.JSONDecodeError):
        event = json.loads(line)
        if isinstance(event, dict) and "info" in event:
            return event
    return {"info": {"level": "error", "msg": line}}


def _end(process: subprocess.Popen[str]) -> None:
    """See that nothing goes on building after an interruption."""
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

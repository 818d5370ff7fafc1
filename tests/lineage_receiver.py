"""A receiver of OpenLineage events that checks each against the specification's JSON schemas.

It stands for Marquez, of which no registry that the tests reach has a server. Unlike it, it takes nothing that isn't
valid to the letter: event, every facet by the schema that it names, no property that the schema doesn't know, and the
order of a run's events.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from support import run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from subprocess import CompletedProcess

    from dpipe.settings import Project

SCHEMAS = Path(__file__).parent / "openlineage"
ENDS = {"COMPLETE", "FAIL", "ABORT"}
Event = dict[str, Any]


@cache
def registry() -> Registry[Any]:
    texts = [path.read_text(encoding="utf-8") for path in SCHEMAS.rglob("*.json")]
    texts.append((files("dpipe.lineage") / "dpipe_run.json").read_text(encoding="utf-8"))
    resources = [Resource.from_contents(json.loads(text)) for text in texts]
    return Registry().with_resources([(resource.id() or "", resource) for resource in resources])


def problems(event: Event) -> list[str]:
    """What is wrong with an event; nothing of a valid one."""
    found = _against(event["schemaURL"], event)
    datetime.fromisoformat(event["eventTime"])
    UUID(event["run"]["runId"])
    for where, name, facet in _facets(event):
        found += [f"{where}.{name}: {problem}" for problem in _against(facet["_schemaURL"], facet)]
        schema = _resolved(facet["_schemaURL"])
        known = _properties(schema) | {"_producer", "_schemaURL", "_deleted"}
        found += [f"{where}.{name}: no property `{one}`" for one in facet.keys() - known]
        document = _resolved(facet["_schemaURL"].partition("#")[0])
        if name not in document["properties"]:
            found.append(f"{where}: the schema of `{name}` is of {list(document['properties'])}")
    return found


def _facets(event: Event) -> Iterator[tuple[str, str, dict[str, Any]]]:
    holders = [("run", event["run"], "facets"), ("job", event["job"], "facets")]
    for side, kind in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
        for dataset in event.get(side, []):
            holders += [
                (f"{side} {dataset['name']}", dataset, "facets"),
                (f"{side} {dataset['name']}", dataset, kind),
            ]
    for where, holder, key in holders:
        for name, facet in holder.get(key, {}).items():
            yield where, name, facet


def _against(url: str, value: object) -> list[str]:
    validator = Draft202012Validator({"$ref": url}, registry=registry())
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


def _resolved(url: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = registry().resolver().lookup(url).contents
    return found


def _properties(schema: Mapping[str, Any]) -> set[str]:
    parts = [schema, *schema.get("allOf", [])]
    return {name for part in parts for name in part.get("properties", {})}


class SchemaCheckingReceiver(ThreadingHTTPServer):
    """Takes events at `/api/v1/lineage`; `refuse` is the status that it answers instead, None to take them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.problems: list[str] = []
        self.authorizations: list[str | None] = []
        self.refuse: int | None = None
        self.asked = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of_job(self, job: str, state: str = "COMPLETE") -> Event:
        """The only such event of the job."""
        (found,) = [one for one in self.events if one["job"]["name"] == job and one["eventType"] == state]
        return found

    def runs(self) -> dict[str, list[str]]:
        """The states that each run went through."""
        states: dict[str, list[str]] = {}
        for event in self.events:
            states.setdefault(event["run"]["runId"], []).append(event["eventType"])
        return states


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, SchemaCheckingReceiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked += 1
        status, words = self._judged(server, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def _judged(self, server: SchemaCheckingReceiver, body: bytes) -> tuple[int, bytes]:
        if server.refuse is not None:
            return server.refuse, b"not now"
        if self.path != "/api/v1/lineage":
            return 404, b""
        event = json.loads(body)
        found = problems(event)
        server.problems += found
        if found:
            return 422, "\n".join(found).encode()
        server.events.append(event)
        server.authorizations.append(self.headers["Authorization"])
        return 201, b""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiving() -> Iterator[SchemaCheckingReceiver]:
    with SchemaCheckingReceiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def dpipe(project: Project, url: str, *arguments: str, **more: str) -> CompletedProcess[str]:
    """Run a command whose events go to a receiver."""
    return run_dpipe(project, *arguments, environment={"DPIPE_LINEAGE_URL": url, **more})


def statistics(dataset: dict[str, Any]) -> dict[str, Any]:
    """How much was read of or written to a dataset."""
    of_run = (dataset.get("outputFacets") or dataset["inputFacets"]).values()
    (found,) = [one for one in of_run if "Statistics" in one["_schemaURL"]]
    return {name: value for name, value in found.items() if not name.startswith("_")}


def upstream(event: dict[str, Any]) -> dict[str, str]:
    """The jobs that a job's run builds upon, with the ids of their runs."""
    listed = event["run"]["facets"].get("jobDependencies", {}).get("upstream", [])
    return {one["job"]["name"]: one["run"]["runId"] for one in listed}

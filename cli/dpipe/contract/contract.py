"""A contract that dpipe can carry out, from its file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe.contract.compiler import SUFFIX, Compilation, compile_file
from dpipe.contract.findings import Finding, did_you_mean
from dpipe.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from open_data_contract_standard.model import OpenDataContractStandard

    from dpipe.contract.plan import Plan
    from dpipe.contract.quality import QualityRule
    from dpipe.settings import Project

FileVersion = tuple[int, int, int]

_loaded: dict[Path, tuple[FileVersion, Contract]] = {}
_MEND = "mend the contract at these places"
_MEND_FILE = "mend the contract, then check it with `dpipe contract lint`"

FIRST_CONTRACT = "draft one a dataset: `dpipe contract infer FILE… --write`"


@dataclass(frozen=True)
class Contract:
    """One dataset's contract, which dpipe can carry out.

    `hash` is the SHA-256 (hex) of its content, whatever its layout; `plan` has the columns with their types and
    rules, `quality` the whole-batch rules, `document` is the contract as the Open Data Contract Standard has it, and
    `canonical` the JSON text that the hash is of.
    """

    dataset: str
    version: str
    hash: str
    description: str
    plan: Plan
    quality: tuple[QualityRule, ...]
    document: OpenDataContractStandard
    canonical: str = field(repr=False)

    @staticmethod
    def load(path: str | PathLike[str]) -> Contract:
        """The contract in a YAML file, which may be anywhere and have any name.

        Raises `ConfigError` when the file can't be read or dpipe can't carry it out, with every error's place
        (`file:line:column`) and fix.
        """
        return _contract(compile_file(Path(path), loose=True))

    @staticmethod
    def from_text(text: str) -> Contract:
        """The contract that a YAML text is. Raises `ConfigError` as `load` does."""
        if not isinstance(text, str):
            raise ConfigError(f"a contract's text is no `{type(text).__name__}`", hint="hand over a `str`")
        content = text.encode("utf-8", "surrogatepass")
        return _contract(compile_file(Path("<text>"), content, loose=True), hint=_MEND)

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Contract:
        """The contract that a document of mappings, lists and plain values is; dates stand for ISO 8601 text.

        Its hash is that of the same contract in YAML. Raises `ConfigError` as `load` does, with the way to each
        value (`schema[0].properties[1].name`) as its place.
        """
        try:
            content = json.dumps(dict(document), default=_plain, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"not a contract's document: {error}",
                hint="a contract has mappings, lists, texts, numbers, booleans and nulls",
            ) from error
        return _contract(compile_file(Path("<dict>"), content, loose=True), hint=_MEND, in_text=False)


def _contract(compiled: Compilation, *, hint: str = _MEND_FILE, in_text: bool = True) -> Contract:
    if compiled.model is None or compiled.plan is None:
        errors = [finding for finding in compiled.findings if finding.severity == "error"]
        places = [finding.place if in_text else finding.at or str(finding.path) for finding in errors]
        said = [
            f"{place}: {finding.message}; {finding.hint}"
            for place, finding in zip(places, errors, strict=True)
        ]
        raise ConfigError("\n".join(said), hint=hint)
    definition = (compiled.model.schema_ or [])[0]
    return Contract(
        dataset=compiled.plan.dataset,
        version=compiled.model.version or "",
        hash=compiled.plan.contract,
        description=" ".join((definition.description or "").split()),
        plan=compiled.plan,
        quality=compiled.quality,
        document=compiled.model,
        canonical=compiled.canonical,
    )


def _plain(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a `{type(value).__name__}` is no plain value")


def lint(path: Path) -> list[Finding]:
    """Everything that is wrong with a contract's file, in its order; no content of the file raises."""
    return compile_file(path).findings


def load_contract(path: Path) -> Contract:
    """The contract in a project's file, which is called like its dataset; read again when the file has changed.

    Raises `ConfigError` with every error's place and fix when it can't be carried out.
    """
    try:
        version = file_version(path)
    except OSError:
        return _contract(compile_file(path))  # which says what is wrong with the file
    known = _loaded.get(path)
    if known is None or known[0] != version:
        known = _loaded[path] = version, _contract(compile_file(path))
    return known[1]


def file_version(path: Path) -> FileVersion:
    """What tells a file from what it was before it was written anew. Raises `OSError` when there is none."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def contract_for(project: Project, dataset: str) -> Contract:
    """The contract of a project's dataset; `UsageError` when there is no such dataset."""
    return load_contract(contract_path(project, dataset))


def known_datasets(project: Project) -> list[str]:
    """The datasets that have a contract, sorted. Raises `UsageError` when none has one."""
    names = project.datasets()
    if not names:
        raise UsageError(f"no contracts in `{project.contracts}`", hint=FIRST_CONTRACT)
    return names


def contract_path(project: Project, dataset: str) -> Path:
    """The file of a dataset's contract; `UsageError` when there is no such dataset."""
    known = project.datasets()
    if dataset not in known:
        hint = did_you_mean(dataset, known) if known else FIRST_CONTRACT
        raise UsageError(f"no dataset `{dataset}`", hint=hint)
    return project.contracts / f"{dataset}{SUFFIX}"

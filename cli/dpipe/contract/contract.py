"""A contract that dpipe can carry out, from its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpipe.contract.compiler import SUFFIX, compile_file
from dpipe.contract.findings import Finding, did_you_mean
from dpipe.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from open_data_contract_standard.model import OpenDataContractStandard

    from dpipe.contract.plan import Plan
    from dpipe.contract.quality import QualityRule
    from dpipe.settings import Project


@dataclass(frozen=True)
class Contract:
    """One dataset's contract; `hash` is the SHA-256 (hex) of its content, `quality` its whole-batch rules."""

    dataset: str
    version: str
    hash: str
    description: str
    plan: Plan
    quality: tuple[QualityRule, ...]
    document: OpenDataContractStandard


def lint(path: Path) -> list[Finding]:
    """Everything that is wrong with a contract's file, in its order; no content of the file raises."""
    return compile_file(path).findings


def load_contract(path: Path) -> Contract:
    """The contract in a file; `ConfigError` with every error's place and fix when it can't be carried out."""
    compiled = compile_file(path)
    if compiled.model is None or compiled.plan is None:
        errors = [finding for finding in compiled.findings if finding.severity == "error"]
        raise ConfigError(
            "\n".join(f"{finding.place}: {finding.message}; {finding.hint}" for finding in errors),
            hint="mend the contract, then check it with `dpipe contract lint`",
        )
    definition = (compiled.model.schema_ or [])[0]
    return Contract(
        dataset=compiled.plan.dataset,
        version=compiled.model.version or "",
        hash=compiled.plan.contract,
        description=" ".join((definition.description or "").split()),
        plan=compiled.plan,
        quality=compiled.quality,
        document=compiled.model,
    )


def contract_for(project: Project, dataset: str) -> Contract:
    """The contract of a project's dataset; `UsageError` when there is no such dataset."""
    return load_contract(contract_path(project, dataset))


def contract_path(project: Project, dataset: str) -> Path:
    """The file of a dataset's contract; `UsageError` when there is no such dataset."""
    known = project.datasets()
    if dataset not in known:
        hint = (
            did_you_mean(dataset, known) if known else f"write `{project.contracts / f'{dataset}{SUFFIX}'}`"
        )
        raise UsageError(f"no dataset `{dataset}`", hint=hint)
    return project.contracts / f"{dataset}{SUFFIX}"

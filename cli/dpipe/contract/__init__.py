"""One data contract: Open Data Contract Standard in, the plan that every stage shares out."""

from dpipe.contract.contract import (
    FIRST_CONTRACT,
    Contract,
    contract_for,
    contract_path,
    known_datasets,
    lint,
    load_contract,
)
from dpipe.contract.findings import Finding
from dpipe.contract.plan import Column, Comparison, CsvOptions, PartitionField, Plan, Rule
from dpipe.contract.quality import QualityRule

__all__ = [
    "FIRST_CONTRACT",
    "Column",
    "Comparison",
    "Contract",
    "CsvOptions",
    "Finding",
    "PartitionField",
    "Plan",
    "QualityRule",
    "Rule",
    "contract_for",
    "contract_path",
    "known_datasets",
    "lint",
    "load_contract",
]

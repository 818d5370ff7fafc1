"""Checks of whole relations: suites from the contracts and from `checks/`, run by Great Expectations."""

from dpipe.quality.model import Check, CheckResult, Layer, Severity, Suite, ValidationReport

__all__ = ["Check", "CheckResult", "Layer", "Severity", "Suite", "ValidationReport"]

"""ODCS `quality` → whole-batch rules, and row rules where a rule leaves no row out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from dpipe.contract import limits
from dpipe.contract.comparisons import ENGINE, compile_comparison
from dpipe.contract.findings import did_you_mean, listed
from dpipe.contract.plan import Rule
from dpipe.contract.quality import OPERATORS, RANGES, Metric, QualityRule, Severity, Unit

if TYPE_CHECKING:
    from open_data_contract_standard.model import DataQuality

    from dpipe.contract.columns import Compiled
    from dpipe.contract.findings import Report
    from dpipe.contract.plan import Comparison
    from dpipe.contract.quality import Value
    from dpipe.contract.source import DocumentPath

_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "rowCount": (),
    "nullValues": (),
    "missingValues": ("missingValues",),
    "invalidValues": ("validValues", "pattern"),
    "duplicateValues": (),
}
_ON_DATASET = ("rowCount", "duplicateValues")
_ON_COLUMN = ("nullValues", "missingValues", "invalidValues", "duplicateValues")
_OTHER_TYPES = {
    "text": "say it in `description`, or as a rule with a `metric`",
    "sql": "use a `metric`, or test it in `transform/`",
    "custom": f"write `engine: {ENGINE}` if it compares two columns, else put the expectation into `checks/`",
}
_NO_EFFECT = ("method", "schedule", "scheduler")


@dataclass
class BatchRules:
    """Compiles the rules of one contract; `row_rules` are those that became a column's, by its name.

    `comparisons` are those over two columns of a record.
    """

    report: Report
    columns: dict[str, Compiled]
    dataset_severity: Severity = "error"
    rules: list[QualityRule] = field(default_factory=list)
    row_rules: dict[str, list[Rule]] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)

    def add(self, rule: DataQuality, at: DocumentPath, on: Compiled | None) -> None:
        """Compile one rule of the dataset or of a column."""
        if rule.type == "custom" and rule.engine == ENGINE:
            self._note_no_effect(rule, at)
            comparison = compile_comparison(self.report, self.columns, rule, at, on)
            if comparison:
                self._keep_comparison(comparison, at)
            return
        if not self._is_library(rule, at, on):
            return
        threshold = self._threshold(rule, at)
        metric = cast("Metric", rule.metric)
        if rule.unit not in {None, "rows", "percent"}:
            self.report.error((*at, "unit"), f"no unit `{rule.unit}`", "write `rows` or `percent`")
        elif rule.unit == "percent" and metric == "rowCount":
            self.report.error((*at, "unit"), "a row count in percent", "write `unit: rows`, or leave it out")
        default = on.custom.get("dpipe.severity", self.dataset_severity) if on else self.dataset_severity
        if rule.severity not in {None, "error", "warning"}:
            self.report.error(
                (*at, "severity"), f"no severity `{rule.severity}`", "write `error` or `warning`"
            )
        if threshold is None:
            return
        compiled = QualityRule(
            name=rule.name or rule.id or self._default_name(metric, on),
            metric=metric,
            operator=threshold[0],
            thresholds=threshold[1],
            columns=(on.column.name,) if on else (),
            unit=cast("Unit", rule.unit or "rows"),
            severity=cast("Severity", rule.severity or default),
            dimension=rule.dimension,
            description=" ".join((rule.description or "").split()),
        )
        compiled = self._with_arguments(compiled, rule.arguments or {}, (*at, "arguments"), on)
        self._percents(compiled, at)
        self._keep(compiled, at, on)

    def _is_library(self, rule: DataQuality, at: DocumentPath, on: Compiled | None) -> bool:
        self._note_no_effect(rule, at)
        if rule.type not in {None, "library"}:
            hint = _OTHER_TYPES.get(str(rule.type), "write `type: library`, or leave it out")
            self.report.error((*at, "type"), f"nothing enforces a `{rule.type}` rule yet", hint)
            return False
        for key in ("rule", "query", "engine", "implementation"):
            if getattr(rule, key) is not None:
                self.report.error(
                    (*at, key), f"nothing reads `{key}` of a library rule", "use `metric`", key=True
                )
        allowed = _ON_COLUMN if on else _ON_DATASET
        if rule.metric in allowed:
            return True
        where = "column" if on else "dataset"
        if rule.metric is None:
            self.report.error(at, "a rule without a `metric`", f"add one of {listed(allowed)}")
        elif rule.metric in _ARGUMENTS:
            other = "the schema object" if on else "a column"
            self.report.error((*at, "metric"), f"`{rule.metric}` of a {where}", f"move the rule to {other}")
        else:
            self.report.error(
                (*at, "metric"), f"no metric `{rule.metric}`", did_you_mean(rule.metric, allowed)
            )
        return False

    def _note_no_effect(self, rule: DataQuality, at: DocumentPath) -> None:
        for key in _NO_EFFECT:
            if getattr(rule, key) is not None:
                self.report.warn((*at, key), f"`{key}` has no effect", "rules run with every batch", key=True)

    def _threshold(self, rule: DataQuality, at: DocumentPath) -> tuple[str, tuple[float, ...]] | None:
        given = [name for name in OPERATORS if getattr(rule, name) is not None]
        if len(given) != 1:
            said = f"{listed(given)} in one rule" if given else "a rule that compares with nothing"
            hint = "make a rule of each" if given else f"add one of {listed(OPERATORS)}"
            self.report.error(at, said, hint)
            return None
        name = given[0]
        value: Any = getattr(rule, name)
        numbers = value if name in RANGES else [value]
        if not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in numbers):
            self.report.error((*at, name), f"`{name}` is not a number", "write a number, without quotes")
            return None
        if name in RANGES and not numbers[0] < numbers[1]:
            self.report.error((*at, name), f"`{name}` is empty", "put the smaller number first")
            return None
        return name, tuple(float(item) for item in numbers)

    def _percents(self, rule: QualityRule, at: DocumentPath) -> None:
        if rule.unit == "percent" and not all(0 <= number <= 100 for number in rule.thresholds):  # noqa: PLR2004
            self.report.error(
                (*at, rule.operator), "a share outside 0 to 100 percent", "write 5 for 5 percent"
            )

    def _with_arguments(
        self, rule: QualityRule, arguments: dict[str, Any], at: DocumentPath, on: Compiled | None
    ) -> QualityRule:
        known = ("properties",) if rule.metric == "duplicateValues" and not on else _ARGUMENTS[rule.metric]
        for name in arguments:
            if name not in known:
                hint = did_you_mean(name, known) if known else "leave it out"
                self.report.error((*at, name), f"`{rule.metric}` takes no `{name}`", hint, key=True)
        if not known:
            return rule
        given = [name for name in known if arguments.get(name) is not None]
        if len(given) != 1:
            self.report.error(
                at, f"`{rule.metric}` takes one of {listed(known)}", "write just one under `arguments`"
            )
            return rule
        value, place = arguments[given[0]], (*at, given[0])
        if given[0] == "pattern":
            return self._with_pattern(rule, value, place, on)
        if not isinstance(value, list) or not value:
            self.report.error(place, f"`{given[0]}` is not a list", "write `[…]` with a value or more")
            return rule
        if given[0] == "properties":
            return self._with_columns(rule, value, place)
        return self._with_values(rule, value, place, on)

    def _with_pattern(
        self, rule: QualityRule, value: object, at: DocumentPath, on: Compiled | None
    ) -> QualityRule:
        if on and on.column.kind != "string":
            self.report.error(at, f"a pattern for a {on.type.name}", "only strings have one; use limits")
        elif not isinstance(value, str):
            self.report.error(at, "`pattern` is not text", "quote the expression")
        elif limits.pattern_holds(self.report, value, at):
            return replace(rule, pattern=value)
        return rule

    def _with_columns(self, rule: QualityRule, names: list[Any], at: DocumentPath) -> QualityRule:
        for index, name in enumerate(names):
            if not isinstance(name, str) or name not in self.columns:
                self.report.error((*at, index), f"no column `{name}`", did_you_mean(str(name), self.columns))
            elif name in names[:index]:
                self.report.error((*at, index), f"`{name}` is there twice", "keep one of the two")
        return replace(rule, columns=tuple(str(name) for name in names))

    def _with_values(
        self, rule: QualityRule, values: list[Any], at: DocumentPath, on: Compiled | None
    ) -> QualityRule:
        if rule.metric == "invalidValues" and None in values:
            place = (*at, values.index(None))
            self.report.error(place, "null as a valid value", "nulls are never invalid; leave it out")
            return rule
        present = [(value, (*at, index)) for index, value in enumerate(values) if value is not None]
        if on and present:
            allowed = limits.enumeration(
                self.report, on.type, [item[0] for item in present], [item[1] for item in present]
            )
            if allowed and on.column.kind == "decimal" and isinstance(allowed.value, tuple):
                texts = iter(allowed.value)
                values = [None if value is None else Decimal(next(texts)) for value in values]
        return replace(rule, values=tuple(values))

    def _default_name(self, metric: Metric, on: Compiled | None) -> str:
        return f"{on.column.name}_{metric}" if on else metric

    def _keep(self, rule: QualityRule, at: DocumentPath, on: Compiled | None) -> None:
        """A rule that no record may break is the kernel's: it costs that record, not the whole batch."""
        none_allowed = rule.operator == "mustBe" and rule.thresholds == (0.0,) and rule.severity == "error"
        if on and none_allowed and rule.metric == "invalidValues":
            row_rule = (
                Rule("pattern", rule.pattern)
                if rule.pattern is not None
                else Rule("enum", tuple(map(_text, rule.values)))
            )
            self.row_rules.setdefault(on.column.name, []).append(row_rule)
            return
        if on and none_allowed and rule.metric == "nullValues":
            self.report.warn(
                at, "a null refuses the whole batch", "write `required: true` to reject just its record"
            )
        self._check_name(rule.name, at)
        self.rules.append(rule)

    def _keep_comparison(self, rule: Comparison, at: DocumentPath) -> None:
        if any(other.asks == rule.asks for other in self.comparisons):
            where = (*at, "implementation")
            self.report.error(where, f"`{rule.describe()}` is there twice", "keep one of the two")
        else:
            self._check_name(rule.name, at)
        self.comparisons.append(rule)

    def _check_name(self, name: str, at: DocumentPath) -> None:
        taken = {rule.name for rule in self.rules} | {rule.name for rule in self.comparisons}
        if name in taken:
            self.report.error(at, f"two rules are called `{name}`", "give each a `name:`")


def _text(value: Value) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)

//! From a cell to a value of its column's type, and whether the contract's rules hold of it.

use std::fmt::Display;

use regex::Regex;

use crate::{
    cell::{Cell, Violation},
    compare::Comparisons,
    decimal,
    error::{Error, Result},
    limits::{self, Limits, Multiple},
    nested::{self, Node},
    plan::{Column, Kind, Limit, Plan, Rule},
    rows::Builder,
    text::{self, Zone},
};

/// A checked value other than text, in 64 bits: an integer, the bits of a float, 0 or 1, days, or microseconds.
pub type Scalar = i64;

/// What a cell came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// No value, and none is needed.
    Null,
    /// A value: the scalar, or for strings the cell's text.
    Value(Scalar),
    /// A decimal, in units of its last place.
    Decimal(i128),
    /// A nested value, which is in its column already.
    Written,
    /// At least one rule is broken; the violations say which.
    Broken,
}

/// Checks the cells of every column of a plan, and then what must hold between them.
pub struct Checker {
    pub(crate) comparisons: Comparisons,
    columns: Vec<ColumnCheck>,
    nested: Vec<Option<Node>>,
}

/// Checks the cells of one column.
pub(crate) struct ColumnCheck {
    column: Column,
    /// Bounds of integers, both included.
    low: i64,
    high: i64,
    limits: Limits,
    /// Whether a rule other than those bounds must be looked at.
    has_rules: bool,
    patterns: Vec<Regex>,
    multiples: Vec<Multiple>,
    /// What timestamps say of their zone.
    zone: Zone,
}

impl Checker {
    /// Compile the rules of a plan.
    ///
    /// # Errors
    /// `Error::Plan` when a pattern doesn't compile or a rule doesn't fit its column's type.
    pub fn new(plan: &Plan) -> Result<Self> {
        let columns = plan.columns.iter().map(ColumnCheck::new).collect::<Result<_>>()?;
        let mut next = plan.columns.len();
        let mut node = |(index, column): (usize, &Column)| {
            let is_nested = column.kind.is_nested();
            is_nested.then(|| Node::new(column, index, column.name.clone(), &mut next)).transpose()
        };
        let nested = plan.columns.iter().enumerate().map(&mut node).collect::<Result<_>>()?;
        Ok(Self { comparisons: Comparisons::new(plan)?, columns, nested })
    }

    /// What reads and checks a nested column; `None` for any other.
    #[inline]
    pub(crate) fn nested(&self, index: usize) -> Option<&Node> {
        self.nested[index].as_ref()
    }

    /// The bounds of a column of integers that has no other rules, both included.
    pub fn integer_bounds(&self, index: usize) -> Option<(i64, i64)> {
        self.columns[index].integer_bounds()
    }

    /// Check one cell of any column. A nested value goes into its column on the way; when anything in its record is broken,
    /// what was written of it must be cut off again ([`crate::rows::Rows::take_back`]).
    #[inline]
    pub fn check_into(
        &self,
        index: usize,
        cell: &Cell,
        builder: &mut Builder,
        violations: &mut Vec<Violation>,
        scratch: &mut nested::Scratch,
    ) -> Checked {
        match self.nested(index) {
            None => self.check(index, cell, violations),
            Some(node) => node.read_cell(cell, builder, &mut nested::Reader { violations, scratch }),
        }
    }

    /// Check what must hold between the cells of a record that came to `checked`; what is broken is added to `violations`. A
    /// cell that is broken itself is left out.
    #[inline]
    pub fn check_between(&self, row: &[Cell], checked: &[Checked], violations: &mut Vec<Violation>) {
        if !self.comparisons.is_empty() {
            self.comparisons.check(row, checked, violations);
        }
    }

    /// Check one cell of a column that isn't nested; what is broken is added to `violations`.
    #[inline]
    pub fn check(&self, index: usize, cell: &Cell, violations: &mut Vec<Violation>) -> Checked {
        self.columns[index].check(index, cell, violations)
    }
}

impl ColumnCheck {
    /// Check one cell; what is broken is added to `violations` under the number `index`.
    #[inline]
    pub(crate) fn check(&self, index: usize, cell: &Cell, violations: &mut Vec<Violation>) -> Checked {
        match cell {
            Cell::Missing | Cell::Null => self.absent(index, cell, violations),
            Cell::Int(value) if self.takes_integers() && *value >= self.low && *value <= self.high => {
                if self.has_rules && !self.rules_hold(index, cell, i128::from(*value), violations) {
                    return Checked::Broken;
                }
                Checked::Value(*value)
            }
            _ => self.typed(index, cell, violations),
        }
    }

    /// The column's name.
    pub(crate) fn name(&self) -> &str {
        &self.column.name
    }

    pub(crate) fn new(column: &Column) -> Result<Self> {
        let fault = |message: String| Error::Plan(format!("`{}`: {message}", column.name));
        let exact = matches!(column.kind, Kind::Int32 | Kind::Int64 | Kind::Decimal { .. });
        let dated = column.kind.is_dated();
        let (text, float) = (column.kind == Kind::String, column.kind == Kind::Float64);
        let (mut patterns, mut multiples) = (Vec::new(), Vec::new());
        let mut has_rules = false;
        for rule in &column.rules {
            match rule {
                rule if limits::limit(rule).is_some() && (exact || dated) => continue,
                rule if limits::limit(rule).is_some() && float => {}
                Rule::MultipleOf { value } if exact || float => {
                    let multiple = Multiple::new(column.kind, value);
                    multiples.push(multiple.ok_or_else(|| fault(format!("no multiples of `{value}`")))?);
                }
                Rule::MinLength { .. } | Rule::MaxLength { .. } | Rule::Format { .. } if text => {}
                Rule::Pattern { value } if text => {
                    patterns.push(Regex::new(value).map_err(|error| fault(error.to_string()))?);
                }
                Rule::Enum { .. } if exact || text => {}
                Rule::MinItems { .. } | Rule::MaxItems { .. } | Rule::UniqueItems {}
                    if column.kind == Kind::List => {}
                _ => return Err(fault(format!("{rule:?} doesn't fit {:?}", column.kind))),
            }
            has_rules = true;
        }
        let limits = if exact || dated { Limits::new(column).map_err(fault)? } else { Limits::none() };
        // A bound that no integer of 64 bits keeps leaves an empty range.
        let (low, high) = match (i64::try_from(limits.low), i64::try_from(limits.high)) {
            (Ok(low), Ok(high)) => (low, high),
            _ => (0, -1),
        };
        let zone = match (column.kind, column.default_offset) {
            (Kind::Timestamp, None) => Zone::Named,
            (Kind::Timestamp, Some(offset)) => {
                let micros = i64::from(offset.minutes) * 60_000_000;
                if offset.overridable { Zone::Default(micros) } else { Zone::Implied(micros) }
            }
            (_, None) => Zone::Absent,
            (kind, Some(_)) => return Err(fault(format!("a zone doesn't fit {kind:?}"))),
        };
        Ok(Self { column: column.clone(), low, high, limits, has_rules, patterns, multiples, zone })
    }

    /// The bounds of integers that have no other rules, both included; `None` of other values.
    pub fn integer_bounds(&self) -> Option<(i64, i64)> {
        (self.takes_integers() && !self.has_rules).then_some((self.low, self.high))
    }

    fn takes_integers(&self) -> bool {
        matches!(self.column.kind, Kind::Int32 | Kind::Int64)
    }

    #[inline]
    fn absent(&self, index: usize, cell: &Cell, violations: &mut Vec<Violation>) -> Checked {
        if !self.column.required {
            return Checked::Null;
        }
        let message =
            if matches!(cell, Cell::Missing) { "the field is missing" } else { "the value is null" };
        violations.push(Violation::of_column(index, "required", message));
        Checked::Broken
    }

    /// Everything but the integer that is simply in its range.
    fn typed(&self, index: usize, cell: &Cell, violations: &mut Vec<Violation>) -> Checked {
        let value = match self.convert(cell) {
            Some(value) => value,
            None => {
                violations.push(Violation::of_column(index, "type", self.not_of_type(cell)));
                return Checked::Broken;
            }
        };
        let within = self.limits.allow(value) || self.beyond_limits(index, cell, value, violations);
        let rules_hold = !self.has_rules || self.rules_hold(index, cell, value, violations);
        if !(within && rules_hold) {
            return Checked::Broken;
        }
        match self.column.kind {
            Kind::Decimal { .. } => Checked::Decimal(value),
            _ => Checked::Value(i64::try_from(value).expect("only decimals are wider than 64 bits")),
        }
    }

    /// The value in the units of its column: an integer, the bits of a float, 0 or 1, days, microseconds, a decimal's last
    /// place; 0 for a text.
    fn convert(&self, cell: &Cell) -> Option<i128> {
        let kind = self.column.kind;
        let formats = &self.column.formats;
        if let Kind::Decimal { precision, scale } = kind {
            return match cell {
                Cell::Int(value) => decimal::of_integer(*value, precision, scale),
                Cell::Number(text) => decimal::spelled(text, precision, scale),
                _ => decimal::spelled(cell.untyped()?, precision, scale),
            };
        }
        let scalar = match (kind, cell) {
            (Kind::Int32, Cell::Int(value)) => i32::try_from(*value).ok().map(i64::from),
            (Kind::Int64, Cell::Int(value)) => Some(*value),
            #[allow(clippy::cast_precision_loss)] // a number column holds the nearest 64-bit float
            (Kind::Float64, Cell::Int(value)) => Some((*value as f64).to_bits().cast_signed()),
            (Kind::Float64, Cell::Float(value)) => value.is_finite().then(|| value.to_bits().cast_signed()),
            (Kind::Float64, Cell::Number(text)) => {
                text::float(text).map(|value| value.to_bits().cast_signed())
            }
            (Kind::Boolean, Cell::Bool(value)) => Some(i64::from(*value)),
            (Kind::Date, Cell::Days(days)) => {
                Some(i64::from(*days)).filter(|days| text::CALENDAR.contains(days))
            }
            (Kind::Timestamp | Kind::TimestampNtz, Cell::Micros { value, zoned }) => {
                let offset = match (self.zone, zoned) {
                    (Zone::Named | Zone::Default(_), true) | (Zone::Absent, false) => Some(0),
                    (Zone::Implied(offset) | Zone::Default(offset), false) => Some(offset),
                    _ => None,
                };
                let micros = offset.and_then(|offset| value.checked_sub(offset));
                micros.filter(|value| text::CALENDAR.contains(&value.div_euclid(text::DAY_MICROS)))
            }
            (Kind::Time, Cell::TimeOfDay(value)) => Some(*value),
            (Kind::String, _) => cell.text().map(|_| 0),
            (Kind::Date, _) => text::date(cell.text()?, formats),
            (Kind::Timestamp | Kind::TimestampNtz, _) => text::timestamp(cell.text()?, self.zone, formats),
            (Kind::Time, _) => text::time(cell.text()?, formats),
            (Kind::Int32, _) => {
                text::integer(cell.untyped()?).and_then(|value| i32::try_from(value).ok()).map(i64::from)
            }
            (Kind::Int64, _) => text::integer(cell.untyped()?),
            (Kind::Float64, _) => text::float(cell.untyped()?).map(|value| value.to_bits().cast_signed()),
            (Kind::Boolean, _) => text::boolean(cell.untyped()?).map(i64::from),
            (Kind::Decimal { .. } | Kind::Struct | Kind::List, _) => None,
        };
        scalar.map(i128::from)
    }

    #[cold]
    fn not_of_type(&self, cell: &Cell) -> String {
        let wanted = match self.column.kind {
            Kind::Int32 => "a 32-bit integer",
            Kind::Int64 => "a 64-bit integer",
            Kind::Float64 => "a finite number",
            Kind::Decimal { precision, scale } => {
                return format!(
                    "{} is not a number of at most {} digits before the point and {scale} after it",
                    cell.shown(),
                    precision - scale
                );
            }
            Kind::Boolean => "true or false",
            Kind::String => "a string",
            Kind::Date => "a date",
            Kind::Timestamp if self.zone == Zone::Named => "a timestamp with its zone",
            Kind::Timestamp if matches!(self.zone, Zone::Default(_)) => "a timestamp",
            Kind::Timestamp | Kind::TimestampNtz => "a timestamp without a zone",
            Kind::Time => "a time of day",
            Kind::Struct => "an object",
            Kind::List => "an array",
        };
        let formats = &self.column.formats;
        let written = if formats.is_empty() {
            String::new()
        } else {
            format!(" written as `{}`", formats.join("` or `"))
        };
        format!("{} is not {wanted}{written}", cell.shown())
    }

    /// A violation of every limit that a value is beyond; `false`, as it is beyond one.
    #[cold]
    fn beyond_limits(&self, index: usize, cell: &Cell, value: i128, violations: &mut Vec<Violation>) -> bool {
        let shown = if self.column.kind.is_dated() { cell.shown() } else { self.value_text(value) };
        for bound in self.limits.broken(value) {
            let message = format!("{shown} is {} {}", bound.breach, bound.limit);
            violations.push(Violation::of_column(index, bound.rule, message));
        }
        false
    }

    /// A value as text, as messages and enumerations have it.
    fn value_text(&self, value: i128) -> String {
        match self.column.kind {
            Kind::Decimal { scale, .. } => decimal::text(value, scale),
            _ => value.to_string(),
        }
    }

    /// The rules that aren't exact limits.
    fn rules_hold(&self, index: usize, cell: &Cell, value: i128, violations: &mut Vec<Violation>) -> bool {
        let before = violations.len();
        match self.column.kind {
            Kind::Float64 => self.float_rules(index, float(value), violations),
            Kind::String => self.text_rules(index, cell.text().unwrap_or_default(), violations),
            _ => {
                let shown = self.value_text(value);
                self.multiples(index, &shown, |multiple| multiple.has(value), violations);
                self.enumeration(index, &shown, violations);
            }
        }
        violations.len() == before
    }

    fn float_rules(&self, index: usize, number: f64, violations: &mut Vec<Violation>) {
        for rule in &self.column.rules {
            let Some((name, breach, Limit::Number(limit))) = limits::limit(rule) else { continue };
            let is_beyond = match rule {
                Rule::Minimum { .. } => number < *limit,
                Rule::Maximum { .. } => number > *limit,
                Rule::ExclusiveMinimum { .. } => number <= *limit,
                _ => number >= *limit,
            };
            if is_beyond {
                let message = format!("{number} is {breach} {limit}");
                violations.push(Violation::of_column(index, name, message));
            }
        }
        self.multiples(index, &number, |multiple| multiple.has_float(number), violations);
    }

    fn multiples(
        &self,
        index: usize,
        shown: &dyn Display,
        has: impl Fn(&Multiple) -> bool,
        violations: &mut Vec<Violation>,
    ) {
        for multiple in self.multiples.iter().filter(|multiple| !has(multiple)) {
            let message = format!("{shown} is not a multiple of {}", multiple.shown);
            violations.push(Violation::of_column(index, "multipleOf", message));
        }
    }

    fn text_rules(&self, index: usize, value: &str, violations: &mut Vec<Violation>) {
        let mut broken = |rule, message| violations.push(Violation::of_column(index, rule, message));
        let mut patterns = self.patterns.iter();
        for rule in &self.column.rules {
            match rule {
                Rule::MinLength { value: limit } if length(value) < *limit => {
                    broken("minLength", format!("{} is shorter than {limit} characters", shown(value)));
                }
                Rule::MaxLength { value: limit } if value.len() > *limit && length(value) > *limit => {
                    broken("maxLength", format!("{} is longer than {limit} characters", shown(value)));
                }
                Rule::Format { value: format } if !format.has(value) => {
                    broken("format", format!("{} is not {}", shown(value), format.describe()));
                }
                Rule::Pattern { value: source } => {
                    let pattern = patterns.next().expect("one expression was compiled for each pattern rule");
                    if !pattern.is_match(value) {
                        broken("pattern", format!("{} doesn't match `{source}`", shown(value)));
                    }
                }
                _ => {}
            }
        }
        self.enumeration(index, value, violations);
    }

    fn enumeration(&self, index: usize, value: &str, violations: &mut Vec<Violation>) {
        for rule in &self.column.rules {
            if let Rule::Enum { values } = rule
                && !values.iter().any(|allowed| allowed == value)
            {
                let allowed =
                    values.iter().take(20).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
                let message = format!("{} is none of {allowed}", shown(value));
                violations.push(Violation::of_column(index, "enum", message));
            }
        }
    }
}

/// The float whose bits a checked value is.
#[allow(clippy::cast_possible_truncation)] // it was made of 64 bits
fn float(value: i128) -> f64 {
    f64::from_bits((value as i64).cast_unsigned())
}

/// Characters (code points) of a text.
fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// A value as messages show it: in backticks, cut when it is long.
fn shown(value: &str) -> String {
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &value[..end]),
        None => format!("`{value}`"),
    }
}

impl Cell<'_> {
    /// The text of a string or of an untyped field.
    #[inline]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Text(text) => Some(text),
            Self::Owned(text) | Self::OwnedText(text) => Some(text),
            _ => None,
        }
    }

    /// The text of an untyped field, which may stand for a value of any type.
    pub(crate) fn untyped(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::OwnedText(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Missing | Self::Null => "null".into(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Int(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Number(text) | Self::Nested(text) => shown(text),
            Self::Str(text) => format!("the string {}", shown(text)),
            Self::Owned(text) => format!("the string {}", shown(text)),
            Self::Text(text) => shown(text),
            Self::OwnedText(text) => shown(text),
            Self::Days(days) => format!("the date {days} days after 1970-01-01"),
            Self::Group { .. } => "the nested value".into(),
            Self::TimeOfDay(micros) => format!("the time {micros} µs after midnight"),
            Self::Micros { value, zoned } => {
                let zone = if *zoned { "with" } else { "without" };
                format!("the timestamp {value} µs after 1970-01-01 {zone} a zone")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: &str, rules: serde_json::Value, cell: Cell) -> (Checked, Vec<&'static str>) {
        let column = json!({"name": "a", "field_id": 1, "type": kind, "required": true, "rules": rules});
        let plan = json!({"dataset": "d", "contract": "c", "columns": [column]});
        let checker = Checker::new(&Plan::from_json(&plan.to_string()).unwrap()).unwrap();
        let mut violations = Vec::new();
        let checked = checker.check(0, &cell, &mut violations);
        (checked, violations.into_iter().map(|violation| violation.rule).collect())
    }

    #[test]
    fn a_required_value_must_be_there() {
        assert_eq!(check("int32", json!([]), Cell::Missing), (Checked::Broken, vec!["required"]));
        assert_eq!(check("int32", json!([]), Cell::Null), (Checked::Broken, vec!["required"]));
    }

    #[test]
    fn json_values_are_not_coerced() {
        for (kind, cell) in [
            ("int32", Cell::Str("1")),
            ("int32", Cell::Number("1.0")),
            ("int32", Cell::Int(1 << 31)),
            ("int64", Cell::Number("9223372036854775808")),
            ("string", Cell::Int(1)),
            ("float64", Cell::Str("1")),
            ("float64", Cell::Number("1e999")),
            ("boolean", Cell::Int(1)),
            ("timestamp", Cell::Int(0)),
            ("string", Cell::Nested("{}")),
            ("timestamp", Cell::Micros { value: 0, zoned: false }),
            ("timestamp", Cell::Micros { value: i64::MAX, zoned: true }),
            ("date", Cell::Days(10_000_000)),
            ("decimal(5,2)", Cell::Str("1")),
            ("decimal(5,2)", Cell::Float(1.0)),
            ("decimal(5,2)", Cell::Number("1.005")),
            ("decimal(5,2)", Cell::Int(1000)),
            ("decimal(5,2)", Cell::Text("NaN")),
            ("decimal(5,0)", Cell::Number("1.0")),
            ("decimal(5,0)", Cell::Text("1e2")),
        ] {
            assert_eq!(
                check(kind, json!([]), cell.clone()),
                (Checked::Broken, vec!["type"]),
                "{kind} {cell:?}"
            );
        }
    }

    #[test]
    fn untyped_text_reads_as_the_column_says() {
        assert_eq!(check("int32", json!([]), Cell::Text("-5")).0, Checked::Value(-5));
        assert_eq!(check("boolean", json!([]), Cell::Text("TRUE")).0, Checked::Value(1));
        assert_eq!(check("date", json!([]), Cell::Text("1970-01-03")).0, Checked::Value(2));
        assert_eq!(
            check("float64", json!([]), Cell::Text("0.5")).0,
            Checked::Value(0.5f64.to_bits().cast_signed())
        );
    }

    #[test]
    fn every_broken_rule_is_said() {
        let rules = json!([
            {"rule": "maxLength", "value": 2},
            {"rule": "pattern", "value": "^[A-Z]+$"},
            {"rule": "enum", "values": ["AA", "BB"]},
        ]);
        let (checked, broken) = check("string", rules, Cell::Str("aaa"));
        assert_eq!((checked, broken), (Checked::Broken, vec!["maxLength", "pattern", "enum"]));
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert_eq!(
            check("string", json!([{"rule": "maxLength", "value": 2}]), Cell::Str("éé")).0,
            Checked::Value(0)
        );
    }

    #[test]
    fn bounds_are_kept_at_their_edges() {
        let rules = json!([{"rule": "minimum", "value": 1.5}, {"rule": "exclusiveMaximum", "value": 4}]);
        let verdict = |value| check("int64", rules.clone(), Cell::Int(value)).1;
        assert_eq!(verdict(1), ["minimum"]);
        assert!(verdict(2).is_empty() && verdict(3).is_empty());
        assert_eq!(verdict(4), ["exclusiveMaximum"]);
        assert_eq!(check("float64", rules, Cell::Number("4.0")).1, ["exclusiveMaximum"]);
    }

    #[test]
    fn bounds_beyond_a_floats_digits_are_kept_too() {
        const LIMIT: i64 = 1 << 53; // the float next to it is two away
        let verdict = |rule: &str, value| {
            let rules = json!([{"rule": rule, "value": LIMIT.abs() * i64::signum(value)}]);
            check("int64", rules, Cell::Int(value)).1
        };
        assert_eq!(verdict("maximum", LIMIT + 1), ["maximum"]);
        assert_eq!(verdict("minimum", -LIMIT - 1), ["minimum"]);
        assert!(verdict("exclusiveMinimum", LIMIT + 1).is_empty());
        assert!(verdict("exclusiveMaximum", -LIMIT - 1).is_empty());
        assert_eq!(verdict("exclusiveMinimum", LIMIT), ["exclusiveMinimum"]);
    }

    #[test]
    fn decimals_are_exact() {
        let rules = json!([
            {"rule": "minimum", "value": "0.1"},
            {"rule": "exclusiveMaximum", "value": "100"},
            {"rule": "enum", "values": ["0.10", "0.30", "100.00"]},
        ]);
        let verdict = |text| check("decimal(5,2)", rules.clone(), Cell::Number(text));
        assert_eq!(verdict("0.3"), (Checked::Decimal(30), vec![]));
        assert_eq!(verdict("1e-1"), (Checked::Decimal(10), vec![]));
        assert_eq!(verdict("0.09").1, ["minimum", "enum"]);
        assert_eq!(verdict("100.00").1, ["exclusiveMaximum"]);
        assert_eq!(check("decimal(5,2)", json!([]), Cell::Text("-5")).0, Checked::Decimal(-500));
        assert_eq!(
            check("decimal(38,0)", json!([]), Cell::Int(i64::MIN)).0,
            Checked::Decimal(i64::MIN.into())
        );
    }

    #[test]
    fn multiples_and_formats_are_rules() {
        let rules = json!([{"rule": "multipleOf", "value": "0.05"}]);
        assert_eq!(check("decimal(5,2)", rules.clone(), Cell::Number("1.15")).1, Vec::<&str>::new());
        assert_eq!(check("decimal(5,2)", rules.clone(), Cell::Number("1.16")).1, ["multipleOf"]);
        assert_eq!(check("float64", rules.clone(), Cell::Number("1.15")).1, Vec::<&str>::new());
        assert_eq!(check("float64", rules, Cell::Float(1.16)).1, ["multipleOf"]);
        let five = json!([{"rule": "multipleOf", "value": 5}]);
        assert_eq!(check("int64", five.clone(), Cell::Int(-10)).0, Checked::Value(-10));
        assert_eq!(check("int64", five, Cell::Int(11)).1, ["multipleOf"]);
        let mail = json!([{"rule": "format", "value": "email"}]);
        assert_eq!(check("string", mail.clone(), Cell::Str("a@b.co")).0, Checked::Value(0));
        assert_eq!(check("string", mail, Cell::Str("a")).1, ["format"]);
    }

    #[test]
    fn dates_and_times_keep_their_limits() {
        let after = |kind: &str, limit: &str, cell| {
            check(kind, json!([{"rule": "exclusiveMinimum", "value": limit}]), cell)
        };
        assert_eq!(after("date", "1970-01-01", Cell::Str("1970-01-01")).1, ["exclusiveMinimum"]);
        assert_eq!(after("date", "1970-01-01", Cell::Days(1)).0, Checked::Value(1));
        assert_eq!(after("time", "12:00", Cell::Text("12:00:00.000001")).0, Checked::Value(43_200_000_001));
        assert_eq!(after("time", "12:00", Cell::TimeOfDay(0)).1, ["exclusiveMinimum"]);
        let moment = Cell::Str("1970-01-01T01:00:00+01:00");
        assert_eq!(after("timestamp", "1970-01-01T00:00:00Z", moment).1, ["exclusiveMinimum"]);
    }

    #[test]
    fn a_rule_that_does_not_fit_its_type_is_refused() {
        let plan = json!({"dataset": "d", "contract": "c", "columns": [
            {"name": "a", "field_id": 1, "type": "boolean", "rules": [{"rule": "minimum", "value": 1}]}]});
        assert!(Checker::new(&Plan::from_json(&plan.to_string()).unwrap()).is_err());
    }
}

//! From a cell to a value of its column's type, and whether the contract's rules hold of it.

use std::fmt::Display;

use regex::Regex;

use crate::{
    cell::{Cell, Violation},
    error::{Error, Result},
    plan::{Column, Kind, Plan, Rule},
    text,
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
    /// At least one rule is broken; the violations say which.
    Broken,
}

/// Checks the cells of every column of a plan.
pub struct Checker {
    columns: Vec<ColumnCheck>,
}

struct ColumnCheck {
    column: Column,
    /// Bounds of integers, days and microseconds, both included.
    low: i64,
    high: i64,
    /// Whether a rule other than those bounds must be looked at.
    has_rules: bool,
    patterns: Vec<Regex>,
}

impl Checker {
    /// Compile the rules of a plan.
    ///
    /// # Errors
    /// `Error::Plan` when a pattern doesn't compile or a rule doesn't fit its column's type.
    pub fn new(plan: &Plan) -> Result<Self> {
        let columns = plan.columns.iter().map(ColumnCheck::new).collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    /// The bounds of a column of integers that has no other rules, both included.
    pub fn integer_bounds(&self, index: usize) -> Option<(i64, i64)> {
        let check = &self.columns[index];
        (check.takes_integers() && !check.has_rules).then_some((check.low, check.high))
    }

    /// Check one cell; what is broken is added to `violations`.
    #[inline]
    pub fn check(&self, index: usize, cell: &Cell, violations: &mut Vec<Violation>) -> Checked {
        let check = &self.columns[index];
        match cell {
            Cell::Missing | Cell::Null => check.absent(index, cell, violations),
            Cell::Int(value) if check.takes_integers() && *value >= check.low && *value <= check.high => {
                if check.has_rules && !check.rules_hold(index, cell, *value, violations) {
                    return Checked::Broken;
                }
                Checked::Value(*value)
            }
            _ => check.typed(index, cell, violations),
        }
    }
}

impl ColumnCheck {
    fn new(column: &Column) -> Result<Self> {
        let integer = matches!(column.kind, Kind::Int32 | Kind::Int64);
        let (mut low, mut high) = match column.kind {
            Kind::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let mut patterns = Vec::new();
        let mut has_rules = false;
        for rule in &column.rules {
            let numeric = integer || column.kind == Kind::Float64;
            let text = column.kind == Kind::String;
            match rule {
                Rule::Minimum { .. }
                | Rule::Maximum { .. }
                | Rule::ExclusiveMinimum { .. }
                | Rule::ExclusiveMaximum { .. }
                    if numeric =>
                {
                    if integer {
                        let (lowest, highest) = integers_within(rule);
                        (low, high) = (low.max(lowest), high.min(highest));
                    } else {
                        has_rules = true;
                    }
                }
                Rule::MinLength { .. } | Rule::MaxLength { .. } if text => has_rules = true,
                Rule::Pattern { value } if text => {
                    let pattern = Regex::new(value)
                        .map_err(|error| Error::Plan(format!("pattern of `{}`: {error}", column.name)))?;
                    patterns.push(pattern);
                    has_rules = true;
                }
                Rule::Enum { .. } if integer || text => has_rules = true,
                _ => {
                    return Err(Error::Plan(format!(
                        "`{}`: {rule:?} doesn't fit {:?}",
                        column.name, column.kind
                    )));
                }
            }
        }
        Ok(Self { column: column.clone(), low, high, has_rules, patterns })
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
        let in_bounds = !self.takes_integers() || self.bounds_hold(index, value, violations);
        let rules_hold = !self.has_rules || self.rules_hold(index, cell, value, violations);
        if in_bounds && rules_hold { Checked::Value(value) } else { Checked::Broken }
    }

    fn convert(&self, cell: &Cell) -> Option<Scalar> {
        let kind = self.column.kind;
        let formats = &self.column.formats;
        match (kind, cell) {
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
            (Kind::Timestamp, Cell::Micros { value, zoned: true })
            | (Kind::TimestampNtz, Cell::Micros { value, zoned: false }) => {
                Some(*value).filter(|value| text::CALENDAR.contains(&value.div_euclid(text::DAY_MICROS)))
            }
            (Kind::String, _) => cell.text().map(|_| 0),
            (Kind::Date, _) => text::date(cell.text()?, formats),
            (Kind::Timestamp, _) => text::timestamp(cell.text()?, true, formats),
            (Kind::TimestampNtz, _) => text::timestamp(cell.text()?, false, formats),
            (Kind::Int32, _) => {
                text::integer(cell.untyped()?).and_then(|value| i32::try_from(value).ok()).map(i64::from)
            }
            (Kind::Int64, _) => text::integer(cell.untyped()?),
            (Kind::Float64, _) => text::float(cell.untyped()?).map(|value| value.to_bits().cast_signed()),
            (Kind::Boolean, _) => text::boolean(cell.untyped()?).map(i64::from),
        }
    }

    #[cold]
    fn not_of_type(&self, cell: &Cell) -> String {
        let wanted = match self.column.kind {
            Kind::Int32 => "a 32-bit integer",
            Kind::Int64 => "a 64-bit integer",
            Kind::Float64 => "a finite number",
            Kind::Boolean => "true or false",
            Kind::String => "a string",
            Kind::Date => "a date",
            Kind::Timestamp => "a timestamp with its zone",
            Kind::TimestampNtz => "a timestamp without a zone",
        };
        let formats = &self.column.formats;
        let written = if formats.is_empty() {
            String::new()
        } else {
            format!(" written as `{}`", formats.join("` or `"))
        };
        format!("{} is not {wanted}{written}", cell.shown())
    }

    fn bounds_hold(&self, index: usize, value: i64, violations: &mut Vec<Violation>) -> bool {
        if value >= self.low && value <= self.high {
            return true;
        }
        let is_beyond = |rule: &Rule| {
            let (lowest, highest) = integers_within(rule);
            value < lowest || value > highest
        };
        self.limits(index, &value, is_beyond, violations);
        false
    }

    /// A violation of every limit that the value `shown` is beyond.
    #[cold]
    fn limits(
        &self,
        index: usize,
        shown: &dyn Display,
        is_beyond: impl Fn(&Rule) -> bool,
        violations: &mut Vec<Violation>,
    ) {
        for rule in self.column.rules.iter().filter(|rule| is_beyond(rule)) {
            let (name, what, limit) = match rule {
                Rule::Minimum { value } => ("minimum", "below the minimum", value),
                Rule::Maximum { value } => ("maximum", "above the maximum", value),
                Rule::ExclusiveMinimum { value } => ("exclusiveMinimum", "not above", value),
                Rule::ExclusiveMaximum { value } => ("exclusiveMaximum", "not below", value),
                _ => continue,
            };
            violations.push(Violation::of_column(index, name, format!("{shown} is {what} {limit}")));
        }
    }

    /// The rules that aren't integer bounds.
    fn rules_hold(&self, index: usize, cell: &Cell, value: Scalar, violations: &mut Vec<Violation>) -> bool {
        let before = violations.len();
        match self.column.kind {
            Kind::Float64 => {
                let number = f64::from_bits(value.cast_unsigned());
                let is_beyond = |rule: &Rule| match rule {
                    Rule::Minimum { value } => number < *value,
                    Rule::Maximum { value } => number > *value,
                    Rule::ExclusiveMinimum { value } => number <= *value,
                    Rule::ExclusiveMaximum { value } => number >= *value,
                    _ => false,
                };
                self.limits(index, &number, is_beyond, violations);
            }
            Kind::String => self.text_rules(index, cell.text().unwrap_or_default(), violations),
            _ => self.enumeration(index, &value.to_string(), violations),
        }
        violations.len() == before
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

/// The least and the greatest integer that a limit allows. A 64-bit integer isn't turned into a float to be compared: the
/// nearest one may lie on the other side of the limit.
#[allow(clippy::cast_possible_truncation)] // `as` saturates, and so does a limit beyond 64 bits
fn integers_within(rule: &Rule) -> (i64, i64) {
    match rule {
        Rule::Minimum { value } => (value.ceil() as i64, i64::MAX),
        Rule::Maximum { value } => (i64::MIN, value.floor() as i64),
        Rule::ExclusiveMinimum { value } => ((value.floor() as i64).saturating_add(1), i64::MAX),
        Rule::ExclusiveMaximum { value } => (i64::MIN, (value.ceil() as i64).saturating_sub(1)),
        _ => (i64::MIN, i64::MAX),
    }
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
    fn untyped(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::OwnedText(text) => Some(text),
            _ => None,
        }
    }

    fn shown(&self) -> String {
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
    fn a_rule_that_does_not_fit_its_type_is_refused() {
        let plan = json!({"dataset": "d", "contract": "c", "columns": [
            {"name": "a", "field_id": 1, "type": "date", "rules": [{"rule": "minimum", "value": 1}]}]});
        assert!(Checker::new(&Plan::from_json(&plan.to_string()).unwrap()).is_err());
    }
}

//! Rules over two columns of one record.
//!
//! Values are compared exactly: decimals by their units, an integer with a floating-point number by neither of them being
//! turned into the other's type. A rule holds when either value is null, as SQL has it: only what is false is a breach.

use std::cmp::Ordering;

use crate::{
    cell::{Cell, Violation},
    check::Checked,
    decimal,
    error::{Error, Result},
    plan::{Column, Comparison, Kind, Operator, Plan},
    rows::Builder,
    scalars::{Scalar, Scalars},
};

/// The comparisons of a plan.
pub(crate) struct Comparisons(Vec<Compiled>);

struct Compiled {
    left: Side,
    operator: Operator,
    right: Side,
}

/// One of the two columns.
struct Side {
    index: usize,
    name: String,
    is_float: bool,
    is_text: bool,
    /// What a value is multiplied by, so that both are in units of one size.
    factor: i128,
}

/// One of the two values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a> {
    /// None, or one that breaks a rule of its own.
    Null,
    /// An integer, 0 or 1, days, microseconds, or a decimal in units of its last place.
    Exact(i128),
    /// A floating-point number.
    Float(f64),
    /// A text in UTF-8, whose bytes are in the order of its code points.
    Text(&'a [u8]),
}

impl Comparisons {
    /// Compile a plan's.
    ///
    /// # Errors
    /// `Error::Plan` when there is no such column, or the types of two can't be compared.
    pub fn new(plan: &Plan) -> Result<Self> {
        let compiled = plan.compare.iter().map(|rule| Compiled::new(plan, rule));
        compiled.collect::<Result<_>>().map(Self)
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold of a row of the columns, which is one of the last. Not inlined, so that reading records without rules
    /// stays as short.
    #[inline(never)]
    pub fn hold_of_late(&self, columns: &[Builder], row: usize) -> bool {
        let operand = |side: &Side| columns[side.index].get_late(row);
        self.0.iter().all(|rule| rule.holds(operand(&rule.left), operand(&rule.right)))
    }

    /// Whether all hold of a row of finished columns.
    pub fn hold_of(&self, columns: &[Option<Scalars>], row: usize) -> bool {
        let operand = |side: &Side| {
            let column = columns[side.index].as_ref().expect("compared columns are there");
            match column.get(row) {
                Scalar::Null => Operand::Null,
                Scalar::Number(value) if side.is_float => {
                    Operand::Float(f64::from_bits(value.cast_unsigned()))
                }
                Scalar::Number(value) => Operand::Exact(value.into()),
                Scalar::Decimal(value) => Operand::Exact(value),
                Scalar::Text(text) => Operand::Text(text.as_bytes()),
            }
        };
        self.0.iter().all(|rule| rule.holds(operand(&rule.left), operand(&rule.right)))
    }

    /// Which columns are compared with others.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(|rule| [rule.left.index, rule.right.index])
    }

    /// Add a violation for each rule that a record breaks whose cells came to `checked`; it is said of the left column.
    pub fn check(&self, row: &[Cell], checked: &[Checked], violations: &mut Vec<Violation>) {
        let operand = |side: &Side| match checked[side.index] {
            Checked::Null | Checked::Written | Checked::Broken => Operand::Null,
            Checked::Decimal(value) => Operand::Exact(value),
            Checked::Value(value) if side.is_float => Operand::Float(f64::from_bits(value.cast_unsigned())),
            Checked::Value(value) => {
                // The scalar of a text is of no meaning.
                let text = side.is_text.then(|| row[side.index].text().unwrap_or_default());
                text.map_or(Operand::Exact(value.into()), |text| Operand::Text(text.as_bytes()))
            }
        };
        for rule in &self.0 {
            if !rule.holds(operand(&rule.left), operand(&rule.right)) {
                violations.push(rule.violation(row));
            }
        }
    }
}

impl Compiled {
    fn new(plan: &Plan, rule: &Comparison) -> Result<Self> {
        let (left, right) = (plan.column(&rule.left)?, plan.column(&rule.right)?);
        let of = |index: usize| &plan.columns[index];
        let (scale, other) = (scale(of(left)), scale(of(right)));
        let factors = [other.saturating_sub(scale), scale.saturating_sub(other)]
            .map(|zeros| decimal::power(zeros.into()));
        let [Some(left_factor), Some(right_factor)] = factors else {
            unreachable!("a scale has at most 38 digits")
        };
        if !are_comparable(of(left).kind, rule.operator, of(right).kind) {
            return Err(Error::Plan(format!(
                "`{}` {} `{}` compares {:?} with {:?}",
                rule.left,
                rule.operator.text(),
                rule.right,
                of(left).kind,
                of(right).kind
            )));
        }
        let side = |index, factor| Side::new(index, of(index), factor);
        Ok(Self { left: side(left, left_factor), operator: rule.operator, right: side(right, right_factor) })
    }

    #[inline]
    fn holds(&self, left: Operand, right: Operand) -> bool {
        let order = match (left, right) {
            (Operand::Null, _) | (_, Operand::Null) => return true,
            (Operand::Exact(left), Operand::Exact(right)) => self.in_units(left, right),
            // Both zeros of a float are one number.
            (Operand::Float(left), Operand::Float(right)) => {
                left.partial_cmp(&right).unwrap_or(Ordering::Equal)
            }
            (Operand::Exact(left), Operand::Float(right)) => with_float(left, right),
            (Operand::Float(left), Operand::Exact(right)) => with_float(right, left).reverse(),
            (Operand::Text(left), Operand::Text(right)) => left.cmp(right),
            _ => unreachable!("a text is compared with a text"),
        };
        self.operator.holds(order)
    }

    /// The order of two counts of units. One that 128 bits can't hold in the smaller units is further from 0 than any of 38
    /// digits, which the other is.
    #[inline]
    fn in_units(&self, left: i128, right: i128) -> Ordering {
        match (left.checked_mul(self.left.factor), right.checked_mul(self.right.factor)) {
            (Some(left), Some(right)) => left.cmp(&right),
            (None, _) => left.cmp(&0),
            (_, None) => 0.cmp(&right),
        }
    }

    #[cold]
    fn violation(&self, row: &[Cell]) -> Violation {
        let Self { left, operator, right } = self;
        let shown = |side: &Side| format!("{} of `{}`", row[side.index].shown(), side.name);
        let message = format!("{} is not {} {}", shown(left), operator.text(), shown(right));
        Violation::of_column(left.index, "compare", message)
    }
}

impl Side {
    fn new(index: usize, column: &Column, factor: i128) -> Self {
        Self {
            index,
            name: column.name.clone(),
            is_float: column.kind == Kind::Float64,
            is_text: column.kind == Kind::String,
            factor,
        }
    }
}

impl Operator {
    /// Whether it holds of two values in this order.
    #[inline]
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

fn scale(column: &Column) -> u8 {
    match column.kind {
        Kind::Decimal { scale, .. } => scale,
        _ => 0,
    }
}

fn are_comparable(left: Kind, operator: Operator, right: Kind) -> bool {
    let is_exact = |kind| matches!(kind, Kind::Int32 | Kind::Int64 | Kind::Decimal { .. });
    let is_integer = |kind| matches!(kind, Kind::Int32 | Kind::Int64);
    match (left, right) {
        (Kind::Boolean, Kind::Boolean) => matches!(operator, Operator::Equal | Operator::NotEqual),
        (Kind::Float64, other) | (other, Kind::Float64) => other == Kind::Float64 || is_integer(other),
        _ if is_exact(left) => is_exact(right),
        _ => left == right && !left.is_nested(),
    }
}

/// The order of an integer of 64 bits and a float that isn't infinite.
#[inline]
fn with_float(integer: i128, float: f64) -> Ordering {
    #[allow(clippy::cast_possible_truncation)] // `as` saturates, beyond all integers
    let floor = float.floor() as i128;
    let fraction = if float > float.floor() { Ordering::Less } else { Ordering::Equal };
    integer.cmp(&floor).then(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::check::Checker;

    /// What is broken of a record of two columns.
    fn broken(kinds: [&str; 2], operator: &str, row: [Cell; 2]) -> Vec<Violation> {
        let columns = json!([{"name": "a", "field_id": 1, "type": kinds[0]}, {"name": "b", "field_id": 2, "type": kinds[1]}]);
        let rule = json!([{"left": "a", "operator": operator, "right": "b"}]);
        let plan = json!({"dataset": "d", "contract": "c", "columns": columns, "compare": rule});
        let checker = Checker::new(&Plan::from_json(&plan.to_string()).unwrap()).unwrap();
        let mut violations = Vec::new();
        let checked: Vec<Checked> =
            row.iter().enumerate().map(|(index, cell)| checker.check(index, cell, &mut violations)).collect();
        assert!(violations.is_empty());
        checker.comparisons.check(&row, &checked, &mut violations);
        violations
    }

    fn holds(kinds: [&str; 2], operator: &str, row: [Cell; 2]) -> bool {
        broken(kinds, operator, row).is_empty()
    }

    #[test]
    fn a_breach_is_said_of_the_left_column_with_both_values() {
        let violations = broken(["int32", "int64"], "<=", [Cell::Int(1830), Cell::Text("0615")]);
        let message = "`1830` of `a` is not <= `0615` of `b`";
        assert_eq!(violations, [Violation::of_column(0, "compare", message)]);
    }

    #[test]
    fn a_rule_holds_when_a_value_is_null() {
        for operator in ["=", "!=", "<", "<=", ">", ">="] {
            assert!(holds(["int32", "int32"], operator, [Cell::Null, Cell::Int(1)]));
            assert!(holds(["int32", "int32"], operator, [Cell::Int(1), Cell::Missing]));
        }
    }

    #[test]
    fn numbers_are_compared_exactly() {
        const LARGE: i64 = (1 << 53) + 1; // no float is that number
        let float = |value: f64| Cell::Float(value);
        assert!(holds(["int64", "float64"], ">", [Cell::Int(LARGE), float((1_i64 << 53) as f64)]));
        assert!(holds(["float64", "int64"], "!=", [float(LARGE as f64), Cell::Int(LARGE)]));
        assert!(holds(["int64", "float64"], "<", [Cell::Int(i64::MAX), float(9_223_372_036_854_775_808.0)]));
        assert!(holds(["int64", "float64"], "=", [Cell::Int(i64::MIN), float(-9_223_372_036_854_775_808.0)]));
        assert!(holds(["int32", "float64"], ">", [Cell::Int(-1), float(-1.5)]));
        assert!(holds(["float64", "int32"], ">", [float(1e300), Cell::Int(1)]));
        assert!(holds(["float64", "float64"], "=", [float(-0.0), float(0.0)]));
        let number = |text: &'static str| Cell::Number(text);
        assert!(holds(["decimal(4,1)", "decimal(6,3)"], "=", [number("0.5"), number("0.500")]));
        assert!(holds(["decimal(4,1)", "decimal(6,3)"], "<", [number("0.5"), number("0.501")]));
        assert!(holds(["int64", "decimal(38,19)"], ">=", [Cell::Int(1), number("0.9999999999999999999")]));
        assert!(holds(["decimal(38,0)", "decimal(38,38)"], ">", [number("1000"), number("0.5")]));
        assert!(holds(["decimal(38,38)", "decimal(38,0)"], ">", [number("0.5"), number("-1000")]));
    }

    #[test]
    fn texts_are_in_the_order_of_their_code_points() {
        // In UTF-16 the second would come first.
        assert!(holds(["string", "string"], "<", [Cell::Str("\u{ffff}"), Cell::Str("\u{1f600}")]));
        assert!(holds(["string", "string"], "<", [Cell::Str("Z"), Cell::Str("a")]));
        assert!(holds(["string", "string"], ">", [Cell::Str("aa"), Cell::Str("a")]));
    }

    #[test]
    fn dates_and_times_are_compared_as_what_they_spell() {
        let stamps = [Cell::Str("2024-01-01T01:00:00+01:00"), Cell::Str("2024-01-01T00:00Z")];
        assert!(holds(["timestamp", "timestamp"], "=", stamps));
        assert!(holds(["date", "date"], "<", [Cell::Days(1), Cell::Str("1970-01-03")]));
        assert!(holds(["time", "time"], ">=", [Cell::Str("12:00:00"), Cell::Str("12:00")]));
        assert!(holds(["boolean", "boolean"], "!=", [Cell::Bool(true), Cell::Text("FALSE")]));
    }

    #[test]
    fn types_that_cannot_be_compared_are_no_plan() {
        for (one, operator, other) in [
            ("string", "=", "int32"),
            ("boolean", "<", "boolean"),
            ("timestamp", "<", "timestamp_ntz"),
            ("date", "<", "timestamp"),
            ("float64", "<", "decimal(4,2)"),
        ] {
            let columns = json!([{"name": "a", "field_id": 1, "type": one}, {"name": "b", "field_id": 2, "type": other}]);
            for names in [["a", "b"], ["b", "a"], ["a", "c"]] {
                let rule = json!([{"left": names[0], "operator": operator, "right": names[1]}]);
                let plan = json!({"dataset": "d", "contract": "c", "columns": columns, "compare": rule});
                assert!(Checker::new(&Plan::from_json(&plan.to_string()).unwrap()).is_err(), "{one} {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_integer_and_a_float_are_in_the_order_of_their_numbers(
            integer: i64,
            shift in 0..64_u32,
            near in -3..3_i64,
            quarters in 0..4_u8,
        ) {
            let integer = integer >> shift;
            // Near enough to matter; 128 bits hold four times the float exactly.
            let float = integer.saturating_add(near) as f64 + f64::from(quarters) / 4.0;
            let exact = (4 * i128::from(integer)).cmp(&((float * 4.0) as i128));
            prop_assert_eq!(with_float(integer.into(), float), exact);
        }
    }
}

//! Lower and upper limits on values that have an exact order (integers, decimals, dates and times), and multiples.
//!
//! A limit is turned once into the least and the greatest value that it allows, in the units of the column (for a decimal
//! those of its last place, for dates days, for times microseconds). So no value is ever turned into a float to be compared: the nearest one may lie on the other
//! side of the limit.

use crate::{
    decimal,
    plan::{Column, Kind, Limit, Rule},
    text::{self, Zone},
};

/// What one rule allows, both ends included.
pub struct Bound {
    /// The rule's name.
    pub rule: &'static str,
    /// How a value breaks it, before the limit is named.
    pub breach: &'static str,
    /// The limit as the contract spells it.
    pub limit: String,
    low: i128,
    high: i128,
}

/// The limits of one column.
pub struct Limits {
    /// The least value that is allowed.
    pub low: i128,
    /// The greatest value that is allowed.
    pub high: i128,
    bounds: Vec<Bound>,
}

impl Limits {
    /// The limits among a column's rules; an error's message when one can't be read.
    pub fn new(column: &Column) -> Result<Self, String> {
        let (mut low, mut high) = match column.kind {
            Kind::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
            Kind::Decimal { .. } => (i128::MIN, i128::MAX),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let bounds = column.rules.iter().filter_map(|rule| bound(column.kind, rule).transpose());
        let bounds = bounds.collect::<Result<Vec<_>, _>>()?;
        for bound in &bounds {
            (low, high) = (low.max(bound.low), high.min(bound.high));
        }
        Ok(Self { low, high, bounds })
    }

    /// No limits.
    pub fn none() -> Self {
        Self { low: i128::MIN, high: i128::MAX, bounds: Vec::new() }
    }

    /// Whether a value is within all limits.
    #[inline]
    pub fn allow(&self, value: i128) -> bool {
        value >= self.low && value <= self.high
    }

    /// The limits that a value is beyond.
    pub fn broken(&self, value: i128) -> impl Iterator<Item = &Bound> {
        self.bounds.iter().filter(move |bound| value < bound.low || value > bound.high)
    }
}

/// The name of a limiting rule, how it is broken, and its limit.
pub fn limit(rule: &Rule) -> Option<(&'static str, &'static str, &Limit)> {
    Some(match rule {
        Rule::Minimum { value } => ("minimum", "below the minimum", value),
        Rule::Maximum { value } => ("maximum", "above the maximum", value),
        Rule::ExclusiveMinimum { value } => ("exclusiveMinimum", "not above", value),
        Rule::ExclusiveMaximum { value } => ("exclusiveMaximum", "not below", value),
        _ => return None,
    })
}

fn bound(kind: Kind, rule: &Rule) -> Result<Option<Bound>, String> {
    let Some((name, breach, value)) = limit(rule) else { return Ok(None) };
    // The greatest count of units at or below the limit, and the least at or above it.
    let (floor, ceiling) =
        around(kind, value).ok_or_else(|| format!("`{value}` is no limit of a {kind:?}"))?;
    let (low, high) = match rule {
        Rule::Minimum { .. } => (ceiling, i128::MAX),
        Rule::Maximum { .. } => (i128::MIN, floor),
        Rule::ExclusiveMinimum { .. } => (floor.saturating_add(1), i128::MAX),
        _ => (i128::MIN, ceiling.saturating_sub(1)),
    };
    Ok(Some(Bound { rule: name, breach, limit: value.to_string(), low, high }))
}

#[allow(clippy::cast_possible_truncation)] // `as` saturates, and so does a limit beyond 128 bits
fn around(kind: Kind, limit: &Limit) -> Option<(i128, i128)> {
    match (kind, limit) {
        (Kind::Int32 | Kind::Int64, Limit::Number(value)) => {
            Some((value.floor() as i128, value.ceil() as i128))
        }
        (Kind::Int32 | Kind::Int64, Limit::Text(text)) => exact_around(text, 0),
        (Kind::Decimal { scale, .. }, Limit::Text(text)) => exact_around(text, scale),
        (Kind::Date, Limit::Text(text)) => text::date(text, &[]).map(both),
        (Kind::Time, Limit::Text(text)) => text::time(text, &[]).map(both),
        (Kind::Timestamp, Limit::Text(text)) => text::timestamp(text, Zone::Named, &[]).map(both),
        (Kind::TimestampNtz, Limit::Text(text)) => text::timestamp(text, Zone::Absent, &[]).map(both),
        _ => None,
    }
}

fn both(value: i64) -> (i128, i128) {
    (i128::from(value), i128::from(value))
}

/// Whether values are multiples of a number.
pub struct Multiple {
    /// The number as the contract spells it.
    pub shown: String,
    digits: i128,
    places: u32,
    /// For exact values: the units that a value must be a multiple of; `None` when only 0 is one.
    divisor: Option<i128>,
}

impl Multiple {
    /// Multiples of `value` among a column's values; `None` when it isn't a number above 0.
    pub fn new(kind: Kind, value: &Limit) -> Option<Self> {
        let shown = value.to_string();
        let (digits, places) = decimal::exact(&shown)?;
        if digits <= 0 {
            return None;
        }
        let scale = match kind {
            Kind::Decimal { scale, .. } => u32::from(scale),
            _ => 0,
        };
        // units · 10^-scale is a multiple of digits · 10^-places. With both in the finer unit, a common factor is taken
        // out, so that nothing grows beyond the units themselves.
        let divisor = if places >= scale {
            decimal::power(places - scale).map(|power| digits / gcd(power, digits))
        } else {
            decimal::power(scale - places).and_then(|power| digits.checked_mul(power))
        };
        Some(Self { shown, digits, places, divisor })
    }

    /// Whether an exact value is one, in units of its last place.
    pub fn has(&self, units: i128) -> bool {
        self.divisor.map_or(units == 0, |divisor| units % divisor == 0)
    }

    /// Whether a float is one. The float is taken as the shortest decimal number that reads as it, which is what people mean by
    /// it: 0.3 is a multiple of 0.1, though the floats' quotient isn't whole.
    pub fn has_float(&self, value: f64) -> bool {
        let shortest = format!("{value:e}");
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
        let Some((digits, places)) = decimal::exact(mantissa) else { return false };
        let exponent: i64 = exponent.parse().unwrap_or_default();
        // digits · 10^(exponent - places) is a multiple of self.digits · 10^-self.places.
        let shift = exponent - i64::from(places) + i64::from(self.places);
        let magnitude = digits.unsigned_abs();
        let divisor = self.digits.unsigned_abs();
        match u32::try_from(shift) {
            Ok(shift) => {
                (0..shift).try_fold(magnitude % divisor, |rest, _| Some(rest.checked_mul(10)? % divisor))
                    == Some(0)
            }
            Err(_) => {
                let power = u32::try_from(-shift).ok().and_then(|shift| 10_u128.checked_pow(shift));
                let divisor = power.and_then(|power| divisor.checked_mul(power));
                divisor.map_or(magnitude == 0, |divisor| magnitude % divisor == 0)
            }
        }
    }
}

fn gcd(one: i128, other: i128) -> i128 {
    if other == 0 { one } else { gcd(other, one % other) }
}

fn exact_around(text: &str, scale: u8) -> Option<(i128, i128)> {
    let (digits, places) = decimal::exact(text)?;
    let scale = u32::from(scale);
    if places <= scale {
        // A limit beyond 128 bits is beyond every decimal.
        let beyond = if digits < 0 { i128::MIN } else { i128::MAX };
        let units = decimal::power(scale - places).and_then(|power| digits.checked_mul(power));
        let units = units.unwrap_or(beyond);
        return Some((units, units));
    }
    let divisor = decimal::power(places - scale)?;
    let floor = digits.div_euclid(divisor);
    Some((floor, floor + i128::from(digits.rem_euclid(divisor) != 0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(kind: Kind, rules: Vec<Rule>) -> Column {
        let kind = String::from(kind);
        let column = serde_json::json!({"name": "a", "field_id": 1, "type": kind});
        Column { rules, ..serde_json::from_value(column).unwrap() }
    }

    fn limits(kind: Kind, rules: Vec<Rule>) -> Limits {
        Limits::new(&column(kind, rules)).unwrap()
    }

    proptest! {
        #[test]
        fn decimals_are_compared_exactly(
            value in -10_000_i128..10_000, digits in -100_000_i128..100_000, scale in 0..3_u8, places in 0..5_u8,
        ) {
            // Both in units of 10^-5.
            let left = value * 10_i128.pow(5 - u32::from(scale));
            let right = digits * 10_i128.pow(5 - u32::from(places));
            let limit = || Limit::Text(decimal::text(digits, places));
            let kind = Kind::Decimal { precision: 10, scale };
            let allows = |rule| limits(kind, vec![rule]).allow(value);
            prop_assert_eq!(allows(Rule::Minimum { value: limit() }), left >= right);
            prop_assert_eq!(allows(Rule::Maximum { value: limit() }), left <= right);
            prop_assert_eq!(allows(Rule::ExclusiveMinimum { value: limit() }), left > right);
            prop_assert_eq!(allows(Rule::ExclusiveMaximum { value: limit() }), left < right);
        }
    }

    #[test]
    fn limits_beyond_128_bits_leave_all_or_nothing() {
        let kind = Kind::Decimal { precision: 38, scale: 38 };
        let widest = || Limit::Text("9".repeat(38));
        assert!(limits(kind, vec![Rule::Maximum { value: widest() }]).allow(10_i128.pow(38) - 1));
        assert!(!limits(kind, vec![Rule::Minimum { value: widest() }]).allow(10_i128.pow(38) - 1));
    }

    #[test]
    fn a_limit_that_is_no_number_is_refused() {
        let rule = || vec![Rule::Minimum { value: Limit::Text("x".into()) }];
        for kind in [Kind::Decimal { precision: 5, scale: 2 }, Kind::Date, Kind::Time, Kind::Timestamp] {
            assert!(Limits::new(&column(kind, rule())).is_err());
        }
    }

    #[test]
    fn days_and_times_have_limits() {
        let maximum = |kind, text: &str, value| {
            limits(kind, vec![Rule::Maximum { value: Limit::Text(text.into()) }]).allow(value)
        };
        assert!(maximum(Kind::Date, "1970-01-02", 1) && !maximum(Kind::Date, "1970-01-02", 2));
        assert!(maximum(Kind::Time, "00:00:01", 1_000_000) && !maximum(Kind::Time, "00:00:01", 1_000_001));
        assert!(maximum(Kind::Timestamp, "1970-01-01T01:00:00+01:00", 0));
        assert!(!maximum(Kind::TimestampNtz, "1970-01-01T00:00:00", 1));
    }

    #[test]
    fn floats_are_multiples_by_their_shortest_spelling() {
        let has = |step: &str, value| {
            Multiple::new(Kind::Float64, &Limit::Text(step.into())).unwrap().has_float(value)
        };
        for (step, value) in [
            ("0.1", 0.3),
            ("0.1", -0.7),
            ("0.01", 1e300),
            ("5", 1e23),
            ("0.25", 0.0),
            ("2.5", 7.5),
            ("1e-30", 1e-30),
        ] {
            assert!(has(step, value), "{value} of {step}");
        }
        for (step, value) in [("0.1", 0.35), ("0.01", 1e-300), ("3", 1e23), ("2.5", 7.6), ("7", 1e22)] {
            assert!(!has(step, value), "{value} of {step}");
        }
        assert!(Multiple::new(Kind::Int64, &Limit::Number(0.0)).is_none());
        assert!(Multiple::new(Kind::Int64, &Limit::Number(-5.0)).is_none());
    }

    proptest! {
        #[test]
        fn multiples_are_what_division_says(
            units in -10_000_000_i128..10_000_000, digits in 1_i128..10_000, scale in 0..4_u8, places in 0..6_u8,
        ) {
            let kind = Kind::Decimal { precision: 20, scale };
            let multiple = Multiple::new(kind, &Limit::Text(decimal::text(digits, places))).unwrap();
            let (left, right) = (units * 10_i128.pow(6 - u32::from(scale)), digits * 10_i128.pow(6 - u32::from(places)));
            prop_assert_eq!(multiple.has(units), left % right == 0);
        }
    }
}

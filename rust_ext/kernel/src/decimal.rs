//! Exact decimal numbers: text to a count of units in the last place, never by way of a float.

/// The most digits that 128 bits hold, whatever they are.
pub const MAX_PRECISION: u8 = 38;

/// 10 to the power of `exponent`, when 128 bits hold it.
pub const fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// A number's parts as its text has them: `value = ± digits · 10^exponent`.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// Take apart a sign, digits with or without a point, and an exponent; `None` when the text is something else.
fn parts(text: &str) -> Option<Parts<'_>> {
    let bytes = text.as_bytes();
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = bytes.split_at(digits(bytes));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(digits(rest)),
        _ => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return None,
    };
    Some(Parts { negative, whole, fraction, exponent })
}

/// A sign and digits. A count beyond any that matters stays at one that is.
fn exponent(bytes: &[u8]) -> Option<i64> {
    const MOST: i64 = 1 << 40;
    let (sign, digits) = match bytes {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0, |value, byte| (value * 10 + i64::from(byte - b'0')).min(MOST));
    Some(sign * magnitude)
}

/// The number in units of 10^-`scale`: `1.50` with the scale 2 is 150. `None` when the text is no number, has a digit other
/// than 0 beyond the scale, or more than `precision` digits up to it. Nothing is rounded.
///
/// ```
/// use dpipe_kernel::decimal::units;
/// assert_eq!(units("-1.5", 10, 2), Some(-150));
/// assert_eq!(units("15e-1", 10, 2), Some(150));
/// assert_eq!(units("1.005", 10, 2), None);
/// ```
pub fn units(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let parts = parts(text)?;
    // The number is all its digits · 10^shift, in the units that are asked for.
    let shift = parts.exponent - parts.fraction.len() as i64 + i64::from(scale);
    let all = parts.whole.len() + parts.fraction.len();
    let dropped = usize::try_from(-shift).unwrap_or(0).min(all);
    let mut value: i128 = 0;
    for (index, byte) in parts.whole.iter().chain(parts.fraction).enumerate() {
        let digit = i128::from(byte - b'0');
        if index < all - dropped {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
    }
    if shift > 0 && value != 0 {
        value = value.checked_mul(power(u32::try_from(shift).ok()?)?)?;
    }
    let least = power(u32::from(precision))?;
    (value < least).then_some(if parts.negative { -value } else { value })
}

/// As [`units`], but what has no digits after the point is an integer, and is written as one: without point and exponent.
pub fn spelled(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let is_whole = || !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    if scale > 0 || is_whole() { units(text, precision, scale) } else { None }
}

/// An integer in units of 10^-`scale`; `None` when it has more than `precision` digits then.
pub fn of_integer(value: i64, precision: u8, scale: u8) -> Option<i128> {
    let units = i128::from(value).checked_mul(power(u32::from(scale))?)?;
    (units.abs() < power(u32::from(precision))?).then_some(units)
}

/// A number's digits as an integer, and how many of them are after the point: `-1.50` gives -15 and 1. `None` when the text is
/// no number or needs more than 38 digits either way.
pub fn exact(text: &str) -> Option<(i128, u32)> {
    let parts = parts(text)?;
    let zeros = parts.whole.iter().chain(parts.fraction).rev().take_while(|byte| **byte == b'0').count();
    let is_zero = zeros == parts.whole.len() + parts.fraction.len();
    // The last digit that isn't 0 says how many places are needed.
    let places = if is_zero { 0 } else { parts.fraction.len() as i64 - parts.exponent - zeros as i64 };
    let places = u8::try_from(places.max(0)).ok().filter(|places| *places <= MAX_PRECISION)?;
    Some((units(text, MAX_PRECISION, places)?, u32::from(places)))
}

/// Units of 10^-`scale` as text with all of the scale's digits.
pub fn text(units: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if units < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_in_every_spelling() {
        for (text, expected) in [
            ("0", 0),
            ("-0.00", 0),
            ("1.50", 150),
            ("+1.5000", 150),
            ("1.5e2", 15_000),
            ("150E-2", 150),
            (".5", 50),
            ("5.", 500),
            ("0e999999999999999999999", 0),
            ("0.00e-999999999999999999999", 0),
            ("-99999999.99", -9_999_999_999),
            ("000000000000000000000000000000000000000000001", 100),
        ] {
            assert_eq!(units(text, 10, 2), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_rounded() {
        for text in [
            "",
            "-",
            ".",
            "e1",
            "1e",
            "1e+",
            "1.2.3",
            "1,5",
            " 1",
            "1 ",
            "0x1",
            "NaN",
            "inf",
            "१",
            "1.005",
            "1e-3",
            "100000000",
            "1e8",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            assert_eq!(units(text, 10, 2), None, "{text}");
        }
        let widest = "9".repeat(38);
        assert_eq!(units(&widest, 38, 0), Some(10_i128.pow(38) - 1));
        assert_eq!(units(&format!("{widest}9"), 38, 0), None);
        assert_eq!(units("1", 38, 38), None);
        assert_eq!(units("0.1", 38, 38), power(37));
    }

    proptest! {
        #[test]
        fn exact_numbers_have_as_few_places_as_they_need(text in "-?[0-9]{0,20}(\\.[0-9]{0,22})?(e-?[0-9]{1,2})?") {
            let found = (0..=MAX_PRECISION).find_map(|scale| Some((units(&text, MAX_PRECISION, scale)?, u32::from(scale))));
            prop_assert_eq!(exact(&text), found);
        }

        #[test]
        fn text_and_units_are_inverse(units_in in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0..=38_u8) {
            prop_assert_eq!(units(&text(units_in, scale), 38, scale), Some(units_in));
        }

        #[test]
        fn exponents_shift_the_point(value in -1_000_000_i128..1_000_000, places in -12_i32..12) {
            // The oracle counts in units of 10^-18, where every such number is whole.
            let scaled = value * 10_i128.pow(u32::try_from(places + 18).unwrap());
            prop_assert_eq!(units(&format!("{value}e{places}"), 38, 18), Some(scaled));
            let whole = scaled % 10_i128.pow(16) == 0;
            let expected = whole.then(|| scaled / 10_i128.pow(16));
            prop_assert_eq!(units(&format!("{value}e{places}"), 38, 2), expected);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+.0-9eE]{0,50}", precision in 1..=38_u8, scale in 0..=38_u8) {
            let _ = units(&text, precision, scale.min(precision));
            let _ = exact(&text);
        }
    }
}

//! Numbers, dates and times from their text.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// Days since 1970-01-01 that the calendar of dates and timestamps has: the years 1 to 9999, as Python and SQL have.
pub const CALENDAR: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// An integer: an optional sign and digits. `None` when it is something else or doesn't fit.
#[inline]
pub fn integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        // Counted downwards, since the smallest integer has no positive twin.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A finite decimal number: sign, digits, fraction and exponent; no `NaN`, no `inf`, no white space.
pub fn float(text: &str) -> Option<f64> {
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(numeric) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// `true` or `false`, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar; `None` when there is no such day.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = LENGTHS[usize::try_from(month - 1).ok()?] + i64::from(leap);
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Reads ISO 8601 text from the left.
struct Iso<'a>(&'a [u8]);

impl Iso<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        let value = head
            .iter()
            .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))?;
        self.0 = rest;
        Some(value)
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        let month = self.accept(b'-').then(|| self.number(2))??;
        let day = self.accept(b'-').then(|| self.number(2))??;
        days_from_civil(year, month, day)
    }

    /// Microseconds since midnight of `hh:mm`, `hh:mm:ss` or `hh:mm:ss.f`; digits past the sixth must be zeros.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        let minute = self.accept(b':').then(|| self.number(2))??;
        let second = if self.accept(b':') { self.number(2)? } else { 0 };
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let micros = if self.accept(b'.') { self.fraction()? } else { 0 };
        Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
    }

    fn fraction(&mut self) -> Option<i64> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        if length == 0 || digits.iter().skip(6).any(|&byte| byte != b'0') {
            return None;
        }
        self.0 = rest;
        let digit = |place: usize| i64::from(digits.get(place).map_or(0, |byte| byte - b'0'));
        Some((0..6).fold(0, |micros, place| micros * 10 + digit(place)))
    }

    /// Microseconds east of UTC of `Z`, `±hh:mm`, `±hhmm` or `±hh`.
    fn zone(&mut self) -> Option<i64> {
        if self.accept(b'Z') || self.accept(b'z') {
            return Some(0);
        }
        let sign = if self.accept(b'-') { -1 } else { self.accept(b'+').then_some(1)? };
        let hours = self.number(2)?;
        let minutes = if self.accept(b':') || !self.0.is_empty() { self.number(2)? } else { 0 };
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000_000)
    }
}

/// Days since 1970-01-01 of `yyyy-mm-dd`, or of the first of `formats` that reads the text.
pub fn date(text: &str, formats: &[String]) -> Option<i64> {
    if formats.is_empty() {
        let mut iso = Iso(text.as_bytes());
        return iso.date().filter(|_| iso.0.is_empty());
    }
    let epoch = NaiveDate::default();
    formats.iter().find_map(|format| {
        NaiveDate::parse_from_str(text, format).ok().filter(in_range).map(|day| (day - epoch).num_days())
    })
}

fn in_range(day: &NaiveDate) -> bool {
    (1..=9999).contains(&day.year())
}

/// What a timestamp's text says of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// It must name its offset; the result is in UTC.
    Named,
    /// It must not; the result is the wall clock's.
    Absent,
    /// It must not; it is so many microseconds east of UTC, and the result is in UTC.
    Implied(i64),
    /// It may; when it doesn't, it is so many microseconds east of UTC. The result is in UTC.
    Default(i64),
}

/// Microseconds since the epoch of a date and time.
pub fn timestamp(text: &str, zone: Zone, formats: &[String]) -> Option<i64> {
    if formats.is_empty() {
        return iso_timestamp(text.as_bytes(), zone);
    }
    formats.iter().find_map(|format| {
        let named = || DateTime::parse_from_str(text, format).ok().map(|moment| (moment.naive_utc(), 0));
        let wall = |offset| NaiveDateTime::parse_from_str(text, format).ok().map(|moment| (moment, offset));
        let names_zone = format.contains("%z") || format.contains("%#z");
        let (moment, offset) = match zone {
            Zone::Named => named()?,
            Zone::Absent => wall(0)?,
            Zone::Implied(offset) => wall(offset)?,
            Zone::Default(_) if names_zone => named()?,
            Zone::Default(offset) => wall(offset)?,
        };
        let micros = moment.and_utc().timestamp_micros() - offset;
        (is_exact(&moment) && in_range(&moment.date())).then_some(micros).filter(in_calendar)
    })
}

/// Whether microseconds hold a time. A leap second is one with more nanoseconds than it has.
fn is_exact(time: &impl Timelike) -> bool {
    time.nanosecond() < 1_000_000_000 && time.nanosecond().is_multiple_of(1_000)
}

/// Whether microseconds since the epoch are in a year that dates have.
#[allow(clippy::trivially_copy_pass_by_ref)] // as `Option::filter` hands them over
fn in_calendar(micros: &i64) -> bool {
    CALENDAR.contains(&micros.div_euclid(DAY_MICROS))
}

fn iso_timestamp(text: &[u8], zone: Zone) -> Option<i64> {
    let mut iso = Iso(text);
    let days = iso.date()?;
    if !(iso.accept(b'T') || iso.accept(b' ') || iso.accept(b't')) {
        return None;
    }
    let wall = days * DAY_MICROS + iso.time()?;
    let offset = match zone {
        Zone::Named => iso.zone()?,
        Zone::Absent => 0,
        Zone::Implied(offset) => offset,
        Zone::Default(offset) if iso.0.is_empty() => offset,
        Zone::Default(_) => iso.zone()?,
    };
    Some(wall - offset).filter(|micros| iso.0.is_empty() && in_calendar(micros))
}

/// Microseconds since midnight of `hh:mm`, `hh:mm:ss` or `hh:mm:ss.f`, or of the first of `formats` that reads the text.
pub fn time(text: &str, formats: &[String]) -> Option<i64> {
    if formats.is_empty() {
        let mut iso = Iso(text.as_bytes());
        return iso.time().filter(|_| iso.0.is_empty());
    }
    formats.iter().find_map(|format| {
        let time = NaiveTime::parse_from_str(text, format).ok().filter(is_exact)?;
        Some(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_at_their_limits() {
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("0517"), Some(517));
        for wrong in ["", "-", "+", "9223372036854775808", "1.0", " 1", "1 ", "१", "1e3"] {
            assert_eq!(integer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn floats_are_finite_numbers() {
        assert_eq!(float("-1.5e3"), Some(-1500.0));
        for wrong in ["", "nan", "inf", "1e999", "1,5", "0x1", " 1", "1_0", "e", "."] {
            assert_eq!(float(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        assert_eq!(date("1970-01-02", &[]), Some(1));
        assert_eq!(date("2024-02-29", &[]), Some(19_782));
        for wrong in
            ["2023-02-29", "1900-02-29", "2013-13-01", "2013-00-10", "2013-1-01", "0000-01-01", "2013-01-01T"]
        {
            assert_eq!(date(wrong, &[]), None, "{wrong}");
        }
        assert_eq!(date("02.01.1970", &["%d.%m.%Y".into()]), Some(1));
    }

    #[test]
    fn a_timestamp_is_an_instant_only_with_its_zone() {
        assert_eq!(timestamp("1970-01-01T01:00:00+01:00", Zone::Named, &[]), Some(0));
        assert_eq!(timestamp("1970-01-01 00:00:00.000001Z", Zone::Named, &[]), Some(1));
        assert_eq!(timestamp("1970-01-01T00:00", Zone::Absent, &[]), Some(0));
        assert_eq!(timestamp("1969-12-31T23:59:59.5-0000", Zone::Named, &[]), Some(-500_000));
        assert_eq!(
            timestamp("01/02/1970 00:00", Zone::Absent, &["%d/%m/%Y %H:%M".into()]),
            Some(31 * 86_400_000_000)
        );
        for wrong in [
            "1970-01-01T00:00:00",
            "1970-01-01",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.0000001Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1",
            "1970-01-01T00:00:00Zx",
        ] {
            assert_eq!(timestamp(wrong, Zone::Named, &[]), None, "{wrong}");
        }
        assert_eq!(timestamp("1970-01-01T00:00:00Z", Zone::Absent, &[]), None);
    }

    #[test]
    fn a_default_zone_is_taken_where_none_is_named() {
        const HOUR: i64 = 3_600_000_000;
        let read = |text, zone| timestamp(text, zone, &[]);
        assert_eq!(read("1970-01-01T01:00:00", Zone::Implied(HOUR)), Some(0));
        assert_eq!(read("1970-01-01T01:00:00Z", Zone::Implied(HOUR)), None);
        assert_eq!(read("1970-01-01T01:00:00", Zone::Default(HOUR)), Some(0));
        assert_eq!(read("1970-01-01T01:00:00Z", Zone::Default(HOUR)), Some(HOUR));
        assert_eq!(read("0001-01-01T00:00:00", Zone::Default(HOUR)), None);
        let spelled = |text, zone| timestamp(text, zone, &["%d.%m.%Y %H:%M".into()]);
        assert_eq!(spelled("01.01.1970 01:00", Zone::Default(HOUR)), Some(0));
    }

    #[test]
    fn times_are_counted_from_midnight() {
        assert_eq!(time("00:00", &[]), Some(0));
        assert_eq!(time("23:59:59.999999", &[]), Some(DAY_MICROS - 1));
        assert_eq!(time("01:02:03.5000000", &[]), Some(3_723_500_000));
        assert_eq!(time("1:02 PM", &["%I:%M %p".into()]), Some(46_920_000_000));
        for wrong in ["", "24:00", "12:60", "12:00:60", "12", "1:00", "12:00Z", "12:00:00.0000001", "12:00 "]
        {
            assert_eq!(time(wrong, &[]), None, "{wrong}");
        }
        assert_eq!(time("23:59:60", &["%H:%M:%S".into()]), None);
    }

    proptest::proptest! {
        #[test]
        fn every_day_is_chronos_day(days in -719_162i64..2_932_896) {
            let day = NaiveDate::default() + chrono::Duration::days(days);
            proptest::prop_assert_eq!(date(&day.format("%Y-%m-%d").to_string(), &[]), Some(days));
        }

        #[test]
        fn integers_read_as_std_reads_them(text in "[+-]?[0-9]{0,20}") {
            proptest::prop_assert_eq!(integer(&text), text.parse::<i64>().ok());
        }
    }
}

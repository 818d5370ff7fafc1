//! What accepted values are like, column by column: counted while they are encoded, mergeable over row groups, files and runs.
//!
//! A row group's dictionary says which values there are and how often, so a profile costs little more than a look at the
//! dictionary. Columns whose values hardly repeat are counted value by value, and their quantiles and top values are those of
//! a sample.

mod digest;
mod distinct;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    encode::dictionary::{self, Number, mix},
    plan::Kind,
    text::DAY_MICROS,
};
use digest::Digest;
use distinct::Distinct;

/// How many of the most frequent values are counted on while rows are added, how many are kept with the run, and how many are
/// told.
const TOP_COUNTED: usize = 1024;
const TOP_KEPT: usize = 64;
const TOP_SHOWN: usize = 10;
/// Texts are kept and told up to so many characters.
const TEXT_CHARS: usize = 64;
/// Values looked at for quantiles and top values where values hardly repeat.
const SAMPLE: usize = 1 << 12;

/// A value as it is counted.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// An integer, days or microseconds.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A text, cut to its first characters.
    Text(String),
}

/// What the values of one column are like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    rows: u64,
    nulls: u64,
    least: Option<Value>,
    greatest: Option<Value>,
    /// Of the numbers, or of the texts' lengths in characters.
    sum: f64,
    lengths: Option<(u64, u64)>,
    distinct: Distinct,
    digest: Digest,
    top: Vec<(Value, u64)>,
}

/// A column's profile with its name: what the kernel reports and merges.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NamedProfile {
    /// The column.
    pub column: String,
    /// Its type.
    pub kind: Kind,
    /// What can be merged with that of other rows.
    pub state: ColumnProfile,
    /// What it says, to be read. Not taken back.
    #[serde(default)]
    pub summary: serde_json::Value,
}

impl NamedProfile {
    /// A profile with its summary.
    pub fn new(column: &str, kind: Kind, mut state: ColumnProfile) -> Self {
        let summary = state.summary(kind);
        state.top.truncate(TOP_KEPT);
        Self { column: column.to_owned(), kind, state, summary }
    }
}

/// Add the profiles of other rows, column by column.
pub fn merge_into(profiles: &mut Vec<Option<ColumnProfile>>, others: &[Option<ColumnProfile>]) {
    profiles.resize(profiles.len().max(others.len()), None);
    for (ours, theirs) in profiles.iter_mut().zip(others) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => ours.merge(theirs),
            (ours, Some(theirs)) => *ours = Some(theirs.clone()),
            (_, None) => {}
        }
    }
}

/// The profiles of columns that were profiled apart, in the order in which they first occur.
pub fn merge(parts: impl IntoIterator<Item = Vec<NamedProfile>>) -> Vec<NamedProfile> {
    let mut merged: Vec<NamedProfile> = Vec::new();
    for part in parts.into_iter().flatten() {
        let is_same = |known: &&mut NamedProfile| known.column == part.column && known.kind == part.kind;
        match merged.iter_mut().find(is_same) {
            Some(known) => known.state.merge(&part.state),
            None => merged.push(part),
        }
    }
    merged.into_iter().map(|part| NamedProfile::new(&part.column, part.kind, part.state)).collect()
}

impl ColumnProfile {
    /// Of numbers with how often each occurs, and rows without one.
    #[allow(clippy::cast_precision_loss)]
    pub fn of_numbers<T: Number>(counted: &[(T, u32)], nulls: usize) -> Self {
        let mut profile = Self::of_rows(counted.iter().map(|(_, count)| u64::from(*count)).sum(), nulls);
        let mut sorted: Vec<(f64, u64)> = Vec::with_capacity(counted.len());
        for &(number, count) in counted {
            profile.distinct.add(hash_number(number.bits()));
            profile.sum += number.float() * f64::from(count);
            sorted.push((number.float(), u64::from(count)));
        }
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        profile.digest.add(&sorted);
        profile.see_range(counted.iter().map(|(number, _)| *number));
        profile.top = most_frequent(counted, |number| number.value());
        profile
    }

    /// Of numbers that hardly repeat.
    pub fn of_many_numbers<T: Number>(numbers: &[T], nulls: usize) -> Self {
        let mut profile = Self::of_rows(numbers.len() as u64, nulls);
        for number in numbers {
            profile.distinct.add(hash_number(number.bits()));
            profile.sum += number.float();
        }
        profile.see_range(numbers.iter().copied());
        let step = numbers.len().div_ceil(SAMPLE).max(1);
        let mut sample: Vec<T> = numbers.iter().step_by(step).copied().collect();
        sample.sort_unstable_by(|a, b| a.float().total_cmp(&b.float()));
        let weight = u32::try_from(step).unwrap_or(u32::MAX);
        let mut counted: Vec<(T, u32)> = Vec::new();
        for number in sample {
            match counted.last_mut() {
                Some(last) if last.0.bits() == number.bits() => last.1 += weight,
                _ => counted.push((number, weight)),
            }
        }
        let sorted: Vec<_> =
            counted.iter().map(|(number, count)| (number.float(), u64::from(*count))).collect();
        profile.digest.add(&sorted);
        // A value that the sample has once says nothing of how frequent it is.
        counted.retain(|(_, count)| *count > weight);
        profile.top = most_frequent(&counted, |number| number.value());
        profile
    }

    /// Of texts with how often each occurs, and rows without one.
    pub fn of_texts<'a>(counted: impl Iterator<Item = (&'a [u8], u32)>, nulls: usize) -> Self {
        let mut profile = Self::of_rows(0, nulls);
        let mut all: Vec<(&[u8], u32)> = Vec::new();
        for (text, count) in counted {
            profile.see_text(text, count);
            all.push((text, count));
        }
        profile.see_texts_range(all.iter().map(|(text, _)| *text));
        profile.top = most_frequent(&all, |text| Value::Text(shown(text)));
        profile
    }

    /// Of texts that hardly repeat.
    pub fn of_many_texts<'a>(texts: impl Iterator<Item = &'a [u8]> + Clone, nulls: usize) -> Self {
        let mut profile = Self::of_rows(0, nulls);
        texts.clone().for_each(|text| profile.see_text(text, 1));
        profile.see_texts_range(texts.clone());
        let values = usize::try_from(profile.rows).unwrap_or(usize::MAX) - nulls;
        let step = values.div_ceil(SAMPLE).max(1);
        let mut counts: BTreeMap<&[u8], u32> = BTreeMap::new();
        let weight = u32::try_from(step).unwrap_or(u32::MAX);
        texts.step_by(step).for_each(|text| *counts.entry(text).or_default() += weight);
        let counted: Vec<_> = counts.into_iter().filter(|(_, count)| *count > weight).collect();
        profile.top = most_frequent(&counted, |text| Value::Text(shown(text)));
        profile
    }

    /// Of rows of which nothing else is known.
    pub fn of_rows(values: u64, nulls: usize) -> Self {
        Self { rows: values + nulls as u64, nulls: nulls as u64, ..Self::default() }
    }

    fn see_range<T: Number>(&mut self, numbers: impl Iterator<Item = T>) {
        let range = dictionary::range(numbers);
        (self.least, self.greatest) =
            range.map(|(least, greatest)| (least.value(), greatest.value())).unzip();
    }

    #[allow(clippy::cast_precision_loss)]
    fn see_text(&mut self, text: &[u8], count: u32) {
        let length =
            if text.is_ascii() { text.len() } else { String::from_utf8_lossy(text).chars().count() } as u64;
        self.rows += u64::from(count);
        self.sum += length as f64 * f64::from(count);
        self.distinct.add(foldhash_of(text));
        let (least, greatest) = self.lengths.unwrap_or((length, length));
        self.lengths = Some((least.min(length), greatest.max(length)));
    }

    fn see_texts_range<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        self.least = texts.clone().min().map(|text| Value::Text(shown(text)));
        self.greatest = texts.max().map(|text| Value::Text(shown(text)));
    }

    /// Add what other rows of the column are like.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.sum += other.sum;
        self.lengths = match (self.lengths, other.lengths) {
            (Some(ours), Some(theirs)) => Some((ours.0.min(theirs.0), ours.1.max(theirs.1))),
            (ours, theirs) => ours.or(theirs),
        };
        let is_less = |a: &Value, b: &Value| a < b;
        self.least = either(self.least.take(), other.least.clone(), is_less);
        self.greatest = either(self.greatest.take(), other.greatest.clone(), |a, b| a > b);
        self.distinct.merge(&other.distinct);
        self.digest.merge(&other.digest);
        self.top.extend_from_slice(&other.top);
        self.top.sort_by(|a, b| by_value(&a.0, &b.0));
        self.top.dedup_by(|other, kept| {
            let is_same = other.0 == kept.0;
            kept.1 += if is_same { other.1 } else { 0 };
            is_same
        });
        keep_top(&mut self.top);
    }

    /// What there is to be read: numbers as numbers, dates and timestamps as ISO 8601.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    pub fn summary(&self, kind: Kind) -> serde_json::Value {
        let values = self.rows - self.nulls;
        // Of some columns only the rows are counted.
        let is_counted = values == 0 || self.least.is_some();
        let mean = (values > 0 && is_counted).then(|| self.sum / values as f64);
        let number = |number: f64| match kind {
            Kind::Float64 => json!(number),
            _ => shown_value(kind, &Value::Integer(number.round() as i64)),
        };
        let mut summary = json!({
            "rows": self.rows,
            "nulls": self.nulls,
            "distinct": is_counted.then(|| self.distinct.estimate()),
            "min": self.least.as_ref().map(|value| shown_value(kind, value)),
            "max": self.greatest.as_ref().map(|value| shown_value(kind, value)),
            "top": self.top.iter().take(TOP_SHOWN)
                .map(|(value, count)| json!({"value": shown_value(kind, value), "count": count}))
                .collect::<Vec<_>>(),
        });
        if let Some((least, greatest)) = self.lengths {
            summary["length"] = json!({"min": least, "max": greatest, "mean": mean});
        } else if kind != Kind::String && mean.is_some() {
            summary["mean"] = match kind {
                Kind::Date | Kind::Timestamp | Kind::TimestampNtz => json!(mean.map(number)),
                _ => json!(mean),
            };
            let shares = [
                ("p01", 0.01),
                ("p05", 0.05),
                ("p25", 0.25),
                ("p50", 0.5),
                ("p75", 0.75),
                ("p95", 0.95),
                ("p99", 0.99),
            ];
            summary["quantiles"] = shares
                .into_iter()
                .map(|(name, share)| (name.to_owned(), json!(self.digest.quantile(share).map(number))))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        summary
    }
}

fn either(a: Option<Value>, b: Option<Value>, is_first: impl Fn(&Value, &Value) -> bool) -> Option<Value> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if is_first(&b, &a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The most frequent values, the more frequent first.
fn most_frequent<V: Copy>(counted: &[(V, u32)], value: impl Fn(V) -> Value) -> Vec<(Value, u64)> {
    let mut order: Vec<&(V, u32)> = counted.iter().collect();
    if order.len() > TOP_COUNTED {
        order.select_nth_unstable_by_key(TOP_COUNTED - 1, |(_, count)| std::cmp::Reverse(*count));
        order.truncate(TOP_COUNTED);
    }
    let mut top: Vec<_> = order.into_iter().map(|&(v, count)| (value(v), u64::from(count))).collect();
    keep_top(&mut top);
    top
}

fn keep_top(top: &mut Vec<(Value, u64)>) {
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| by_value(&a.0, &b.0)));
    top.truncate(TOP_COUNTED);
}

/// The order of values of one column, which are all of one kind and no NaN.
fn by_value(a: &Value, b: &Value) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(TEXT_CHARS).collect()
}

fn shown_value(kind: Kind, value: &Value) -> serde_json::Value {
    match (kind, value) {
        (Kind::Date, Value::Integer(days)) => {
            let date = i32::try_from(*days).ok().and_then(NaiveDate::from_epoch_days);
            json!(date.map(|date| date.to_string()))
        }
        (Kind::Timestamp | Kind::TimestampNtz, Value::Integer(micros)) => {
            let zone = if kind == Kind::Timestamp { "Z" } else { "" };
            let format = if micros % (DAY_MICROS / 86_400) == 0 {
                "%Y-%m-%dT%H:%M:%S"
            } else {
                "%Y-%m-%dT%H:%M:%S%.6f"
            };
            json!(
                DateTime::from_timestamp_micros(*micros).map(|time| format!("{}{zone}", time.format(format)))
            )
        }
        (_, value) => json!(value),
    }
}

/// A number's hash, the same on every machine.
pub fn hash_number(bits: u64) -> u64 {
    mix(mix(bits))
}

fn foldhash_of(text: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(numbers: &[i64]) -> Vec<(i64, u32)> {
        let mut counts = BTreeMap::new();
        numbers.iter().for_each(|number| *counts.entry(*number).or_default() += 1);
        counts.into_iter().collect()
    }

    proptest! {
        #[test]
        fn parts_merged_say_what_the_whole_says(
            numbers in prop::collection::vec(-50i64..50, 2..400), cut in 1usize..399, nulls in 0usize..9,
        ) {
            let (first, second) = numbers.split_at(cut.min(numbers.len() - 1));
            let mut merged = ColumnProfile::of_numbers(&counted(first), nulls);
            merged.merge(&ColumnProfile::of_numbers(&counted(second), 0));
            let whole = ColumnProfile::of_numbers(&counted(&numbers), nulls);
            prop_assert_eq!(merged.summary(Kind::Int64)["quantiles"].clone(), whole.summary(Kind::Int64)["quantiles"].clone());
            prop_assert_eq!((merged.rows, merged.nulls, merged.sum), (whole.rows, whole.nulls, whole.sum));
            prop_assert_eq!((&merged.least, &merged.greatest), (&whole.least, &whole.greatest));
            prop_assert_eq!(&merged.distinct, &whole.distinct);
        }
    }

    #[test]
    fn values_read_as_their_kind() {
        let profile = ColumnProfile::of_numbers(&[(0i64, 3), (86_400_000_001, 1)], 2);
        let summary = profile.summary(Kind::Timestamp);
        assert_eq!(summary["min"], "1970-01-01T00:00:00Z");
        assert_eq!(summary["max"], "1970-01-02T00:00:00.000001Z");
        assert_eq!((summary["rows"].as_u64(), summary["nulls"].as_u64()), (Some(6), Some(2)));
        assert_eq!(summary["top"][0], json!({"value": "1970-01-01T00:00:00Z", "count": 3}));
        assert_eq!(profile.summary(Kind::Int64)["mean"], json!(86_400_000_001.0 / 4.0));
        let texts = [("b".as_bytes(), 2), ("é".as_bytes(), 5), (b"abc", 1)];
        let summary = ColumnProfile::of_texts(texts.into_iter(), 0).summary(Kind::String);
        assert_eq!(summary["length"], json!({"min": 1, "max": 3, "mean": 10.0 / 8.0}));
        assert_eq!(
            (&summary["min"], &summary["max"], &summary["distinct"]),
            (&json!("abc"), &json!("é"), &json!(3))
        );
    }

    #[test]
    fn of_columns_that_are_only_counted_nothing_else_is_told() {
        let summary = ColumnProfile::of_rows(3, 2).summary(Kind::Boolean);
        assert_eq!(
            summary,
            json!({"rows": 5, "nulls": 2, "distinct": null, "min": null, "max": null, "top": []})
        );
        let summary = ColumnProfile::of_rows(0, 2).summary(Kind::Boolean);
        assert_eq!(summary["distinct"], json!(0));
    }

    #[test]
    fn the_most_frequent_values_are_exact_up_to_a_thousand() {
        let group = |shift: i64| {
            let counted: Vec<(i64, u32)> =
                (0..1000).map(|value| (value, ((value * 7 + shift) % 1000) as u32 + 1)).collect();
            ColumnProfile::of_numbers(&counted, 0)
        };
        let mut merged = group(0);
        merged.merge(&group(333));
        let mut expected: Vec<(i64, i64)> =
            (0..1000).map(|value| (value, (value * 7) % 1000 + (value * 7 + 333) % 1000 + 2)).collect();
        expected.sort_by_key(|(value, count)| (-count, *value));
        let top: Vec<_> = expected
            .iter()
            .take(TOP_SHOWN)
            .map(|(value, count)| json!({"value": value, "count": count}))
            .collect();
        assert_eq!(merged.summary(Kind::Int64)["top"], json!(top));
    }

    #[test]
    fn a_sample_stands_for_values_that_hardly_repeat() {
        let numbers: Vec<f64> =
            (0..100_000).map(|at| if at % 3 == 0 { -1.0 } else { f64::from(at) }).collect();
        let summary = ColumnProfile::of_many_numbers(&numbers, 0).summary(Kind::Float64);
        let near =
            |value: &serde_json::Value, wanted: f64| (value.as_f64().unwrap() / wanted - 1.0).abs() < 0.05;
        assert!(
            near(&summary["distinct"], 66_667.0) && near(&summary["quantiles"]["p75"], 62_500.0),
            "{summary}"
        );
        assert_eq!((&summary["min"], &summary["max"]), (&json!(-1.0), &json!(99_998.0)));
        let top = summary["top"].as_array().unwrap();
        assert!(top.len() == 1 && near(&top[0]["count"], 33_334.0), "{summary}");
    }

    #[test]
    fn a_profile_comes_back_from_its_text() {
        let numbers: Vec<(f64, u32)> = (0..1000).map(|at| (f64::from(at), 1)).collect();
        let named = NamedProfile::new("a", Kind::Float64, ColumnProfile::of_numbers(&numbers, 1));
        let text = serde_json::to_string(std::slice::from_ref(&named)).unwrap();
        let back: Vec<NamedProfile> = serde_json::from_str(&text).unwrap();
        assert_eq!(back[0].state, named.state);
        let merged = merge([back.clone(), back]);
        assert_eq!((merged.len(), merged[0].summary["rows"].as_u64()), (1, Some(2002)));
    }
}

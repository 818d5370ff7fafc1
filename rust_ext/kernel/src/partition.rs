//! Which partition a row belongs to.

use std::collections::HashMap;

use crate::{
    cell::Cell,
    check::Checked,
    error::{Error, Result},
    plan::{Kind, PartitionField, Plan, Transform},
};

/// One field of a partition key, as Iceberg stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(untagged)]
pub enum PartitionValue {
    /// Rows without the value.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer, or years, months, days or hours since 1970, or microseconds.
    Integer(i64),
    /// Text.
    Text(Box<str>),
}

/// The values of a partition's fields, in the plan's order; empty when a dataset isn't partitioned.
pub type PartitionKey = Vec<PartitionValue>;

/// Gives rows their partitions.
pub struct Partitioner {
    fields: Vec<(usize, Kind, Transform)>,
}

/// The partitions of consecutive rows.
#[derive(Default)]
pub struct RowPartitions {
    /// The partitions that occur, in the order of their first rows.
    pub keys: Vec<PartitionKey>,
    /// Each row's index into `keys`; empty when there is only one partition.
    pub of_row: Vec<u32>,
    known: HashMap<PartitionKey, u32>,
    last: Option<u32>,
}

impl Partitioner {
    /// Compile the plan's partition fields.
    ///
    /// # Errors
    /// `Error::Plan` when a transform doesn't fit its column's type.
    pub fn new(plan: &Plan) -> Result<Self> {
        let field = |field: &PartitionField| {
            let index = plan.column(&field.column)?;
            let kind = plan.columns[index].kind;
            let fits = match field.transform {
                Transform::Identity => kind != Kind::Float64,
                Transform::Hour => matches!(kind, Kind::Timestamp | Kind::TimestampNtz),
                _ => matches!(kind, Kind::Date | Kind::Timestamp | Kind::TimestampNtz),
            };
            if fits {
                Ok((index, kind, field.transform))
            } else {
                Err(Error::Plan(format!("`{}` of type {kind:?} can't be partitioned so", field.column)))
            }
        };
        Ok(Self { fields: plan.partition.iter().map(field).collect::<Result<_>>()? })
    }

    /// Note the partition of the next row.
    #[inline]
    pub fn push(&self, row: &[Cell], checked: &[Checked], rows: &mut RowPartitions) {
        let same = |last: &u32| self.matches(row, checked, &rows.keys[*last as usize]);
        let partition = match rows.last.filter(same) {
            Some(last) => last,
            None => rows.find(self.key(row, checked)),
        };
        rows.last = Some(partition);
        rows.of_row.push(partition);
    }

    /// Whether a row belongs to `key`; rows that follow each other mostly share a partition.
    #[inline]
    fn matches(&self, row: &[Cell], checked: &[Checked], key: &PartitionKey) -> bool {
        self.fields.iter().zip(key).all(|(&(index, kind, transform), value)| match (checked[index], value) {
            (Checked::Value(_), PartitionValue::Text(text)) => row[index].text() == Some(text),
            (Checked::Value(scalar), PartitionValue::Integer(value)) => {
                transformed(kind, transform, scalar) == *value
            }
            (Checked::Value(scalar), PartitionValue::Boolean(value)) => (scalar != 0) == *value,
            (Checked::Null, PartitionValue::Null) => true,
            _ => false,
        })
    }

    fn key(&self, row: &[Cell], checked: &[Checked]) -> PartitionKey {
        let value = |&(index, kind, transform): &(usize, Kind, Transform)| match (checked[index], kind) {
            (Checked::Value(_), Kind::String) => {
                PartitionValue::Text(row[index].text().unwrap_or_default().into())
            }
            (Checked::Value(scalar), Kind::Boolean) => PartitionValue::Boolean(scalar != 0),
            (Checked::Value(scalar), _) => PartitionValue::Integer(transformed(kind, transform, scalar)),
            _ => PartitionValue::Null,
        };
        self.fields.iter().map(value).collect()
    }
}

impl RowPartitions {
    fn find(&mut self, key: PartitionKey) -> u32 {
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let index = u32::try_from(self.keys.len()).expect("a chunk has fewer partitions than bytes");
        self.keys.push(key.clone());
        self.known.insert(key, index);
        index
    }
}

/// An Iceberg transform of days or microseconds (Iceberg table spec, "Partition Transforms").
fn transformed(kind: Kind, transform: Transform, scalar: i64) -> i64 {
    const DAY: i64 = 86_400_000_000;
    let days = if kind == Kind::Date { scalar } else { scalar.div_euclid(DAY) };
    match transform {
        Transform::Identity => scalar,
        Transform::Hour => scalar.div_euclid(DAY / 24),
        Transform::Day => days,
        Transform::Month => months(days),
        Transform::Year => months(days).div_euclid(12),
    }
}

/// Months since 1970-01 of days since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn months(days: i64) -> i64 {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    (era * 400 + year_of_era - 1970) * 12 + march_month + 2
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn months_and_years_are_the_calendars(days in -719_162i64..2_932_896) {
            let day = NaiveDate::default() + chrono::Duration::days(days);
            let expected = i64::from(day.year() - 1970) * 12 + i64::from(day.month0());
            prop_assert_eq!(transformed(Kind::Date, Transform::Month, days), expected);
            prop_assert_eq!(transformed(Kind::Date, Transform::Year, days), i64::from(day.year() - 1970));
        }
    }

    #[test]
    fn times_before_1970_fall_into_the_unit_they_are_in() {
        assert_eq!(transformed(Kind::Timestamp, Transform::Hour, -1), -1);
        assert_eq!(transformed(Kind::Timestamp, Transform::Day, -1), -1);
        assert_eq!(transformed(Kind::Timestamp, Transform::Month, -1), -1);
        assert_eq!(transformed(Kind::Timestamp, Transform::Year, -1), -1);
    }

    #[test]
    fn rows_find_their_partitions_again() {
        let plan = serde_json::json!({"dataset": "d", "contract": "c",
            "columns": [{"name": "a", "field_id": 1, "type": "string"}, {"name": "b", "field_id": 2, "type": "int32"}],
            "partition": [{"column": "a", "transform": "identity", "name": "a"},
                          {"column": "b", "transform": "identity", "name": "b"}]});
        let partitioner = Partitioner::new(&Plan::from_json(&plan.to_string()).unwrap()).unwrap();
        let mut rows = RowPartitions::default();
        for (text, number) in [("x", 1), ("x", 2), ("x", 1), ("y", 1), ("x", 2)] {
            partitioner.push(
                &[Cell::Str(text), Cell::Int(number)],
                &[Checked::Value(0), Checked::Value(number)],
                &mut rows,
            );
        }
        partitioner.push(&[Cell::Null, Cell::Null], &[Checked::Null, Checked::Null], &mut rows);
        assert_eq!(rows.of_row, [0, 1, 0, 2, 1, 3]);
        assert_eq!(rows.keys[2], [PartitionValue::Text("y".into()), PartitionValue::Integer(1)]);
    }
}

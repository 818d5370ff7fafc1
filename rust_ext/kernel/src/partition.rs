//! Which partition a row belongs to.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;

use crate::{
    error::{Error, Result},
    plan::{Kind, PartitionField, Plan, Transform},
    scalars::{Scalar, Scalars},
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
                Transform::Identity => !matches!(
                    kind,
                    Kind::Float64 | Kind::Decimal { .. } | Kind::Time | Kind::Struct | Kind::List
                ),
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

    /// The partitions of rows whose first columns are the plan's.
    ///
    /// # Errors
    /// `Error::Internal` when a column has a type that no plan's has.
    pub fn assign(&self, rows: &RecordBatch) -> Result<RowPartitions> {
        let mut partitions = RowPartitions::default();
        if self.fields.is_empty() {
            if rows.num_rows() > 0 {
                partitions.keys.push(PartitionKey::new());
            }
            return Ok(partitions);
        }
        let columns = self.fields.iter().map(|field| Scalars::of(rows.column(field.0)));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        partitions.of_row.reserve(rows.num_rows());
        let mut last = None;
        for row in 0..rows.num_rows() {
            let same = |last: &u32| self.matches(&columns, row, &partitions.keys[*last as usize]);
            let partition = match last.filter(same) {
                Some(last) => last,
                None => partitions.find(self.key(&columns, row)),
            };
            last = Some(partition);
            partitions.of_row.push(partition);
        }
        Ok(partitions)
    }

    /// Whether a row belongs to `key`; rows that follow each other mostly share a partition.
    #[inline]
    fn matches(&self, columns: &[Scalars], row: usize, key: &PartitionKey) -> bool {
        self.fields.iter().zip(columns).zip(key).all(|((&(_, kind, transform), column), value)| {
            match (column.get(row), value) {
                (Scalar::Text(text), PartitionValue::Text(value)) => *text == **value,
                (Scalar::Number(number), PartitionValue::Integer(value)) => {
                    transformed(kind, transform, number) == *value
                }
                (Scalar::Number(number), PartitionValue::Boolean(value)) => (number != 0) == *value,
                (Scalar::Null, PartitionValue::Null) => true,
                _ => false,
            }
        })
    }

    fn key(&self, columns: &[Scalars], row: usize) -> PartitionKey {
        let value = |(&(_, kind, transform), column): (&(usize, Kind, Transform), &Scalars)| match (
            column.get(row),
            kind,
        ) {
            (Scalar::Text(text), _) => PartitionValue::Text(text.into()),
            (Scalar::Number(number), Kind::Boolean) => PartitionValue::Boolean(number != 0),
            (Scalar::Number(number), _) => PartitionValue::Integer(transformed(kind, transform, number)),
            (Scalar::Null, _) => PartitionValue::Null,
            (Scalar::Decimal(_), _) => unreachable!("no partition is made of decimals"),
        };
        self.fields.iter().zip(columns).map(value).collect()
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
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};
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
        let texts = StringArray::from(vec![Some("x"), Some("x"), Some("x"), Some("y"), Some("x"), None]);
        let numbers = Int32Array::from(vec![Some(1), Some(2), Some(1), Some(1), Some(2), None]);
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(texts) as ArrayRef),
            ("b", Arc::new(numbers) as ArrayRef),
        ]);
        let rows = partitioner.assign(&batch.unwrap()).unwrap();
        assert_eq!(rows.of_row, [0, 1, 0, 2, 1, 3]);
        assert_eq!(rows.keys[2], [PartitionValue::Text("y".into()), PartitionValue::Integer(1)]);
    }
}

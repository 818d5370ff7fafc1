//! Keys of rows and fingerprints of whole rows, column by column.

use std::{hash::BuildHasher, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, MutableArrayData, StringArray, make_array},
    buffer::NullBuffer,
    datatypes::{DataType, Float64Type},
    record_batch::RecordBatch,
};
use foldhash::fast::RandomState;

use crate::{
    error::Result,
    plan::Plan,
    scalars::{Scalar, Scalars, Values},
    swar,
};

/// Hashes keys and whole rows.
#[derive(Clone)]
pub struct KeyEncoder {
    key: Vec<usize>,
    others: Vec<usize>,
    version: Option<usize>,
    hashing: Hashing,
}

/// Keys and fingerprints of consecutive rows.
#[derive(Default)]
pub struct Keys {
    /// The key's columns.
    pub columns: Vec<ArrayRef>,
    /// A hash of each row's key.
    pub hashes: Vec<u64>,
    /// A hash of all of each row's values. It only labels a duplicate as identical or conflicting.
    pub fingerprints: Vec<u64>,
    /// Each row's version, the larger the newer; empty when rows have none.
    pub versions: Vec<i64>,
}

impl Keys {
    /// With columns of their own, so that what they were a part of can be let go of.
    ///
    /// # Errors
    /// `Error::Arrow` when they are too long for their type.
    pub fn unshared(mut self) -> Result<Self> {
        for column in &mut self.columns {
            let data = column.to_data();
            let mut copy = MutableArrayData::new(vec![&data], false, data.len());
            copy.try_extend(0, 0, data.len())?;
            *column = make_array(copy.freeze());
        }
        Ok(self)
    }
}

/// What stands for a null among hashes.
const NULL: u64 = 0x6e75_6c6c_6e75_6c6c;

impl KeyEncoder {
    /// An encoder for the plan's key, `None` when records have none.
    ///
    /// # Errors
    /// `Error::Plan` when the key or the version names no column.
    pub fn new(plan: &Plan) -> Result<Option<Self>> {
        if plan.key.is_empty() {
            return Ok(None);
        }
        let key: Vec<usize> = plan.key.iter().map(|name| plan.column(name)).collect::<Result<_>>()?;
        let others = (0..plan.columns.len()).filter(|index| !key.contains(index)).collect();
        let version = plan.version.as_deref().map(|name| plan.column(name)).transpose()?;
        Ok(Some(Self { key, others, version, hashing: Hashing::new() }))
    }

    /// The keys of rows whose first columns are the plan's.
    ///
    /// # Errors
    /// `Error::Internal` when a column has a type that no plan's has.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Keys> {
        let mut hashes = vec![self.hashing.start; rows.num_rows()];
        for index in &self.key {
            self.hashing.mix_column(&mut hashes, rows.column(*index))?;
        }
        let mut fingerprints = hashes.clone();
        for index in &self.others {
            self.hashing.mix_column(&mut fingerprints, rows.column(*index))?;
        }
        let columns = self.key.iter().map(|index| rows.column(*index).clone()).collect();
        let versions =
            self.version.map(|index| versions(rows.column(index))).transpose()?.unwrap_or_default();
        Ok(Keys { columns, hashes, fingerprints, versions })
    }
}

/// Hashes the values of a column that no two rows share.
#[derive(Clone)]
pub struct ValueEncoder {
    /// Index of the plan's column.
    pub column: usize,
    hashing: Hashing,
}

impl ValueEncoder {
    /// An encoder for each of the plan's unique columns.
    ///
    /// # Errors
    /// `Error::Plan` when one names no column.
    pub fn each(plan: &Plan) -> Result<Vec<Self>> {
        let encoder = |name: &String| Ok(Self { column: plan.column(name)?, hashing: Hashing::new() });
        plan.unique.iter().map(encoder).collect()
    }

    /// The values of an array of the column's type, as keys without fingerprints and versions.
    ///
    /// # Errors
    /// `Error::Internal` when the type is one that no plan's column has.
    pub fn encode(&self, values: &ArrayRef) -> Result<Keys> {
        let column = by_value(values);
        let mut hashes = vec![self.hashing.start; column.len()];
        self.hashing.mix_column(&mut hashes, &column)?;
        Ok(Keys { columns: vec![column], hashes, ..Keys::default() })
    }
}

/// The values with their zeros alike: rows are compared by bits, and to all who read a table `-0.0` is `0.0`.
fn by_value(values: &ArrayRef) -> ArrayRef {
    match values.as_primitive_opt::<Float64Type>() {
        Some(floats) => Arc::new(floats.unary::<_, Float64Type>(|value| value + 0.0)),
        None => values.clone(),
    }
}

/// The values as versions. A row of a table may have none, from before there were any: any other is newer.
fn versions(column: &ArrayRef) -> Result<Vec<i64>> {
    let values = Scalars::of(column)?;
    let version = |row| match values.get(row) {
        Scalar::Number(value) => value,
        _ => i64::MIN,
    };
    Ok((0..column.len()).map(version).collect())
}

/// Hashes by multiplying with a factor that differs from run to run, so that no input can be made to collide.
#[derive(Clone)]
struct Hashing {
    start: u64,
    factor: u64,
    texts: RandomState,
}

impl Hashing {
    fn new() -> Self {
        let texts = RandomState::default();
        Self { start: texts.hash_one(0), factor: texts.hash_one(1) | 1, texts }
    }

    /// Go on with a hash.
    #[inline(always)]
    fn mix(&self, hash: &mut u64, value: u64) {
        let wide = u128::from(*hash ^ value) * u128::from(self.factor);
        *hash = wide as u64 ^ (wide >> 64) as u64;
    }

    /// Go on with each row's hash by its value.
    fn mix_column(&self, hashes: &mut [u64], array: &ArrayRef) -> Result<()> {
        if array.data_type().is_nested() {
            hashes.iter_mut().zip(self.nested(array)?).for_each(|(hash, value)| self.mix(hash, value));
            return Ok(());
        }
        let column = Scalars::of(array)?;
        // What stands in the place of a null has no meaning: such a row's hash goes on from what it was before.
        let nulls: Vec<_> = null_rows(column.nulls()).into_iter().map(|row| (row, hashes[row])).collect();
        let all = hashes.iter_mut();
        match column.values() {
            Values::Int32(values) => {
                all.zip(*values).for_each(|(hash, value)| self.mix(hash, *value as u64));
            }
            Values::Int64(values) => {
                all.zip(*values).for_each(|(hash, value)| self.mix(hash, *value as u64));
            }
            Values::Float64(values) => {
                all.zip(*values).for_each(|(hash, value)| self.mix(hash, value.to_bits()));
            }
            Values::Decimal(values) => all.zip(*values).for_each(|(hash, value)| {
                self.mix(hash, *value as u64);
                self.mix(hash, (*value >> 64) as u64);
            }),
            Values::Boolean(values) => {
                all.zip(values.values()).for_each(|(hash, value)| self.mix(hash, u64::from(value)));
            }
            Values::Text(values) => self.mix_texts(hashes, values),
        }
        for (row, before) in nulls {
            hashes[row] = before;
            self.mix(&mut hashes[row], NULL);
        }
        Ok(())
    }

    fn mix_texts(&self, hashes: &mut [u64], texts: &StringArray) {
        let bytes = texts.values().as_slice();
        for (hash, ends) in hashes.iter_mut().zip(texts.value_offsets().windows(2)) {
            let (start, stop) = (ends[0] as usize, ends[1] as usize);
            let length = stop - start;
            let value = match length {
                // A short text is a number itself: its bytes, and at the top its length.
                0..8 => swar::first_word(bytes, start, length) | (length as u64) << 56,
                _ => self.texts.hash_one(&bytes[start..stop]),
            };
            self.mix(hash, value);
        }
    }

    /// A hash of each row's value, whatever is in it.
    fn nested(&self, array: &ArrayRef) -> Result<Vec<u64>> {
        let mut hashes = vec![self.start; array.len()];
        match array.data_type() {
            DataType::Struct(_) => {
                for field in array.as_struct().columns() {
                    let values = self.nested(field)?;
                    hashes.iter_mut().zip(values).for_each(|(hash, value)| self.mix(hash, value));
                }
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let items = self.nested(lists.values())?;
                for (hash, ends) in hashes.iter_mut().zip(lists.value_offsets().windows(2)) {
                    let [start, stop] = [ends[0], ends[1]].map(|at| usize::try_from(at).unwrap_or_default());
                    self.mix(hash, (stop - start) as u64);
                    items[start..stop].iter().for_each(|item| self.mix(hash, *item));
                }
            }
            _ => self.mix_column(&mut hashes, array)?,
        }
        for row in null_rows(array.nulls()) {
            hashes[row] = NULL;
        }
        Ok(hashes)
    }
}

/// The rows that have no value.
fn null_rows(nulls: Option<&NullBuffer>) -> Vec<usize> {
    let absent = nulls.map(|nulls| !nulls.inner());
    absent.iter().flat_map(|absent| absent.set_indices()).collect()
}

/// Append a row's key as bytes, which are the same exactly when its values are.
pub fn push_key(bytes: &mut Vec<u8>, columns: &[Scalars], row: usize) {
    columns.iter().for_each(|column| push(bytes, column.get(row)));
}

/// Append a value so that no two different lists of values give the same bytes.
#[inline]
fn push(bytes: &mut Vec<u8>, value: Scalar) {
    match value {
        Scalar::Null => bytes.push(0xff),
        Scalar::Number(value) => {
            // Small numbers, which most are, take few bytes: how many come first, then those that aren't all sign.
            let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
            let length = 8 - zigzag.leading_zeros() as usize / 8;
            bytes.push(length as u8);
            bytes.extend_from_slice(&zigzag.to_le_bytes()[..length]);
        }
        Scalar::Decimal(value) => {
            bytes.push(16);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Scalar::Text(text) => {
            push(bytes, Scalar::Number(text.len().cast_signed() as i64));
            bytes.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};
    use proptest::{option, prelude::*};

    use super::*;

    fn encode(columns: &[(&str, ArrayRef)], key: &[&str]) -> Keys {
        let plan_columns: Vec<_> = columns
            .iter()
            .zip(1..)
            .map(|((name, array), id)| {
                let kind = if array.data_type() == &DataType::Utf8 { "string" } else { "int64" };
                serde_json::json!({"name": name, "field_id": id, "type": kind})
            })
            .collect();
        let plan = serde_json::json!({"dataset": "d", "contract": "c", "columns": plan_columns, "key": key});
        let encoder = KeyEncoder::new(&Plan::from_json(&plan.to_string()).unwrap()).unwrap().unwrap();
        encoder.encode(&RecordBatch::try_from_iter(columns.to_vec()).unwrap()).unwrap()
    }

    fn bytes(keys: &Keys, row: usize) -> Vec<u8> {
        let columns: Vec<_> = keys.columns.iter().map(|column| Scalars::of(column).unwrap()).collect();
        let mut bytes = Vec::new();
        push_key(&mut bytes, &columns, row);
        bytes
    }

    #[test]
    fn a_null_is_not_taken_for_a_value_next_to_it() {
        let integers = |values: [Option<i64>; 3]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
        let columns = [
            ("id", integers([Some(1), Some(1), Some(1)])),
            ("a", integers([None, Some(-1), Some(0)])),
            ("b", integers([Some(-1), None, Some(-1)])),
        ];
        let keys = encode(&columns, &["id"]);
        assert_ne!(keys.fingerprints[0], keys.fingerprints[1]);
        assert_ne!(keys.fingerprints[0], keys.fingerprints[2]);
    }

    #[test]
    fn the_two_zeros_are_one_value_of_a_unique_column() {
        let plan = serde_json::json!({
            "dataset": "d", "contract": "c", "unique": ["a"],
            "columns": [{"name": "a", "field_id": 1, "type": "float64"}],
        });
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), Some(-1.5), None]));
        let keys = ValueEncoder::each(&plan).unwrap()[0].encode(&values).unwrap();
        assert_eq!(bytes(&keys, 0), bytes(&keys, 1));
        assert_eq!(keys.hashes[0], keys.hashes[1]);
        assert_ne!(bytes(&keys, 0), bytes(&keys, 2));
        assert!(keys.columns[0].is_null(3));
    }

    proptest! {
        #[test]
        fn hashes_and_bytes_are_equal_exactly_when_values_are(
            rows in prop::collection::vec((option::of(any::<i64>()), option::of(0..3i64), option::of("[ab]{0,9}")), 1..40),
            skip in 0..3_usize,
        ) {
            let skip = skip.min(rows.len() - 1);
            let a: Vec<_> = rows.iter().map(|row| row.0.map(|a| a >> (a & 63))).collect();
            let b: Vec<_> = rows.iter().map(|row| row.1).collect();
            let c: Vec<_> = rows.iter().map(|row| row.2.as_deref()).collect();
            let columns: [(&str, ArrayRef); 3] = [
                ("a", Arc::new(Int64Array::from(a.clone()))),
                ("b", Arc::new(Int64Array::from(b.clone()))),
                ("c", Arc::new(StringArray::from(c.clone()))),
            ];
            let columns = columns.map(|(name, array)| (name, array.slice(skip, array.len() - skip)));
            let keys = encode(&columns, &["a", "c"]);
            for one in 0..rows.len() - skip {
                for other in 0..rows.len() - skip {
                    let key = |row: usize| (a[row + skip], c[row + skip]);
                    let same = key(one) == key(other);
                    prop_assert_eq!(bytes(&keys, one) == bytes(&keys, other), same);
                    prop_assert_eq!(keys.hashes[one] == keys.hashes[other], same);
                    let same = same && b[one + skip] == b[other + skip];
                    prop_assert_eq!(keys.fingerprints[one] == keys.fingerprints[other], same);
                }
            }
        }
    }
}

//! Which records share a key.
//!
//! Keys are compared byte by byte; the hash only says where to look, so that a collision can't lose a record.

use std::hash::{BuildHasher, Hasher};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
    record_batch::RecordBatch,
};
use foldhash::fast::RandomState;

use crate::{
    error::Result,
    plan::Plan,
    scalars::{Scalar, Scalars, Values},
};

/// Encodes keys and fingerprints whole rows.
#[derive(Clone)]
pub struct KeyEncoder {
    key: Vec<usize>,
    width: usize,
    state: RandomState,
}

/// Keys and fingerprints of consecutive rows.
#[derive(Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
    fingerprints: Vec<u64>,
}

/// One row's key and fingerprint.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
    fingerprint: u64,
}

/// An odd number without a pattern, to mix bits by multiplying (the golden ratio in 64 bits).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// What stands for a null among hashes.
const NULL: u64 = 0x6e75_6c6c_6e75_6c6c;

impl KeyEncoder {
    /// An encoder for the plan's key, `None` when records have none.
    ///
    /// # Errors
    /// `Error::Plan` when the key names no column.
    pub fn new(plan: &Plan) -> Result<Option<Self>> {
        if plan.key.is_empty() {
            return Ok(None);
        }
        let key = plan.key.iter().map(|name| plan.column(name)).collect::<Result<_>>()?;
        Ok(Some(Self { key, width: plan.columns.len(), state: RandomState::default() }))
    }

    /// The keys of rows whose first columns are the plan's.
    ///
    /// # Errors
    /// `Error::Internal` when a column has a type that no plan's has.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Keys> {
        let arrays = &rows.columns()[..self.width];
        let columns = self.key.iter().map(|index| Scalars::of(&arrays[*index]));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let count = rows.num_rows();
        let mut keys = Keys {
            bytes: Vec::with_capacity(count * self.key.len() * 5),
            ends: Vec::with_capacity(count),
            hashes: Vec::with_capacity(count),
            fingerprints: self.fingerprints(arrays, count)?,
        };
        for row in 0..count {
            let start = keys.bytes.len();
            for column in &columns {
                push(&mut keys.bytes, column.get(row));
            }
            keys.ends.push(keys.bytes.len());
            let mut hasher = self.state.build_hasher();
            hasher.write(&keys.bytes[start..]);
            keys.hashes.push(hasher.finish());
        }
        Ok(keys)
    }

    /// A hash of all of each row's values, column by column. It only labels a duplicate as identical or conflicting.
    fn fingerprints(&self, arrays: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
        let mut hashes = vec![MIX; rows];
        let mut texts = Vec::new();
        for array in arrays {
            if array.data_type().is_nested() {
                hashes.iter_mut().zip(self.nested_hashes(array)?).for_each(|(hash, value)| mix(hash, value));
                continue;
            }
            let column = Scalars::of(array)?;
            // What stands in the place of a null has no meaning: such a row's hash goes on from what it was before.
            let is_null = |row: &usize| column.nulls().is_some_and(|nulls| nulls.is_null(*row));
            let nulls = (0..if column.nulls().is_some() { rows } else { 0 }).filter(is_null);
            let nulls: Vec<_> = nulls.map(|row| (row, hashes[row])).collect();
            let all = hashes.iter_mut();
            match column.values() {
                Values::Int32(values) => all.zip(*values).for_each(|(hash, value)| mix(hash, *value as u64)),
                Values::Int64(values) => all.zip(*values).for_each(|(hash, value)| mix(hash, *value as u64)),
                Values::Float64(values) => {
                    all.zip(*values).for_each(|(hash, value)| mix(hash, value.to_bits()))
                }
                Values::Decimal(values) => all.zip(*values).for_each(|(hash, value)| {
                    mix(hash, *value as u64);
                    mix(hash, (*value >> 64) as u64);
                }),
                Values::Boolean(values) => {
                    all.zip(values.values()).for_each(|(hash, value)| mix(hash, u64::from(value)));
                }
                Values::Text(values) => {
                    texts.clear();
                    texts.extend((0..rows).map(|row| self.text_hash(values.value(row))));
                    all.zip(&texts).for_each(|(hash, value)| mix(hash, *value));
                }
            }
            for (row, before) in nulls {
                hashes[row] = before;
                mix(&mut hashes[row], NULL);
            }
        }
        Ok(hashes)
    }

    /// A hash of each row's value, whatever is in it.
    fn nested_hashes(&self, array: &ArrayRef) -> Result<Vec<u64>> {
        let mut hashes = match array.data_type() {
            DataType::Struct(_) => {
                let mut hashes = vec![MIX; array.len()];
                for field in array.as_struct().columns() {
                    let values = self.nested_hashes(field)?;
                    hashes.iter_mut().zip(values).for_each(|(hash, value)| mix(hash, value));
                }
                hashes
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let items = self.nested_hashes(lists.values())?;
                let ends = lists.value_offsets().windows(2);
                let hash = |ends: &[i32]| {
                    let [start, stop] = [ends[0], ends[1]].map(|at| usize::try_from(at).unwrap_or_default());
                    let mut hash = MIX;
                    mix(&mut hash, (stop - start) as u64);
                    items[start..stop].iter().for_each(|item| mix(&mut hash, *item));
                    hash
                };
                ends.map(hash).collect()
            }
            _ => return self.fingerprints(std::slice::from_ref(array), array.len()),
        };
        for (row, hash) in hashes.iter_mut().enumerate() {
            if array.is_null(row) {
                *hash = NULL;
            }
        }
        Ok(hashes)
    }

    #[inline]
    fn text_hash(&self, text: &str) -> u64 {
        let bytes = text.as_bytes();
        if bytes.len() < 8 {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            word[7] = bytes.len() as u8;
            return u64::from_le_bytes(word);
        }
        self.state.hash_one(bytes)
    }
}

/// Go on with a hash.
#[inline(always)]
fn mix(hash: &mut u64, value: u64) {
    *hash = (hash.rotate_left(29) ^ value).wrapping_mul(MIX);
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
            let mut word = [0; 9];
            word[0] = length as u8;
            word[1..].copy_from_slice(&zigzag.to_le_bytes());
            let before = bytes.len();
            bytes.extend_from_slice(&word);
            bytes.truncate(before + 1 + length);
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

impl Keys {
    /// The key of row `index`.
    pub fn get(&self, index: usize) -> Key<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Key {
            bytes: &self.bytes[start..self.ends[index]],
            hash: self.hashes[index],
            fingerprint: self.fingerprints[index],
        }
    }
}

/// Where a record is: the batch's index and its number in the batch, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace {
    /// Index into the run's batches, or past them into the batches of existing rows.
    pub batch: u32,
    /// Number of the record in its batch.
    pub record: u64,
}

/// The record that was there first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winner {
    /// Where it is.
    pub place: RecordPlace,
    /// Whether all of its values equal the newcomer's.
    pub identical: bool,
}

/// Every key seen so far.
///
/// A slot of the table holds the upper half of a key's hash and the key's number, and its place in the table grows with that
/// half. So a look-up touches one place of a small table, and the table grows by one walk from its beginning to its end.
#[derive(Default)]
pub struct KeyIndex {
    slots: Vec<u64>,
    keys: Vec<Known>,
    bytes: Vec<u8>,
}

/// A key that is known, and the record that has it.
struct Known {
    stop: usize,
    fingerprint: u64,
    place: RecordPlace,
}

const HALF: u32 = 32;

impl KeyIndex {
    /// Claim the keys of rows for the records at `place`; `taken` is told of those that another record has already.
    pub fn claim_all(
        &mut self,
        keys: &Keys,
        place: impl Fn(usize) -> RecordPlace,
        mut taken: impl FnMut(usize, Winner),
    ) {
        const BLOCK: usize = 32;
        let count = keys.hashes.len();
        for start in (0..count).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(count);
            self.reserve(block.len());
            // The slots of a block are fetched from memory side by side, and are near when they are needed.
            let touched = block.clone().fold(0, |all, row| all ^ self.slots[self.slot(keys.hashes[row])]);
            std::hint::black_box(touched);
            for row in block {
                if let Some(winner) = self.claim(keys.get(row), place(row)) {
                    taken(row, winner);
                }
            }
        }
    }

    /// Claim a key for the record at `place`; `Some` winner when another record has it already.
    #[inline]
    pub fn claim(&mut self, key: Key<'_>, place: RecordPlace) -> Option<Winner> {
        self.reserve(1);
        let mut at = self.slot(key.hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            if slot >> HALF == key.hash >> HALF {
                let number = (slot & u64::from(u32::MAX)) as usize - 1;
                let known = &self.keys[number];
                if self.bytes[self.start(number)..known.stop] == *key.bytes {
                    let identical = known.fingerprint == key.fingerprint;
                    return Some(Winner { place: known.place, identical });
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.bytes.extend_from_slice(key.bytes);
        self.keys.push(Known { stop: self.bytes.len(), fingerprint: key.fingerprint, place });
        let number = u32::try_from(self.keys.len()).expect("a run has fewer than 2³² keys");
        self.slots[at] = key.hash >> HALF << HALF | u64::from(number);
        None
    }

    fn start(&self, number: usize) -> usize {
        number.checked_sub(1).map_or(0, |before| self.keys[before].stop)
    }

    /// Where in the table a key with this hash is looked for first.
    #[inline]
    fn slot(&self, hash: u64) -> usize {
        (((hash >> HALF) * self.slots.len() as u64) >> HALF) as usize
    }

    /// Make room for so many more keys.
    #[inline]
    fn reserve(&mut self, more: usize) {
        if (self.keys.len() + more) * 4 > self.slots.len() * 3 {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let wanted = ((self.keys.len() + more) * 2).next_power_of_two().max(1 << 10);
        let before = std::mem::replace(&mut self.slots, vec![0; wanted]);
        for slot in before.into_iter().filter(|slot| *slot != 0) {
            let mut at = self.slot(slot);
            while self.slots[at] != 0 {
                at = (at + 1) & (wanted - 1);
            }
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Array, ArrayRef, Int64Array, StringArray},
        datatypes::DataType,
    };
    use proptest::{option, prelude::*};

    use super::*;

    fn place(record: u64) -> RecordPlace {
        RecordPlace { batch: 0, record }
    }

    fn key(bytes: &[u8], hash: u64, fingerprint: u64) -> Key<'_> {
        Key { bytes, hash, fingerprint }
    }

    #[test]
    fn the_first_record_with_a_key_wins() {
        let mut index = KeyIndex::default();
        assert_eq!(index.claim(key(b"a", 7, 1), place(1)), None);
        assert_eq!(index.claim(key(b"a", 7, 1), place(2)), Some(Winner { place: place(1), identical: true }));
        assert_eq!(
            index.claim(key(b"a", 7, 2), place(3)),
            Some(Winner { place: place(1), identical: false })
        );
    }

    #[test]
    fn colliding_hashes_lose_nothing() {
        let mut index = KeyIndex::default();
        let keys: Vec<[u8; 4]> = (0..1000u32).map(u32::to_le_bytes).collect();
        for (record, bytes) in (1..).zip(&keys) {
            assert_eq!(index.claim(key(bytes, 42, 0), place(record)), None);
        }
        for (record, bytes) in (1..).zip(&keys) {
            let winner = index.claim(key(bytes, 42, 0), place(9999)).unwrap();
            assert_eq!(winner.place, place(record));
        }
    }

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

    fn integers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn a_null_is_not_taken_for_a_value_next_to_it() {
        let columns = [
            ("id", integers(&[Some(1), Some(1), Some(1)])),
            ("a", integers(&[None, Some(-1), Some(0)])),
            ("b", integers(&[Some(-1), None, Some(-1)])),
        ];
        let keys = encode(&columns, &["id"]);
        assert_ne!(keys.get(0).fingerprint, keys.get(1).fingerprint);
        assert_ne!(keys.get(0).fingerprint, keys.get(2).fingerprint);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let columns = [
            ("a", texts(&[Some("x"), Some("xy"), Some(""), None])),
            ("b", texts(&[Some("yz"), Some("z"), None, Some("")])),
        ];
        let keys = encode(&columns, &["a", "b"]);
        let mut index = KeyIndex::default();
        assert!((0..4).all(|row| index.claim(keys.get(row), place(1)).is_none()));
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_their_values_are(
            rows in prop::collection::vec((option::of(any::<i64>()), option::of(0..3i64), option::of("[ab]{0,9}")), 1..40),
        ) {
            let a: Vec<_> = rows.iter().map(|row| row.0.map(|a| a >> (a & 63))).collect();
            let b: Vec<_> = rows.iter().map(|row| row.1).collect();
            let c: Vec<_> = rows.iter().map(|row| row.2.as_deref()).collect();
            let columns = [("a", integers(&a)), ("b", integers(&b)), ("c", texts(&c))];
            let keys = encode(&columns, &["a", "b", "c"]);
            for one in 0..rows.len() {
                for other in 0..rows.len() {
                    let same = (a[one], b[one], c[one]) == (a[other], b[other], c[other]);
                    prop_assert_eq!(keys.get(one).bytes == keys.get(other).bytes, same);
                    prop_assert_eq!(keys.get(one).fingerprint == keys.get(other).fingerprint, same);
                }
            }
        }
    }
}

//! Which records share a key.
//!
//! Keys are compared byte by byte; the hash only says where to look, so that a collision can't lose a record.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    cell::Cell,
    check::Checked,
    error::Result,
    plan::{Kind, Plan},
};

/// Encodes keys and fingerprints whole rows.
#[derive(Clone)]
pub struct KeyEncoder {
    key: Vec<usize>,
    is_text: Vec<bool>,
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
        let is_text = plan.columns.iter().map(|column| column.kind == Kind::String).collect();
        Ok(Some(Self { key, is_text, state: RandomState::default() }))
    }

    /// Add a row's key to `keys`.
    #[inline]
    pub fn push(&self, row: &[Cell], checked: &[Checked], keys: &mut Keys) {
        let start = keys.bytes.len();
        for &index in &self.key {
            match checked[index] {
                Checked::Value(_) if self.is_text[index] => {
                    let text = row[index].text().unwrap_or_default();
                    keys.bytes.extend_from_slice(&(text.len() as u64 + 1).to_le_bytes());
                    keys.bytes.extend_from_slice(text.as_bytes());
                }
                Checked::Value(value) => {
                    keys.bytes.push(1);
                    keys.bytes.extend_from_slice(&value.to_le_bytes());
                }
                _ => keys.bytes.push(0),
            }
        }
        keys.ends.push(keys.bytes.len());
        let mut hasher = self.state.build_hasher();
        hasher.write(&keys.bytes[start..]);
        keys.hashes.push(hasher.finish());
        keys.fingerprints.push(self.fingerprint(row, checked));
    }

    /// A hash of all of a row's values. It only labels a duplicate as identical or conflicting.
    fn fingerprint(&self, row: &[Cell], checked: &[Checked]) -> u64 {
        let mut hasher = self.state.build_hasher();
        for ((cell, checked), is_text) in row.iter().zip(checked).zip(&self.is_text) {
            // Each cell begins with a number of its own kind, so that no two rows hash the same stream.
            match checked {
                Checked::Value(_) if *is_text => {
                    let text = cell.text().unwrap_or_default();
                    hasher.write_u64(2 + text.len() as u64);
                    hasher.write(text.as_bytes());
                }
                Checked::Value(value) => {
                    hasher.write_u64(1);
                    hasher.write_i64(*value);
                }
                _ => hasher.write_u64(0),
            }
        }
        hasher.finish()
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
#[derive(Default)]
pub struct KeyIndex {
    table: HashTable<Slot>,
    bytes: Vec<u8>,
}

struct Slot {
    hash: u64,
    start: usize,
    length: u32,
    fingerprint: u64,
    place: RecordPlace,
}

impl KeyIndex {
    /// Claim a key for the record at `place`; `Some` winner when another record has it already.
    #[inline]
    pub fn claim(&mut self, key: Key<'_>, place: RecordPlace) -> Option<Winner> {
        let bytes = &mut self.bytes;
        let same = |slot: &Slot| {
            slot.hash == key.hash && bytes[slot.start..slot.start + slot.length as usize] == *key.bytes
        };
        match self.table.entry(key.hash, same, |slot| slot.hash) {
            Entry::Occupied(entry) => {
                let slot = entry.get();
                Some(Winner { place: slot.place, identical: slot.fingerprint == key.fingerprint })
            }
            Entry::Vacant(entry) => {
                let length = u32::try_from(key.bytes.len()).expect("a key is no longer than its record");
                entry.insert(Slot {
                    hash: key.hash,
                    start: bytes.len(),
                    length,
                    fingerprint: key.fingerprint,
                    place,
                });
                bytes.extend_from_slice(key.bytes);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_null_is_not_taken_for_a_value_next_to_it() {
        let columns = serde_json::json!([
            {"name": "id", "field_id": 1, "type": "int64"}, {"name": "a", "field_id": 2, "type": "int64"},
            {"name": "b", "field_id": 3, "type": "int64"}]);
        let plan = serde_json::json!({"dataset": "d", "contract": "c", "columns": columns, "key": ["id"]});
        let encoder = KeyEncoder::new(&Plan::from_json(&plan.to_string()).unwrap()).unwrap().unwrap();
        let row = [Cell::Null, Cell::Null, Cell::Null];
        let (mut keys, id) = (Keys::default(), Checked::Value(1));
        encoder.push(&row, &[id, Checked::Null, Checked::Value(-1)], &mut keys);
        encoder.push(&row, &[id, Checked::Value(-1), Checked::Null], &mut keys);
        assert_ne!(keys.get(0).fingerprint, keys.get(1).fingerprint);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let columns = serde_json::json!([
            {"name": "a", "field_id": 1, "type": "string"}, {"name": "b", "field_id": 2, "type": "string"}]);
        let plan =
            serde_json::json!({"dataset": "d", "contract": "c", "columns": columns, "key": ["a", "b"]});
        let encoder = KeyEncoder::new(&Plan::from_json(&plan.to_string()).unwrap()).unwrap().unwrap();
        let mut keys = Keys::default();
        let value = Checked::Value(0);
        encoder.push(&[Cell::Str("x"), Cell::Str("yz")], &[value, value], &mut keys);
        encoder.push(&[Cell::Str("xy"), Cell::Str("z")], &[value, value], &mut keys);
        encoder.push(&[Cell::Str(""), Cell::Null], &[value, Checked::Null], &mut keys);
        encoder.push(&[Cell::Null, Cell::Str("")], &[Checked::Null, value], &mut keys);
        let mut index = KeyIndex::default();
        assert!((0..4).all(|row| index.claim(keys.get(row), place(1)).is_none()));
    }
}

//! Which records share a key.
//!
//! Keys are compared value by value; the hash only says where to look, so that a collision can't lose a record.

use std::{cmp::Ordering, ops::Range, path::PathBuf, sync::Arc};

use arrow::array::ArrayRef;

use crate::{
    error::{Error, Result},
    keys::{self, Keys},
    numbering::Numbering,
    scalars::Scalars,
    slots::Slots,
    spill::{Spill, Spilled},
};

/// Where a record is: the batch's index and its number in the batch, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordPlace {
    /// Index into the run's batches, or past them into the batches of existing rows.
    pub batch: u32,
    /// Number of the record in its batch.
    pub record: u64,
}

/// The record that has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winner {
    /// Where it is.
    pub place: RecordPlace,
    /// Whether all of its values equal the newcomer's.
    pub identical: bool,
}

/// Where the records of a block of rows are.
pub enum Places {
    /// A chunk of a batch, before which the batch had so many records.
    Chunk {
        /// The batch.
        batch: u32,
        /// Records before the chunk.
        before: u64,
        /// Which of the chunk's records the rows are.
        numbering: Numbering,
    },
    /// Each by itself.
    Listed(Vec<RecordPlace>),
}

impl Places {
    /// Where the record is that a row was.
    pub fn of(&self, row: usize) -> RecordPlace {
        match self {
            Self::Chunk { batch, before, numbering } => {
                RecordPlace { batch: *batch, record: before + numbering.record(row) as u64 + 1 }
            }
            Self::Listed(places) => places[row],
        }
    }
}

/// Every key seen so far.
///
/// A slot of the table holds the upper half of a key's hash and the key's number, and its place in the table grows with that
/// half. So a look-up touches one place of a small table, and the table grows by one walk from its beginning to its end.
/// The keys themselves stay in the blocks they came in, and past a budget in a file: they are looked at only when halves
/// of hashes are equal, which but for duplicates they hardly ever are.
pub struct KeyIndex {
    slots: Slots,
    /// How many slots are taken.
    claimed: usize,
    blocks: Vec<Block>,
    /// Rows in all blocks.
    rows: usize,
    held_bytes: usize,
    most_held_bytes: usize,
    spill: Spill,
}

/// Consecutive rows and the number of the first.
struct Block {
    first: usize,
    places: Arc<Places>,
    rows: BlockRows,
}

enum BlockRows {
    Held {
        columns: Vec<ArrayRef>,
        fingerprints: Vec<u64>,
        versions: Vec<i64>,
    },
    /// In the spill file, from there on.
    Spilled(u64),
}

const HALF: u32 = 32;

/// Rows whose slots are fetched from memory side by side.
pub const AHEAD: usize = 32;

impl KeyIndex {
    /// An empty index that holds the keys of `most_held_bytes` in memory, and others in a file in `folder`.
    pub fn new(most_held_bytes: usize, folder: PathBuf) -> Self {
        Self {
            slots: Slots::default(),
            claimed: 0,
            blocks: Vec::new(),
            rows: 0,
            held_bytes: 0,
            most_held_bytes,
            spill: Spill::new(folder),
        }
    }

    /// Claim the keys of rows for the records at `places`, but for those that are `left_out`.
    ///
    /// `taken` is told of the keys that another record has already, and how that one's version compares with the newcomer's;
    /// it says whether the newcomer gets the key.
    ///
    /// # Errors
    /// `Error::Io` when keys can't be moved to the file or read from it, `Error::Plan` when there are 2³² of them.
    pub fn claim(
        &mut self,
        keys: Keys,
        places: Arc<Places>,
        left_out: impl Fn(usize) -> bool,
        mut taken: impl FnMut(usize, Winner, Ordering) -> bool,
    ) -> Result<()> {
        let newcomers = self.enter(&keys, &places)?;
        for start in (0..keys.hashes.len()).step_by(AHEAD) {
            let rows = start..(start + AHEAD).min(keys.hashes.len());
            self.fetch(&newcomers, rows.clone());
            for row in rows {
                if left_out(row) {
                    continue;
                }
                let found = self.find(&newcomers, row)?;
                let gets = found.holder.is_none_or(|(winner, version)| taken(row, winner, version));
                if gets {
                    self.take(&newcomers, row, &found);
                }
            }
        }
        let first = newcomers.first;
        self.keep(first, keys, places)
    }

    /// Rows that are about to be looked up, each with [`find`](Self::find), and then kept.
    ///
    /// # Errors
    /// `Error::Plan` when there are 2³² keys.
    pub fn enter<'a>(&mut self, keys: &'a Keys, places: &'a Places) -> Result<Newcomers<'a>> {
        let Keys { columns, hashes, fingerprints, versions } = keys;
        let first = self.rows;
        self.rows += hashes.len();
        if u32::try_from(self.rows).is_err() {
            let most = "a run takes fewer than 2³² records with a key: process fewer batches at once";
            return Err(Error::Plan(most.to_owned()));
        }
        let scalars = columns.iter().map(|column| Scalars::of(column)).collect::<Result<Vec<_>>>()?;
        self.reserve(hashes.len())?;
        Ok(Newcomers { first, hashes, scalars, fingerprints, versions, places })
    }

    /// Fetch the slots of some rows from memory side by side, so that they are near when they are needed.
    #[inline]
    pub fn fetch(&self, newcomers: &Newcomers, rows: Range<usize>) {
        let slots = newcomers.hashes[rows].iter().map(|hash| self.slots.get(self.slot(*hash)));
        std::hint::black_box(slots.fold(0, |all, slot| all ^ slot));
    }

    /// Who has the key of a row, and where in the table that stands.
    ///
    /// # Errors
    /// `Error::Io` when a key can't be read from the file.
    #[inline]
    pub fn find(&mut self, newcomers: &Newcomers, row: usize) -> Result<Found> {
        let hash = newcomers.hashes[row];
        let mut at = self.slot(hash);
        loop {
            let slot = self.slots.get(at);
            if slot == 0 {
                return Ok(Found { at, holder: None });
            }
            if slot >> HALF == hash >> HALF {
                let number = (slot & u64::from(u32::MAX)) as usize - 1;
                if let Some(holder) = self.same(number, row, newcomers)? {
                    return Ok(Found { at, holder: Some(holder) });
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Give a row the key that was looked up for it; nothing may have been taken since.
    #[inline]
    pub fn take(&mut self, newcomers: &Newcomers, row: usize, found: &Found) {
        self.slots.set(found.at, slot_of(newcomers.hashes[row], newcomers.first + row));
        self.claimed += usize::from(found.holder.is_none());
    }

    /// The record that row number `number` was and how its version compares, when it has the key of the newcomer's row.
    #[cold]
    fn same(
        &mut self,
        number: usize,
        row: usize,
        newcomer: &Newcomers,
    ) -> Result<Option<(Winner, Ordering)>> {
        let (is_same, fingerprint, version, place) = if let Some(other) = number.checked_sub(newcomer.first) {
            let is_same = newcomer.scalars.iter().all(|column| column.get(other) == column.get(row));
            (is_same, newcomer.fingerprint(other), newcomer.version(other), newcomer.places.of(other))
        } else {
            let index = self.blocks.partition_point(|block| block.first <= number) - 1;
            let block = &self.blocks[index];
            let other = number - block.first;
            let (is_same, fingerprint, version) = match &block.rows {
                BlockRows::Held { columns, fingerprints, versions } => {
                    let mut pairs = columns.iter().zip(&newcomer.scalars);
                    let is_same = pairs.try_fold(true, |same, (known, new)| {
                        Scalars::of(known).map(|known| same && known.get(other) == new.get(row))
                    })?;
                    (is_same, number_of(fingerprints, other), number_of(versions, other))
                }
                BlockRows::Spilled(start) => {
                    let Spilled { key, fingerprint, version } = self.spill.read(*start, other)?;
                    (key == newcomer.encoded(row), fingerprint, version)
                }
            };
            (is_same, fingerprint, version, block.places.of(other))
        };
        let identical = fingerprint == newcomer.fingerprint(row);
        Ok(is_same.then_some((Winner { place, identical }, version.cmp(&newcomer.version(row)))))
    }

    /// Keep what the rows from number `first` on have, for later ones to be compared with.
    ///
    /// # Errors
    /// `Error::Io` when keys can't be moved to the file.
    pub fn keep(&mut self, first: usize, keys: Keys, places: Arc<Places>) -> Result<()> {
        let Keys { columns, fingerprints, versions, .. } = keys;
        let rows = BlockRows::Held { columns, fingerprints, versions };
        self.held_bytes += rows.bytes()?;
        self.blocks.push(Block { first, places, rows });
        if self.held_bytes > self.most_held_bytes {
            for block in &mut self.blocks {
                if let BlockRows::Held { columns, fingerprints, versions } = &block.rows {
                    block.rows = BlockRows::Spilled(self.spill.write(columns, fingerprints, versions)?);
                }
            }
            self.held_bytes = 0;
        }
        Ok(())
    }

    /// Where in the table a key with this hash is looked for first.
    #[inline]
    fn slot(&self, hash: u64) -> usize {
        (((hash >> HALF) * self.slots.len() as u64) >> HALF) as usize
    }

    /// Make room for so many keys more.
    ///
    /// # Errors
    /// Those of [`Slots::new`].
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        if (self.claimed + more) * 4 > self.slots.len() * 3 { self.grow(more) } else { Ok(()) }
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Result<()> {
        let wanted = ((self.claimed + more) * 2).next_power_of_two().max(1 << 10);
        let before = std::mem::replace(&mut self.slots, Slots::new(wanted)?);
        for slot in (0..before.len()).map(|at| before.get(at)).filter(|slot| *slot != 0) {
            let mut at = self.slot(slot);
            while self.slots.get(at) != 0 {
                at = (at + 1) & (wanted - 1);
            }
            self.slots.set(at, slot);
        }
        Ok(())
    }
}

/// What a slot holds for row number `number`.
#[inline]
fn slot_of(hash: u64, number: usize) -> u64 {
    hash >> HALF << HALF | (number + 1) as u64
}

/// Rows whose keys are being looked up and claimed.
pub struct Newcomers<'a> {
    /// The number of the first.
    pub first: usize,
    hashes: &'a [u64],
    scalars: Vec<Scalars<'a>>,
    fingerprints: &'a [u64],
    versions: &'a [i64],
    places: &'a Places,
}

/// What a look-up came to.
#[derive(Clone, Copy)]
pub struct Found {
    at: usize,
    /// The record that has the key, and how its version compares with the newcomer's; `None` when nothing has it.
    pub holder: Option<(Winner, Ordering)>,
}

/// A row's version or fingerprint; all are equal where rows have none.
fn number_of<T: Copy + Default>(numbers: &[T], row: usize) -> T {
    numbers.get(row).copied().unwrap_or_default()
}

impl Newcomers<'_> {
    fn fingerprint(&self, row: usize) -> u64 {
        number_of(self.fingerprints, row)
    }

    fn version(&self, row: usize) -> i64 {
        number_of(self.versions, row)
    }

    /// A row's key as a spill file has it.
    fn encoded(&self, row: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        keys::push_key(&mut bytes, &self.scalars, row);
        bytes
    }
}

impl BlockRows {
    /// The memory that they take, of what they have of it reserved only what is in use.
    fn bytes(&self) -> Result<usize> {
        let Self::Held { columns, fingerprints, versions } = self else { return Ok(0) };
        let columns = columns.iter().map(|column| column.to_data().get_slice_memory_size());
        Ok(columns.sum::<std::result::Result<usize, _>>()?
            + size_of_val(fingerprints.as_slice())
            + size_of_val(versions.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use arrow::array::Int64Array;
    use proptest::prelude::*;

    use super::*;

    /// Which of two different records with one key gets it.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Rule {
        First,
        Last,
        /// The one with the larger version, which here is the payload.
        Newest,
    }

    /// Claims `chunks` of values and payloads, all under one hash or under good ones; what each row was told.
    fn claim(
        chunks: &[Vec<(i64, u64)>],
        collide: bool,
        most_held_bytes: usize,
        rule: Rule,
    ) -> Vec<Option<(Winner, Ordering)>> {
        let folder = tempfile::tempdir().unwrap();
        let mut index = KeyIndex::new(most_held_bytes, folder.path().into());
        let mut all = Vec::new();
        for chunk in chunks {
            let values = Int64Array::from_iter_values(chunk.iter().map(|row| row.0));
            let hash = |row: &(i64, u64)| {
                if collide { 42 << HALF } else { (row.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) }
            };
            let keys = Keys {
                columns: vec![Arc::new(values)],
                hashes: chunk.iter().map(hash).collect(),
                fingerprints: chunk.iter().map(|row| row.1).collect(),
                versions: chunk
                    .iter()
                    .filter(|_| rule == Rule::Newest)
                    .map(|row| row.1.cast_signed())
                    .collect(),
            };
            let before = all.len() as u64;
            all.resize(all.len() + chunk.len(), None);
            let told = &mut all[usize::try_from(before).unwrap()..];
            let places = Places::Chunk { batch: 0, before, numbering: Numbering::default() };
            let taken = |row: usize, winner: Winner, version| {
                told[row] = Some((winner, version));
                rule != Rule::First && !winner.identical && version != Ordering::Greater
            };
            index.claim(keys, Arc::new(places), |_| false, taken).unwrap();
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_first_the_last_or_the_newest_record_with_a_key_wins_whatever_collides_or_is_spilled(
            chunks in prop::collection::vec(prop::collection::vec((0..60_i64, 0..3_u64), 0..40), 1..8),
            collide: bool,
            rule in prop::sample::select(vec![Rule::First, Rule::Last, Rule::Newest]),
            most_held_bytes in prop::sample::select(vec![0, 700, usize::MAX]),
        ) {
            let mut held = HashMap::new();
            let mut expected = Vec::new();
            for (record, (value, payload)) in (1..).zip(chunks.iter().flatten()) {
                let (winner, of_winner) = *held.entry(*value).or_insert((record, *payload));
                let place = RecordPlace { batch: 0, record: winner };
                let told = Winner { place, identical: of_winner == *payload };
                let version = if rule == Rule::Newest { of_winner.cmp(payload) } else { Ordering::Equal };
                expected.push((winner != record).then_some((told, version)));
                if (rule == Rule::Last && of_winner != *payload) || (rule == Rule::Newest && of_winner < *payload) {
                    held.insert(*value, (record, *payload));
                }
            }
            prop_assert_eq!(claim(&chunks, collide, most_held_bytes, rule), expected);
        }
    }
}

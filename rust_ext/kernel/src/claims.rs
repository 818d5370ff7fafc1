//! Which rows get what they claim: their key, and the values of unique columns.
//!
//! Rows take effect one after the other. One that doesn't get its key, or one of its values, claims nothing at all.

use std::{path::PathBuf, sync::Arc};

use crate::{
    batch::{Batch, Contention},
    dedupe::{AHEAD, KeyIndex, Places, RecordPlace, Winner},
    error::Result,
    keys::Keys,
    parse::{Compiled, Parsed},
    plan::WriteMode,
    scatter::BatchId,
    unique::UniqueValues,
    upsert::{Contest, Losers, Refusal},
};

/// Every key and every value of a unique column that a row has.
pub struct Claims {
    mode: WriteMode,
    keys: KeyIndex,
    values: UniqueValues,
    /// Records of which it is known that they aren't kept.
    losers: Arc<Losers>,
    contest: Contest,
    /// How many of the batches are the run's; the others are of existing rows.
    sources: usize,
}

/// The rows of a chunk, and who they are.
struct Chunk<'a> {
    own: &'a mut Batch,
    batch_ids: &'a [BatchId],
    places: Arc<Places>,
    rows: usize,
}

impl Claims {
    /// Nothing is claimed yet, and what `losers` says is known. Keys and values of `most_held_bytes` are held in memory, and
    /// others in files in `folder`.
    pub fn new(
        compiled: &Compiled,
        sources: usize,
        losers: Arc<Losers>,
        most_held_bytes: usize,
        folder: PathBuf,
    ) -> Self {
        let indexes = compiled.unique.len() + usize::from(compiled.keys.is_some());
        let share = most_held_bytes / indexes.max(1);
        Self {
            mode: compiled.plan.write_mode,
            values: UniqueValues::new(&compiled.unique, share, &folder),
            keys: KeyIndex::new(share, folder),
            losers,
            contest: Contest::new(sources),
            sources,
        }
    }

    /// What is found out of records that replace others.
    pub fn contest(&self) -> &Contest {
        &self.contest
    }

    /// All records that aren't kept.
    pub fn losers(self) -> Losers {
        self.contest.losers()
    }

    /// Make room for so many keys more.
    ///
    /// # Errors
    /// Those of [`KeyIndex::reserve`].
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        self.keys.reserve(more)
    }

    /// Whether values of the table are to be loaded: in a run that is carried out again all is known.
    pub fn asks_for_values(&self) -> bool {
        !self.values.is_empty() && self.losers.is_empty()
    }

    /// Claim the keys of rows that the table already holds.
    ///
    /// # Errors
    /// Those of [`KeyIndex::claim`].
    pub fn load_keys(&mut self, keys: Keys, places: Places) -> Result<()> {
        // Two rows of the table with one key: an older state of affairs that isn't this run's to judge.
        self.keys.claim(keys.unshared()?, Arc::new(places), |_| false, |_, _, _| false)
    }

    /// Claim the values of unique columns that rows of the table have.
    ///
    /// # Errors
    /// Those of [`KeyIndex::claim`].
    pub fn load_values(&mut self, values: Vec<Keys>, places: Places) -> Result<()> {
        let values = values.into_iter().map(Keys::unshared).collect::<Result<_>>()?;
        self.values.load(values, &Arc::new(places))
    }

    /// The rows of a chunk that don't get what they claim, in their order. `batch` is the chunk's, `own`, before which it had
    /// `before` records.
    ///
    /// # Errors
    /// Those of [`KeyIndex::claim`].
    pub fn refused(
        &mut self,
        batch: u32,
        own: &mut Batch,
        before: u64,
        parsed: &mut Parsed,
        batch_ids: &[BatchId],
    ) -> Result<Vec<(usize, Refusal)>> {
        let (keys, values) = (parsed.keys.take(), std::mem::take(&mut parsed.unique));
        if keys.is_none() && values.is_empty() {
            return Ok(Vec::new());
        }
        let places = Arc::new(Places::Chunk { batch, before, numbering: parsed.numbering.clone() });
        let chunk = Chunk { own, batch_ids, places, rows: parsed.rows.num_rows() };
        match keys {
            Some(keys) if values.is_empty() => match self.mode {
                WriteMode::Append => self.appended(keys, &chunk),
                WriteMode::Upsert => self.upserted(keys, chunk),
            },
            keys => self.row_by_row(keys, values, chunk),
        }
    }

    fn appended(&mut self, keys: Keys, chunk: &Chunk) -> Result<Vec<(usize, Refusal)>> {
        let mut refused = Vec::new();
        self.keys.claim(
            keys,
            chunk.places.clone(),
            |_| false,
            |row, winner, _| {
                refused.push((row, Refusal::Duplicate(winner)));
                false
            },
        )?;
        Ok(refused)
    }

    fn upserted(&mut self, keys: Keys, chunk: Chunk) -> Result<Vec<(usize, Refusal)>> {
        let Chunk { own, batch_ids, places, rows } = chunk;
        let Self { keys: index, losers, contest, sources, .. } = self;
        let mut refused: Vec<(usize, Refusal)> = Vec::new();
        if !losers.is_empty() {
            refused.extend((0..rows).filter_map(|row| Some((row, losers.get(&places.of(row))?.clone()))));
        }
        let left_out = |row: usize| !losers.is_empty() && losers.contains_key(&places.of(row));
        index.claim(keys, places.clone(), left_out, |row, winner, version| {
            let newcomer = places.of(row);
            let held_by = held_by(winner, *sources, batch_ids);
            let contention = own.contend(newcomer.record, winner, version, held_by);
            match contention {
                Contention::Stays => {
                    refused.push((row, Refusal::Duplicate(winner)));
                    contest.kept_out(newcomer, winner);
                }
                Contention::Replaces => contest.replaced(winner.place, newcomer),
                Contention::Supersedes => own.superseded.push(winner.place),
            }
            contention != Contention::Stays
        })?;
        refused.sort_unstable_by_key(|(row, _)| *row);
        Ok(refused)
    }

    /// With unique columns a row claims several things, all or none: each is looked up before any is taken.
    fn row_by_row(
        &mut self,
        keys: Option<Keys>,
        values: Vec<Keys>,
        chunk: Chunk,
    ) -> Result<Vec<(usize, Refusal)>> {
        let Chunk { own, batch_ids, places, rows } = chunk;
        let Self { mode, keys: key_index, values: unique, losers, contest, sources } = self;
        let newcomers = keys.as_ref().map(|keys| key_index.enter(keys, &places)).transpose()?;
        let mut claimants = unique.enter(&values, &places)?;
        let mut refused = Vec::new();
        for start in (0..rows).step_by(AHEAD) {
            let ahead = start..(start + AHEAD).min(rows);
            newcomers.iter().for_each(|newcomers| key_index.fetch(newcomers, ahead.clone()));
            unique.fetch(&claimants, &ahead);
            for row in ahead {
                let newcomer = places.of(row);
                if let Some(known) = losers.get(&newcomer) {
                    refused.push((row, known.clone()));
                    continue;
                }
                let key = newcomers.as_ref().map(|newcomers| key_index.find(newcomers, row)).transpose()?;
                let mut taken_from = None;
                if let Some((winner, version)) = key.and_then(|found| found.holder) {
                    let held_by = held_by(winner, *sources, batch_ids);
                    let contention = match mode {
                        WriteMode::Append => Contention::Stays,
                        WriteMode::Upsert => own.contend(newcomer.record, winner, version, held_by),
                    };
                    if contention == Contention::Stays {
                        refused.push((row, Refusal::Duplicate(winner)));
                        if *mode == WriteMode::Upsert {
                            contest.kept_out(newcomer, winner);
                        }
                        continue;
                    }
                    taken_from = Some((winner.place, contention));
                }
                if losers.is_empty() {
                    let held = unique.held(&mut claimants, row, taken_from.map(|(place, _)| place))?;
                    if !held.is_empty() {
                        if *mode == WriteMode::Upsert {
                            contest.not_unique(newcomer, held.clone());
                        }
                        refused.push((row, Refusal::NotUnique(held)));
                        continue;
                    }
                    unique.take(&claimants, row);
                }
                if let (Some(newcomers), Some(found)) = (&newcomers, &key) {
                    key_index.take(newcomers, row, found);
                }
                if let Some((place, contention)) = taken_from {
                    unique.let_go(place);
                    match contention {
                        Contention::Replaces => contest.replaced(place, newcomer),
                        _ => own.superseded.push(place),
                    }
                }
            }
        }
        let (first, firsts) = (newcomers.map(|newcomers| newcomers.first), claimants.firsts());
        if let (Some(first), Some(keys)) = (first, keys) {
            key_index.keep(first, keys, places.clone())?;
        }
        unique.keep(firsts, values, &places)?;
        Ok(refused)
    }
}

/// The batch of a row of the table that has a key; `None` when a record of the run has it.
fn held_by(winner: Winner, sources: usize, batch_ids: &[BatchId]) -> Option<&str> {
    let RecordPlace { batch, .. } = winner.place;
    (batch as usize >= sources).then(|| &*batch_ids[batch as usize])
}

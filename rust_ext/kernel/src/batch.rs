//! A batch as it is taken up: its counts, what is known of it, and whose place its records take.

use std::{cmp::Ordering, collections::BTreeMap, collections::HashSet, sync::Arc};

use crate::{
    dedupe::{RecordPlace, Winner},
    error::{Error, Result},
    feed::SourceFacts,
    outcome::BatchOutcome,
    read::Source,
};

/// A batch and what has come of it so far.
#[derive(Default)]
pub struct Batch {
    /// The counts.
    pub outcome: BatchOutcome,
    /// Lines of its chunks of lines so far.
    pub lines: u64,
    /// Records by column and rule that they broke.
    pub violations: BTreeMap<(Option<usize>, &'static str), u64>,
    /// What is known of its source.
    pub facts: Option<SourceFacts>,
    /// The records' numbers, when they aren't counted from 1.
    pub record_nos: Option<Arc<[u64]>>,
    /// Batches whose rows its records don't supersede.
    newer_batches: HashSet<String>,
    /// Rows of the table that its records take the place of.
    pub superseded: Vec<RecordPlace>,
}

/// What becomes of a key that a newcomer shares with the record that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contention {
    /// It stays where it is: the newcomer is a duplicate.
    Stays,
    /// The newcomer takes it from a record of the run.
    Replaces,
    /// The newcomer takes it from a row of the table.
    Supersedes,
}

impl Batch {
    /// The batch of a source, of which nothing is read yet.
    pub fn of(source: &Source) -> Self {
        Self {
            outcome: BatchOutcome { batch_id: source.batch_id.clone(), ..BatchOutcome::default() },
            lines: 0,
            record_nos: source.record_nos.as_deref().map(Arc::from),
            newer_batches: source.newer_batches.clone(),
            ..Self::default()
        }
    }

    /// The number of the record that is the source's `ordinal`th, counted from 1.
    ///
    /// # Errors
    /// `Error::Numbers` when it has none.
    pub fn record_no(&self, ordinal: u64) -> Result<u64> {
        let Some(record_nos) = &self.record_nos else { return Ok(ordinal) };
        let number = usize::try_from(ordinal - 1).ok().and_then(|at| record_nos.get(at));
        number.copied().ok_or(Error::Numbers(record_nos.len()))
    }

    /// Whether an upsert gives the batch's `ordinal`th record the key that `winner` has, whose version compares so with its
    /// own. `held_by` is the winner's batch when it is a row of the table, and no record of the run.
    pub fn contend(
        &self,
        ordinal: u64,
        winner: Winner,
        version: Ordering,
        held_by: Option<&str>,
    ) -> Contention {
        if winner.identical || version == Ordering::Greater {
            return Contention::Stays;
        }
        let Some(held_by) = held_by else { return Contention::Replaces };
        if version == Ordering::Equal {
            // Of its own batch a replay brings records that came before others, and some that came after.
            let number = || self.record_no(ordinal).unwrap_or_default();
            let is_newer = self.newer_batches.contains(held_by)
                || (held_by == self.outcome.batch_id && winner.place.record > number());
            if is_newer {
                return Contention::Stays;
            }
        }
        Contention::Supersedes
    }
}

//! Records of a run whose key a later one of the run takes, or keeps from them.
//!
//! Rows are on their way to their files before the next record is read. So a run in which a row that was kept loses its key is
//! carried out again, knowing who loses to whom; where keys aren't repeated, it isn't.

use std::collections::HashMap;

use crate::{
    dedupe::{RecordPlace, Winner},
    unique::Held,
};

/// Why a record that broke no rule of its own isn't kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another record has its key.
    Duplicate(Winner),
    /// Other rows had values of its unique columns when it came.
    NotUnique(Vec<Held>),
}

/// What became of each record that isn't kept, but for those that rows of the table keep out.
pub type Losers = HashMap<RecordPlace, Refusal>;

/// What is found out about losers in the course of a run.
#[derive(Debug, Default)]
pub struct Contest {
    /// How many of the batches are the run's.
    sources: usize,
    lost_to: HashMap<RecordPlace, Winner>,
    not_unique: HashMap<RecordPlace, Vec<Held>>,
    is_again: bool,
    ends_before: Option<usize>,
}

impl Contest {
    /// A contest among the records of so many batches.
    pub fn new(sources: usize) -> Self {
        Self { sources, ..Self::default() }
    }

    /// A newcomer doesn't get the key.
    pub fn kept_out(&mut self, newcomer: RecordPlace, winner: Winner) {
        if (winner.place.batch as usize) < self.sources {
            // A winner that took a place itself may be a duplicate in the second pass.
            if winner.place.batch != newcomer.batch && self.is_again {
                self.end_before(newcomer);
            }
            self.lost_to.insert(newcomer, winner);
        }
    }

    /// A row that was kept loses its key to a newcomer.
    pub fn replaced(&mut self, row: RecordPlace, newcomer: RecordPlace) {
        if row.batch != newcomer.batch {
            self.end_before(newcomer);
        }
        self.lost_to.insert(row, Winner { place: newcomer, identical: false });
        self.is_again = true;
    }

    /// A newcomer doesn't get its values.
    pub fn not_unique(&mut self, newcomer: RecordPlace, held: Vec<Held>) {
        self.not_unique.insert(newcomer, held);
    }

    fn end_before(&mut self, newcomer: RecordPlace) {
        self.ends_before = Some(newcomer.batch as usize);
    }

    /// The first source with a record that takes the place of another source's: the run has to end before it.
    pub fn ends_before(&self) -> Option<usize> {
        self.ends_before
    }

    /// Whether the run is to be carried out again.
    pub fn is_again(&self) -> bool {
        self.is_again
    }

    /// All losers with who has the key in the end.
    pub fn losers(mut self) -> Losers {
        let places: Vec<RecordPlace> = self.lost_to.keys().copied().collect();
        let mut passed = Vec::new();
        for place in places {
            let mut last = place;
            while let Some(winner) = self.lost_to.get(&last)
                && self.lost_to.contains_key(&winner.place)
            {
                passed.push(last);
                last = winner.place;
            }
            // From the end back, each is told of the last winner, so that no way is gone twice.
            let mut end = self.lost_to[&last];
            while let Some(loser) = passed.pop() {
                let own = self.lost_to[&loser];
                end.identical &= own.identical;
                self.lost_to.insert(loser, end);
            }
        }
        let duplicates = self.lost_to.into_iter().map(|(place, winner)| (place, Refusal::Duplicate(winner)));
        let others = self.not_unique.into_iter().map(|(place, held)| (place, Refusal::NotUnique(held)));
        duplicates.chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(record: u64) -> RecordPlace {
        RecordPlace { batch: 0, record }
    }

    proptest! {
        #[test]
        fn every_loser_is_told_of_the_last_winner(payloads in prop::collection::vec(0..3_u64, 1..30)) {
            // Records of one key: one that is identical to the holder is kept out, any other replaces it.
            let mut contest = Contest::new(1);
            let mut holder = (1, payloads[0]);
            for (record, payload) in (1..).zip(&payloads).skip(1) {
                if *payload == holder.1 {
                    contest.kept_out(place(record), Winner { place: place(holder.0), identical: true });
                } else {
                    contest.replaced(place(holder.0), place(record));
                    holder = (record, *payload);
                }
            }
            let is_again = contest.is_again();
            prop_assert_eq!(is_again, payloads.iter().any(|payload| *payload != payloads[0]));
            let losers = contest.losers();
            prop_assert_eq!(losers.len(), payloads.len() - 1);
            for (record, _) in (1..).zip(&payloads).filter(|(record, _)| *record != holder.0) {
                let Refusal::Duplicate(winner) = &losers[&place(record)] else { panic!("it has a key") };
                prop_assert_eq!(winner.place, place(holder.0));
                prop_assert_eq!(winner.identical, record > holder.0);
            }
        }
    }
}

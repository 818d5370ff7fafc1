//! Records of a run whose key a later one of the run takes, or keeps from them.
//!
//! Rows are on their way to their files before the next record is read. So a run in which a row that was kept loses its key is
//! carried out again, knowing who loses to whom; where keys aren't repeated, it isn't.

use std::collections::HashMap;

use crate::dedupe::{RecordPlace, Winner};

/// Which record has the key of each one that isn't kept.
pub type Losers = HashMap<RecordPlace, Winner>;

/// What is found out about losers in the course of a run.
#[derive(Debug, Default)]
pub struct Contest {
    lost_to: Losers,
    is_again: bool,
}

impl Contest {
    /// A newcomer doesn't get the key.
    pub fn kept_out(&mut self, newcomer: RecordPlace, winner: Winner) {
        self.lost_to.insert(newcomer, winner);
    }

    /// A row that was kept loses its key to a newcomer.
    pub fn replaced(&mut self, row: RecordPlace, newcomer: RecordPlace) {
        self.lost_to.insert(row, Winner { place: newcomer, identical: false });
        self.is_again = true;
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
        self.lost_to
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
            let mut contest = Contest::default();
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
                let winner = losers[&place(record)];
                prop_assert_eq!(winner.place, place(holder.0));
                prop_assert_eq!(winner.identical, record > holder.0);
            }
        }
    }
}

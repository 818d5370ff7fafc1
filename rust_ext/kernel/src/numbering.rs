//! Which record each row of a chunk was.

/// Tells the records of a chunk that became rows from those that didn't.
///
/// Nearly all records become rows, so it is the others that are listed: for each, how many rows came before it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Numbering {
    rows_before: Vec<u32>,
}

impl Numbering {
    /// Note a record that became no row after `rows` that did.
    pub fn pass(&mut self, rows: usize) {
        self.rows_before.push(u32::try_from(rows).expect("a chunk has fewer than 2³² rows"));
    }

    /// How many records became no row.
    pub fn passed_in_all(&self) -> usize {
        self.rows_before.len()
    }

    /// The record, from 0, that row number `row` was.
    pub fn record(&self, row: usize) -> usize {
        row + self.passed(row)
    }

    /// How many records became no row before row number `row`.
    fn passed(&self, row: usize) -> usize {
        self.rows_before.partition_point(|before| *before as usize <= row)
    }

    /// The records of the first `rows` rows, counted from `first`.
    pub fn records(&self, rows: usize, first: i64) -> Vec<i64> {
        let mut records = Vec::with_capacity(rows);
        let mut next = first;
        for before in self.rows_before.iter().map(|before| *before as usize).chain([rows]) {
            let more = before.min(rows).saturating_sub(records.len()) as i64;
            records.extend(next..next + more);
            next += more + 1;
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_the_records_that_were_not_passed(passed in prop::collection::vec(any::<bool>(), 0..50)) {
            let mut numbering = Numbering::default();
            let mut expected = Vec::new();
            for (record, is_passed) in passed.iter().enumerate() {
                if *is_passed {
                    numbering.pass(expected.len());
                } else {
                    expected.push(record);
                }
            }
            let found: Vec<_> = (0..expected.len()).map(|row| numbering.record(row)).collect();
            prop_assert_eq!(&found, &expected);
            let from_7 = expected.iter().map(|record| *record as i64 + 7).collect::<Vec<_>>();
            prop_assert_eq!(numbering.records(expected.len(), 7), from_7);
        }
    }
}

//! The rows of a chunk by partition, without its duplicates.

use std::{ops::Range, sync::Arc};

use arrow::{array::UInt32Array, record_batch::RecordBatch};

use crate::write::Part;

/// Rows of a run from which on, on average, a partition's runs are taken as slices. Shorter ones are picked row by row.
const SLICE_ROWS: usize = 64;

/// Split rows into parts of one partition each, in the order of the rows. `partition_of` is empty when all rows are of
/// partition 0; `duplicates` are the rows to be left out, in their order; `record_nos` are all rows' record numbers.
pub fn split(
    rows: &RecordBatch,
    partition_of: &[u32],
    duplicates: impl Iterator<Item = usize>,
    record_nos: &[i64],
    batch_id: &Arc<str>,
) -> Vec<(usize, Part)> {
    let mut runs: Vec<Vec<Range<usize>>> = Vec::new();
    let mut start = 0;
    for duplicate in duplicates.chain([rows.num_rows()]) {
        add_runs(&mut runs, partition_of, start..duplicate);
        start = duplicate + 1;
    }
    let mut parts = Vec::new();
    for (partition, runs) in runs.into_iter().enumerate() {
        let count: usize = runs.iter().map(ExactSizeIterator::len).sum();
        let part =
            |rows, selected, record_nos| Part { rows, selected, batch_id: batch_id.clone(), record_nos };
        if count >= SLICE_ROWS * runs.len() {
            let slice =
                |run: Range<usize>| part(rows.slice(run.start, run.len()), None, record_nos[run].to_vec());
            parts.extend(runs.into_iter().map(|run| (partition, slice(run))));
        } else {
            let selected = runs.iter().cloned().flatten().map(|row| row as u32);
            let selected = Some(UInt32Array::from_iter_values(selected));
            let record_nos = runs.into_iter().flatten().map(|row| record_nos[row]).collect();
            parts.push((partition, part(rows.clone(), selected, record_nos)));
        }
    }
    parts
}

/// Add the stretches of `rows` that are of one partition each to their partitions' runs.
fn add_runs(runs: &mut Vec<Vec<Range<usize>>>, partition_of: &[u32], mut rows: Range<usize>) {
    while !rows.is_empty() {
        let partition = partition_of.get(rows.start).copied().unwrap_or_default();
        let others = partition_of.get(rows.clone()).unwrap_or_default();
        let length = others.iter().position(|other| *other != partition).unwrap_or(rows.len());
        if runs.len() <= partition as usize {
            runs.resize(partition as usize + 1, Vec::new());
        }
        runs[partition as usize].push(rows.start..rows.start + length);
        rows.start += length;
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, AsArray, Int64Array},
        compute::take_record_batch,
        datatypes::Int64Type,
    };
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_row_but_the_duplicates_goes_to_its_partition_in_order(
            runs in prop::collection::vec((0..3_u32, 1..200_usize, any::<bool>()), 0..12),
            partitioned: bool,
        ) {
            let all = runs.iter().flat_map(|(partition, length, duplicate)| {
                (0..*length).map(|at| (*partition, *duplicate && at == 0))
            });
            let (partition_of, is_duplicate): (Vec<u32>, Vec<bool>) = all.unzip();
            let partition_of = if partitioned { partition_of } else { vec![0; is_duplicate.len()] };
            let numbers: Vec<i64> = (0..partition_of.len() as i64).collect();
            let column: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
            let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
            let given = if partitioned { partition_of.as_slice() } else { &[] };
            let duplicates = (0..numbers.len()).filter(|row| is_duplicate[*row]);
            let parts = split(&rows, given, duplicates, &numbers, &"b".into());
            for partition in 0..3 {
                let expected: Vec<i64> = numbers.iter().copied()
                    .filter(|row| partition_of[*row as usize] == partition && !is_duplicate[*row as usize])
                    .collect();
                let (mut found, mut record_nos) = (Vec::new(), Vec::new());
                for (_, part) in parts.iter().filter(|(of, _)| *of == partition as usize) {
                    let rows = match &part.selected {
                        None => part.rows.clone(),
                        Some(selected) => take_record_batch(&part.rows, selected).unwrap(),
                    };
                    found.extend_from_slice(rows.column(0).as_primitive::<Int64Type>().values());
                    record_nos.extend_from_slice(&part.record_nos);
                }
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!(&record_nos, &expected);
            }
        }
    }
}

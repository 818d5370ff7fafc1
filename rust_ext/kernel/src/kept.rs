//! Accepted rows that stay in memory, as record batches with the columns that files have.

use std::{iter::repeat_n, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int64Array, StringArray},
    compute::take_record_batch,
    record_batch::RecordBatch,
};
use rayon::prelude::*;

use crate::{
    error::Result,
    profile::{self, ColumnProfile},
    write::{Layout, Part},
};

/// Rows in memory: kept, or only profiled.
pub struct KeptRows {
    batches: Option<Vec<RecordBatch>>,
    profiles: Vec<Option<ColumnProfile>>,
}

impl KeptRows {
    /// No rows yet.
    pub fn new(kept: bool) -> Self {
        Self { batches: kept.then(Vec::new), profiles: Vec::new() }
    }

    /// Add the rows of a row group, parts side by side on the current thread pool. Rows that are all selected are shared, not
    /// copied.
    ///
    /// # Errors
    /// `Error::Arrow` or `Error::Internal` when the rows aren't of the layout.
    pub fn append(&mut self, layout: &Layout, parts: &[Part]) -> Result<()> {
        profile::merge_into(&mut self.profiles, &layout.profile(parts)?);
        if let Some(batches) = &mut self.batches {
            let provenance = Provenance::of(layout, parts);
            let added: Result<Vec<_>> = parts.par_iter().map(|part| provenance.batch(layout, part)).collect();
            batches.extend(added?);
        }
        Ok(())
    }

    /// The batches, and the profiles of the schema's columns.
    pub fn finish(self) -> (Vec<RecordBatch>, Vec<Option<ColumnProfile>>) {
        (self.batches.unwrap_or_default(), self.profiles)
    }
}

/// The texts that every row of a row group has again, written down once: parts share them.
struct Provenance<'a> {
    batch_ids: Vec<(&'a str, StringArray)>,
    contract: StringArray,
}

impl<'a> Provenance<'a> {
    fn of(layout: &Layout, parts: &'a [Part]) -> Self {
        let most = parts.iter().map(Part::row_count).max().unwrap_or_default();
        let repeated = |text: &str| StringArray::from_iter_values(repeat_n(text, most));
        let mut batch_ids: Vec<(&str, StringArray)> = Vec::new();
        for part in parts {
            if !batch_ids.iter().any(|(known, _)| *known == &*part.batch_id) {
                batch_ids.push((&part.batch_id, repeated(&part.batch_id)));
            }
        }
        Self { batch_ids, contract: repeated(layout.contract()) }
    }

    fn batch(&self, layout: &Layout, part: &Part) -> Result<RecordBatch> {
        let mut columns = match &part.selected {
            None => part.rows.columns().to_vec(),
            Some(selected) => take_record_batch(&part.rows, selected)?.columns().to_vec(),
        };
        let (_, batch_id) = self
            .batch_ids
            .iter()
            .find(|(known, _)| *known == &*part.batch_id)
            .expect("each part's batch was noted");
        let count = part.row_count();
        let record_nos: ArrayRef = Arc::new(Int64Array::from(part.record_nos.clone()));
        columns.extend([
            Array::slice(batch_id, 0, count),
            record_nos,
            Array::slice(&self.contract, 0, count),
        ]);
        Ok(RecordBatch::try_new(layout.schema().clone(), columns)?)
    }
}

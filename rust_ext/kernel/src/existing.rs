//! Rows that the table already holds, as the host hands them over.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int64Array, StringArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
    util::display::FormatOptions,
};

use crate::{
    dedupe::{Places, RecordPlace},
    error::{Error, Result},
    plan::Plan,
    scatter::BatchId,
    schema,
};

/// Reads the table's rows; knows the batches that they came in.
pub struct ExistingRows {
    /// The plan's columns as the table may hold them: rules and what is required may have been others.
    columns: SchemaRef,
    batches: BTreeMap<String, u32>,
}

impl ExistingRows {
    /// For a plan's table.
    pub fn new(plan: &Plan) -> Self {
        let columns = schema::columns(plan);
        let fields = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        Self { columns: Arc::new(Schema::new(fields.collect::<Vec<_>>())), batches: BTreeMap::new() }
    }

    /// The plan's columns, which are the first ones of `rows`.
    ///
    /// # Errors
    /// `Error::Existing` or `Error::Arrow` when one has another type.
    pub fn columns(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let width = self.columns.fields().len();
        let arrays = rows.columns().iter().take(width).enumerate();
        let arrays = arrays.map(|(column, array)| self.values(column, array)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.columns.clone(), arrays, &options)
            .map_err(|error| Error::Existing(error.to_string()))
    }

    /// The values of the plan's column of that index.
    ///
    /// # Errors
    /// `Error::Arrow` when they have another type.
    pub fn values(&self, column: usize, array: &ArrayRef) -> Result<ArrayRef> {
        Ok(cast_with_options(array, self.columns.field(column).data_type(), &STRICT)?)
    }

    /// Where the rows came from, which the two columns after the first `width` say. New batches go to `batch_ids`.
    ///
    /// # Errors
    /// `Error::Existing` when a column is missing or of another type.
    pub fn places(
        &mut self,
        rows: &RecordBatch,
        width: usize,
        batch_ids: &mut Vec<BatchId>,
    ) -> Result<Places> {
        let wrong = |what: &str| Error::Existing(format!("column {what} is missing or of another type"));
        let of_batches = rows.columns().get(width).ok_or_else(|| wrong("of batch ids"))?;
        let of_batches = arrow::compute::cast(of_batches, &DataType::Utf8)?;
        let of_batches =
            of_batches.as_any().downcast_ref::<StringArray>().ok_or_else(|| wrong("of batch ids"))?;
        let record_nos = rows.columns().get(width + 1).ok_or_else(|| wrong("of record numbers"))?;
        let record_nos =
            record_nos.as_any().downcast_ref::<Int64Array>().ok_or_else(|| wrong("of record numbers"))?;
        let mut places = Vec::with_capacity(rows.num_rows());
        // Rows of one batch mostly come together.
        let mut last: Option<(&str, u32)> = None;
        for at in 0..rows.num_rows() {
            let batch_id = of_batches.value(at);
            let batch = match last {
                Some((known, batch)) if known == batch_id => batch,
                _ => self.batch(batch_id, batch_ids),
            };
            last = Some((batch_id, batch));
            places.push(RecordPlace { batch, record: record_nos.value(at).cast_unsigned() });
        }
        Ok(Places::Listed(places))
    }

    /// The batch's index among all, to which it is added when it is new.
    fn batch(&mut self, batch_id: &str, batch_ids: &mut Vec<BatchId>) -> u32 {
        if let Some(&known) = self.batches.get(batch_id) {
            return known;
        }
        let new = u32::try_from(batch_ids.len()).expect("batches are fewer than 2³²");
        batch_ids.push(batch_id.into());
        self.batches.insert(batch_id.to_owned(), new);
        new
    }
}

/// A value that can't be cast is an error, not a null.
const STRICT: CastOptions = CastOptions { safe: false, format_options: FormatOptions::new() };

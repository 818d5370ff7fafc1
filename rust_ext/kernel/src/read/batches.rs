//! Records of Arrow streams: record batches that a caller hands over one by one.
//!
//! A stream isn't data that has landed but a program that runs. What it does wrong stops the run, and isn't quarantined.

use std::{
    collections::HashSet,
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, RecordBatchReader},
    record_batch::RecordBatch,
};

use super::{guarded, slices::Slices};
use crate::{
    chunk::Chunk,
    error::{Error, Result},
    plan::Plan,
};

/// A stream of record batches, which can be read once.
pub type Stream = Arc<Mutex<dyn RecordBatchReader + Send>>;

/// Reads the plan's columns of a stream.
pub struct BatchReader {
    stream: Stream,
    /// Indices of the columns that the plan knows.
    known: Vec<usize>,
    batch_rows: usize,
    /// What is left of the batch that came last, and its bytes until they are told.
    rest: Slices,
    bytes: u64,
    bytes_read: u64,
    rows_read: u64,
}

impl BatchReader {
    /// A reader that hands out at most `batch_rows` rows at a time. Also the names of columns that the plan doesn't know.
    ///
    /// # Errors
    /// `Error::Stream` when a column is there twice.
    pub fn open(stream: Stream, plan: &Plan, batch_rows: usize) -> Result<(Self, Vec<String>)> {
        let schema = stream.lock().unwrap_or_else(PoisonError::into_inner).schema();
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        let mut known = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            if !seen.insert(field.name()) {
                return Err(Error::Stream(format!("column `{}` is there twice", field.name())));
            }
            match plan.column(field.name()) {
                Ok(_) => known.push(index),
                Err(_) => unknown.push(field.name().clone()),
            }
        }
        let reader = Self {
            stream,
            known,
            batch_rows,
            rest: Slices::default(),
            bytes: 0,
            bytes_read: 0,
            rows_read: 0,
        };
        Ok((reader, unknown))
    }

    /// Bytes that the columns read so far take in memory.
    pub fn bytes_passed(&self) -> u64 {
        self.bytes_read
    }

    /// The next rows.
    ///
    /// # Errors
    /// `Error::Stream` when the stream breaks off, or gives what its schema doesn't say.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(batch) = self.rest.next(self.batch_rows) {
                self.rows_read += batch.num_rows() as u64;
                return Ok(Some(Chunk::Columns { batch, bytes: std::mem::take(&mut self.bytes) }));
            }
            match self.next_batch()? {
                Some(batch) => self.rest.put(batch),
                None => return Ok(None),
            }
        }
    }

    /// The known columns of the next batch that has rows.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            let batch = guarded(|| stream.next().transpose()).map_err(|error| self.fault(&error))?;
            let Some(batch) = batch else { return Ok(None) };
            if batch.num_rows() > 0 {
                drop(stream);
                return self.checked(&batch).map(Some);
            }
        }
    }

    /// The producer is another program: that texts are UTF-8 and offsets lie within their buffers is not taken on trust.
    fn checked(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = guarded(|| batch.project(&self.known)).map_err(|error| self.fault(&error))?;
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let data = column.to_data();
            guarded(|| data.validate_full())
                .map_err(|error| self.fault(&format!("column `{}`: {error}", field.name())))?;
            // Types whose buffers don't say how long a slice of them is count as a whole.
            let bytes = data.get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size());
            self.bytes += bytes as u64;
        }
        self.bytes_read += self.bytes;
        Ok(batch)
    }

    fn fault(&self, why: &dyn Display) -> Error {
        Error::Stream(format!("after record {}: {why}", self.rows_read))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatchIterator, StringArray},
        error::ArrowError,
    };

    use super::*;
    use crate::read::testing::plan;

    fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
        let columns: [(&str, ArrayRef); 2] = [
            ("x", Arc::new(Int64Array::from_iter_values(rows.clone()))),
            ("b", Arc::new(StringArray::from_iter_values(rows.map(|n| format!("b{n}"))))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn stream(batches: Vec<std::result::Result<RecordBatch, ArrowError>>) -> Stream {
        Arc::new(Mutex::new(RecordBatchIterator::new(batches, batch(0..0).schema())))
    }

    /// Rows of each chunk, and what comes after them.
    fn read(stream: Stream, batch_rows: usize) -> (Vec<usize>, Result<u64>) {
        let (mut reader, unknown) = BatchReader::open(stream, &plan(), batch_rows).unwrap();
        assert_eq!(unknown, ["x"]);
        let (mut rows, mut share) = (Vec::new(), 0);
        loop {
            match reader.next_chunk() {
                Ok(Some(Chunk::Columns { batch, bytes })) => {
                    assert_eq!(batch.schema().field(0).name(), "b");
                    rows.push(batch.num_rows());
                    share += bytes;
                }
                Ok(Some(Chunk::Text { .. })) => panic!("columns were expected"),
                Ok(None) => return (rows, Ok(share)),
                Err(error) => return (rows, Err(error)),
            }
        }
    }

    #[test]
    fn batches_are_cut_and_empty_ones_passed_over() {
        let batches = || vec![Ok(batch(0..5)), Ok(batch(0..0)), Ok(batch(5..7))];
        let (rows, bytes) = read(stream(batches()), 3);
        assert_eq!(rows, [3, 2, 2]);
        let (whole, as_many) = read(stream(batches()), 100);
        assert_eq!((whole, as_many.unwrap()), (vec![5, 2], bytes.unwrap()));
        assert_eq!(read(stream(Vec::new()), 3).0, [0; 0]);
    }

    #[test]
    fn a_stream_that_breaks_off_says_where_and_why() {
        let broken = || Err(ArrowError::ComputeError("no more".into()));
        let (rows, end) = read(stream(vec![Ok(batch(0..2)), broken()]), 10);
        assert_eq!(rows, [2]);
        let message = end.unwrap_err().to_string();
        assert!(message.contains("after record 2") && message.contains("no more"), "{message}");
    }

    #[test]
    fn a_column_that_is_there_twice_is_refused() {
        let columns: [(&str, ArrayRef); 2] =
            [("a", Arc::new(Int64Array::from(vec![1]))), ("a", Arc::new(Int64Array::from(vec![2])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let stream = Arc::new(Mutex::new(RecordBatchIterator::new([], batch.schema())));
        assert!(matches!(BatchReader::open(stream, &plan(), 1), Err(Error::Stream(_))));
    }
}

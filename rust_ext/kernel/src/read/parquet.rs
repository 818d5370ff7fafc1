//! Records of Parquet files.
//!
//! The decoder panics on some footers and pages that contradict themselves. Such a panic is a fault of the file, not of the
//! run, and is turned into one.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use ::parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    errors::ParquetError,
    file::reader::ChunkReader,
};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use super::{guarded, slices::Slices};
use crate::{
    chunk::Chunk,
    error::{Error, Result},
    plan::Plan,
};

/// Reads the plan's columns of a Parquet file.
pub struct ParquetReader {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    batch_rows: usize,
    /// What is left of the batch that was read last.
    rest: Slices,
    /// Length of the file, and how much of it was read.
    bytes: u64,
    bytes_read: u64,
    rows: u64,
    rows_read: u64,
}

impl ParquetReader {
    /// Open what is in a file called `path`, to be read in batches of at most `batch_rows` rows. Also the names of columns
    /// that the plan doesn't know.
    ///
    /// # Errors
    /// `Error::Format` when its footer can't be read or names a column twice.
    pub fn open(
        file: impl ChunkReader + 'static,
        path: PathBuf,
        plan: &Plan,
        batch_rows: usize,
    ) -> Result<(Self, Vec<String>)> {
        let bytes = file.len();
        let fault = |message: String| Error::Format { path: path.clone(), message };
        let builder = guarded(|| {
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
            let options = ArrowReaderOptions::new().with_schema(with_views(metadata.schema()));
            let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)?;
            Ok::<_, ParquetError>(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
        })
        .map_err(|error| fault(format!("not a whole Parquet file: {error}")))?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(fault(format!("column `{name}` is there twice")));
        }
        let is_known = |name: &String| plan.column(name).is_ok();
        let known = (0..names.len()).filter(|index| is_known(&names[*index]));
        let mask = ProjectionMask::roots(builder.parquet_schema(), known);
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        let builder = builder.with_projection(mask).with_batch_size(batch_rows);
        let batches = guarded(|| builder.build()).map_err(fault)?;
        let unknown = names.into_iter().filter(|name| !is_known(name)).collect();
        let rest = Slices::default();
        let reader = Self { path, batches, batch_rows, rest, bytes, bytes_read: 0, rows, rows_read: 0 };
        Ok((reader, unknown))
    }

    /// Bytes of the file that stand for the rows read; all of them at the end.
    pub fn bytes_passed(&self) -> u64 {
        if self.rows_read == self.rows { self.bytes } else { self.bytes_read }
    }

    /// The next rows.
    ///
    /// # Errors
    /// `Error::Format` when a page can't be read.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let batch = loop {
            if let Some(batch) = self.rest.next(self.batch_rows) {
                break batch;
            }
            let batch = guarded(|| self.batches.next().transpose()).map_err(|error| Error::Format {
                path: self.path.clone(),
                message: format!("after row {}: {error}", self.rows_read),
            })?;
            match batch {
                Some(batch) => self.rest.put(batch),
                None => return Ok(None),
            }
        };
        self.rows_read += batch.num_rows() as u64;
        let share = u128::from(self.bytes) * u128::from(self.rows_read) / u128::from(self.rows.max(1));
        let before = std::mem::replace(&mut self.bytes_read, u64::try_from(share).unwrap_or(self.bytes));
        Ok(Some(Chunk::Columns { batch, bytes: self.bytes_read.saturating_sub(before) }))
    }
}

/// The schema with texts as views: those of a dictionary are then in memory once, however many rows have them.
fn with_views(schema: &SchemaRef) -> SchemaRef {
    let viewed = |field: &FieldRef| {
        let data_type = match field.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            plain => plain,
        };
        let viewed = match data_type {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            _ => field.data_type().clone(),
        };
        field.as_ref().clone().with_data_type(viewed)
    };
    let fields: Vec<_> = schema.fields().iter().map(viewed).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::read::testing::plan;

    fn file() -> Vec<u8> {
        let columns: [(&str, ArrayRef); 3] = [
            ("x", Arc::new(Int64Array::from_iter_values(0..1000))),
            ("b", Arc::new(StringArray::from_iter_values((0..1000).map(|n| format!("b{n}"))))),
            ("y", Arc::new(Int64Array::from_iter_values(0..1000))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn read(bytes: &[u8], batch_rows: usize) -> Result<(usize, Vec<usize>, u64, Vec<String>)> {
        let file = bytes::Bytes::copy_from_slice(bytes);
        let (mut reader, unknown) = ParquetReader::open(file, "a.parquet".into(), &plan(), batch_rows)?;
        let (mut columns, mut rows, mut share) = (0, Vec::new(), 0);
        while let Some(chunk) = reader.next_chunk()? {
            let Chunk::Columns { batch, bytes } = chunk else { panic!("columns were expected") };
            columns = batch.num_columns();
            rows.push(batch.num_rows());
            share += bytes;
        }
        Ok((columns, rows, share, unknown))
    }

    #[test]
    fn the_plans_columns_come_in_batches_and_the_others_are_named() {
        let bytes = file();
        let (columns, rows, share, unknown) = read(&bytes, 300).unwrap();
        assert_eq!((columns, rows, share), (1, vec![300, 300, 300, 100], bytes.len() as u64));
        assert_eq!(unknown, ["x", "y"]);
    }

    #[test]
    fn a_file_that_is_cut_is_refused() {
        let bytes = file();
        for cut in [4, bytes.len() / 2, bytes.len() - 1] {
            assert!(matches!(read(&bytes[..cut], 300), Err(Error::Format { .. })));
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_are_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            let mut bytes = file();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read(&bytes, 300);
        }
    }
}

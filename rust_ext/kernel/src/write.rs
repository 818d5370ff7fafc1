//! Parquet files of accepted rows, one a partition, with row groups encoded in parallel.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Int64Array, StringArray, UInt32Array},
    compute::take,
    datatypes::SchemaRef,
    record_batch::RecordBatch,
};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    schema::RECORD_NO,
};

/// Some rows of one record batch, bound for one partition.
pub struct Part {
    /// The plan's columns.
    pub rows: RecordBatch,
    /// Which of the rows; `None` means all.
    pub selected: Option<UInt32Array>,
    /// The batch they came in.
    pub batch_id: Arc<str>,
    /// Each selected row's number in that batch.
    pub record_nos: Vec<i64>,
}

/// Rows of one row group, encoded.
pub struct RowGroup {
    columns: Vec<ArrowColumnChunk>,
    rows: usize,
}

/// How files are written, and the schema they have.
pub struct Layout {
    schema: SchemaRef,
    contract: Arc<str>,
    properties: Arc<WriterProperties>,
}

impl Layout {
    /// Files with the schema's columns, the last three of which are the provenance.
    pub fn new(schema: SchemaRef, contract: &str) -> Self {
        // Numbers that only count up are a few bytes a page as deltas; a dictionary would hold every one of them.
        let record_no = ColumnPath::from(RECORD_NO);
        let properties = writer_properties()
            .set_column_dictionary_enabled(record_no.clone(), false)
            .set_column_encoding(record_no, Encoding::DELTA_BINARY_PACKED)
            .build();
        Self { schema, contract: contract.into(), properties: Arc::new(properties) }
    }

    /// Encode a row group, its columns side by side on the current thread pool.
    ///
    /// # Errors
    /// `Error::Parquet` or `Error::Arrow` when a column can't be encoded.
    pub fn encode(&self, factory: &ArrowRowGroupWriterFactory, parts: &[Part]) -> Result<RowGroup> {
        let writers = factory.create_column_writers(0)?;
        let columns = writers
            .into_par_iter()
            .enumerate()
            .map(|(index, writer)| self.encode_column(index, writer, parts))
            .collect::<Result<_>>()?;
        Ok(RowGroup { columns, rows: parts.iter().map(|part| part.record_nos.len()).sum() })
    }

    fn encode_column(
        &self,
        index: usize,
        mut writer: ArrowColumnWriter,
        parts: &[Part],
    ) -> Result<ArrowColumnChunk> {
        let field = self.schema.field(index);
        for part in parts {
            for leaf in compute_leaves(field, &self.column(index, part)?)? {
                writer.write(&leaf)?;
            }
        }
        Ok(writer.close()?)
    }

    fn column(&self, index: usize, part: &Part) -> Result<ArrayRef> {
        let rows = part.record_nos.len();
        let repeated = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)));
        Ok(match index.checked_sub(part.rows.num_columns()) {
            None => match &part.selected {
                None => part.rows.column(index).clone(),
                Some(selected) => take(part.rows.column(index), selected, None)?,
            },
            Some(0) => repeated(&part.batch_id),
            Some(1) => Arc::new(Int64Array::from(part.record_nos.clone())),
            Some(_) => repeated(&self.contract),
        })
    }
}

/// Properties that all files share: zstd at its quickest level, statistics per column chunk.
pub fn writer_properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("dpipe ", env!("CARGO_PKG_VERSION")).to_owned())
}

/// A Parquet file being written. Dropped before it is finished, it removes itself.
pub struct TableFile {
    writer: SerializedFileWriter<NewFile>,
    factory: Arc<ArrowRowGroupWriterFactory>,
    rows: usize,
}

impl TableFile {
    /// Create a file at `path` and the folders above it.
    ///
    /// # Errors
    /// `Error::Io` when it can't be created.
    pub fn create(path: PathBuf, layout: &Layout) -> Result<Self> {
        let schema = ArrowSchemaConverter::new().convert(&layout.schema)?;
        let file = NewFile::create(path)?;
        let writer = SerializedFileWriter::new(file, schema.root_schema_ptr(), layout.properties.clone())?;
        let factory = Arc::new(ArrowRowGroupWriterFactory::new(&writer, layout.schema.clone()));
        Ok(Self { writer, factory, rows: 0 })
    }

    /// Makes the column writers of this file's row groups.
    pub fn factory(&self) -> Arc<ArrowRowGroupWriterFactory> {
        self.factory.clone()
    }

    /// Add an encoded row group.
    ///
    /// # Errors
    /// `Error::Parquet` when it can't be written.
    pub fn append(&mut self, group: RowGroup) -> Result<()> {
        let mut writer = self.writer.next_row_group()?;
        for column in group.columns {
            column.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        self.rows += group.rows;
        Ok(())
    }

    /// Write the footer and make the file durable.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when that fails.
    pub fn finish(self) -> Result<Finished> {
        let rows = self.rows;
        self.writer.into_inner()?.finish(rows)
    }
}

/// A file that is complete and durable, though nobody knows of it yet. Dropped without `keep`, it removes itself.
pub struct Finished {
    /// Where it is.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: usize,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    guard: RemoveOnDrop,
}

impl Finished {
    /// Leave the file in place for good.
    pub fn keep(&mut self) {
        self.guard.armed = false;
    }
}

struct RemoveOnDrop {
    path: PathBuf,
    armed: bool,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if self.armed {
            // Nothing refers to the file; if it can't be removed it is an orphan, as after a crash.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new file whose bytes are hashed as they are written.
pub struct NewFile {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    guard: RemoveOnDrop,
}

impl NewFile {
    /// Create a file that must not exist yet, and the folders above it.
    ///
    /// # Errors
    /// `Error::Io` when that fails.
    pub fn create(path: PathBuf) -> Result<Self> {
        create_folder(path.parent().unwrap_or(Path::new(".")))?;
        let file = File::create_new(&path).map_err(|error| Error::io(&path, error))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { file, hash: Sha256::new(), bytes: 0, guard: RemoveOnDrop { path, armed: true } })
    }

    /// Make the file and its place in its folder durable.
    ///
    /// # Errors
    /// `Error::Io` when that fails.
    pub fn finish(self, rows: usize) -> Result<Finished> {
        let path = self.guard.path.clone();
        let failed = |error| Error::io(&path, error);
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        if let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Finished { path, rows, bytes: self.bytes, sha256, guard: self.guard })
    }
}

/// Create a folder and those above it, each durable in the one that it is in.
fn create_folder(folder: &Path) -> Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    for parent in missing.iter().filter_map(|created| created.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| Error::io(parent, error))?;
    }
    Ok(())
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

//! Parquet files of accepted rows, one a partition, with row groups encoded in parallel.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, UInt32Array},
    compute::take,
    datatypes::{Field, SchemaRef},
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
    schema::types::{ColumnDescPtr, SchemaDescriptor},
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    encode::{self, EncodedChunk, Encoder},
    error::{Error, Result},
    profile::{self, ColumnProfile},
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

impl Part {
    /// How many rows are selected.
    pub fn row_count(&self) -> usize {
        self.record_nos.len()
    }
}

/// Rows of one row group, encoded.
pub struct RowGroup {
    columns: Vec<ColumnChunks>,
    /// What the values of the plan's columns are like, when that is asked for.
    profiles: Vec<Option<ColumnProfile>>,
    rows: usize,
}

/// A column's chunks: one, or for a nested column one for each of its leaves.
enum ColumnChunks {
    Encoded(Box<EncodedChunk>),
    Written(Vec<ArrowColumnChunk>),
}

/// The level of zstd that all pages are compressed with: its quickest.
pub const ZSTD_LEVEL: i32 = 1;

/// How files are written, and the schema they have.
pub struct Layout {
    schema: SchemaRef,
    /// The same as Parquet has it.
    parquet_schema: SchemaDescriptor,
    columns: Vec<LayoutColumn>,
    contract: Arc<str>,
    profiled: bool,
    properties: Arc<WriterProperties>,
    without_dictionary: Arc<WriterProperties>,
}

struct LayoutColumn {
    /// How it is encoded; `None` when the `parquet` crate does it.
    encoder: Option<Encoder>,
    leaves: Vec<ColumnDescPtr>,
}

impl Layout {
    /// Files with the schema's columns, the last three of which are the provenance; the others are `profiled`.
    ///
    /// # Errors
    /// `Error::Parquet` when Parquet has no such schema.
    pub fn new(schema: SchemaRef, contract: &str, profiled: bool) -> Result<Self> {
        let parquet_schema = ArrowSchemaConverter::new().convert(&schema)?;
        let column = |(index, field): (usize, &Arc<Field>)| {
            let is_of_column = |leaf: &usize| parquet_schema.get_column_root_idx(*leaf) == index;
            let of_column = (0..parquet_schema.num_columns()).filter(is_of_column);
            let leaves = of_column.map(|leaf| parquet_schema.column(leaf)).collect();
            LayoutColumn { encoder: Encoder::of(field.data_type()), leaves }
        };
        let columns: Vec<_> = schema.fields().iter().enumerate().map(column).collect();
        let mut without_dictionary = writer_properties().set_dictionary_enabled(false);
        for column in &columns {
            if matches!(column.encoder, Some(Encoder::Int32 | Encoder::Int64)) {
                let path = column.leaves[0].path().clone();
                without_dictionary =
                    without_dictionary.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
        }
        Ok(Self {
            schema,
            parquet_schema,
            columns,
            contract: contract.into(),
            profiled,
            properties: Arc::new(writer_properties().build()),
            without_dictionary: Arc::new(without_dictionary.build()),
        })
    }

    /// The schema of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The contract that the rows were checked by.
    pub fn contract(&self) -> &str {
        &self.contract
    }

    /// Profile a row group without encoding it, its columns side by side on the current thread pool; nothing when the
    /// layout isn't profiled.
    ///
    /// # Errors
    /// `Error::Internal` when a column isn't of its type.
    pub fn profile(&self, parts: &[Part]) -> Result<Vec<Option<ColumnProfile>>> {
        if !self.profiled {
            return Ok(Vec::new());
        }
        let profile = |index: usize| match self.columns[index].encoder {
            Some(encoder) => encoder.profile(parts, index).map(Some),
            None => Ok(Some(counted(index, parts))),
        };
        (0..self.width()).into_par_iter().map(profile).collect()
    }

    /// How many columns the plan has.
    fn width(&self) -> usize {
        self.schema.fields().len() - 3
    }

    /// Encode a row group, its columns side by side on the current thread pool.
    ///
    /// # Errors
    /// `Error::Parquet` or `Error::Arrow` when a column can't be encoded.
    pub fn encode(&self, factory: &ArrowRowGroupWriterFactory, parts: &[Part]) -> Result<RowGroup> {
        // Writers come for all columns at once, and most tables need none: every one has its buffers and its compressor.
        let needs_writers = self.columns.iter().any(|column| column.encoder.is_none());
        let writers = if needs_writers { factory.create_column_writers(0)? } else { Vec::new() };
        let mut writers = writers.into_iter();
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| (column, writers.by_ref().take(column.leaves.len()).collect()))
            .collect();
        let columns: Vec<_> = columns
            .into_par_iter()
            .enumerate()
            .map(|(index, (column, writers))| self.encode_column(index, column, writers, parts))
            .collect::<Result<_>>()?;
        let (columns, profiles) = columns.into_iter().unzip();
        Ok(RowGroup { columns, profiles, rows: parts.iter().map(Part::row_count).sum() })
    }

    fn encode_column(
        &self,
        index: usize,
        column: &LayoutColumn,
        writers: Vec<ArrowColumnWriter>,
        parts: &[Part],
    ) -> Result<(ColumnChunks, Option<ColumnProfile>)> {
        let leaf = &column.leaves[0];
        let chunk = match (index.checked_sub(self.width()), column.encoder) {
            (Some(0), _) => {
                let stretches: Vec<_> =
                    parts.iter().map(|part| (&*part.batch_id, part.row_count())).collect();
                encode::repeated(leaf, &stretches)?
            }
            (Some(1), _) => {
                let record_nos: Vec<i64> =
                    parts.iter().flat_map(|part| part.record_nos.iter().copied()).collect();
                encode::counting(leaf, &record_nos, &self.without_dictionary)?
            }
            (Some(_), _) => {
                let rows = parts.iter().map(Part::row_count).sum();
                encode::repeated(leaf, &[(&self.contract, rows)])?
            }
            (None, Some(encoder)) => {
                let (chunk, profile) =
                    encoder.encode(leaf, parts, index, &self.without_dictionary, self.profiled)?;
                return Ok((ColumnChunks::Encoded(Box::new(chunk)), profile));
            }
            (None, None) => {
                let profile = self.profiled.then(|| counted(index, parts));
                return Ok((self.write_column(index, writers, parts)?, profile));
            }
        };
        Ok((ColumnChunks::Encoded(Box::new(chunk)), None))
    }

    fn write_column(
        &self,
        index: usize,
        mut writers: Vec<ArrowColumnWriter>,
        parts: &[Part],
    ) -> Result<ColumnChunks> {
        for part in parts {
            let rows = match &part.selected {
                None => part.rows.column(index).clone(),
                Some(selected) => take(part.rows.column(index), selected, None)?,
            };
            for (writer, leaf) in writers.iter_mut().zip(compute_leaves(self.schema.field(index), &rows)?) {
                writer.write(&leaf)?;
            }
        }
        let chunks = writers.into_iter().map(ArrowColumnWriter::close);
        Ok(ColumnChunks::Written(chunks.collect::<std::result::Result<_, _>>()?))
    }
}

/// Of a column that is encoded elsewhere only the rows are counted.
fn counted(index: usize, parts: &[Part]) -> ColumnProfile {
    let nulls = parts.iter().map(|part| match &part.selected {
        None => part.rows.column(index).logical_null_count(),
        Some(selected) => {
            let nulls = part.rows.column(index).logical_nulls();
            let is_null = |row: &&u32| nulls.as_ref().is_some_and(|nulls| nulls.is_null(**row as usize));
            selected.values().iter().filter(is_null).count()
        }
    });
    let (rows, nulls): (usize, usize) = (parts.iter().map(Part::row_count).sum(), nulls.sum());
    ColumnProfile::of_rows((rows - nulls) as u64, nulls)
}

/// Properties that all files share: zstd at its quickest level, statistics per column chunk.
pub fn writer_properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).expect("a level of zstd")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("dpipe ", env!("CARGO_PKG_VERSION")).to_owned())
}

/// A Parquet file being written. Dropped before it is finished, it removes itself.
pub struct TableFile {
    writer: SerializedFileWriter<NewFile>,
    factory: Arc<ArrowRowGroupWriterFactory>,
    rows: usize,
    profiles: Vec<Option<ColumnProfile>>,
}

impl TableFile {
    /// Create a file at `path` and the folders above it.
    ///
    /// # Errors
    /// `Error::Io` when it can't be created.
    pub fn create(path: PathBuf, layout: &Layout) -> Result<Self> {
        let file = NewFile::create(path)?;
        let schema = layout.parquet_schema.root_schema_ptr();
        let writer = SerializedFileWriter::new(file, schema, layout.properties.clone())?;
        let factory = Arc::new(ArrowRowGroupWriterFactory::new(&writer, layout.schema.clone()));
        Ok(Self { writer, factory, rows: 0, profiles: Vec::new() })
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
            match column {
                ColumnChunks::Encoded(chunk) => writer.append_column(&chunk.bytes, chunk.close)?,
                ColumnChunks::Written(chunks) => {
                    for chunk in chunks {
                        chunk.append_to_row_group(&mut writer)?;
                    }
                }
            }
        }
        writer.close()?;
        self.rows += group.rows;
        profile::merge_into(&mut self.profiles, &group.profiles);
        Ok(())
    }

    /// Write the footer and make the file durable.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when that fails.
    pub fn finish(self) -> Result<(Finished, Vec<Option<ColumnProfile>>)> {
        Ok((self.writer.into_inner()?.finish(self.rows)?, self.profiles))
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

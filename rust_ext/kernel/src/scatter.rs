//! Accepted rows gathered by partition until there are enough for a row group, encoded on the pool, appended in order: to
//! files, or to what stays in memory.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::record_batch::RecordBatch;
use rayon::prelude::*;
use uuid::Uuid;

use crate::{
    error::Result,
    job::Job,
    kept::KeptRows,
    outcome::{FileKind, FileOutcome},
    partition::{PartitionKey, PartitionValue},
    plan::Plan,
    profile::{self, ColumnProfile},
    run::{Destination, Options},
    schema,
    write::{Finished, Layout, Part, TableFile},
};

/// Spreads rows over one sheet a partition.
pub struct Scatter {
    target: Arc<Target>,
    partitions: Vec<Partition>,
    /// The partition whose row group is being written, while rows go on coming.
    writing: Option<(usize, Job<Sheet>)>,
    by_key: HashMap<PartitionKey, usize>,
    group_rows: usize,
    most_held_bytes: usize,
    held_bytes: usize,
    done: Scattered,
}

/// What came of all rows.
#[derive(Default)]
pub struct Scattered {
    /// The files with their partitions.
    pub files: Vec<(PartitionKey, Finished)>,
    /// The batches that stay in memory.
    pub batches: Vec<RecordBatch>,
    /// What the values of each column of the schema are like; empty when that wasn't asked for.
    pub profiles: Vec<Option<ColumnProfile>>,
}

struct Partition {
    key: PartitionKey,
    held: Vec<Part>,
    held_rows: usize,
    sheet: Option<Sheet>,
}

/// How sheets are made.
struct Target {
    layout: Layout,
    destination: Destination,
    /// Of the partition's fields.
    names: Vec<String>,
}

/// What a partition's row groups are appended to.
enum Sheet {
    File(Box<TableFile>),
    Memory(KeptRows),
}

impl Scatter {
    /// Rows to the options' destination, where files are in one folder a partition; sheets are completed whenever chunks of
    /// `held_bytes` are held.
    ///
    /// # Errors
    /// `Error::Parquet` when Parquet has no schema for the plan.
    pub fn new(plan: &Plan, options: &Options) -> Result<Self> {
        let layout = Layout::new(schema::accepted(plan), &plan.contract, options.profile)?;
        let destination = options.destination.clone();
        let names = plan.partition.iter().map(|field| field.name.clone()).collect();
        Ok(Self {
            target: Arc::new(Target { layout, destination, names }),
            partitions: Vec::new(),
            writing: None,
            by_key: HashMap::new(),
            group_rows: options.group_rows,
            most_held_bytes: options.held_bytes,
            held_bytes: 0,
            done: Scattered::default(),
        })
    }

    /// The index of a partition, and whether it is new.
    pub fn partition(&mut self, key: &PartitionKey) -> (usize, bool) {
        if let Some(&known) = self.by_key.get(key) {
            return (known, false);
        }
        let index = self.partitions.len();
        self.partitions.push(Partition { key: key.clone(), held: Vec::new(), held_rows: 0, sheet: None });
        self.by_key.insert(key.clone(), index);
        (index, true)
    }

    /// Add rows to a partition; a row group that is full is encoded on `pool` and written while rows go on coming. One at a time
    /// is, so that memory has room for no more than that.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when a file can't be written.
    pub fn push(&mut self, partition: usize, part: Part, pool: &rayon::ThreadPool) -> Result<()> {
        let held = &mut self.partitions[partition];
        held.held_rows += part.row_count();
        held.held.push(part);
        if held.held_rows < self.group_rows {
            return Ok(());
        }
        self.settle()?;
        let (target, group) = (self.target.clone(), self.partitions[partition].take_held());
        self.writing = Some((partition, Job::begin(pool, move || group.write(&target))));
        Ok(())
    }

    /// Wait for the row group that is being written.
    fn settle(&mut self) -> Result<()> {
        if let Some((partition, job)) = self.writing.take() {
            self.partitions[partition].sheet = Some(job.wait()?);
        }
        Ok(())
    }

    /// Note that a chunk's rows were pushed. However few rows a partition takes of it, the chunk is held whole, so it is
    /// chunks that are counted; and a file held open for each of many partitions would be too many.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when a file can't be written.
    pub fn chunk_pushed(&mut self, bytes: usize, pool: &rayon::ThreadPool) -> Result<()> {
        self.held_bytes += bytes;
        if self.held_bytes >= self.most_held_bytes {
            self.complete(pool)?;
            self.held_bytes = 0;
        }
        Ok(())
    }

    /// Write what is held and complete every sheet.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when a file can't be written.
    pub fn finish(mut self, pool: &rayon::ThreadPool) -> Result<Scattered> {
        self.complete(pool)?;
        Ok(self.done)
    }

    /// Write what is held, partitions side by side, and complete every sheet.
    fn complete(&mut self, pool: &rayon::ThreadPool) -> Result<()> {
        self.settle()?;
        let target = &self.target;
        let complete = |partition: &mut Partition| {
            if partition.held_rows > 0 {
                partition.sheet = Some(partition.take_held().write(target)?);
            }
            partition.sheet.take().map(|sheet| sheet.finish(&partition.key)).transpose()
        };
        let partitions = &mut self.partitions;
        let finished: Result<Vec<_>> = pool.install(|| partitions.par_iter_mut().map(complete).collect());
        for sheet in finished?.into_iter().flatten() {
            profile::merge_into(&mut self.done.profiles, &sheet.profiles);
            self.done.files.extend(sheet.files);
            self.done.batches.extend(sheet.batches);
        }
        Ok(())
    }
}

impl Target {
    fn sheet(&self, key: &PartitionKey) -> Result<Sheet> {
        Ok(match &self.destination {
            Destination::Folders { data, .. } => {
                Sheet::File(Box::new(TableFile::create(self.path(data, key), &self.layout)?))
            }
            Destination::Memory => Sheet::Memory(KeptRows::new(true)),
            Destination::Nowhere => Sheet::Memory(KeptRows::new(false)),
        })
    }

    fn path(&self, folder: &Path, key: &PartitionKey) -> PathBuf {
        let mut path = folder.to_owned();
        path.extend(self.names.iter().zip(key).map(|(name, value)| format!("{name}={}", path_text(value))));
        path.join(format!("{}.parquet", Uuid::new_v4()))
    }
}

/// Partition values by their fields' names.
pub fn named(names: &[String], key: &PartitionKey) -> BTreeMap<String, PartitionValue> {
    names.iter().cloned().zip(key.iter().cloned()).collect()
}

impl Partition {
    /// What is held, and what it is to be appended to.
    fn take_held(&mut self) -> Group {
        self.held_rows = 0;
        Group { key: self.key.clone(), parts: std::mem::take(&mut self.held), sheet: self.sheet.take() }
    }
}

/// Rows of one partition that are to be written.
struct Group {
    key: PartitionKey,
    parts: Vec<Part>,
    /// What there is of the partition so far.
    sheet: Option<Sheet>,
}

impl Group {
    /// Append the rows, on threads of a pool; the sheet that they are in.
    fn write(self, target: &Target) -> Result<Sheet> {
        let mut sheet = match self.sheet {
            Some(sheet) => sheet,
            None => target.sheet(&self.key)?,
        };
        sheet.append(&target.layout, &self.parts)?;
        Ok(sheet)
    }
}

impl Sheet {
    fn append(&mut self, layout: &Layout, parts: &[Part]) -> Result<()> {
        match self {
            Self::File(file) => file.append(layout.encode(&file.factory(), parts)?),
            Self::Memory(rows) => rows.append(layout, parts),
        }
    }

    fn finish(self, key: &PartitionKey) -> Result<Scattered> {
        Ok(match self {
            Self::File(file) => {
                let (file, profiles) = file.finish()?;
                Scattered { files: vec![(key.clone(), file)], profiles, ..Scattered::default() }
            }
            Self::Memory(rows) => {
                let (batches, profiles) = rows.finish();
                Scattered { batches, profiles, ..Scattered::default() }
            }
        })
    }
}

/// A report of a file that stays.
pub fn report(
    mut file: Finished,
    kind: FileKind,
    partition: BTreeMap<String, PartitionValue>,
) -> FileOutcome {
    file.keep();
    FileOutcome {
        path: file.path.to_string_lossy().into_owned(),
        kind,
        partition,
        rows: file.rows,
        bytes: file.bytes,
        sha256: std::mem::take(&mut file.sha256),
    }
}

/// Where the quarantine's file of a run goes.
pub fn quarantine_path(folder: &Path) -> PathBuf {
    folder.join(format!("{}.parquet", Uuid::new_v4()))
}

/// A shared batch id.
pub type BatchId = Arc<str>;

/// A value as a folder's name; anything but letters, digits, `-` and `_` is written as `%` and two hex digits.
fn path_text(value: &PartitionValue) -> String {
    match value {
        PartitionValue::Null => "null".to_owned(),
        PartitionValue::Boolean(value) => value.to_string(),
        PartitionValue::Integer(value) => value.to_string(),
        PartitionValue::Text(text) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            // A name longer than file systems take is cut; the file's own name keeps paths apart.
            text.bytes()
                .take(60)
                .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_partition_value_stays_in_its_folder() {
        let hostile = PartitionValue::Text("../../etc/passwd\0".into());
        assert_eq!(path_text(&hostile), "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd%00");
    }
}

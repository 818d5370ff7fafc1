//! Accepted rows gathered by partition until there are enough for a row group, encoded on the pool, appended in order.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use uuid::Uuid;

use crate::{
    error::Result,
    outcome::{FileKind, FileOutcome},
    partition::{PartitionKey, PartitionValue},
    plan::Plan,
    profile::{self, ColumnProfile},
    schema,
    write::{Finished, Layout, Part, RowGroup, TableFile},
};

/// Rows of a full row group.
const GROUP_ROWS: usize = 1 << 18;

/// Spreads rows over one file a partition.
pub struct Scatter {
    layout: Layout,
    folder: PathBuf,
    names: Vec<String>,
    partitions: Vec<Partition>,
    by_key: HashMap<PartitionKey, usize>,
    most_held_bytes: usize,
    held_bytes: usize,
    finished: Vec<(PartitionKey, Finished)>,
    profiles: Vec<Option<ColumnProfile>>,
}

/// What came of all rows.
pub struct Scattered {
    /// The files with their partitions.
    pub files: Vec<(PartitionKey, Finished)>,
    /// What the values of each column of the schema are like; empty when that wasn't asked for.
    pub profiles: Vec<Option<ColumnProfile>>,
}

struct Partition {
    key: PartitionKey,
    held: Vec<Part>,
    held_rows: usize,
    file: Option<TableFile>,
}

impl Scatter {
    /// Files below `folder`, in one folder a partition, completed whenever chunks of `most_held_bytes` are held.
    ///
    /// # Errors
    /// `Error::Parquet` when Parquet has no schema for the plan.
    pub fn new(plan: &Plan, folder: PathBuf, most_held_bytes: usize, profiled: bool) -> Result<Self> {
        Ok(Self {
            layout: Layout::new(schema::accepted(plan), &plan.contract, profiled)?,
            folder,
            names: plan.partition.iter().map(|field| field.name.clone()).collect(),
            partitions: Vec::new(),
            by_key: HashMap::new(),
            most_held_bytes,
            held_bytes: 0,
            finished: Vec::new(),
            profiles: Vec::new(),
        })
    }

    /// The index of a partition, and whether it is new.
    pub fn partition(&mut self, key: &PartitionKey) -> (usize, bool) {
        if let Some(&known) = self.by_key.get(key) {
            return (known, false);
        }
        let index = self.partitions.len();
        self.partitions.push(Partition { key: key.clone(), held: Vec::new(), held_rows: 0, file: None });
        self.by_key.insert(key.clone(), index);
        (index, true)
    }

    /// Add rows to a partition; a row group that is full is encoded on `pool` and written.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when a file can't be written.
    pub fn push(&mut self, partition: usize, part: Part, pool: &rayon::ThreadPool) -> Result<()> {
        let held = &mut self.partitions[partition];
        held.held_rows += part.row_count();
        held.held.push(part);
        if held.held_rows < GROUP_ROWS {
            return Ok(());
        }
        let path = self.path(&self.partitions[partition].key);
        let (held, layout) = (&mut self.partitions[partition], &self.layout);
        pool.install(|| held.write_held(path, layout))
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

    /// Write what is held and complete every file; the files, and the profiles of the schema's columns over all of them.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when a file can't be written.
    pub fn finish(mut self, pool: &rayon::ThreadPool) -> Result<Scattered> {
        self.complete(pool)?;
        Ok(Scattered { files: self.finished, profiles: self.profiles })
    }

    /// Write what is held, partitions side by side, and complete every file.
    fn complete(&mut self, pool: &rayon::ThreadPool) -> Result<()> {
        let paths: Vec<PathBuf> = self.partitions.iter().map(|partition| self.path(&partition.key)).collect();
        let layout = &self.layout;
        let complete = |(partition, path): (&mut Partition, PathBuf)| {
            if partition.held_rows > 0 {
                partition.write_held(path, layout)?;
            }
            let finished = partition.file.take().map(TableFile::finish).transpose()?;
            Ok(finished.map(|(file, profiles)| (partition.key.clone(), file, profiles)))
        };
        let partitions = &mut self.partitions;
        let finished: Result<Vec<_>> =
            pool.install(|| partitions.par_iter_mut().zip(paths).map(complete).collect());
        for (key, file, profiles) in finished?.into_iter().flatten() {
            profile::merge_into(&mut self.profiles, &profiles);
            self.finished.push((key, file));
        }
        Ok(())
    }

    fn path(&self, key: &PartitionKey) -> PathBuf {
        let mut path = self.folder.clone();
        path.extend(self.names.iter().zip(key).map(|(name, value)| format!("{name}={}", path_text(value))));
        path.join(format!("{}.parquet", Uuid::new_v4()))
    }
}

/// Partition values by their fields' names.
pub fn named(names: &[String], key: &PartitionKey) -> BTreeMap<String, PartitionValue> {
    names.iter().cloned().zip(key.iter().cloned()).collect()
}

impl Partition {
    fn write_held(&mut self, path: PathBuf, layout: &Layout) -> Result<()> {
        let parts = std::mem::take(&mut self.held);
        self.held_rows = 0;
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(TableFile::create(path, layout)?),
        };
        let group: RowGroup = layout.encode(&file.factory(), &parts)?;
        file.append(group)
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

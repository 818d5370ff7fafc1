//! What a run reports: every record counted, every file named.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use serde::Serialize;

use crate::{partition::PartitionValue, profile::NamedProfile};

/// A run's report.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// One for each source, in the order given. An upsert ends before the first source with a record that takes the place
    /// of another source's row, which is to be in the table first: the sources that are left are for the next run.
    pub batches: Vec<BatchOutcome>,
    /// The files that were written, durable but not yet known to anybody.
    pub files: Vec<FileOutcome>,
    /// What the accepted values of each column are like; empty when that wasn't asked for, or nothing was accepted.
    pub profile: Vec<NamedProfile>,
    /// Accepted rows in the order of their records, of the schema [`accepted`](crate::schema::accepted), when they stay in
    /// memory.
    #[serde(skip)]
    pub accepted: Vec<RecordBatch>,
    /// Rejected and duplicate records, of the schema [`quarantine`](crate::schema::quarantine), when they stay in memory.
    #[serde(skip)]
    pub quarantined: Vec<RecordBatch>,
}

/// What became of one batch.
#[derive(Debug, Default, Serialize)]
pub struct BatchOutcome {
    /// The batch.
    pub batch_id: String,
    /// The format that was read.
    pub format: &'static str,
    /// The compression that was read.
    pub compression: &'static str,
    /// Records counted; the sum of the three below.
    pub records_in: u64,
    /// Records that became rows.
    pub accepted: u64,
    /// Records that broke a rule.
    pub rejected: u64,
    /// Records whose key was there.
    pub duplicate: u64,
    /// Bytes of the decompressed source, or of the columnar file; those of its records alone when it breaks off.
    pub bytes_in: u64,
    /// Records by column and rule that they broke; a record with several violations counts for each.
    pub violations: Vec<ViolationCount>,
    /// Rows of the table that its accepted records take the place of: numbers of records by their batch.
    pub superseded: BTreeMap<String, Vec<u64>>,
    /// Fields that the plan doesn't know, with the number of records that have them.
    pub unknown_fields: BTreeMap<String, u64>,
}

/// How many records broke one rule of one column.
#[derive(Debug, Serialize)]
pub struct ViolationCount {
    /// The column; `None` when the record as a whole is broken.
    pub column: Option<String>,
    /// The rule.
    pub rule: &'static str,
    /// Records that broke it.
    pub records: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Accepted rows.
    Accepted,
    /// Rejected and duplicate records.
    Quarantine,
}

/// A file that was written.
#[derive(Debug, Serialize)]
pub struct FileOutcome {
    /// Where it is.
    pub path: String,
    /// What it holds.
    pub kind: FileKind,
    /// Values of the partition's fields by name.
    pub partition: BTreeMap<String, PartitionValue>,
    /// Rows in it.
    pub rows: usize,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

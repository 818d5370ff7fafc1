//! A run: sources in, files or record batches and counts out.
//!
//! Chunks are parsed in parallel and taken up in their order, so that which record wins a key, the order of rows and
//! every number are the same for any number of threads and any size of record batch.

use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf, sync::Arc, thread};

use arrow::record_batch::RecordBatch;

use crate::{
    claims::Claims,
    error::{Error, Result},
    feed::Feed,
    job::Job,
    outcome::{FileKind, Outcome},
    parse::Compiled,
    partition::PartitionValue,
    plan::Plan,
    profile::NamedProfile,
    quarantine::QuarantineWriter,
    read::{Content, Source},
    scatter::{self, Scatter},
    sequence::{Finished, Sequencer},
    supply::Supply,
    upsert::Losers,
};

/// Where accepted rows and quarantined records go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Into Parquet files, by partition.
    Folders {
        /// Folder of accepted files.
        data: PathBuf,
        /// Folder of quarantine files.
        quarantine: PathBuf,
    },
    /// Into record batches of the outcome. The rows are one table, whatever the plan's partition.
    Memory,
    /// Nowhere: they are counted and profiled.
    Nowhere,
}

impl Destination {
    /// Where keys go that memory has no room for.
    fn spill_folder(&self) -> PathBuf {
        match self {
            Self::Folders { data, .. } => data.clone(),
            Self::Memory | Self::Nowhere => std::env::temp_dir(),
        }
    }
}

/// How a run is carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where rows and records go.
    pub destination: Destination,
    /// Records parsed at a time by a thread, at most.
    pub batch_size: usize,
    /// Threads; 0 means one a core.
    pub threads: usize,
    /// Bytes parsed at a time by a thread, about.
    pub chunk_bytes: usize,
    /// Bytes of rows held for the partitions' files, about; past them the files are completed and others begun.
    pub held_bytes: usize,
    /// Rows of a full row group, about: a chunk isn't divided.
    pub group_rows: usize,
    /// Bytes of keys and of unique columns' values held in memory, about; past them they are moved to files.
    pub key_bytes: usize,
    /// Whether the accepted values are profiled.
    pub profile: bool,
}

impl Options {
    /// Files below the two folders; everything else as is usual.
    pub fn new(data_dir: impl Into<PathBuf>, quarantine_dir: impl Into<PathBuf>) -> Self {
        Self::to(Destination::Folders { data: data_dir.into(), quarantine: quarantine_dir.into() })
    }

    /// Rows and records to that destination; everything else as is usual.
    pub fn to(destination: Destination) -> Self {
        Self {
            destination,
            batch_size: 100_000,
            threads: 0,
            chunk_bytes: 2 << 20,
            held_bytes: 512 << 20,
            group_rows: 1 << 17,
            key_bytes: 1 << 30,
            profile: true,
        }
    }
}

/// What a run asks of its caller; by default one with a new table that it doesn't watch.
pub trait Host {
    /// Hand over the rows that a partition of the table already holds: the plan's columns, then batch id and record
    /// number. Called once for each partition that is touched, and only when the plan has a key.
    ///
    /// # Errors
    /// `Error::Existing` when they can't be read.
    fn existing(
        &mut self,
        _partition: &BTreeMap<String, PartitionValue>,
        _rows: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    /// Hand over the values that these columns have in all rows of the table, whatever their partition, then batch id and
    /// record number. Called once, and only when the plan has unique columns, which these are.
    ///
    /// # Errors
    /// `Error::Existing` when they can't be read.
    fn existing_values(
        &mut self,
        _columns: &[String],
        _rows: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    /// Take note of the records and bytes done so far.
    ///
    /// # Errors
    /// `Error::Interrupted` to stop the run.
    fn progress(&mut self, _records: u64, _bytes: u64) -> Result<()> {
        Ok(())
    }
}

/// A host for a new table that nobody watches.
#[derive(Debug, Default, Clone, Copy)]
pub struct Alone;

impl Host for Alone {}

/// Read the sources in their order and write what the plan makes of them. When the run fails, no file is left.
///
/// ```
/// use dpipe_kernel::{plan::Plan, read::Source, run::{Alone, Destination, Options, run}};
/// let plan = Plan::from_json(r#"{"dataset": "d", "contract": "c", "columns": [
///     {"name": "a", "field_id": 1, "type": "int32"}]}"#)?;
/// let source = Source::of("lines", b"{\"a\": 1}\n{\"a\": \"x\"}\n".as_slice());
/// let outcome = run(&plan, &[source], &Options::to(Destination::Memory), &mut Alone)?;
/// assert_eq!((outcome.batches[0].accepted, outcome.batches[0].rejected), (1, 1));
/// assert_eq!((outcome.accepted[0].num_rows(), outcome.quarantined[0].num_rows()), (1, 1));
/// # Ok::<(), dpipe_kernel::error::Error>(())
/// ```
///
/// # Errors
/// Everything of [`Error`]. Bad records and unreadable sources are no errors: they are in the quarantine.
pub fn run(plan: &Plan, sources: &[Source], options: &Options, host: &mut dyn Host) -> Result<Outcome> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|index| format!("dpipe-{index}"))
        .build()
        .map_err(|error| Error::Internal(format!("no thread pool: {error}")))?;
    let mut plan = plan.clone();
    if !matches!(options.destination, Destination::Folders { .. }) {
        plan.partition.clear();
    }
    let compiled = Arc::new(Compiled::new(plan.clone())?);
    let mut losers = Arc::new(Losers::new());
    let mut sources = sources;
    loop {
        match pass(&compiled, sources, options, host, &pool, losers.clone())? {
            Pass::Complete(outcome) => return Ok(*outcome),
            _ if !losers.is_empty() => {
                return Err(Error::Internal("losers of a second pass".into()));
            }
            Pass::EndsBefore(source) => sources = &sources[..source],
            Pass::Again(found) => losers = Arc::new(found),
        }
        if sources.iter().any(|source| matches!(source.content, Content::Stream(_))) {
            let again =
                "records replace others of the same stream, which can't be read again: hand over a table";
            return Err(Error::Stream(again.into()));
        }
    }
}

/// What a pass over the sources comes to. Of one that isn't complete what was written is gone again.
enum Pass {
    Complete(Box<Outcome>),
    /// Records that were kept lose their key to later ones: all losers.
    Again(Losers),
    /// A record of that source takes the place of one of a source before it.
    EndsBefore(usize),
}

fn pass(
    compiled: &Arc<Compiled>,
    sources: &[Source],
    options: &Options,
    host: &mut dyn Host,
    pool: &rayon::ThreadPool,
    losers: Arc<Losers>,
) -> Result<Pass> {
    let plan = &compiled.plan;
    let scatter = Scatter::new(plan, options)?;
    let quarantine = QuarantineWriter::new(plan, &options.destination);
    let folder = options.destination.spill_folder();
    let claims = Claims::new(compiled, sources.len(), losers, options.key_bytes, folder);
    let mut sequencer = Sequencer::new(compiled.clone(), sources, claims, scatter, quarantine);
    let feed = Feed::new(sources, plan, options.chunk_bytes, options.batch_size);
    // A stream is a program of the caller's, which is run on the caller's thread; files are read where they are parsed.
    let reads_here = sources.iter().any(|source| matches!(source.content, Content::Stream(_)));
    let supply = Supply::new(feed, reads_here);
    let ended = supply.each_in_order(compiled, pool, |task, parsed| {
        sequencer.source(task.source, &task.facts);
        sequencer.take(task.source, &task.chunk, parsed, pool, host)?;
        let (records, bytes) = sequencer.done();
        host.progress(records, bytes)?;
        Ok(sequencer.ends_before().map_or(ControlFlow::Continue(()), ControlFlow::Break))
    })?;
    if let ControlFlow::Break(source) = ended {
        return Ok(Pass::EndsBefore(source));
    }
    for (source, facts) in supply.into_feed().facts() {
        sequencer.source(source, facts);
    }
    match sequencer.finish() {
        Ok(finished) => Ok(Pass::Complete(Box::new(complete(plan, finished, pool)?))),
        Err(losers) => Ok(Pass::Again(losers)),
    }
}

fn complete(plan: &Plan, finished: Finished, pool: &rayon::ThreadPool) -> Result<Outcome> {
    let names = finished.partition_names;
    let quarantine = finished.quarantine;
    let quarantined = Job::begin(pool, || quarantine.finish());
    let (scatter, claims) = (finished.scatter, finished.claims);
    let accepted = thread::scope(|scope| {
        // Where no thread is to be had they are let go of here.
        let _ = thread::Builder::new().spawn_scoped(scope, move || drop(claims));
        scatter.finish(pool)
    })?;
    let quarantined = quarantined.wait()?;
    let (accepted_batches, quarantined_batches) = (accepted.batches, quarantined.batches);
    // Every file is complete; from here on nothing fails, and none of them is removed again.
    let mut files: Vec<_> = accepted
        .files
        .into_iter()
        .map(|(key, file)| scatter::report(file, FileKind::Accepted, scatter::named(&names, &key)))
        .collect();
    files.extend(quarantined.file.map(|file| scatter::report(file, FileKind::Quarantine, BTreeMap::new())));
    let profiled = plan.columns.iter().zip(accepted.profiles);
    let profiles =
        profiled.filter_map(|(column, profile)| Some(NamedProfile::new(&column.name, column.kind, profile?)));
    Ok(Outcome {
        batches: finished.batches,
        files,
        profile: profiles.collect(),
        accepted: accepted_batches,
        quarantined: quarantined_batches,
    })
}

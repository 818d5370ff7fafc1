//! Parsed chunks, taken up in their order: duplicates found, records counted, rows and rejects sent on their way.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arrow::{
    array::{Array, Int64Array, StringArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
    util::display::FormatOptions,
};

use crate::{
    chunk::Chunk,
    dedupe::{KeyIndex, Places, RecordPlace, Winner},
    error::{Error, Result},
    feed::SourceFacts,
    numbering::Numbering,
    outcome::{BatchOutcome, ViolationCount},
    parse::{Compiled, Parsed, Place, Reject, count_name},
    plan::{Plan, WriteMode},
    quarantine::{BytePlace, Entry, QuarantineWriter, Reason},
    read::{Source, columns},
    run::Host,
    scatter::{BatchId, Scatter, named},
    schema,
    split::split,
    upsert::{Contest, Losers},
};

/// Takes up chunks in the order of the sources.
pub struct Sequencer {
    compiled: Arc<Compiled>,
    /// The plan's columns as the table may hold them: rules and what is required may have been others.
    columns: SchemaRef,
    batches: Vec<Batch>,
    /// The run's batches, then those of existing rows.
    batch_ids: Vec<BatchId>,
    existing_ids: BTreeMap<String, u32>,
    index: KeyIndex,
    scatter: Scatter,
    quarantine: QuarantineWriter,
    partition_names: Vec<String>,
    /// Records of which it is known that others have their key.
    losers: Arc<Losers>,
    contest: Contest,
    /// The first source with a record that takes the place of another source's.
    ends_before: Option<usize>,
}

/// What a run comes to.
pub struct Finished {
    /// The counts of each batch.
    pub batches: Vec<BatchOutcome>,
    /// The writer of rows.
    pub scatter: Scatter,
    /// The writer of other records.
    pub quarantine: QuarantineWriter,
    /// Names of the partition's fields.
    pub partition_names: Vec<String>,
}

#[derive(Default)]
struct Batch {
    outcome: BatchOutcome,
    violations: BTreeMap<(Option<usize>, &'static str), u64>,
    facts: Option<SourceFacts>,
    /// The records' numbers, when they aren't counted from 1.
    record_nos: Option<Arc<[u64]>>,
    /// Batches whose rows its records don't supersede.
    newer_batches: HashSet<String>,
    /// Rows of the table that its records take the place of.
    superseded: Vec<RecordPlace>,
}

impl Batch {
    /// The number of the record that is the source's `ordinal`th, counted from 1.
    fn record_no(&self, ordinal: u64) -> Result<u64> {
        let Some(record_nos) = &self.record_nos else { return Ok(ordinal) };
        let number = usize::try_from(ordinal - 1).ok().and_then(|at| record_nos.get(at));
        number.copied().ok_or(Error::Numbers(record_nos.len()))
    }
}

/// A record of a chunk that isn't accepted.
enum Refused<'a> {
    Rejected(&'a Reject),
    Duplicate(Place, Winner),
}

impl Refused<'_> {
    fn place(&self) -> &Place {
        match self {
            Self::Rejected(reject) => &reject.place,
            Self::Duplicate(place, _) => place,
        }
    }
}

impl Sequencer {
    /// A sequencer for the sources' batches, whose keys `index` takes but for those of `losers`.
    ///
    /// # Errors
    /// `Error::Plan` when the plan can't be compiled.
    pub fn new(
        compiled: Arc<Compiled>,
        sources: &[Source],
        losers: Arc<Losers>,
        index: KeyIndex,
        scatter: Scatter,
        quarantine: QuarantineWriter,
    ) -> Result<Self> {
        let batch = |source: &Source| Batch {
            outcome: BatchOutcome { batch_id: source.batch_id.clone(), ..BatchOutcome::default() },
            record_nos: source.record_nos.as_deref().map(Arc::from),
            newer_batches: source.newer_batches.clone(),
            ..Batch::default()
        };
        Ok(Self {
            columns: nullable(&compiled.plan),
            batches: sources.iter().map(batch).collect(),
            batch_ids: sources.iter().map(|source| source.batch_id.as_str().into()).collect(),
            existing_ids: BTreeMap::new(),
            index,
            scatter,
            quarantine,
            partition_names: compiled.plan.partition.iter().map(|field| field.name.clone()).collect(),
            losers,
            contest: Contest::default(),
            ends_before: None,
            compiled,
        })
    }

    /// Note what is known of a source.
    pub fn source(&mut self, source: usize, facts: &SourceFacts) {
        let batch = &mut self.batches[source];
        batch.facts.get_or_insert_with(|| {
            batch.outcome.format = facts.format;
            batch.outcome.compression = facts.compression;
            facts.clone()
        });
        if let Some(bytes) = facts.bytes {
            batch.outcome.bytes_in = bytes;
        }
    }

    /// Records and bytes taken up so far.
    pub fn done(&self) -> (u64, u64) {
        let sum =
            |part: fn(&BatchOutcome) -> u64| self.batches.iter().map(|batch| part(&batch.outcome)).sum();
        (sum(|outcome| outcome.records_in), sum(|outcome| outcome.bytes_in))
    }

    /// The source that the run has to end before, as far as that is known.
    pub fn ends_before(&self) -> Option<usize> {
        self.ends_before
    }

    /// Take up the next chunk.
    ///
    /// # Errors
    /// `Error::Io`, `Error::Parquet` or `Error::Existing`.
    pub fn take(
        &mut self,
        source: usize,
        chunk: &Chunk,
        mut parsed: Parsed,
        pool: &rayon::ThreadPool,
        host: &mut dyn Host,
    ) -> Result<()> {
        let before = self.batches[source].outcome.records_in;
        let partitions = self.partitions(&parsed, host)?;
        if before == 0 {
            self.expect_keys(source, chunk, &parsed);
        }
        let duplicates = self.duplicates(source, before, &mut parsed)?;
        let rejected = parsed.rejects.iter().map(Refused::Rejected);
        let duplicate =
            duplicates.iter().map(|(row, winner)| Refused::Duplicate(parsed.place(*row), *winner));
        let mut refused: Vec<Refused> = rejected.chain(duplicate).collect();
        refused.sort_unstable_by_key(|refused| refused.place().record);
        self.count(source, chunk, &parsed, duplicates.len());
        if self.contest.is_again() || self.ends_before.is_some() {
            return Ok(()); // what is written now is thrown away
        }
        self.quarantine(source, chunk, before, &parsed, &refused)?;
        let mut record_nos = parsed.numbering.records(parsed.spans.len(), before.cast_signed() + 1);
        if self.batches[source].record_nos.is_some() {
            for number in &mut record_nos {
                *number = self.batches[source].record_no(number.cast_unsigned())?.cast_signed();
            }
        }
        let duplicate_rows = duplicates.iter().map(|(row, _)| *row);
        let batch_id = &self.batch_ids[source];
        for (partition, part) in
            split(&parsed.rows, &parsed.partitions.of_row, duplicate_rows, &record_nos, batch_id)
        {
            self.scatter.push(partitions[partition], part, pool)?;
        }
        self.scatter.chunk_pushed(parsed.rows.get_array_memory_size(), pool)
    }

    /// Make room for the keys of a source by its first chunk, so that the index needs to grow less often.
    fn expect_keys(&mut self, source: usize, chunk: &Chunk, parsed: &Parsed) {
        /// More are not made room for: a first chunk may be unlike the rest.
        const MOST: u64 = 1 << 22;
        let text_bytes = self.batches[source].facts.as_ref().and_then(|facts| facts.text_bytes);
        if let (Some(keys), Chunk::Text { data, .. }, Some(all)) = (&parsed.keys, chunk, text_bytes) {
            let expected = all.div_ceil(data.len().max(1) as u64) * keys.hashes.len() as u64;
            self.index.reserve(usize::try_from(expected.min(MOST)).unwrap_or_default());
        }
    }

    /// The rows whose keys other records have, in their order.
    fn duplicates(
        &mut self,
        source: usize,
        before: u64,
        parsed: &mut Parsed,
    ) -> Result<Vec<(usize, Winner)>> {
        let Some(keys) = parsed.keys.take() else { return Ok(Vec::new()) };
        let batch = u32_index(source);
        let places = Places::Chunk { batch, before, numbering: parsed.numbering.clone() };
        let mut duplicates = Vec::new();
        if self.compiled.plan.write_mode == WriteMode::Append {
            self.index.claim(
                keys,
                places,
                |_| false,
                |row, winner, _| {
                    duplicates.push((row, winner));
                    false
                },
            )?;
            return Ok(duplicates);
        }
        let place =
            |row: usize| RecordPlace { batch, record: before + parsed.numbering.record(row) as u64 + 1 };
        let Self { index, losers, contest, batches, batch_ids, .. } = self;
        let mut superseded = Vec::new();
        let mut replaces_another_source = false;
        let own = &batches[source];
        if !losers.is_empty() {
            let known = (0..keys.hashes.len()).filter_map(|row| Some((row, *losers.get(&place(row))?)));
            duplicates.extend(known);
        }
        let left_out = |row: usize| !losers.is_empty() && losers.contains_key(&place(row));
        index.claim(keys, places, left_out, |row, winner, version| {
            let is_of_run = (winner.place.batch as usize) < batches.len();
            if winner.identical || version == Ordering::Greater {
                duplicates.push((row, winner));
                if is_of_run {
                    // A winner that took a place itself may be a duplicate in the second pass.
                    replaces_another_source |= winner.place.batch != batch && contest.is_again();
                    contest.kept_out(place(row), winner);
                }
                return false;
            }
            if is_of_run {
                replaces_another_source |= winner.place.batch != batch;
                contest.replaced(winner.place, place(row));
                return true;
            }
            if version == Ordering::Equal {
                let held_by = &*batch_ids[winner.place.batch as usize];
                // Of its own batch a replay brings records that came before others, and some that came after.
                let number = || own.record_no(place(row).record).unwrap_or_default();
                let is_newer = own.newer_batches.contains(held_by)
                    || (held_by == own.outcome.batch_id && winner.place.record > number());
                if is_newer {
                    duplicates.push((row, winner));
                    return false;
                }
            }
            superseded.push(winner.place);
            true
        })?;
        self.batches[source].superseded.append(&mut superseded);
        if replaces_another_source {
            self.ends_before = Some(source);
        }
        duplicates.sort_unstable_by_key(|(row, _)| *row);
        Ok(duplicates)
    }

    /// The scatter's indices of the chunk's partitions; the keys of those that are new are loaded.
    fn partitions(&mut self, parsed: &Parsed, host: &mut dyn Host) -> Result<Vec<usize>> {
        let mut indices = Vec::with_capacity(parsed.partitions.keys.len());
        for key in &parsed.partitions.keys {
            let (index, is_new) = self.scatter.partition(key);
            if is_new && self.compiled.keys.is_some() {
                let values = named(&self.partition_names, key);
                host.existing(&values, &mut |rows| self.load(rows))?;
            }
            indices.push(index);
        }
        Ok(indices)
    }

    /// Claim the keys of rows that the table already holds.
    fn load(&mut self, rows: &RecordBatch) -> Result<()> {
        let encoder = self.compiled.keys.as_ref().expect("rows are loaded for their keys");
        let width = self.compiled.plan.columns.len();
        let wrong = |what: &str| Error::Existing(format!("column {what} is missing or of another type"));
        let batch_ids = rows.columns().get(width).ok_or_else(|| wrong("of batch ids"))?;
        let batch_ids = arrow::compute::cast(batch_ids, &arrow::datatypes::DataType::Utf8)?;
        let batch_ids =
            batch_ids.as_any().downcast_ref::<StringArray>().ok_or_else(|| wrong("of batch ids"))?;
        let record_nos = rows.columns().get(width + 1).ok_or_else(|| wrong("of record numbers"))?;
        let record_nos =
            record_nos.as_any().downcast_ref::<Int64Array>().ok_or_else(|| wrong("of record numbers"))?;
        let fields = self.columns.fields().iter();
        let arrays = rows.columns().iter().zip(fields);
        let arrays = arrays.map(|(array, field)| cast_with_options(array, field.data_type(), &STRICT));
        let schema = self.columns.clone();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let keyed = RecordBatch::try_new_with_options(
            schema,
            arrays.collect::<std::result::Result<_, _>>()?,
            &options,
        );
        let keys = encoder.encode(&keyed.map_err(|error| Error::Existing(error.to_string()))?)?;
        let mut places = Vec::with_capacity(rows.num_rows());
        for at in 0..rows.num_rows() {
            let batch_id = batch_ids.value(at);
            let batch = match self.existing_ids.get(batch_id) {
                Some(&known) => known,
                None => {
                    let new = u32_index(self.batch_ids.len());
                    self.batch_ids.push(batch_id.into());
                    self.existing_ids.insert(batch_id.to_owned(), new);
                    new
                }
            };
            places.push(RecordPlace { batch, record: record_nos.value(at).cast_unsigned() });
        }
        // Two rows of the table with one key: an older state of affairs that isn't this run's to judge.
        self.index.claim(keys.unshared()?, Places::Listed(places), |_| false, |_, _, _| false)
    }

    fn quarantine(
        &mut self,
        source: usize,
        chunk: &Chunk,
        before: u64,
        parsed: &Parsed,
        refused: &[Refused],
    ) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        let batch = &self.batches[source];
        let facts = batch.facts.as_ref().expect("a source is noted before its first chunk is taken up");
        let mut bytes = RecordBytes::of(chunk, facts.raw_format, parsed.blank_lines.as_ref())?;
        for record in refused {
            let place = record.place();
            let (raw, raw_format, mut byte_place) = bytes.of_record(place);
            if batch.record_nos.is_some() {
                // Where it was in the batch is known since it was taken from there.
                byte_place = BytePlace::default();
            }
            let reason = match record {
                Refused::Rejected(reject) => Reason::Rejected(&reject.violations),
                Refused::Duplicate(_, winner) => Reason::Duplicate {
                    identical: winner.identical,
                    winner_batch_id: &self.batch_ids[winner.place.batch as usize],
                    winner_record_no: self.winner_no(winner.place)?,
                },
            };
            self.quarantine.push(&Entry {
                batch_id: &batch.outcome.batch_id,
                record_no: batch.record_no(before + place.record as u64 + 1)?,
                place: byte_place,
                member: facts.member.as_deref(),
                raw_format,
                header: facts.csv.as_ref().map(|header| header.raw.as_slice()),
                raw: &raw,
                reason,
            })?;
        }
        Ok(())
    }

    /// The number of a record that has a key; existing rows have theirs already.
    fn winner_no(&self, place: RecordPlace) -> Result<u64> {
        self.batches.get(place.batch as usize).map_or(Ok(place.record), |batch| batch.record_no(place.record))
    }

    fn count(&mut self, source: usize, chunk: &Chunk, parsed: &Parsed, duplicates: usize) {
        let batch = &mut self.batches[source];
        let duplicates = duplicates as u64;
        batch.outcome.records_in += parsed.records as u64;
        batch.outcome.rejected += parsed.rejects.len() as u64;
        batch.outcome.duplicate += duplicates;
        batch.outcome.accepted += parsed.spans.len() as u64 - duplicates;
        match chunk {
            Chunk::Text { data, .. } => batch.outcome.bytes_in += data.len() as u64,
            Chunk::Columns { bytes, .. } => batch.outcome.bytes_in += bytes,
        }
        for reject in &parsed.rejects {
            let mut broken: Vec<_> =
                reject.violations.iter().map(|found| (found.column, found.rule)).collect();
            broken.sort_unstable();
            broken.dedup();
            for rule in broken {
                *batch.violations.entry(rule).or_default() += 1;
            }
        }
        for (name, records) in &parsed.unknown {
            count_name(&mut batch.outcome.unknown_fields, name.clone(), *records);
        }
        for name in batch.facts.iter().flat_map(|facts| facts.unknown_columns.iter()) {
            count_name(&mut batch.outcome.unknown_fields, name.clone(), parsed.records as u64);
        }
    }

    /// The counts, and the writers to be completed; or the losers, when the run is to be carried out again with them known.
    pub fn finish(self) -> std::result::Result<Finished, Losers> {
        if self.contest.is_again() {
            return Err(self.contest.losers());
        }
        let paths = self.compiled.plan.paths();
        let outcome = |batch: Batch| {
            let count = |((column, rule), records): ((Option<usize>, _), _)| ViolationCount {
                column: column.map(|index| paths[index].clone()),
                rule,
                records,
            };
            let mut superseded: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for place in batch.superseded {
                let batch_id = self.batch_ids[place.batch as usize].to_string();
                superseded.entry(batch_id).or_default().push(place.record);
            }
            let violations = batch.violations.into_iter().map(count).collect();
            BatchOutcome { violations, superseded, ..batch.outcome }
        };
        Ok(Finished {
            batches: self.batches.into_iter().map(outcome).collect(),
            scatter: self.scatter,
            quarantine: self.quarantine,
            partition_names: self.partition_names,
        })
    }
}

/// A value that can't be cast is an error, not a null.
const STRICT: CastOptions = CastOptions { safe: false, format_options: FormatOptions::new() };

fn nullable(plan: &Plan) -> SchemaRef {
    let columns = schema::columns(plan);
    let fields = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Finds the bytes and places of a chunk's records, asked for in their order.
enum RecordBytes<'a> {
    Text { data: &'a [u8], format: &'static str, offset: u64, lines: Lines<'a> },
    Columns(columns::JsonRows),
}

/// How the lines that records begin in are found.
enum Lines<'a> {
    /// Each that isn't blank is a record.
    Records { first: u64, blank_lines: &'a Numbering },
    /// By counting line feeds on from the record before.
    Counted { line: u64, counted_to: usize },
}

impl Lines<'_> {
    fn of_record(&mut self, place: &Place, data: &[u8]) -> u64 {
        match self {
            Self::Records { first, blank_lines } => *first + blank_lines.record(place.record) as u64,
            Self::Counted { line, counted_to } => {
                let passed = &data[*counted_to..place.range.start];
                *line += memchr::memchr_iter(b'\n', passed).count() as u64;
                *counted_to = place.range.start;
                *line
            }
        }
    }
}

impl<'a> RecordBytes<'a> {
    fn of(chunk: &'a Chunk, format: &'static str, blank_lines: Option<&'a Numbering>) -> Result<Self> {
        Ok(match chunk {
            Chunk::Text { data, offset, line, .. } => {
                let lines = match blank_lines {
                    Some(blank_lines) => Lines::Records { first: *line, blank_lines },
                    None => Lines::Counted { line: *line, counted_to: 0 },
                };
                Self::Text { data, format, offset: *offset, lines }
            }
            Chunk::Columns { batch, .. } => Self::Columns(columns::JsonRows::new(batch)?),
        })
    }

    /// The record's bytes, how they read, and where they are; a columnar record is rendered as JSON and has no place.
    fn of_record(&mut self, place: &Place) -> (Cow<'a, [u8]>, &'static str, BytePlace) {
        match self {
            Self::Text { data, format, offset, lines } => {
                let byte_place = BytePlace {
                    offset: Some(*offset + place.range.start as u64),
                    length: Some(place.range.len() as u64),
                    line: Some(lines.of_record(place, data)),
                };
                (Cow::Borrowed(&data[place.range.clone()]), format, byte_place)
            }
            Self::Columns(rows) => (Cow::Owned(rows.render(place.range.start)), "json", BytePlace::default()),
        }
    }
}

fn u32_index(index: usize) -> u32 {
    u32::try_from(index).expect("batches and rows of a chunk are fewer than 2³²")
}

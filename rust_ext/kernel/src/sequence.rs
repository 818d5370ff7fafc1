//! Parsed chunks, taken up in their order: duplicates found, records counted, rows and rejects sent on their way.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use arrow::record_batch::RecordBatch;

use crate::{
    batch::Batch,
    cell::Violation,
    chunk::Chunk,
    claims::Claims,
    dedupe::{RecordPlace, Winner},
    error::Result,
    existing::ExistingRows,
    feed::SourceFacts,
    numbering::Numbering,
    outcome::{BatchOutcome, ViolationCount},
    parse::{Compiled, Parsed, Place, Reject, count_name},
    quarantine::{BytePlace, Entry, QuarantineWriter, Reason},
    read::{Source, columns},
    run::Host,
    scatter::{BatchId, Scatter, named},
    split::split,
    unique::Held,
    upsert::{Losers, Refusal},
};

/// Takes up chunks in the order of the sources.
pub struct Sequencer {
    compiled: Arc<Compiled>,
    batches: Vec<Batch>,
    /// The run's batches, then those of existing rows.
    batch_ids: Vec<BatchId>,
    existing: ExistingRows,
    claims: Claims,
    /// Whether the values of unique columns are still to be asked for.
    lacks_values: bool,
    scatter: Scatter,
    quarantine: QuarantineWriter,
    partition_names: Vec<String>,
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
    /// What was claimed, which nobody asks for any more: letting go of it takes a while.
    pub claims: Claims,
}

/// A record of a chunk that isn't accepted.
enum Refused<'a> {
    Rejected(&'a Reject),
    Duplicate(Place, Winner),
    NotUnique(Place, &'a [Held]),
}

impl Refused<'_> {
    fn place(&self) -> &Place {
        match self {
            Self::Rejected(reject) => &reject.place,
            Self::Duplicate(place, _) | Self::NotUnique(place, _) => place,
        }
    }
}

impl Sequencer {
    /// A sequencer for the sources' batches, whose records claim their keys and values in `claims`.
    pub fn new(
        compiled: Arc<Compiled>,
        sources: &[Source],
        claims: Claims,
        scatter: Scatter,
        quarantine: QuarantineWriter,
    ) -> Self {
        Self {
            batches: sources.iter().map(Batch::of).collect(),
            batch_ids: sources.iter().map(|source| source.batch_id.as_str().into()).collect(),
            existing: ExistingRows::new(&compiled.plan),
            lacks_values: claims.asks_for_values(),
            claims,
            scatter,
            quarantine,
            partition_names: compiled.plan.partition.iter().map(|field| field.name.clone()).collect(),
            compiled,
        }
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
        self.claims.contest().ends_before()
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
        if self.lacks_values && parsed.rows.num_rows() > 0 {
            self.lacks_values = false;
            let names = self.compiled.plan.unique.clone();
            host.existing_values(&names, &mut |rows| self.load_values(rows))?;
        }
        let partitions = self.partitions(&parsed, host)?;
        if before == 0 {
            self.expect_keys(source, chunk, &parsed)?;
        }
        let refused_rows = self.claims.refused(
            u32_index(source),
            &mut self.batches[source],
            before,
            &mut parsed,
            &self.batch_ids,
        )?;
        let rejected = parsed.rejects.iter().map(Refused::Rejected);
        let others = refused_rows.iter().map(|(row, refusal)| match refusal {
            Refusal::Duplicate(winner) => Refused::Duplicate(parsed.place(*row), *winner),
            Refusal::NotUnique(held) => Refused::NotUnique(parsed.place(*row), held),
        });
        let mut refused: Vec<Refused> = rejected.chain(others).collect();
        refused.sort_unstable_by_key(|refused| refused.place().record);
        self.count(source, chunk, &parsed, &refused_rows);
        if self.claims.contest().is_again() || self.ends_before().is_some() {
            return Ok(()); // what is written now is thrown away
        }
        self.quarantine(source, chunk, before, &parsed, &refused)?;
        let mut record_nos = parsed.numbering.records(parsed.spans.len(), before.cast_signed() + 1);
        if self.batches[source].record_nos.is_some() {
            for number in &mut record_nos {
                *number = self.batches[source].record_no(number.cast_unsigned())?.cast_signed();
            }
        }
        let left_out = refused_rows.iter().map(|(row, _)| *row);
        let batch_id = &self.batch_ids[source];
        for (partition, part) in
            split(&parsed.rows, &parsed.partitions.of_row, left_out, &record_nos, batch_id)
        {
            self.scatter.push(partitions[partition], part, pool)?;
        }
        self.scatter.chunk_pushed(parsed.rows.get_array_memory_size(), pool)
    }

    /// Make room for the keys of a source by its first chunk, so that the index needs to grow less often.
    fn expect_keys(&mut self, source: usize, chunk: &Chunk, parsed: &Parsed) -> Result<()> {
        /// More are not made room for: a first chunk may be unlike the rest.
        const MOST: u64 = 1 << 22;
        let text_bytes = self.batches[source].facts.as_ref().and_then(|facts| facts.text_bytes);
        if let (Some(keys), Chunk::Text { data, .. }, Some(all)) = (&parsed.keys, chunk, text_bytes) {
            let expected = all.div_ceil(data.len().max(1) as u64) * keys.hashes.len() as u64;
            self.claims.reserve(usize::try_from(expected.min(MOST)).unwrap_or_default())?;
        }
        Ok(())
    }

    /// The scatter's indices of the chunk's partitions; the keys of those that are new are loaded.
    fn partitions(&mut self, parsed: &Parsed, host: &mut dyn Host) -> Result<Vec<usize>> {
        let mut indices = Vec::with_capacity(parsed.partitions.keys.len());
        for key in &parsed.partitions.keys {
            let (index, is_new) = self.scatter.partition(key);
            if is_new && self.compiled.keys.is_some() {
                let values = named(&self.partition_names, key);
                host.existing(&values, &mut |rows| self.load_keys(rows))?;
            }
            indices.push(index);
        }
        Ok(indices)
    }

    /// Claim the keys of rows that the table already holds.
    fn load_keys(&mut self, rows: &RecordBatch) -> Result<()> {
        let encoder = self.compiled.keys.as_ref().expect("rows are loaded for their keys");
        let width = self.compiled.plan.columns.len();
        let places = self.existing.places(rows, width, &mut self.batch_ids)?;
        self.claims.load_keys(encoder.encode(&self.existing.columns(rows)?)?, places)
    }

    /// Claim the values of unique columns that rows of the table have, wherever they are.
    fn load_values(&mut self, rows: &RecordBatch) -> Result<()> {
        let encoders = &self.compiled.unique;
        let places = self.existing.places(rows, encoders.len(), &mut self.batch_ids)?;
        let encoded = encoders
            .iter()
            .zip(rows.columns())
            .map(|(encoder, values)| encoder.encode(&self.existing.values(encoder.column, values)?));
        self.claims.load_values(encoded.collect::<Result<_>>()?, places)
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
        let mut bytes = RecordBytes::of(
            chunk,
            facts.raw_format,
            batch.lines - parsed.lines(),
            parsed.blank_lines.as_ref(),
        )?;
        for record in refused {
            let place = record.place();
            let (raw, raw_format, mut byte_place) = bytes.of_record(place);
            if batch.record_nos.is_some() {
                // Where it was in the batch is known since it was taken from there.
                byte_place = BytePlace::default();
            }
            let violations: Vec<Violation>;
            let reason = match record {
                Refused::Rejected(reject) => Reason::Rejected(&reject.violations),
                Refused::NotUnique(_, held) => {
                    violations = held.iter().map(|held| self.not_unique(held)).collect::<Result<_>>()?;
                    Reason::Rejected(&violations)
                }
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

    fn not_unique(&self, held: &Held) -> Result<Violation> {
        let (number, batch_id) = (self.winner_no(held.by)?, &self.batch_ids[held.by.batch as usize]);
        let message = format!("the value is that of record {number} of batch `{batch_id}`");
        Ok(Violation::of_column(held.column, "unique", message))
    }

    /// The number of a record that has a key or a value; existing rows have theirs already.
    fn winner_no(&self, place: RecordPlace) -> Result<u64> {
        self.batches.get(place.batch as usize).map_or(Ok(place.record), |batch| batch.record_no(place.record))
    }

    fn count(&mut self, source: usize, chunk: &Chunk, parsed: &Parsed, refused: &[(usize, Refusal)]) {
        let batch = &mut self.batches[source];
        let mut duplicates = 0;
        for (_, refusal) in refused {
            match refusal {
                Refusal::Duplicate(_) => duplicates += 1,
                Refusal::NotUnique(held) => {
                    for held in held {
                        *batch.violations.entry((Some(held.column), "unique")).or_default() += 1;
                    }
                }
            }
        }
        batch.lines += parsed.lines();
        batch.outcome.records_in += parsed.records as u64;
        batch.outcome.rejected += (parsed.rejects.len() + refused.len()) as u64 - duplicates;
        batch.outcome.duplicate += duplicates;
        batch.outcome.accepted += (parsed.spans.len() - refused.len()) as u64;
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
        if self.claims.contest().is_again() {
            return Err(self.claims.losers());
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
            claims: self.claims,
        })
    }
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
    /// Of a chunk before which there were so many `lines` in chunks of lines.
    fn of(
        chunk: &'a Chunk,
        format: &'static str,
        lines: u64,
        blank_lines: Option<&'a Numbering>,
    ) -> Result<Self> {
        Ok(match chunk {
            Chunk::Text { data, offset, line, .. } => {
                let first = line + lines;
                let lines = match blank_lines {
                    Some(blank_lines) => Lines::Records { first, blank_lines },
                    None => Lines::Counted { line: first, counted_to: 0 },
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

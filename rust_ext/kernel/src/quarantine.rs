//! Rejected and duplicate records, with their bytes, their places and every reason.

use std::path::PathBuf;

use arrow::{
    array::{ArrayBuilder, ArrayRef, BinaryBuilder, Int64Builder, ListBuilder, StringBuilder, StructBuilder},
    datatypes::SchemaRef,
    record_batch::RecordBatch,
};
use parquet::{arrow::ArrowWriter, schema::types::ColumnPath};

use crate::{
    cell::Violation,
    error::Result,
    plan::{Plan, QuarantineIds},
    run::Destination,
    scatter, schema,
    write::{Finished, NewFile, writer_properties},
};

/// Rows held before they are written, at most.
const HELD_ROWS: usize = 65_536;
/// Bytes of records held before they are written, at most about.
const HELD_BYTES: usize = 64 << 20;

/// A record that isn't accepted.
pub struct Entry<'a> {
    /// The batch it came in.
    pub batch_id: &'a str,
    /// Its number there, from 1.
    pub record_no: u64,
    /// Where its bytes are.
    pub place: BytePlace,
    /// The file inside the archive that it came from.
    pub member: Option<&'a str>,
    /// How `raw` reads.
    pub raw_format: &'static str,
    /// The header that the record's fields are named by.
    pub header: Option<&'a [u8]>,
    /// The record's bytes.
    pub raw: &'a [u8],
    /// Why it isn't accepted.
    pub reason: Reason<'a>,
}

/// Where a record's bytes are in the decompressed stream; nothing of it is known for columnar files.
#[derive(Default, Clone, Copy)]
pub struct BytePlace {
    /// Offset of the first byte.
    pub offset: Option<u64>,
    /// Number of bytes.
    pub length: Option<u64>,
    /// Line, from 1.
    pub line: Option<u64>,
}

/// Why a record isn't accepted.
pub enum Reason<'a> {
    /// It broke rules.
    Rejected(&'a [Violation]),
    /// Its key was there.
    Duplicate {
        /// Whether all of its values equal the winner's.
        identical: bool,
        /// The batch of the record that was there first.
        winner_batch_id: &'a str,
        /// That record's number.
        winner_record_no: u64,
    },
}

/// Writes quarantine entries to one file, created with the first of them, or keeps them in memory.
pub struct QuarantineWriter {
    target: Target,
    contract: String,
    columns: Vec<String>,
    schema: SchemaRef,
    held: Held,
    held_bytes: usize,
    rows: usize,
}

/// Where the entries go.
enum Target {
    File { path: PathBuf, writer: Option<Box<ArrowWriter<NewFile>>> },
    Memory(Vec<RecordBatch>),
    Nowhere,
}

/// What came of all entries.
#[derive(Default)]
pub struct Quarantined {
    /// The file, if there was anything to write.
    pub file: Option<Finished>,
    /// The batches that stay in memory.
    pub batches: Vec<RecordBatch>,
}

struct Held {
    batch_id: StringBuilder,
    record_no: Int64Builder,
    contract: StringBuilder,
    disposition: StringBuilder,
    duplicate_kind: StringBuilder,
    member: StringBuilder,
    offset: Int64Builder,
    length: Int64Builder,
    line: Int64Builder,
    raw_format: StringBuilder,
    raw_header: BinaryBuilder,
    raw: BinaryBuilder,
    violations: ListBuilder<StructBuilder>,
    winner_batch_id: StringBuilder,
    winner_record_no: Int64Builder,
}

impl QuarantineWriter {
    /// A writer for the plan's dataset.
    pub fn new(plan: &Plan, destination: &Destination) -> Self {
        let target = match destination {
            Destination::Folders { quarantine, .. } => {
                Target::File { path: scatter::quarantine_path(quarantine), writer: None }
            }
            Destination::Memory => Target::Memory(Vec::new()),
            Destination::Nowhere => Target::Nowhere,
        };
        let ids = plan.quarantine_ids();
        Self {
            target,
            contract: plan.contract.clone(),
            columns: plan.paths(),
            schema: schema::quarantine(&ids),
            held: Held::new(&ids),
            held_bytes: 0,
            rows: 0,
        }
    }

    /// Add an entry.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when the file can't be written.
    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        // A header is repeated in every row, and may be as long as a record.
        let bytes = entry.raw.len() + entry.header.map_or(0, <[u8]>::len);
        let is_full = self.held.record_no.len() >= HELD_ROWS || self.held_bytes + bytes > HELD_BYTES;
        if is_full && self.held.record_no.len() > 0 {
            self.write_held()?;
        }
        self.held.push(entry, &self.contract, &self.columns);
        self.held_bytes += bytes;
        self.rows += 1;
        Ok(())
    }

    fn write_held(&mut self) -> Result<()> {
        let schema = &self.schema;
        let batch = RecordBatch::try_new(schema.clone(), self.held.finish())?;
        self.held_bytes = 0;
        match &mut self.target {
            Target::File { path, writer } => {
                let writer = match writer {
                    Some(writer) => writer,
                    None => {
                        let file = NewFile::create(path.clone())?;
                        // No two records are likely to be alike.
                        let raw = ColumnPath::from("raw");
                        let properties =
                            writer_properties().set_column_dictionary_enabled(raw, false).build();
                        writer.insert(Box::new(ArrowWriter::try_new(file, schema.clone(), Some(properties))?))
                    }
                };
                writer.write(&batch)?;
                writer.flush()?;
            }
            Target::Memory(batches) => batches.push(batch),
            Target::Nowhere => {}
        }
        Ok(())
    }

    /// Complete what was begun.
    ///
    /// # Errors
    /// `Error::Io` or `Error::Parquet` when the file can't be written.
    pub fn finish(mut self) -> Result<Quarantined> {
        if self.held.record_no.len() > 0 {
            self.write_held()?;
        }
        Ok(match self.target {
            Target::File { writer: Some(writer), .. } => {
                let file = Some(writer.into_inner()?.finish(self.rows)?);
                Quarantined { file, ..Quarantined::default() }
            }
            Target::Memory(batches) => Quarantined { batches, ..Quarantined::default() },
            Target::File { writer: None, .. } | Target::Nowhere => Quarantined::default(),
        })
    }
}

fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Held {
    fn new(ids: &QuarantineIds) -> Self {
        let violation = StructBuilder::from_fields(schema::violation_fields(ids), 0);
        Self {
            batch_id: StringBuilder::new(),
            record_no: Int64Builder::new(),
            contract: StringBuilder::new(),
            disposition: StringBuilder::new(),
            duplicate_kind: StringBuilder::new(),
            member: StringBuilder::new(),
            offset: Int64Builder::new(),
            length: Int64Builder::new(),
            line: Int64Builder::new(),
            raw_format: StringBuilder::new(),
            raw_header: BinaryBuilder::new(),
            raw: BinaryBuilder::new(),
            violations: ListBuilder::new(violation).with_field(schema::violation_item(ids)),
            winner_batch_id: StringBuilder::new(),
            winner_record_no: Int64Builder::new(),
        }
    }

    fn push(&mut self, entry: &Entry, contract: &str, columns: &[String]) {
        self.batch_id.append_value(entry.batch_id);
        self.record_no.append_value(long(entry.record_no));
        self.contract.append_value(contract);
        self.member.append_option(entry.member);
        self.offset.append_option(entry.place.offset.map(long));
        self.length.append_option(entry.place.length.map(long));
        self.line.append_option(entry.place.line.map(long));
        self.raw_format.append_value(entry.raw_format);
        self.raw_header.append_option(entry.header);
        self.raw.append_value(entry.raw);
        match &entry.reason {
            Reason::Rejected(violations) => {
                self.disposition.append_value("rejected");
                self.duplicate_kind.append_null();
                self.winner_batch_id.append_null();
                self.winner_record_no.append_null();
                for violation in *violations {
                    let column = violation.column.map(|index| columns[index].as_str());
                    self.violation(column, violation.rule, &violation.message);
                }
            }
            Reason::Duplicate { identical, winner_batch_id, winner_record_no } => {
                self.disposition.append_value("duplicate");
                self.duplicate_kind.append_value(if *identical { "identical" } else { "conflicting" });
                self.winner_batch_id.append_value(winner_batch_id);
                self.winner_record_no.append_value(long(*winner_record_no));
                let message =
                    format!("the key is that of record {winner_record_no} of batch `{winner_batch_id}`");
                self.violation(None, "duplicate", &message);
            }
        }
        self.violations.append(true);
    }

    fn violation(&mut self, column: Option<&str>, rule: &str, message: &str) {
        let item = self.violations.values();
        for (index, text) in [column, Some(rule), Some(message)].into_iter().enumerate() {
            item.field_builder::<StringBuilder>(index).expect("all fields are text").append_option(text);
        }
        item.append(true);
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let builders: [&mut dyn ArrayBuilder; 15] = [
            &mut self.batch_id,
            &mut self.record_no,
            &mut self.contract,
            &mut self.disposition,
            &mut self.duplicate_kind,
            &mut self.member,
            &mut self.offset,
            &mut self.length,
            &mut self.line,
            &mut self.raw_format,
            &mut self.raw_header,
            &mut self.raw,
            &mut self.violations,
            &mut self.winner_batch_id,
            &mut self.winner_record_no,
        ];
        builders.into_iter().map(|builder| builder.finish()).collect()
    }
}

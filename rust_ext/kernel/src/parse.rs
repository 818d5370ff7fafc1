//! One chunk of a source: records into checked rows and rejects. Runs on any thread, knows nothing of other chunks.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use crate::{
    abreast::{Alone, Avx2, MANY, Work},
    cell::{Cell, Row, Violation},
    check::{Checked, Checker},
    chunk::{Chunk, Frame, Framing},
    csv,
    error::Result,
    json,
    keys::{KeyEncoder, Keys, ValueEncoder},
    nested,
    numbering::Numbering,
    partition::{Partitioner, RowPartitions},
    plan::{Plan, UnknownFields},
    quick::{Quick, Scratch},
    read::{Format, columns::RowReader, lines},
    rows::Rows,
    schema,
    template::Template,
    whole::Whole,
};

/// The compiled plan: what every chunk is parsed with.
pub struct Compiled {
    /// The plan itself.
    pub plan: Plan,
    /// Parses JSON records.
    json: json::Parser,
    /// Types cells and checks rules, all or those that a few instructions can judge.
    quick: Quick,
    /// Encodes keys, when records have one.
    pub keys: Option<KeyEncoder>,
    /// Encode the values of unique columns.
    pub unique: Vec<ValueEncoder>,
    /// Gives rows their partitions.
    partitioner: Partitioner,
    columns: SchemaRef,
    /// Rows that a MiB of text came to last: what is kept of a chunk should have little room to spare.
    rows_a_mib: AtomicUsize,
}

impl Compiled {
    /// Compile a plan.
    ///
    /// # Errors
    /// `Error::Plan` when it can't be carried out.
    pub fn new(plan: Plan) -> Result<Self> {
        Ok(Self {
            json: json::Parser::new(&plan),
            quick: Quick::new(&plan, Checker::new(&plan)?),
            keys: KeyEncoder::new(&plan)?,
            unique: ValueEncoder::each(&plan)?,
            partitioner: Partitioner::new(&plan)?,
            columns: schema::columns(&plan),
            rows_a_mib: AtomicUsize::new(5000),
            plan,
        })
    }

    /// How many rows so many bytes of text are likely to come to.
    fn likely_rows(&self, bytes: usize) -> usize {
        let rows = bytes.saturating_mul(self.rows_a_mib.load(Ordering::Relaxed)) >> 20;
        rows + rows / 64 + 8
    }

    /// Note that so many bytes of text came to so many rows. A few bytes say nothing of others.
    fn note_rows(&self, rows: usize, bytes: usize) {
        if bytes >= 1 << 16 {
            self.rows_a_mib.store((rows << 20) / bytes, Ordering::Relaxed);
        }
    }
}

/// How the text of a source reads.
#[derive(Clone)]
pub enum Dialect {
    /// One object a record.
    Json,
    /// Fields under a header.
    Csv(std::sync::Arc<csv::Header>),
}

impl Dialect {
    fn format(&self) -> Format {
        match self {
            Self::Json => Format::Ndjson,
            Self::Csv(_) => Format::Csv,
        }
    }
}

/// A record's bytes in its chunk and its number there, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Number of the record in the chunk.
    pub record: usize,
    /// Bytes in the chunk; for columnar chunks, the row.
    pub range: Range<usize>,
}

/// A record that broke a rule.
pub struct Reject {
    /// Where it is.
    pub place: Place,
    /// Everything that is wrong with it.
    pub violations: Vec<Violation>,
}

/// What a chunk came to.
pub struct Parsed {
    /// Records in the chunk.
    pub records: usize,
    /// Rows that broke no rule of their own.
    pub rows: RecordBatch,
    /// Where the bytes of each of those rows are.
    pub spans: Vec<Span>,
    /// Which of the records those rows are.
    pub numbering: Numbering,
    /// Their keys; `None` without a key.
    pub keys: Option<Keys>,
    /// Their values of each unique column.
    pub unique: Vec<Keys>,
    /// Their partitions.
    pub partitions: RowPartitions,
    /// The records that broke a rule.
    pub rejects: Vec<Reject>,
    /// Which of the lines are blank, when each other line is a record; `None` when the lines are to be counted.
    pub blank_lines: Option<Numbering>,
    /// Fields that the plan doesn't know, with the number of records that have them.
    pub unknown: BTreeMap<String, u64>,
}

impl Parsed {
    /// How many lines the chunk has, if it is one of lines; else 0.
    pub fn lines(&self) -> u64 {
        self.blank_lines.as_ref().map_or(0, |blank| (self.records + blank.passed_in_all()) as u64)
    }

    /// Where a row's record is.
    pub fn place(&self, row: usize) -> Place {
        Place { record: self.numbering.record(row), range: self.spans[row].range() }
    }
}

/// Bytes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    stop: u32,
}

impl Span {
    #[inline(always)]
    fn new(range: &Range<usize>) -> Self {
        let number = |at| u32::try_from(at).expect("a chunk has less than 4 GiB");
        Self { start: number(range.start), stop: number(range.end) }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.stop as usize
    }
}

/// Parse and check all records of a chunk. `unknown_columns` are those of its source that the plan doesn't know.
///
/// # Errors
/// `Error::Arrow` when columns can't be built; bad records are no errors.
pub fn parse(
    compiled: &Compiled,
    dialect: &Dialect,
    unknown_columns: &[String],
    chunk: &Chunk,
) -> Result<Parsed> {
    let refused = match compiled.plan.unknown_fields {
        UnknownFields::Reject => unknown_columns,
        UnknownFields::Ignore => &[],
    };
    match chunk {
        Chunk::Text { data, framing, .. } => {
            let mut sink = Sink::new(compiled, refused, compiled.likely_rows(data.len()));
            let mut quick = QuickReader::new(compiled, dialect, refused);
            match framing {
                Framing::Lines => read_lines(&mut sink, &mut quick, dialect, data),
                Framing::Records(frames) => read_frames(&mut sink, &mut quick, dialect, data, frames),
            }
            quick.template.count_unknown(&mut sink.unknown);
            sink.has_lines = matches!(framing, Framing::Lines);
            compiled.note_rows(sink.spans.len(), data.len());
            sink.finish()
        }
        Chunk::Columns { batch, .. } => {
            let reader = RowReader::new(&compiled.plan, batch)?;
            if refused.is_empty()
                && let Some(parsed) = read_columns(compiled, &reader, batch.num_rows())?
            {
                return Ok(parsed);
            }
            let mut sink = Sink::new(compiled, refused, batch.num_rows());
            for row in 0..batch.num_rows() {
                reader.read(row, &mut sink.row);
                sink.record(row..row + 1);
            }
            sink.finish()
        }
    }
}

/// Read the rows of a columnar chunk column by column, and those of which anything is broken again, by the general path.
/// `None` when that is how all of them are to be read.
fn read_columns(compiled: &Compiled, reader: &RowReader, rows: usize) -> Result<Option<Parsed>> {
    let Some(whole) = Whole::of(&compiled.plan, &compiled.quick, reader.columns(), rows)? else {
        return Ok(None);
    };
    let mut sink = Sink::new(compiled, &[], 0);
    for row in 0..rows {
        if whole.is_fine(row) {
            sink.accept(row..row + 1);
            continue;
        }
        reader.read(row, &mut sink.row);
        if sink.record(row..row + 1) {
            return Ok(None);
        }
    }
    let rows = whole.finish(&compiled.columns)?;
    sink.finish_with(rows).map(Some)
}

/// Read the records of a chunk that are lines. Each is tried quickly; whatever that leaves takes the general path.
fn read_lines<'a>(sink: &mut Sink<'_, 'a>, quick: &mut QuickReader<'_>, dialect: &Dialect, data: &'a [u8]) {
    let mut valid = Valid::none();
    let mut at = 0;
    while at < data.len() {
        valid.reach(data, at);
        if let Some(text) = valid.text
            && quick.reads_many()
            && let Some((lines, next)) = next_lines(text.as_bytes(), at - valid.start)
            && quick.read_many(sink, text, &lines)
        {
            for line in lines {
                sink.accept(valid.start + line.start..valid.start + line.end);
            }
            at = valid.start + next;
            continue;
        }
        // Where the next line begins doesn't hang on how this one is read, so that a processor can read on meanwhile.
        let stop = memchr::memchr(b'\n', &data[at..]).map_or(data.len(), |length| at + length);
        let range = at..at + lines::without_return(&data[at..stop]);
        let start = std::mem::replace(&mut at, stop + 1);
        if let Some(text) = valid.text
            && start < valid.stop
            && quick.read(sink, text, start - valid.start..range.end - valid.start)
        {
            sink.accept(range);
            continue;
        }
        let line = &data[range.clone()];
        if quick.is_comment(line) || lines::is_blank(line, dialect.format()) {
            sink.blank_lines.pass(sink.records);
        } else {
            let text = utf8(&data[range.clone()]);
            let record = text.clone().ok();
            if sink.text_record(dialect, text, range)
                && let Some(record) = record
            {
                quick.learn(record);
            }
            quick.odd_one_is_read();
        }
    }
}

/// The next lines, from `at` on, without their ends, and where the one after them begins; `None` when there are fewer.
#[inline(always)]
fn next_lines(data: &[u8], mut at: usize) -> Option<([Range<usize>; MANY], usize)> {
    let mut lines = [const { 0..0 }; MANY];
    for line in &mut lines {
        let stop = at + memchr::memchr(b'\n', data.get(at..)?)?;
        *line = at..at + lines::without_return(&data[at..stop]);
        at = stop + 1;
    }
    Some((lines, at))
}

/// Read the records of a chunk whose reader has found them.
fn read_frames<'a>(
    sink: &mut Sink<'_, 'a>,
    quick: &mut QuickReader<'_>,
    dialect: &Dialect,
    data: &'a [u8],
    frames: &[Frame],
) {
    let valid = simdutf8::basic::from_utf8(data).ok();
    let mut rest = frames;
    while let [frame, others @ ..] = rest {
        if let Some(text) = valid
            && quick.reads_many()
            && let Some((many, others)) = rest.split_first_chunk::<MANY>()
            && many.iter().all(|frame| frame.fault.is_none())
            && let ranges = many.each_ref().map(|frame| frame.range.clone())
            && quick.read_many(sink, text, &ranges)
        {
            ranges.into_iter().for_each(|range| sink.accept(range));
            rest = others;
            continue;
        }
        rest = others;
        let range = frame.range.clone();
        let text = match (&frame.fault, valid) {
            (Some(fault), _) => Err(fault.clone()),
            (None, Some(text)) => {
                if quick.read(sink, text, range.clone()) {
                    sink.accept(range);
                    continue;
                }
                Ok(&text[range.clone()])
            }
            (None, None) => utf8(&data[range.clone()]),
        };
        let record = text.clone().ok();
        if sink.text_record(dialect, text, range)
            && let Some(record) = record
        {
            quick.learn(record);
        }
        quick.odd_one_is_read();
    }
}

/// The part of a chunk that is known to be UTF-8, which ends with a line end or the chunk.
struct Valid<'a> {
    text: Option<&'a str>,
    start: usize,
    stop: usize,
    /// Up to where it was looked.
    looked: usize,
}

impl<'a> Valid<'a> {
    /// Bytes that are looked at, about, before they are read: few enough that they are still near then.
    const NEAR: usize = 128 << 10;

    fn none() -> Self {
        Self { text: None, start: 0, stop: 0, looked: 0 }
    }

    /// Look further when `at`, a line's start, is past what was looked at.
    #[inline(always)]
    fn reach(&mut self, data: &'a [u8], at: usize) {
        if at >= self.looked {
            self.look(data, at);
        }
    }

    #[cold]
    fn look(&mut self, data: &'a [u8], at: usize) {
        let rest = &data[at..];
        let near = &rest[..rest.len().min(Self::NEAR)];
        let rest = match memchr::memrchr(b'\n', near) {
            Some(stop) if near.len() < rest.len() => &near[..=stop],
            _ => rest,
        };
        let (text, looked) = match simdutf8::compat::from_utf8(rest) {
            Ok(text) => (Some(text), at + rest.len()),
            Err(error) => {
                let good = &rest[..error.valid_up_to()];
                let length = memchr::memrchr(b'\n', good).map_or(0, |stop| stop + 1);
                let bad = memchr::memchr(b'\n', &rest[length..]).map_or(rest.len(), |stop| length + stop + 1);
                (simdutf8::basic::from_utf8(&rest[..length]).ok(), at + bad)
            }
        };
        let length = text.map_or(0, str::len);
        (self.text, self.start, self.stop, self.looked) = (text, at, at + length, looked);
    }
}

/// Reads records by the quick path.
struct QuickReader<'c> {
    compiled: &'c Compiled,
    header: Option<&'c csv::Header>,
    template: Template,
    scratch: Scratch,
    /// Whether every record is refused anyway.
    off: bool,
    /// How records are read side by side, where they are.
    avx2: Option<Avx2>,
    /// Records that are still to be read one by one, before as many as are read side by side are tried again.
    singly: usize,
    /// How many times in a row reading them side by side failed.
    failures: u32,
}

impl<'c> QuickReader<'c> {
    fn new(compiled: &'c Compiled, dialect: &'c Dialect, refused_columns: &[String]) -> Self {
        let header = match dialect {
            Dialect::Json => None,
            Dialect::Csv(header) => Some(&**header),
        };
        let (template, scratch) = (Template::default(), Scratch::new(&compiled.plan));
        Self {
            compiled,
            header,
            template,
            scratch,
            off: !refused_columns.is_empty(),
            avx2: Avx2::detect(),
            singly: MANY,
            failures: 0,
        }
    }

    /// Read the record of `text` that has these bytes; `false` when it is left to the general path, and then nothing is read of it.
    #[inline(always)]
    fn read(&mut self, sink: &mut Sink, text: &str, record: Range<usize>) -> bool {
        if self.off {
            return false;
        }
        let (quick, rows, scratch) = (&self.compiled.quick, &mut sink.rows, &mut self.scratch);
        match self.header {
            None => self.template.read(Alone, text, &[record], quick, rows, scratch),
            Some(header) => csv::read_quickly(Alone, text, &[record], header, quick, rows, scratch),
        }
    }

    /// Whether the next records are to be read side by side; asked before each record that isn't.
    #[inline(always)]
    fn reads_many(&mut self) -> bool {
        let reads_many = self.singly == 0;
        self.singly = self.singly.saturating_sub(1);
        reads_many && self.avx2.is_some() && !self.off
    }

    /// Read records side by side. Where that fails they are read one by one, and where it fails again and again so are more and
    /// more of those after them.
    #[inline(always)]
    fn read_many(&mut self, sink: &mut Sink, text: &str, records: &[Range<usize>; MANY]) -> bool {
        const MOST_DOUBLINGS: u32 = 6;
        let rows = &mut sink.rows;
        let fine = self.avx2.is_some_and(|avx2| avx2.run(Many { reader: self, rows, text, records }));
        if fine {
            self.failures = 0;
        } else {
            self.singly = (MANY << self.failures.min(MOST_DOUBLINGS)) - 1;
            self.failures += 1;
        }
        fine
    }

    /// Note that a record has taken the general path. If it is the only one for which records weren't read side by side, the next
    /// ones are again.
    fn odd_one_is_read(&mut self) {
        if self.failures == 1 {
            self.singly = 0;
        }
    }

    /// Whether a line is a comment instead of a record.
    fn is_comment(&self, line: &[u8]) -> bool {
        let comment = self.compiled.quick.fields.comment;
        self.header.is_some() && comment.is_some() && line.first().copied() == comment
    }

    /// Learn from a record that was accepted, though not quickly.
    fn learn(&mut self, record: &str) {
        if self.header.is_none() {
            self.template.learn(record, &self.compiled.plan, &self.compiled.quick);
        }
    }
}

/// Records to be read side by side.
struct Many<'m, 'c> {
    reader: &'m mut QuickReader<'c>,
    rows: &'m mut Rows,
    text: &'m str,
    records: &'m [Range<usize>; MANY],
}

impl Work for Many<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run(self, avx2: Avx2) -> bool {
        let Self { reader: QuickReader { compiled, header, template, scratch, .. }, rows, text, records } =
            self;
        match header {
            None => template.read(avx2, text, records, &compiled.quick, rows, scratch),
            Some(header) => csv::read_quickly(avx2, text, records, header, &compiled.quick, rows, scratch),
        }
    }
}

fn utf8(bytes: &[u8]) -> std::result::Result<&str, Violation> {
    simdutf8::compat::from_utf8(bytes).map_err(|error| {
        Violation::of_record("utf8", format!("not UTF-8 from byte {} of the record on", error.valid_up_to()))
    })
}

/// Collects the records of one chunk.
struct Sink<'c, 'a> {
    compiled: &'c Compiled,
    /// Columns of the source for which every record is refused.
    refused_columns: &'c [String],
    row: Row<'a>,
    checked: Vec<Checked>,
    unknown_names: Vec<String>,
    nested: nested::Scratch,
    rows: Rows,
    records: usize,
    spans: Vec<Span>,
    numbering: Numbering,
    /// Whether each record is a line.
    has_lines: bool,
    blank_lines: Numbering,
    rejects: Vec<Reject>,
    unknown: BTreeMap<String, u64>,
}

impl<'c, 'a> Sink<'c, 'a> {
    fn new(compiled: &'c Compiled, refused_columns: &'c [String], capacity: usize) -> Self {
        let width = compiled.plan.columns.len();
        Self {
            compiled,
            refused_columns,
            row: vec![Cell::Missing; width],
            checked: vec![Checked::Null; width],
            unknown_names: Vec::new(),
            nested: nested::Scratch::default(),
            rows: Rows::new(&compiled.plan, compiled.columns.clone(), capacity),
            records: 0,
            spans: Vec::with_capacity(capacity),
            numbering: Numbering::default(),
            has_lines: false,
            blank_lines: Numbering::default(),
            rejects: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// Read a record by the general path; whether it is accepted.
    fn text_record(
        &mut self,
        dialect: &Dialect,
        text: std::result::Result<&'a str, Violation>,
        range: Range<usize>,
    ) -> bool {
        let parsed = text.and_then(|text| match dialect {
            Dialect::Json => self.compiled.json.parse(text, &mut self.row, &mut self.unknown_names),
            Dialect::Csv(header) => csv::parse_record(text, header, &self.compiled.plan.csv, &mut self.row),
        });
        match parsed {
            Ok(()) => self.record(range),
            Err(violation) => self.reject(range, vec![violation]),
        }
    }

    /// Count the record's fields that the plan doesn't know; a violation where they are refused.
    #[cold]
    fn unknown_fields(&mut self) -> Option<Violation> {
        let mut names = std::mem::take(&mut self.unknown_names);
        names.sort_unstable();
        names.dedup();
        let refused = self.compiled.plan.unknown_fields == UnknownFields::Reject;
        let violation = refused.then(|| unknown_field(&names));
        for name in names {
            count_name(&mut self.unknown, name, 1);
        }
        violation
    }

    /// Count a record whose row is there already.
    #[inline(always)]
    fn accept(&mut self, range: Range<usize>) {
        self.spans.push(Span::new(&range));
        self.records += 1;
    }

    /// Check the row that was read and keep or reject it; whether it is kept.
    #[inline]
    fn record(&mut self, range: Range<usize>) -> bool {
        let mut violations = Vec::new();
        let checker = &self.compiled.quick.checker;
        for (index, (cell, checked)) in self.row.iter().zip(&mut self.checked).enumerate() {
            let builder = &mut self.rows.columns()[index];
            *checked = checker.check_into(index, cell, builder, &mut violations, &mut self.nested);
        }
        checker.check_between(&self.row, &self.checked, &mut violations);
        self.unknown_names.append(&mut self.nested.unknown);
        if !self.unknown_names.is_empty()
            && let Some(violation) = self.unknown_fields()
        {
            violations.insert(0, violation);
        }
        if !self.refused_columns.is_empty() {
            violations.insert(0, unknown_field(self.refused_columns));
        }
        if !violations.is_empty() {
            self.rows.take_back();
            return self.reject(range, violations);
        }
        self.rows.push(&self.row, &self.checked);
        self.accept(range);
        true
    }

    #[cold]
    fn reject(&mut self, range: Range<usize>, violations: Vec<Violation>) -> bool {
        self.unknown_names.clear();
        self.numbering.pass(self.spans.len());
        self.rejects.push(Reject { place: Place { record: self.records, range }, violations });
        self.records += 1;
        false
    }

    fn finish(mut self) -> Result<Parsed> {
        let rows = self.rows.finish()?;
        self.finish_with(rows)
    }

    /// What the chunk came to when these are its rows.
    fn finish_with(self, rows: RecordBatch) -> Result<Parsed> {
        let keys = self.compiled.keys.as_ref().map(|encoder| encoder.encode(&rows)).transpose()?;
        let unique = self.compiled.unique.iter();
        let unique =
            unique.map(|encoder| encoder.encode(rows.column(encoder.column))).collect::<Result<_>>()?;
        Ok(Parsed {
            records: self.records,
            partitions: self.compiled.partitioner.assign(&rows)?,
            keys,
            unique,
            rows,
            spans: self.spans,
            numbering: self.numbering,
            rejects: self.rejects,
            blank_lines: self.has_lines.then_some(self.blank_lines),
            unknown: self.unknown,
        })
    }
}

fn unknown_field(names: &[String]) -> Violation {
    let shown = names.iter().take(20).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Violation::of_record("unknown_field", format!("the contract has no {shown}"))
}

/// Count `name`, if it is there at all. Of more than a hundred names the last by spelling are counted together as `…`: which those are depends
/// on no order of records or chunks.
pub fn count_name(counts: &mut BTreeMap<String, u64>, name: String, by: u64) {
    const MOST: usize = 100;
    const OTHERS: &str = "…";
    if by == 0 {
        return;
    }
    *counts.entry(name).or_default() += by;
    if counts.len() - usize::from(counts.contains_key(OTHERS)) > MOST
        && let Some(last) = counts.keys().rfind(|name| *name != OTHERS).cloned()
    {
        let records = counts.remove(&last).unwrap_or_default();
        *counts.entry(OTHERS.to_owned()).or_default() += records;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringViewArray,
        TimestampNanosecondArray,
    };
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_names_that_are_counted_apart_depend_on_no_order() {
        let names: Vec<String> = (0..150).map(|number| format!("{number:03}")).collect();
        let count = |names: &mut dyn Iterator<Item = &String>| {
            let mut counts = BTreeMap::new();
            names.for_each(|name| count_name(&mut counts, name.clone(), 2));
            counts
        };
        let counts = count(&mut names.iter());
        assert_eq!((counts.len(), counts["099"], counts["…"]), (101, 2, 100));
        assert_eq!(count(&mut names.iter().rev()), counts);
        let mut halves = count(&mut names[..120].iter().rev());
        for (name, records) in count(&mut names[120..].iter()) {
            count_name(&mut halves, name, records);
        }
        assert_eq!(halves, counts);
    }

    #[test]
    fn bad_utf8_costs_its_record_only() {
        let plan = json!({"dataset": "d", "contract": "c",
            "columns": [{"name": "a", "field_id": 1, "type": "string"}]});
        let compiled = Compiled::new(Plan::from_json(&plan.to_string()).unwrap()).unwrap();
        let data = b"{\"a\":\"x\"}\n{\"a\":\"\xff\"}\n{\"a\":\"y\"}\n".to_vec();
        let data = data.into();
        let chunk = Chunk::Text { data, offset: 0, line: 1, framing: Framing::Lines };
        let parsed = parse(&compiled, &Dialect::Json, &[], &chunk).unwrap();
        assert_eq!((parsed.records, parsed.rows.num_rows(), parsed.rejects.len()), (3, 2, 1));
        assert_eq!(parsed.rejects[0].violations[0].rule, "utf8");
        assert_eq!(parsed.rejects[0].place, Place { record: 1, range: 10..20 - 1 });
    }

    /// A column of `int32`, `string`, `number`, `boolean`, `date` or `timestamp` from a few numbers, broken and null ones
    /// among them.
    fn column(kind: &str, numbers: &[i64]) -> ArrayRef {
        let some = |number: &i64| (number % 7 != 0).then_some(*number);
        let numbers = numbers.iter().map(some);
        match kind {
            "int32" => Arc::new(numbers.map(|number| number.map(|n| n << (n & 31))).collect::<Int64Array>()),
            "string" => {
                let text = |n: i64| if n % 3 == 0 { "é".repeat(n as usize % 6) } else { format!("{n}") };
                Arc::new(numbers.map(|number| number.map(text)).collect::<StringViewArray>())
            }
            "float64" => {
                let float = |n: i64| if n % 5 == 0 { f64::NAN } else { n as f64 / 4.0 };
                Arc::new(numbers.map(|number| number.map(float)).collect::<Float64Array>())
            }
            "boolean" => Arc::new(numbers.map(|number| number.map(|n| n % 2 == 0)).collect::<BooleanArray>()),
            "date" => {
                Arc::new(numbers.map(|number| number.map(|n| n as i32 * 99_999)).collect::<Date32Array>())
            }
            _ => Arc::new(
                numbers
                    .map(|number| number.map(|n| n * 500))
                    .collect::<TimestampNanosecondArray>()
                    .with_timezone("UTC"),
            ),
        }
    }

    proptest! {
        #[test]
        fn columns_read_whole_come_to_what_their_rows_come_to(
            columns in prop::collection::vec(prop::collection::vec(0..100_i64, 30), 6),
            rows in 0..30_usize,
            required: [bool; 6],
            missing in 0..20_usize,
        ) {
            let kinds = ["int32", "string", "float64", "boolean", "date", "timestamp"];
            let rules = [
                json!([{"rule": "minimum", "value": -9}, {"rule": "maximum", "value": 1 << 20}]),
                json!([{"rule": "maxLength", "value": 4}, {"rule": "pattern", "value": "^[^7]*$"}]),
                json!([{"rule": "maximum", "value": 20}]),
                json!([]), json!([]), json!([]),
            ];
            let of_plan: Vec<_> = (0..6)
                .map(|at| json!({"name": kinds[at], "field_id": at + 1, "type": kinds[at],
                    "required": required[at], "rules": rules[at]}))
                .collect();
            let plan = json!({"dataset": "d", "contract": "c", "columns": of_plan, "key": ["int32"],
                "compare": [{"left": "int32", "operator": ">=", "right": "float64"}]});
            let compiled = Compiled::new(Plan::from_json(&plan.to_string()).unwrap()).unwrap();
            let present = (0..6).filter(|at| *at != missing);
            let arrays = present.map(|at| (kinds[at], column(kinds[at], &columns[at][..rows])));
            let batch = RecordBatch::try_from_iter_with_nullable(arrays.map(|(name, array)| (name, array, true))).unwrap();

            let reader = RowReader::new(&compiled.plan, &batch).unwrap();
            let mut sink = Sink::new(&compiled, &[], 0);
            for row in 0..rows {
                reader.read(row, &mut sink.row);
                sink.record(row..row + 1);
            }
            let expected = sink.finish().unwrap();
            let whole = read_columns(&compiled, &reader, rows).unwrap().expect("no column is nested");
            prop_assert_eq!(&whole.rows, &expected.rows);
            prop_assert_eq!(whole.records, expected.records);
            prop_assert_eq!(&whole.spans, &expected.spans);
            prop_assert_eq!(&whole.numbering, &expected.numbering);
            let rejects = |parsed: &Parsed| {
                parsed.rejects.iter().map(|reject| (reject.place.clone(), reject.violations.clone())).collect::<Vec<_>>()
            };
            prop_assert_eq!(rejects(&whole), rejects(&expected));
        }
    }

    #[test]
    fn an_unknown_field_is_refused_beside_what_else_is_wrong() {
        let plan = json!({"dataset": "d", "contract": "c", "unknown_fields": "reject",
            "columns": [{"name": "a", "field_id": 1, "type": "int32"}]});
        let compiled = Compiled::new(Plan::from_json(&plan.to_string()).unwrap()).unwrap();
        let rules = |data: &[u8], dialect: &Dialect, unknown: &[String]| {
            let data = data.to_vec().into();
            let chunk = Chunk::Text { data, offset: 0, line: 1, framing: Framing::Lines };
            let parsed = parse(&compiled, dialect, unknown, &chunk).unwrap();
            parsed.rejects[0].violations.iter().map(|violation| violation.rule).collect::<Vec<_>>()
        };
        assert_eq!(rules(b"{\"a\":\"x\",\"b\":1}", &Dialect::Json, &[]), ["unknown_field", "type"]);
        let header = csv::Header::parse(b"a,b", &compiled.plan).unwrap();
        let unknown = header.unknown.clone();
        assert_eq!(rules(b"x,1", &Dialect::Csv(header.into()), &unknown), ["unknown_field", "type"]);
    }
}

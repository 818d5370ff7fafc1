//! What every fuzz target holds against the kernel. The kernel's own tests hold the same against random files
//! (`kernel/tests/paths_agree.rs`).
//!
//! An input's first bytes choose a plan and how the source is cut; the rest is the file, which the kernel maps.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::record_batch::RecordBatch;
use dpipe_kernel::{
    cell::{Row, Violation},
    check::{Checked, Checker},
    chunk::{Chunk, Framing},
    csv, json, nested,
    parse::{self, Compiled, Dialect, Parsed, Place},
    plan::{Plan, UnknownFields},
    read::{Compression, Format, Source, lines, open},
    rows::Rows,
    run::{Alone, Options, run},
    schema,
};

/// A column of every type, with every rule that it may have.
const PLAN: &str = include_str!("../plan.json");

/// How an input is to be read, by its first two bytes.
struct Setting {
    plan: Plan,
    chunk_bytes: usize,
    chunk_records: usize,
}

impl Setting {
    fn of(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&[options, cut], content) = input.split_first_chunk::<2>()?;
        let mut plan = Plan::from_json(PLAN).expect("the plan is one");
        // Plans of few columns let short inputs reach whole records.
        plan.columns.truncate([17, 2, 1, 5][usize::from(options & 3)]);
        let columns = &plan.columns;
        let is_there = |name: &String| columns.iter().any(|column| column.name == *name);
        plan.compare.retain(|rule| is_there(&rule.left) && is_there(&rule.right));
        plan.unknown_fields = [UnknownFields::Ignore, UnknownFields::Reject][usize::from(options >> 2 & 1)];
        plan.max_record_bytes = [1 << 20, 64][usize::from(options >> 3 & 1)];
        plan.csv.header = options >> 4 & 1 == 0;
        plan.columns[0].required = options >> 5 & 1 == 1;
        plan.csv.delimiter = [',', '-'][usize::from(options >> 6 & 1)];
        if options >> 7 & 1 == 1 {
            (plan.csv.escape, plan.csv.comment) = (Some('\\'), Some('#'));
        }
        let chunk_bytes = [4 << 20, 1, 100, 1000][usize::from(cut & 3)];
        let chunk_records = [100_000, 1, 2, 17][usize::from(cut >> 2 & 3)];
        Some((Self { plan, chunk_bytes, chunk_records }, content))
    }
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("dpipe-fuzz-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder for inputs");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder of this thread's own; `run.sh` sets the place to one in memory.
fn folder() -> PathBuf {
    thread_local! {
        static FOLDER: Folder = Folder::new();
    }
    FOLDER.with(|folder| folder.0.clone())
}

fn source(content: &[u8], format: Format) -> Source {
    let path = folder().join("source");
    fs::write(&path, content).expect("the input is written");
    let source = Source::of("batch", path);
    Source { format: Some(format), compression: Some(Compression::None), ..source }
}

/// A record as it was found: its place in the file, its bytes, and the fault of its framing.
#[derive(Debug, PartialEq)]
struct Found {
    offset: u64,
    bytes: Vec<u8>,
    fault: Option<&'static str>,
}

/// Read the input's records, and hold each chunk's result against the general path alone.
pub fn read(format: Format, input: &[u8]) {
    let Some((setting, content)) = Setting::of(input) else { return };
    let cut = read_by(&setting, format, content);
    let whole = Setting { chunk_bytes: 4 << 20, chunk_records: 100_000, ..setting };
    assert_eq!(cut, read_by(&whole, format, content), "records depend on how the source is cut");
}

fn read_by(setting: &Setting, format: Format, content: &[u8]) -> Vec<Found> {
    let source = source(content, format);
    let Ok(mut input) = open(&source, &setting.plan, setting.chunk_bytes, setting.chunk_records) else {
        return Vec::new();
    };
    let compiled = Compiled::new(setting.plan.clone()).expect("the plan compiles");
    let general = General::new(&setting.plan);
    let dialect = input.csv.clone().map_or(Dialect::Json, Dialect::Csv);
    let mut found = Vec::new();
    while let Some(chunk) = input.next_chunk().expect("text can be read") {
        let parsed = parse::parse(&compiled, &dialect, &input.unknown_columns, &chunk).expect("columns fit");
        let frames = frames(&chunk, format, setting.plan.csv.comment);
        general.agrees(&dialect, &input.unknown_columns, &chunk, &frames, &parsed);
        found.extend(frames.into_iter().map(|frame| frame.found));
    }
    found
}

struct FrameOf {
    range: std::ops::Range<usize>,
    fault: Option<Violation>,
    found: Found,
}

fn frames(chunk: &Chunk, format: Format, comment: Option<char>) -> Vec<FrameOf> {
    let comment = comment.filter(|_| format == Format::Csv).map(|byte| byte as u8);
    let Chunk::Text { data, offset, framing, .. } = chunk else { panic!("text has no columns") };
    let frame = |range: std::ops::Range<usize>, fault: Option<Violation>| FrameOf {
        found: Found {
            offset: offset + range.start as u64,
            bytes: data[range.clone()].to_vec(),
            fault: fault.as_ref().map(|fault| fault.rule),
        },
        range,
        fault,
    };
    match framing {
        Framing::Lines => {
            let records = lines::records(data, format);
            let records =
                records.filter(|range| comment.is_none() || data.get(range.start).copied() != comment);
            records.map(|range| frame(range, None)).collect()
        }
        Framing::Records(records) => {
            records.iter().map(|record| frame(record.range.clone(), record.fault.clone())).collect()
        }
    }
}

/// The general path alone, put together from its parts.
struct General<'p> {
    plan: &'p Plan,
    json: json::Parser,
    checker: Checker,
}

impl<'p> General<'p> {
    fn new(plan: &'p Plan) -> Self {
        let checker = Checker::new(plan).expect("the plan compiles");
        Self { plan, json: json::Parser::new(plan), checker }
    }

    fn agrees(
        &self,
        dialect: &Dialect,
        unknown_columns: &[String],
        chunk: &Chunk,
        frames: &[FrameOf],
        parsed: &Parsed,
    ) {
        let Chunk::Text { data, .. } = chunk else { panic!("text has no columns") };
        let mut rows = Rows::new(self.plan, schema::columns(self.plan), 0);
        let (mut places, mut rejects) = (Vec::new(), Vec::new());
        for (record, frame) in frames.iter().enumerate() {
            let place = Place { record, range: frame.range.clone() };
            let rules = match &frame.fault {
                Some(fault) => vec![(fault.column, fault.rule)],
                None => self.judge(dialect, unknown_columns, &data[frame.range.clone()], &mut rows),
            };
            if rules.is_empty() {
                places.push(place);
            } else {
                rejects.push((place, rules));
            }
        }
        assert_eq!(parsed.records, frames.len());
        assert_eq!(parsed.records, parsed.spans.len() + parsed.rejects.len());
        let accepted: Vec<Place> = (0..parsed.spans.len()).map(|row| parsed.place(row)).collect();
        assert_eq!(accepted, places, "accepted");
        if let Some(blank_lines) = &parsed.blank_lines {
            for (record, frame) in frames.iter().enumerate() {
                let before = data[..frame.range.start].iter().filter(|byte| **byte == b'\n').count();
                assert_eq!(blank_lines.record(record), before, "the line of a record");
            }
        }
        let found = parsed.rejects.iter().map(|reject| (reject.place.clone(), rules(&reject.violations)));
        assert_eq!(found.collect::<Vec<_>>(), rejects, "rejected");
        assert_equal_rows(&parsed.rows, &rows.finish().expect("columns fit"));
    }

    /// What is wrong with a record; its row goes to `rows` if nothing is.
    fn judge(
        &self,
        dialect: &Dialect,
        unknown_columns: &[String],
        record: &[u8],
        rows: &mut Rows,
    ) -> Vec<(Option<usize>, &'static str)> {
        let Ok(text) = std::str::from_utf8(record) else { return vec![(None, "utf8")] };
        let (mut row, mut unknown) = (Row::new(), Vec::new());
        let parsed = match dialect {
            Dialect::Json => self.json.parse(text, &mut row, &mut unknown),
            Dialect::Csv(header) => csv::parse_record(text, header, &self.plan.csv, &mut row),
        };
        if let Err(violation) = parsed {
            return rules(&[violation]);
        }
        let mut violations = Vec::new();
        let mut nested = nested::Scratch::default();
        let cells = row.iter().zip(rows.columns()).enumerate();
        let checked: Vec<Checked> = cells
            .map(|(index, (cell, builder))| {
                self.checker.check_into(index, cell, builder, &mut violations, &mut nested)
            })
            .collect();
        self.checker.check_between(&row, &checked, &mut violations);
        if self.plan.unknown_fields == UnknownFields::Reject {
            // Once for what the source has, once for what the record has.
            let of_record = !unknown.is_empty() || !nested.unknown.is_empty();
            let count = usize::from(!unknown_columns.is_empty()) + usize::from(of_record);
            violations.splice(..0, (0..count).map(|_| Violation::of_record("unknown_field", "")));
        }
        if violations.is_empty() {
            rows.push(&row, &checked);
        } else {
            rows.take_back();
        }
        rules(&violations)
    }
}

fn rules(violations: &[Violation]) -> Vec<(Option<usize>, &'static str)> {
    violations.iter().map(|violation| (violation.column, violation.rule)).collect()
}

/// Equality of values; floats are compared by their bits.
fn assert_equal_rows(one: &RecordBatch, other: &RecordBatch) {
    assert_eq!(one.num_rows(), other.num_rows());
    for (index, field) in one.schema().fields().iter().enumerate() {
        assert_eq!(one.column(index).to_data(), other.column(index).to_data(), "{}", field.name());
    }
}

/// Run the input as two sources of a plan with a key, and for some inputs a unique column, in two ways.
pub fn run_twice(input: &[u8]) {
    let Some((&format, input)) = input.split_first() else { return };
    let Some((mut setting, content)) = Setting::of(input) else { return };
    let is_unique = format / 3 % 2 == 1 && setting.plan.column("b").is_ok();
    let format = [Format::Ndjson, Format::Json, Format::Csv][usize::from(format % 3)];
    setting.plan.key = vec!["a".into()];
    if is_unique {
        setting.plan.unique = vec!["b".into()];
    }
    let source = source(content, format);
    let second = Source { batch_id: "second".into(), ..source.clone() };
    let outcome = |threads: usize, batch_size: usize, chunk_bytes: usize| {
        let out = folder().join("out");
        let mut options = Options::new(out.join("data"), out.join("quarantine"));
        (options.threads, options.batch_size, options.chunk_bytes) = (threads, batch_size, chunk_bytes);
        let found = run(&setting.plan, &[source.clone(), second.clone()], &options, &mut Alone);
        let found = found.expect("a run ends well");
        let _ = fs::remove_dir_all(&out);
        for batch in &found.batches {
            assert_eq!(batch.records_in, batch.accepted + batch.rejected + batch.duplicate);
        }
        let [first, second] = &found.batches[..] else { panic!("a batch for each source") };
        // Whatever the first accepts, the second has again; a value that was taken may have its key now, too.
        assert_eq!(second.accepted, 0);
        assert!(second.rejected == first.rejected || (is_unique && second.rejected < first.rejected));
        serde_json::to_value(&found.batches).expect("counts are JSON")
    };
    assert_eq!(outcome(1, 100_000, 4 << 20), outcome(2, setting.chunk_records, setting.chunk_bytes));
}

/// Read a plan and, if it compiles, some records by it.
pub fn plan(text: &str) {
    let Ok(plan) = Plan::from_json(text) else { return };
    let Ok(compiled) = Compiled::new(plan.clone()) else { return };
    if plan.columns.is_empty() {
        return; // A contract has columns; a record batch without any has no rows.
    }
    for format in [Format::Ndjson, Format::Csv] {
        let content = match format {
            Format::Csv => &b"a,b\n1,x\n2,\"y\"\n,\n"[..],
            _ => &b"{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": null}\n{}\n"[..],
        };
        let Ok(mut input) = open(&source(content, format), &plan, 4 << 20, 100_000) else { continue };
        let dialect =
            input.csv.clone().map_or(Dialect::Json, |header: Arc<csv::Header>| Dialect::Csv(header));
        while let Some(chunk) = input.next_chunk().expect("text can be read") {
            let parsed =
                parse::parse(&compiled, &dialect, &input.unknown_columns, &chunk).expect("columns fit");
            assert_eq!(parsed.records, parsed.spans.len() + parsed.rejects.len());
        }
    }
}

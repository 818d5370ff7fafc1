//! Whatever the number of threads, the size of record batches, the way a source is cut or where it comes from and goes to:
//! one result.

#![allow(clippy::unwrap_used)] // a test that unwraps fails where it should

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatchIterator, StringArray, StringViewArray,
    },
    compute::{SortColumn, cast, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch},
    datatypes::{DataType, Int32Type, Int64Type},
    record_batch::RecordBatch,
    util::pretty::pretty_format_batches,
};
use dpipe_kernel::{
    error,
    outcome::{FileKind, Outcome},
    partition::PartitionValue,
    plan::{Comparison, Operator, Plan, WriteMode},
    read::{Content, Format, Source},
    run::{Alone, Destination, Host, Options, run},
    schema,
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use proptest::prelude::*;

fn plan() -> Plan {
    let plan = serde_json::json!({
        "dataset": "things", "contract": "c",
        "columns": [
            {"name": "id", "field_id": 1, "type": "int32", "required": true,
             "rules": [{"rule": "minimum", "value": 0}, {"rule": "maximum", "value": 20}]},
            {"name": "part", "field_id": 2, "type": "string", "required": true},
            {"name": "note", "field_id": 3, "type": "string", "rules": [{"rule": "maxLength", "value": 6}]},
        ],
        "key": ["id", "part"],
        "partition": [{"column": "part", "transform": "identity", "name": "part"}],
    });
    Plan::from_json(&plan.to_string()).unwrap()
}

/// A record of the source: good, doubled now and then by the narrow range of ids, or broken in some way.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let good = (0..25i32, "[ab]", proptest::option::of("[a-zé\\\\\"]{0,8}")).prop_map(|(id, part, note)| {
        serde_json::json!({"id": id, "part": part, "note": note}).to_string().into_bytes()
    });
    prop_oneof![
        8 => good,
        1 => Just(b"{\"id\": 1, ".to_vec()),
        1 => Just(b"{\"id\": \"x\", \"part\": null}".to_vec()),
        1 => Just(b"{\"id\": 1, \"part\": \"\xff\"}".to_vec()),
        1 => Just(b"  ".to_vec()),
    ]
}

/// Counts, accepted rows by partition and the quarantine, as text.
fn result(folder: &Path, plan: &Plan, sources: &[Source], change: impl FnOnce(&mut Options)) -> String {
    let out = tempfile::tempdir_in(folder).unwrap();
    let mut options = Options::new(out.path().join("a"), out.path().join("q"));
    change(&mut options);
    let outcome = run(plan, sources, &options, &mut Alone).unwrap();
    for batch in &outcome.batches {
        assert_eq!(batch.records_in, batch.accepted + batch.rejected + batch.duplicate);
    }
    let mut parts = vec![serde_json::to_string_pretty(&outcome.batches).unwrap()];
    parts.extend(shown(&outcome, FileKind::Accepted));
    parts.extend(shown(&outcome, FileKind::Quarantine));
    parts.join("\n")
}

/// The rows of all files of a kind, in the order of their records.
fn written(outcome: &Outcome, kind: FileKind) -> Vec<RecordBatch> {
    let files = outcome.files.iter().filter(|file| file.kind == kind);
    let batches: Vec<RecordBatch> = files.flat_map(|file| read(&file.path)).collect();
    let Some(first) = batches.first() else { return batches };
    let rows = concat_batches(&first.schema(), &batches).unwrap();
    let by = [schema::BATCH_ID, schema::RECORD_NO]
        .map(|name| SortColumn { values: rows.column_by_name(name).unwrap().clone(), options: None });
    vec![take_record_batch(&rows, &lexsort_to_indices(&by, None).unwrap()).unwrap()]
}

fn assert_same_rows(found: &[RecordBatch], expected: &[RecordBatch]) {
    assert_eq!(found.is_empty(), expected.is_empty());
    let Some(first) = expected.first() else { return };
    let found = concat_batches(&found[0].schema(), found).unwrap();
    assert_eq!(found.schema().fields(), first.schema().fields());
    assert_eq!(found.columns(), concat_batches(&first.schema(), expected).unwrap().columns());
}

/// Key, note and number of each row.
fn keyed(rows: &[RecordBatch]) -> Vec<((i32, String), Option<String>, i64)> {
    let mut found = Vec::new();
    for batch in rows {
        let ids = batch.column(0).as_primitive::<Int32Type>();
        let (parts, notes) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
        let numbers = batch.column_by_name(schema::RECORD_NO).unwrap().as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let note = notes.is_valid(row).then(|| notes.value(row).to_owned());
            found.push(((ids.value(row), parts.value(row).to_owned()), note, numbers.value(row)));
        }
    }
    found
}

/// A host whose table holds these rows.
struct Holding(Vec<RecordBatch>);

impl Host for Holding {
    fn existing(
        &mut self,
        _partition: &BTreeMap<String, PartitionValue>,
        rows: &mut dyn FnMut(&RecordBatch) -> error::Result<()>,
    ) -> error::Result<()> {
        self.0.iter().try_for_each(rows)
    }

    fn existing_values(
        &mut self,
        columns: &[String],
        rows: &mut dyn FnMut(&RecordBatch) -> error::Result<()>,
    ) -> error::Result<()> {
        let names = columns.iter().map(String::as_str).chain([schema::BATCH_ID, schema::RECORD_NO]);
        let names: Vec<&str> = names.collect();
        self.0.iter().try_for_each(|held| {
            let places: Vec<usize> = names.iter().map(|name| held.schema().index_of(name).unwrap()).collect();
            rows(&held.project(&places).unwrap())
        })
    }

    fn progress(&mut self, _records: u64, _bytes: u64) -> error::Result<()> {
        Ok(())
    }
}

/// A plan that upserts by version.
fn versioned() -> Plan {
    let plan = serde_json::json!({
        "dataset": "things", "contract": "c", "write_mode": "upsert", "key": ["id"], "version": "version",
        "columns": [
            {"name": "id", "field_id": 1, "type": "int64", "required": true},
            {"name": "version", "field_id": 2, "type": "int64", "required": true},
            {"name": "note", "field_id": 3, "type": "string"},
        ],
    });
    Plan::from_json(&plan.to_string()).unwrap()
}

/// A source of records of that plan: id, version and note.
fn source_of(index: usize, records: &[(i64, i64, String)]) -> Source {
    let line = |(id, version, note): &(i64, i64, String)| {
        serde_json::json!({"id": id, "version": version, "note": note}).to_string()
    };
    let lines: Vec<String> = records.iter().map(line).collect();
    let mut source =
        Source::of(format!("batch-{index}"), Content::Bytes(lines.join("\n").into_bytes().into()));
    source.format = Some(Format::Ndjson);
    source
}

/// What upserts come to.
struct Upserted {
    /// Counts of each source.
    batches: Vec<serde_json::Value>,
    table: Vec<RecordBatch>,
    quarantined: Vec<RecordBatch>,
}

/// Upsert sources into a table, at most so many a run: of those that a run ended before, the next begins with the first.
fn upserted(
    plan: &Plan,
    mut table: Vec<RecordBatch>,
    mut sources: &[Source],
    most: usize,
    options: &Options,
) -> Upserted {
    let (mut batches, mut quarantined) = (Vec::new(), Vec::new());
    while !sources.is_empty() {
        let taken = &sources[..most.min(sources.len())];
        let found = run(plan, taken, options, &mut Holding(table.clone())).unwrap();
        assert!(!found.batches.is_empty());
        sources = &sources[found.batches.len()..];
        let superseded = found.batches.iter().flat_map(|batch| &batch.superseded);
        let gone: BTreeSet<(&str, i64)> = superseded
            .flat_map(|(batch, numbers)| numbers.iter().map(|number| (batch.as_str(), number.cast_signed())))
            .collect();
        let count: usize = table.iter().map(RecordBatch::num_rows).sum();
        table = table.iter().map(|rows| without(rows, &gone)).collect();
        assert_eq!(table.iter().map(RecordBatch::num_rows).sum::<usize>() + gone.len(), count);
        table.extend(found.accepted);
        quarantined.extend(found.quarantined);
        batches.extend(found.batches.iter().map(|batch| serde_json::to_value(batch).unwrap()));
    }
    Upserted { batches, table, quarantined }
}

/// The rows but those of these batches and numbers.
fn without(rows: &RecordBatch, gone: &BTreeSet<(&str, i64)>) -> RecordBatch {
    let batch_ids = cast(rows.column_by_name(schema::BATCH_ID).unwrap(), &DataType::Utf8).unwrap();
    let numbers = rows.column_by_name(schema::RECORD_NO).unwrap().as_primitive::<Int64Type>();
    let stays = batch_ids
        .as_string::<i32>()
        .iter()
        .zip(numbers)
        .map(|(batch_id, number)| Some(!gone.contains(&(batch_id.unwrap(), number.unwrap()))));
    filter_record_batch(rows, &stays.collect::<BooleanArray>()).unwrap()
}

/// A column of whole numbers; nothing where there is no such column.
fn column(batches: &[RecordBatch], name: &str) -> Vec<Option<i64>> {
    let arrays = batches.iter().filter_map(|batch| batch.column_by_name(name));
    arrays.flat_map(|array| array.as_primitive::<Int64Type>().iter()).collect()
}

/// Counts, without what is said of the source itself.
fn counts(outcome: &Outcome) -> serde_json::Value {
    let mut batches = serde_json::to_value(&outcome.batches).unwrap();
    for batch in batches.as_array_mut().unwrap() {
        let batch = batch.as_object_mut().unwrap();
        batch.remove("format").unwrap();
        batch.remove("bytes_in").unwrap();
    }
    batches
}

fn read(path: impl AsRef<Path>) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// The rows of each partition, its files one after the other.
fn shown(outcome: &Outcome, kind: FileKind) -> Vec<String> {
    let mut partitions: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
    for file in outcome.files.iter().filter(|file| file.kind == kind) {
        let batches = read(&file.path);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), file.rows);
        partitions.entry(format!("{:?}", file.partition)).or_default().extend(batches);
    }
    let whole = |batches: &[RecordBatch]| concat_batches(&batches[0].schema(), batches).unwrap();
    let text = |(name, batches): (String, Vec<RecordBatch>)| {
        format!("{name}\n{}", pretty_format_batches(&[whole(&batches)]).unwrap())
    };
    partitions.into_iter().map(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_way_of_working_gives_one_result(
        batches in proptest::collection::vec(proptest::collection::vec(record(), 0..40), 1..3),
        batch_size in 1usize..50,
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
        held_bytes in prop_oneof![Just(1usize), Just(3000), Just(1 << 30)],
        group_rows in 1usize..60,
        is_unique: bool,
        key_bytes in prop_oneof![Just(0usize), Just(1 << 30)],
        is_compared: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan();
        if is_compared {
            // Some notes begin with an escape or are empty, and are before their parts.
            let (left, right) = ("note".to_owned(), "part".to_owned());
            plan.compare.push(Comparison { left, operator: Operator::AtLeast, right });
        }
        if is_unique {
            plan.unique.push("note".to_owned());
        }
        let sources: Vec<Source> = batches.iter().enumerate().map(|(index, records)| {
            let path = folder.path().join(format!("{index}.ndjson"));
            fs::write(&path, records.join(&b'\n')).unwrap();
            Source { format: Some(Format::Ndjson), ..Source::of(format!("batch-{index}"), path) }
        }).collect();
        let expected = result(folder.path(), &plan, &sources, |options| options.threads = 1);
        let found = result(folder.path(), &plan, &sources, |options| {
            (options.batch_size, options.threads) = (batch_size, threads);
            (options.chunk_bytes, options.held_bytes) = (chunk_bytes, held_bytes);
            options.group_rows = group_rows;
            options.key_bytes = key_bytes;
        });
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn memory_has_what_files_have(
        batches in proptest::collection::vec(proptest::collection::vec(record(), 0..40), 1..3),
        batch_size in 1usize..50,
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
        held_bytes in prop_oneof![Just(1usize), Just(3000), Just(1 << 30)],
        group_rows in 1usize..60,
        partitioned: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan();
        if !partitioned {
            plan.partition.clear();
        }
        let (files, bytes): (Vec<Source>, Vec<Source>) = batches.iter().enumerate().map(|(index, records)| {
            let path = folder.path().join(index.to_string());
            let content = records.join(&b'\n');
            fs::write(&path, &content).unwrap();
            let source = |content: Content| {
                Source { format: Some(Format::Ndjson), ..Source::of(format!("batch-{index}"), content) }
            };
            (source(path.into()), source(Content::Bytes(content.into())))
        }).unzip();
        let outcome = |sources: &[Source], destination: Destination| {
            let mut options = Options::to(destination);
            (options.batch_size, options.threads) = (batch_size, threads);
            (options.chunk_bytes, options.held_bytes) = (chunk_bytes, held_bytes);
            options.group_rows = group_rows;
            run(&plan, sources, &options, &mut Alone).unwrap()
        };
        let folders = Destination::Folders { data: folder.path().join("a"), quarantine: folder.path().join("q") };
        let expected = outcome(&files, folders);
        let found = outcome(&bytes, Destination::Memory);
        let nowhere = outcome(&bytes, Destination::Nowhere);
        prop_assert!(expected.accepted.is_empty() && expected.quarantined.is_empty() && found.files.is_empty());
        prop_assert!(nowhere.accepted.is_empty() && nowhere.quarantined.is_empty() && nowhere.files.is_empty());
        assert_same_rows(&found.accepted, &written(&expected, FileKind::Accepted));
        assert_same_rows(&found.quarantined, &written(&expected, FileKind::Quarantine));
        let said = |outcome: &Outcome| serde_json::to_value(&outcome.batches).unwrap();
        prop_assert_eq!(said(&found), said(&expected));
        prop_assert_eq!(said(&nowhere), said(&expected));
        let profile = |outcome: &Outcome| serde_json::to_value(&outcome.profile).unwrap();
        prop_assert_eq!(profile(&nowhere), profile(&found));
        if !partitioned {
            prop_assert_eq!(profile(&found), profile(&expected));
        }
    }

    #[test]
    fn records_have_the_numbers_that_their_source_gives_them(
        records in proptest::collection::vec(record(), 0..40),
        chunk_bytes in 1usize..400,
        missing in 0usize..2,
    ) {
        let count = records.iter().filter(|record| record.iter().any(|byte| *byte != b' ')).count();
        let numbers: Vec<u64> = (1..=count as u64).map(|ordinal| ordinal * 7 + 1000).collect();
        let content = Content::Bytes(records.join(&b'\n').into());
        let outcome = |record_nos: Option<Vec<u64>>| {
            let mut options = Options::to(Destination::Memory);
            options.chunk_bytes = chunk_bytes;
            let source = Source { format: Some(Format::Ndjson), record_nos, ..Source::of("batch", content.clone()) };
            run(&plan(), &[source], &options, &mut Alone)
        };
        let plain = outcome(None).unwrap();
        let numbered = outcome(Some(numbers[..count - missing.min(count)].to_vec()));
        if missing.min(count) > 0 {
            let refused = numbered.map(drop).unwrap_err().to_string();
            prop_assert!(refused.contains("that have a number"), "{}", refused);
            return Ok(());
        }
        let numbered = numbered.unwrap();
        prop_assert_eq!(counts(&numbered), counts(&plain));
        for (found, expected) in [(numbered.accepted, plain.accepted), (numbered.quarantined, plain.quarantined)] {
            for name in [schema::RECORD_NO, "winner_record_no"] {
                let given = |number: i64| number * 7 + 1000;
                let values = |batches: &[RecordBatch]| column(batches, name);
                let expected: Vec<_> = values(&expected).into_iter().map(|number| number.map(given)).collect();
                prop_assert_eq!(values(&found), expected);
            }
            for place in ["byte_offset", "byte_length", "line"] {
                prop_assert!(column(&found, place).into_iter().all(|value| value.is_none()));
            }
        }
    }

    #[test]
    fn of_records_with_one_key_an_upsert_keeps_the_newest_version_in_whatever_order_they_come(
        records in proptest::collection::vec((0..12i64, 0..6i64, "[ab]"), 0..80),
        ends in proptest::collection::vec(0..80usize, 3),
        batch_size in 1usize..50,
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
        key_bytes in prop_oneof![Just(0usize), Just(1 << 20)],
    ) {
        let plan = versioned();
        let mut ends: Vec<usize> = ends.into_iter().map(|end| end.min(records.len())).collect();
        ends.sort_unstable();
        let parts = [0, ends[0], ends[1], ends[2], records.len()];
        let sources: Vec<Source> =
            (0..4).map(|index| source_of(index, &records[parts[index]..parts[index + 1]])).collect();
        let mut options = Options::to(Destination::Memory);
        (options.batch_size, options.threads, options.chunk_bytes) = (batch_size, threads, chunk_bytes);
        options.key_bytes = key_bytes;
        // The first part is in the table, which all else is said to be older than: versions win.
        let table = run(&plan, &sources[..1], &options, &mut Alone).unwrap().accepted;
        let mut later = sources[1..].to_vec();
        later.iter_mut().for_each(|source| source.newer_batches = ["batch-0".to_owned()].into());
        let now = upserted(&plan, table, &later, later.len(), &options).table;

        // Said again: of the records in their order the last one of the largest version, but the table's of equal ones.
        let mut newest: BTreeMap<i64, (i64, bool, String)> = BTreeMap::new();
        for (at, (id, version, note)) in records.iter().enumerate() {
            let is_held = at < ends[0];
            if newest.get(id).is_none_or(|(before, held, _)| before < version || (before == version && *held == is_held)) {
                newest.insert(*id, (*version, is_held, note.clone()));
            }
        }
        let now: Vec<_> = now.iter().flat_map(|batch| {
            let [ids, versions] = [0, 1].map(|at| batch.column(at).as_primitive::<Int64Type>().clone());
            let notes = batch.column(2).as_string::<i32>().clone();
            (0..batch.num_rows())
                .map(|row| (ids.value(row), (versions.value(row), notes.value(row).to_owned())))
                .collect::<Vec<_>>()
        }).collect();
        let count = now.len();
        let now: BTreeMap<_, _> = now.into_iter().collect();
        prop_assert_eq!(now.len(), count, "two rows have one key");
        let expected: BTreeMap<_, _> = newest.into_iter().map(|(id, (version, _, note))| (id, (version, note))).collect();
        prop_assert_eq!(now, expected);
    }

    #[test]
    fn no_two_rows_of_an_upsert_share_a_unique_value_and_records_take_effect_one_after_the_other(
        records in proptest::collection::vec((0..8i64, 0..4i64, 0..10i64), 0..60),
        ends in proptest::collection::vec(0..60usize, 3),
        has_versions: bool,
        most in 1usize..4,
        batch_size in 1usize..50,
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
        key_bytes in prop_oneof![Just(0usize), Just(1 << 20)],
    ) {
        let mut plan = versioned();
        plan.unique.push("note".to_owned());
        if !has_versions {
            plan.version = None;
        }
        let mut ends: Vec<usize> = ends.into_iter().map(|end| end.min(records.len())).collect();
        ends.sort_unstable();
        let parts = [0, ends[0], ends[1], ends[2], records.len()];
        let records: Vec<_> = records.into_iter().map(|(id, version, note)| (id, version, note.to_string())).collect();
        let sources: Vec<Source> =
            (0..4).map(|index| source_of(index, &records[parts[index]..parts[index + 1]])).collect();
        let mut options = Options::to(Destination::Memory);
        (options.batch_size, options.threads, options.chunk_bytes) = (batch_size, threads, chunk_bytes);
        options.key_bytes = key_bytes;
        let found = upserted(&plan, Vec::new(), &sources, most, &options);

        // Said again: rows by id, and one record after the other.
        let mut rows: BTreeMap<i64, (i64, String)> = BTreeMap::new();
        let mut not_unique = 0;
        for (id, version, note) in &records {
            let is_older = |(held, text): &(i64, String)| (has_versions && held > version) || (held == version && text == note);
            if rows.get(id).is_some_and(is_older) {
                continue;
            }
            if rows.iter().any(|(other, (_, text))| other != id && text == note) {
                not_unique += 1;
                continue;
            }
            rows.insert(*id, (*version, note.clone()));
        }
        let mut now: BTreeMap<i64, (i64, String)> = BTreeMap::new();
        for batch in &found.table {
            let [ids, versions] = [0, 1].map(|at| batch.column(at).as_primitive::<Int64Type>());
            let notes = batch.column(2).as_string::<i32>();
            for row in 0..batch.num_rows() {
                let before = now.insert(ids.value(row), (versions.value(row), notes.value(row).to_owned()));
                prop_assert!(before.is_none(), "two rows have one key");
            }
        }
        prop_assert_eq!(now, rows);
        let rejected: u64 = found.batches.iter().map(|batch| batch["rejected"].as_u64().unwrap()).sum();
        prop_assert_eq!(rejected, not_unique);
    }

    #[test]
    fn sources_are_upserted_together_as_one_by_one(
        parts in proptest::collection::vec(proptest::collection::vec((0..20i64, 0..3i64, 0..25i64), 0..10), 2..7),
        is_unique: bool,
        has_versions: bool,
        newer_ones in proptest::collection::vec(any::<bool>(), 7),
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
    ) {
        let mut plan = versioned();
        if !has_versions {
            plan.version = None;
        }
        if is_unique {
            plan.unique.push("note".to_owned());
        }
        let notes = if is_unique { 25 } else { 3 };
        let sources: Vec<Source> = parts.iter().enumerate().map(|(index, part)| {
            let records = part.iter().map(|(id, version, note)| (*id, *version, (note % notes).to_string()));
            let mut source = source_of(index, &records.collect::<Vec<_>>());
            source.newer_batches.extend(newer_ones[index].then(|| "batch-0".to_owned()));
            source
        }).collect();
        let mut options = Options::to(Destination::Memory);
        (options.threads, options.chunk_bytes) = (threads, chunk_bytes);
        let [table, later] = [&sources[..1], &sources[1..]];
        let table = run(&plan, table, &options, &mut Alone).unwrap().accepted;
        let one_by_one = upserted(&plan, table.clone(), later, 1, &options);
        let together = upserted(&plan, table, later, later.len(), &options);
        prop_assert_eq!(together.batches, one_by_one.batches);
        assert_same_rows(&together.table, &one_by_one.table);
        assert_same_rows(&together.quarantined, &one_by_one.quarantined);
    }

    #[test]
    fn of_records_with_one_key_an_upsert_keeps_the_last(
        batches in proptest::collection::vec(proptest::collection::vec(record(), 0..60), 2..3),
        batch_size in 1usize..50,
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
        key_bytes in prop_oneof![Just(0usize), Just(1 << 20)],
        table_is_newer: bool,
    ) {
        let source = |index: usize| {
            let content = Content::Bytes(batches[index].join(&b'\n').into());
            let mut source = Source::of(format!("batch-{index}"), content);
            source.format = Some(Format::Ndjson);
            source.newer_batches.extend(table_is_newer.then(|| "batch-0".to_owned()));
            source
        };
        let mut options = Options::to(Destination::Memory);
        (options.batch_size, options.threads, options.chunk_bytes) = (batch_size, threads, chunk_bytes);
        options.key_bytes = key_bytes;
        let table = run(&plan(), &[source(0)], &options, &mut Alone).unwrap().accepted;
        let mut upsert = plan();
        upsert.write_mode = WriteMode::Upsert;
        let found = run(&upsert, &[source(1)], &options, &mut Holding(table.clone())).unwrap();

        // Said again: the records that break no rule, one after the other.
        let mut keyless = plan();
        keyless.key.clear();
        let sound = run(&keyless, &[source(1)], &options, &mut Alone).unwrap().accepted;
        let held: BTreeMap<_, _> = keyed(&table).into_iter().map(|(key, note, number)| (key, (note, number))).collect();
        let mut last: BTreeMap<_, (_, i64)> = BTreeMap::new();
        for (key, note, number) in keyed(&sound) {
            if last.get(&key).is_none_or(|(before, _)| *before != note) {
                last.insert(key, (note, number));
            }
        }
        last.retain(|key, (note, _)| held.get(key).is_none_or(|(before, _)| before != note && !table_is_newer));
        let accepted: BTreeSet<i64> = last.values().map(|(_, number)| *number).collect();
        let superseded: BTreeSet<i64> = last.keys().filter_map(|key| Some(held.get(key)?.1)).collect();
        prop_assert_eq!(keyed(&found.accepted).into_iter().map(|row| row.2).collect::<BTreeSet<_>>(), accepted.clone());
        let counted = &found.batches[0];
        let told = counted.superseded.get("batch-0").into_iter().flatten().map(|number| number.cast_signed());
        prop_assert_eq!(told.collect::<BTreeSet<_>>(), superseded);
        prop_assert!(counted.superseded.keys().all(|batch_id| batch_id == "batch-0"));
        prop_assert_eq!(counted.accepted as usize, accepted.len());
        prop_assert_eq!(counted.records_in, counted.accepted + counted.rejected + counted.duplicate);
        prop_assert_eq!(counted.rejected as usize + sound.iter().map(RecordBatch::num_rows).sum::<usize>(), counted.records_in as usize);
        // A duplicate's winner has its key.
        let of_key: BTreeMap<_, _> = keyed(&sound).into_iter().map(|(key, _, number)| (number, key)).collect();
        let winners = column(&found.quarantined, "winner_record_no");
        for (number, winner) in column(&found.quarantined, schema::RECORD_NO).into_iter().zip(winners) {
            let (Some(number), Some(winner)) = (number, winner) else { continue };
            let key = &of_key[&number];
            let is_held = held.get(key).is_some_and(|(_, held)| *held == winner);
            prop_assert!(is_held || of_key.get(&winner) == Some(key));
        }
    }

    #[test]
    fn a_stream_has_what_a_parquet_file_has(
        rows in proptest::collection::vec((-3i64..25, "[ab]", proptest::option::of("[a-zé]{0,8}")), 0..60),
        cut in 1usize..20,
        batch_size in 1usize..50,
        threads in 1usize..4,
    ) {
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("stranger", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("note", Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.2.as_deref())))),
            ("part", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1)))),
        ];
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, table.schema(), None).unwrap();
        writer.write(&table).unwrap();
        writer.close().unwrap();
        let starts = (0..table.num_rows()).step_by(cut);
        let batches: Vec<_> = starts.map(|at| Ok(table.slice(at, cut.min(table.num_rows() - at)))).collect();
        let stream = Arc::new(Mutex::new(RecordBatchIterator::new(batches, table.schema())));
        let outcome = |content: Content| {
            let mut options = Options::to(Destination::Memory);
            (options.batch_size, options.threads) = (batch_size, threads);
            run(&plan(), &[Source::of("batch", content)], &options, &mut Alone).unwrap()
        };
        let (found, expected) = (outcome(Content::Stream(stream)), outcome(Content::Bytes(file.into())));
        assert_same_rows(&found.accepted, &expected.accepted);
        assert_same_rows(&found.quarantined, &expected.quarantined);
        prop_assert_eq!(counts(&found), counts(&expected));
        prop_assert_eq!(found.batches[0].format, "arrow");
    }
}

/// Stops a run once it has been asked so often.
struct StopsAfter(usize);

impl Host for StopsAfter {
    fn progress(&mut self, _records: u64, _bytes: u64) -> error::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or(error::Error::Interrupted)?;
        Ok(())
    }
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let count = |path: std::path::PathBuf| if path.is_dir() { files_below(&path) } else { 1 };
    entries.map(|entry| count(entry.unwrap().path())).sum()
}

#[test]
fn a_run_that_is_stopped_leaves_no_file_whatever_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let line = |id: i32| format!("{{\"id\": {}, \"part\": \"{}\"}}\n", id % 30, id / 30);
    let path = folder.path().join("a.ndjson");
    fs::write(&path, (0..900).map(line).collect::<String>()).unwrap();
    let mut plan = plan();
    plan.partition.clear();
    let (mut stopped, mut whole) = (0, 0);
    for asked in (0..400).step_by(7) {
        let out = tempfile::tempdir_in(folder.path()).unwrap();
        let mut options = Options::new(out.path().join("a"), out.path().join("q"));
        (options.threads, options.chunk_bytes, options.group_rows) = (2, 100, 40);
        let source = Source { format: Some(Format::Ndjson), ..Source::of("a", path.clone()) };
        match run(&plan, &[source], &options, &mut StopsAfter(asked)) {
            Err(error::Error::Interrupted) => {
                stopped += 1;
                assert_eq!(files_below(out.path()), 0, "asked {asked} times");
            }
            other => {
                whole += 1;
                assert_eq!(files_below(out.path()), other.unwrap().files.len());
            }
        }
    }
    assert!(stopped > 20 && whole > 1, "{stopped} stopped, {whole} whole");
}

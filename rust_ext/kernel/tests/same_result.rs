//! Whatever the number of threads, the size of record batches or the way a source is cut: one result.

#![allow(clippy::unwrap_used)] // a test that unwraps fails where it should

use std::{collections::BTreeMap, fs, path::Path};

use arrow::{compute::concat_batches, record_batch::RecordBatch, util::pretty::pretty_format_batches};
use dpipe_kernel::{
    outcome::{FileKind, Outcome},
    plan::Plan,
    read::Source,
    run::{Alone, Options, run},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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
fn result(folder: &Path, sources: &[Source], change: impl FnOnce(&mut Options)) -> String {
    let out = tempfile::tempdir_in(folder).unwrap();
    let mut options = Options::new(out.path().join("a"), out.path().join("q"));
    change(&mut options);
    let outcome = run(&plan(), sources, &options, &mut Alone).unwrap();
    for batch in &outcome.batches {
        assert_eq!(batch.records_in, batch.accepted + batch.rejected + batch.duplicate);
    }
    let mut parts = vec![serde_json::to_string_pretty(&outcome.batches).unwrap()];
    parts.extend(shown(&outcome, FileKind::Accepted));
    parts.extend(shown(&outcome, FileKind::Quarantine));
    parts.join("\n")
}

/// The rows of each partition, its files one after the other.
fn shown(outcome: &Outcome, kind: FileKind) -> Vec<String> {
    let mut partitions: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
    for file in outcome.files.iter().filter(|file| file.kind == kind) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&file.path).unwrap()).unwrap();
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
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
    ) {
        let folder = tempfile::tempdir().unwrap();
        let sources: Vec<Source> = batches.iter().enumerate().map(|(index, records)| {
            let path = folder.path().join(format!("{index}.ndjson"));
            fs::write(&path, records.join(&b'\n')).unwrap();
            Source { batch_id: format!("batch-{index}"), path, format: Some(dpipe_kernel::read::Format::Ndjson), compression: None }
        }).collect();
        let expected = result(folder.path(), &sources, |options| options.threads = 1);
        let found = result(folder.path(), &sources, |options| {
            (options.batch_size, options.threads) = (batch_size, threads);
            (options.chunk_bytes, options.held_bytes) = (chunk_bytes, held_bytes);
        });
        prop_assert_eq!(found, expected);
    }
}

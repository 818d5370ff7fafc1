//! Whatever the number of threads, the size of record batches or the way a source is cut: one result.

#![allow(clippy::unwrap_used)] // a test that unwraps fails where it should

use std::{fs, path::Path};

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
fn result(
    folder: &Path,
    sources: &[Source],
    batch_size: usize,
    threads: usize,
    chunk_bytes: usize,
) -> String {
    let out = tempfile::tempdir_in(folder).unwrap();
    let options = Options {
        batch_size,
        threads,
        chunk_bytes,
        ..Options::new(out.path().join("a"), out.path().join("q"))
    };
    let outcome = run(&plan(), sources, &options, &mut Alone).unwrap();
    for batch in &outcome.batches {
        assert_eq!(batch.records_in, batch.accepted + batch.rejected + batch.duplicate);
    }
    let mut parts = vec![serde_json::to_string_pretty(&outcome.batches).unwrap()];
    parts.extend(shown(&outcome, FileKind::Accepted));
    parts.extend(shown(&outcome, FileKind::Quarantine));
    parts.join("\n")
}

fn shown(outcome: &Outcome, kind: FileKind) -> Vec<String> {
    let files = outcome.files.iter().filter(|file| file.kind == kind);
    let mut shown: Vec<String> = files
        .map(|file| {
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&file.path).unwrap()).unwrap();
            let schema = reader.schema().clone();
            let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
            let whole = concat_batches(&schema, &batches).unwrap();
            assert_eq!(whole.num_rows(), file.rows);
            format!("{:?}\n{}", file.partition, pretty_format_batches(&[whole]).unwrap())
        })
        .collect();
    shown.sort();
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_way_of_working_gives_one_result(
        batches in proptest::collection::vec(proptest::collection::vec(record(), 0..40), 1..3),
        batch_size in 1usize..50,
        threads in 1usize..4,
        chunk_bytes in 1usize..400,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let sources: Vec<Source> = batches.iter().enumerate().map(|(index, records)| {
            let path = folder.path().join(format!("{index}.ndjson"));
            fs::write(&path, records.join(&b'\n')).unwrap();
            Source { batch_id: format!("batch-{index}"), path, format: Some(dpipe_kernel::read::Format::Ndjson), compression: None }
        }).collect();
        let expected = result(folder.path(), &sources, 100_000, 1, 1 << 20);
        prop_assert_eq!(result(folder.path(), &sources, batch_size, threads, chunk_bytes), expected);
    }
}

//! The quick path and the general one come to the same, on files of regular records with others in between.
//!
//! What is compared is in the fuzz crate, which goes on from here with inputs of its own.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use dpipe_kernel::read::Format;
use proptest::{prelude::*, sample::select};

/// The columns of the fuzz crate's plan, and values that they mostly have.
fn value(column: &'static str) -> BoxedStrategy<String> {
    let quoted = |text: &'static str| text.prop_map(|text| format!("\"{text}\"")).boxed();
    match column {
        "a" => (-5..1000i32).prop_map(|value| value.to_string()).boxed(),
        "b" => quoted("[a-zé ]{1,20}"),
        "i" => select(vec!["1", "-2", "30"]).prop_map(str::to_owned).boxed(),
        // Mostly above `a`, which is what the plan asks for.
        "j" => {
            prop_oneof![6 => 1000..i64::MAX, 1 => any::<i64>()].prop_map(|value| value.to_string()).boxed()
        }
        "f" => {
            prop_oneof![any::<i32>().prop_map(|value| value.to_string()), "-?[1-9][0-9]{0,8}\\.[0-9]{1,9}"]
                .boxed()
        }
        "g" => "(0|1|2)\\.[1-4][0-9]{0,9}".boxed(),
        "t" => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        "s" => quoted("[a-zé]{0,40}"),
        "d" => quoted("(19|20)[0-9]{2}-0[1-9]-[0-2][1-8]"),
        "e" => quoted("[0-2][1-8]\\.0[1-9]\\.(19|20)[0-9]{2}"),
        "m" => quoted("2024-0[1-9]-[0-2][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|\\+01:00)"),
        "p" => "-?[0-4]\\.[0-9][05]".boxed(),
        "k" => quoted("[0-2][0-4]:[0-5][0-9](:[0-5][0-9])?"),
        "u" => quoted("1?[0-9]\\.2[0-9]\\.0\\.[1-9]"),
        "l" => {
            let item = "\\{\"x\": ?[1-9][0-9]{0,2}(, \"y\": \\[\"[a-z]{0,3}\"(, null)?\\])?\\}";
            prop::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(", "))).boxed()
        }
        "n" => quoted("2024-0[1-9]-[0-2][1-8][T ][01][0-9]:[0-5][0-9]"),
        _ => quoted("2024-0[1-9]-[0-2][1-8] [01][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{1,3} (Z|\\+01:00)"),
    }
}

const COLUMNS: [&str; 17] =
    ["a", "b", "i", "j", "f", "g", "t", "s", "d", "e", "m", "n", "o", "p", "k", "u", "l"];

/// A value that is something else.
fn odd() -> impl Strategy<Value = String> {
    select(vec![
        "null",
        "\"\"",
        "-0",
        "0",
        "00",
        "1.0",
        "1e2",
        "1e999",
        "\"5\"",
        "[1, {\"a\": 2}]",
        "[{\"x\": 1}, {\"x\": 1}]",
        "[{\"y\": [\"a\"], \"x\": 1}, {\"x\": 2, \"q\": {}}]",
        "[{\"x\": 1, \"x\": 2}]",
        "[{}, null]",
        "[]",
        "{}",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "12345678",
        "1234567890123456",
        "123456789012345678901",
        "0.1234567890123456",
        "tru",
        "\"x",
        "\"\u{1f600}\"",
    ])
    .prop_map(str::to_owned)
}

fn values() -> impl Strategy<Value = Vec<String>> {
    COLUMNS.map(value).to_vec()
}

/// How a record differs from the regular ones: in nothing, a value, a byte, its order or its line end.
#[derive(Debug, Clone)]
enum Change {
    Nothing,
    Value(usize, String),
    Missing(usize),
    Swap(usize, usize),
    Stranger(usize, &'static str),
    Byte(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Return,
}

/// Of `regular + 13` records so many differ in nothing.
fn change(regular: u32) -> impl Strategy<Value = Change> {
    let column = 0..COLUMNS.len();
    prop_oneof![
        regular => Just(Change::Nothing),
        4 => (column.clone(), odd()).prop_map(|(at, value)| Change::Value(at, value)),
        1 => column.clone().prop_map(Change::Missing),
        1 => (column.clone(), column.clone()).prop_map(|(one, other)| Change::Swap(one, other)),
        1 => (column, select(vec!["z", "aa", "a"])).prop_map(|(at, name)| Change::Stranger(at, name)),
        2 => (any::<prop::sample::Index>(), select(b"{}[]\",:\\ \t\r\n0.e-x\xff\xc3".to_vec()))
            .prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        3 => Just(Change::Return),
    ]
}

fn finish(mut record: Vec<u8>, change: &Change) -> Vec<u8> {
    match change {
        Change::Byte(at, byte) if !record.is_empty() => {
            let at = at.index(record.len());
            record[at] = *byte;
        }
        Change::Cut(at) if !record.is_empty() => record.truncate(at.index(record.len())),
        Change::Return => record.push(b'\r'),
        _ => {}
    }
    record
}

fn json_record(regular: u32) -> impl Strategy<Value = Vec<u8>> {
    (values(), change(regular)).prop_map(|(values, change)| {
        let mut fields: Vec<(&str, String)> = COLUMNS.into_iter().zip(values).collect();
        match &change {
            Change::Value(at, value) => fields[*at].1.clone_from(value),
            Change::Missing(at) => _ = fields.remove(*at),
            Change::Swap(one, other) => fields.swap(*one, *other),
            Change::Stranger(at, name) => fields.insert(*at, (name, "[1, \"x\"]".to_owned())),
            _ => {}
        }
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        finish(format!("{{{}}}", fields.join(", ")).into_bytes(), &change)
    })
}

fn csv_record(regular: u32) -> impl Strategy<Value = Vec<u8>> {
    // Only now and then a field keeps its quotes, so that most records are for the quick path.
    let quoted = if regular > SOME { 40 * COLUMNS.len() } else { 8 };
    (values(), change(regular), 0..quoted).prop_map(|(mut values, change, quoted)| {
        // An array of several items has commas, and would be several fields. The quick path takes none at all, but a null.
        values.iter_mut().filter(|value| value.contains(',')).for_each(String::clear);
        match &change {
            Change::Value(at, value) => values[*at].clone_from(value),
            Change::Missing(at) => _ = values.remove(*at),
            Change::Swap(one, other) => values.swap(*one, *other),
            Change::Stranger(at, name) => values.insert(*at, (*name).to_owned()),
            _ => {}
        }
        let fields = values.into_iter().enumerate();
        let fields: Vec<String> =
            fields.map(|(at, value)| if at == quoted { value } else { value.replace('"', "") }).collect();
        finish(fields.join(",").into_bytes(), &change)
    })
}

/// As many records are regular as are not, about.
const SOME: u32 = 12;
/// Nearly all records are regular: they are read side by side.
const MOST: u32 = 200;

fn line_end() -> impl Strategy<Value = &'static [u8]> {
    select(vec![&b"\n"[..], b"\r\n"])
}

/// The bytes that choose the plan's options and how the source is cut, then the file.
fn input(start: (u8, u8), head: &[u8], records: &[Vec<u8>], between: &[u8], tail: &[u8]) -> Vec<u8> {
    // All columns, and only now and then a limit that no record keeps.
    let options = start.0 & 0b0011_0100 | if start.0 < 10 { 0b1000 } else { 0 };
    [&[options, start.1], head, &records.join(between), tail].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn on_ndjson(start: (u8, u8), records in prop::collection::vec(json_record(SOME), 0..20), end in line_end()) {
        fuzz::read(Format::Ndjson, &input(start, b"", &records, end, end));
    }

    #[test]
    fn on_a_json_array(start: (u8, u8), records in prop::collection::vec(json_record(SOME), 0..20)) {
        fuzz::read(Format::Json, &input(start, b"[", &records, b",\n ", b"]"));
    }

    #[test]
    fn on_csv(start: (u8, u8), records in prop::collection::vec(csv_record(SOME), 0..20), end in line_end()) {
        let header = format!("{}\n", COLUMNS.join(","));
        fuzz::read(Format::Csv, &input(start, header.as_bytes(), &records, end, end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn on_ndjson_side_by_side(
        start: (u8, u8),
        records in prop::collection::vec(json_record(MOST), 0..60),
        end in line_end(),
    ) {
        fuzz::read(Format::Ndjson, &input(start, b"", &records, end, end));
    }

    #[test]
    fn on_a_json_array_side_by_side(start: (u8, u8), records in prop::collection::vec(json_record(MOST), 0..60)) {
        fuzz::read(Format::Json, &input(start, b"[", &records, b",\n ", b"]"));
    }

    #[test]
    fn on_csv_side_by_side(
        start: (u8, u8),
        records in prop::collection::vec(csv_record(MOST), 0..60),
        end in line_end(),
    ) {
        let header = format!("{}\n", COLUMNS.join(","));
        fuzz::read(Format::Csv, &input(start, header.as_bytes(), &records, end, end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn on_a_whole_run(
        start: (u8, u8),
        records in prop::collection::vec(json_record(SOME), 0..20),
        is_unique: bool,
    ) {
        let format = [3 * u8::from(is_unique)];
        fuzz::run_twice(&[&format, &input(start, b"", &records, b"\n", b"\n")[..]].concat());
    }
}

#[test]
fn on_a_delimiter_that_numbers_have_too() {
    fuzz::read(Format::Csv, b"\x41\x00a-b\n-3-\n5-x\n6-y\n7-z\n");
}

#[test]
fn any_plan_that_compiles_reads_something() {
    fuzz::plan(include_str!("../../fuzz/plan.json"));
    fuzz::plan("{}");
}

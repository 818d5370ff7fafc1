//! One CSV record (RFC 4180), straight from text into a row of cells.
//!
//! The header says which column of the plan a field belongs to, so fields are written where they belong as they are
//! found. Records without a quote are cut at their delimiters, several side by side where the processor can ([`crate::abreast`]);
//! one with quotes takes the general path.

use std::{collections::HashSet, ops::Range};

use crate::{
    abreast::Abreast,
    cell::{Cell, Row, Violation},
    plan::{CsvOptions, Plan},
    quick::{Quick, Scratch},
    rows::Rows,
};

/// The first record of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its bytes, without the line end; empty when the file has none.
    pub raw: Vec<u8>,
    /// The names in the order of the file.
    pub names: Vec<String>,
    /// For each of them, the index of the plan's column.
    pub columns: Vec<Option<usize>>,
    /// Names that the plan doesn't know.
    pub unknown: Vec<String>,
    /// The plan's columns that the file doesn't have.
    absent: Vec<usize>,
    /// How many columns the plan has.
    width: usize,
}

impl Header {
    /// Read the names from the first record.
    ///
    /// # Errors
    /// A sentence when the bytes aren't UTF-8, a name is empty or there twice, or the plan knows none of them.
    pub fn parse(raw: &[u8], plan: &Plan) -> Result<Self, String> {
        let text = std::str::from_utf8(raw)
            .map_err(|error| format!("the header is not UTF-8 from byte {} on", error.valid_up_to()))?;
        let mut names: Vec<String> = Vec::new();
        split(text, &plan.csv, |_, field| names.push(field.into_text())).map_err(|fault| fault.message)?;
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(format!("column {} of the header has no name", index + 1));
            }
            if !seen.insert(name) {
                return Err(format!("column `{name}` is in the header twice"));
            }
        }
        let columns: Vec<Option<usize>> = names.iter().map(|name| plan.column(name).ok()).collect();
        if columns.iter().all(Option::is_none) {
            let delimiter = plan.csv.delimiter;
            return Err(format!(
                "the header names no column of the contract; it is `{text}`, read with the delimiter `{delimiter}`"
            ));
        }
        let unknown =
            names.iter().zip(&columns).filter(|(_, column)| column.is_none()).map(|(name, _)| name.clone());
        let unknown = unknown.collect();
        let width = plan.columns.len();
        let absent = (0..width).filter(|column| !columns.contains(&Some(*column))).collect();
        Ok(Self { raw: raw.to_vec(), names, columns, unknown, absent, width })
    }

    /// The header that a file without one would have: the plan's columns in their order.
    pub fn of_plan(plan: &Plan) -> Self {
        let names: Vec<String> = plan.columns.iter().map(|column| column.name.clone()).collect();
        let columns = (0..names.len()).map(Some).collect();
        let (unknown, absent) = (Vec::new(), Vec::new());
        Self { raw: Vec::new(), width: names.len(), names, columns, unknown, absent }
    }

    /// The header of a file that ends before there is one.
    pub fn none(plan: &Plan) -> Self {
        let width = plan.columns.len();
        let absent = (0..width).collect();
        Self { raw: Vec::new(), names: Vec::new(), columns: Vec::new(), unknown: Vec::new(), absent, width }
    }
}

/// Read `record`, which has no line end, into `row`, which is reset first.
///
/// ```
/// use dpipe_kernel::{cell::Cell, csv, plan::Plan};
/// let plan = Plan::from_json(r#"{"dataset": "d", "contract": "c", "columns": [
///     {"name": "a", "field_id": 1, "type": "string"}, {"name": "b", "field_id": 2, "type": "int64"}]}"#).unwrap();
/// let header = csv::Header::parse(b"b,a", &plan).unwrap();
/// let mut row = Vec::new();
/// csv::parse_record("7,\"x, \"\"y\"\"\"", &header, &plan.csv, &mut row).unwrap();
/// assert_eq!(row, [Cell::OwnedText("x, \"y\"".into()), Cell::Text("7")]);
/// ```
///
/// # Errors
/// `field_count` when there are fewer or more fields than the header has, `malformed` when quotes are out of place.
pub fn parse_record<'a>(
    record: &'a str,
    header: &Header,
    options: &CsvOptions,
    row: &mut Row<'a>,
) -> Result<(), Violation> {
    row.clear();
    row.resize(header.width, Cell::Missing);
    let count = split(record, options, |index, field| {
        if let Some(Some(column)) = header.columns.get(index) {
            row[*column] = field.into_cell(&options.null_tokens);
        }
    })?;
    if count == header.columns.len() {
        return Ok(());
    }
    let fields = if count == 1 { "field" } else { "fields" };
    let message = format!("{count} {fields} where the header has {}", header.columns.len());
    Err(Violation::of_record("field_count", message))
}

/// Read the records of `text` that have these bytes each and no quoted field. `false` when one is more than the quick path can
/// judge, and then none is in `rows`.
#[inline(always)]
pub fn read_quickly<const COUNT: usize>(
    abreast: impl Abreast<COUNT>,
    text: &str,
    records: &[Range<usize>; COUNT],
    header: &Header,
    quick: &Quick,
    rows: &mut Rows,
    scratch: &mut Scratch,
) -> bool {
    if quick_fields(abreast, text, records, header, quick, rows, scratch).is_none() {
        rows.take_back();
        return false;
    }
    rows.commit(COUNT, &quick.checker.comparisons)
}

/// Read field after field, each of all the records, so that a processor reads them side by side.
#[inline(always)]
fn quick_fields<const COUNT: usize>(
    abreast: impl Abreast<COUNT>,
    text: &str,
    records: &[Range<usize>; COUNT],
    header: &Header,
    quick: &Quick,
    rows: &mut Rows,
    scratch: &mut Scratch,
) -> Option<()> {
    let (bytes, columns, fields) = (text.as_bytes(), rows.columns(), &quick.fields);
    let mut at = records.each_ref().map(|record| record.start);
    if fields.comment.is_some() && at.iter().any(|at| bytes.get(*at).copied() == fields.comment) {
        return None;
    }
    for (index, column) in header.columns.iter().enumerate() {
        let skip = usize::from(index > 0);
        if index > 0 && at.iter().any(|at| bytes.get(*at) != Some(&fields.delimiter)) {
            return None;
        }
        if let Some(column) = column {
            let column = &quick.columns[*column];
            column.csv(abreast, text, &mut at, skip, fields, &quick.checker, columns, scratch)?;
            continue;
        }
        for at in &mut at {
            if bytes.get(*at + skip) == Some(&fields.quote) {
                return None;
            }
            *at = fields.stop(abreast, bytes, *at + skip)?;
        }
    }
    for column in &header.absent {
        if !quick.columns[*column].absent(COUNT, columns) {
            return None;
        }
    }
    records.iter().zip(at).all(|(record, at)| record.end == at).then_some(())
}

/// A field as it is found.
enum Field<'a> {
    Plain(&'a str),
    Quoted(&'a str),
    /// A quoted field with its doubled quotes resolved.
    Resolved(String),
}

impl<'a> Field<'a> {
    #[inline]
    fn into_cell(self, null_tokens: &[String]) -> Cell<'a> {
        let (text, quoted) = match &self {
            Self::Plain(text) => (*text, false),
            Self::Quoted(text) => (*text, true),
            Self::Resolved(text) => (text.as_str(), true),
        };
        if null_tokens.iter().any(|token| token == text) && !(quoted && text.is_empty()) {
            return Cell::Null;
        }
        match self {
            Self::Plain(text) | Self::Quoted(text) => Cell::Text(text),
            Self::Resolved(text) => Cell::OwnedText(text.into_boxed_str()),
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Plain(text) | Self::Quoted(text) => text.to_owned(),
            Self::Resolved(text) => text,
        }
    }
}

/// Hand on each field with its index; how many there are.
#[inline]
fn split<'a>(
    record: &'a str,
    options: &CsvOptions,
    found: impl FnMut(usize, Field<'a>),
) -> Result<usize, Violation> {
    if memchr::memchr(options.quote as u8, record.as_bytes()).is_none() {
        Ok(split_plain(record, options.delimiter as u8, found))
    } else {
        split_quoted(record, options, found)
    }
}

/// The fields of a record without quotes.
#[inline]
fn split_plain<'a>(record: &'a str, delimiter: u8, mut found: impl FnMut(usize, Field<'a>)) -> usize {
    let (mut start, mut count) = (0, 0);
    for (stop, byte) in record.bytes().enumerate() {
        if byte == delimiter {
            found(count, Field::Plain(&record[start..stop]));
            start = stop + 1;
            count += 1;
        }
    }
    found(count, Field::Plain(&record[start..]));
    count + 1
}

/// The fields of a record that may have quotes.
fn split_quoted<'a>(
    record: &'a str,
    options: &CsvOptions,
    mut found: impl FnMut(usize, Field<'a>),
) -> Result<usize, Violation> {
    let bytes = record.as_bytes();
    let (delimiter, quote) = (options.delimiter as u8, options.quote as u8);
    let (mut at, mut count) = (0, 0);
    loop {
        let stop = if bytes.get(at) == Some(&quote) {
            let (field, stop) = quoted_field(record, at, options)?;
            found(count, field);
            stop
        } else {
            let stop = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |length| at + length);
            found(count, Field::Plain(&record[at..stop]));
            stop
        };
        count += 1;
        match bytes.get(stop) {
            None => return Ok(count),
            Some(byte) if *byte == delimiter => at = stop + 1,
            Some(_) => {
                let message = format!("text after the closing quote at byte {} of the record", stop - 1);
                return Err(Violation::of_record("malformed", message));
            }
        }
    }
}

/// The field whose quote opens at `open`, and the place after its closing quote.
fn quoted_field<'a>(
    record: &'a str,
    open: usize,
    options: &CsvOptions,
) -> Result<(Field<'a>, usize), Violation> {
    let bytes = record.as_bytes();
    let quote = options.quote as u8;
    let escape = options.escape.map_or(quote, |escape| escape as u8);
    let mut resolved = String::new();
    let (mut from, mut at) = (open + 1, open + 1);
    loop {
        let Some(length) = bytes.get(at..).and_then(|rest| memchr::memchr2(quote, escape, rest)) else {
            let message = format!("the quote at byte {open} of the record isn't closed");
            return Err(Violation::of_record("malformed", message));
        };
        at += length;
        if bytes[at] == quote && bytes.get(at + 1) != Some(&quote) {
            break;
        }
        // What stands for the next character goes, that character stays.
        resolved.push_str(&record[from..at]);
        (from, at) = (at + 1, at + 2);
    }
    let rest = &record[from..at];
    if from == open + 1 {
        return Ok((Field::Quoted(rest), at + 1));
    }
    resolved.push_str(rest);
    Ok((Field::Resolved(resolved), at + 1))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::testing::{plan, plan_of};

    /// A cell's text; null is the empty text.
    pub(crate) fn text(cell: &Cell) -> String {
        match cell {
            Cell::Null => String::new(),
            Cell::Text(text) => (*text).to_owned(),
            Cell::OwnedText(text) => text.to_string(),
            other => panic!("{other:?} is no text"),
        }
    }

    fn parse<'a>(record: &'a str, header: &str, plan: &Plan) -> Result<Row<'a>, Violation> {
        let header = Header::parse(header.as_bytes(), plan).expect("a header");
        let mut row = vec![Cell::Bool(true)];
        parse_record(record, &header, &plan.csv, &mut row).map(|()| row)
    }

    #[test]
    fn fields_go_to_the_columns_that_the_header_names() {
        let plan = plan_of(&["a", "b", "c"]);
        let row = parse("1,2,3", "c,x,a", &plan).unwrap();
        assert_eq!(row, [Cell::Text("3"), Cell::Missing, Cell::Text("1")]);
        assert_eq!(Header::parse(b"c,x,a", &plan).unwrap().unknown, ["x"]);
    }

    #[test]
    fn only_an_unquoted_empty_field_is_null() {
        let mut plan = plan_of(&["a", "b", "c", "d"]);
        plan.csv.null_tokens = vec![String::new(), "NA".to_owned()];
        let row = parse(",\"\",NA,\"NA\"", "a,b,c,d", &plan).unwrap();
        assert_eq!(row, [Cell::Null, Cell::Text(""), Cell::Null, Cell::Null]);
    }

    #[test]
    fn another_field_count_is_a_violation() {
        let fault = |record| parse(record, "a,b", &plan()).unwrap_err();
        assert_eq!(fault("1").message, "1 field where the header has 2");
        assert_eq!(fault("1,2,3").message, "3 fields where the header has 2");
        assert_eq!(fault("\"1\",2,\"3\"").rule, "field_count");
    }

    #[test]
    fn quotes_out_of_place_are_malformed() {
        for record in ["\"1,2", "\"1\"x,2", "1,\"", "\"\"\",2"] {
            assert_eq!(parse(record, "a,b", &plan()).unwrap_err().rule, "malformed", "{record}");
        }
    }

    #[test]
    fn other_delimiters_and_quotes_are_options() {
        let mut plan = plan();
        (plan.csv.delimiter, plan.csv.quote) = (';', '\'');
        let row = parse("'x;''y';\"z\"", "a;b", &plan).unwrap();
        assert_eq!(row.iter().map(text).collect::<Vec<_>>(), ["x;'y", "\"z\""]);
    }

    #[test]
    fn an_escape_takes_the_meaning_of_what_follows_it_in_quotes_only() {
        let mut plan = plan();
        plan.csv.escape = Some('\\');
        let row = parse(r#""x\""",\"é\\",y\z"#, "a,b", &plan).unwrap();
        assert_eq!(row.iter().map(text).collect::<Vec<_>>(), [r#"x"","é\"#, r"y\z"]);
        assert_eq!(parse("\"x\\\",1", "a,b", &plan).unwrap_err().rule, "malformed");
    }

    proptest! {
        #[test]
        fn escaped_fields_read_as_another_reader_reads_them(record in "[a\\\\\",é\n]{0,12}") {
            let mut plan = plan_of(&["a", "b"]);
            plan.csv.escape = Some('\\');
            let quoted = format!("\"{record}\",x");
            let mut reader = csv::ReaderBuilder::new();
            let mut reader = reader.has_headers(false).escape(Some(b'\\')).from_reader(quoted.as_bytes());
            let other: Vec<csv::StringRecord> = reader.records().map_while(Result::ok).collect();
            // The other reader takes text after a closing quote as a part of the field.
            if let Ok(row) = parse(&quoted, "a,b", &plan) {
                let fields: Vec<String> = row.iter().map(text).collect();
                prop_assert_eq!(other.len(), 1);
                prop_assert_eq!(other[0].iter().collect::<Vec<_>>(), fields);
            }
        }

        #[test]
        fn records_without_quotes_split_as_str_splits(record in "[a-c,é\u{ff0c}\u{ac}-]{0,60}") {
            let mut fields = Vec::new();
            let count = split(&record, &CsvOptions::default(), |_, field| fields.push(field.into_text())).unwrap();
            prop_assert_eq!(count, fields.len());
            prop_assert_eq!(fields, record.split(',').collect::<Vec<_>>());
        }

        #[test]
        fn both_paths_agree(record in "[a,é]{0,40}") {
            let (mut plain, mut general) = (Vec::new(), Vec::new());
            split_plain(&record, b',', |_, field| plain.push(field.into_text()));
            split_quoted(&record, &CsvOptions::default(), |_, field| general.push(field.into_text())).unwrap();
            prop_assert_eq!(plain, general);
        }

        #[test]
        fn any_text_is_read_or_refused(record in "[a\",\r\n]{0,40}") {
            let _ = parse(&record, "a,b", &plan());
        }
    }
}

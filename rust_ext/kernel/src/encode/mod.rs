//! Columns of a row group as Parquet column chunks: dictionaries found by table or hash, codes packed in words.
//!
//! Columns of numbers and texts are encoded here, where a row group's values are all at hand; a general writer gets them bit by
//! bit. Everything else is left to the `parquet` crate's writers.

mod chunk;
pub mod dictionary;
mod hybrid;
mod rows;

use std::borrow::Cow;

use arrow::datatypes::DataType;
use parquet::{
    basic::Encoding,
    column::writer::{get_column_writer, get_typed_column_writer},
    data_type::{ByteArray, DoubleType, Int32Type, Int64Type},
    file::{
        properties::WriterPropertiesPtr,
        statistics::{Statistics, ValueStatistics},
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};

use chunk::ChunkWriter;
pub use chunk::EncodedChunk;
use dictionary::{Dictionary, Number};
use rows::{Levels, PAGE_ROWS, Text};

use crate::{error::Result, profile::ColumnProfile, write::Part};

/// Bytes of plainly encoded texts in one page, about.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of a dictionary's texts, at most.
const DICTIONARY_BYTES: usize = 1 << 20;
/// Bytes of a text that stands in the statistics, at most.
const STATISTICS_BYTES: usize = 64;

/// A column's chunk, and what its values are like when that is asked for.
pub type Encoded = (EncodedChunk, Option<ColumnProfile>);

/// How columns of one type are encoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// Numbers of 32 bits.
    Int32,
    /// Numbers of 64 bits.
    Int64,
    /// Floating-point numbers.
    Float64,
    /// Texts.
    Text,
}

impl Encoder {
    /// The encoder for a type; `None` when it is left to the `parquet` crate.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Int32 | DataType::Date32 => Some(Self::Int32),
            DataType::Int64 | DataType::Timestamp(..) => Some(Self::Int64),
            DataType::Float64 => Some(Self::Float64),
            DataType::Utf8 => Some(Self::Text),
            _ => None,
        }
    }

    /// Encode column `index` of the parts, and profile it if `profiled`. `without_dictionary` are the properties for values
    /// that hardly repeat.
    ///
    /// # Errors
    /// `Error::Parquet` when a page can't be written.
    pub fn encode(
        self,
        column: &ColumnDescPtr,
        parts: &[Part],
        index: usize,
        without_dictionary: &WriterPropertiesPtr,
        profiled: bool,
    ) -> Result<Encoded> {
        let levels = Levels::of(parts, index, column.max_def_level() > 0);
        match self {
            Self::Int32 => {
                let values = rows::numbers(parts, index)?;
                numbers::<Int32Type>(column, &levels, &values, without_dictionary, profiled)
            }
            Self::Int64 => {
                let values = rows::numbers(parts, index)?;
                numbers::<Int64Type>(column, &levels, &values, without_dictionary, profiled)
            }
            Self::Float64 => {
                let values = rows::numbers(parts, index)?;
                numbers::<DoubleType>(column, &levels, &values, without_dictionary, profiled)
            }
            Self::Text => texts(column, &levels, parts, index, profiled),
        }
    }

    /// Profile column `index` of the parts as `encode` does, without encoding it.
    ///
    /// # Errors
    /// `Error::Internal` when the column isn't of the encoder's type.
    pub fn profile(self, parts: &[Part], index: usize) -> Result<ColumnProfile> {
        let levels = Levels::of(parts, index, true);
        Ok(match self {
            Self::Int32 => numbers_profile(&rows::numbers::<i32>(parts, index)?, levels.nulls()),
            Self::Int64 => numbers_profile(&rows::numbers::<i64>(parts, index)?, levels.nulls()),
            Self::Float64 => numbers_profile(&rows::numbers::<f64>(parts, index)?, levels.nulls()),
            Self::Text => {
                let dictionary = text_dictionary(&levels, parts, index);
                profile_of_texts(dictionary.as_ref(), parts, index, levels.nulls())
            }
        })
    }
}

/// Encode rows that all have the text of their stretch, given as text and number of rows.
pub fn repeated(column: &ColumnDescPtr, stretches: &[(&str, usize)]) -> Result<EncodedChunk> {
    let mut values: Vec<&str> = Vec::new();
    let mut codes: Vec<(u16, usize)> = Vec::new();
    for &(text, rows) in stretches.iter().filter(|(_, rows)| *rows > 0) {
        let code = values.iter().position(|known| *known == text).unwrap_or_else(|| {
            values.push(text);
            values.len() - 1
        });
        match codes.last_mut() {
            Some((last, before)) if usize::from(*last) == code => *before += rows,
            _ => codes.push((code as u16, rows)),
        }
    }
    let mut chunk = ChunkWriter::new(column.clone(), Encoding::RLE_DICTIONARY);
    let mut plain = Vec::new();
    values.iter().for_each(|text| push_text(text.as_bytes(), &mut plain));
    chunk.dictionary(&plain, values.len())?;
    let width = hybrid::width(values.len());
    let mut body = vec![width];
    codes.iter().for_each(|&(code, rows)| hybrid::push_run(rows, code, width, &mut body));
    let rows = codes.iter().map(|(_, rows)| rows).sum();
    chunk.page(&body, rows)?;
    Ok(chunk.finish(rows, text_statistics(values.iter().map(|text| text.as_bytes()), 0))?)
}

/// Encode numbers that count up, as those of records do.
///
/// # Errors
/// `Error::Parquet` when a page can't be written.
pub fn counting(
    column: &ColumnDescPtr,
    values: &[i64],
    properties: &WriterPropertiesPtr,
) -> Result<EncodedChunk> {
    plainly::<Int64Type>(column, &Levels::full(values.len()), values, properties)
}

fn numbers<D>(
    column: &ColumnDescPtr,
    levels: &Levels,
    values: &[Cow<[D::T]>],
    without_dictionary: &WriterPropertiesPtr,
    profiled: bool,
) -> Result<Encoded>
where
    D: parquet::data_type::DataType,
    D::T: Number,
    Statistics: From<ValueStatistics<D::T>>,
{
    let dictionary = dictionary::of_numbers(values);
    let profile = profiled.then(|| profile_of_numbers(dictionary.as_ref(), values, levels.nulls()));
    let Some(dictionary) = dictionary else {
        return Ok((plainly::<D>(column, levels, &values.concat(), without_dictionary)?, profile));
    };
    let mut plain = Vec::with_capacity(8 * dictionary.values.len());
    for value in &dictionary.values {
        value.push_plain(&mut plain);
    }
    let (least, greatest) = dictionary::range(dictionary.values.iter().copied()).unzip();
    let (least, greatest) = (least.map(Number::as_least), greatest.map(Number::as_greatest));
    let statistics = ValueStatistics::new(least, greatest, None, Some(levels.nulls() as u64), false)
        .with_backwards_compatible_min_max(true);
    Ok((coded(column, levels, &dictionary, &plain, statistics.into())?, profile))
}

fn texts(
    column: &ColumnDescPtr,
    levels: &Levels,
    parts: &[Part],
    index: usize,
    profiled: bool,
) -> Result<Encoded> {
    let dictionary = text_dictionary(levels, parts, index);
    let profile = profiled.then(|| profile_of_texts(dictionary.as_ref(), parts, index, levels.nulls()));
    let Some(dictionary) = dictionary else {
        return Ok((plain_texts(column, levels, rows::texts(parts, index).map(|text| text.bytes))?, profile));
    };
    let mut plain = Vec::new();
    dictionary.values.iter().for_each(|text| push_text(text.bytes, &mut plain));
    let statistics = text_statistics(dictionary.values.iter().map(|text| text.bytes), levels.nulls());
    Ok((coded(column, levels, &dictionary, &plain, statistics)?, profile))
}

/// The dictionary of a column's texts; `None` when too few repeat.
fn text_dictionary<'a>(levels: &Levels, parts: &'a [Part], index: usize) -> Option<Dictionary<Text<'a>>> {
    let dictionary = dictionary::of_texts(levels.rows(), DICTIONARY_BYTES, rows::texts(parts, index));
    dictionary.filter(|dictionary| !dictionary.values.is_empty())
}

fn numbers_profile<T: Number>(values: &[Cow<[T]>], nulls: usize) -> ColumnProfile {
    profile_of_numbers(dictionary::of_numbers(values).as_ref(), values, nulls)
}

fn profile_of_numbers<T: Number>(
    dictionary: Option<&Dictionary<T>>,
    values: &[Cow<[T]>],
    nulls: usize,
) -> ColumnProfile {
    match dictionary {
        Some(dictionary) => ColumnProfile::of_numbers(&dictionary.counted(), nulls),
        None => ColumnProfile::of_many_numbers(&values.concat(), nulls),
    }
}

fn profile_of_texts(
    dictionary: Option<&Dictionary<Text>>,
    parts: &[Part],
    index: usize,
    nulls: usize,
) -> ColumnProfile {
    let Some(dictionary) = dictionary else {
        return ColumnProfile::of_many_texts(rows::texts(parts, index).map(|text| text.bytes), nulls);
    };
    let counted = dictionary.values.iter().map(|text| text.bytes).zip(dictionary.counts.iter().copied());
    ColumnProfile::of_texts(counted, nulls)
}

/// Pages of codes.
fn coded<V>(
    column: &ColumnDescPtr,
    levels: &Levels,
    dictionary: &Dictionary<V>,
    plain: &[u8],
    statistics: Statistics,
) -> Result<EncodedChunk> {
    let mut chunk = ChunkWriter::new(column.clone(), Encoding::RLE_DICTIONARY);
    chunk.dictionary(plain, dictionary.values.len())?;
    let width = hybrid::width(dictionary.values.len());
    let mut codes = dictionary.codes.as_slice();
    let mut body = Vec::new();
    for from in (0..levels.rows()).step_by(PAGE_ROWS) {
        let to = levels.rows().min(from + PAGE_ROWS);
        body.clear();
        levels.push(from, to, &mut body);
        body.push(width);
        let page = codes.split_off(..levels.values(from, to)).expect("each value has its code");
        hybrid::codes(page, width, &mut body);
        chunk.page(&body, to - from)?;
    }
    Ok(chunk.finish(levels.rows(), statistics)?)
}

/// Texts as they are, for columns whose values hardly repeat.
fn plain_texts<'a>(
    column: &ColumnDescPtr,
    levels: &Levels,
    texts: impl Iterator<Item = &'a [u8]>,
) -> Result<EncodedChunk> {
    let mut chunk = ChunkWriter::new(column.clone(), Encoding::PLAIN);
    let mut texts = texts.peekable();
    let mut range: Option<(&[u8], &[u8])> = None;
    let (mut values, mut body) = (Vec::new(), Vec::new());
    let mut from = 0;
    while from < levels.rows() {
        values.clear();
        let mut to = from;
        while to < levels.rows() && to - from < PAGE_ROWS && values.len() < PAGE_BYTES {
            let next = levels.rows().min(to + 8);
            for text in texts.by_ref().take(levels.values(to, next)) {
                push_text(text, &mut values);
                range = Some(
                    range.map_or((text, text), |(least, greatest)| (least.min(text), greatest.max(text))),
                );
            }
            to = next;
        }
        body.clear();
        levels.push(from, to, &mut body);
        body.extend_from_slice(&values);
        chunk.page(&body, to - from)?;
        from = to;
    }
    let bounds = range.map(|(least, greatest)| [least, greatest]).into_iter().flatten();
    Ok(chunk.finish(levels.rows(), text_statistics(bounds, levels.nulls()))?)
}

/// Values by the `parquet` crate's writer for their type.
fn plainly<D: parquet::data_type::DataType>(
    column: &ColumnDescPtr,
    levels: &Levels,
    values: &[D::T],
    properties: &WriterPropertiesPtr,
) -> Result<EncodedChunk> {
    let mut sink = TrackedWrite::new(Vec::new());
    let pages = Box::new(SerializedPageWriter::new(&mut sink));
    let writer = get_column_writer(column.clone(), properties.clone(), pages);
    let mut writer = get_typed_column_writer::<D>(writer);
    writer.write_batch(values, levels.unpacked().as_deref(), None)?;
    let close = writer.close()?;
    Ok(EncodedChunk { bytes: sink.into_inner()?.into(), close })
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).expect("a chunk has less than 2 GiB of text");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text);
}

/// The least and the greatest text, cut where they are long: a bound, though no value of the column.
fn text_statistics<'a>(texts: impl Iterator<Item = &'a [u8]> + Clone, nulls: usize) -> Statistics {
    let least = texts.clone().min();
    let greatest = texts.max();
    let (low, high) = (least.map(lower_bound), greatest.and_then(upper_bound));
    let is_exact = |bound: &Option<Vec<u8>>, text: Option<&[u8]>| bound.as_deref() == text;
    let (low_is_exact, high_is_exact) = (is_exact(&low, least), is_exact(&high, greatest));
    ValueStatistics::new(low.map(ByteArray::from), high.map(ByteArray::from), None, Some(nulls as u64), false)
        .with_min_is_exact(low_is_exact)
        .with_max_is_exact(high_is_exact)
        .into()
}

fn prefix(text: &[u8]) -> &str {
    let text = std::str::from_utf8(text).expect("texts were checked when they were read");
    &text[..text.floor_char_boundary(STATISTICS_BYTES)]
}

fn lower_bound(text: &[u8]) -> Vec<u8> {
    if text.len() <= STATISTICS_BYTES { text.to_vec() } else { prefix(text).into() }
}

/// The least text that is greater than all with this one's prefix; `None` when there is none.
fn upper_bound(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() <= STATISTICS_BYTES {
        return Some(text.to_vec());
    }
    let mut prefix = prefix(text).to_owned();
    while let Some(last) = prefix.pop() {
        // The code points of surrogates, which no text has, are skipped.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            prefix.push(next);
            return Some(prefix.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, StringArray, UInt32Array},
        compute::{concat_batches, take_record_batch},
        datatypes::{Schema, SchemaRef},
        record_batch::RecordBatch,
    };
    use parquet::{
        arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
        file::{metadata::ParquetMetaData, statistics::Statistics},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        plan::Plan,
        schema,
        write::{Layout, TableFile},
    };

    fn accepted() -> SchemaRef {
        let column = |(id, kind): (usize, &&str)| serde_json::json!({"name": kind, "field_id": id + 1, "type": kind, "required": *kind == "int32"});
        let kinds = ["int32", "int64", "float64", "string", "date"];
        let columns: Vec<_> = kinds.iter().enumerate().map(column).collect();
        let plan = serde_json::json!({"dataset": "d", "contract": "c", "columns": columns});
        schema::accepted(&Plan::from_json(&plan.to_string()).unwrap())
    }

    /// Rows that `schema`'s first five columns have, made from a few numbers: `spread` is how many values there are.
    fn rows(schema: &SchemaRef, numbers: &[u32], spread: u32) -> RecordBatch {
        let number = |at: usize| numbers[at] % spread;
        let each = 0..numbers.len();
        let present = |at: usize, of: u32| (!(numbers[at] / 7).is_multiple_of(of)).then(|| number(at));
        let columns: [ArrayRef; 5] = [
            Arc::new(Int32Array::from_iter_values(each.clone().map(|at| number(at) as i32 - 5))),
            Arc::new(Int64Array::from_iter(
                each.clone().map(|at| present(at, 5).map(|number| i64::from(number) * 1_000_000)),
            )),
            Arc::new(Float64Array::from_iter(
                each.clone().map(|at| present(at, 9).map(|number| f64::from(number) * -0.25)),
            )),
            Arc::new(StringArray::from_iter(each.clone().map(|at| {
                present(at, 3).map(|number| format!("{}é{number}", "long ".repeat(number as usize % 20)))
            }))),
            Arc::new(Date32Array::from_iter(each.map(|at| present(at, 1 << 30).map(|number| number as i32)))),
        ];
        let fields: Vec<_> = schema.fields().iter().take(5).cloned().collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec()).unwrap()
    }

    fn written(schema: &SchemaRef, groups: &[Vec<Part>]) -> (RecordBatch, ParquetMetaData) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(schema.clone(), "the contract", true).unwrap();
        let mut file = TableFile::create(folder.path().join("a.parquet"), &layout).unwrap();
        for parts in groups {
            let group = layout.encode(&file.factory(), parts).unwrap();
            file.append(group).unwrap();
        }
        let (finished, _) = file.finish().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&finished.path).unwrap());
        let reader = reader.unwrap();
        let (metadata, schema) = (reader.metadata().as_ref().clone(), reader.schema().clone());
        let batches: Vec<_> = reader.build().unwrap().map(std::result::Result::unwrap).collect();
        (concat_batches(&schema, &batches).unwrap(), metadata)
    }

    fn expected(schema: &SchemaRef, parts: &[Part]) -> RecordBatch {
        let batch = |part: &Part| {
            let rows = match &part.selected {
                None => part.rows.clone(),
                Some(selected) => take_record_batch(&part.rows, selected).unwrap(),
            };
            let repeated = |text: &str| {
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, part.row_count())))
            };
            let mut columns = rows.columns().to_vec();
            columns.push(repeated(&part.batch_id));
            columns.push(Arc::new(Int64Array::from(part.record_nos.clone())));
            columns.push(repeated("the contract"));
            RecordBatch::try_new(schema.clone(), columns).unwrap()
        };
        concat_batches(schema, &parts.iter().map(batch).collect::<Vec<_>>()).unwrap()
    }

    fn part(schema: &SchemaRef, numbers: &[u32], spread: u32, selected: Option<Vec<u32>>, id: &str) -> Part {
        let rows = rows(schema, numbers, spread);
        let count = selected.as_ref().map_or(numbers.len(), Vec::len) as i64;
        Part {
            rows,
            selected: selected.map(UInt32Array::from),
            batch_id: id.into(),
            record_nos: (1..=count).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_written_reads_the_same(
            parts in prop::collection::vec(
                (prop::collection::vec(any::<u32>(), 1..400), any::<bool>(), 0..3u8), 1..4),
            spread in prop_oneof![Just(1u32), Just(7), Just(1000), Just(u32::MAX >> 3)],
        ) {
            let schema = accepted();
            let make = |(numbers, all, id): &(Vec<u32>, bool, u8)| {
                let odd = (0..numbers.len() as u32).filter(|row| numbers[*row as usize] % 2 == 1).collect();
                part(&schema, numbers, spread, (!all).then_some(odd), &format!("batch {id}"))
            };
            let groups = [parts.iter().map(make).collect::<Vec<_>>(), parts.iter().rev().map(make).collect()];
            let (read, metadata) = written(&schema, &groups);
            let all: Vec<Part> = groups.into_iter().flatten().collect();
            let expected = expected(&schema, &all);
            prop_assert_eq!(read.columns(), expected.columns());
            prop_assert_eq!(metadata.num_row_groups(), 2);
        }
    }

    #[test]
    fn many_pages_and_values_that_hardly_repeat_read_the_same() {
        let schema = accepted();
        let numbers: Vec<u32> = (0..200_000u32).map(|number| number.wrapping_mul(2_654_435_761)).collect();
        for spread in [300, 100_000, u32::MAX] {
            let parts = [part(&schema, &numbers, spread, None, "x")];
            let expected = expected(&schema, &parts);
            let (read, _) = written(&schema, &[parts.into()]);
            assert_eq!(read.columns(), expected.columns());
        }
    }

    #[test]
    fn statistics_are_the_values_bounds() {
        let schema = accepted();
        let (_, metadata) = written(&schema, &[vec![part(&schema, &[1, 9, 14, 30], 10, None, "x")]]);
        let statistics = |column: usize| metadata.row_group(0).column(column).statistics().unwrap().clone();
        let Statistics::Int32(integers) = statistics(0) else { panic!("of 32 bits") };
        assert_eq!((integers.min_opt(), integers.max_opt()), (Some(&-5), Some(&4)));
        let Statistics::Double(floats) = statistics(2) else { panic!("floats") };
        assert_eq!((floats.min_opt(), floats.max_opt()), (Some(&-2.25), Some(&0.0)));
        assert_eq!(floats.null_count_opt(), Some(1));
        let Statistics::ByteArray(texts) = statistics(5) else { panic!("texts") };
        assert_eq!(texts.min_opt().unwrap().data(), b"x");
        assert!(texts.min_is_exact() && texts.max_is_exact());
    }

    #[test]
    fn long_texts_are_bounded_by_short_ones() {
        let long = "a".repeat(STATISTICS_BYTES - 1);
        let text = format!("{long}\u{10ffff}b");
        assert_eq!(lower_bound(text.as_bytes()), long.as_bytes());
        let cut = format!("{}\u{d7ff}zz", "a".repeat(STATISTICS_BYTES - 3));
        let bound = upper_bound(cut.as_bytes()).unwrap();
        assert!(bound.as_slice() > cut.as_bytes());
        assert!(std::str::from_utf8(&bound).unwrap().ends_with('\u{e000}'));
        assert_eq!(upper_bound("\u{10ffff}".repeat(40).as_bytes()), None);
        assert_eq!(upper_bound(b"short"), Some(b"short".to_vec()));
    }
}

//! Rows of Arrow columns, as Parquet files and tables give them.
//!
//! What has no cell of its own is converted up front, a column at a time: dictionaries to their values, decimals and large
//! unsigned integers to numbers as text, durations to text, structs, lists and maps to JSON. Bytes are text if
//! they are UTF-8, as older writers don't mark text as such, and otherwise no value of any type. A time that is
//! finer than a microsecond is no value of any type either: cut, it would be another one.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array,
        LargeStringArray, RecordBatch, StringArray, StringViewArray, StructArray,
    },
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit, UInt64Type},
};
use arrow_json::{EncoderOptions, writer::make_encoder};

use crate::{
    cell::{Cell, Row},
    error::Result,
    plan::{Column, Kind, Plan},
};

const MILLIS_A_DAY: i64 = 86_400_000;

/// Reads rows of a batch.
pub struct RowReader {
    columns: Vec<Values>,
}

/// A column's values.
#[derive(Debug, PartialEq)]
pub enum Values {
    /// Objects, by the names of their fields.
    Struct {
        /// The fields' values.
        fields: Vec<(Box<str>, Self)>,
        /// Which objects are null.
        nulls: Option<NullBuffer>,
    },
    /// Arrays.
    List {
        /// The items of all of them.
        items: Box<Self>,
        /// Where the items of each begin, and where the last one's end.
        offsets: Vec<usize>,
        /// Which arrays are null.
        nulls: Option<NullBuffer>,
    },
    /// The batch has no such column.
    Missing,
    /// Only nulls.
    Null,
    /// Booleans.
    Bool(BooleanArray),
    /// Integers.
    Int(Int64Array),
    /// Floating-point numbers.
    Float(Float64Array),
    /// Numbers as text.
    Number(StringArray),
    /// Texts.
    Text(StringArray),
    /// Texts with 64-bit offsets.
    LargeText(LargeStringArray),
    /// Texts in views.
    TextView(StringViewArray),
    /// Bytes.
    Bytes(BinaryArray),
    /// Days.
    Days(Date32Array),
    /// Milliseconds of dates.
    Millis(Int64Array),
    /// Times since 1970-01-01.
    Instant {
        /// The counts.
        values: Int64Array,
        /// What is counted.
        unit: TimeUnit,
        /// Whether they are instants.
        zoned: bool,
    },
    /// Times since midnight.
    TimeOfDay {
        /// The counts.
        values: Int64Array,
        /// What is counted.
        unit: TimeUnit,
    },
    /// JSON text.
    Nested(StringArray),
}

impl RowReader {
    /// A reader of the columns of `batch` that the plan knows, by name.
    ///
    /// # Errors
    /// `Error::Arrow` when a column can't be converted.
    pub fn new(plan: &Plan, batch: &RecordBatch) -> Result<Self> {
        let values = |column: &Column| match batch.schema_ref().index_of(&column.name) {
            Ok(index) => Values::of(column, &batch.schema_ref().fields()[index], batch.column(index)),
            Err(_) => Ok(Values::Missing),
        };
        let columns = plan.columns.iter().map(values).collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    /// The plan's columns.
    pub fn columns(&self) -> &[Values] {
        &self.columns
    }

    /// Read row number `at` into `row`, which is reset first.
    pub fn read<'a>(&'a self, at: usize, row: &mut Row<'a>) {
        row.clear();
        row.extend(self.columns.iter().map(|values| values.cell(at)));
    }
}

impl Values {
    /// The values of a plan's column; objects and arrays as such only where the plan has them.
    fn of(column: &Column, field: &FieldRef, array: &ArrayRef) -> Result<Self> {
        Ok(match (column.kind, array.data_type()) {
            (Kind::Struct, DataType::Struct(fields)) => {
                let objects = array.as_struct();
                let values = |(field, array): (&FieldRef, &ArrayRef)| {
                    let known = column.fields.iter().find(|known| known.name == *field.name());
                    let values = known.map_or(Ok(Self::Missing), |known| Self::of(known, field, array))?;
                    Ok((field.name().as_str().into(), values))
                };
                let fields = fields.iter().zip(objects.columns()).map(values).collect::<Result<_>>()?;
                Self::Struct { fields, nulls: objects.nulls().cloned() }
            }
            (Kind::List, DataType::List(item)) => {
                let lists = array.as_list::<i32>();
                let offsets = lists.value_offsets().iter().map(|at| usize::try_from(*at).unwrap_or_default());
                Self::list(column, item, lists.values(), offsets.collect(), lists.nulls())?
            }
            (Kind::List, DataType::LargeList(item)) => {
                let lists = array.as_list::<i64>();
                let offsets = lists.value_offsets().iter().map(|at| usize::try_from(*at).unwrap_or_default());
                Self::list(column, item, lists.values(), offsets.collect(), lists.nulls())?
            }
            (Kind::List, DataType::FixedSizeList(item, length)) => {
                let lists = array.as_fixed_size_list();
                let length = usize::try_from(*length).unwrap_or_default();
                let offsets = (0..=lists.len()).map(|at| at * length).collect();
                Self::list(column, item, lists.values(), offsets, lists.nulls())?
            }
            (Kind::String, DataType::Time32(_) | DataType::Time64(_)) => Self::Text(as_text(array)?),
            _ => Self::new(field, array)?,
        })
    }

    fn list(
        column: &Column,
        item: &FieldRef,
        values: &ArrayRef,
        offsets: Vec<usize>,
        nulls: Option<&NullBuffer>,
    ) -> Result<Self> {
        let items = Box::new(Self::of(&column.fields[0], item, values)?);
        Ok(Self::List { items, offsets, nulls: nulls.cloned() })
    }

    fn new(field: &FieldRef, array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::UInt64 => Self::unsigned(array)?,
            integer if integer.is_integer() => {
                Self::Int(cast(array, &DataType::Int64)?.as_primitive().clone())
            }
            float if float.is_floating() => {
                Self::Float(cast(array, &DataType::Float64)?.as_primitive().clone())
            }
            decimal if decimal.is_decimal() => Self::Number(as_text(array)?),
            DataType::Utf8 => Self::Text(array.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                Self::Bytes(cast(array, &DataType::Binary)?.as_binary().clone())
            }
            DataType::Date32 => Self::Days(array.as_primitive().clone()),
            DataType::Date64 => Self::Millis(cast(array, &DataType::Int64)?.as_primitive().clone()),
            DataType::Timestamp(unit, zone) => Self::Instant {
                values: cast(array, &DataType::Int64)?.as_primitive().clone(),
                unit: *unit,
                zoned: zone.is_some(),
            },
            DataType::Dictionary(_, value) => return Self::plain(field, array, value),
            DataType::RunEndEncoded(_, values) => return Self::plain(field, array, values.data_type()),
            DataType::Time32(unit) => {
                let ticks = cast(array, &DataType::Int32)?;
                Self::TimeOfDay {
                    values: cast(&ticks, &DataType::Int64)?.as_primitive().clone(),
                    unit: *unit,
                }
            }
            DataType::Time64(unit) => {
                Self::TimeOfDay { values: cast(array, &DataType::Int64)?.as_primitive().clone(), unit: *unit }
            }
            DataType::Duration(_) | DataType::Interval(_) => Self::Text(as_text(array)?),
            _ => Self::Nested(as_json(field, array)?),
        })
    }

    /// The values of an encoded column.
    fn plain(field: &Field, array: &ArrayRef, values: &DataType) -> Result<Self> {
        let field = Arc::new(field.clone().with_data_type(values.clone()));
        Self::new(&field, &cast(array, values)?)
    }

    fn unsigned(array: &ArrayRef) -> Result<Self> {
        let largest = arrow::compute::max(array.as_primitive::<UInt64Type>()).unwrap_or_default();
        if i64::try_from(largest).is_err() {
            return Ok(Self::Number(as_text(array)?));
        }
        Ok(Self::Int(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
    }

    /// The value of row number `at`.
    #[inline]
    pub(crate) fn cell(&self, at: usize) -> Cell<'_> {
        match self {
            Self::Struct { nulls, .. } | Self::List { nulls, .. } => match nulls {
                Some(nulls) if nulls.is_null(at) => Cell::Null,
                _ => Cell::Group { values: self, at },
            },
            Self::Missing => Cell::Missing,
            Self::Null => Cell::Null,
            Self::Bool(values) if values.is_valid(at) => Cell::Bool(values.value(at)),
            Self::Int(values) if values.is_valid(at) => Cell::Int(values.value(at)),
            Self::Float(values) if values.is_valid(at) => Cell::Float(values.value(at)),
            Self::Number(values) if values.is_valid(at) => number(values.value(at)),
            Self::Text(values) if values.is_valid(at) => Cell::Str(values.value(at)),
            Self::LargeText(values) if values.is_valid(at) => Cell::Str(values.value(at)),
            Self::TextView(values) if values.is_valid(at) => Cell::Str(values.value(at)),
            Self::Bytes(values) if values.is_valid(at) => bytes(values.value(at)),
            Self::Days(values) if values.is_valid(at) => Cell::Days(values.value(at)),
            Self::Millis(values) if values.is_valid(at) => days(values.value(at)),
            Self::Instant { values, unit, zoned } if values.is_valid(at) => {
                instant(values.value(at), *unit, *zoned)
            }
            Self::TimeOfDay { values, unit } if values.is_valid(at) => {
                micros(values.value(at), *unit).map_or(Cell::Int(values.value(at)), Cell::TimeOfDay)
            }
            Self::Nested(values) if values.is_valid(at) => Cell::Nested(values.value(at)),
            _ => Cell::Null,
        }
    }
}

fn number(text: &str) -> Cell<'_> {
    text.parse().map_or(Cell::Number(text), Cell::Int)
}

fn bytes(value: &[u8]) -> Cell<'_> {
    std::str::from_utf8(value).map_or(Cell::Nested("<binary>"), Cell::Str)
}

/// A day count too large for a date stays a number, which no date is.
fn days<'a>(millis: i64) -> Cell<'a> {
    let days = millis.div_euclid(MILLIS_A_DAY);
    i32::try_from(days).map_or(Cell::Int(days), Cell::Days)
}

/// A count too large or too fine for microseconds stays a number, which no timestamp is.
fn instant<'a>(value: i64, unit: TimeUnit, zoned: bool) -> Cell<'a> {
    micros(value, unit).map_or(Cell::Int(value), |value| Cell::Micros { value, zoned })
}

fn micros(value: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => (value % 1_000 == 0).then_some(value / 1_000),
    }
}

fn as_text(array: &ArrayRef) -> Result<StringArray> {
    Ok(cast(array, &DataType::Utf8)?.as_string().clone())
}

/// The type with the same instants, named by UTC. No other zone has a name here, and JSON gives instants in UTC.
fn in_utc(data_type: &DataType) -> DataType {
    let child = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(in_utc(field.data_type())));
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::List(field) => DataType::List(child(field)),
        DataType::LargeList(field) => DataType::LargeList(child(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(child(field), *length),
        DataType::Map(field, sorted) => DataType::Map(child(field), *sorted),
        other => other.clone(),
    }
}

fn as_json(field: &FieldRef, array: &ArrayRef) -> Result<StringArray> {
    let (field, array) = &json_column(field, array)?;
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, array, &options)?;
    let mut text = Vec::new();
    let json = |at| {
        if array.is_null(at) {
            return None;
        }
        text.clear();
        encoder.encode(at, &mut text);
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    Ok((0..array.len()).map(json).collect())
}

/// A column that JSON can be made of. One that has no JSON (a map whose keys aren't text) is shown by its type's name.
fn json_column(field: &FieldRef, array: &ArrayRef) -> Result<(FieldRef, ArrayRef)> {
    let array = cast(array, &in_utc(array.data_type()))?;
    let retyped = |data_type: &DataType| Arc::new(field.as_ref().clone().with_data_type(data_type.clone()));
    let field = retyped(array.data_type());
    if make_encoder(&field, &array, &EncoderOptions::default()).is_ok() {
        return Ok((field, array));
    }
    let name = format!("<{}>", array.data_type());
    let shown: StringArray = (0..array.len()).map(|at| array.is_valid(at).then_some(name.as_str())).collect();
    Ok((retyped(&DataType::Utf8), Arc::new(shown)))
}

/// Renders rows of a batch as JSON objects, to be kept as the bytes of records that have none of their own.
pub struct JsonRows {
    rows: ArrayRef,
    field: FieldRef,
    options: EncoderOptions,
}

impl JsonRows {
    /// A renderer of all columns of `batch`.
    ///
    /// # Errors
    /// `Error::Arrow` when a column has a type that has no JSON.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let (fields, arrays): (Vec<_>, Vec<_>) = columns
            .map(|(field, array)| json_column(field, array))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let rows = StructArray::try_new_with_length(fields.into(), arrays, None, batch.num_rows())?;
        let rows: ArrayRef = Arc::new(rows);
        let field = Arc::new(Field::new("row", rows.data_type().clone(), false));
        let options = EncoderOptions::default().with_explicit_nulls(true);
        make_encoder(&field, &rows, &options)?;
        Ok(Self { rows, field, options })
    }

    /// Row number `at` as a JSON object.
    pub fn render(&self, at: usize) -> Vec<u8> {
        let mut text = Vec::new();
        make_encoder(&self.field, &self.rows, &self.options)
            .expect("an encoder was made of the same array before")
            .encode(at, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            BinaryViewArray, Date64Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
            Float32Array, Int8Array, Int32Array, ListArray, NullArray, Time32SecondArray,
            TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt16Array,
            UInt64Array,
        },
        datatypes::{Int8Type, Int32Type},
    };

    use super::*;
    use crate::read::testing::plan_of;

    /// The cells of a column.
    fn cells(array: impl Array + 'static, check: impl FnOnce(&[Cell])) {
        let batch = RecordBatch::try_from_iter([("a", Arc::new(array) as ArrayRef)]).unwrap();
        let reader = RowReader::new(&plan_of(&["a"]), &batch).unwrap();
        let mut row = Row::new();
        let mut column = Vec::new();
        for at in 0..batch.num_rows() {
            reader.read(at, &mut row);
            column.append(&mut row);
        }
        check(&column);
    }

    fn assert_cells<const N: usize>(array: impl Array + 'static, expected: [Cell; N]) {
        cells(array, |found| assert_eq!(found, expected));
    }

    fn micros<'a>(value: i64, zoned: bool) -> Cell<'a> {
        Cell::Micros { value, zoned }
    }

    #[test]
    fn integers_of_any_width_are_integers() {
        assert_cells(Int8Array::from(vec![Some(-1), None]), [Cell::Int(-1), Cell::Null]);
        assert_cells(UInt16Array::from(vec![65_535]), [Cell::Int(65_535)]);
        assert_cells(UInt64Array::from(vec![1]), [Cell::Int(1)]);
        assert_cells(
            UInt64Array::from(vec![1, u64::MAX]),
            [Cell::Int(1), Cell::Number("18446744073709551615")],
        );
    }

    #[test]
    fn other_numbers_are_floats_or_text() {
        assert_cells(Float32Array::from(vec![0.5]), [Cell::Float(0.5)]);
        let decimals = Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(10, 2).unwrap();
        assert_cells(decimals, [Cell::Number("12.50"), Cell::Null]);
        let whole = Decimal128Array::from(vec![12]).with_precision_and_scale(10, 0).unwrap();
        assert_cells(whole, [Cell::Int(12)]);
    }

    #[test]
    fn text_and_bytes_that_are_text_are_strings() {
        assert_cells(StringViewArray::from(vec![Some("x"), None]), [Cell::Str("x"), Cell::Null]);
        assert_cells(LargeStringArray::from(vec!["x"]), [Cell::Str("x")]);
        let dictionary: DictionaryArray<Int8Type> = [Some("x"), None, Some("x")].into_iter().collect();
        assert_cells(dictionary, [Cell::Str("x"), Cell::Null, Cell::Str("x")]);
        let bytes: [&[u8]; 2] = [b"x", b"\xff"];
        assert_cells(BinaryViewArray::from_iter_values(bytes), [Cell::Str("x"), Cell::Nested("<binary>")]);
        let fixed = FixedSizeBinaryArray::try_from_iter([b"ab"].into_iter()).unwrap();
        assert_cells(fixed, [Cell::Str("ab")]);
    }

    #[test]
    fn times_are_counted_in_days_and_microseconds() {
        assert_cells(Date32Array::from(vec![-1]), [Cell::Days(-1)]);
        assert_cells(Date64Array::from(vec![-1, i64::MAX]), [Cell::Days(-1), Cell::Int(106_751_991_167)]);
        assert_cells(
            TimestampSecondArray::from(vec![1, i64::MAX]),
            [micros(1_000_000, false), Cell::Int(i64::MAX)],
        );
        assert_cells(TimestampNanosecondArray::from(vec![-1, 2000]), [Cell::Int(-1), micros(2, false)]);
        let zoned = TimestampMicrosecondArray::from(vec![Some(7), None]).with_timezone("America/New_York");
        assert_cells(zoned, [micros(7, true), Cell::Null]);
        assert_cells(Time32SecondArray::from(vec![61]), [Cell::Str("00:01:01")]);
    }

    #[test]
    fn nested_values_are_json() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        assert_cells(list, [Cell::Nested("[1,null]"), Cell::Null]);
        let instants = TimestampMicrosecondArray::from(vec![7]).with_timezone("America/New_York");
        let field = Arc::new(Field::new("t", instants.data_type().clone(), true));
        let instants = StructArray::from(vec![(field, Arc::new(instants) as ArrayRef)]);
        assert_cells(instants, [Cell::Nested("{\"t\":\"1970-01-01T00:00:00.000007Z\"}")]);
        assert_cells(NullArray::new(1), [Cell::Null]);
        assert_cells(BooleanArray::from(vec![true]), [Cell::Bool(true)]);
    }

    #[test]
    fn columns_are_found_by_name_and_rows_are_rendered_whole() {
        let columns: [(&str, ArrayRef); 3] = [
            ("c", Arc::new(StringArray::from(vec![Some("é\"\n"), None]))),
            ("x", Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC"))),
            ("a", Arc::new(Int32Array::from(vec![1, 2]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
                .unwrap();
        let reader = RowReader::new(&plan_of(&["a", "b", "c"]), &batch).unwrap();
        let mut row = vec![Cell::Bool(true)];
        reader.read(1, &mut row);
        assert_eq!(row, [Cell::Int(2), Cell::Missing, Cell::Null]);
        let rows = JsonRows::new(&batch).unwrap();
        assert_eq!(rows.render(0), "{\"c\":\"é\\\"\\n\",\"x\":\"1970-01-01T00:00:00Z\",\"a\":1}".as_bytes());
        assert_eq!(rows.render(1), b"{\"c\":null,\"x\":\"1970-01-01T00:00:00.000001Z\",\"a\":2}");
    }

    #[test]
    fn rows_without_columns_are_rendered_too() {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(2));
        let batch =
            RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::empty()), vec![], &options);
        let batch = batch.unwrap();
        let reader = RowReader::new(&plan_of(&["a"]), &batch).unwrap();
        let mut row = Row::new();
        reader.read(1, &mut row);
        assert_eq!(row, [Cell::Missing]);
        assert_eq!(JsonRows::new(&batch).unwrap().render(1), b"{}");
    }
}

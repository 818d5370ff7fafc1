//! Columns of accepted rows, built record by record.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, ListArray, StructArray},
    buffer::OffsetBuffer,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, SchemaRef,
        Time64MicrosecondType, TimestampMicrosecondType,
    },
    record_batch::RecordBatch,
};

use crate::{
    buffers::{Nulls, Numbers, Texts},
    cell::Cell,
    check::Checked,
    compare::{Comparisons, Operand},
    error::{Error, Result},
    plan::{Column, Kind, Plan},
};

/// Builds the plan's columns.
pub struct Rows {
    columns: Vec<Builder>,
    schema: SchemaRef,
    len: usize,
}

/// One column under way.
pub enum Builder {
    /// 32-bit integers.
    Int32(Numbers<i32>),
    /// 64-bit integers.
    Int64(Numbers<i64>),
    /// Floating-point numbers.
    Float64(Numbers<f64>),
    /// Decimals, in units of their last place.
    Decimal(Numbers<i128>),
    /// Booleans.
    Boolean(Numbers<bool>),
    /// Texts.
    String(Texts),
    /// Days since 1970-01-01.
    Date(Numbers<i32>),
    /// Microseconds since 1970-01-01T00:00:00.
    Timestamp(Numbers<i64>),
    /// Microseconds since midnight.
    Time(Numbers<i64>),
    /// Objects.
    Struct {
        /// Their fields.
        fields: Vec<Self>,
        /// Those that are null.
        nulls: Nulls,
        /// How many there are.
        len: usize,
    },
    /// Arrays.
    List {
        /// Their items, one array's after the other's.
        item: Box<Self>,
        /// Where each array's items end, after a 0.
        ends: Vec<i32>,
        /// Those that are null.
        nulls: Nulls,
    },
}

impl Rows {
    /// Empty columns with room for about `capacity` rows.
    pub fn new(plan: &Plan, schema: SchemaRef, capacity: usize) -> Self {
        let columns = plan.columns.iter().map(|column| Builder::new(column, capacity)).collect();
        Self { columns, schema, len: 0 }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Add a row none of whose cells is broken.
    #[inline]
    pub fn push(&mut self, row: &[Cell], checked: &[Checked]) {
        for ((builder, cell), checked) in self.columns.iter_mut().zip(row).zip(checked) {
            builder.push(cell, *checked);
        }
        self.len += 1;
    }

    /// The columns, for rows that are written one column after the other: each takes a value of each row, then
    /// [`Rows::commit`] makes them rows or [`Rows::take_back`] leaves none of them.
    #[inline]
    pub fn columns(&mut self) -> &mut [Builder] {
        &mut self.columns
    }

    /// Count the `count` rows that were written, if all that must hold between the columns does of each; else none of them is left.
    #[inline]
    pub(crate) fn commit(&mut self, count: usize, comparisons: &Comparisons) -> bool {
        let mut rows = self.len..self.len + count;
        if !comparisons.is_empty() && !rows.all(|row| comparisons.hold_of_late(&self.columns, row)) {
            self.take_back();
            return false;
        }
        self.len += count;
        true
    }

    /// Cut off what was written since the last whole row.
    pub fn take_back(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.len);
        }
    }

    /// The rows so far as a record batch; afterwards there are no columns.
    ///
    /// # Errors
    /// `Error::Arrow` when a column doesn't fit the schema.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let fields = self.schema.fields().iter();
        let arrays = std::mem::take(&mut self.columns).into_iter().zip(fields);
        let arrays = arrays.map(|(builder, field)| builder.finish(field.data_type().clone()));
        Ok(RecordBatch::try_new(self.schema.clone(), arrays.collect::<Result<_>>()?)?)
    }
}

impl Builder {
    /// An empty column with room for so many rows.
    pub(crate) fn new(column: &Column, capacity: usize) -> Self {
        match column.kind {
            Kind::Int32 => Self::Int32(Numbers::new(capacity)),
            Kind::Int64 => Self::Int64(Numbers::new(capacity)),
            Kind::Float64 => Self::Float64(Numbers::new(capacity)),
            Kind::Decimal { .. } => Self::Decimal(Numbers::new(capacity)),
            Kind::Boolean => Self::Boolean(Numbers::new(capacity)),
            Kind::String => Self::String(Texts::new(capacity)),
            Kind::Date => Self::Date(Numbers::new(capacity)),
            Kind::Timestamp | Kind::TimestampNtz => Self::Timestamp(Numbers::new(capacity)),
            Kind::Time => Self::Time(Numbers::new(capacity)),
            Kind::Struct => {
                let fields = column.fields.iter().map(|field| Self::new(field, capacity)).collect();
                Self::Struct { fields, nulls: Nulls::default(), len: 0 }
            }
            Kind::List => {
                let item = Box::new(Self::new(&column.fields[0], capacity));
                Self::List { item, ends: vec![0], nulls: Nulls::default() }
            }
        }
    }

    /// Add what a cell was checked to be.
    #[inline]
    pub fn push(&mut self, cell: &Cell, checked: Checked) {
        match checked {
            Checked::Value(value) => self.push_value(cell, value),
            Checked::Decimal(value) => {
                let Self::Decimal(column) = self else { unreachable!("decimals go to their columns") };
                column.push(value);
            }
            Checked::Null => self.push_null(),
            Checked::Written => {}
            Checked::Broken => unreachable!("rows with a broken cell are rejected"),
        }
    }

    /// Add integers, which are within the limits of the column's type.
    #[inline(always)]
    pub fn push_integers<const COUNT: usize>(&mut self, values: [i64; COUNT]) {
        match self {
            Self::Int32(column) => column.push_each(values.map(small)),
            Self::Int64(column) => column.push_each(values),
            _ => unreachable!("integers go to columns of integers"),
        }
    }

    /// Add a value: a scalar, or the cell's text.
    #[inline]
    pub fn push_value(&mut self, cell: &Cell, value: i64) {
        match self {
            Self::Int32(column) | Self::Date(column) => column.push(small(value)),
            Self::Int64(column) | Self::Timestamp(column) | Self::Time(column) => column.push(value),
            Self::Float64(column) => column.push(f64::from_bits(value.cast_unsigned())),
            Self::Boolean(column) => column.push(value != 0),
            Self::Decimal(column) => column.push(i128::from(value)),
            Self::String(column) => {
                let text = cell.text().unwrap_or_default();
                column.push(text.as_bytes(), 0, text.len());
            }
            Self::Struct { .. } | Self::List { .. } => {
                unreachable!("nested values are written as they are read")
            }
        }
    }

    /// Add a row without a value.
    #[inline]
    pub fn push_null(&mut self) {
        match self {
            Self::Int32(column) | Self::Date(column) => column.push_null(),
            Self::Int64(column) | Self::Timestamp(column) | Self::Time(column) => column.push_null(),
            Self::Float64(column) => column.push_null(),
            Self::Boolean(column) => column.push_null(),
            Self::Decimal(column) => column.push_null(),
            Self::String(column) => column.push_null(),
            Self::Struct { fields, nulls, len } => {
                fields.iter_mut().for_each(Self::push_null);
                nulls.push(*len);
                *len += 1;
            }
            Self::List { item, ends, nulls } => {
                nulls.push(ends.len() - 1);
                ends.push(list_end(item));
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Int32(column) | Self::Date(column) => column.truncate(rows),
            Self::Int64(column) | Self::Timestamp(column) | Self::Time(column) => column.truncate(rows),
            Self::Float64(column) => column.truncate(rows),
            Self::Boolean(column) => column.truncate(rows),
            Self::Decimal(column) => column.truncate(rows),
            Self::String(column) => column.truncate(rows),
            Self::Struct { fields, nulls, len } => {
                fields.iter_mut().for_each(|field| field.truncate(rows));
                nulls.truncate(rows);
                *len = rows;
            }
            Self::List { item, ends, nulls } => {
                ends.truncate(rows + 1);
                item.truncate(usize::try_from(ends[rows]).expect("ends count up from 0"));
                nulls.truncate(rows);
            }
        }
    }

    /// How many rows there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int32(column) | Self::Date(column) => column.len(),
            Self::Int64(column) | Self::Timestamp(column) | Self::Time(column) => column.len(),
            Self::Float64(column) => column.len(),
            Self::Boolean(column) => column.len(),
            Self::Decimal(column) => column.len(),
            Self::String(column) => column.len(),
            Self::Struct { len, .. } => *len,
            Self::List { ends, .. } => ends.len() - 1,
        }
    }

    /// The value of a row, one of the last, to be compared; that of nested columns is none.
    #[inline]
    pub(crate) fn get_late(&self, row: usize) -> Operand<'_> {
        let exact = |value: Option<i64>| value.map(i128::from).map(Operand::Exact);
        let found = match self {
            Self::Int32(column) | Self::Date(column) => exact(column.get_late(row).map(i64::from)),
            Self::Int64(column) | Self::Timestamp(column) | Self::Time(column) => exact(column.get_late(row)),
            Self::Float64(column) => column.get_late(row).map(Operand::Float),
            Self::Boolean(column) => exact(column.get_late(row).map(i64::from)),
            Self::Decimal(column) => column.get_late(row).map(Operand::Exact),
            Self::String(column) => column.get_late(row).map(Operand::Text),
            Self::Struct { .. } | Self::List { .. } => None,
        };
        found.unwrap_or(Operand::Null)
    }

    /// Append bytes that are equal exactly when rows are; a null is equal to a null.
    pub fn write_key(&self, row: usize, key: &mut Vec<u8>) {
        let mut fixed = |bytes: Option<&[u8]>| {
            key.push(u8::from(bytes.is_some()));
            key.extend_from_slice(bytes.unwrap_or_default());
        };
        match self {
            Self::Int32(column) | Self::Date(column) => {
                fixed(column.get(row).map(i32::to_le_bytes).as_ref().map(<[u8; 4]>::as_slice));
            }
            Self::Int64(column) | Self::Timestamp(column) | Self::Time(column) => {
                fixed(column.get(row).map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
            }
            Self::Float64(column) => {
                // 0 and -0 are one number.
                let bytes = column.get(row).map(|value| (value + 0.0).to_le_bytes());
                fixed(bytes.as_ref().map(<[u8; 8]>::as_slice));
            }
            Self::Decimal(column) => {
                fixed(column.get(row).map(i128::to_le_bytes).as_ref().map(<[u8; 16]>::as_slice));
            }
            Self::Boolean(column) => {
                fixed(column.get(row).map(|value| [u8::from(value)]).as_ref().map(<[u8; 1]>::as_slice));
            }
            Self::String(column) => {
                let text = column.get(row);
                fixed(text.map(|text| text.len().to_le_bytes()).as_ref().map(<[u8; 8]>::as_slice));
                key.extend_from_slice(text.unwrap_or_default());
            }
            Self::Struct { fields, nulls, .. } => {
                key.push(u8::from(!nulls.has(row)));
                fields.iter().for_each(|field| field.write_key(row, key));
            }
            Self::List { item, ends, nulls } => {
                let end = |row: usize| usize::try_from(ends[row]).expect("ends count up from 0");
                key.push(u8::from(!nulls.has(row)));
                key.extend_from_slice(&(end(row + 1) - end(row)).to_le_bytes());
                (end(row)..end(row + 1)).for_each(|index| item.write_key(index, key));
            }
        }
    }

    /// The rows as an array of the type.
    ///
    /// # Errors
    /// `Error::Arrow` when they don't fit it.
    pub(crate) fn finish(self, data_type: DataType) -> Result<ArrayRef> {
        Ok(match self {
            Self::Int32(column) => column.finish::<Int32Type>(data_type),
            Self::Int64(column) => column.finish::<Int64Type>(data_type),
            Self::Float64(column) => column.finish::<Float64Type>(data_type),
            Self::Boolean(column) => column.finish_booleans(),
            Self::Decimal(column) => column.finish::<Decimal128Type>(data_type),
            Self::String(column) => column.finish()?,
            Self::Struct { fields, nulls, len } => {
                let DataType::Struct(types) = data_type else { return Err(mismatch(&data_type)) };
                let arrays = fields.into_iter().zip(&types);
                let arrays = arrays.map(|(field, of)| field.finish(of.data_type().clone()));
                let arrays = arrays.collect::<Result<_>>()?;
                Arc::new(StructArray::try_new_with_length(types, arrays, nulls.finish(len), len)?)
            }
            Self::List { item, ends, nulls } => {
                let DataType::List(field) = data_type else { return Err(mismatch(&data_type)) };
                let items = item.finish(field.data_type().clone())?;
                let nulls = nulls.finish(ends.len() - 1);
                Arc::new(ListArray::try_new(field, OffsetBuffer::new(ends.into()), items, nulls)?)
            }
            Self::Date(column) => column.finish::<Date32Type>(data_type),
            Self::Timestamp(column) => column.finish::<TimestampMicrosecondType>(data_type),
            Self::Time(column) => column.finish::<Time64MicrosecondType>(data_type),
        })
    }
}

#[cold]
fn mismatch(data_type: &DataType) -> Error {
    Error::Internal(format!("nested values in a column of {data_type}"))
}

/// Where an array ends whose items are the last that were written.
#[inline]
pub(crate) fn list_end(item: &Builder) -> i32 {
    i32::try_from(item.len()).expect("a chunk has fewer than 2³¹ items")
}

/// A value of a 32-bit column; the check has seen that it fits.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn small(value: i64) -> i32 {
    value as i32
}

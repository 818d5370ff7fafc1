//! Columns of accepted rows, built record by record.

use arrow::{
    array::ArrayRef,
    datatypes::{Date32Type, Float64Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType},
    record_batch::RecordBatch,
};

use crate::{
    buffers::{Numbers, Texts},
    cell::Cell,
    check::Checked,
    error::Result,
    plan::{Kind, Plan},
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
    /// Booleans.
    Boolean(Numbers<bool>),
    /// Texts.
    String(Texts),
    /// Days since 1970-01-01.
    Date(Numbers<i32>),
    /// Microseconds since 1970-01-01T00:00:00.
    Timestamp(Numbers<i64>),
}

impl Rows {
    /// Empty columns with room for about `capacity` rows.
    pub fn new(plan: &Plan, schema: SchemaRef, capacity: usize) -> Self {
        let columns = plan.columns.iter().map(|column| Builder::new(column.kind, capacity)).collect();
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

    /// The columns, for a row that is written one by one: each takes one value, then [`Rows::commit`] makes them a row or
    /// [`Rows::take_back`] leaves none of them.
    #[inline]
    pub fn columns(&mut self) -> &mut [Builder] {
        &mut self.columns
    }

    /// Count the row that was written.
    #[inline]
    pub fn commit(&mut self) {
        self.len += 1;
    }

    /// Cut off what was written since the last whole row.
    pub fn take_back(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.len);
        }
    }

    /// The rows so far as a record batch.
    ///
    /// # Errors
    /// `Error::Arrow` when a column doesn't fit the schema.
    pub fn finish(self) -> Result<RecordBatch> {
        let fields = self.schema.fields().iter();
        let arrays = self.columns.into_iter().zip(fields);
        let arrays = arrays.map(|(builder, field)| builder.finish(field.data_type().clone()));
        Ok(RecordBatch::try_new(self.schema.clone(), arrays.collect::<Result<_>>()?)?)
    }
}

impl Builder {
    fn new(kind: Kind, capacity: usize) -> Self {
        match kind {
            Kind::Int32 => Self::Int32(Numbers::new(capacity)),
            Kind::Int64 => Self::Int64(Numbers::new(capacity)),
            Kind::Float64 => Self::Float64(Numbers::new(capacity)),
            Kind::Boolean => Self::Boolean(Numbers::new(capacity)),
            Kind::String => Self::String(Texts::new(capacity)),
            Kind::Date => Self::Date(Numbers::new(capacity)),
            Kind::Timestamp | Kind::TimestampNtz => Self::Timestamp(Numbers::new(capacity)),
        }
    }

    /// Add what a cell was checked to be.
    #[inline]
    pub fn push(&mut self, cell: &Cell, checked: Checked) {
        match checked {
            Checked::Value(value) => self.push_value(cell, value),
            Checked::Null => self.push_null(),
            Checked::Broken => unreachable!("rows with a broken cell are rejected"),
        }
    }

    /// Add a value: a scalar, or the cell's text.
    #[inline]
    pub fn push_value(&mut self, cell: &Cell, value: i64) {
        match self {
            Self::Int32(column) | Self::Date(column) => column.push(small(value)),
            Self::Int64(column) | Self::Timestamp(column) => column.push(value),
            Self::Float64(column) => column.push(f64::from_bits(value.cast_unsigned())),
            Self::Boolean(column) => column.push(value != 0),
            Self::String(column) => {
                let text = cell.text().unwrap_or_default();
                column.push(text.as_bytes(), 0, text.len());
            }
        }
    }

    /// Add a row without a value.
    #[inline]
    pub fn push_null(&mut self) {
        match self {
            Self::Int32(column) | Self::Date(column) => column.push_null(),
            Self::Int64(column) | Self::Timestamp(column) => column.push_null(),
            Self::Float64(column) => column.push_null(),
            Self::Boolean(column) => column.push_null(),
            Self::String(column) => column.push_null(),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Int32(column) | Self::Date(column) => column.truncate(rows),
            Self::Int64(column) | Self::Timestamp(column) => column.truncate(rows),
            Self::Float64(column) => column.truncate(rows),
            Self::Boolean(column) => column.truncate(rows),
            Self::String(column) => column.truncate(rows),
        }
    }

    fn finish(self, data_type: arrow::datatypes::DataType) -> Result<ArrayRef> {
        Ok(match self {
            Self::Int32(column) => column.finish::<Int32Type>(data_type),
            Self::Int64(column) => column.finish::<Int64Type>(data_type),
            Self::Float64(column) => column.finish::<Float64Type>(data_type),
            Self::Boolean(column) => column.finish_booleans(),
            Self::String(column) => column.finish()?,
            Self::Date(column) => column.finish::<Date32Type>(data_type),
            Self::Timestamp(column) => column.finish::<TimestampMicrosecondType>(data_type),
        })
    }
}

/// A value of a 32-bit column; the check has seen that it fits.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn small(value: i64) -> i32 {
    value as i32
}

//! Columns of accepted rows, built record by record.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::SchemaRef,
    record_batch::RecordBatch,
};

use crate::{
    cell::Cell,
    check::Checked,
    error::Result,
    plan::{Kind, Plan},
};

/// Builds the plan's columns.
pub struct Rows {
    columns: Vec<Builder>,
    schema: SchemaRef,
}

enum Builder {
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    String(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Rows {
    /// Empty columns with room for about `capacity` rows.
    pub fn new(plan: &Plan, schema: SchemaRef, capacity: usize) -> Self {
        let columns = plan.columns.iter().map(|column| Builder::new(column.kind, capacity)).collect();
        Self { columns, schema }
    }

    /// Add a row none of whose cells is broken.
    #[inline]
    pub fn push(&mut self, row: &[Cell], checked: &[Checked]) {
        for ((builder, cell), checked) in self.columns.iter_mut().zip(row).zip(checked) {
            match checked {
                Checked::Value(value) => builder.value(cell, *value),
                Checked::Null => builder.null(),
                Checked::Broken => unreachable!("rows with a broken cell are rejected"),
            }
        }
    }

    /// The rows so far as a record batch.
    ///
    /// # Errors
    /// `Error::Arrow` when a column doesn't fit the schema.
    pub fn finish(mut self) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(Builder::finish).collect();
        Ok(RecordBatch::try_new(self.schema, arrays)?)
    }
}

impl Builder {
    fn new(kind: Kind, capacity: usize) -> Self {
        match kind {
            Kind::Int32 => Self::Int32(Int32Builder::with_capacity(capacity)),
            Kind::Int64 => Self::Int64(Int64Builder::with_capacity(capacity)),
            Kind::Float64 => Self::Float64(Float64Builder::with_capacity(capacity)),
            Kind::Boolean => Self::Boolean(BooleanBuilder::with_capacity(capacity)),
            Kind::String => Self::String(StringBuilder::with_capacity(capacity, capacity * 8)),
            Kind::Date => Self::Date(Date32Builder::with_capacity(capacity)),
            Kind::Timestamp | Kind::TimestampNtz => Self::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(capacity).with_data_type(kind.arrow()),
            ),
        }
    }

    #[inline]
    fn value(&mut self, cell: &Cell, value: i64) {
        match self {
            Self::Int32(builder) => builder.append_value(small(value)),
            Self::Int64(builder) => builder.append_value(value),
            Self::Float64(builder) => builder.append_value(f64::from_bits(value.cast_unsigned())),
            Self::Boolean(builder) => builder.append_value(value != 0),
            Self::String(builder) => builder.append_value(cell.text().unwrap_or_default()),
            Self::Date(builder) => builder.append_value(small(value)),
            Self::Timestamp(builder) => builder.append_value(value),
        }
    }

    #[inline]
    fn null(&mut self) {
        match self {
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::String(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::String(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A value of a 32-bit column; the check has seen that it fits.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn small(value: i64) -> i32 {
    value as i32
}

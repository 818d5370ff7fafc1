//! Values of a finished column, row by row.

use arrow::{
    array::{Array, AsArray, BooleanArray, StringArray},
    buffer::NullBuffer,
    datatypes::{DataType, Int32Type, Int64Type},
};

use crate::error::{Error, Result};

/// A column's values, whatever its type stands for.
pub struct Scalars<'a> {
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

/// The values of one physical kind.
pub enum Values<'a> {
    /// 32-bit integers and days.
    Int32(&'a [i32]),
    /// 64-bit integers and microseconds.
    Int64(&'a [i64]),
    /// Floating-point numbers.
    Float64(&'a [f64]),
    /// Decimals, in units of their last place.
    Decimal(&'a [i128]),
    /// Booleans.
    Boolean(&'a BooleanArray),
    /// Texts.
    Text(&'a StringArray),
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// None.
    Null,
    /// A number in 64 bits: an integer, the bits of a float, 0 or 1, days, or microseconds.
    Number(i64),
    /// A decimal, in units of its last place.
    Decimal(i128),
    /// A text.
    Text(&'a str),
}

impl<'a> Scalars<'a> {
    /// The values of `array`.
    ///
    /// # Errors
    /// `Error::Internal` when its type is none that a plan's column has.
    pub fn of(array: &'a dyn Array) -> Result<Self> {
        let values = match array.data_type() {
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Values::Int32(array.as_primitive::<arrow::datatypes::Date32Type>().values()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(..) => {
                Values::Int64(array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().values())
            }
            DataType::Time64(_) => {
                Values::Int64(array.as_primitive::<arrow::datatypes::Time64MicrosecondType>().values())
            }
            DataType::Float64 => {
                Values::Float64(array.as_primitive::<arrow::datatypes::Float64Type>().values())
            }
            DataType::Decimal128(..) => {
                Values::Decimal(array.as_primitive::<arrow::datatypes::Decimal128Type>().values())
            }
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Utf8 => Values::Text(array.as_string()),
            other => return Err(Error::Internal(format!("no scalars of {other}"))),
        };
        Ok(Self { values, nulls: array.nulls() })
    }

    /// The values alone; what stands where a row has none is of no meaning.
    pub fn values(&self) -> &Values<'a> {
        &self.values
    }

    /// Which rows have a value; `None` when all do.
    pub fn nulls(&self) -> Option<&'a NullBuffer> {
        self.nulls
    }

    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Scalar<'a> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Scalar::Null;
        }
        match &self.values {
            Values::Int32(values) => Scalar::Number(i64::from(values[row])),
            Values::Int64(values) => Scalar::Number(values[row]),
            Values::Float64(values) => Scalar::Number(values[row].to_bits().cast_signed()),
            Values::Decimal(values) => Scalar::Decimal(values[row]),
            Values::Boolean(values) => Scalar::Number(i64::from(values.value(row))),
            Values::Text(values) => Scalar::Text(values.value(row)),
        }
    }
}

//! A field of a record as its format spells it, before the contract gives it a type.

use crate::read::columns::Values;

/// One field's value, borrowed from the record's bytes wherever they hold it as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell<'a> {
    /// The record has no such field.
    #[default]
    Missing,
    /// JSON `null`, a null token of a CSV file, a null of a Parquet column.
    Null,
    /// A boolean of a typed format.
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits.
    Int(i64),
    /// Any other JSON number, as it is written.
    Number(&'a str),
    /// A floating-point number of a binary format.
    Float(f64),
    /// A string without escapes.
    Str(&'a str),
    /// A string whose escapes were resolved.
    Owned(Box<str>),
    /// Text of an untyped format (CSV); the column's type decides how it reads.
    Text(&'a str),
    /// Text of an untyped format whose doubled quotes were resolved.
    OwnedText(Box<str>),
    /// An object or an array, as it is written.
    Nested(&'a str),
    /// An object or an array of a binary format.
    Group {
        /// The column's values.
        values: &'a Values,
        /// Which of them.
        at: usize,
    },
    /// Days since 1970-01-01, of a binary format.
    Days(i32),
    /// Microseconds since midnight, of a binary format.
    TimeOfDay(i64),
    /// Microseconds since 1970-01-01T00:00:00, of a binary format.
    Micros {
        /// The count.
        value: i64,
        /// Whether the count is an instant (UTC) or a wall clock's.
        zoned: bool,
    },
}

/// One record's fields in the order of the plan's columns.
pub type Row<'a> = Vec<Cell<'a>>;

/// What is wrong with a record, said of one column or of the record as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Index of the plan's column; `None` when the record as a whole is broken.
    pub column: Option<usize>,
    /// The broken rule's name, as the contract spells it (`required`, `maximum`, …) or the kernel's (`malformed`,
    /// `utf8`, `field_count`, `type`, `duplicate_field`, `unknown_field`, `truncated`, `too_large`).
    pub rule: &'static str,
    /// One sentence for a person, without a final period.
    pub message: String,
}

impl Violation {
    /// A fault of the record as a whole.
    pub fn of_record(rule: &'static str, message: impl Into<String>) -> Self {
        Self { column: None, rule, message: message.into() }
    }

    /// A fault of one column.
    pub fn of_column(column: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { column: Some(column), rule, message: message.into() }
    }
}

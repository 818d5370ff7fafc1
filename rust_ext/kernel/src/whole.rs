//! Columns of a columnar chunk, typed and checked one after the other instead of row by row.
//!
//! As [`crate::quick`] does for text, this only accepts: a row of which anything is broken is left to the general path,
//! which says what. Columns that the plan has as objects or arrays are left to it altogether.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray},
    buffer::BooleanBuffer,
    compute::{cast, filter},
    datatypes::{DataType, Int32Type, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};

use crate::{
    cell::Cell,
    check::{Checked, Checker},
    compare::Comparisons,
    error::Result,
    nested,
    plan::Plan,
    quick::{Quick, QuickColumn, QuickKind, Scratch},
    read::columns::Values,
    rows::Builder,
    scalars::Scalars,
};

/// The plan's columns of a chunk.
pub struct Whole {
    arrays: Vec<ArrayRef>,
    /// The rows of which nothing is broken; `None` when that is all of them.
    fine: Option<BooleanBuffer>,
    rows: usize,
}

impl Whole {
    /// Type and check `columns`, the plan's columns of a chunk of so many rows; `None` when one of them is nested.
    ///
    /// # Errors
    /// `Error::Arrow` when a column can't be built.
    pub fn of(plan: &Plan, quick: &Quick, columns: &[Values], rows: usize) -> Result<Option<Self>> {
        if plan.columns.iter().any(|column| column.kind.is_nested()) {
            return Ok(None);
        }
        let mut scratch = Scratch::new(plan);
        let (mut arrays, mut fine) = (Vec::with_capacity(columns.len()), None);
        for ((column, values), of_plan) in quick.columns.iter().zip(columns).zip(&plan.columns) {
            let data_type = of_plan.arrow();
            let typed = typed(column, values, &data_type, rows, &quick.checker, &mut scratch)?;
            let (array, is_fine) = match typed {
                Some(typed) => typed,
                None => {
                    let builder = Builder::new(of_plan, rows);
                    cell_by_cell(column.index, values, builder, data_type, rows, &quick.checker)?
                }
            };
            arrays.push(array);
            fine = both(fine, is_fine);
        }
        let comparisons = &quick.checker.comparisons;
        if !comparisons.is_empty() {
            fine = both(fine, between(comparisons, &arrays, rows)?);
        }
        Ok(Some(Self { arrays, fine, rows }))
    }

    /// Whether nothing of a row is broken.
    pub fn is_fine(&self, row: usize) -> bool {
        self.fine.as_ref().is_none_or(|fine| fine.value(row))
    }

    /// The rows of which nothing is broken.
    ///
    /// # Errors
    /// `Error::Arrow` when they don't fit the schema.
    pub fn finish(self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut rows = self.rows;
        let arrays = match self.fine {
            None => self.arrays,
            Some(fine) => {
                rows = fine.count_set_bits();
                let fine = BooleanArray::new(fine, None);
                let arrays = self.arrays.iter().map(|array| filter(array, &fine));
                arrays.collect::<std::result::Result<_, _>>()?
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
    }
}

type Typed = (ArrayRef, Option<BooleanBuffer>);

/// A column whose values are judged by a few instructions, and which of them are fine; `None` when it isn't one.
fn typed(
    column: &QuickColumn,
    values: &Values,
    data_type: &DataType,
    rows: usize,
    checker: &Checker,
    scratch: &mut Scratch,
) -> Result<Option<Typed>> {
    let (array, fine): Typed = match (&column.kind, values) {
        (QuickKind::Integer { low, high }, Values::Int(values)) => {
            let fine = all(rows, |row| (*low..=*high).contains(&values.value(row)), values);
            (integers(values, data_type), fine)
        }
        (QuickKind::Float { ruled }, Values::Float(values)) => {
            let is_fine = |row: usize| {
                let value = values.value(row);
                value.is_finite() && (!ruled || holds(checker, column.index, &Cell::Float(value), scratch))
            };
            (Arc::new(values.clone()) as ArrayRef, all(rows, is_fine, values))
        }
        (QuickKind::Boolean, Values::Bool(values)) => (Arc::new(values.clone()), None),
        (QuickKind::Text { .. }, Values::Text(values)) => texts(column, values, checker, scratch),
        (QuickKind::Text { .. }, Values::LargeText(values)) => {
            let values = cast(values, &DataType::Utf8)?;
            texts(column, values.as_string(), checker, scratch)
        }
        (QuickKind::Text { .. }, Values::TextView(values)) => {
            let values = cast(values, &DataType::Utf8)?;
            texts(column, values.as_string(), checker, scratch)
        }
        _ => return Ok(None),
    };
    let present = array.nulls().filter(|nulls| column.required && nulls.null_count() > 0);
    let present = present.map(|nulls| nulls.inner().clone());
    Ok(Some((array, both(fine, present))))
}

fn integers(values: &Int64Array, data_type: &DataType) -> ArrayRef {
    match data_type {
        // The column's bounds are within its type; a value beyond them isn't fine, whatever it is cut to.
        #[allow(clippy::cast_possible_truncation)]
        DataType::Int32 => Arc::new(values.unary::<_, Int32Type>(|value| value as i32)),
        _ => Arc::new(values.clone()),
    }
}

fn texts(column: &QuickColumn, values: &StringArray, checker: &Checker, scratch: &mut Scratch) -> Typed {
    let QuickKind::Text { least, most, ruled } = column.kind else {
        unreachable!("the column is one of texts")
    };
    let ends = values.value_offsets();
    let is_fine = |row: usize| {
        let length = usize::try_from(ends[row + 1] - ends[row]).unwrap_or_default();
        // More bytes than the contract allows characters may still be few enough of those.
        let is_simple = (least..=most).contains(&length) && !ruled;
        is_simple || column.judge_text(values.value(row), checker, scratch)
    };
    (Arc::new(values.clone()), all(values.len(), is_fine, values))
}

/// A column by the general check of each of its cells.
fn cell_by_cell(
    index: usize,
    values: &Values,
    mut builder: Builder,
    data_type: DataType,
    rows: usize,
    checker: &Checker,
) -> Result<Typed> {
    let (mut violations, mut nested) = (Vec::new(), nested::Scratch::default());
    let mut is_fine = |row: usize| {
        let cell = values.cell(row);
        let checked = checker.check_into(index, &cell, &mut builder, &mut violations, &mut nested);
        violations.clear();
        match checked {
            Checked::Broken => builder.push_null(),
            checked => builder.push(&cell, checked),
        }
        checked != Checked::Broken
    };
    let fine = BooleanBuffer::collect_bool(rows, &mut is_fine);
    let fine = (fine.count_set_bits() < rows).then_some(fine);
    Ok((builder.finish(data_type)?, fine))
}

/// The rows between whose columns all holds; `None` when that is all of them. Those of which a value is broken may be among
/// them or not.
fn between(comparisons: &Comparisons, arrays: &[ArrayRef], rows: usize) -> Result<Option<BooleanBuffer>> {
    let mut columns: Vec<Option<Scalars>> = arrays.iter().map(|_| None).collect();
    for index in comparisons.columns() {
        columns[index] = Some(Scalars::of(&arrays[index])?);
    }
    let fine = BooleanBuffer::collect_bool(rows, |row| comparisons.hold_of(&columns, row));
    Ok((fine.count_set_bits() < rows).then_some(fine))
}

fn holds(checker: &Checker, index: usize, cell: &Cell, scratch: &mut Scratch) -> bool {
    let is_broken = checker.check(index, cell, &mut scratch.violations) == Checked::Broken;
    scratch.violations.clear();
    !is_broken
}

/// The rows that are null or fine; `None` when that is all of them.
fn all(rows: usize, mut is_fine: impl FnMut(usize) -> bool, values: &dyn Array) -> Option<BooleanBuffer> {
    let fine = match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => BooleanBuffer::collect_bool(rows, is_fine),
        Some(nulls) => BooleanBuffer::collect_bool(rows, |row| nulls.is_null(row) || is_fine(row)),
    };
    (fine.count_set_bits() < rows).then_some(fine)
}

fn both(one: Option<BooleanBuffer>, other: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one & &other),
        (one, other) => one.or(other),
    }
}

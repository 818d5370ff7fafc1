//! The values of one column of a row group, gathered from the parts that its rows come from.

use std::borrow::Cow;

use arrow::{
    array::{Array, AsArray, BooleanBufferBuilder},
    buffer::BooleanBuffer,
};

use super::dictionary::Number;
use crate::{
    error::{Error, Result},
    scalars::Scalars,
    swar,
    write::Part,
};

/// Rows of one page, at most; a multiple of eight, so that the levels of each page begin with a byte of their own.
pub const PAGE_ROWS: usize = 1 << 16;

/// Which rows of a column have a value.
pub struct Levels {
    /// `None` when all have.
    valid: Option<BooleanBuffer>,
    rows: usize,
    /// Whether rows may be without a value, so that pages have levels at all.
    optional: bool,
}

impl Levels {
    /// Levels of column `index` in all the parts.
    pub fn of(parts: &[Part], index: usize, optional: bool) -> Self {
        let rows = parts.iter().map(Part::row_count).sum();
        let is_sparse = |part: &Part| part.rows.column(index).null_count() > 0;
        if !optional || !parts.iter().any(is_sparse) {
            return Self { valid: None, rows, optional };
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        for part in parts {
            match (part.rows.column(index).nulls(), &part.selected) {
                (None, _) => valid.append_n(part.row_count(), true),
                (Some(nulls), None) => valid.append_buffer(nulls.inner()),
                (Some(nulls), Some(selected)) => {
                    for &row in selected.values() {
                        valid.append(nulls.is_valid(row as usize));
                    }
                }
            }
        }
        Self { valid: Some(valid.finish()), rows, optional }
    }

    /// Levels of rows that all have a value.
    pub fn full(rows: usize) -> Self {
        Self { valid: None, rows, optional: false }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many of the rows `from` up to `to` have a value.
    pub fn values(&self, from: usize, to: usize) -> usize {
        match &self.valid {
            None => to - from,
            Some(valid) => valid.slice(from, to - from).count_set_bits(),
        }
    }

    /// How many rows have none.
    pub fn nulls(&self) -> usize {
        self.rows - self.values(0, self.rows)
    }

    /// Append the levels of the rows `from`, a multiple of eight, up to `to`, as a data page begins.
    pub fn push(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        if !self.optional {
            return;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match &self.valid {
            None => super::hybrid::push_run(to - from, 1, 1, out),
            Some(valid) => super::hybrid::bits(&valid.values()[from / 8..], to - from, out),
        }
        let length = u32::try_from(out.len() - start - 4).expect("a page's levels are less than 4 GiB");
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// The levels one by one; `None` when a column has none.
    pub fn unpacked(&self) -> Option<Vec<i16>> {
        self.optional.then(|| match &self.valid {
            None => vec![1; self.rows],
            Some(valid) => valid.iter().map(i16::from).collect(),
        })
    }
}

/// Numbers in one order, piece by piece.
pub type Pieces<'a, T> = Vec<Cow<'a, [T]>>;

/// The numbers of column `index` that are there, in the order of the rows. Where all rows have one they are left where they are.
///
/// # Errors
/// `Error::Internal` when the column isn't one of such numbers.
pub fn numbers<T: Number>(parts: &[Part], index: usize) -> Result<Pieces<'_, T>> {
    parts.iter().map(|part| present(part, index)).collect()
}

fn present<T: Number>(part: &Part, index: usize) -> Result<Cow<'_, [T]>> {
    let scalars = Scalars::of(part.rows.column(index))?;
    let values = T::of_column(scalars.values())
        .ok_or_else(|| Error::Internal("a column changed its type between chunks".into()))?;
    Ok(match (scalars.nulls(), &part.selected) {
        (None, None) => Cow::Borrowed(values),
        (Some(nulls), None) => {
            let mut present = Vec::with_capacity(values.len() - nulls.null_count());
            for (start, stop) in nulls.valid_slices() {
                present.extend_from_slice(&values[start..stop]);
            }
            Cow::Owned(present)
        }
        (None, Some(selected)) => selected.values().iter().map(|row| values[*row as usize]).collect(),
        (Some(nulls), Some(selected)) => {
            let rows = selected.values().iter().map(|row| *row as usize);
            rows.filter(|row| nulls.is_valid(*row)).map(|row| values[row]).collect()
        }
    })
}

/// A text of a column, and its first eight bytes as a word.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its first eight bytes; zeros stand for those that it doesn't have.
    pub word: u64,
}

/// The texts of column `index` that are there, in the order of the rows.
pub fn texts(parts: &[Part], index: usize) -> impl Iterator<Item = Text<'_>> + Clone {
    parts.iter().flat_map(move |part| {
        let array = part.rows.column(index).as_string::<i32>();
        let (bytes, ends, nulls) = (array.values().as_slice(), array.value_offsets(), array.nulls());
        let row = move |at: usize| match &part.selected {
            None => at,
            Some(selected) => selected.value(at) as usize,
        };
        let rows = (0..part.row_count()).map(row);
        rows.filter(move |row| nulls.is_none_or(|nulls| nulls.is_valid(*row))).map(move |row| {
            let (start, stop) = (ends[row] as usize, ends[row + 1] as usize);
            Text { bytes: &bytes[start..stop], word: swar::first_word(bytes, start, stop - start) }
        })
    })
}

//! Growing columns: plain vectors that take a value in a few instructions and can go back to an earlier length.
//!
//! A record is written column by column while it is read; when it turns out to be more than the quick path can judge,
//! what was written of it is cut off again.

use std::{mem::MaybeUninit, sync::Arc};

use arrow::{
    array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray},
    buffer::{BooleanBuffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::DataType,
};

use crate::error::Result;

/// The rows of a column that have no value.
#[derive(Default)]
pub struct Nulls(Vec<u32>);

impl Nulls {
    /// Row number `row` has no value; rows come in their order.
    #[inline]
    pub fn push(&mut self, row: usize) {
        self.0.push(u32::try_from(row).expect("a chunk has fewer than 2³² rows"));
    }

    /// Go back to the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        while self.0.last().is_some_and(|row| *row as usize >= rows) {
            self.0.pop();
        }
    }

    /// Whether a row has no value, which is one of the last.
    #[inline]
    fn has_late(&self, row: usize) -> bool {
        self.0.iter().rev().take_while(|null| **null as usize >= row).any(|null| *null as usize == row)
    }

    /// Whether a row has no value.
    pub fn has(&self, row: usize) -> bool {
        self.0.binary_search_by(|null| (*null as usize).cmp(&row)).is_ok()
    }

    /// The mask of so many rows; `None` when all have a value.
    pub fn finish(self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut bits = MutableBuffer::from_len_zeroed(rows.div_ceil(8));
        bits.as_slice_mut().fill(0xff);
        for row in &self.0 {
            bits.as_slice_mut()[*row as usize / 8] &= !(1 << (row % 8));
        }
        let bits = BooleanBuffer::new(bits.into(), 0, rows);
        Some(NullBuffer::new(bits))
    }
}

/// A column of numbers.
pub struct Numbers<T> {
    values: Vec<T>,
    nulls: Nulls,
}

impl<T: Copy + Default> Numbers<T> {
    /// An empty column with room for `capacity` rows.
    pub fn new(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), nulls: Nulls::default() }
    }

    /// Add a value.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.values.push(value);
    }

    /// Add some values.
    #[inline(always)]
    pub fn push_each<const COUNT: usize>(&mut self, values: [T; COUNT]) {
        self.values.reserve(COUNT);
        if let Some(room) = self.values.spare_capacity_mut().first_chunk_mut::<COUNT>() {
            *room = values.map(MaybeUninit::new);
            // SAFETY: the values after the last one were written just now. A call of `extend_from_slice` takes as long as reading
            // them does.
            unsafe { self.values.set_len(self.values.len() + COUNT) };
        }
    }

    /// Add a row without a value.
    #[inline]
    pub fn push_null(&mut self) {
        self.nulls.push(self.values.len());
        self.values.push(T::default());
    }

    /// How many rows there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a row, which is one of the last.
    #[inline]
    pub fn get_late(&self, row: usize) -> Option<T> {
        (!self.nulls.has_late(row)).then(|| self.values[row])
    }

    /// The value of a row.
    pub fn get(&self, row: usize) -> Option<T> {
        (!self.nulls.has(row)).then(|| self.values[row])
    }

    /// Go back to the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }
}

impl<T: arrow::datatypes::ArrowNativeType> Numbers<T> {
    /// The column as an array of the type `data_type`, which `P` stands for.
    pub fn finish<P: ArrowPrimitiveType<Native = T>>(self, data_type: DataType) -> ArrayRef {
        let nulls = self.nulls.finish(self.values.len());
        let values = ScalarBuffer::from(self.values);
        Arc::new(PrimitiveArray::<P>::new(values, nulls).with_data_type(data_type))
    }
}

impl Numbers<bool> {
    /// The column as an array of booleans.
    pub fn finish_booleans(self) -> ArrayRef {
        let nulls = self.nulls.finish(self.values.len());
        Arc::new(BooleanArray::new(BooleanBuffer::from(self.values), nulls))
    }
}

/// A column of texts.
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    nulls: Nulls,
}

impl Texts {
    /// An empty column with room for `capacity` rows of a few bytes.
    pub fn new(capacity: usize) -> Self {
        let mut ends = Vec::with_capacity(capacity + 1);
        ends.push(0);
        Self { bytes: Vec::with_capacity(capacity * 8), ends, nulls: Nulls::default() }
    }

    /// Add the text that `bytes` has from `start` up to `stop`.
    #[inline(always)]
    pub fn push(&mut self, bytes: &[u8], start: usize, stop: usize) {
        const WINDOW: usize = 16;
        let before = self.bytes.len();
        // Most texts are short: a copy of fixed length, cut to size, takes no call.
        match bytes.get(start..start + WINDOW) {
            Some(window) if stop - start <= WINDOW => {
                let window: &[u8; WINDOW] = window.try_into().expect("the window has its length");
                self.bytes.extend_from_slice(window);
                self.bytes.truncate(before + (stop - start));
            }
            _ => self.bytes.extend_from_slice(&bytes[start..stop]),
        }
        self.push_end();
    }

    /// Add a row without a text.
    #[inline]
    pub fn push_null(&mut self) {
        self.nulls.push(self.ends.len() - 1);
        self.push_end();
    }

    #[inline]
    fn push_end(&mut self) {
        self.ends.push(i32::try_from(self.bytes.len()).expect("a chunk has less than 2 GiB of text"));
    }

    /// How many rows there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// The text of a row, which is one of the last.
    #[inline]
    pub fn get_late(&self, row: usize) -> Option<&[u8]> {
        (!self.nulls.has_late(row)).then(|| self.text(row))
    }

    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        (!self.nulls.has(row)).then(|| self.text(row))
    }

    fn text(&self, row: usize) -> &[u8] {
        let end = |row: usize| usize::try_from(self.ends[row]).expect("ends count up from 0");
        &self.bytes[end(row)..end(row + 1)]
    }

    /// Go back to the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.bytes.truncate(usize::try_from(self.ends[rows]).expect("ends count up from 0"));
        self.nulls.truncate(rows);
    }

    /// The column as an array.
    ///
    /// # Errors
    /// `Error::Arrow` when a text is not UTF-8.
    pub fn finish(mut self) -> Result<ArrayRef> {
        // Room was made for eight bytes a text; of a key's columns it would stay in use for the whole run.
        self.bytes.shrink_to_fit();
        let nulls = self.nulls.finish(self.ends.len() - 1);
        let ends = OffsetBuffer::new(self.ends.into());
        Ok(Arc::new(StringArray::try_new(ends, self.bytes.into(), nulls)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Array, AsArray},
        datatypes::Int32Type,
    };

    use super::*;

    #[test]
    fn what_is_cut_off_leaves_no_trace() {
        let (mut numbers, mut texts) = (Numbers::<i32>::new(0), Texts::new(0));
        for row in 0..3 {
            numbers.push(row);
            numbers.push_null();
            texts.push(b"some text of more than sixteen bytes", 0, 20 + 2 * row as usize);
            texts.push_null();
        }
        numbers.truncate(3);
        texts.truncate(3);
        numbers.push(9);
        texts.push(b"xyz", 1, 3);
        let numbers = numbers.finish::<Int32Type>(DataType::Int32);
        let numbers: Vec<_> = numbers.as_primitive::<Int32Type>().iter().collect();
        assert_eq!(numbers, [Some(0), None, Some(1), Some(9)]);
        let texts = texts.finish().unwrap();
        let texts: Vec<_> = texts.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("some text of more th"), None, Some("some text of more than"), Some("yz")]);
    }

    #[test]
    fn columns_without_nulls_have_no_mask() {
        let mut numbers = Numbers::<bool>::new(1);
        numbers.push(true);
        assert!(numbers.finish_booleans().nulls().is_none());
    }
}

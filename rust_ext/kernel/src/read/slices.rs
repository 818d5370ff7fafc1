//! Record batches cut to what may be worked on at once.
//!
//! A few bytes of a dictionary can stand for gigabytes of texts, as soon as each row has its text to itself.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
    record_batch::RecordBatch,
};

/// Texts of a slice, at most about, unless one row has more.
const TEXT_BYTES: usize = 64 << 20;

/// Hands out a batch in slices.
#[derive(Default)]
pub struct Slices {
    rest: Option<RecordBatch>,
}

impl Slices {
    /// Go on with this batch; nothing may be left of the one before.
    pub fn put(&mut self, batch: RecordBatch) {
        self.rest = Some(batch);
    }

    /// The next rows, at most `most_rows`.
    pub fn next(&mut self, most_rows: usize) -> Option<RecordBatch> {
        let batch = self.rest.take()?;
        let mut rows = batch.num_rows().min(most_rows);
        let mut slice = batch.slice(0, rows);
        while rows > 1 && text_bytes(&slice) > TEXT_BYTES {
            rows = rows.div_ceil(2);
            slice = batch.slice(0, rows);
        }
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        Some(slice)
    }
}

/// What the batch's texts take when each row has its own.
fn text_bytes(batch: &RecordBatch) -> usize {
    let of_column = |array: &ArrayRef| match array.as_any_dictionary_opt() {
        Some(dictionary) => sizes(dictionary.values()).longest.saturating_mul(array.len()),
        None => sizes(array).all,
    };
    batch.columns().iter().map(of_column).fold(0, usize::saturating_add)
}

/// Bytes of texts, and of the longest of them.
#[derive(Default)]
struct Sizes {
    all: usize,
    longest: usize,
}

/// The sizes of an array's texts; other values have none.
fn sizes(array: &ArrayRef) -> Sizes {
    match array.data_type() {
        DataType::Utf8 => Sizes::of(array.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => Sizes::of(array.as_string::<i64>().offsets().lengths()),
        DataType::Binary => Sizes::of(array.as_binary::<i32>().offsets().lengths()),
        DataType::LargeBinary => Sizes::of(array.as_binary::<i64>().offsets().lengths()),
        DataType::Utf8View => Sizes::of_views(array.as_string_view().views()),
        DataType::BinaryView => Sizes::of_views(array.as_binary_view().views()),
        _ => Sizes::default(),
    }
}

impl Sizes {
    fn of(lengths: impl Iterator<Item = usize>) -> Self {
        lengths.fold(Self::default(), |sizes, length| Self {
            all: sizes.all.saturating_add(length),
            longest: sizes.longest.max(length),
        })
    }

    /// A view begins with its length.
    fn of_views(views: &[u128]) -> Self {
        Self::of(views.iter().map(|view| *view as u32 as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Int32Array, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn few_bytes_that_stand_for_many_come_in_slices() {
        let text = "x".repeat(TEXT_BYTES / 10);
        let values: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let dictionary: ArrayRef = Arc::new(DictionaryArray::new(Int32Array::from(vec![0; 100]), values));
        let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(vec![text.as_str(); 3]));
        for (column, most, expected) in [(&dictionary, 1000, 100), (&dictionary, 3, 100), (&views, 1000, 3)] {
            let mut slices = Slices::default();
            slices.put(RecordBatch::try_from_iter([("a", column.clone())]).unwrap());
            let mut rows = 0;
            while let Some(slice) = slices.next(most) {
                assert!(slice.num_rows() > 0 && slice.num_rows() <= most.min(10));
                rows += slice.num_rows();
            }
            assert_eq!(rows, expected);
        }
    }
}

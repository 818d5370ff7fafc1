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

fn text_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(of_column).fold(0, usize::saturating_add)
}

/// What texts take when each row has its own; other values take what they take.
fn of_column(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8View => array
            .as_string_view()
            .views()
            .iter()
            .map(|view| *view as u32 as usize)
            .fold(0, usize::saturating_add),
        DataType::BinaryView => array
            .as_binary_view()
            .views()
            .iter()
            .map(|view| *view as u32 as usize)
            .fold(0, usize::saturating_add),
        DataType::Dictionary(..) => longest(array.as_any_dictionary().values()).saturating_mul(array.len()),
        DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
            array.to_data().get_slice_memory_size().unwrap_or_default()
        }
        _ => 0,
    }
}

/// The length of the longest value.
fn longest(values: &ArrayRef) -> usize {
    let longest = match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().offsets().lengths().max(),
        DataType::LargeUtf8 => values.as_string::<i64>().offsets().lengths().max(),
        DataType::Binary => values.as_binary::<i32>().offsets().lengths().max(),
        DataType::LargeBinary => values.as_binary::<i64>().offsets().lengths().max(),
        DataType::Utf8View => values.as_string_view().views().iter().map(|view| *view as u32 as usize).max(),
        DataType::BinaryView => {
            values.as_binary_view().views().iter().map(|view| *view as u32 as usize).max()
        }
        _ => None,
    };
    longest.unwrap_or_default()
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

//! Pieces of a source that are parsed on their own, and the records framed in them.

use std::ops::Range;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::cell::Violation;

/// How the records of a chunk are told apart.
pub enum Framing {
    /// Each line that isn't blank is a record; `\n` or `\r\n` ends it.
    Lines,
    /// The reader found the records itself.
    Records(Vec<Frame>),
}

/// One record's bytes inside a chunk.
pub struct Frame {
    /// Where its bytes are, without separators and line ends.
    pub range: Range<usize>,
    /// Set when the bytes could not be told apart as one whole record.
    pub fault: Option<Violation>,
}

/// Consecutive whole records of one source.
pub enum Chunk {
    /// Records as text.
    Text {
        /// The bytes, a part of a block that other chunks may share; every record in them is whole.
        data: Bytes,
        /// Offset of the first byte in the decompressed stream.
        offset: u64,
        /// 1-based number of the line that the first byte is in, not counting those of the source's chunks before that are of
        /// [`Framing::Lines`].
        line: u64,
        /// How to tell the records apart.
        framing: Framing,
    },
    /// Records of a columnar file.
    Columns {
        /// The values.
        batch: RecordBatch,
        /// Bytes of the file that stand for these rows, for progress.
        bytes: u64,
    },
}

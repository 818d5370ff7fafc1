//! Pieces of a source that are parsed on their own, and the records framed in them.

use std::{ops::Range, sync::Arc};

use arrow::record_batch::RecordBatch;

use crate::cell::Violation;

/// Bytes that several threads may hold: a part of a source that is at hand as a whole, or a block that was decompressed.
#[derive(Clone)]
pub enum Bytes {
    /// A part of a mapped file, or of bytes in memory.
    Whole(bytes::Bytes),
    /// A block of its own.
    Owned(Arc<Vec<u8>>, Range<usize>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Owned(block, range) => &block[range.clone()],
        }
    }
}

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
        /// The bytes; every record in them is whole.
        data: Bytes,
        /// Offset of the first byte in the decompressed stream.
        offset: u64,
        /// 1-based number of the line that the first byte is in.
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

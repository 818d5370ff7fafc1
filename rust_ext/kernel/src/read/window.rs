//! A view that slides over the decompressed bytes of a source.
//!
//! A plain file is mapped and its views are parts of the map, as they are of bytes in memory. A compressed one comes in blocks from a thread of its
//! own; only what a view asks for is held. Nothing is copied when a view is taken, only when a block is joined to the
//! partial record before it, and views that are too short for a record grow by doubling, so the copying stays in
//! proportion to the bytes.

use std::{ops::Range, sync::Arc};

use crossbeam_channel::Receiver;

use crate::chunk::Bytes;

/// What comes after a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At least one more byte.
    More,
    /// The end of the source.
    Whole,
    /// The place where a compressed stream ends too early or breaks.
    Broken,
}

/// What the decompressor sends.
pub enum Message {
    /// The next bytes.
    Block(Vec<u8>),
    /// There are no more.
    End,
    /// There would be more, but the stream is broken; the sentence says where and how.
    Broken(String),
}

/// Bytes that were taken off the front of the window.
pub struct Taken {
    /// The bytes that were asked for.
    pub data: Bytes,
    /// Offset of the first of them in the decompressed stream.
    pub offset: u64,
    /// 1-based number of the line that the first of them is in.
    pub line: u64,
}

/// The part of a source that has not been taken yet.
pub struct Window {
    bytes: Source,
    offset: u64,
    line: u64,
}

enum Source {
    Whole { bytes: bytes::Bytes, at: usize },
    Streamed { blocks: Receiver<Message>, buffer: Arc<Vec<u8>>, at: usize, end: Option<Result<(), String>> },
}

impl Window {
    /// A window on bytes that are all at hand.
    pub fn whole(bytes: bytes::Bytes) -> Self {
        Self { bytes: Source::Whole { bytes, at: 0 }, offset: 0, line: 1 }
    }

    /// A window on what a decompressor sends.
    pub fn streamed(blocks: Receiver<Message>) -> Self {
        let bytes = Source::Streamed { blocks, buffer: Arc::default(), at: 0, end: None };
        Self { bytes, offset: 0, line: 1 }
    }

    /// The next bytes, `want` of them unless the source has fewer left.
    pub fn view(&mut self, want: usize) -> (&[u8], End) {
        match &mut self.bytes {
            Source::Whole { bytes, at } => {
                let rest = &bytes[*at..];
                if want < rest.len() { (&rest[..want], End::More) } else { (rest, End::Whole) }
            }
            Source::Streamed { blocks, buffer, at, end } => {
                if buffer.len() - *at <= want && end.is_none() {
                    *end = fill(blocks, buffer, at, want);
                }
                let rest = &buffer[*at..];
                match end {
                    _ if want < rest.len() => (&rest[..want], End::More),
                    Some(Err(_)) => (rest, End::Broken),
                    _ => (rest, End::Whole),
                }
            }
        }
    }

    /// Move on by `len` bytes, which a view has shown and which have `line_feeds` if that is known, and keep those in `keep`.
    pub fn take(&mut self, len: usize, keep: Range<usize>, line_feeds: Option<usize>) -> Taken {
        let (data, passed) = match &mut self.bytes {
            Source::Whole { bytes, at } => {
                let start = *at;
                *at += len;
                let kept = Bytes::Whole(bytes.slice(start + keep.start..start + keep.end));
                (kept, &bytes[start..start + len])
            }
            Source::Streamed { buffer, at, .. } => {
                let start = *at;
                *at += len;
                let kept = Bytes::Owned(buffer.clone(), start + keep.start..start + keep.end);
                (kept, &buffer[start..start + len])
            }
        };
        let lines_before = memchr::memchr_iter(b'\n', &passed[..keep.start]).count();
        let taken =
            Taken { data, offset: self.offset + keep.start as u64, line: self.line + lines_before as u64 };
        self.line = match line_feeds {
            Some(line_feeds) => self.line + line_feeds as u64,
            None => taken.line + memchr::memchr_iter(b'\n', &passed[keep.start..]).count() as u64,
        };
        self.offset += len as u64;
        taken
    }

    /// Offset of the next byte in the decompressed stream.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that have not been taken; `None` when a decompressor is still to tell.
    pub fn ahead(&self) -> Option<u64> {
        match &self.bytes {
            Source::Whole { bytes, at } => Some((bytes.len() - at) as u64),
            Source::Streamed { .. } => None,
        }
    }

    /// How the stream breaks, once a view has ended there.
    pub fn fault(&self) -> Option<&str> {
        match &self.bytes {
            Source::Streamed { end: Some(Err(fault)), .. } => Some(fault),
            _ => None,
        }
    }
}

/// Join blocks to the rest of the buffer until there are more than `want` bytes; tell when the stream ends before.
fn fill(
    blocks: &Receiver<Message>,
    buffer: &mut Arc<Vec<u8>>,
    at: &mut usize,
    want: usize,
) -> Option<Result<(), String>> {
    let mut joined: Vec<u8> = Vec::new();
    let mut end = None;
    let rest = &buffer[*at..];
    while rest.len().max(joined.len()) <= want {
        match blocks.recv() {
            Ok(Message::Block(block)) if rest.is_empty() && joined.is_empty() => joined = block,
            Ok(Message::Block(block)) => {
                if joined.is_empty() {
                    joined.reserve(want.max(rest.len() + block.len()));
                    joined.extend_from_slice(rest);
                }
                joined.extend_from_slice(&block);
            }
            Ok(Message::End) => end = Some(Ok(())),
            Ok(Message::Broken(fault)) => end = Some(Err(fault)),
            Err(_) => end = Some(Err("the decompressor stopped without a word".to_owned())),
        }
        if end.is_some() {
            break;
        }
    }
    if !joined.is_empty() {
        *buffer = Arc::new(joined);
        *at = 0;
    }
    end
}

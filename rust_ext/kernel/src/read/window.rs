//! A view that slides over the decompressed bytes of a source.
//!
//! Views of bytes in memory are parts of them. A plain file is read a view at a time, a compressed one comes in blocks from
//! a thread of its own; only what a view asks for is held. (A mapped file would count as memory in use, and take the
//! process down when it is cut meanwhile; reading it measures as fast.) Nothing is copied when a view is taken, only when
//! a block is joined to the partial record before it, and views that are too short for a record grow by doubling, so the
//! copying stays in proportion to the bytes.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use crossbeam_channel::Receiver;

use crate::chunk::Bytes;

/// What comes after a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At least one more byte.
    More,
    /// The end of the source.
    Whole,
    /// The place where a compressed stream ends too early or breaks, or where a file can't be read.
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
    Streamed { blocks: Blocks, buffer: Arc<Vec<u8>>, at: usize, end: Option<Ended> },
}

/// Where blocks come from.
enum Blocks {
    Sent(Receiver<Message>),
    /// A file whose length was so much.
    Read(File, u64),
}

/// How there came to be no more blocks.
enum Ended {
    Whole,
    Broken(String),
    Failed(Option<io::Error>),
}

impl Window {
    /// A window on bytes that are all at hand.
    pub fn whole(bytes: bytes::Bytes) -> Self {
        Self { bytes: Source::Whole { bytes, at: 0 }, offset: 0, line: 1 }
    }

    /// A window on what a decompressor sends.
    pub fn streamed(blocks: Receiver<Message>) -> Self {
        Self::on(Blocks::Sent(blocks))
    }

    /// A window on a file of so many bytes, from where it stands.
    pub fn file(file: File, length: u64) -> Self {
        Self::on(Blocks::Read(file, length))
    }

    fn on(blocks: Blocks) -> Self {
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
                    *end = match blocks {
                        Blocks::Sent(blocks) => join(blocks, buffer, at, want),
                        Blocks::Read(file, _) => read(file, buffer, at, want),
                    };
                }
                let rest = &buffer[*at..];
                match end {
                    _ if want < rest.len() => (&rest[..want], End::More),
                    Some(Ended::Broken(_) | Ended::Failed(_)) => (rest, End::Broken),
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
            Source::Streamed { blocks: Blocks::Read(_, length), .. } => {
                Some(length.saturating_sub(self.offset))
            }
            Source::Streamed { .. } => None,
        }
    }

    /// Why the file can't be read, once a view has ended there; told once.
    pub fn failure(&mut self) -> Option<io::Error> {
        match &mut self.bytes {
            Source::Streamed { end: Some(Ended::Failed(error)), .. } => error.take(),
            _ => None,
        }
    }

    /// How the stream breaks, once a view has ended there.
    pub fn fault(&self) -> Option<&str> {
        match &self.bytes {
            Source::Streamed { end: Some(Ended::Broken(fault)), .. } => Some(fault),
            _ => None,
        }
    }
}

/// Join blocks to the rest of the buffer until there are more than `want` bytes; tell when the stream ends before.
fn join(blocks: &Receiver<Message>, buffer: &mut Arc<Vec<u8>>, at: &mut usize, want: usize) -> Option<Ended> {
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
            Ok(Message::End) => end = Some(Ended::Whole),
            Ok(Message::Broken(fault)) => end = Some(Ended::Broken(fault)),
            Err(_) => end = Some(Ended::Broken("the decompressor stopped without a word".to_owned())),
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

/// Read on from the rest of the buffer until there are more than `want` bytes; tell when the file ends before.
fn read(file: &mut File, buffer: &mut Arc<Vec<u8>>, at: &mut usize, want: usize) -> Option<Ended> {
    let rest = &buffer[*at..];
    // One byte more than is wanted tells that there are more.
    let missing = want.saturating_add(1) - rest.len();
    let mut joined = Vec::with_capacity(rest.len() + missing);
    joined.extend_from_slice(rest);
    let read = file.take(missing as u64).read_to_end(&mut joined);
    *buffer = Arc::new(joined);
    *at = 0;
    match read {
        Ok(count) => (count < missing).then_some(Ended::Whole),
        Err(error) => Some(Ended::Failed(Some(error))),
    }
}

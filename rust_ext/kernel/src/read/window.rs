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
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use crossbeam_channel::Receiver;

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
    /// 1-based number of the line that the first of them is in, without the lines before that are left to others to be counted.
    pub line: u64,
}

/// The part of a source that has not been taken yet.
pub struct Window {
    buffer: Bytes,
    /// Up to where bytes of the buffer have been taken.
    at: usize,
    blocks: Blocks,
    /// Why there are no more blocks, when there are none.
    end: Option<Ended>,
    offset: u64,
    line: u64,
}

/// Where blocks come from.
enum Blocks {
    None,
    Sent(Receiver<Message>),
    Read { file: File, length: u64, pool: Pool },
}

/// How there came to be no more blocks.
enum Ended {
    Whole,
    Broken(String),
    Failed(Option<io::Error>),
}

impl Window {
    /// A window on bytes that are all at hand.
    pub fn whole(bytes: Bytes) -> Self {
        Self { buffer: bytes, end: Some(Ended::Whole), ..Self::on(Blocks::None) }
    }

    /// A window on what a decompressor sends.
    pub fn streamed(blocks: Receiver<Message>) -> Self {
        Self::on(Blocks::Sent(blocks))
    }

    /// A window on a file of so many bytes, which stands after the `head` that was read of it.
    pub fn file(file: File, length: u64, head: Bytes) -> Self {
        Self { buffer: head, ..Self::on(Blocks::Read { file, length, pool: Pool::default() }) }
    }

    fn on(blocks: Blocks) -> Self {
        Self { buffer: Bytes::new(), at: 0, blocks, end: None, offset: 0, line: 1 }
    }

    /// The next bytes, `want` of them unless the source has fewer left.
    pub fn view(&mut self, want: usize) -> (&[u8], End) {
        if self.buffer.len() - self.at <= want && self.end.is_none() {
            self.fill(want);
        }
        let rest = &self.buffer[self.at..];
        match self.end {
            _ if want < rest.len() => (&rest[..want], End::More),
            Some(Ended::Broken(_) | Ended::Failed(_)) => (rest, End::Broken),
            _ => (rest, End::Whole),
        }
    }

    /// Join blocks to the rest of the buffer until there are more than `want` bytes, or no more.
    fn fill(&mut self, want: usize) {
        let rest = self.buffer.slice(self.at..);
        let (joined, end) = match &mut self.blocks {
            Blocks::None => return,
            Blocks::Sent(blocks) => join(blocks, rest, want),
            Blocks::Read { file, length, pool } => {
                let ahead = length.saturating_sub(self.offset + rest.len() as u64);
                read(file, ahead, pool, &rest, want)
            }
        };
        (self.buffer, self.at, self.end) = (joined, 0, end);
    }

    /// Move on by `len` bytes, which a view has shown, and keep those in `keep`. Their lines are counted unless that is left to
    /// others.
    pub fn take(&mut self, len: usize, keep: Range<usize>, leaves_lines: bool) -> Taken {
        let passed = self.buffer.slice(self.at..self.at + len);
        let data = passed.slice(keep.clone());
        self.at += len;
        let lines = |part: &[u8]| memchr::memchr_iter(b'\n', part).count() as u64;
        let line = self.line + lines(&passed[..keep.start]);
        let taken = Taken { data, offset: self.offset + keep.start as u64, line };
        if !leaves_lines {
            self.line = line + lines(&passed[keep.start..]);
        }
        self.offset += len as u64;
        taken
    }

    /// Offset of the next byte in the decompressed stream.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that have not been taken; `None` when a decompressor is still to tell.
    pub fn ahead(&self) -> Option<u64> {
        match &self.blocks {
            Blocks::None => Some((self.buffer.len() - self.at) as u64),
            Blocks::Sent(_) => None,
            Blocks::Read { length, .. } => Some(length.saturating_sub(self.offset)),
        }
    }

    /// Why the file can't be read, once a view has ended there; told once.
    pub fn failure(&mut self) -> Option<io::Error> {
        match &mut self.end {
            Some(Ended::Failed(error)) => error.take(),
            _ => None,
        }
    }

    /// How the stream breaks, once a view has ended there.
    pub fn fault(&self) -> Option<&str> {
        match &self.end {
            Some(Ended::Broken(fault)) => Some(fault),
            _ => None,
        }
    }
}

/// Buffers that are read into again once nobody holds what they held. New ones would cost as much as reading does: the
/// system clears their memory page by page.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes in a buffer of a pool.
struct Pooled {
    buffer: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// More buffers than may be in use at once are of no use.
    const MOST: usize = 64;

    fn buffer(&self) -> Vec<u8> {
        self.0.lock().ok().and_then(|mut buffers| buffers.pop()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Ok(mut buffers) = self.pool.0.lock()
            && buffers.len() < Pool::MOST
        {
            self.buffer.clear();
            buffers.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// Join blocks to `rest` until there are more than `want` bytes; tell when the stream ends before.
fn join(blocks: &Receiver<Message>, rest: Bytes, want: usize) -> (Bytes, Option<Ended>) {
    let mut joined: Vec<u8> = Vec::new();
    let mut end = None;
    while rest.len().max(joined.len()) <= want && end.is_none() {
        match blocks.recv() {
            Ok(Message::Block(block)) if rest.is_empty() && joined.is_empty() => joined = block,
            Ok(Message::Block(block)) => {
                if joined.is_empty() {
                    joined.reserve(want.max(rest.len() + block.len()));
                    joined.extend_from_slice(&rest);
                }
                joined.extend_from_slice(&block);
            }
            Ok(Message::End) => end = Some(Ended::Whole),
            Ok(Message::Broken(fault)) => end = Some(Ended::Broken(fault)),
            Err(_) => end = Some(Ended::Broken("the decompressor stopped without a word".to_owned())),
        }
    }
    (if joined.is_empty() { rest } else { joined.into() }, end)
}

/// Read on from `rest`, after which about `ahead` bytes of the file are left, until there are more than `want` bytes; tell when
/// the file ends before.
fn read(file: &mut File, ahead: u64, pool: &Pool, rest: &[u8], want: usize) -> (Bytes, Option<Ended>) {
    // One byte more than is wanted tells that there are more.
    let missing = want.saturating_add(1) - rest.len();
    let mut buffer = pool.buffer();
    buffer.reserve_exact(rest.len() + missing.min(usize::try_from(ahead).unwrap_or(missing)));
    buffer.extend_from_slice(rest);
    let end = match file.take(missing as u64).read_to_end(&mut buffer) {
        Ok(count) => (count < missing).then_some(Ended::Whole),
        Err(error) => Some(Ended::Failed(Some(error))),
    };
    (Bytes::from_owner(Pooled { buffer, pool: pool.clone() }), end)
}

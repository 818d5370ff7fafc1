//! Compressed streams, decompressed block by block in a thread of its own while the blocks before are parsed.
//!
//! A stream that ends too early or breaks gives all that could be decompressed before that place, and then a sentence
//! about it.

use std::{io, thread};

use crossbeam_channel::{Receiver, bounded};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::window::Message;
use bytes::Bytes;

/// How many blocks may wait to be read.
const BLOCKS_AHEAD: usize = 2;
const GZIP_WINDOW_BITS: u8 = 15;
/// A zstd frame's header is at least so long.
const ZSTD_HEADER_BYTES: usize = 5;

/// A compressed stream on its way to blocks.
pub struct Decompressor {
    input: Bytes,
    at: usize,
    codec: Codec,
    /// What the stream is called in messages.
    name: &'static str,
    /// Where the input begins in the file, for messages.
    offset: usize,
}

/// How the bytes are packed.
enum Codec {
    Gzip(Decompress),
    Zstd {
        decoder: Decoder<'static>,
        /// How many bytes the decoder wants next; none where the stream may end.
        wanted: usize,
    },
    /// A member of a zip archive, deflated or stored.
    Zip {
        deflate: Option<Decompress>,
        crc: Crc,
        check: Check,
    },
}

/// What is known of a zip member beside its bytes.
pub struct Check {
    /// Checksum of the decompressed bytes.
    pub crc: Option<u32>,
    /// Set when the archive as a whole is broken although the member may be fine.
    pub fault: Option<String>,
}

enum Step {
    On,
    End,
}

impl Decompressor {
    /// One or more gzip members.
    pub fn gzip(input: Bytes) -> Self {
        Self {
            input,
            at: 0,
            codec: Codec::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS)),
            name: "gzip stream",
            offset: 0,
        }
    }

    /// One or more zstd frames.
    ///
    /// # Errors
    /// When the decoder can't have its memory.
    pub fn zstd(input: Bytes) -> io::Result<Self> {
        let codec = Codec::Zstd { decoder: Decoder::new()?, wanted: ZSTD_HEADER_BYTES };
        Ok(Self { input, at: 0, codec, name: "zstd stream", offset: 0 })
    }

    /// A member of a zip archive, deflated or stored, whose packed bytes begin at `offset` of the file.
    pub fn zip(input: Bytes, offset: usize, deflated: bool, check: Check) -> Self {
        let codec = Codec::Zip { deflate: deflated.then(|| Decompress::new(false)), crc: Crc::new(), check };
        Self { input, at: 0, codec, name: "zip member", offset }
    }

    /// Decompress in a thread of its own into blocks of about `block_bytes`. The thread ends when the receiver is gone.
    pub fn spawn(mut self, block_bytes: usize) -> Receiver<Message> {
        let (sender, receiver) = bounded(BLOCKS_AHEAD);
        thread::spawn(move || {
            loop {
                let (block, end) = self.block(block_bytes);
                let sent = block.is_empty() || sender.send(Message::Block(block)).is_ok();
                if let Some(end) = end {
                    // A receiver that is gone needs no word.
                    let _ = sender.send(end);
                    return;
                }
                if !sent {
                    return;
                }
            }
        });
        receiver
    }

    /// The next bytes, and how the stream ends if it does.
    fn block(&mut self, block_bytes: usize) -> (Vec<u8>, Option<Message>) {
        let mut block = Vec::with_capacity(block_bytes);
        let mut end = None;
        while end.is_none() && block.len() < block.capacity() {
            let (at, len) = (self.at, block.len());
            end = match self.step(&mut block) {
                Ok(Step::End) => Some(Ok(())),
                Ok(Step::On) if at == self.at && len == block.len() => {
                    Some(Err(format!("the {} ends too early, at byte {}", self.name, self.offset + self.at)))
                }
                Ok(Step::On) => None,
                Err(why) => {
                    Some(Err(format!("the {} breaks at byte {}: {why}", self.name, self.offset + self.at)))
                }
            };
        }
        if let Codec::Zip { crc, .. } = &mut self.codec {
            crc.update(&block);
        }
        let end = end.map(|end| match end.and_then(|()| self.check()) {
            Ok(()) => Message::End,
            Err(fault) => Message::Broken(fault),
        });
        (block, end)
    }

    fn check(&self) -> Result<(), String> {
        let Codec::Zip { crc, check, .. } = &self.codec else { return Ok(()) };
        if check.crc.is_some_and(|expected| expected != crc.sum()) {
            return Err(format!("the {} does not match its checksum", self.name));
        }
        check.fault.clone().map_or(Ok(()), Err)
    }

    /// Decompress some bytes into the block's spare room.
    fn step(&mut self, block: &mut Vec<u8>) -> Result<Step, String> {
        let input = &self.input[self.at..];
        match &mut self.codec {
            Codec::Gzip(state) => {
                let ended = inflate(state, input, &mut self.at, block)?;
                if ended { self.next_gzip_member() } else { Ok(Step::On) }
            }
            Codec::Zip { deflate: Some(state), .. } => {
                let ended = inflate(state, input, &mut self.at, block)?;
                Ok(if ended { Step::End } else { Step::On })
            }
            Codec::Zip { deflate: None, .. } => {
                let len = input.len().min(block.capacity() - block.len());
                block.extend_from_slice(&input[..len]);
                self.at += len;
                Ok(if self.at == self.input.len() { Step::End } else { Step::On })
            }
            Codec::Zstd { wanted: 0, .. } if input.is_empty() => Ok(Step::End),
            Codec::Zstd { decoder, wanted } => {
                // A call that fails gives nothing, so each one gets no more than a block.
                let len = input.len().min((*wanted).max(ZSTD_HEADER_BYTES));
                let mut source = InBuffer::around(&input[..len]);
                let written = block.len();
                let mut target = OutBuffer::around_pos(block, written);
                let result = decoder.run(&mut source, &mut target);
                self.at += source.pos();
                *wanted = result.map_err(|error| error.to_string())?;
                Ok(Step::On)
            }
        }
    }

    /// Behind a gzip member there may be another, or zeros that fill a tape's block.
    fn next_gzip_member(&mut self) -> Result<Step, String> {
        let rest = &self.input[self.at..];
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(Step::End);
        }
        if !rest.starts_with(&b"\x1f\x8b"[..rest.len().min(2)]) {
            return Err("what follows its end is no gzip member".to_owned());
        }
        self.codec = Codec::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS));
        Ok(Step::On)
    }
}

/// True at the end of the stream.
fn inflate(
    state: &mut Decompress,
    input: &[u8],
    at: &mut usize,
    block: &mut Vec<u8>,
) -> Result<bool, String> {
    let before = state.total_in();
    let result = state.decompress_vec(input, block, FlushDecompress::None);
    *at += usize::try_from(state.total_in() - before).expect("no more is consumed than the slice holds");
    match result {
        Ok(status) => Ok(status == Status::StreamEnd),
        Err(error) => Err(error.message().unwrap_or("it is not what it says it is").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    fn owned(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).unwrap()
    }

    /// All bytes, and the fault if the stream is broken.
    fn unpack(decompressor: Decompressor, block_bytes: usize) -> (Vec<u8>, Option<String>) {
        let mut text = Vec::new();
        for message in decompressor.spawn(block_bytes) {
            match message {
                Message::Block(block) => text.extend(block),
                Message::End => return (text, None),
                Message::Broken(fault) => return (text, Some(fault)),
            }
        }
        panic!("a stream comes to an end");
    }

    fn unpack_gzip(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        unpack(Decompressor::gzip(owned(bytes)), 100)
    }

    fn unpack_zstd(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        unpack(Decompressor::zstd(owned(bytes)).unwrap(), 100)
    }

    /// What a reader gives before its first error.
    fn oracle(mut reader: impl Read) -> Vec<u8> {
        let mut text = Vec::new();
        let mut byte = [0];
        while matches!(reader.read(&mut byte), Ok(1)) {
            text.push(byte[0]);
        }
        text
    }

    fn lines() -> Vec<u8> {
        (0..300).flat_map(|number| format!("{{\"n\": {}}}\n", number * number).into_bytes()).collect()
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let text = lines();
        let twice = [&text[..], &text].concat();
        assert_eq!(unpack_gzip(&[gzip(&text), gzip(&text)].concat()), (twice.clone(), None));
        assert_eq!(unpack_zstd(&[zstd(&text), zstd(&text)].concat()), (twice, None));
    }

    #[test]
    fn zeros_after_gzip_are_padding_and_other_bytes_are_not() {
        let text = lines();
        assert_eq!(unpack_gzip(&[gzip(&text), vec![0; 512]].concat()), (text.clone(), None));
        let (unpacked, fault) = unpack_gzip(&[gzip(&text), b"tail".to_vec()].concat());
        assert_eq!(unpacked, text);
        assert!(fault.unwrap().contains("no gzip member"));
    }

    #[test]
    fn a_gzip_stream_that_is_cut_gives_what_is_before_the_cut() {
        let text = lines();
        let packed = gzip(&text);
        for cut in 1..packed.len() {
            let (unpacked, fault) = unpack_gzip(&packed[..cut]);
            assert_eq!(unpacked, oracle(flate2::read::GzDecoder::new(&packed[..cut])));
            assert_eq!(fault, Some(format!("the gzip stream ends too early, at byte {cut}")));
        }
    }

    #[test]
    fn a_zstd_stream_that_is_cut_gives_what_is_before_the_cut() {
        let text =
            [lines(), (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()]
                .concat();
        let packed = zstd(&text);
        for cut in (1..40).chain((40..packed.len()).step_by(60_001)) {
            let (unpacked, fault) = unpack_zstd(&packed[..cut]);
            assert_eq!(unpacked, oracle(zstd::stream::read::Decoder::new(&packed[..cut]).unwrap()));
            assert_eq!(fault, Some(format!("the zstd stream ends too early, at byte {cut}")));
        }
        assert_eq!(unpack_zstd(&packed), (text, None));
    }

    #[test]
    fn a_wrong_checksum_breaks_a_stream_behind_its_text() {
        let text = lines();
        let mut packed = gzip(&text);
        let at = packed.len() - 8;
        packed[at] ^= 1;
        let (unpacked, fault) = unpack_gzip(&packed);
        assert_eq!(unpacked, text);
        assert!(fault.unwrap().contains("breaks at byte"));
    }

    proptest! {
        #[test]
        fn a_changed_byte_does_no_more_than_break_the_stream(at: prop::sample::Index, change in 1_u8.., gz: bool) {
            let text = lines();
            let mut packed = if gz { gzip(&text) } else { zstd(&text) };
            let at = at.index(packed.len());
            packed[at] ^= change;
            let (unpacked, fault) = if gz { unpack_gzip(&packed) } else { unpack_zstd(&packed) };
            prop_assert!(unpacked == text || fault.is_some() || !gz);
        }

        #[test]
        fn blocks_of_any_size_give_the_same_text(block_bytes in 1_usize..3000) {
            let text = lines();
            prop_assert_eq!(unpack(Decompressor::gzip(owned(&gzip(&text))), block_bytes), (text.clone(), None));
            let decompressor = Decompressor::zstd(owned(&zstd(&text))).unwrap();
            prop_assert_eq!(unpack(decompressor, block_bytes), (text, None));
        }
    }
}

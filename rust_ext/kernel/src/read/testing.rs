//! What the readers' tests share.

use crossbeam_channel::unbounded;

use super::{
    Format, Limits, lines,
    text::TextReader,
    window::{Message, Window},
};
use crate::{
    chunk::{Chunk, Framing},
    plan::Plan,
};

/// A record as a reader found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub offset: usize,
    pub line: usize,
    pub bytes: Vec<u8>,
    pub rule: Option<&'static str>,
}

/// How to read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub format: Format,
    pub limits: Limits,
    /// Length of the blocks that the stream comes in.
    pub block_bytes: usize,
    pub broken: bool,
}

impl Reading {
    pub fn of(format: Format) -> Self {
        let limits = Limits { chunk_bytes: 1 << 20, chunk_records: 100_000, record_bytes: 16 << 20 };
        Self { format, limits, block_bytes: 1 << 20, broken: false }
    }

    pub fn with_chunks(self, chunk_bytes: usize, chunk_records: usize, block_bytes: usize) -> Self {
        Self { limits: Limits { chunk_bytes, chunk_records, ..self.limits }, block_bytes, ..self }
    }

    pub fn with_record_bytes(self, record_bytes: usize) -> Self {
        Self { limits: Limits { record_bytes, ..self.limits }, ..self }
    }

    pub fn broken(self) -> Self {
        Self { broken: true, ..self }
    }

    /// All records of `bytes`, read by the plan with columns `a` and `b`.
    pub fn read(self, bytes: &[u8]) -> Vec<Found> {
        self.try_read(bytes).expect("the text can be opened")
    }

    /// How many records there are, without looking at them.
    pub fn read_count(self, bytes: &[u8]) -> usize {
        let mut reader = self.open(bytes).expect("the text can be opened");
        let mut count = 0;
        while let Some(chunk) = reader.next_chunk().unwrap() {
            let Chunk::Text { data, framing, .. } = chunk else { panic!("text was expected") };
            count += match framing {
                Framing::Lines => lines::records(&data, self.format).count(),
                Framing::Records(frames) => frames.len(),
            };
        }
        count
    }

    fn open(self, bytes: &[u8]) -> Result<TextReader, String> {
        let (sender, receiver) = unbounded();
        for block in bytes.chunks(self.block_bytes) {
            sender.send(Message::Block(block.to_vec())).expect("the receiver lives");
        }
        let end = if self.broken { Message::Broken("cut".to_owned()) } else { Message::End };
        sender.send(end).expect("the receiver lives");
        let window = Window::streamed(receiver);
        TextReader::open(window, Some(self.format), "", &plan(), self.limits).map(|(reader, _, _)| reader)
    }

    pub fn try_read(self, bytes: &[u8]) -> Result<Vec<Found>, String> {
        let mut reader = self.open(bytes)?;
        let (mut found, mut lines) = (Vec::new(), 0);
        while let Some(chunk) = reader.next_chunk().unwrap() {
            let before = found.len();
            lines += records(&chunk, self.format, lines, &mut found);
            assert!(found.len() - before <= self.limits.chunk_records, "too many records in a chunk");
        }
        for record in &found {
            let at = record.offset;
            assert_eq!(bytes[at..at + record.bytes.len()], record.bytes, "the offset is wrong");
            assert_eq!(record.line, 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count());
        }
        Ok(found)
    }
}

/// Add the records of a chunk of text, before which so many lines were left to be counted; how many its own are.
pub fn records(chunk: &Chunk, format: Format, lines: usize, found: &mut Vec<Found>) -> usize {
    let Chunk::Text { data, offset, line, framing } = chunk else { panic!("text was expected") };
    let mut add = |range: std::ops::Range<usize>, rule| {
        let offset = usize::try_from(*offset).expect("a small file") + range.start;
        let lines_before = data[..range.start].iter().filter(|byte| **byte == b'\n').count();
        let line = usize::try_from(*line).expect("a small file") + lines + lines_before;
        found.push(Found { offset, line, bytes: data[range].to_vec(), rule });
    };
    match framing {
        Framing::Lines => {
            lines::records(data, format).for_each(|range| add(range, None));
            data.iter().filter(|byte| **byte == b'\n').count()
        }
        Framing::Records(frames) => {
            for frame in frames {
                add(frame.range.clone(), frame.fault.as_ref().map(|fault| fault.rule));
            }
            0
        }
    }
}

/// A plan with the text columns `a` and `b`.
pub fn plan() -> Plan {
    plan_of(&["a", "b"])
}

pub fn plan_of(names: &[&str]) -> Plan {
    let column = |(index, name): (usize, &&str)| serde_json::json!({"name": name, "field_id": index + 1, "type": "string"});
    let columns: Vec<_> = names.iter().enumerate().map(column).collect();
    let plan = serde_json::json!({"dataset": "d", "contract": "c", "columns": columns});
    Plan::from_json(&plan.to_string()).expect("a plan")
}

/// Records as text with the rule that they break, for short assertions.
pub fn shown(found: &[Found]) -> Vec<(String, Option<&'static str>)> {
    found.iter().map(|record| (String::from_utf8_lossy(&record.bytes).into_owned(), record.rule)).collect()
}

/// The bytes of `whole` that are in no record.
pub fn between(whole: &[u8], found: &[Found]) -> Vec<u8> {
    let mut at = 0;
    let mut rest = Vec::new();
    for record in found {
        assert!(record.offset >= at, "records overlap");
        rest.extend_from_slice(&whole[at..record.offset]);
        at = record.offset + record.bytes.len();
    }
    rest.extend_from_slice(&whole[at..]);
    rest
}

//! The chunks of all sources, one source after the other.

use std::sync::Arc;

use crate::{
    cell::Violation,
    chunk::{Chunk, Frame, Framing},
    csv,
    error::{Error, Result},
    plan::Plan,
    read::{Content, Format, Input, Source, open},
};

/// What is known of a source besides its records.
#[derive(Debug, Clone, Default)]
pub struct SourceFacts {
    /// The format that was read.
    pub format: &'static str,
    /// The compression that was read.
    pub compression: &'static str,
    /// How the bytes of one of its records read.
    pub raw_format: &'static str,
    /// The file inside the archive.
    pub member: Option<String>,
    /// The header of a CSV file.
    pub csv: Option<Arc<csv::Header>>,
    /// Columns of the file that the plan doesn't know.
    pub unknown_columns: Arc<[String]>,
    /// Bytes of the records' text, if that is known before they are read.
    pub text_bytes: Option<u64>,
    /// Bytes of the decompressed source, or of the columnar file, once its end was reached.
    pub bytes: Option<u64>,
}

/// Opens sources in their order and hands out their chunks.
pub struct Feed<'a> {
    sources: &'a [Source],
    plan: &'a Plan,
    chunk_bytes: usize,
    chunk_records: usize,
    facts: Vec<SourceFacts>,
    open: Option<Input>,
}

impl<'a> Feed<'a> {
    /// A feed of the sources' chunks, of at most so many bytes (about) and records.
    pub fn new(sources: &'a [Source], plan: &'a Plan, chunk_bytes: usize, chunk_records: usize) -> Self {
        Self { sources, plan, chunk_bytes, chunk_records, facts: Vec::new(), open: None }
    }

    /// The next chunk with its source's index. A source that can't be read, or not further, comes to an end with one
    /// broken record.
    ///
    /// # Errors
    /// `Error::Io` when a file can't be opened or read, `Error::Stream` when a stream breaks off.
    pub fn next_chunk(&mut self) -> Result<Option<(usize, &SourceFacts, Chunk)>> {
        loop {
            let found = match &mut self.open {
                Some(input) => input.next_chunk(),
                None if self.facts.len() == self.sources.len() => return Ok(None),
                None => {
                    let opened = open(
                        &self.sources[self.facts.len()],
                        self.plan,
                        self.chunk_bytes,
                        self.chunk_records,
                    );
                    self.facts.push(
                        opened.as_ref().map(SourceFacts::of).unwrap_or_else(|_| SourceFacts::unknown()),
                    );
                    match opened {
                        Ok(input) => {
                            self.open = Some(input);
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            let source = self.facts.len() - 1;
            let chunk = match found {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    self.facts[source].bytes = self.open.take().map(|input| input.bytes_passed());
                    continue;
                }
                Err(error @ (Error::Format { .. } | Error::Arrow(_) | Error::Parquet(_))) => {
                    self.open = None;
                    unreadable(&self.sources[source].content, &error)?
                }
                Err(error) => return Err(error),
            };
            return Ok(Some((source, &self.facts[source], chunk)));
        }
    }

    /// What is known of each source that was opened.
    pub fn facts(&self) -> impl Iterator<Item = (usize, &SourceFacts)> {
        self.facts.iter().enumerate()
    }
}

impl SourceFacts {
    /// Of a source that can't be opened.
    fn unknown() -> Self {
        let unknown = "unknown";
        Self { format: unknown, compression: unknown, raw_format: unknown, ..Self::default() }
    }

    fn of(input: &Input) -> Self {
        Self {
            format: input.format.name(),
            compression: input.compression.name(),
            raw_format: match input.format {
                Format::Parquet | Format::Arrow => "json",
                text => text.name(),
            },
            member: input.member.clone(),
            csv: input.csv.clone(),
            unknown_columns: input.unknown_columns.as_slice().into(),
            text_bytes: input.bytes_ahead(),
            bytes: None,
        }
    }
}

/// One broken record that stands for a source, or the rest of it, with the file's first bytes.
fn unreadable(content: &Content, error: &Error) -> Result<Chunk> {
    const SHOWN: usize = 64 << 10;
    let head = content.head(SHOWN)?;
    let range = 0..head.len();
    let message = match error {
        Error::Format { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let frame = Frame { range: range.clone(), fault: Some(Violation::of_record("unreadable", message)) };
    Ok(Chunk::Text { data: head, offset: 0, line: 1, framing: Framing::Records(vec![frame]) })
}

//! The loop that cuts text into chunks: show a framer a view, take what it is done with, show more when it has to see more.

use std::{io, sync::Arc};

use super::{
    Format, Limits,
    csv_frames::{CsvFramer, Found, Walker},
    detect,
    frames::Cut,
    json_array::ArrayFramer,
    lines::LineFramer,
    window::{End, Window},
};
use crate::{
    cell::Violation,
    chunk::{Chunk, Frame, Framing},
    csv::Header,
    plan::{CsvOptions, Plan},
};

/// How much of the text is looked at to tell its format.
const HEAD_BYTES: usize = 64 << 10;

/// Reads records of a text format.
pub struct TextReader {
    window: Window,
    framer: Framer,
    limits: Limits,
    /// How long a view to ask for. Short when chunks end by their count of records, so that a framer which looks at all
    /// of a view doesn't look at much in vain.
    want: usize,
    done: bool,
}

enum Framer {
    Lines(LineFramer),
    Array(ArrayFramer),
    Csv(CsvFramer),
}

impl Framer {
    fn cut(&mut self, view: &[u8], end: End) -> Option<Cut> {
        match self {
            Self::Lines(framer) => framer.cut(view, end),
            Self::Array(framer) => framer.cut(view, end),
            Self::Csv(framer) => framer.cut(view, end),
        }
    }
}

impl TextReader {
    /// Tell the format unless it is given, read a CSV file's header, and stand before the first record.
    ///
    /// # Errors
    /// A sentence when the text is none, or its header can't be used.
    pub fn open(
        mut window: Window,
        format: Option<Format>,
        name: &str,
        plan: &Plan,
        limits: Limits,
    ) -> Result<(Self, Format, Option<Arc<Header>>), String> {
        let (head, _) = window.view(HEAD_BYTES);
        if let Some(why) = detect::not_text(head) {
            return Err(why.to_owned());
        }
        let format = format.unwrap_or_else(|| detect::format(head, name));
        let bom = detect::bom(head);
        window.take(bom, 0..0, false);
        let mut header = None;
        let framer = match format {
            Format::Parquet => return Err("a Parquet file can't be compressed as a whole".to_owned()),
            Format::Arrow => return Err("an Arrow stream is no text".to_owned()),
            Format::Ndjson => Framer::Lines(LineFramer::new(limits)),
            Format::Json => Framer::Array(ArrayFramer::new(limits)),
            Format::Csv => {
                let found = csv_header(&mut window, plan, limits)?;
                let framer = CsvFramer::new(limits, &plan.csv, found.names.len());
                header = Some(Arc::new(found));
                Framer::Csv(framer)
            }
        };
        let reader = Self { window, framer, limits, want: limits.chunk_bytes, done: false };
        Ok((reader, format, header))
    }

    /// The next records.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut want = self.want;
        while !self.done {
            let (view, end) = self.window.view(want);
            let seen = view.len();
            match self.framer.cut(view, end) {
                Some(cut) => {
                    let full = cut.len >= self.want / 2;
                    let next = if full { self.want.saturating_mul(2) } else { cut.len.saturating_mul(2) };
                    self.want = next.clamp(1, self.limits.chunk_bytes);
                    want = self.want;
                    if let Some(chunk) = self.take(cut) {
                        return Ok(Some(chunk));
                    }
                }
                None if end == End::More => want = seen.max(want).saturating_mul(2),
                None => {
                    self.done = true;
                    if let Some(error) = self.window.failure() {
                        return Err(error);
                    }
                    if end == End::Broken {
                        return Ok(Some(self.take_rest(seen)));
                    }
                    self.window.take(seen, 0..0, false);
                }
            }
        }
        Ok(None)
    }

    /// Bytes of the decompressed source that are done with.
    pub fn bytes_passed(&self) -> u64 {
        self.window.offset()
    }

    /// Bytes still to come; `None` when that isn't known.
    pub fn bytes_ahead(&self) -> Option<u64> {
        self.window.ahead()
    }

    fn take(&mut self, cut: Cut) -> Option<Chunk> {
        // Lines are counted by those who read them.
        let leaves_lines = matches!(cut.framing, Some(Framing::Lines));
        let taken = self.window.take(cut.len, cut.data, leaves_lines);
        let framing = cut.framing?;
        Some(Chunk::Text { data: taken.data, offset: taken.offset, line: taken.line, framing })
    }

    /// What is left of a record where the stream breaks, as one faulty record, even if nothing is.
    fn take_rest(&mut self, len: usize) -> Chunk {
        let message = self.window.fault().unwrap_or("the stream ends too early").to_owned();
        let taken = self.window.take(len, 0..len, false);
        let fault = Some(Violation::of_record("truncated", message));
        let framing = Framing::Records(vec![Frame { range: 0..len, fault }]);
        Chunk::Text { data: taken.data, offset: taken.offset, line: taken.line, framing }
    }
}

/// Read the header, or make one of the plan's columns for a file without.
fn csv_header(window: &mut Window, plan: &Plan, limits: Limits) -> Result<Header, String> {
    if !plan.csv.header {
        return Ok(Header::of_plan(plan));
    }
    let mut want = limits.chunk_bytes;
    loop {
        let (view, end) = window.view(want);
        let seen = view.len();
        match first_record(view, end, &plan.csv, limits) {
            Found::Record(Frame { fault: Some(fault), .. }, _) => {
                return Err(format!("the header is broken: {}", fault.message));
            }
            Found::Record(Frame { range, .. }, next) => {
                let header = Header::parse(&view[range], plan)?;
                window.take(next, 0..0, false);
                return Ok(header);
            }
            Found::TooLong(_) => {
                return Err(format!("the header is longer than {} bytes", limits.record_bytes));
            }
            Found::Blank(next) => {
                window.take(next, 0..0, false);
            }
            Found::Unknown if end == End::More => want = seen.max(want).saturating_mul(2),
            // Nothing but blank lines, or a stream that breaks in the header.
            Found::Unknown => return Ok(Header::none(plan)),
        }
    }
}

fn first_record(view: &[u8], end: End, options: &CsvOptions, limits: Limits) -> Found {
    Walker::new(options, None).find(view, 0, end, limits.record_bytes)
}

//! Records that are lines.

use std::ops::Range;

use super::{End, Format, Limits, frames::Cut};

/// The records of a chunk with [`Framing::Lines`], as ranges without their line ends.
///
/// `\n` or `\r\n` ends a line; the last one may lack it. A blank line is no record: in NDJSON one of white space only, in
/// CSV one without any byte (a line of tabs is a record of empty fields where the tab is the delimiter).
///
/// ```
/// use dpipe_kernel::read::{Format, lines};
/// let found: Vec<_> = lines::records(b"{}\r\n  \n{}", Format::Ndjson).collect();
/// assert_eq!(found, [0..2, 7..9]);
/// ```
pub fn records(data: &[u8], format: Format) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    let every_line = std::iter::from_fn(move || {
        if start == data.len() {
            return None;
        }
        let stop = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |at| start + at);
        let line = start..start + without_return(&data[start..stop]);
        start = (stop + 1).min(data.len());
        Some(line)
    });
    every_line.filter(move |line| !is_blank(&data[line.clone()], format))
}

/// Whether a line is no record.
pub fn is_blank(line: &[u8], format: Format) -> bool {
    match format {
        Format::Csv => line.is_empty(),
        _ => line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')),
    }
}

/// Length of a line without the carriage return before its line feed.
pub fn without_return(line: &[u8]) -> usize {
    line.len() - usize::from(line.last() == Some(&b'\r'))
}

/// Cuts a source into chunks of whole lines.
pub struct LineFramer {
    limits: Limits,
    skipping: bool,
}

impl LineFramer {
    /// A framer at the beginning of a line.
    pub fn new(limits: Limits) -> Self {
        Self { limits, skipping: false }
    }

    /// Whether the rest of a line that is too long is still to be passed.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The whole lines at the beginning of `view`; `None` when it needs to show more.
    pub fn cut(&mut self, view: &[u8], end: End) -> Option<Cut> {
        if self.skipping {
            return self.skip(view);
        }
        let whole = whole_lines(view, end, self.limits.record_bytes);
        if whole > 0 {
            return Some(Cut::lines(first_lines(&view[..whole], self.limits.chunk_records)));
        }
        match first_line(view, end, self.limits.record_bytes) {
            FirstLine::Whole(len) => Some(Cut::lines(len)),
            FirstLine::TooLong(len) => Some(self.give_up(len)),
            FirstLine::Unknown => None,
        }
    }

    /// Hand on the first bytes of a line that is too long, whose first `len` bytes were looked at, and pass the rest.
    pub fn give_up(&mut self, len: usize) -> Cut {
        self.skipping = true;
        Cut::too_large(len, self.limits.record_bytes)
    }

    fn skip(&mut self, view: &[u8]) -> Option<Cut> {
        let stop = memchr::memchr(b'\n', view);
        self.skipping = stop.is_none();
        let len = stop.map_or(view.len(), |at| at + 1);
        (len > 0).then(|| Cut::nothing(len))
    }
}

/// How many bytes at the beginning of `view` are whole lines of at most `max` bytes. Hops from line end to line end, each
/// hop as far as `max` allows, so that it looks at each byte once.
fn whole_lines(view: &[u8], end: End, max: usize) -> usize {
    let mut at = 0;
    loop {
        let rest = &view[at..];
        if rest.len() <= max {
            let all = end == End::Whole;
            return at
                + if all { rest.len() } else { memchr::memrchr(b'\n', rest).map_or(0, |stop| stop + 1) };
        }
        match memchr::memrchr(b'\n', &rest[..=max]) {
            Some(stop) => at += stop + 1,
            None => return at,
        }
    }
}

enum FirstLine {
    /// It takes so many bytes with its line end.
    Whole(usize),
    /// It is too long; so many bytes of it are in view.
    TooLong(usize),
    /// Its end is not in view.
    Unknown,
}

fn first_line(view: &[u8], end: End, max: usize) -> FirstLine {
    let enough = max.saturating_add(2);
    let seen = &view[..view.len().min(enough)];
    let stop = memchr::memchr(b'\n', seen);
    let line = &seen[..stop.unwrap_or(seen.len())];
    if stop.is_none() && (line.is_empty() || (seen.len() < enough && end != End::Whole)) {
        FirstLine::Unknown
    } else if without_return(line) > max || (stop.is_none() && seen.len() == enough) {
        FirstLine::TooLong(line.len())
    } else {
        FirstLine::Whole(stop.map_or(line.len(), |stop| stop + 1))
    }
}

/// How many bytes at the beginning of `lines` hold about as many lines, at most. They are only counted where the first ones are
/// so short that there may be too many.
fn first_lines(lines: &[u8], count: usize) -> usize {
    const SAMPLE: usize = 4 << 10;
    let sample = &lines[..lines.len().min(SAMPLE)];
    let likely = (memchr::memchr_iter(b'\n', sample).count() + 1) * lines.len().div_ceil(SAMPLE);
    if 2 * likely <= count {
        return lines.len();
    }
    memchr::memchr_iter(b'\n', lines).nth(count - 1).map_or(lines.len(), |stop| stop + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{Reading, between, shown},
        *,
    };

    const NDJSON: fn() -> Reading = || Reading::of(Format::Ndjson);

    #[test]
    fn lines_end_with_or_without_a_carriage_return_or_with_the_input() {
        let found = NDJSON().read(b"{}\r\n[]\n\n \t\r\n1");
        assert_eq!(shown(&found), [("{}".into(), None), ("[]".into(), None), ("1".into(), None)]);
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_and_is_kept_in_part() {
        let text =
            format!("{}\n{}\r\n{}\n{}\n1\n", "a".repeat(9), "b".repeat(10), "c".repeat(11), "d".repeat(99));
        let found = NDJSON().with_record_bytes(10).read(text.as_bytes());
        let expected = [
            ("a".repeat(9), None),
            ("b".repeat(10), None),
            ("c".repeat(10), Some("too_large")),
            ("d".repeat(10), Some("too_large")),
            ("1".into(), None),
        ];
        assert_eq!(shown(&found), expected);
    }

    #[test]
    fn a_broken_stream_costs_the_line_it_breaks_in() {
        let found = NDJSON().broken().read(b"1\n2\n3");
        assert_eq!(shown(&found), [("1".into(), None), ("2".into(), None), ("3".into(), Some("truncated"))]);
        let found = NDJSON().broken().read(b"1\n");
        assert_eq!(shown(&found), [("1".into(), None), (String::new(), Some("truncated"))]);
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ab{ \r\n\n\xff".to_vec()), 0..200)
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same_records(
            text in text(),
            chunk_bytes in 1_usize..60,
            chunk_records in 1_usize..9,
            block_bytes in 1_usize..60,
            record_bytes in 1_usize..20,
            broken: bool,
        ) {
            let reading = Reading { broken, ..NDJSON().with_record_bytes(record_bytes) };
            let chunked = reading.with_chunks(chunk_bytes, chunk_records, block_bytes).read(&text);
            prop_assert_eq!(chunked, reading.read(&text));
        }

        #[test]
        fn every_byte_is_in_a_record_or_white(text in text()) {
            let found = NDJSON().read(&text);
            prop_assert!(between(&text, &found).iter().all(u8::is_ascii_whitespace));
        }
    }
}

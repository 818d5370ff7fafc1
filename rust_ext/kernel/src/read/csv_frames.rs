//! Records of CSV text (RFC 4180): lines, unless a quoted field holds line ends.
//!
//! A record is broken when
//!
//! - a quoted field isn't closed before the end of the input or the limit of a record's length, or
//! - a closing quote is followed by something else than a delimiter or a line end, or
//! - it spans several lines and its field count is not the header's.
//!
//! A broken record ends at its first line end and reading goes on after it: an open quote costs its line, not the rest of
//! the file. A quote inside an unquoted field is an ordinary character. A line that begins with the comment character is no
//! record where one would begin.
//!
//! The work stays in proportion to the bytes although reading goes back after a broken record. Only an odd run of quotes
//! opens a quoted field that isn't closed by the same run, and only an odd run closes it; so a record reaches beyond
//! its first line only if that line holds an odd run, and with each of its fields it passes at most two of them. It is given
//! up as soon as it spans several lines and has more fields than the header. So the stretch between two odd runs is
//! passed by the records that begin in the lines of the nearest odd runs before it, at most two per column, and by none
//! that begin in other lines.

use super::{
    End, Limits,
    frames::Cut,
    lines::{LineFramer, without_return},
};
use crate::{cell::Violation, chunk::Frame, plan::CsvOptions};

/// Cuts a source into chunks of whole records.
pub struct CsvFramer {
    limits: Limits,
    walker: Walker,
    lines: LineFramer,
}

impl CsvFramer {
    /// A framer at the beginning of a record, for records of `fields` fields.
    pub fn new(limits: Limits, options: &CsvOptions, fields: usize) -> Self {
        Self { limits, walker: Walker::new(options, Some(fields)), lines: LineFramer::new(limits) }
    }

    /// The whole records at the beginning of `view`; `None` when it needs to show more.
    pub fn cut(&mut self, view: &[u8], end: End) -> Option<Cut> {
        if self.lines.is_skipping() || self.are_lines(view) {
            return self.lines.cut(view, end);
        }
        let mut at = 0;
        let mut frames = Vec::new();
        while frames.len() < self.limits.chunk_records {
            match self.walker.find(view, at, end, self.limits.record_bytes) {
                Found::Record(frame, next) => {
                    frames.push(frame);
                    at = next;
                }
                Found::Blank(next) => at = next,
                Found::TooLong(seen) if at == 0 => return Some(self.lines.give_up(seen)),
                Found::TooLong(_) | Found::Unknown => break,
            }
        }
        (at > 0).then(|| Cut::frames(at, frames))
    }

    /// Whether each line of `view` that isn't empty is a record. A lone column's empty field is an empty line.
    fn are_lines(&self, view: &[u8]) -> bool {
        self.walker.fields != Some(1) && memchr::memchr(self.walker.quote, view).is_none()
    }
}

/// Finds the end of one record.
pub struct Walker {
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    comment: Option<u8>,
    /// How many fields a record has; `None` when that is to be found out.
    fields: Option<usize>,
}

/// What a view holds at a place.
pub enum Found {
    /// A record and the place after its line end.
    Record(Frame, usize),
    /// A line that is no record; the place after its end.
    Blank(usize),
    /// A record that is too long; its line goes on at least up to this place.
    TooLong(usize),
    /// Too few bytes to tell.
    Unknown,
}

/// How a record ends. Places count from its first byte.
enum Walked {
    /// Well, with the line feed or the end of the bytes at `at`; `lines` when there are line feeds before it.
    Ended { at: usize, lines: bool, fields: usize },
    /// Badly.
    Broken(String),
    /// Out of view.
    Unknown,
}

/// What comes after the bytes that a walk may look at.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// More of the source, to be looked at when it's there.
    More,
    /// More of the source, but a record may not be so long.
    Limit,
    /// The end of the input.
    Nothing,
}

impl Walker {
    /// A walker for records of `fields` fields.
    pub fn new(options: &CsvOptions, fields: Option<usize>) -> Self {
        let byte = |option: Option<char>| option.map(|byte| byte as u8);
        let (escape, comment) = (byte(options.escape), byte(options.comment));
        Self { delimiter: options.delimiter as u8, quote: options.quote as u8, escape, comment, fields }
    }

    /// What begins at `start`, with records of at most `max` bytes.
    pub fn find(&self, view: &[u8], start: usize, end: End, max: usize) -> Found {
        let rest = &view[start..];
        if rest.is_empty() {
            return Found::Unknown;
        }
        // The content and a line end after it.
        let enough = max.saturating_add(2);
        let (bytes, after) = match end {
            _ if rest.len() >= enough => (&rest[..enough], After::Limit),
            End::Whole => (rest, After::Nothing),
            _ => (rest, After::More),
        };
        if self.comment == Some(bytes[0]) {
            return match memchr::memchr(b'\n', bytes) {
                Some(at) => Found::Blank(start + at + 1),
                None if after == After::Nothing => Found::Blank(view.len()),
                None if after == After::Limit => Found::TooLong(start + bytes.len()),
                None => Found::Unknown,
            };
        }
        let (at, lines, fields) = match self.walk(bytes, after) {
            Walked::Ended { at, lines, fields } => (at, lines, fields),
            Walked::Broken(what) => return broken(bytes, start, after, max, what),
            Walked::Unknown => return Found::Unknown,
        };
        let len = without_return(&bytes[..at]);
        let next = start + (at + 1).min(bytes.len());
        match self.fields {
            _ if len > max && lines => {
                broken(bytes, start, after, max, "its quoted fields are too long".to_owned())
            }
            _ if len > max => Found::TooLong(start + at),
            Some(count) if lines && fields != count => {
                let what =
                    format!("it spans several lines and has {fields} fields where the header has {count}");
                broken(bytes, start, after, max, what)
            }
            count if len == 0 && count != Some(1) => Found::Blank(next),
            _ => Found::Record(Frame { range: start..start + len, fault: None }, next),
        }
    }

    fn walk(&self, bytes: &[u8], after: After) -> Walked {
        match memchr::memchr2(self.quote, b'\n', bytes) {
            Some(at) if bytes[at] == b'\n' => Walked::Ended { at, lines: false, fields: 0 },
            Some(_) => self.walk_fields(bytes, after),
            None => out_of_bytes(bytes.len(), after, false, 0),
        }
    }

    fn walk_fields(&self, bytes: &[u8], after: After) -> Walked {
        let (mut at, mut fields, mut lines) = (0, 0, false);
        loop {
            fields += 1;
            if bytes.get(at) == Some(&self.quote) {
                let Some(close) = self.closing_quote(bytes, at + 1, after) else {
                    return match after {
                        After::More => Walked::Unknown,
                        _ => Walked::Broken(format!("the quote at byte {at} of the record isn't closed")),
                    };
                };
                lines |= memchr::memchr(b'\n', &bytes[at..close]).is_some();
                if lines && self.fields.is_some_and(|count| fields > count) {
                    return Walked::Broken(
                        "it spans several lines and has more fields than the header".to_owned(),
                    );
                }
                at = close + 1;
                match &bytes[at..] {
                    [] => return out_of_bytes(at, after, lines, fields),
                    [b'\r'] => return out_of_bytes(at + 1, after, lines, fields),
                    [b'\n', ..] => return Walked::Ended { at, lines, fields },
                    [b'\r', b'\n', ..] => return Walked::Ended { at: at + 1, lines, fields },
                    [byte, ..] if *byte == self.delimiter => at += 1,
                    _ => {
                        return Walked::Broken(format!(
                            "text after the closing quote at byte {close} of the record"
                        ));
                    }
                }
            } else {
                match memchr::memchr2(self.delimiter, b'\n', &bytes[at..]) {
                    None => return out_of_bytes(bytes.len(), after, lines, fields),
                    Some(stop) if bytes[at + stop] == b'\n' => {
                        return Walked::Ended { at: at + stop, lines, fields };
                    }
                    Some(stop) => at += stop + 1,
                }
            }
        }
    }

    /// The first quote from `at` on that isn't doubled, nor escaped.
    fn closing_quote(&self, bytes: &[u8], mut at: usize, after: After) -> Option<usize> {
        loop {
            at += memchr::memchr2(self.quote, self.escape.unwrap_or(self.quote), bytes.get(at..)?)?;
            if bytes[at] != self.quote {
                at += 2;
                continue;
            }
            match bytes.get(at + 1) {
                Some(byte) if *byte == self.quote => at += 2,
                // The next byte may be the other half of a doubled quote.
                None if after == After::More => return None,
                _ => return Some(at),
            }
        }
    }
}

/// The bytes end outside a quoted field.
fn out_of_bytes(at: usize, after: After, lines: bool, fields: usize) -> Walked {
    if after == After::More { Walked::Unknown } else { Walked::Ended { at, lines, fields } }
}

/// A broken record, which ends with its first line.
fn broken(bytes: &[u8], start: usize, after: After, max: usize, what: String) -> Found {
    let stop = memchr::memchr(b'\n', bytes);
    let line = &bytes[..stop.unwrap_or(bytes.len())];
    let len = without_return(line);
    if stop.is_none() && after == After::More {
        Found::Unknown
    } else if len > max || (stop.is_none() && after == After::Limit) {
        Found::TooLong(start + line.len())
    } else {
        let fault = Some(Violation::of_record("malformed", what));
        Found::Record(Frame { range: start..start + len, fault }, start + (line.len() + 1).min(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::{
        Format,
        testing::{Reading, between, shown},
    };

    const CSV: fn() -> Reading = || Reading::of(Format::Csv);

    fn read(text: &str) -> Vec<(String, Option<&'static str>)> {
        shown(&CSV().read(text.as_bytes()))
    }

    fn good(text: &str) -> (String, Option<&'static str>) {
        (text.to_owned(), None)
    }

    fn bad(text: &str) -> (String, Option<&'static str>) {
        (text.to_owned(), Some("malformed"))
    }

    #[test]
    fn without_quotes_lines_are_records() {
        assert_eq!(read("a,b\n1,2\r\n\n3\n \n4,5"), [good("1,2"), good("3"), good(" "), good("4,5")]);
    }

    #[test]
    fn a_quoted_field_may_hold_line_ends_delimiters_and_quotes() {
        assert_eq!(
            read("a,b\n1,\"x\n\"\"y\"\",\r\nz\"\r\n3,4\n"),
            [good("1,\"x\n\"\"y\"\",\r\nz\""), good("3,4")]
        );
        assert_eq!(
            read("\"a\",\"b\"\n\n\"1\",\"2\"\r\n\r\n\"\",\"\""),
            [good("\"1\",\"2\""), good("\"\",\"\"")]
        );
    }

    #[test]
    fn a_quote_inside_an_unquoted_field_is_an_ordinary_character() {
        assert_eq!(read("a,b\n5\",x\n6'1\"\",y\n"), [good("5\",x"), good("6'1\"\",y")]);
    }

    #[test]
    fn an_open_quote_costs_its_line() {
        assert_eq!(read("a,b\n1,\"x\n2,y\n3,z\n"), [bad("1,\"x"), good("2,y"), good("3,z")]);
        assert_eq!(read("a,b\n1,\"x\n2,\"y\"\n3,z\n"), [bad("1,\"x"), good("2,\"y\""), good("3,z")]);
        assert_eq!(read("a,b\n1,\"x"), [bad("1,\"x")]);
    }

    #[test]
    fn text_after_a_closing_quote_costs_its_line() {
        assert_eq!(read("a,b\n1,\"x\"y\n2,y\n"), [bad("1,\"x\"y"), good("2,y")]);
    }

    #[test]
    fn a_record_of_several_lines_must_have_the_headers_field_count() {
        // The second line is one field with an ordinary quote in it, which is the parser's to reject.
        assert_eq!(read("a,b\n\"1\n2\"\n3,4\n"), [bad("\"1"), good("2\""), good("3,4")]);
        assert_eq!(read("a,b\n1,\"2\n\",3\n4,5\n"), [bad("1,\"2"), bad("\",3"), good("4,5")]);
    }

    #[test]
    fn a_record_that_is_too_long_costs_its_line() {
        let text = format!("a,b\n1,2\n{},\"\"\n\"{}\n3,4\n", "x".repeat(30), "y\n".repeat(20));
        let found = CSV().with_record_bytes(10).read(text.as_bytes());
        assert_eq!(found[0].rule, None);
        assert_eq!((found[1].rule, found[1].bytes.len()), (Some("too_large"), 10));
        assert_eq!(shown(&found[2..4]), [bad("\"y"), good("y")]);
        assert_eq!(shown(&found[found.len() - 1..]), [good("3,4")]);
    }

    #[test]
    fn an_empty_line_is_a_record_of_a_lone_column() {
        let lone = |text: &str| shown(&CSV().read(text.as_bytes()));
        assert_eq!(lone("a\nx\n\ny\n"), [good("x"), good(""), good("y")]);
    }

    #[test]
    fn a_broken_stream_costs_the_record_it_breaks_in() {
        let found = CSV().broken().read(b"a,b\n1,\"x\ny\"\n2,\"z\nzz");
        assert_eq!(shown(&found), [good("1,\"x\ny\""), ("2,\"z\nzz".to_owned(), Some("truncated"))]);
        let found = CSV().broken().read(b"a,");
        assert_eq!(shown(&found), [("a,".to_owned(), Some("truncated"))]);
    }

    #[test]
    fn a_header_that_cannot_be_used_is_refused() {
        for (text, why) in [
            ("a,a\n", "twice"),
            ("a,\n", "no name"),
            ("x,y\n", "no column"),
            ("\"a,b\n", "closed"),
            ("a,\"b\"c\n", "closing quote"),
        ] {
            let refused = CSV().try_read(text.as_bytes()).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        assert!(CSV().try_read(b"a,\xff\n").unwrap_err().contains("UTF-8"));
        assert!(CSV().with_record_bytes(4).try_read(b"a,bcdefgh\n").unwrap_err().contains("longer"));
    }

    #[test]
    fn hostile_texts_take_time_in_proportion() {
        for unit in [
            "\"",
            "\"\n",
            "x\",y,\"\n",
            "\",\n",
            "a,\"b\n",
            "\"\"\n",
            "\"\"\"\n",
            "\"x\n\",",
            "\n\"\"",
            ",\"\"\"\n",
        ] {
            let text = format!("a,b\n{}", unit.repeat((1 << 20) / unit.len()));
            let start = Instant::now();
            CSV().with_chunks(4096, 100_000, 4096).with_record_bytes(1 << 18).read_count(text.as_bytes());
            assert!(start.elapsed() < Duration::from_secs(30), "{unit:?} took {:?}", start.elapsed());
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let token =
            prop::sample::select(vec!["a", ",", "\"", "\"\"", "\n", "\r\n", "\r", ",\"", "\",", "\"\n", "é"]);
        prop::collection::vec(token, 0..60)
            .prop_map(|tokens| format!("a,b\n{}", tokens.concat()).into_bytes())
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same_records(
            text in text(),
            chunk_bytes in 1_usize..60,
            chunk_records in 1_usize..9,
            block_bytes in 1_usize..60,
            record_bytes in 3_usize..30,
            broken: bool,
        ) {
            let reading = Reading { broken, ..CSV().with_record_bytes(record_bytes) };
            let chunked = reading.with_chunks(chunk_bytes, chunk_records, block_bytes).read(&text);
            prop_assert_eq!(chunked, reading.read(&text));
        }

        #[test]
        fn every_byte_is_in_a_record_or_a_line_end(text in text()) {
            let found = CSV().read(&text);
            let between = between(&text, &found);
            prop_assert!(between[4..].iter().all(|byte| b"\r\n".contains(byte)), "{:?}", between);
        }

        #[test]
        fn the_records_are_those_of_the_csv_crate(
            rows in prop::collection::vec(any::<(String, String)>(), 0..12),
            crlf: bool,
        ) {
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
            writer.write_record(["a", "b"]).unwrap();
            for (a, b) in &rows {
                writer.write_record([a, b]).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let found = CSV().with_chunks(40, 3, 30).read(&text);
            let plan = super::super::testing::plan();
            let header = crate::csv::Header::of_plan(&plan);
            let mut read = Vec::new();
            for record in &found {
                prop_assert_eq!(record.rule, None);
                let text = std::str::from_utf8(&record.bytes).unwrap();
                let mut row = Vec::new();
                crate::csv::parse_record(text, &header, &plan.csv, &mut row).unwrap();
                read.push((crate::csv::tests::text(&row[0]), crate::csv::tests::text(&row[1])));
            }
            prop_assert_eq!(read, rows);
        }
    }
}

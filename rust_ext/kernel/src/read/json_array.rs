//! Records that are the elements of one JSON array.
//!
//! A broken element costs that element. The scanner stops at its first wrong byte, and then
//!
//! - if that byte is a `{` where the outermost object's next key should be, the element ends before the comma (its closing
//!   brace is missing);
//! - otherwise it ends at the next `}` that is followed, white space aside, by `,` and `{`, or by `]` and the end of the
//!   input. The search begins at the wrong byte, or where the string starts in which that byte is or which it directly
//!   follows: a string that lacks a quote runs on into the next element. Without such a `}` it ends with the input.
//!
//! An element that is missing between two commas, a missing `]` and bytes after the `]` are faulty records too, the last
//! with the same search for where elements begin again. Elements that are no objects pass; they are the parser's to
//! reject.
//!
//! Each byte is looked at a bounded number of times: once by the scanner, once by a search, and again only if a search went
//! back to the start of a string. An element that ends inside that string is followed by one that begins with a brace
//! inside it and breaks at the next byte that is neither white nor a quote, and there are no quotes but escaped ones up to
//! the string's end, so the rest of the string is scanned once more in total, not once per element.

use super::{
    End, Limits,
    frames::Cut,
    json_scan::{Fault, Scan, Scanner, is_white},
};
use crate::{cell::Violation, chunk::Frame};

/// How much white space a search looks through on either side of the comma between two elements, beyond the limit of a
/// record's length.
const LOOK_AHEAD: usize = 64 << 10;

/// Cuts a source into chunks of whole elements.
pub struct ArrayFramer {
    limits: Limits,
    state: State,
    /// How many bytes of the current element, which begins with the view, were looked at before.
    scanned: usize,
    /// Whether the current element was handed on as broken, so that only its end is of interest.
    skipping: bool,
}

enum State {
    /// Before `[`.
    Opening,
    /// After `[`.
    First,
    /// After a comma.
    Next,
    /// After an element.
    Separator,
    /// After `]`.
    Closed,
    /// In an element.
    Scanning(Scanner),
    /// In a broken element, looking for its end.
    Searching(Search),
    /// At the end of the input.
    Done,
}

/// The search for the end of a broken element.
struct Search {
    fault: Violation,
    seen: Seen,
    /// End of the element if the search ends well; from the element's start.
    candidate: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Nothing,
    Brace,
    BraceAndComma,
    BraceAndBracket,
}

/// A view on its way through the framer.
struct Pass<'a> {
    view: &'a [u8],
    end: End,
    /// The next byte to look at.
    at: usize,
    /// Where the current element begins.
    start: usize,
    frames: Vec<Frame>,
}

impl Pass<'_> {
    fn skip_white(&mut self) -> Option<u8> {
        self.at += self.view[self.at..].iter().take_while(|byte| is_white(**byte)).count();
        self.view.get(self.at).copied()
    }

    fn at_end_of_input(&self) -> bool {
        self.end == End::Whole && self.at == self.view.len()
    }

    fn add(&mut self, stop: usize, fault: Option<Violation>) {
        self.frames.push(Frame { range: self.start..stop, fault });
    }

    fn begin(&mut self, state: State) -> State {
        self.start = self.at;
        state
    }

    fn begin_broken(&mut self, what: &str) -> State {
        self.begin(State::Searching(Search::new(what.to_owned())))
    }

    fn add_empty(&mut self, what: &str) {
        self.start = self.at;
        self.add(self.at, Some(malformed(what.to_owned())));
    }
}

fn malformed(message: String) -> Violation {
    Violation::of_record("malformed", message)
}

fn message(fault: &Fault) -> String {
    format!("{} at byte {} of the element", fault.what, fault.at)
}

impl ArrayFramer {
    /// A framer at the beginning of a source.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Opening, scanned: 0, skipping: false }
    }

    /// The whole elements at the beginning of `view`; `None` when it needs to show more.
    pub fn cut(&mut self, view: &[u8], end: End) -> Option<Cut> {
        if self.scanned > view.len() {
            return None;
        }
        let at = std::mem::take(&mut self.scanned);
        let mut pass = Pass { view, end, at, start: 0, frames: Vec::new() };
        while pass.frames.len() < self.limits.chunk_records {
            let state = std::mem::replace(&mut self.state, State::Done);
            let (next, go_on) = match state {
                State::Done => (State::Done, false),
                State::Scanning(scanner) => self.scan(&mut pass, scanner),
                State::Searching(search) => self.search(&mut pass, search),
                between => step(&mut pass, between),
            };
            self.state = next;
            if !go_on {
                break;
            }
        }
        if matches!(self.state, State::Scanning(_) | State::Searching(_)) && !self.skipping {
            self.scanned = pass.at - pass.start;
            if pass.start == 0 && self.is_too_long(&pass) {
                return Some(self.give_up(pass.at));
            }
            return (pass.start > 0).then(|| Cut::frames(pass.start, pass.frames));
        }
        (pass.at > 0 || !pass.frames.is_empty()).then(|| Cut::frames(pass.at, pass.frames))
    }

    fn is_too_long(&self, pass: &Pass) -> bool {
        let limit = match &self.state {
            State::Searching(search) => self.search_limit(search.seen),
            _ => self.limits.record_bytes,
        };
        self.scanned >= limit && !pass.at_end_of_input()
    }

    fn search_limit(&self, seen: Seen) -> usize {
        let look_ahead = if seen == Seen::Nothing { 0 } else { LOOK_AHEAD };
        self.limits.record_bytes.saturating_add(look_ahead)
    }

    /// Where in the view to stop, since an element that reaches there is too long.
    fn bound(&self, pass: &Pass, limit: usize) -> usize {
        if self.skipping { pass.view.len() } else { pass.view.len().min(pass.start.saturating_add(limit)) }
    }

    /// Hand on the first bytes of an element that is too long to be held, and go on to its end.
    fn give_up(&mut self, looked_at: usize) -> Cut {
        self.scanned = 0;
        self.skipping = true;
        let max = self.limits.record_bytes;
        match &mut self.state {
            State::Searching(search) => {
                search.seen = Seen::Nothing;
                Cut::first_bytes(looked_at, max, search.fault.clone())
            }
            _ => Cut::too_large(looked_at, max),
        }
    }

    fn scan(&mut self, pass: &mut Pass, mut scanner: Scanner) -> (State, bool) {
        let bound = self.bound(pass, self.limits.record_bytes);
        let (before, at) = (scanner.at(), pass.at);
        match scanner.feed(&pass.view[at..bound]) {
            Scan::More => {
                pass.at = bound;
                if !pass.at_end_of_input() {
                    return (State::Scanning(scanner), false);
                }
                let fault = scanner.unfinished();
                (self.begin_search(pass, &fault), true)
            }
            Scan::End(stop) => {
                pass.at = at + stop - before;
                self.end_element(pass, pass.at, None);
                (State::Separator, true)
            }
            Scan::Fault(fault) => {
                pass.at = at + fault.at - before;
                let Some(comma) = fault.value_after_comma else {
                    return (self.begin_search(pass, &fault), true);
                };
                self.end_element(pass, pass.start + comma, Some(malformed(message(&fault))));
                (State::Next, true)
            }
        }
    }

    fn end_element(&mut self, pass: &mut Pass, stop: usize, fault: Option<Violation>) {
        if !std::mem::take(&mut self.skipping) {
            pass.add(stop, fault);
        }
    }

    /// Search from the fault at the pass's place, or from the string that led to it if that is still held.
    fn begin_search(&self, pass: &mut Pass, fault: &Fault) -> State {
        if !self.skipping {
            pass.at = pass.start + fault.resync;
        }
        State::Searching(Search::new(message(fault)))
    }

    fn search(&mut self, pass: &mut Pass, mut search: Search) -> (State, bool) {
        loop {
            let bound = self.bound(pass, self.search_limit(search.seen));
            match search.look(pass, bound) {
                Looked::On => (),
                Looked::Found => {
                    self.end_element(pass, pass.start + search.candidate, Some(search.fault));
                    return (State::Next, true);
                }
                Looked::AtBound if pass.at_end_of_input() => {
                    let closed = search.seen == Seen::BraceAndBracket;
                    let stop = if closed { pass.start + search.candidate } else { pass.at };
                    self.end_element(pass, stop, Some(search.fault));
                    return (State::Done, false);
                }
                Looked::AtBound => return (State::Searching(search), false),
            }
        }
    }
}

enum Looked {
    On,
    Found,
    AtBound,
}

impl Search {
    fn new(message: String) -> Self {
        Self { fault: malformed(message), seen: Seen::Nothing, candidate: 0 }
    }

    /// Go on to the next byte that counts, if it is before `bound`.
    fn look(&mut self, pass: &mut Pass, bound: usize) -> Looked {
        let rest = pass.view.get(pass.at..bound).unwrap_or_default();
        let next = match self.seen {
            Seen::Nothing => memchr::memchr(b'}', rest),
            _ => rest.iter().position(|byte| !is_white(*byte)),
        };
        let Some(next) = next else {
            pass.at = pass.at.max(bound);
            return Looked::AtBound;
        };
        pass.at += next;
        self.seen = match (self.seen, rest[next]) {
            (Seen::Nothing, _) => Seen::Brace,
            (Seen::Brace, b',') => Seen::BraceAndComma,
            (Seen::Brace, b']') => Seen::BraceAndBracket,
            (Seen::BraceAndComma, b'{') => return Looked::Found,
            _ => {
                self.seen = Seen::Nothing;
                return Looked::On;
            }
        };
        pass.at += 1;
        if self.seen == Seen::Brace {
            self.candidate = pass.at - pass.start;
        }
        Looked::On
    }
}

/// Go on between elements.
fn step(pass: &mut Pass, state: State) -> (State, bool) {
    let Some(byte) = pass.skip_white() else {
        return if pass.end == End::Whole { (finish(pass, &state), false) } else { (state, false) };
    };
    let next = match (state, byte) {
        (State::Opening, b'[') => State::First,
        (State::First | State::Separator, b']') => State::Closed,
        (State::Separator, b',') => State::Next,
        (State::First | State::Next, b',') => {
            pass.add_empty("an element is missing before a comma");
            State::Next
        }
        (State::Next, b']') => {
            pass.add_empty("an element is missing before the closing bracket");
            State::Closed
        }
        (State::First | State::Next, _) => return (pass.begin(State::Scanning(Scanner::new())), true),
        (State::Opening, _) => return (pass.begin_broken("no `[` before the first element"), true),
        (State::Closed, _) => return (pass.begin_broken("bytes after the array's closing bracket"), true),
        _ => return (pass.begin_broken("neither a comma nor a closing bracket after an element"), true),
    };
    pass.at += 1;
    (next, true)
}

/// The input ends between elements.
fn finish(pass: &mut Pass, state: &State) -> State {
    if !matches!(state, State::Opening | State::Closed) {
        pass.add_empty("the array isn't closed");
    }
    State::Done
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{
        Format,
        testing::{Reading, between, shown},
    };

    const JSON: fn() -> Reading = || Reading::of(Format::Json);

    fn read(text: &str) -> Vec<(String, Option<&'static str>)> {
        shown(&JSON().read(text.as_bytes()))
    }

    fn good(text: &str) -> (String, Option<&'static str>) {
        (text.to_owned(), None)
    }

    fn bad(text: &str) -> (String, Option<&'static str>) {
        (text.to_owned(), Some("malformed"))
    }

    #[test]
    fn elements_come_one_by_one() {
        assert_eq!(
            read(" [ {\"a\": [1, {}]} ,\n{}, 7, \"x\" ] \n"),
            [good("{\"a\": [1, {}]}"), good("{}"), good("7"), good("\"x\"")]
        );
        assert_eq!(read("[]"), []);
        assert_eq!(read("\u{feff}[{}]"), [good("{}")]);
    }

    #[test]
    fn a_broken_value_costs_its_element() {
        assert_eq!(
            read("[{\"a\":1},{\"a\":oops},{\"a\":3}]"),
            [good("{\"a\":1}"), bad("{\"a\":oops}"), good("{\"a\":3}")]
        );
        assert_eq!(read("[{\"a\":oops}]"), [bad("{\"a\":oops}")]);
    }

    #[test]
    fn a_missing_closing_brace_costs_its_element() {
        assert_eq!(
            read("[{\"a\":1,{\"a\":2},{\"a\":3}]"),
            [bad("{\"a\":1"), good("{\"a\":2}"), good("{\"a\":3}")]
        );
    }

    #[test]
    fn a_missing_quote_costs_its_element() {
        assert_eq!(
            read("[{\"a\":\"x},{\"a\":\"y\"},{\"a\":\"z\"}]"),
            [bad("{\"a\":\"x}"), good("{\"a\":\"y\"}"), good("{\"a\":\"z\"}")]
        );
        assert_eq!(read("[{\"a\":\"x},{\"a\":2}]"), [bad("{\"a\":\"x}"), good("{\"a\":2}")]);
        assert_eq!(
            read("[{\"a\":\"x\",\"b:1},\n{\"a\":2}]"),
            [bad("{\"a\":\"x\",\"b:1}"), good("{\"a\":2}")]
        );
        assert_eq!(read("[{\"a:1},{\"a\":2}]"), [bad("{\"a:1}"), good("{\"a\":2}")]);
    }

    #[test]
    fn a_broken_nested_array_costs_its_element() {
        assert_eq!(
            read("[{\"a\":[{\"x\":1,{\"x\":2}],\"b\":3},{\"a\":4}]"),
            [bad("{\"a\":[{\"x\":1,{\"x\":2}],\"b\":3}"), good("{\"a\":4}")]
        );
    }

    #[test]
    fn missing_elements_are_faulty_records() {
        assert_eq!(read("[{},,{},]"), [good("{}"), bad(""), good("{}"), bad("")]);
    }

    #[test]
    fn a_missing_comma_costs_the_element_after_it() {
        assert_eq!(read("[{} {\"a\":1}, {}]"), [good("{}"), bad("{\"a\":1}"), good("{}")]);
    }

    #[test]
    fn a_missing_bracket_and_bytes_after_it_are_faulty_records() {
        assert_eq!(read("[{}"), [good("{}"), bad("")]);
        assert_eq!(read("[{},"), [good("{}"), bad("")]);
        assert_eq!(read("["), [bad("")]);
        assert_eq!(read("[{},{\"a\":"), [good("{}"), bad("{\"a\":")]);
        assert_eq!(read("[{}] x"), [good("{}"), bad("x")]);
        assert_eq!(read("{}"), [bad("{}")]);
    }

    #[test]
    fn an_element_that_is_too_large_costs_itself_and_is_kept_in_part() {
        let text = format!("[{{\"a\":1}},{{\"a\":\"{}\"}},{{\"a\":3}}]", "x".repeat(50));
        let found = JSON().with_record_bytes(20).read(text.as_bytes());
        let large = ("{\"a\":\"xxxxxxxxxxxxxx".to_owned(), Some("too_large"));
        assert_eq!(shown(&found), [good("{\"a\":1}"), large, good("{\"a\":3}")]);
    }

    #[test]
    fn a_broken_stream_costs_the_element_it_breaks_in() {
        let found = JSON().broken().read(b"[{}, {\"a\": [{}, {}");
        assert_eq!(shown(&found), [good("{}"), ("{\"a\": [{}, {}".to_owned(), Some("truncated"))]);
        let found = JSON().broken().read(b"[{}]");
        assert_eq!(shown(&found), [good("{}"), (String::new(), Some("truncated"))]);
    }

    #[test]
    fn hostile_texts_take_time_in_proportion() {
        for unit in [
            "{\"a\":\"},{",
            "{ ",
            "},{",
            "{\"",
            "}, ",
            "}]",
            "[",
            "{\"a\":1,{",
            ",",
            "{\"a\":\" \\\"},{",
            "\"},{\"",
        ] {
            let text = format!("[{}", unit.repeat((1 << 20) / unit.len()));
            let start = Instant::now();
            let reading = JSON().with_chunks(4096, 100_000, 4096).with_record_bytes(1 << 18);
            reading.read_count(text.as_bytes());
            assert!(start.elapsed() < Duration::from_secs(30), "{unit} took {:?}", start.elapsed());
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "1",
            "-",
            " ",
            "\n",
            "\\",
            "{\"a\":1}",
            "},{",
            "{\"a\":",
            "\u{e9}",
            "null",
        ]);
        prop::collection::vec(token, 0..60).prop_map(|tokens| format!("[{}", tokens.concat()).into_bytes())
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same_records(
            text in text(),
            chunk_bytes in 1_usize..60,
            chunk_records in 1_usize..9,
            block_bytes in 1_usize..60,
            record_bytes in 1_usize..30,
            broken: bool,
        ) {
            let reading = Reading { broken, ..JSON().with_record_bytes(record_bytes) };
            let chunked = reading.with_chunks(chunk_bytes, chunk_records, block_bytes).read(&text);
            prop_assert_eq!(chunked, reading.read(&text));
        }

        #[test]
        fn every_byte_is_in_a_record_or_between_two(text in text()) {
            let found = JSON().read(&text);
            let between = between(&text, &found);
            prop_assert!(between.iter().all(|byte| b"[], \n".contains(byte)), "{:?}", between);
        }

        #[test]
        fn whatever_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if !bytes.starts_with(b"\xff\xfe") && !bytes.starts_with(b"\xfe\xff") {
                JSON().with_chunks(7, 3, 5).with_record_bytes(40).read(&bytes);
            }
        }

        #[test]
        fn the_elements_are_those_of_serde_json(
            values in prop::collection::vec(any::<(String, i64, Option<bool>, Vec<u8>)>(), 0..9),
            pretty: bool,
        ) {
            let values: Vec<Value> = values.iter().map(|value| serde_json::json!({"v": value})).collect();
            let text = if pretty { serde_json::to_vec_pretty(&values) } else { serde_json::to_vec(&values) }.unwrap();
            let found = JSON().with_chunks(50, 3, 40).read(&text);
            prop_assert!(found.iter().all(|record| record.rule.is_none()));
            let read: Vec<Value> = found.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn one_fault_costs_one_element(
            count in 2_usize..8,
            broken: prop::sample::Index,
            fault in 0_usize..5,
            separator in prop::sample::select(vec![",", ", ", ",\n  "]),
        ) {
            let broken = broken.index(count);
            let element = |index| match fault {
                _ if index != broken => format!("{{\"a\":{index},\"b\":[{{\"c\":\"x\"}},{{}}]}}"),
                0 => "{\"a\":oops}".to_owned(),
                1 => "{\"a\":\"x}".to_owned(),
                2 => "{\"a\":1,\"b\":}".to_owned(),
                3 => "{\"a\":[1,2}".to_owned(),
                _ => "{a:1}".to_owned(),
            };
            let elements: Vec<String> = (0..count).map(element).collect();
            let text = format!("[{}]", elements.join(separator));
            let found = shown(&JSON().read(text.as_bytes()));
            let rule = |index| (index == broken).then_some("malformed");
            let expected: Vec<_> = elements.into_iter().enumerate().map(|(at, text)| (text, rule(at))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

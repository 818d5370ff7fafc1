//! A JSON validator that can stop anywhere and go on with the next bytes.
//!
//! It follows RFC 8259 byte by byte and never calls itself: which of the open brackets are objects is a bit set, so
//! values nest at most [`MAX_DEPTH`] deep. It stops at the first byte that can't be there.

use crate::json::MAX_DEPTH;

const _: () = assert!(MAX_DEPTH <= u128::BITS as usize, "the set of open objects has a bit for each level");

/// Validates one value. Offsets count from the value's first byte.
pub struct Scanner {
    state: State,
    /// Bit `n` is set when the bracket at depth `n + 1` opened an object.
    objects: u128,
    depth: usize,
    at: usize,
    /// Start of the string that the scanner is in or has just left.
    string: Option<usize>,
    /// Last comma of the outermost object.
    comma: usize,
}

#[derive(Clone, Copy)]
enum State {
    /// Before a value.
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    KeyOrEnd,
    /// After a comma in an object.
    Key,
    Colon,
    /// After a value inside an object or array.
    AfterValue,
    /// In a string, which is a key if so marked.
    Text(Text, bool),
    /// The letters that must follow.
    Literal(&'static [u8]),
    Number(Number),
}

#[derive(Clone, Copy)]
enum Text {
    Plain,
    Escape,
    /// So many hexadecimal digits must follow.
    Hex(u8),
}

#[derive(Clone, Copy, PartialEq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// How far the scanner got.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// The value goes on.
    More,
    /// The value ends before this offset.
    End(usize),
    /// The value is broken.
    Fault(Fault),
}

/// Where and how a value is broken.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first byte that can't be there.
    pub at: usize,
    /// Where to look for the end of the broken value: where the string starts in which the fault is or which it directly
    /// follows, since a string that lacks a quote runs on into what comes after it; otherwise the fault itself.
    pub resync: usize,
    /// The comma of the outermost object after which the next value begins where a key should be.
    pub value_after_comma: Option<usize>,
    /// What is wrong.
    pub what: &'static str,
}

/// White space between JSON's tokens.
pub const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Bytes that a string holds as they are.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut control = 0;
    while control < 0x20 {
        plain[control] = false;
        control += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

impl Scanner {
    /// A scanner before a value's first byte.
    pub fn new() -> Self {
        Self { state: State::Value, objects: 0, depth: 0, at: 0, string: None, comma: 0 }
    }

    /// How many bytes were looked at.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Go on with `bytes`, which follow those of the calls before.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan {
        let start = self.at;
        let mut index = 0;
        while let Some(&byte) = bytes.get(index) {
            self.at = start + index;
            match self.state {
                State::Text(Text::Plain, _) if PLAIN[byte as usize] => {
                    let rest = &bytes[index..];
                    index += rest.iter().position(|&byte| !PLAIN[byte as usize]).unwrap_or(rest.len());
                    continue;
                }
                State::Number(number) => match number.next(byte) {
                    Some(next) => self.state = State::Number(next),
                    None if !number.is_whole() => return self.fault("a number lacks a digit"),
                    None if self.depth == 0 => return Scan::End(self.at),
                    None => {
                        self.state = State::AfterValue;
                        continue;
                    }
                },
                State::Text(text, key) => match self.text(text, key, byte) {
                    Ok(true) => return Scan::End(self.at + 1),
                    Ok(false) => (),
                    Err(what) => return self.fault(what),
                },
                State::Literal(letters) => {
                    if byte != letters[0] {
                        return self.fault("neither `true`, `false` nor `null`");
                    }
                    self.state = State::Literal(&letters[1..]);
                    if letters.len() == 1 && self.end_value() {
                        return Scan::End(self.at + 1);
                    }
                }
                _ if is_white(byte) => (),
                State::Key if byte == b'{' && self.depth == 1 => return self.value_after_comma(),
                _ => match self.token(byte) {
                    Ok(true) => return Scan::End(self.at + 1),
                    Ok(false) => (),
                    Err(what) => return self.fault(what),
                },
            }
            index += 1;
        }
        self.at = start + bytes.len();
        Scan::More
    }

    /// The fault of a value that has no more bytes.
    pub fn unfinished(&self) -> Fault {
        let what = if matches!(self.state, State::Text(..)) {
            "a string isn't closed"
        } else {
            "the value isn't closed"
        };
        Fault { at: self.at, resync: self.string.unwrap_or(self.at), value_after_comma: None, what }
    }

    fn fault(&self, what: &'static str) -> Scan {
        Scan::Fault(Fault {
            at: self.at,
            resync: self.string.unwrap_or(self.at),
            value_after_comma: None,
            what,
        })
    }

    fn value_after_comma(&self) -> Scan {
        let what = "the object isn't closed";
        Scan::Fault(Fault { at: self.at, resync: self.at, value_after_comma: Some(self.comma), what })
    }

    /// A byte of a string that isn't plain. True when the string was the whole value.
    fn text(&mut self, text: Text, key: bool, byte: u8) -> Result<bool, &'static str> {
        let text = match (text, byte) {
            (Text::Plain, b'"') if key => {
                self.state = State::Colon;
                return Ok(false);
            }
            (Text::Plain, b'"') => return Ok(self.end_value()),
            (Text::Plain, b'\\') => Text::Escape,
            (Text::Plain, _) => return Err("a control character in a string"),
            (Text::Escape, b'u') => Text::Hex(4),
            (Text::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Text::Plain,
            (Text::Hex(1), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => Text::Plain,
            (Text::Hex(left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => Text::Hex(left - 1),
            (Text::Escape | Text::Hex(_), _) => return Err("an escape that JSON doesn't have"),
        };
        self.state = State::Text(text, key);
        Ok(false)
    }

    /// A byte between strings, numbers and literals. True when it ends the whole value.
    fn token(&mut self, byte: u8) -> Result<bool, &'static str> {
        let in_object = self.in_object();
        match (self.state, byte) {
            (State::Key | State::KeyOrEnd, b'"') => self.begin_string(true),
            (State::Colon, b':') => self.to(State::Value),
            (State::AfterValue, b',') if in_object => {
                if self.depth == 1 {
                    self.comma = self.at;
                }
                self.to(State::Key);
            }
            (State::AfterValue, b',') => self.to(State::Value),
            (State::AfterValue | State::KeyOrEnd, b'}') if in_object => return Ok(self.close()),
            (State::AfterValue | State::ValueOrEnd, b']') if !in_object => return Ok(self.close()),
            (State::Value | State::ValueOrEnd, _) => return self.begin_value(byte).map(|()| false),
            (State::Key | State::KeyOrEnd, _) => return Err("no key where one must be"),
            (State::Colon, _) => return Err("no colon after a key"),
            _ => return Err("neither a comma nor the closing bracket after a value"),
        }
        Ok(false)
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), &'static str> {
        match byte {
            b'"' => self.begin_string(false),
            b'{' => return self.open(State::KeyOrEnd),
            b'[' => return self.open(State::ValueOrEnd),
            b't' => self.to(State::Literal(b"rue")),
            b'f' => self.to(State::Literal(b"alse")),
            b'n' => self.to(State::Literal(b"ull")),
            b'-' => self.to(State::Number(Number::Minus)),
            b'0' => self.to(State::Number(Number::Zero)),
            b'1'..=b'9' => self.to(State::Number(Number::Integer)),
            _ => return Err("no value where one must be"),
        }
        Ok(())
    }

    fn begin_string(&mut self, key: bool) {
        self.state = State::Text(Text::Plain, key);
        self.string = Some(self.at);
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn to(&mut self, state: State) {
        self.state = state;
        self.string = None;
    }

    fn open(&mut self, state: State) -> Result<(), &'static str> {
        if self.depth == MAX_DEPTH {
            return Err("objects and arrays are nested too deep");
        }
        let bit = 1 << self.depth;
        if matches!(state, State::KeyOrEnd) {
            self.objects |= bit
        } else {
            self.objects &= !bit
        }
        self.depth += 1;
        self.to(state);
        Ok(())
    }

    fn close(&mut self) -> bool {
        self.depth -= 1;
        self.string = None;
        self.end_value()
    }

    /// True when the value was the outermost one.
    fn end_value(&mut self) -> bool {
        self.state = State::AfterValue;
        self.depth == 0
    }
}

impl Number {
    /// The state after `byte`, if a number can go on with it.
    fn next(self, byte: u8) -> Option<Self> {
        use Number::{Exponent, ExponentDigits, ExponentSign, Fraction, Integer, Minus, Point, Zero};
        Some(match (self, byte) {
            (Minus, b'0') => Zero,
            (Minus | Integer, b'0'..=b'9') => Integer,
            (Zero | Integer, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            _ => return None,
        })
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn scan(text: &[u8], step: usize) -> Scan {
        let mut scanner = Scanner::new();
        for part in text.chunks(step) {
            match scanner.feed(part) {
                Scan::More => (),
                end => return end,
            }
        }
        Scan::More
    }

    fn fault_at(text: &str) -> Option<usize> {
        match scan(text.as_bytes(), text.len().max(1)) {
            Scan::Fault(fault) => Some(fault.at),
            _ => None,
        }
    }

    #[test]
    fn a_value_ends_with_its_last_byte() {
        let text = b"{\"a\": [1, -2.5e+3, true, null, \"\\u00e9\\\"\"]}";
        assert_eq!(scan(&[text, &b" ,"[..]].concat(), 99), Scan::End(text.len()));
        assert_eq!(scan(b"12,", 1), Scan::End(2));
        assert_eq!(scan(b"false]", 2), Scan::End(5));
        assert_eq!(scan(b"\"a\"", 1), Scan::End(3));
        assert_eq!(scan(b"[]", 1), Scan::End(2));
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        for (text, at) in [
            ("{\"a\": oops}", 6),
            ("{\"a\" 1}", 5),
            ("{\"a\": 1 \"b\": 2}", 8),
            ("{\"a\": 1,}", 8),
            ("{a: 1}", 1),
            ("[1,]", 3),
            ("[1}", 2),
            ("{\"a\": 1]", 7),
            ("01,", 1),
            ("1.,", 2),
            ("-,", 1),
            ("1e,", 2),
            ("tru}", 3),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("\"a\nb\"", 2),
            ("}", 0),
        ] {
            let found = fault_at(text);
            // A number at depth 0 ends before a byte that can't follow it.
            assert_eq!(found.or_else(|| text.starts_with("01").then_some(1)), Some(at), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(fault_at(&nested(128)), None);
        assert_eq!(fault_at(&nested(129)), Some(128));
    }

    #[test]
    fn a_search_begins_at_the_string_that_led_to_the_fault() {
        let Scan::Fault(fault) = scan(b"{\"a\": \"foo}, {\"b\": 1}", 99) else { panic!("a fault") };
        assert_eq!((fault.at, fault.resync), (15, 6));
        let Scan::Fault(fault) = scan(b"{\"a\": x}", 99) else { panic!("a fault") };
        assert_eq!((fault.at, fault.resync), (6, 6));
    }

    #[test]
    fn a_value_after_the_outermost_comma_is_told_apart() {
        let Scan::Fault(fault) = scan(b"{\"a\": 1, {\"a\"", 99) else { panic!("a fault") };
        assert_eq!(fault.value_after_comma, Some(7));
        let Scan::Fault(fault) = scan(b"{\"a\": {\"b\": 1, {\"a\"", 99) else { panic!("a fault") };
        assert_eq!(fault.value_after_comma, None);
    }

    fn value() -> impl Strategy<Value = Value> {
        value_of(any::<String>().boxed())
    }

    fn value_of(text: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_valid(value in value(), step in 1_usize..20, pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let len = text.len();
            let text = [&text[..], b" "].concat();
            prop_assert_eq!(scan(&text, step), Scan::End(len));
        }

        #[test]
        fn one_changed_byte_is_judged_as_serde_json_judges_it(
            value in value_of("[ -~]{0,9}".boxed()),
            at: prop::sample::Index,
            byte in prop::sample::select(b"{}[]\",: \\0-e.tu\n".to_vec()),
        ) {
            let mut text = serde_json::to_vec(&value).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            let text = text.trim_ascii();
            let whole = scan(&[text, &b" "[..]].concat(), 7) == Scan::End(text.len());
            let oracle = serde_json::from_slice::<serde::de::IgnoredAny>(text);
            prop_assert_eq!(whole, oracle.is_ok(), "{}", String::from_utf8_lossy(text));
        }

        #[test]
        fn steps_of_any_size_come_to_the_same(
            text in prop::collection::vec(prop::sample::select(b"{}[]\"\",:: \\u0a1-e.tn\n".to_vec()), 0..40),
            step in 1_usize..9,
        ) {
            prop_assert_eq!(scan(&text, step), scan(&text, text.len().max(1)));
        }
    }
}

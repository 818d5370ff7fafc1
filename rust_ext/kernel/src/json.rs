//! One JSON object, straight from bytes into a row of cells.
//!
//! The plan knows the columns, so no tree is built: fields in the plan's order are matched by one comparison, any other
//! order by a look-up. The grammar is RFC 8259 to the letter; nested values are validated and kept as written.

use std::collections::HashMap;

use crate::{
    cell::{Cell, Row, Violation},
    plan::Plan,
    swar::Literal,
};

/// Records nested deeper than this, their own braces counted, are malformed.
pub const MAX_DEPTH: usize = 128;

/// Parses records into rows in the order of a plan's columns.
pub struct Parser {
    names: Vec<Box<[u8]>>,
    by_name: HashMap<Box<[u8]>, usize, foldhash::fast::FixedState>,
}

type Parsed<T> = Result<T, Violation>;

fn malformed(at: usize, what: &str) -> Violation {
    Violation::of_record("malformed", format!("{what} at byte {at} of the record"))
}

impl Parser {
    /// A parser for the plan's columns.
    pub fn new(plan: &Plan) -> Self {
        let names: Vec<Box<[u8]>> = plan.columns.iter().map(|column| column.name.as_bytes().into()).collect();
        let by_name = names.iter().cloned().zip(0..).collect();
        Self { names, by_name }
    }

    /// Read `record` into `row`, which is reset first. Names that the plan doesn't know go to `unknown`.
    ///
    /// # Errors
    /// A violation of the whole record: `malformed` when it isn't one JSON object, `duplicate_field` when a column is
    /// there twice.
    pub fn parse<'a>(&self, record: &'a str, row: &mut Row<'a>, unknown: &mut Vec<String>) -> Parsed<()> {
        row.clear();
        row.resize(self.names.len(), Cell::Missing);
        let mut cursor = Cursor::new(record, 0);
        cursor.skip_white();
        if cursor.peek() != Some(b'{') {
            return Err(malformed(cursor.at, "not a JSON object"));
        }
        cursor.at += 1;
        cursor.skip_white();
        if cursor.peek() == Some(b'}') {
            cursor.at += 1;
            return cursor.end();
        }
        let mut expected = 0;
        loop {
            let column = self.field(&mut cursor, expected, unknown)?;
            cursor.skip_white();
            let value = cursor.value()?;
            if let Some(index) = column {
                if !matches!(row[index], Cell::Missing) {
                    return Err(Violation::of_column(index, "duplicate_field", "the field is there twice"));
                }
                row[index] = value;
                expected = index + 1;
            }
            cursor.skip_white();
            match cursor.next() {
                Some(b',') => cursor.skip_white(),
                Some(b'}') => return cursor.end(),
                _ => return Err(malformed(cursor.at.saturating_sub(1), "neither `,` nor `}` after a field")),
            }
        }
    }

    /// A field's name and the colon after it; its column, if the plan has one.
    #[inline]
    fn field(
        &self,
        cursor: &mut Cursor,
        expected: usize,
        unknown: &mut Vec<String>,
    ) -> Parsed<Option<usize>> {
        if cursor.next() != Some(b'"') {
            return Err(malformed(cursor.at.saturating_sub(1), "no field name"));
        }
        if let Some(name) = self.names.get(expected) {
            let rest = &cursor.bytes[cursor.at..];
            if rest.len() > name.len() && rest[name.len()] == b'"' && rest.starts_with(name) {
                cursor.at += name.len() + 1;
                cursor.colon()?;
                return Ok(Some(expected));
            }
        }
        let name = cursor.string()?;
        let text = match &name {
            Cell::Owned(text) => text,
            Cell::Str(text) => *text,
            _ => unreachable!("string() gives strings"),
        };
        let column = self.by_name.get(text.as_bytes()).copied();
        if column.is_none() {
            unknown.push(text.to_owned());
        }
        cursor.colon()?;
        Ok(column)
    }
}

/// Reads JSON from a place in a text on.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pub(crate) bytes: &'a [u8],
    /// The place.
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the byte `at`.
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        Self { text, bytes: text.as_bytes(), at }
    }

    /// The byte that is here.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    /// Pass white space.
    #[inline]
    pub(crate) fn skip_white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Pass a text, if that is here.
    #[inline]
    pub(crate) fn accept_literal(&mut self, literal: &Literal) -> bool {
        let found = literal.is_at(self.bytes, self.at);
        self.at += if found { literal.len() } else { 0 };
        found
    }

    /// The name of a field.
    pub(crate) fn name(&mut self) -> Parsed<Cell<'a>> {
        if self.next() != Some(b'"') {
            return Err(malformed(self.at - 1, "no field name"));
        }
        self.string()
    }

    /// After a value: whether another one follows, or `close` ends them.
    #[inline]
    pub(crate) fn goes_on(&mut self, close: u8) -> Parsed<bool> {
        self.skip_white();
        match self.next() {
            Some(b',') => {
                self.skip_white();
                Ok(true)
            }
            Some(byte) if byte == close => Ok(false),
            _ => Err(malformed(self.at - 1, "neither `,` nor a closing bracket")),
        }
    }

    /// Pass the colon after a name.
    #[inline]
    pub(crate) fn colon(&mut self) -> Parsed<()> {
        self.skip_white();
        match self.next() {
            Some(b':') => Ok(()),
            _ => Err(malformed(self.at - 1, "no `:` after a field name")),
        }
    }

    /// Whether nothing is left but white space.
    pub(crate) fn end(&mut self) -> Parsed<()> {
        self.skip_white();
        if self.at == self.bytes.len() { Ok(()) } else { Err(malformed(self.at, "text after the object")) }
    }

    /// The value that begins here.
    #[inline]
    pub(crate) fn value(&mut self) -> Parsed<Cell<'a>> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.literal("null", Cell::Null),
            Some(b't') => self.literal("true", Cell::Bool(true)),
            Some(b'f') => self.literal("false", Cell::Bool(false)),
            Some(b'{' | b'[') => self.nested(),
            _ => Err(malformed(self.at, "no value")),
        }
    }

    fn literal(&mut self, word: &str, value: Cell<'a>) -> Parsed<Cell<'a>> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(malformed(self.at, "no value"))
        }
    }

    #[inline]
    fn number(&mut self) -> Parsed<Cell<'a>> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.at;
        let mut value: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - first;
        if digits == 0 || (digits > 1 && self.bytes[first] == b'0') {
            return Err(malformed(start, "not a number"));
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            self.fraction(start)?;
        } else if digits <= 18 {
            return Ok(Cell::Int(if negative { -value } else { value }));
        }
        let text = &self.text[start..self.at];
        Ok(text.parse().map_or(Cell::Number(text), Cell::Int))
    }

    /// What may follow a number's integer digits: `.5`, `e-3` or both.
    fn fraction(&mut self, start: usize) -> Parsed<()> {
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits(start)?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits(start)?;
        }
        Ok(())
    }

    fn digits(&mut self, start: usize) -> Parsed<()> {
        let first = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == first { Err(malformed(start, "not a number")) } else { Ok(()) }
    }

    /// Pass `byte`; `None` when another one is here.
    pub(crate) fn accept(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    /// The string whose opening quote was just read.
    #[inline]
    pub(crate) fn string(&mut self) -> Parsed<Cell<'a>> {
        let start = self.at;
        self.at += plain_length(&self.bytes[start..]);
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Cell::Str(&self.text[start..self.at - 1]))
            }
            Some(b'\\') => self.escaped(start),
            Some(_) => Err(malformed(self.at, "a control character in a string")),
            None => Err(malformed(start, "a string without an end")),
        }
    }

    /// The rest of a string that has an escape at the cursor.
    #[cold]
    fn escaped(&mut self, start: usize) -> Parsed<Cell<'a>> {
        let mut value = String::from(&self.text[start..self.at]);
        loop {
            match self.next() {
                Some(b'"') => return Ok(Cell::Owned(value.into_boxed_str())),
                Some(b'\\') => value.push(self.escape()?),
                Some(0x20..) => {
                    let plain = self.at - 1;
                    self.at = plain + plain_length(&self.bytes[plain..]);
                    value.push_str(&self.text[plain..self.at]);
                }
                Some(_) => return Err(malformed(self.at - 1, "a control character in a string")),
                None => return Err(malformed(start, "a string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let at = self.at - 1;
        Ok(match self.next() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(malformed(at, "an unknown escape")),
        })
    }

    fn unicode_escape(&mut self, at: usize) -> Parsed<char> {
        let lone = || malformed(at, "half of a surrogate pair");
        let first = self.hex(at)?;
        let code = match first {
            0xD800..0xDC00 => {
                if !self.bytes[self.at.min(self.bytes.len())..].starts_with(b"\\u") {
                    return Err(lone());
                }
                self.at += 2;
                let second = self.hex(at)?;
                if !(0xDC00..0xE000).contains(&second) {
                    return Err(lone());
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex(&mut self, at: usize) -> Parsed<u32> {
        let wrong = || malformed(at, "an unknown escape");
        let digits = self.bytes.get(self.at..self.at + 4).ok_or_else(wrong)?;
        self.at += 4;
        digits
            .iter()
            .try_fold(0, |code, &digit| Some(code * 16 + char::from(digit).to_digit(16)?))
            .ok_or_else(wrong)
    }

    /// An object or array, validated without recursion and kept as it is written.
    fn nested(&mut self) -> Parsed<Cell<'a>> {
        let start = self.at;
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.skip_white();
            let complete = match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if open.len() + 1 == MAX_DEPTH {
                        return Err(malformed(self.at, "nesting that is too deep"));
                    }
                    self.at += 1;
                    self.skip_white();
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    if self.peek() == Some(close) {
                        self.at += 1;
                        true
                    } else {
                        open.push(close);
                        self.nested_name(close)?;
                        false
                    }
                }
                _ => {
                    self.value()?;
                    true
                }
            };
            if complete && self.close_brackets(&mut open)? {
                return Ok(Cell::Nested(&self.text[start..self.at]));
            }
        }
    }

    /// After a complete value: brackets that end here, or the comma before the next value. True at the very end.
    fn close_brackets(&mut self, open: &mut Vec<u8>) -> Parsed<bool> {
        while let Some(&close) = open.last() {
            self.skip_white();
            match self.next() {
                Some(byte) if byte == close => _ = open.pop(),
                Some(b',') => {
                    self.skip_white();
                    self.nested_name(close)?;
                    return Ok(false);
                }
                _ => return Err(malformed(self.at - 1, "neither `,` nor a closing bracket")),
            }
        }
        Ok(true)
    }

    /// In an object, the name and colon before a value.
    fn nested_name(&mut self, close: u8) -> Parsed<()> {
        if close == b'}' {
            if self.next() != Some(b'"') {
                return Err(malformed(self.at - 1, "no field name"));
            }
            self.string()?;
            self.colon()?;
        }
        Ok(())
    }
}

/// Length of the run before the first `"`, `\` or control character, eight bytes at a step.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*block);
        // The classic test for a zero byte, on the word with quote and backslash turned to zero; below 0x20 likewise
        // by subtraction. A false positive can only follow a true one in a higher byte, so the lowest is exact.
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        let found = ((quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGHS;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + bytes[at..]
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
        .unwrap_or(bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parser() -> Parser {
        let column =
            |name: &str, id: i32| serde_json::json!({"name": name, "field_id": id, "type": "string"});
        let plan =
            serde_json::json!({"dataset": "d", "contract": "c", "columns": [column("a", 1), column("b", 2)]});
        Parser::new(&Plan::from_json(&plan.to_string()).expect("a plan"))
    }

    fn parse(record: &str) -> Result<(Row<'_>, Vec<String>), Violation> {
        let (mut row, mut unknown) = (Row::new(), Vec::new());
        parser().parse(record, &mut row, &mut unknown).map(|()| (row, unknown))
    }

    #[test]
    fn fields_come_in_any_order() {
        let expected = vec![Cell::Int(1), Cell::Str("x")];
        assert_eq!(parse(r#"{"a":1,"b":"x"}"#).unwrap().0, expected);
        assert_eq!(parse(r#" { "b" : "x" , "a" : 1 } "#).unwrap().0, expected);
        assert_eq!(
            parse(r#"{"c":[{"d":null},[]],"b":"x","\u0061":1}"#).unwrap(),
            (expected, vec!["c".to_owned()])
        );
    }

    #[test]
    fn escapes_are_resolved() {
        let (row, _) = parse(r#"{"a":"tab\t \u00e9 \ud83d\ude00 \"end\" and more","b":"plain"}"#).unwrap();
        assert_eq!(row[0], Cell::Owned("tab\t é 😀 \"end\" and more".into()));
    }

    #[test]
    fn numbers_keep_what_they_say() {
        let cell = |text: &str| parse(&format!(r#"{{"a":{text}}}"#)).map(|_| ()).is_ok();
        assert_eq!(parse(r#"{"a":-9223372036854775808}"#).unwrap().0[0], Cell::Int(i64::MIN));
        assert_eq!(parse(r#"{"a":9223372036854775808}"#).unwrap().0[0], Cell::Number("9223372036854775808"));
        assert_eq!(parse(r#"{"a":1.50e-3}"#).unwrap().0[0], Cell::Number("1.50e-3"));
        for wrong in ["01", "-", "1.", "1e", ".5", "+1", "NaN", "Infinity", "0x1", "1_000"] {
            assert!(!cell(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_malformed() {
        for wrong in [
            "",
            "{",
            "[]",
            "1",
            "{\"a\"",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "{\"a\":1} x",
            "{a:1}",
            "{\"a\":\"x}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":[1,]}",
            "{\"a\":{\"b\"}}",
            "{\"a\":tru}",
            "{\"a\":\"\\u12",
            "{\"a\":\"\\",
            "{\"a\":[1}",
        ] {
            assert_eq!(parse(wrong).unwrap_err().rule, "malformed", "{wrong}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(&deep).unwrap_err().message.contains("too deep"));
    }

    #[test]
    fn a_field_given_twice_is_named() {
        let violation = parse(r#"{"a":null,"a":1}"#).unwrap_err();
        assert_eq!((violation.rule, violation.column), ("duplicate_field", Some(0)));
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn plain_length_finds_the_first_special_byte(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
                let expected = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(bytes.len());
                prop_assert_eq!(plain_length(&bytes), expected);
            }

            #[test]
            fn what_serde_json_takes_as_an_object_is_taken(text in r#"\{("a"|"b"|"c"):("[a-z\\"é/nu0-9]{0,9}"|-?[0-9.eE]{1,6}|\[[0-9,\[\]{}]{0,5}\]|null|tru?e)(,"b":1)?\}"#) {
                let ours = parse(&text).map_err(|violation| violation.rule);
                let theirs = serde_json::from_str::<serde_json::Value>(&text);
                match ours {
                    Ok(_) => prop_assert!(theirs.is_ok() || theirs.unwrap_err().to_string().contains("range"), "{}", text),
                    Err("duplicate_field") => {}
                    Err(_) => prop_assert!(theirs.is_err(), "{}", text),
                }
            }

            #[test]
            fn any_text_is_parsed_or_refused(text in any::<String>()) {
                let _ = parse(&text);
            }
        }
    }
}

//! Values that are what their column expects, straight from the text into the column.
//!
//! The quick path judges only what it can in a few instructions: an integer within bounds, a text without escapes of a length
//! that is allowed, a value that was judged before. Whatever else it finds it leaves to the general path ([`crate::json`],
//! [`crate::csv`], [`crate::check`]), which says what is wrong, if anything is. So it never rejects a record, and what it
//! accepts the general path would accept with the same values.

use crate::{
    abreast::{Abreast, Alone, Spelling},
    cell::{Cell, Violation},
    check::{Checked, Checker},
    json::Cursor,
    nested,
    plan::{Column, CsvOptions, Kind, Plan, Rule},
    rows::Builder,
    swar,
};

/// How the values of a column are judged.
#[derive(Clone)]
pub struct QuickColumn {
    pub(crate) index: usize,
    pub(crate) required: bool,
    pub(crate) kind: QuickKind,
}

#[derive(Clone, Copy)]
pub(crate) enum QuickKind {
    /// Integers within bounds, both included.
    Integer { low: i64, high: i64 },
    /// Texts of at least and at most so many bytes, which then have as many characters as the contract asks for. `ruled`
    /// when there are rules beyond.
    Text { least: usize, most: usize, ruled: bool },
    /// Floating-point numbers; `ruled` when they have limits.
    Float { ruled: bool },
    /// Booleans.
    Boolean,
    /// Texts that spell a value of another type, by the general path, once each as long as they are remembered.
    Spelled,
    /// Objects and arrays.
    Nested,
    /// Anything, by the general path.
    General,
}

/// What of a chunk is remembered of one column: texts that were judged, and what they came to.
pub struct Memo {
    slots: Vec<(Key, i64)>,
}

/// A text of at most 31 bytes and its length.
type Key = [u64; 4];

const MEMO_SLOTS: usize = 256;

impl Memo {
    fn new() -> Self {
        Self { slots: Vec::new() }
    }

    #[inline(always)]
    fn key(bytes: &[u8], start: usize, stop: usize) -> Option<Key> {
        let length = stop - start;
        if length > 31 {
            return None;
        }
        let word = |offset: usize| swar::first_word(bytes, start + offset, length.saturating_sub(offset));
        Some([word(0), word(8), word(16), word(24) | (length as u64) << 56])
    }

    fn slot(key: &Key) -> usize {
        let mixed = (key[0] ^ key[1].rotate_left(23) ^ key[2].rotate_left(41) ^ key[3])
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize % MEMO_SLOTS
    }

    /// What the text that `bytes` has from `start` up to `stop` came to before, or what `judge` makes of it now.
    #[inline]
    fn judged(
        &mut self,
        bytes: &[u8],
        start: usize,
        stop: usize,
        judge: impl FnOnce() -> Option<i64>,
    ) -> Option<i64> {
        let Some(key) = Self::key(bytes, start, stop) else { return judge() };
        let slot = Self::slot(&key);
        if let Some((known, value)) = self.slots.get(slot)
            && *known == key
        {
            return Some(*value);
        }
        let value = judge()?;
        if self.slots.is_empty() {
            // The empty text has a key of its own, so that no slot is taken for a text that it doesn't hold.
            self.slots = vec![([u64::MAX; 4], 0); MEMO_SLOTS];
        }
        self.slots[slot] = (key, value);
        Some(value)
    }
}

/// What a quick reading needs besides the text.
pub struct Scratch {
    memos: Vec<Memo>,
    pub(crate) violations: Vec<Violation>,
    nested: nested::Scratch,
}

impl Scratch {
    /// Scratch for the plan's columns.
    pub fn new(plan: &Plan) -> Self {
        let memos = plan.columns.iter().map(|_| Memo::new()).collect();
        Self { memos, violations: Vec::new(), nested: nested::Scratch::default() }
    }
}

/// What quick reading is done with.
pub struct Quick {
    /// The plan's columns.
    pub columns: Vec<QuickColumn>,
    /// Checks what is more than the quick path can judge.
    pub checker: Checker,
    /// How CSV fields are told apart.
    pub fields: Fields,
}

impl Quick {
    /// Quick reading by the plan, whose rules `checker` has.
    pub fn new(plan: &Plan, checker: Checker) -> Self {
        let columns = plan.columns.iter().enumerate();
        let columns = columns.map(|(index, column)| QuickColumn::new(index, column, &checker)).collect();
        Self { columns, checker, fields: Fields::new(&plan.csv) }
    }
}

impl QuickKind {
    /// How the values of a column are judged; `bounds` are those of integers without other rules.
    pub(crate) fn of(column: &Column, bounds: Option<(i64, i64)>) -> Self {
        match column.kind {
            Kind::Int32 | Kind::Int64 => {
                bounds.map_or(Self::General, |(low, high)| Self::Integer { low, high })
            }
            Kind::String => text_kind(&column.rules),
            Kind::Float64 => Self::Float { ruled: !column.rules.is_empty() },
            Kind::Boolean if column.rules.is_empty() => Self::Boolean,
            Kind::Date | Kind::Timestamp | Kind::TimestampNtz | Kind::Time => Self::Spelled,
            Kind::Struct | Kind::List => Self::Nested,
            _ => Self::General,
        }
    }
}

impl QuickColumn {
    fn new(index: usize, column: &Column, checker: &Checker) -> Self {
        let kind = QuickKind::of(column, checker.integer_bounds(index));
        Self { index, required: column.required, kind }
    }

    /// So many rows without a value; `false` when there must be one.
    #[inline]
    pub fn absent(&self, rows: usize, columns: &mut [Builder]) -> bool {
        if !self.required {
            (0..rows).for_each(|_| columns[self.index].push_null());
        }
        !self.required
    }

    /// Read the JSON values that stand `skip` bytes after the places `at`, one of each of some records, and move the places on to
    /// after them. `None` when one isn't simply what is expected.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be taken apart again in each")]
    pub fn json<const COUNT: usize>(
        &self,
        abreast: impl Abreast<COUNT>,
        text: &str,
        at: &mut [usize; COUNT],
        skip: usize,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<()> {
        let bytes = text.as_bytes();
        let mut done = 0;
        match self.kind {
            QuickKind::Integer { low, high }
                if abreast.integers(
                    bytes,
                    at,
                    skip,
                    Spelling::Json,
                    (low, high),
                    &mut columns[self.index],
                ) =>
            {
                return Some(());
            }
            QuickKind::Text { .. } | QuickKind::Spelled => {
                for at in &mut *at {
                    let start = *at + skip;
                    let Some(end) = abreast.string_end(bytes, start) else { break };
                    self.text(text, start + 1, end, Cell::Str, checker, columns, scratch)?;
                    *at = end + 1;
                    done += 1;
                }
            }
            _ => {}
        }
        for at in &mut at[done..] {
            *at = self.json_value(text, *at + skip, checker, columns, scratch)?;
        }
        Some(())
    }

    /// Read the JSON value at `at`; the place after it. `None` when it isn't simply what is expected.
    #[inline]
    pub fn json_value(
        &self,
        text: &str,
        at: usize,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let bytes = text.as_bytes();
        let word = swar::word(bytes, at)?;
        if let QuickKind::Integer { low, high } = self.kind
            && let mut stop = [at]
            && Alone.integers(bytes, &mut stop, 0, Spelling::Json, (low, high), &mut columns[self.index])
        {
            return Some(stop[0]);
        }
        if word & 0xffff_ffff == u64::from(u32::from_le_bytes(*b"null")) {
            return self.absent(1, columns).then_some(at + 4);
        }
        match self.kind {
            QuickKind::Integer { .. } => None,
            QuickKind::Text { .. } | QuickKind::Spelled => {
                let stop = Alone.string_end(bytes, at)?;
                self.text(text, at + 1, stop, Cell::Str, checker, columns, scratch)?;
                Some(stop + 1)
            }
            QuickKind::Float { ruled } => {
                let (value, stop) = json_float(bytes, at, word)?;
                self.float(value, ruled, checker, columns, scratch)?;
                Some(stop)
            }
            QuickKind::Boolean => {
                let Builder::Boolean(column) = &mut columns[self.index] else { return None };
                if word & 0xffff_ffff == u64::from(u32::from_le_bytes(*b"true")) {
                    column.push(true);
                    return Some(at + 4);
                }
                if bytes[at..].starts_with(b"false") {
                    column.push(false);
                    return Some(at + 5);
                }
                None
            }
            QuickKind::Nested => {
                let mut cursor = Cursor::new(text, at);
                let mut reader =
                    nested::Reader { violations: &mut scratch.violations, scratch: &mut scratch.nested };
                let read =
                    checker.nested(self.index)?.read(&mut cursor, &mut columns[self.index], &mut reader);
                let simple = read.is_ok()
                    && scratch.violations.is_empty()
                    && scratch.nested.unknown.is_empty()
                    // A line end inside; whether it ends the record is not to be judged here.
                    && memchr::memchr(b'\n', &bytes[at..cursor.at]).is_none();
                scratch.violations.clear();
                scratch.nested.unknown.clear();
                simple.then_some(cursor.at)
            }
            QuickKind::General => {
                let mut cursor = Cursor::new(text, at);
                let cell = cursor.value().ok()?;
                if let Cell::Nested(nested) = &cell
                    && nested.contains('\n')
                {
                    // A line end inside; whether it ends the record is not to be judged here.
                    return None;
                }
                self.general(&cell, checker, columns, scratch)?;
                Some(cursor.at)
            }
        }
    }

    /// Read the CSV fields that stand `skip` bytes after the places `at`, as [`QuickColumn::json`] reads values. None of them may
    /// begin with a quote.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be taken apart again in each")]
    pub fn csv<const COUNT: usize>(
        &self,
        abreast: impl Abreast<COUNT>,
        text: &str,
        at: &mut [usize; COUNT],
        skip: usize,
        fields: &Fields,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<()> {
        // Whether the fields end there is seen when what follows them is read.
        if let QuickKind::Integer { low, high } = self.kind
            && !fields.numeric_nulls
            && abreast.integers(
                text.as_bytes(),
                at,
                skip,
                Spelling::Csv,
                (low, high),
                &mut columns[self.index],
            )
        {
            return Some(());
        }
        for at in at {
            *at = self.csv_field(abreast, text, *at + skip, fields, checker, columns, scratch)?;
        }
        Some(())
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be taken apart again in each")]
    fn csv_field<const COUNT: usize>(
        &self,
        abreast: impl Abreast<COUNT>,
        text: &str,
        at: usize,
        fields: &Fields,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let bytes = text.as_bytes();
        if bytes.get(at) == Some(&fields.quote) {
            return None;
        }
        if let QuickKind::Integer { low, high } = self.kind
            && !fields.numeric_nulls
            && let Some((value, stop)) = swar::integer(bytes, at, swar::word(bytes, at)?)
            && fields.ends(bytes, stop)
        {
            if value < low || value > high {
                return None;
            }
            columns[self.index].push_integers([value]);
            return Some(stop);
        }
        let stop = fields.stop(abreast, bytes, at)?;
        if fields.is_null(&bytes[at..stop]) {
            return self.absent(1, columns).then_some(stop);
        }
        match self.kind {
            QuickKind::Text { .. } | QuickKind::Spelled => {
                self.text(text, at, stop, Cell::Text, checker, columns, scratch)?;
            }
            QuickKind::Nested => return None,
            _ => self.general(&Cell::Text(text.get(at..stop)?), checker, columns, scratch)?,
        }
        Some(stop)
    }

    /// The text from `start` up to `stop`, which may spell a value of another type.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be taken apart again in each")]
    fn text<'a>(
        &self,
        text: &'a str,
        start: usize,
        stop: usize,
        cell: fn(&'a str) -> Cell<'a>,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<()> {
        let ruled = match self.kind {
            QuickKind::Text { least, most, ruled } => {
                if stop - start < least || stop - start > most {
                    return None;
                }
                ruled
            }
            _ => true,
        };
        let mut value = 0;
        if ruled {
            let Scratch { memos, violations, .. } = scratch;
            let judge = || judged(checker, self.index, &cell(text.get(start..stop)?), violations);
            value = memos[self.index].judged(text.as_bytes(), start, stop, judge)?;
        }
        match &mut columns[self.index] {
            Builder::String(column) => column.push(text.as_bytes(), start, stop),
            column => column.push_value(&Cell::Null, value),
        }
        Some(())
    }

    /// Whether a text is what its column takes.
    pub(crate) fn judge_text(&self, text: &str, checker: &Checker, scratch: &mut Scratch) -> bool {
        let Scratch { memos, violations, .. } = scratch;
        let judge = || judged(checker, self.index, &Cell::Str(text), violations);
        memos[self.index].judged(text.as_bytes(), 0, text.len(), judge).is_some()
    }

    #[inline]
    fn float(
        &self,
        value: f64,
        ruled: bool,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<()> {
        if ruled && checker.check(self.index, &Cell::Float(value), &mut scratch.violations) == Checked::Broken
        {
            scratch.violations.clear();
            return None;
        }
        let Builder::Float64(column) = &mut columns[self.index] else { return None };
        column.push(value);
        Some(())
    }

    fn general(
        &self,
        cell: &Cell,
        checker: &Checker,
        columns: &mut [Builder],
        scratch: &mut Scratch,
    ) -> Option<()> {
        let checked = checker.check(self.index, cell, &mut scratch.violations);
        if checked == Checked::Broken {
            scratch.violations.clear();
            return None;
        }
        columns[self.index].push(cell, checked);
        Some(())
    }
}

/// What a cell is checked to be, if it is a value.
fn judged(checker: &Checker, index: usize, cell: &Cell, violations: &mut Vec<Violation>) -> Option<i64> {
    let checked = checker.check(index, cell, violations);
    violations.clear();
    match checked {
        Checked::Value(value) => Some(value),
        _ => None,
    }
}

/// A text has at most as many characters as bytes, and at least one character if it has a byte.
fn text_kind(rules: &[Rule]) -> QuickKind {
    let (mut least, mut most, mut ruled) = (0, usize::MAX, false);
    for rule in rules {
        match rule {
            Rule::MaxLength { value } => most = most.min(*value),
            Rule::MinLength { value } if *value <= 1 => least = least.max(*value),
            _ => ruled = true,
        }
    }
    QuickKind::Text { least, most, ruled }
}

/// A number of at most 15 digits without an exponent. Both its digits and the power of ten are exact in 64 bits, so their
/// quotient is the nearest float (W. D. Clinger, "How to Read Floating Point Numbers Accurately").
#[inline]
fn json_float(bytes: &[u8], at: usize, word: u64) -> Option<(f64, usize)> {
    const POWERS: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    let (whole, stop) = swar::integer(bytes, at, word)?;
    let sign = usize::from(word & 0xff == u64::from(b'-'));
    let count = stop - at - sign;
    if bytes[at + sign] == b'0' && count > 1 {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // fewer than 53 bits
    let float = |value: i64| (value.unsigned_abs() < 1 << 53).then_some(value as f64);
    match bytes.get(stop) {
        Some(b'.') => {
            let (digits, values) = swar::digits(swar::word(bytes, stop + 1)?);
            let after = stop + 1 + digits;
            let goes_on = bytes.get(after).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'e' | b'E'));
            if digits == 0 || goes_on || count + digits > 15 {
                return None;
            }
            let scale = 10_i64.pow(u32::try_from(digits).ok()?);
            let magnitude = whole.abs() * scale + swar::number(values, digits).cast_signed();
            let value = float(magnitude)? / POWERS[digits];
            Some((if sign == 1 { -value } else { value }, after))
        }
        Some(b'e' | b'E') => None,
        _ => Some((float(whole)?, stop)),
    }
}

/// How CSV fields are told apart and which of them are null.
pub struct Fields {
    /// The byte between fields.
    pub delimiter: u8,
    /// The byte around fields.
    pub quote: u8,
    /// The byte that begins a line that is no record.
    pub comment: Option<u8>,
    nulls: Vec<Box<[u8]>>,
    /// Lengths of the null tokens, one bit each; those of 63 bytes and more share the last.
    null_lengths: u64,
    /// Whether a null token, a quote, or a delimiter and what is around it, may be taken for an integer.
    numeric_nulls: bool,
}

impl Fields {
    /// Fields by a contract's options.
    pub fn new(options: &CsvOptions) -> Self {
        let nulls: Vec<Box<[u8]>> = options.null_tokens.iter().map(|token| token.as_bytes().into()).collect();
        let is_numeric = |token: &[u8]| token.last().is_some_and(u8::is_ascii_digit);
        Self {
            delimiter: options.delimiter as u8,
            quote: options.quote as u8,
            comment: options.comment.map(|byte| byte as u8),
            null_lengths: nulls.iter().fold(0, |bits, token| bits | 1 << token.len().min(63)),
            numeric_nulls: nulls.iter().any(|token| is_numeric(token))
                || [options.delimiter, options.quote].iter().any(|byte| matches!(byte, '-' | '0'..='9')),
            nulls,
        }
    }

    #[inline(always)]
    fn is_null(&self, field: &[u8]) -> bool {
        self.null_lengths >> field.len().min(63) & 1 == 1 && self.nulls.iter().any(|token| **token == *field)
    }

    /// Whether a field ends at `at`.
    #[inline(always)]
    fn ends(&self, bytes: &[u8], at: usize) -> bool {
        match bytes.get(at) {
            Some(byte) if *byte == self.delimiter || *byte == b'\n' => true,
            Some(b'\r') => bytes.get(at + 1) == Some(&b'\n'),
            _ => false,
        }
    }

    /// Where the unquoted field that begins at `at` ends.
    #[inline(always)]
    pub fn stop<const COUNT: usize>(
        &self,
        abreast: impl Abreast<COUNT>,
        bytes: &[u8],
        at: usize,
    ) -> Option<usize> {
        let stop = abreast.find_either(bytes, at, self.delimiter, b'\n')?;
        let returns = bytes[stop] == b'\n' && stop > at && bytes[stop - 1] == b'\r';
        Some(stop - usize::from(returns))
    }
}

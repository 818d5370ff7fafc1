//! Distinct values of a column and each row's code, its value's place among them.

use std::borrow::Cow;

use super::rows::Text;
use crate::{profile::Value, scalars::Values, swar};

/// More distinct values than 16-bit codes tell apart are not worth a dictionary in a row group.
const MOST: usize = 1 << 16;
/// Rows after which a column whose values hardly repeat is given up.
const TRIAL: usize = 1 << 14;

/// The distinct values of a column, how often each occurs, and the code of each row that has a value.
pub struct Dictionary<V> {
    pub values: Vec<V>,
    pub counts: Vec<u32>,
    pub codes: Vec<u16>,
}

/// A number of a column.
pub trait Number: Copy + PartialOrd {
    /// Append it as Parquet's plain encoding does.
    fn push_plain(self, out: &mut Vec<u8>);
    /// As the least of a column: of the two zeros, the one that is below the other.
    fn as_least(self) -> Self {
        self
    }
    /// As the greatest of a column.
    fn as_greatest(self) -> Self {
        self
    }
    /// Its bits; equal bits are one value.
    fn bits(self) -> u64;
    /// The float nearest to it.
    fn float(self) -> f64;
    /// As profiles tell it.
    fn value(self) -> Value;
    /// The numbers of a column; `None` when they are others.
    fn of_column<'a>(values: &Values<'a>) -> Option<&'a [Self]>;
    /// The number itself when it is an integer.
    fn integer(self) -> Option<i64>;
    /// The number that `integer` is, which is one of the type.
    fn of_integer(integer: i64) -> Self;
}

impl Number for i32 {
    fn push_plain(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn float(self) -> f64 {
        self.into()
    }

    fn value(self) -> Value {
        Value::Integer(self.into())
    }

    fn of_column<'a>(values: &Values<'a>) -> Option<&'a [Self]> {
        if let Values::Int32(values) = values { Some(values) } else { None }
    }

    fn bits(self) -> u64 {
        u64::from(self.cast_unsigned())
    }

    fn integer(self) -> Option<i64> {
        Some(self.into())
    }

    #[allow(clippy::cast_possible_truncation)]
    fn of_integer(integer: i64) -> Self {
        integer as Self
    }
}

impl Number for i64 {
    fn push_plain(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    #[allow(clippy::cast_precision_loss)]
    fn float(self) -> f64 {
        self as f64
    }

    fn value(self) -> Value {
        Value::Integer(self)
    }

    fn of_column<'a>(values: &Values<'a>) -> Option<&'a [Self]> {
        if let Values::Int64(values) = values { Some(values) } else { None }
    }

    fn bits(self) -> u64 {
        self.cast_unsigned()
    }

    fn integer(self) -> Option<i64> {
        Some(self)
    }

    fn of_integer(integer: i64) -> Self {
        integer
    }
}

impl Number for f64 {
    fn push_plain(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn as_least(self) -> Self {
        if self == 0.0 { -0.0 } else { self }
    }

    fn as_greatest(self) -> Self {
        if self == 0.0 { 0.0 } else { self }
    }

    fn float(self) -> f64 {
        self
    }

    fn value(self) -> Value {
        Value::Float(self)
    }

    fn of_column<'a>(values: &Values<'a>) -> Option<&'a [Self]> {
        if let Values::Float64(values) = values { Some(values) } else { None }
    }

    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn integer(self) -> Option<i64> {
        None
    }

    #[allow(clippy::cast_precision_loss)]
    fn of_integer(integer: i64) -> Self {
        integer as Self
    }
}

/// The dictionary of the numbers in `pieces`; `None` when too few repeat.
pub fn of_numbers<T: Number>(pieces: &[Cow<[T]>]) -> Option<Dictionary<T>> {
    let ends = pieces.iter().filter_map(|piece| range(piece.iter().copied()));
    let (least, greatest) = range(ends.flat_map(|(least, greatest)| [least, greatest]))?;
    let count = pieces.iter().map(|piece| piece.len()).sum();
    if let (Some(least), Some(greatest)) = (least.integer(), greatest.integer())
        && greatest.checked_sub(least).is_some_and(|span| span < MOST as i64)
    {
        return Some(by_place(pieces, count, least, (greatest - least) as usize + 1));
    }
    let mut interner = Interner::new(count);
    for (row, &number) in pieces.iter().flat_map(|piece| piece.iter()).enumerate() {
        let hash = mix(number.bits());
        interner.code(row, hash, (number.bits(), 0), |_| true, || number)?;
    }
    Some(interner.dictionary)
}

/// The least and the greatest of `numbers`; `None` when there is none.
pub fn range<T: Number>(mut numbers: impl Iterator<Item = T>) -> Option<(T, T)> {
    let first = numbers.next()?;
    Some(numbers.fold((first, first), |(least, greatest), number| {
        (if number < least { number } else { least }, if number > greatest { number } else { greatest })
    }))
}

/// Integers close together need no hashing: each has a place in a table of the whole span.
fn by_place<T: Number>(pieces: &[Cow<[T]>], count: usize, least: i64, span: usize) -> Dictionary<T> {
    let place = |number: T| (number.integer().unwrap_or(least) - least) as usize;
    // Two tables in turn: a count that is raised again at once would wait for what has just been written.
    let (mut counts, mut others) = (vec![0u32; span], vec![0u32; span]);
    for piece in pieces {
        let (pairs, last) = piece.as_chunks::<2>();
        for &[one, other] in pairs {
            counts[place(one)] += 1;
            others[place(other)] += 1;
        }
        last.iter().for_each(|&number| counts[place(number)] += 1);
    }
    counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
    let mut values = Vec::new();
    let mut codes_of = vec![0u16; span];
    for place in (0..span).filter(|place| counts[*place] > 0) {
        codes_of[place] = values.len() as u16;
        values.push(T::of_integer(least + place as i64));
    }
    let mut codes = Vec::with_capacity(count);
    for piece in pieces {
        codes.extend(piece.iter().map(|&number| codes_of[place(number)]));
    }
    counts.retain(|count| *count > 0);
    Dictionary { values, counts, codes }
}

/// The dictionary of texts in `rows` rows; `None` when too few repeat or they have more than `most_bytes` together.
pub fn of_texts<'a>(
    rows: usize,
    most_bytes: usize,
    texts: impl Iterator<Item = Text<'a>>,
) -> Option<Dictionary<Text<'a>>> {
    let mut interner = Interner::new(rows);
    let mut size = 0;
    texts.enumerate().try_for_each(|(row, text)| {
        let length = text.bytes.len();
        // Of a short text the word and the length are all there is.
        let is_same = |known: &Text| length <= 8 || known.bytes[8..] == text.bytes[8..];
        interner.code(row, hash(text), (text.word, length), is_same, || {
            size += text.bytes.len();
            text
        })?;
        (size <= most_bytes).then_some(())
    })?;
    Some(interner.dictionary)
}

fn hash(text: Text) -> u64 {
    let mut hash = mix(text.word ^ (text.bytes.len() as u64) << 56);
    for start in (8..text.bytes.len()).step_by(8) {
        hash = mix(hash ^ swar::first_word(text.bytes, start, text.bytes.len() - start));
    }
    hash
}

/// Mix bits: a change of one changes about half of the others.
pub fn mix(bits: u64) -> u64 {
    let product = u128::from(bits ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product >> 64) as u64 ^ product as u64
}

/// Gives values their codes, in the order of their first rows.
struct Interner<V> {
    dictionary: Dictionary<V>,
    /// The values' hashes.
    hashes: Vec<u64>,
    /// By hash; at most half are taken.
    slots: Vec<Slot>,
}

/// A place for a code, with what tells most values apart, so that they themselves needn't be looked at.
#[derive(Clone, Copy, Default)]
struct Slot {
    word: u64,
    length: u32,
    /// The code plus one; 0 where there is none.
    code: u32,
}

impl<V: Copy> Dictionary<V> {
    /// The values with how often each occurs.
    pub fn counted(&self) -> Vec<(V, u32)> {
        self.values.iter().copied().zip(self.counts.iter().copied()).collect()
    }
}

impl<V> Interner<V> {
    fn new(rows: usize) -> Self {
        let dictionary =
            Dictionary { values: Vec::new(), counts: Vec::new(), codes: Vec::with_capacity(rows) };
        Self { dictionary, hashes: Vec::new(), slots: vec![Slot::default(); 1 << 8] }
    }

    /// Code the value of the next row, the `row`th: that with the word and length of which `is_same` is true, or a new one. `None`
    /// when too many rows have values of their own.
    #[inline(always)]
    fn code(
        &mut self,
        row: usize,
        hash: u64,
        (word, length): (u64, usize),
        is_same: impl Fn(&V) -> bool,
        value: impl FnOnce() -> V,
    ) -> Option<()> {
        let mut slot = self.slot(hash);
        let Dictionary { values, counts, codes } = &mut self.dictionary;
        let length = length as u32;
        while let known = self.slots[slot]
            && known.code > 0
        {
            let code = known.code as usize - 1;
            if known.word == word && known.length == length && is_same(&values[code]) {
                counts[code] += 1;
                codes.push(code as u16);
                return Some(());
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let is_vain = row >= TRIAL && values.len() > row - row / 4;
        if values.len() == MOST || is_vain {
            return None;
        }
        self.slots[slot] = Slot { word, length, code: values.len() as u32 + 1 };
        codes.push(values.len() as u16);
        values.push(value());
        counts.push(1);
        self.hashes.push(hash);
        if 2 * self.hashes.len() > self.slots.len() {
            self.grow();
        }
        Some(())
    }

    fn slot(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let twice = vec![Slot::default(); 2 * self.slots.len()];
        for known in std::mem::replace(&mut self.slots, twice).into_iter().filter(|slot| slot.code > 0) {
            let mut slot = self.slot(self.hashes[known.code as usize - 1]);
            while self.slots[slot].code > 0 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = known;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[allow(clippy::ptr_arg)] // what an iterator over strings has
    fn text(text: &String) -> Text<'_> {
        Text { bytes: text.as_bytes(), word: swar::first_word(text.as_bytes(), 0, text.len()) }
    }

    /// The numbers in pieces of seven.
    fn pieces<T: Number>(numbers: &[T]) -> Vec<Cow<'_, [T]>> {
        numbers.chunks(7).map(Cow::Borrowed).collect()
    }

    /// Each row's value again, and that no value is there twice or counted wrongly.
    fn decoded<V: Copy>(dictionary: &Dictionary<V>, is_same: impl Fn(V, V) -> bool) -> Vec<V> {
        let values = &dictionary.values;
        for (code, &value) in values.iter().enumerate() {
            assert!(values[..code].iter().all(|&other| !is_same(other, value)));
            let count = dictionary.codes.iter().filter(|other| usize::from(**other) == code).count();
            assert_eq!(count, dictionary.counts[code] as usize);
        }
        dictionary.codes.iter().map(|code| values[usize::from(*code)]).collect()
    }

    proptest! {
        #[test]
        fn integers_come_back(
            base in prop_oneof![Just(0i64), Just(i64::MIN + 70_000), Just(i64::MAX - 70_000)],
            span in prop_oneof![Just(3i64), Just(65_535), Just(70_000)],
            numbers in prop::collection::vec(any::<u32>(), 1..600),
        ) {
            let numbers: Vec<i64> =
                numbers.into_iter().map(|number| base + i64::from(number) % span).collect();
            let dictionary = of_numbers(&pieces(&numbers)).unwrap();
            prop_assert_eq!(decoded(&dictionary, |a, b| a == b), numbers);
        }

        #[test]
        fn texts_come_back(texts in prop::collection::vec("[ab\\x00]{0,17}", 1..600)) {
            let dictionary = of_texts(texts.len(), usize::MAX, texts.iter().map(text)).unwrap();
            let decoded = decoded(&dictionary, |a, b| a.bytes == b.bytes);
            prop_assert!(decoded.iter().map(|text| text.bytes).eq(texts.iter().map(String::as_bytes)));
        }
    }

    #[test]
    fn floats_are_told_apart_by_their_bits() {
        let dictionary = of_numbers(&pieces(&[0.0, -0.0, 1.5, 0.0])).unwrap();
        assert_eq!((dictionary.values.len(), dictionary.codes), (3, vec![0, 1, 2, 0]));
    }

    #[test]
    fn values_that_do_not_repeat_are_given_up() {
        let numbers: Vec<i64> = (0..100_000).map(|number| number << 20).collect();
        assert!(of_numbers(&pieces(&numbers)).is_none());
        let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
        assert!(of_texts(texts.len(), usize::MAX, texts.iter().map(text)).is_none());
    }
}

//! Eight bytes at a time in a plain 64-bit word: where digits end, where a string ends, what number digits make.
//!
//! Sources: "Bit Twiddling Hacks" (S. E. Anderson) for the byte searches, and D. Lemire, "Quickly parsing eight digits" for the
//! numbers. Words are little-endian, so that a text's first byte is the lowest; a search may mark wrong bytes above the first
//! right one, and only the first is used.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The eight bytes from `at` on; `None` when there are fewer.
#[inline(always)]
pub fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

/// The first eight of the `length` bytes at `start`, as a word; zeros stand for those that there are not.
#[inline(always)]
pub fn first_word(bytes: &[u8], start: usize, length: usize) -> u64 {
    match word(bytes, start) {
        Some(word) if length >= 8 => word,
        Some(word) => word & ((1 << (8 * length)) - 1),
        None if length == 0 => 0,
        None => bytes[start..start + length.min(8)]
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// How many bytes come before the first marked one, 8 when none is marked.
#[inline(always)]
fn before_mark(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// Marks the bytes that are zero.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Marks the bytes that are `byte`.
#[inline(always)]
pub fn equal(word: u64, byte: u8) -> u64 {
    zeros(word ^ (ONES * u64::from(byte)))
}

/// How many digits the word begins with, and their values, one a byte.
#[inline(always)]
pub fn digits(word: u64) -> (usize, u64) {
    let values = word ^ (ONES * u64::from(b'0'));
    let marks = (values.wrapping_add(0x7676_7676_7676_7676) | values) & HIGHS;
    (before_mark(marks), values)
}

/// The number that the first `count` (1 to 8) of `values` make, one digit a byte.
#[inline(always)]
pub fn number(values: u64, count: usize) -> u64 {
    // The digits move to the top, leading zeros come in below.
    let digits = values << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    low.wrapping_add(high) >> 32
}

/// The integer of at most 16 digits at `at`, where `word` is, and the place after it. `None` when there is no digit, or too many.
#[inline(always)]
pub fn integer(bytes: &[u8], at: usize, word: u64) -> Option<(i64, usize)> {
    let sign = usize::from(word & 0xff == u64::from(b'-'));
    // The byte that comes in at the top is zero, which is no digit.
    let (count, values) = digits(word >> (8 * sign));
    if count == 0 {
        return None;
    }
    let mut magnitude = number(values, count).cast_signed();
    let mut stop = at + sign + count;
    if count + sign == 8 {
        let (more, values) = digits(self::word(bytes, stop)?);
        if more == 8 {
            return None;
        }
        if more > 0 {
            const POWERS: [i64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
            magnitude = magnitude * POWERS[more] + number(values, more).cast_signed();
            stop += more;
        }
    }
    let negative = -(sign as i64);
    Some(((magnitude ^ negative) - negative, stop))
}

/// The one to seven digits at `at`, where `word` is, that JSON spells a number with, and the place after them.
#[inline(always)]
pub fn json_natural(at: usize, word: u64) -> Option<(i64, usize)> {
    let (count, values) = digits(word);
    let leading_zero = word & 0xff == u64::from(b'0') && count > 1;
    (matches!(count, 1..=7) && !leading_zero).then(|| (number(values, count).cast_signed(), at + count))
}

/// The digits of an integer as JSON spells it, without needless zeros. `1.5` and `1e3` go on after them, but no record goes
/// on so.
#[inline(always)]
pub fn json_integer(bytes: &[u8], at: usize, word: u64) -> Option<(i64, usize)> {
    let (value, stop) = integer(bytes, at, word)?;
    let sign = usize::from(word & 0xff == u64::from(b'-'));
    let leading_zero = word >> (8 * sign) & 0xff == u64::from(b'0') && stop - at - sign > 1;
    (!leading_zero).then_some((value, stop))
}

/// Where the string that goes on at `at` ends: the place of its closing quote. `None` when it has an escape or a control
/// character, or less than eight bytes are left to look at.
#[inline(always)]
pub fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let word = word(bytes, at)?;
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let marks = equal(word, b'"') | equal(word, b'\\') | controls;
        if marks != 0 {
            at += before_mark(marks);
            return (bytes[at] == b'"').then_some(at);
        }
        at += 8;
    }
}

/// The first place from `at` on that holds one of two bytes. `None` when less than eight bytes are left to look at.
#[inline(always)]
pub fn find_either(bytes: &[u8], mut at: usize, one: u8, other: u8) -> Option<usize> {
    loop {
        let word = word(bytes, at)?;
        let marks = equal(word, one) | equal(word, other);
        if marks != 0 {
            return Some(at + before_mark(marks));
        }
        at += 8;
    }
}

/// A text of at most 24 bytes to be compared in one go: as three words; or of 32, as one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    text: Box<[u8]>,
    words: [u64; 4],
    /// The bits of each word that the text has.
    masks: [u64; 4],
}

const WORDS: [usize; 4] = [0, 8, 16, 24];

impl Literal {
    /// A literal; longer ones than 24 bytes take the general comparison.
    pub fn new(text: &[u8]) -> Self {
        let rest = |offset: usize| text.len().saturating_sub(offset);
        let words = WORDS.map(|offset| first_word(text, offset, rest(offset)));
        let masks =
            WORDS.map(|offset| if rest(offset) < 8 { (1 << (8 * rest(offset))) - 1 } else { u64::MAX });
        Self { text: text.into(), words, masks }
    }

    /// How many bytes it has.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Its words and the bits of them that it has; `None` when it is longer than they are.
    #[inline(always)]
    pub fn window(&self) -> Option<([u64; 4], [u64; 4])> {
        (self.text.len() <= 32).then_some((self.words, self.masks))
    }

    /// Whether `bytes` has it at `at`.
    #[inline(always)]
    pub fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        match bytes.get(at..).and_then(|rest| rest.first_chunk::<24>()) {
            Some(window) if self.text.len() <= 24 => {
                let mut differ = 0;
                for ((expected, mask), offset) in self.words.iter().zip(self.masks).zip(WORDS).take(3) {
                    differ |= (word(window, offset).unwrap_or_default() ^ expected) & mask;
                }
                differ == 0
            }
            _ => bytes.get(at..).is_some_and(|rest| rest.starts_with(&self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_of_any_length_compare_as_slices_do() {
        let text: Vec<u8> = (0..80).collect();
        for len in 0..=40 {
            let literal = Literal::new(&text[10..10 + len]);
            assert!(literal.is_at(&text, 10) && literal.is_at(&text[..10 + len], 10));
            assert_eq!(literal.is_at(&text, 11), len == 0);
            assert_eq!(literal.is_at(&text[..9 + len], 10), len == 0 && 9 >= 10);
        }
    }

    proptest! {
        #[test]
        fn digits_make_the_number_they_spell(value in 0u64..100_000_000, rest in "[^0-9].{8}") {
            let text = format!("{value}{rest}");
            let (count, values) = digits(word(text.as_bytes(), 0).unwrap());
            prop_assert_eq!(count, value.to_string().len());
            prop_assert_eq!(number(values, count), value);
        }

        #[test]
        fn first_words_are_what_a_copy_reads(bytes in prop::collection::vec(any::<u8>(), 0..30), start in 0..30_usize) {
            let start = start.min(bytes.len());
            for stop in start..=bytes.len() {
                let mut copy = [0; 8];
                let length = (stop - start).min(8);
                copy[..length].copy_from_slice(&bytes[start..start + length]);
                prop_assert_eq!(first_word(&bytes, start, stop - start), u64::from_le_bytes(copy));
            }
        }

        #[test]
        fn any_word_has_the_digits_that_a_loop_finds(bytes: [u8; 8]) {
            let expected = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            prop_assert_eq!(digits(u64::from_le_bytes(bytes)).0, expected);
        }

        #[test]
        fn strings_end_where_a_loop_ends_them(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let found = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let expected = found.filter(|at| at / 8 * 8 + 8 <= bytes.len() && bytes[*at] == b'"');
            prop_assert_eq!(string_end(&bytes, 0), expected);
        }

        #[test]
        fn either_byte_is_found_where_a_loop_finds_it(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let found = bytes.iter().position(|byte| matches!(byte, b',' | b'\n'));
            prop_assert_eq!(find_either(&bytes, 0, b',', b'\n'), found.filter(|at| at / 8 * 8 + 8 <= bytes.len()));
        }
    }
}

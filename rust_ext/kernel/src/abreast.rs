//! Values of several records, read side by side.
//!
//! Records that are written alike have the same field at the same time: one comparison tells that it is there in all of them,
//! and a processor with vectors of 32 bytes reads four integers in about the steps that one takes.

use crate::{
    rows::Builder,
    swar::{self, Literal},
};

/// How many records are read side by side where that is faster than one after the other.
pub const MANY: usize = 4;

/// A way to read the same value of `COUNT` records.
pub trait Abreast<const COUNT: usize>: Copy {
    /// Whether `bytes` has the literal at all these places; `false` may also mean that this way can't tell.
    fn are_at(self, literal: &Literal, bytes: &[u8], at: &[usize; COUNT]) -> bool;

    /// Read integers that are so spelled, each within `limits` (both included), `skip` bytes after these places: add them to the
    /// column and move the places on to after them. `false` when one is something else, or longer than this way reads,
    /// and then nothing was done.
    fn integers(
        self,
        bytes: &[u8],
        at: &mut [usize; COUNT],
        skip: usize,
        spelling: Spelling,
        limits: (i64, i64),
        column: &mut Builder,
    ) -> bool;

    /// The place of the closing quote of the string that begins at `at`. `None` when that is something else, has an escape or a
    /// control character, or is longer than this way reads.
    fn string_end(self, bytes: &[u8], at: usize) -> Option<usize>;

    /// The first place from `at` on that holds one of two bytes. `None` when it is farther than this way looks.
    fn find_either(self, bytes: &[u8], at: usize, one: u8, other: u8) -> Option<usize>;
}

/// How integers are spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Without needless zeros.
    Json,
    /// As anybody likes.
    Csv,
}

/// Work that reads records side by side. Its `run` is to be inlined always: what isn't is not compiled for the processor.
pub trait Work {
    /// What it comes to.
    type Output;

    /// Do it.
    fn run(self, avx2: Avx2) -> Self::Output;
}

/// One record at a time, with words of 64 bits.
#[derive(Clone, Copy)]
pub struct Alone;

impl Abreast<1> for Alone {
    #[inline(always)]
    fn are_at(self, literal: &Literal, bytes: &[u8], [at]: &[usize; 1]) -> bool {
        literal.is_at(bytes, *at)
    }

    #[inline(always)]
    fn integers(
        self,
        bytes: &[u8],
        [at]: &mut [usize; 1],
        skip: usize,
        spelling: Spelling,
        (low, high): (i64, i64),
        column: &mut Builder,
    ) -> bool {
        let start = *at + skip;
        let Some(word) = swar::word(bytes, start) else { return false };
        let found = match spelling {
            // Most columns take no number below 0, and most numbers are short: they are read in half as many steps.
            Spelling::Json if low >= 0 => {
                swar::json_natural(start, word).or_else(|| swar::json_integer(bytes, start, word))
            }
            Spelling::Json => swar::json_integer(bytes, start, word),
            // A field that goes on after its digits may be null or another number, which is the caller's to tell.
            Spelling::Csv => None,
        };
        match found {
            Some((value, stop)) if value >= low && value <= high => {
                column.push_integers([value]);
                *at = stop;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    fn string_end(self, bytes: &[u8], at: usize) -> Option<usize> {
        if bytes.get(at) == Some(&b'"') { swar::string_end(bytes, at + 1) } else { None }
    }

    #[inline(always)]
    fn find_either(self, bytes: &[u8], at: usize, one: u8, other: u8) -> Option<usize> {
        swar::find_either(bytes, at, one, other)
    }
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Abreast, MANY, Spelling, Work};
    use crate::{
        rows::Builder,
        swar::{self, Literal},
    };

    /// Four records at a time, with vectors of 32 bytes (AVX2). There is none where the processor doesn't have them.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    impl Avx2 {
        /// That way, where the processor has it.
        pub fn detect() -> Option<Self> {
            let has_it = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2");
            has_it.then_some(Self(()))
        }

        /// What `work` comes to, compiled for such a processor.
        pub fn run<W: Work>(self, work: W) -> W::Output {
            #[target_feature(enable = "avx2,bmi1,bmi2")]
            fn compiled<W: Work>(work: W, avx2: Avx2) -> W::Output {
                work.run(avx2)
            }
            // SAFETY: see `detect`.
            unsafe { compiled(work, self) }
        }
    }

    impl Abreast<MANY> for Avx2 {
        #[inline(always)]
        fn are_at(self, literal: &Literal, bytes: &[u8], at: &[usize; MANY]) -> bool {
            // SAFETY: see `detect`.
            unsafe { are_at(literal, bytes, at) }
        }

        #[inline(always)]
        fn integers(
            self,
            bytes: &[u8],
            at: &mut [usize; MANY],
            skip: usize,
            spelling: Spelling,
            limits: (i64, i64),
            column: &mut Builder,
        ) -> bool {
            // SAFETY: see `detect`.
            unsafe { integers(bytes, at, skip, spelling, limits, column) }
        }

        #[inline(always)]
        fn string_end(self, bytes: &[u8], at: usize) -> Option<usize> {
            // SAFETY: see `detect`.
            unsafe { string_end(bytes, at) }
        }

        #[inline(always)]
        fn find_either(self, bytes: &[u8], at: usize, one: u8, other: u8) -> Option<usize> {
            // SAFETY: see `detect`.
            unsafe { find_either(bytes, at, one, other) }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn vector(words: [u64; 4]) -> __m256i {
        let [a, b, c, d] = words.map(u64::cast_signed);
        _mm256_set_epi64x(d, c, b, a)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn words(vector: __m256i) -> [i64; 4] {
        [
            _mm256_extract_epi64::<0>(vector),
            _mm256_extract_epi64::<1>(vector),
            _mm256_extract_epi64::<2>(vector),
            _mm256_extract_epi64::<3>(vector),
        ]
    }

    /// The 32 bytes at `at`; `None` when there are fewer.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn window(bytes: &[u8], at: usize) -> Option<__m256i> {
        let window = bytes.get(at..)?.first_chunk::<32>()?;
        let word = |index: usize| swar::word(window, 8 * index).unwrap_or_default();
        Some(vector([word(0), word(1), word(2), word(3)]))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn are_at(literal: &Literal, bytes: &[u8], at: &[usize; MANY]) -> bool {
        let Some((expected, mask)) = literal.window() else { return false };
        let (expected, mask) = (vector(expected), vector(mask));
        let mut differ = _mm256_setzero_si256();
        for at in at {
            let Some(found) = window(bytes, *at) else { return false };
            differ = _mm256_or_si256(differ, _mm256_xor_si256(found, expected));
        }
        _mm256_testz_si256(differ, mask) == 1
    }

    /// A lane of 64 bits for each number: its digits are moved to the top, then neighbours are put together (W. Muła, "SIMD-ized
    /// conversion of numbers").
    #[target_feature(enable = "avx2")]
    #[inline]
    fn integers(
        bytes: &[u8],
        at: &mut [usize; MANY],
        skip: usize,
        spelling: Spelling,
        (low, high): (i64, i64),
        column: &mut Builder,
    ) -> bool {
        /// The bit of each number's first byte.
        const FIRSTS: i32 = 0x0101_0101;
        let text = |lane: usize| swar::word(bytes, at[lane] + skip);
        let (Some(a), Some(b), Some(c), Some(d)) = (text(0), text(1), text(2), text(3)) else { return false };
        let (zero, ones) = (_mm256_setzero_si256(), _mm256_set1_epi8(1));
        let (mut text, mut negative) = (vector([a, b, c, d]), zero);
        if low < 0 {
            let first = _mm256_and_si256(text, _mm256_set1_epi64x(0xff));
            negative = _mm256_cmpeq_epi64(first, _mm256_set1_epi64x(i64::from(b'-')));
            text = _mm256_srlv_epi64(text, _mm256_and_si256(negative, _mm256_set1_epi64x(8)));
        }
        let values = _mm256_xor_si256(text, _mm256_set1_epi8(b'0'.cast_signed()));
        let is_digit = _mm256_cmpeq_epi8(_mm256_min_epu8(values, _mm256_set1_epi8(9)), values);
        let digits = _mm256_movemask_epi8(is_digit);
        let zeros = _mm256_movemask_epi8(_mm256_cmpeq_epi8(values, zero));
        let needless_zeros = zeros & digits >> 1 & FIRSTS;
        // The bits below the first one of a byte that is no digit: as many bytes of them as there are digits. Where all eight
        // bytes are digits there may be more of them, but no record goes on with one.
        let others = _mm256_cmpeq_epi8(is_digit, zero);
        let first_other = _mm256_and_si256(others, _mm256_sub_epi64(zero, others));
        let below = _mm256_sub_epi64(first_other, _mm256_set1_epi64x(1));
        let counts = _mm256_sad_epu8(_mm256_and_si256(below, ones), zero);
        let shifts = _mm256_sub_epi64(_mm256_set1_epi64x(64), _mm256_slli_epi64::<3>(counts));
        let aligned = _mm256_sllv_epi64(values, shifts);
        let of_two = _mm256_maddubs_epi16(aligned, _mm256_set1_epi16(0x010a)); // 10 and 1
        let of_four = _mm256_madd_epi16(of_two, _mm256_set1_epi32(0x0001_0064)); // 100 and 1
        let magnitudes = _mm256_add_epi64(
            _mm256_mul_epu32(of_four, _mm256_set1_epi64x(10_000)),
            _mm256_srli_epi64::<32>(of_four),
        );
        let numbers = _mm256_sub_epi64(_mm256_xor_si256(magnitudes, negative), negative);
        let beyond = _mm256_or_si256(
            _mm256_cmpgt_epi64(_mm256_set1_epi64x(low), numbers),
            _mm256_cmpgt_epi64(numbers, _mm256_set1_epi64x(high)),
        );
        let is_misspelled = needless_zeros != 0 && spelling == Spelling::Json;
        if digits & FIRSTS != FIRSTS || is_misspelled || _mm256_testz_si256(beyond, beyond) == 0 {
            return false;
        }
        // Where the next field begins is told by the other bytes' bits, which takes less time than adding up the counts.
        let others = !u64::from(digits.cast_unsigned());
        let signs = _mm256_movemask_pd(_mm256_castsi256_pd(negative)) as usize;
        for (lane, at) in at.iter_mut().enumerate() {
            let length = (others >> (8 * lane) | 1 << 8).trailing_zeros() as usize;
            *at += skip + length + (signs >> lane & 1);
        }
        column.push_integers(words(numbers));
        true
    }

    #[target_feature(enable = "avx2,bmi1")]
    #[inline]
    fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
        let text = window(bytes, at)?;
        let is_quote = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'"'.cast_signed()));
        let is_escape = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'\\'.cast_signed()));
        let is_control = _mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text);
        let quotes = _mm256_movemask_epi8(is_quote).cast_unsigned();
        let marks = quotes | _mm256_movemask_epi8(_mm256_or_si256(is_escape, is_control)).cast_unsigned();
        let after_first = marks & !1;
        // The lowest bit that is set is that of the closing quote.
        let closing = after_first & after_first.wrapping_neg();
        (quotes & 1 == 1 && quotes & closing != 0).then(|| at + closing.trailing_zeros() as usize)
    }

    #[target_feature(enable = "avx2,bmi1")]
    #[inline]
    fn find_either(bytes: &[u8], at: usize, one: u8, other: u8) -> Option<usize> {
        let text = window(bytes, at)?;
        let is_one = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(one.cast_signed()));
        let is_other = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(other.cast_signed()));
        let marks = _mm256_movemask_epi8(_mm256_or_si256(is_one, is_other));
        (marks != 0).then(|| at + marks.trailing_zeros() as usize)
    }
}

/// No processor of this kind has it.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub enum Avx2 {}

#[cfg(not(target_arch = "x86_64"))]
mod none {
    use super::{Abreast, Avx2, MANY, Spelling, Work};
    use crate::{rows::Builder, swar::Literal};

    impl Avx2 {
        /// None.
        pub fn detect() -> Option<Self> {
            None
        }

        /// Never called.
        pub fn run<W: Work>(self, _work: W) -> W::Output {
            match self {}
        }
    }

    impl Abreast<MANY> for Avx2 {
        fn are_at(self, _: &Literal, _: &[u8], _: &[usize; MANY]) -> bool {
            match self {}
        }

        fn integers(
            self,
            _: &[u8],
            _: &mut [usize; MANY],
            _: usize,
            _: Spelling,
            _: (i64, i64),
            _: &mut Builder,
        ) -> bool {
            match self {}
        }

        fn string_end(self, _: &[u8], _: usize) -> Option<usize> {
            match self {}
        }

        fn find_either(self, _: &[u8], _: usize, _: u8, _: u8) -> Option<usize> {
            match self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Plan;

    fn column() -> Builder {
        let plan = serde_json::json!({"dataset": "d", "contract": "c",
            "columns": [{"name": "a", "field_id": 1, "type": "int64"}]});
        Builder::new(&Plan::from_json(&plan.to_string()).unwrap().columns[0], 0)
    }

    fn values(column: Builder) -> Vec<i64> {
        let array = column.finish(arrow::datatypes::DataType::Int64).unwrap();
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&array).values().to_vec()
    }

    /// The texts one after the other, something after them, and where each begins.
    fn joined(texts: &[String; MANY], rest: usize) -> (Vec<u8>, [usize; MANY]) {
        let (mut bytes, mut at) = (Vec::new(), [0; MANY]);
        for (text, at) in texts.iter().zip(&mut at) {
            *at = bytes.len();
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.resize(bytes.len() + rest, b' ');
        (bytes, at)
    }

    proptest! {
        #[test]
        fn integers_side_by_side_are_those_that_std_reads(
            texts in prop::array::uniform4("-?[0-9]{1,7}[,}.e]|-?[0-9]{0,9}[ -~]"),
            rest in 0..40_usize,
            limits in prop_oneof![Just((i64::MIN, i64::MAX)), (-1000..1i64, 0..10_000i64)],
            skip in 0..2_usize,
            is_json: bool,
        ) {
            let Some(avx2) = Avx2::detect() else { return Ok(()) };
            let (mut bytes, mut at) = joined(&texts, rest);
            bytes.splice(0..0, vec![b'x'; skip]);
            let spelling = if is_json { Spelling::Json } else { Spelling::Csv };
            let (starts, mut together) = (at, column());
            let read = avx2.integers(&bytes, &mut at, skip, spelling, limits, &mut together);
            let numbers = starts.map(|at| {
                let text = std::str::from_utf8(&bytes[at + skip..]).unwrap();
                let length = text.char_indices().take_while(|(at, one)| one.is_ascii_digit() || (*at == 0 && *one == '-'));
                &text[..length.count()]
            });
            let parsed = numbers.map(|number| {
                let value = number.parse().ok().filter(|value| limits.0 <= *value && *value <= limits.1);
                let digits = number.trim_start_matches('-');
                // A column that takes nothing below 0 has no use for signs: `-0` is left to others.
                let is_spelled = (limits.0 < 0 || digits == number)
                    && !(is_json && digits.len() > 1 && digits.starts_with('0'));
                value.filter(|_| is_spelled)
            });
            let longest = numbers.iter().map(|number| number.len()).max().unwrap_or_default();
            if longest < 8 {
                let all = parsed.iter().all(Option::is_some);
                prop_assert_eq!(read, all && starts[MANY - 1] + skip + 8 <= bytes.len());
            }
            if read && longest <= 8 {
                prop_assert_eq!(values(together), parsed.map(Option::unwrap));
                let stops: [usize; MANY] = std::array::from_fn(|one| starts[one] + skip + numbers[one].len());
                prop_assert_eq!(at, stops);
            } else if !read {
                prop_assert_eq!((values(together).len(), at), (0, starts));
            }
        }

        #[test]
        fn ends_are_found_where_they_are_found_one_by_one(
            text in "\"[ -~]{0,40}[\"\\\\,\n\u{1}]?[ -~é]{0,40}",
            at in 0..20_usize,
        ) {
            let Some(avx2) = Avx2::detect() else { return Ok(()) };
            let bytes = text.as_bytes();
            let is_near = |stop: usize| stop < at + 32 && at + 32 <= bytes.len();
            let pairs = [
                (avx2.string_end(bytes, at), Alone.string_end(bytes, at)),
                (avx2.find_either(bytes, at, b',', b'\n'), Alone.find_either(bytes, at, b',', b'\n')),
            ];
            for (found, alone) in pairs {
                prop_assert_eq!(found, alone.filter(|stop| is_near(*stop)));
            }
        }

        #[test]
        fn literals_are_at_all_places_or_not(
            literal in "[ab]{1,34}",
            others in prop::array::uniform4(prop::option::of("[ab]{1,34}")),
            rest in 0..40_usize,
        ) {
            let Some(avx2) = Avx2::detect() else { return Ok(()) };
            let (bytes, at) = joined(&others.map(|other| other.unwrap_or_else(|| literal.clone())), rest);
            let literal = Literal::new(literal.as_bytes());
            let all = at.iter().all(|at| literal.is_at(&bytes, *at));
            let can_tell = literal.len() <= 32 && at.iter().all(|at| at + 32 <= bytes.len());
            prop_assert_eq!(avx2.are_at(&literal, &bytes, &at), all && can_tell);
        }
    }
}

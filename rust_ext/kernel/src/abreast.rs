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

    /// Read integers as JSON spells them, each within `limits` (both included), `skip` bytes after these places: add them to the
    /// column and move the places on to after them. `false` when one is something else, or longer than this way reads,
    /// and then nothing was done.
    fn integers(
        self,
        bytes: &[u8],
        at: &mut [usize; COUNT],
        skip: usize,
        limits: (i64, i64),
        column: &mut Builder,
    ) -> bool;

    /// The place of the closing quote of the string that begins at `at`. `None` when that is something else, has an escape or a
    /// control character, or is longer than this way reads.
    fn string_end(self, bytes: &[u8], at: usize) -> Option<usize>;
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
        (low, high): (i64, i64),
        column: &mut Builder,
    ) -> bool {
        let start = *at + skip;
        let Some(word) = swar::word(bytes, start) else { return false };
        // Most columns take no number below 0, and most numbers are short: they are read in half as many steps.
        let short = if low >= 0 { swar::json_natural(start, word) } else { None };
        match short.or_else(|| swar::json_integer(bytes, start, word)) {
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
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use std::ops::Range;

    use super::{Abreast, MANY};
    use crate::{quick::{Quick, Scratch}, rows::{Builder, Rows}, swar::{self, Literal}, template::Template};

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

        /// [`Template::read`], compiled for such a processor.
        pub fn read_template(
            self,
            template: &mut Template,
            text: &str,
            records: &[Range<usize>; MANY],
            quick: &Quick,
            rows: &mut Rows,
            scratch: &mut Scratch,
        ) -> bool {
            #[target_feature(enable = "avx2,bmi1,bmi2")]
            fn read(
                avx2: Avx2,
                template: &mut Template,
                text: &str,
                records: &[Range<usize>; MANY],
                quick: &Quick,
                rows: &mut Rows,
                scratch: &mut Scratch,
            ) -> bool {
                template.read(avx2, text, records, quick, rows, scratch)
            }
            // SAFETY: see `detect`.
            unsafe { read(self, template, text, records, quick, rows, scratch) }
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
            limits: (i64, i64),
            column: &mut Builder,
        ) -> bool {
            // SAFETY: see `detect`.
            unsafe { integers(bytes, at, skip, limits, column) }
        }

        #[inline(always)]
        fn string_end(self, bytes: &[u8], at: usize) -> Option<usize> {
            // SAFETY: see `detect`.
            unsafe { string_end(bytes, at) }
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
        if digits & FIRSTS != FIRSTS || needless_zeros != 0 || _mm256_testz_si256(beyond, beyond) == 0 {
            return false;
        }
        // Where the next field begins is told by the other bytes' bits, which takes less time than adding up the counts.
        let others = !u64::from(digits.cast_unsigned());
        let signs = _mm256_movemask_pd(_mm256_castsi256_pd(negative)) as usize;
        for (lane, at) in at.iter_mut().enumerate() {
            *at += skip + (others >> (8 * lane)).trailing_zeros() as usize + (signs >> lane & 1);
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
}

/// No processor of this kind has it.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub enum Avx2 {}

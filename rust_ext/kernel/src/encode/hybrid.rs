//! Parquet's hybrid of runs and bit-packed groups of eight (Parquet format, "Encodings", RLE/Bit-Packing Hybrid).

/// A run of fewer equal codes is packed like its neighbours. Runs of narrow codes must be longer to be worth their headers.
const fn least_run(width: u8) -> usize {
    if width > 4 { 8 } else { 32 }
}

/// How many bits codes below `count` take.
pub fn width(count: usize) -> u8 {
    let bits = usize::BITS - count.saturating_sub(1).leading_zeros();
    u8::try_from(bits).expect("a word has fewer than 256 bits")
}

/// Append the codes, each of `width` bits.
pub fn codes(codes: &[u16], width: u8, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < codes.len() {
        let run = run_length(&codes[at..]);
        if run >= least_run(width) {
            push_run(run, codes[at], width, out);
            at += run;
            continue;
        }
        let start = at;
        at += 8;
        while at < codes.len() && !starts_run(&codes[at..], width) {
            at += 8;
        }
        pack(&codes[start..at.min(codes.len())], width, out);
    }
}

/// Append `count` times `code`.
pub fn push_run(count: usize, code: u16, width: u8, out: &mut Vec<u8>) {
    varint(count << 1, out);
    out.extend_from_slice(&code.to_le_bytes()[..usize::from(width).div_ceil(8)]);
}

/// Append levels of one bit, which `bits` has packed, the first in the lowest bit.
pub fn bits(bits: &[u8], count: usize, out: &mut Vec<u8>) {
    const LEAST_RUN: usize = 4;
    let whole = &bits[..count / 8];
    let run = |at: usize| whole[at..].iter().take_while(|byte| **byte == whole[at]).count();
    let is_run = |at: usize| matches!(whole[at], 0 | 0xff) && run(at) >= LEAST_RUN;
    let mut at = 0;
    while at < whole.len() {
        if is_run(at) {
            let length = run(at);
            push_run(length * 8, u16::from(whole[at] & 1), 1, out);
            at += length;
            continue;
        }
        let start = at;
        while at < whole.len() && !is_run(at) {
            at += 1;
        }
        varint((at - start) << 1 | 1, out);
        out.extend_from_slice(&whole[start..at]);
    }
    if !count.is_multiple_of(8) {
        varint(1 << 1 | 1, out);
        out.push(bits[count / 8]);
    }
}

fn run_length(codes: &[u16]) -> usize {
    let mut length = 0;
    for group in codes.chunks(8) {
        if !all_are(group, codes[0]) {
            return length + group.iter().take_while(|code| **code == codes[0]).count();
        }
        length += group.len();
    }
    length
}

#[inline]
fn starts_run(codes: &[u16], width: u8) -> bool {
    codes.len() >= 8 && all_are(&codes[..8], codes[0]) && run_length(codes) >= least_run(width)
}

#[inline]
fn all_are(codes: &[u16], code: u16) -> bool {
    codes.iter().fold(0, |difference, other| difference | (other ^ code)) == 0
}

/// Append one bit-packed run; the last group may be cut short and is filled with zeros.
fn pack(codes: &[u16], width: u8, out: &mut Vec<u8>) {
    let groups = codes.len().div_ceil(8);
    varint(groups << 1 | 1, out);
    let start = out.len();
    let width = usize::from(width);
    // Each group is stored as sixteen bytes, of which the next one overwrites those past its width.
    out.resize(start + groups * width + 16, 0);
    let mut at = start;
    let mut eights = codes.chunks_exact(8);
    for eight in &mut eights {
        let eight: &[u16; 8] = eight.try_into().expect("chunks of eight");
        out[at..at + 16].copy_from_slice(&packed(eight, width).to_le_bytes());
        at += width;
    }
    let rest = eights.remainder();
    if !rest.is_empty() {
        let mut eight = [0; 8];
        eight[..rest.len()].copy_from_slice(rest);
        out[at..at + 16].copy_from_slice(&packed(&eight, width).to_le_bytes());
        at += width;
    }
    out.truncate(at);
}

#[inline(always)]
fn packed(codes: &[u16; 8], width: usize) -> u128 {
    let four = |codes: &[u16]| {
        u64::from(codes[0])
            | u64::from(codes[1]) << width
            | u64::from(codes[2]) << (2 * width)
            | u64::from(codes[3]) << (3 * width)
    };
    u128::from(four(&codes[..4])) | u128::from(four(&codes[4..])) << (4 * width)
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the format's page says it: headers, then runs or groups.
    fn decode(mut bytes: &[u8], width: u8, count: usize) -> Vec<u16> {
        let mut codes = Vec::new();
        let take = |bytes: &mut &[u8], length: usize| {
            let (taken, rest) = bytes.split_at(length);
            *bytes = rest;
            taken.to_vec()
        };
        while codes.len() < count {
            let (mut header, mut shift) = (0usize, 0);
            loop {
                let byte = take(&mut bytes, 1)[0];
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let value = take(&mut bytes, usize::from(width).div_ceil(8));
                let value = value.iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte));
                codes.extend(std::iter::repeat_n(value, header >> 1));
            } else {
                let packed = take(&mut bytes, (header >> 1) * usize::from(width));
                let bit = |at: usize| u16::from(packed[at / 8] >> (at % 8) & 1);
                for code in 0..(header >> 1) * 8 {
                    let first = code * usize::from(width);
                    codes.push((0..usize::from(width)).map(|at| bit(first + at) << at).sum());
                }
            }
        }
        assert!(bytes.is_empty());
        codes.truncate(count);
        codes
    }

    fn stretches() -> impl Strategy<Value = (u8, Vec<u16>)> {
        (0u8..=16).prop_flat_map(|width| {
            let most = ((1u32 << width) - 1) as u16;
            let stretch = (0..=most, prop_oneof![Just(1usize), 1usize..100]);
            let codes = prop::collection::vec(stretch, 0..60).prop_map(|stretches| {
                stretches.into_iter().flat_map(|(code, times)| std::iter::repeat_n(code, times)).collect()
            });
            (Just(width), codes)
        })
    }

    proptest! {
        #[test]
        fn codes_come_back((width, values) in stretches()) {
            let mut out = Vec::new();
            codes(&values, width, &mut out);
            prop_assert_eq!(decode(&out, width, values.len()), values);
        }

        #[test]
        fn levels_come_back(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 1..100),
            short in 0usize..8,
        ) {
            let count = bytes.len() * 8 - short;
            let mut out = Vec::new();
            bits(&bytes, count, &mut out);
            let expected: Vec<u16> = (0..count).map(|at| u16::from(bytes[at / 8] >> (at % 8) & 1)).collect();
            prop_assert_eq!(decode(&out, 1, count), expected);
        }
    }

    #[test]
    fn as_many_bits_as_the_largest_code_takes() {
        assert_eq!([1, 2, 3, 256, 257, 65_536].map(width), [0, 1, 2, 8, 9, 16]);
    }
}

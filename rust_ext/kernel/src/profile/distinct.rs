//! How many distinct values there are, about.

use serde::{Deserialize, Serialize};

/// Bits of a hash that choose the register; 2¹¹ registers are off by 2.3% (one standard deviation).
const PRECISION: u32 = 11;
const REGISTERS: usize = 1 << PRECISION;
/// Up to so many values are counted exactly.
const EXACT: usize = 256;

/// Counts distinct 64-bit hashes: a few exactly, many by a HyperLogLog sketch.
///
/// Source of the estimate: O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), section 4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Distinct {
    /// The hashes themselves, sorted.
    Few(Vec<u64>),
    /// For each register the longest run of zeros among its hashes, plus one.
    Many(Vec<u8>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Distinct {
    /// Add a value's hash.
    pub fn add(&mut self, hash: u64) {
        match self {
            Self::Few(hashes) => {
                if let Err(place) = hashes.binary_search(&hash) {
                    hashes.insert(place, hash);
                    if hashes.len() > EXACT {
                        *self = Self::registers(hashes);
                    }
                }
            }
            Self::Many(registers) => add(registers, hash),
        }
    }

    /// Add all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Few(hashes)) => hashes.iter().for_each(|hash| self.add(*hash)),
            (Self::Few(hashes), Self::Many(registers)) => {
                let mut registers = registers.clone();
                hashes.iter().for_each(|hash| add(&mut registers, *hash));
                *self = Self::Many(registers);
            }
            (Self::Many(ours), Self::Many(theirs)) => {
                for (ours, theirs) in ours.iter_mut().zip(theirs) {
                    *ours = (*ours).max(*theirs);
                }
            }
        }
    }

    fn registers(hashes: &[u64]) -> Self {
        let mut registers = vec![0; REGISTERS];
        hashes.iter().for_each(|hash| add(&mut registers, *hash));
        Self::Many(registers)
    }

    /// How many there are, about.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn estimate(&self) -> u64 {
        const HIGHEST: usize = (64 - PRECISION) as usize + 1;
        let registers = match self {
            Self::Few(hashes) => return hashes.len() as u64,
            Self::Many(registers) => registers,
        };
        let mut counts = [0.0; HIGHEST + 1];
        registers.iter().for_each(|register| counts[usize::from(*register).min(HIGHEST)] += 1.0);
        let size = REGISTERS as f64;
        let mut sum = size * tau(1.0 - counts[HIGHEST] / size);
        for count in counts[1..HIGHEST].iter().rev() {
            sum = 0.5 * (sum + count);
        }
        sum += size * sigma(counts[0] / size);
        (size * size / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
    }
}

fn add(registers: &mut [u8], hash: u64) {
    let register = &mut registers[(hash >> (64 - PRECISION)) as usize % REGISTERS];
    let zeros = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() as u8;
    *register = (*register).max(zeros + 1);
}

fn sigma(x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::hash_number;

    #[test]
    fn counts_are_near() {
        for count in [0u64, 1, 256, 257, 2_000, 10_000, 1_000_000] {
            let mut distinct = Distinct::default();
            (0..count).for_each(|number| distinct.add(hash_number(number * 1000)));
            let off = (distinct.estimate() as f64 - count as f64).abs() / (count.max(1) as f64);
            assert!(off < 0.08, "{count}: {}", distinct.estimate());
        }
    }

    #[test]
    fn parts_merged_are_the_whole() {
        for sizes in [[100u64, 100], [100, 5_000], [5_000, 100], [5_000, 5_000]] {
            let of = |from: u64, to: u64| {
                let mut distinct = Distinct::default();
                (from..to).for_each(|number| distinct.add(hash_number(number)));
                distinct
            };
            let mut merged = of(0, sizes[0]);
            merged.merge(&of(sizes[0] - 50, sizes[0] + sizes[1]));
            assert_eq!(merged, of(0, sizes[0] + sizes[1]));
        }
    }
}

//! Quantiles, about.

use serde::{Deserialize, Serialize};

/// Fewer values than this are kept as they are.
const EXACT: usize = 400;
/// How fine the digest is when there are more: at most so many centroids, about.
const COMPRESSION: f64 = 200.0;

/// A merging t-digest: sorted means and how many numbers each stands for, fine at the ends and coarse in the middle.
///
/// Source: T. Dunning and O. Ertl, "Computing Extremely Accurate Quantiles Using t-Digests" (2019), scale function k₁.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    centroids: Vec<(f64, u64)>,
}

impl Digest {
    /// Add numbers, in ascending order, each with how often it occurs.
    pub fn add(&mut self, numbers: &[(f64, u64)]) {
        let mut merged: Vec<(f64, u64)> = Vec::with_capacity(self.centroids.len() + numbers.len());
        let (mut ours, mut theirs) = (self.centroids.iter().peekable(), numbers.iter().peekable());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) if our.0 <= their.0 => ours.next(),
                (_, Some(_)) => theirs.next(),
                (_, None) => ours.next(),
            };
            let Some(&(number, count)) = next else { break };
            match merged.last_mut() {
                Some(last) if last.0 == number => last.1 += count,
                _ => merged.push((number, count)),
            }
        }
        self.centroids = if merged.len() > EXACT { compressed(&merged) } else { merged };
    }

    /// Add all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.centroids);
    }

    /// The number that a share `at` (0 to 1) of the numbers is at or below, about; `None` when there is none.
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile(&self, at: f64) -> Option<f64> {
        let total: u64 = self.centroids.iter().map(|(_, count)| count).sum();
        let mut below = 0;
        let found = self.centroids.iter().find(|(_, count)| {
            below += count;
            below as f64 >= at * total as f64
        });
        found.or(self.centroids.last()).map(|(number, _)| *number)
    }
}

#[allow(clippy::cast_precision_loss)]
fn compressed(centroids: &[(f64, u64)]) -> Vec<(f64, u64)> {
    use std::f64::consts::PI;
    let total = centroids.iter().map(|(_, count)| count).sum::<u64>() as f64;
    let scale = |share: f64| COMPRESSION / (2.0 * PI) * (2.0 * share - 1.0).clamp(-1.0, 1.0).asin();
    let limit = |share: f64| {
        let angle = (scale(share) + 1.0) * 2.0 * PI / COMPRESSION;
        if angle >= PI / 2.0 { 1.0 } else { (angle.sin() + 1.0) / 2.0 }
    };
    let mut out: Vec<(f64, u64)> = Vec::new();
    let (mut before, mut most) = (0.0, 0.0);
    for &(mean, count) in centroids {
        match out.last_mut() {
            Some(last) if before + (last.1 + count) as f64 <= most * total => {
                let sum = last.1 + count;
                last.0 += (mean - last.0) * count as f64 / sum as f64;
                last.1 = sum;
            }
            last => {
                before += last.map_or(0.0, |last| last.1 as f64);
                most = limit(before / total);
                out.push((mean, count));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_near(
            groups in prop::collection::vec(prop::collection::vec(-1e6f64..1e6, 1..3000), 1..5),
        ) {
            let mut digest = Digest::default();
            let mut all: Vec<f64> = groups.iter().flatten().copied().collect();
            for mut group in groups {
                group.sort_by(f64::total_cmp);
                digest.add(&group.into_iter().map(|number| (number, 1)).collect::<Vec<_>>());
            }
            all.sort_by(f64::total_cmp);
            for at in [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99] {
                let found = digest.quantile(at).unwrap();
                let rank = all.partition_point(|number| *number <= found) as f64 / all.len() as f64;
                prop_assert!((rank - at).abs() < 0.02 + 2.0 / all.len() as f64, "{} is at {}", at, rank);
            }
        }
    }

    #[test]
    fn few_values_are_exact() {
        let mut digest = Digest::default();
        digest.add(&[(1.0, 5), (2.0, 4), (9.0, 1)]);
        digest.add(&[(2.0, 10)]);
        assert_eq!([0.25, 0.26, 0.95, 1.0].map(|at| digest.quantile(at).unwrap()), [1.0, 2.0, 2.0, 9.0]);
        assert_eq!(Digest::default().quantile(0.5), None);
    }
}

//! The table of a hash index: so many numbers of 64 bits, zeros at first, in pages as large as the system has them.
//!
//! Look-ups go anywhere in the table. In pages of 4 KiB nearly each would also have to look for its page: with a million keys
//! that took as long as everything else about them.

use memmap2::MmapMut;

use crate::error::{Error, Result};

const BYTES: usize = size_of::<u64>();

/// The slots; none before there are some.
#[derive(Default)]
pub struct Slots {
    map: Option<MmapMut>,
}

impl Slots {
    /// So many slots, all of them 0.
    ///
    /// # Errors
    /// `Error::Internal` when the system has no memory for them.
    pub fn new(count: usize) -> Result<Self> {
        let failed = |error| Error::Internal(format!("no memory for an index of {count} keys: {error}"));
        let map = MmapMut::map_anon(count * BYTES).map_err(failed)?;
        // Only advice: where the system has no large pages for it, small ones do.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map: Some(map) })
    }

    /// How many there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.map.as_ref().map_or(0, |map| map.len() / BYTES)
    }

    /// What a slot holds.
    #[inline(always)]
    pub fn get(&self, at: usize) -> u64 {
        let bytes = self.map.as_deref().unwrap_or_default();
        u64::from_ne_bytes(bytes[at * BYTES..][..BYTES].try_into().expect("a slot has its length"))
    }

    /// Have a slot hold something.
    #[inline(always)]
    pub fn set(&mut self, at: usize, value: u64) {
        let bytes = self.map.as_deref_mut().unwrap_or_default();
        bytes[at * BYTES..][..BYTES].copy_from_slice(&value.to_ne_bytes());
    }
}

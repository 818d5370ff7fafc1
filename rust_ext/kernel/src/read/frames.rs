//! What framers of text hand on.

use std::ops::Range;

use crate::{
    cell::Violation,
    chunk::{Frame, Framing},
};

/// A record that is too large, or broken and as large, is kept with so many of its first bytes.
pub const KEPT_BYTES: usize = 64 << 10;

/// The front part of a view that a framer is done with.
pub struct Cut {
    /// How long the part is.
    pub len: usize,
    /// Where in the part its records are.
    pub data: Range<usize>,
    /// The records; `None` when there are none.
    pub framing: Option<Framing>,
}

impl Cut {
    /// Records in all of the part.
    pub fn of(len: usize, framing: Framing) -> Self {
        Self { len, data: 0..len, framing: Some(framing) }
    }

    /// Lines in all of the part.
    pub fn lines(len: usize) -> Self {
        Self::of(len, Framing::Lines)
    }

    /// Records that the framer found in the part itself.
    pub fn frames(len: usize, frames: Vec<Frame>) -> Self {
        if frames.is_empty() { Self::nothing(len) } else { Self::of(len, Framing::Records(frames)) }
    }

    /// A part without records.
    pub fn nothing(len: usize) -> Self {
        Self { len, data: 0..0, framing: None }
    }

    /// One broken record of which only the first bytes are kept. `len` of its bytes are done with.
    pub fn first_bytes(len: usize, max: usize, mut fault: Violation) -> Self {
        let kept = KEPT_BYTES.min(max).min(len);
        fault.message.push_str(&format!("; its first {kept} bytes are kept"));
        let framing = Framing::Records(vec![Frame { range: 0..kept, fault: Some(fault) }]);
        Self { len, data: 0..kept, framing: Some(framing) }
    }

    /// A record longer than `max` bytes, `len` of which are done with.
    pub fn too_large(len: usize, max: usize) -> Self {
        Self::first_bytes(
            len,
            max,
            Violation::of_record("too_large", format!("the record is longer than {max} bytes")),
        )
    }
}

//! From bytes to checked, deduplicated, partitioned Parquet under one data contract.
//!
//! The kernel knows bytes and Arrow. It knows nothing of Python, clocks or networks. A record's way through it:
//! [`read`] frames it in a [`chunk`], [`parse`] turns it into [`cell`]s, [`check`] gives them types and holds the rules
//! against them, [`sequence`] finds its duplicates, [`scatter`] and [`quarantine`] write it.

pub mod abreast;
mod batch;
mod buffers;
pub mod cell;
pub mod check;
pub mod chunk;
pub mod claims;
mod compare;
pub mod csv;
pub mod decimal;
pub mod dedupe;
mod encode;
pub mod error;
pub mod existing;
pub mod feed;
mod formats;
mod job;
pub mod json;
pub mod kept;
pub mod keys;
mod limits;
pub mod nested;
pub mod numbering;
pub mod outcome;
pub mod parse;
pub mod partition;
pub mod plan;
pub mod profile;
pub mod quarantine;
pub mod quick;
pub mod read;
pub mod rows;
pub mod run;
mod scalars;
pub mod scatter;
pub mod schema;
pub mod sequence;
mod slots;
mod spill;
mod split;
mod supply;
mod swar;
pub mod template;
pub mod text;
pub mod unique;
pub mod upsert;
mod whole;
pub mod write;

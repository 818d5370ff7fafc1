//! What stops a run. A bad record never does: it becomes a row of the quarantine.

use std::{io, path::PathBuf};

/// The kernel's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault that stops the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan contradicts itself or asks for something that the kernel doesn't do.
    #[error("the plan can't be carried out: {0}")]
    Plan(String),
    /// A file could not be opened, read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file as a whole is not what its format says, before any record could be told apart.
    #[error("`{}`: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Encoding or decoding of a column failed.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// A Parquet file could not be written or read.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The caller's look-up of existing rows failed.
    #[error("existing keys could not be read: {0}")]
    Existing(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An operating system's fault with the file it happened on.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

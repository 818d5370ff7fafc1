//! What stops a run. A bad record never does: it becomes a row of the quarantine.

use std::{io, path::PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

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
    /// A source has more records than it has numbers for.
    #[error("there are more than the {0} records that have a number")]
    Numbers(usize),
    /// A stream of record batches, which isn't this program's, broke off or broke its own rules.
    #[error("the Arrow stream can't be read: {0}")]
    Stream(String),
    /// Encoding or decoding of a column failed.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A Parquet file could not be written or read.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// The caller's look-up of existing rows failed.
    #[error("existing keys could not be read: {0}")]
    Existing(String),
    /// The kernel is at fault.
    #[error("internal: {0}")]
    Internal(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether a file could not be opened, read or written: no fault of the data.
    pub fn is_io(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Arrow(ArrowError::IoError(..)) => true,
            Self::Parquet(ParquetError::External(inner)) => inner.is::<io::Error>(),
            _ => false,
        }
    }

    /// An operating system's fault with the file it happened on.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_fault_of_the_data_whoever_writes() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(Error::io("x", full()).is_io());
        assert!(Error::from(ParquetError::from(full())).is_io());
        assert!(!Error::from(ParquetError::General("x".into())).is_io());
    }
}

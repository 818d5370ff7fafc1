//! Keys in a file without a name, which is gone when the run is, however it ends.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use arrow::array::ArrayRef;

use crate::{
    error::{Error, Result},
    keys::push_key,
    scalars::Scalars,
};

/// A row's entry: where its key ends among the block's keys, and its fingerprint.
const ENTRY: u64 = 16;

/// Keys and fingerprints of blocks of rows.
///
/// A block is its number of rows, an entry a row and then the keys, so that a row is read without its block.
pub struct Spill {
    folder: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Spill {
    /// Nothing yet; the file will be in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, file: None, bytes: 0 }
    }

    /// Add a block with these key columns; where it is.
    ///
    /// # Errors
    /// `Error::Io` when it can't be written.
    pub fn write(&mut self, columns: &[ArrayRef], fingerprints: &[u64]) -> Result<u64> {
        let columns = columns.iter().map(|column| Scalars::of(column)).collect::<Result<Vec<_>>>()?;
        let (mut block, mut keys) = (Vec::new(), Vec::new());
        block.extend_from_slice(&(fingerprints.len() as u64).to_le_bytes());
        for (row, fingerprint) in fingerprints.iter().enumerate() {
            push_key(&mut keys, &columns, row);
            block.extend_from_slice(&(keys.len() as u64).to_le_bytes());
            block.extend_from_slice(&fingerprint.to_le_bytes());
        }
        block.append(&mut keys);
        let start = self.bytes;
        self.write_all(&block).map_err(|error| Error::io(&self.folder, error))?;
        self.bytes += block.len() as u64;
        Ok(start)
    }

    fn write_all(&mut self, block: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                std::fs::create_dir_all(&self.folder)?;
                self.file.insert(tempfile::tempfile_in(&self.folder)?)
            }
        };
        file.seek(SeekFrom::Start(self.bytes))?;
        file.write_all(block)
    }

    /// The key, as [`push_key`] writes it, and the fingerprint of a row of the block at `start`.
    ///
    /// # Errors
    /// `Error::Io` when they can't be read.
    pub fn read(&mut self, start: u64, row: usize) -> Result<(Vec<u8>, u64)> {
        self.read_row(start, row as u64).map_err(|error| Error::io(&self.folder, error))
    }

    fn read_row(&mut self, start: u64, row: u64) -> std::io::Result<(Vec<u8>, u64)> {
        let file = self.file.as_mut().expect("a block was written");
        let mut number = |at: u64| {
            let mut bytes = [0; 8];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        let rows = number(start)?;
        let entries = start + 8;
        let key_start = if row == 0 { 0 } else { number(entries + (row - 1) * ENTRY)? };
        let key_stop = number(entries + row * ENTRY)?;
        let fingerprint = number(entries + row * ENTRY + 8)?;
        let mut key = vec![0; usize::try_from(key_stop - key_start).expect("a key fits into memory")];
        file.seek(SeekFrom::Start(entries + rows * ENTRY + key_start))?;
        file.read_exact(&mut key)?;
        Ok((key, fingerprint))
    }
}

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

/// Keys of blocks of rows, with their fingerprints and, where rows have any, versions.
///
/// A block is its number of rows, an entry a row and then the keys, so that a row is read without its block. An entry is where
/// its key ends among the block's keys, the fingerprint, and the version.
pub struct Spill {
    folder: PathBuf,
    file: Option<File>,
    bytes: u64,
    has_versions: bool,
}

/// A row as the file has it.
pub struct Spilled {
    /// Its key, as [`push_key`] writes it.
    pub key: Vec<u8>,
    /// The hash of all of its values.
    pub fingerprint: u64,
    /// Its version; 0 where rows have none.
    pub version: i64,
}

impl Spill {
    /// Nothing yet; the file will be in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, file: None, bytes: 0, has_versions: false }
    }

    /// Add a block with these key columns; where it is. All blocks have `versions`, or none has; so it is with `fingerprints`,
    /// which are 0 in the file where there are none.
    ///
    /// # Errors
    /// `Error::Io` when it can't be written.
    pub fn write(&mut self, columns: &[ArrayRef], fingerprints: &[u64], versions: &[i64]) -> Result<u64> {
        self.has_versions |= !versions.is_empty(); // a block without rows has none
        let rows = columns.first().map_or(0, |column| column.len());
        let columns = columns.iter().map(|column| Scalars::of(column)).collect::<Result<Vec<_>>>()?;
        let (mut block, mut keys) = (Vec::new(), Vec::new());
        block.extend_from_slice(&(rows as u64).to_le_bytes());
        for row in 0..rows {
            let fingerprint = fingerprints.get(row).copied().unwrap_or_default();
            push_key(&mut keys, &columns, row);
            block.extend_from_slice(&(keys.len() as u64).to_le_bytes());
            block.extend_from_slice(&fingerprint.to_le_bytes());
            if let Some(version) = versions.get(row) {
                block.extend_from_slice(&version.to_le_bytes());
            }
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

    /// A row of the block at `start`.
    ///
    /// # Errors
    /// `Error::Io` when it can't be read.
    pub fn read(&mut self, start: u64, row: usize) -> Result<Spilled> {
        self.read_row(start, row as u64).map_err(|error| Error::io(&self.folder, error))
    }

    fn read_row(&mut self, start: u64, row: u64) -> std::io::Result<Spilled> {
        let entry: u64 = if self.has_versions { 24 } else { 16 };
        let file = self.file.as_mut().expect("a block was written");
        let mut number = |at: u64| {
            let mut bytes = [0; 8];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        let rows = number(start)?;
        let entries = start + 8;
        let key_start = if row == 0 { 0 } else { number(entries + (row - 1) * entry)? };
        let key_stop = number(entries + row * entry)?;
        let fingerprint = number(entries + row * entry + 8)?;
        let version = if self.has_versions { number(entries + row * entry + 16)?.cast_signed() } else { 0 };
        let mut key = vec![0; usize::try_from(key_stop - key_start).expect("a key fits into memory")];
        file.seek(SeekFrom::Start(entries + rows * entry + key_start))?;
        file.read_exact(&mut key)?;
        Ok(Spilled { key, fingerprint, version })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn a_block_without_rows_leaves_those_before_it_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path().into());
        let keys = |names: &[&str]| -> Vec<ArrayRef> { vec![Arc::new(StringArray::from(names.to_vec()))] };
        let start = spill.write(&keys(&["a", "bc"]), &[7, 8], &[-1, 1]).unwrap();
        spill.write(&keys(&[]), &[], &[]).unwrap();
        let found = spill.read(start, 1).unwrap();
        assert_eq!((found.fingerprint, found.version), (8, 1));
        let mut expected = Vec::new();
        let columns = keys(&["a", "bc"]);
        push_key(&mut expected, &[Scalars::of(&columns[0]).unwrap()], 1);
        assert_eq!(found.key, expected);
    }
}

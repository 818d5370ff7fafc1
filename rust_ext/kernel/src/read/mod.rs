//! From files, bytes and streams to chunks of whole records.
//!
//! A reader finds out what a file holds, decompresses it, and cuts it at record boundaries. It works in sequence and
//! does as little as it can for each byte; chunks are parsed on their own, in parallel. What one fault costs is written
//! down where records are told apart: [`lines`] for NDJSON, [`json_array`], [`csv_frames`]; a compressed stream that
//! breaks costs the record that it breaks in, one entry called `truncated`.

pub mod batches;
pub mod columns;
pub mod csv_frames;
mod decompress;
mod detect;
mod frames;
pub mod json_array;
mod json_scan;
pub mod lines;
mod parquet;
mod slices;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod window;
mod zip_member;

use std::{
    collections::HashSet,
    fmt::Display,
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use self::{
    batches::BatchReader, decompress::Decompressor, parquet::ParquetReader, text::TextReader, window::Window,
};
pub use self::{batches::Stream, window::End};
use crate::{
    chunk::Chunk,
    csv,
    error::{Error, Result},
    plan::Plan,
};

/// Smallest block that is decompressed at once.
const MIN_BLOCK_BYTES: usize = 64 << 10;

/// A batch's records, and how they are written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The batch.
    pub batch_id: String,
    /// Where its records are; in JSON the path of a file.
    #[serde(rename = "path")]
    pub content: Content,
    /// Its format; found out by its content when left out.
    #[serde(default)]
    pub format: Option<Format>,
    /// Its compression; found out by its content when left out.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// What its records are numbered, in their order, when they are some of a batch's; from 1 when left out.
    #[serde(default)]
    pub record_nos: Option<Vec<u64>>,
    /// Batches that came after it: an upsert doesn't supersede their rows.
    #[serde(default)]
    pub newer_batches: HashSet<String>,
}

impl Source {
    /// A source that says no more of itself.
    pub fn of(batch_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self {
            batch_id: batch_id.into(),
            content: content.into(),
            format: None,
            compression: None,
            record_nos: None,
            newer_batches: HashSet::new(),
        }
    }
}

/// Where a source's records are.
#[derive(Clone, Deserialize)]
#[serde(from = "PathBuf")]
pub enum Content {
    /// In a file, which must not change while it is read. A landed one never does.
    File(PathBuf),
    /// In memory, as they would be in a file.
    Bytes(Bytes),
    /// In record batches to come. Their types are read as a Parquet file's are.
    Stream(Stream),
}

impl Content {
    /// What it is called in messages: a file's path.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Bytes(_) => Path::new("<bytes>"),
            Self::Stream(_) => Path::new("<stream>"),
        }
    }

    /// The first bytes, `most` at most; a stream has none.
    ///
    /// # Errors
    /// `Error::Io` when a file can't be read.
    pub fn head(&self, most: usize) -> Result<Bytes> {
        match self {
            Self::File(path) => Ok(OpenFile::new(path, most)?.head),
            Self::Bytes(bytes) => Ok(bytes.slice(..bytes.len().min(most))),
            Self::Stream(_) => Ok(Bytes::new()),
        }
    }
}

impl From<PathBuf> for Content {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&'static [u8]> for Content {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Bytes(Bytes::from_static(bytes))
    }
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// One JSON array of objects.
    Json,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// Apache Parquet.
    Parquet,
    /// A stream of Arrow record batches; no file is one.
    #[serde(skip)]
    Arrow,
}

impl Format {
    /// The name, as in `Source`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or more.
    Gzip,
    /// Zstandard, one frame or more.
    Zstd,
    /// A zip archive of one file.
    Zip,
}

impl Compression {
    /// The name, as in `Source`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }
}

/// How much a framer takes at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A chunk is no longer, unless one record is.
    pub chunk_bytes: usize,
    /// A chunk has no more records.
    pub chunk_records: usize,
    /// A longer record is faulty.
    pub record_bytes: usize,
}

/// An opened source.
pub struct Input {
    /// Its format.
    pub format: Format,
    /// Its compression.
    pub compression: Compression,
    /// The archive's member that is read.
    pub member: Option<String>,
    /// The header of a CSV file that isn't empty.
    pub csv: Option<Arc<csv::Header>>,
    /// Columns of the file that the plan doesn't know.
    pub unknown_columns: Vec<String>,
    reader: Reader,
}

enum Reader {
    Empty,
    /// A text, and the name of the source.
    Text(TextReader, PathBuf),
    Columns(ParquetReader),
    Batches(BatchReader),
}

impl Input {
    /// The next records, in the order of the file.
    ///
    /// # Errors
    /// `Error::Io` when a file can't be read, `Error::Format` when a page of a Parquet file can't be, `Error::Stream` when a
    /// stream breaks off.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        match &mut self.reader {
            Reader::Empty => Ok(None),
            Reader::Text(reader, name) => reader.next_chunk().map_err(|error| Error::io(&*name, error)),
            Reader::Columns(reader) => reader.next_chunk(),
            Reader::Batches(reader) => reader.next_chunk(),
        }
    }
}

impl Input {
    /// Bytes that are done with: of the decompressed source, of the columnar file, or of a stream's columns in memory.
    pub fn bytes_passed(&self) -> u64 {
        match &self.reader {
            Reader::Empty => 0,
            Reader::Text(reader, _) => reader.bytes_passed(),
            Reader::Columns(reader) => reader.bytes_passed(),
            Reader::Batches(reader) => reader.bytes_passed(),
        }
    }

    /// Bytes of text still to come; `None` when that isn't known.
    pub fn bytes_ahead(&self) -> Option<u64> {
        match &self.reader {
            Reader::Text(reader, _) => reader.bytes_ahead(),
            _ => None,
        }
    }
}

/// Open a source to be read in chunks of about `chunk_bytes` and at most `chunk_records` records.
///
/// ```
/// use dpipe_kernel::{plan::Plan, read::{Compression, Format, Source, open}};
/// let plan = Plan::from_json(r#"{"dataset": "d", "contract": "c", "columns": [
///     {"name": "a", "field_id": 1, "type": "string"}]}"#)?;
/// let path = std::env::temp_dir().join(format!("dpipe-open-{}.csv", std::process::id()));
/// std::fs::write(&path, "a\nx\ny\n").unwrap();
/// let source = Source::of("file-1", path.clone());
/// let mut input = open(&source, &plan, 1 << 20, 100_000)?;
/// assert_eq!((input.format, input.compression), (Format::Csv, Compression::None));
/// assert!(input.next_chunk()?.is_some() && input.next_chunk()?.is_none());
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), dpipe_kernel::error::Error>(())
/// ```
///
/// # Errors
/// `Error::Io` when the file can't be read; `Error::Format` when it can't be what it is said to be: an archive of several
/// files, UTF-16, a header with a column that has no name or another's, a Parquet file without its footer; `Error::Stream`
/// when a stream has a column twice.
pub fn open(source: &Source, plan: &Plan, chunk_bytes: usize, chunk_records: usize) -> Result<Input> {
    let limits = Limits {
        chunk_bytes: chunk_bytes.max(1),
        chunk_records: chunk_records.max(1),
        record_bytes: plan.max_record_bytes.max(1),
    };
    let head_bytes = limits.chunk_bytes.max(MIN_BLOCK_BYTES);
    let (opened, name) = match &source.content {
        Content::Stream(stream) => return batches(stream.clone(), plan, limits),
        Content::Bytes(bytes) => (Opened::Bytes(bytes.clone()), String::new()),
        Content::File(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (Opened::File(OpenFile::new(path, head_bytes)?), name)
        }
    };
    let head = &opened.head(head_bytes);
    if head.is_empty() {
        return Ok(empty(source, &name));
    }
    let fault = |message: String| Error::Format { path: source.content.name().to_owned(), message };
    let compression = source.compression.unwrap_or_else(|| detect::compression(head, &name));
    let is_parquet = || source.format.unwrap_or_else(|| detect::format(head, &name)) == Format::Parquet;
    if compression == Compression::None && is_parquet() {
        return columns(source, opened, plan, limits);
    }

    let (window, member) = window(opened, compression, limits.chunk_bytes, &fault)?;
    let name = member.clone().unwrap_or(name);
    let (reader, format, csv) =
        TextReader::open(window, source.format, &name, plan, limits).map_err(&fault)?;
    let unknown_columns = csv.as_ref().map(|header| header.unknown.clone()).unwrap_or_default();
    let reader = Reader::Text(reader, source.content.name().to_owned());
    Ok(Input { format, compression, member, csv, unknown_columns, reader })
}

/// A source's bytes, at hand or still in their file.
enum Opened<'a> {
    Bytes(Bytes),
    File(OpenFile<'a>),
}

/// A file of so many bytes, of which `head` has been read.
struct OpenFile<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    head: Bytes,
}

impl<'a> OpenFile<'a> {
    /// Open a file and read its first bytes, at most so many.
    fn new(path: &'a Path, most: usize) -> Result<Self> {
        let failed = |error| Error::io(path, error);
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let most = usize::try_from(length).unwrap_or(most).min(most);
        let mut head = Vec::with_capacity(most);
        file.by_ref().take(most as u64).read_to_end(&mut head).map_err(failed)?;
        Ok(Self { path, file, length, head: head.into() })
    }
}

impl Opened<'_> {
    /// The first bytes, at most so many.
    fn head(&self, most: usize) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.slice(..bytes.len().min(most)),
            Self::File(file) => file.head.clone(),
        }
    }

    /// All bytes; those of a file are mapped, as decompressors take them.
    fn bytes(self) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::File(OpenFile { path, file, .. }) => {
                // SAFETY: a map is sound as long as nobody changes or cuts the file beneath it. Landing files are
                // immutable: they are written in a hidden folder, renamed into place when whole, and never written
                // again. Who names another file to `dpipe.process` is told to leave it alone meanwhile.
                let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(path, error))?;
                Ok(Bytes::from_owner(map))
            }
        }
    }
}

fn empty(source: &Source, name: &str) -> Input {
    Input {
        format: source.format.unwrap_or_else(|| detect::format(b"", name)),
        compression: source.compression.unwrap_or_else(|| detect::compression(b"", name)),
        member: None,
        csv: None,
        unknown_columns: Vec::new(),
        reader: Reader::Empty,
    }
}

fn columns(source: &Source, opened: Opened, plan: &Plan, limits: Limits) -> Result<Input> {
    let (rows, name) = (limits.chunk_records, source.content.name().to_owned());
    let (reader, unknown_columns) = match opened {
        // Read, not mapped: only the columns' pages are wanted, and each of them once.
        Opened::File(OpenFile { file, .. }) => ParquetReader::open(file, name, plan, rows)?,
        Opened::Bytes(bytes) => ParquetReader::open(bytes, name, plan, rows)?,
    };
    Ok(columnar(Format::Parquet, Reader::Columns(reader), unknown_columns))
}

fn batches(stream: Stream, plan: &Plan, limits: Limits) -> Result<Input> {
    let (reader, unknown_columns) = BatchReader::open(stream, plan, limits.chunk_records)?;
    Ok(columnar(Format::Arrow, Reader::Batches(reader), unknown_columns))
}

fn columnar(format: Format, reader: Reader, unknown_columns: Vec<String>) -> Input {
    Input { format, compression: Compression::None, member: None, csv: None, unknown_columns, reader }
}

/// What `decode` gives, or how it fails or panics. What it was decoding must not be used any more then.
fn guarded<T, E: Display>(
    decode: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(panic) => Err(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => message.clone(),
            (None, Some(message)) => (*message).to_owned(),
            (None, None) => "it contradicts itself".to_owned(),
        }),
    }
}

/// A window on the decompressed bytes, and the archive's member that they are.
fn window(
    opened: Opened,
    compression: Compression,
    chunk_bytes: usize,
    fault: &dyn Fn(String) -> Error,
) -> Result<(Window, Option<String>)> {
    let (decompressor, member) = match (compression, opened) {
        (Compression::None, Opened::Bytes(bytes)) => return Ok((Window::whole(bytes), None)),
        (Compression::None, Opened::File(OpenFile { file, length, head, .. })) => {
            return Ok((Window::file(file, length, head), None));
        }
        (Compression::Gzip, packed) => (Decompressor::gzip(packed.bytes()?), None),
        (Compression::Zstd, packed) => {
            (Decompressor::zstd(packed.bytes()?).map_err(|error| fault(error.to_string()))?, None)
        }
        (Compression::Zip, archive) => {
            let bytes = archive.bytes()?;
            let member = zip_member::find(&bytes).map_err(fault)?;
            let offset = member.range.start;
            let packed = bytes.slice(member.range);
            (Decompressor::zip(packed, offset, member.deflated, member.check), member.name)
        }
    };
    Ok((Window::streamed(decompressor.spawn(chunk_bytes.max(MIN_BLOCK_BYTES))), member))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::{testing::Found, *};

    fn source(folder: &Path, name: &str, bytes: &[u8]) -> Source {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        Source::of("b", path)
    }

    fn records(input: &mut Input) -> Vec<Found> {
        let (mut found, mut lines) = (Vec::new(), 0);
        while let Some(chunk) = input.next_chunk().unwrap() {
            lines += testing::records(&chunk, input.format, lines, &mut found);
        }
        found
    }

    fn try_open(name: &str, bytes: &[u8]) -> Result<Input> {
        let folder = tempfile::tempdir().unwrap();
        open(&source(folder.path(), name, bytes), &testing::plan(), 1000, 100)
    }

    fn read(name: &str, bytes: &[u8]) -> (Input, Vec<Found>) {
        let mut input = try_open(name, bytes).unwrap();
        let found = records(&mut input);
        (input, found)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(text: &[u8]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("in/a.csv", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap().into_inner()
    }

    const TEXT: &[u8] = b"a,x,b\n1,2,3\n4,\"5\n\",6\n7,8,9\n";

    #[test]
    fn a_file_reads_the_same_however_it_is_compressed() {
        let (plain, expected) = read("a.csv", TEXT);
        assert_eq!((plain.format, plain.compression), (Format::Csv, Compression::None));
        assert_eq!(plain.unknown_columns, ["x"]);
        assert_eq!(
            expected.iter().map(|record| (record.offset, record.line)).collect::<Vec<_>>(),
            [(6, 2), (12, 3), (21, 5)]
        );
        let zstd = zstd::encode_all(TEXT, 3).unwrap();
        for (bytes, compression) in
            [(gzip(TEXT), Compression::Gzip), (zstd, Compression::Zstd), (zip(TEXT), Compression::Zip)]
        {
            let (input, found) = read("a", &bytes);
            assert_eq!((input.format, input.compression), (Format::Csv, compression));
            assert_eq!(input.member, (compression == Compression::Zip).then(|| "in/a.csv".to_owned()));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_a_source_says_of_itself_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path(), "a", b"oops\n{}\n");
        source.format = Some(Format::Ndjson);
        let mut input = open(&source, &testing::plan(), 1000, 100).unwrap();
        assert_eq!(records(&mut input).len(), 2);
    }

    #[test]
    fn an_empty_file_has_no_records() {
        for name in ["a.csv", "a.json", "a.ndjson.gz", "a"] {
            assert_eq!(read(name, b"").1, []);
        }
        for (name, bytes) in
            [("a.csv", &b"\n"[..]), ("a.json", b" "), ("a.csv", b"\xef\xbb\xbf"), ("a.csv", b"a,b\n")]
        {
            assert_eq!(read(name, bytes).1, []);
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_header() {
        let (input, found) = read("a.csv", b"\xef\xbb\xbfa,b\n1,2\n");
        assert_eq!(input.csv.unwrap().names, ["a", "b"]);
        assert_eq!(found[0].offset, 7);
    }

    #[test]
    fn files_that_cannot_be_read_are_refused_with_the_reason() {
        let refused = |name, bytes: &[u8]| match try_open(name, bytes) {
            Err(error @ Error::Format { .. }) => error.to_string(),
            _ => panic!("`{name}` is read"),
        };
        assert!(refused("a.csv", b"\xff\xfea\0").contains("UTF-16"));
        assert!(refused("a.gz", &gzip(b"PAR1....")).contains("Parquet"));
        assert!(refused("a.gz", &gzip(&gzip(b"a,b"))).contains("compressed twice"));
        assert!(refused("a.parquet", b"PAR1 and no more").contains("Parquet"));
        let missing = Source::of("b", PathBuf::from("/none"));
        assert!(matches!(open(&missing, &testing::plan(), 1, 1), Err(Error::Io { .. })));
    }

    #[test]
    fn a_file_cut_at_any_length_gives_its_whole_records_and_one_truncated_entry() {
        let text: Vec<u8> =
            (0..40).flat_map(|n| format!("{{\"a\":\"{}\"}}\n", n * n * n).into_bytes()).collect();
        let folder = tempfile::tempdir().unwrap();
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        for (packed, compression) in
            [(gzip(&text), Compression::Gzip), (zstd, Compression::Zstd), (zip(&text), Compression::Zip)]
        {
            for cut in 1..packed.len() {
                let mut source = source(folder.path(), "a.ndjson", &packed[..cut]);
                (source.compression, source.format) = (Some(compression), Some(Format::Ndjson));
                let mut input = open(&source, &testing::plan(), 50, 7).unwrap();
                let mut found = records(&mut input);
                let last = found.pop().unwrap();
                assert_eq!(last.rule, Some("truncated"), "{compression:?} cut at {cut}");
                assert!(found.iter().all(|record| record.rule.is_none()));
                let whole: Vec<u8> =
                    found.iter().flat_map(|record| [&record.bytes[..], b"\n"].concat()).collect();
                assert!(text.starts_with(&[whole, last.bytes].concat()));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            magic in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PAR1", b"[{", b"a,b\n"]),
        ) {
            if let Ok(mut input) = try_open("a", &[magic, &bytes].concat()) {
                while let Ok(Some(_)) = input.next_chunk() {}
            }
        }
    }
}

//! Pages of one column, compressed, and the chunk's metadata.

use std::cell::RefCell;

use bytes::Bytes;
use parquet::{
    basic::{CompressionCodec, Encoding, PageType},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, PageEncodingStats},
        statistics::Statistics,
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};

use crate::write::ZSTD_LEVEL;

/// A column chunk: its bytes, and what the footer says of them.
pub struct EncodedChunk {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
}

/// Writes the pages of a chunk.
pub struct ChunkWriter {
    column: ColumnDescPtr,
    sink: TrackedWrite<Vec<u8>>,
    has_dictionary: bool,
    /// Where the first data page is.
    data_offset: Option<usize>,
    encoding: Encoding,
    pages: i32,
    uncompressed: usize,
}

impl ChunkWriter {
    /// A chunk whose data pages are encoded so.
    pub fn new(column: ColumnDescPtr, encoding: Encoding) -> Self {
        let sink = TrackedWrite::new(Vec::new());
        Self { column, sink, has_dictionary: false, data_offset: None, encoding, pages: 0, uncompressed: 0 }
    }

    /// Write the dictionary page: `values` values, plainly encoded.
    pub fn dictionary(&mut self, plain: &[u8], values: usize) -> Result<()> {
        self.has_dictionary = true;
        let page = Page::DictionaryPage {
            buf: compressed(plain)?,
            num_values: count(values),
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(page, plain.len())
    }

    /// Write a data page of `rows` rows: levels, then values.
    pub fn page(&mut self, body: &[u8], rows: usize) -> Result<()> {
        self.data_offset.get_or_insert(self.sink.bytes_written());
        self.pages += 1;
        let page = Page::DataPage {
            buf: compressed(body)?,
            num_values: count(rows),
            encoding: self.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.write(page, body.len())
    }

    fn write(&mut self, page: Page, uncompressed: usize) -> Result<()> {
        let page = CompressedPage::new(page, uncompressed);
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.uncompressed += written.uncompressed_size;
        Ok(())
    }

    /// The chunk of `rows` rows.
    pub fn finish(self, rows: usize, statistics: Statistics) -> Result<EncodedChunk> {
        let page_stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let mut pages = vec![page_stats(PageType::DATA_PAGE, self.encoding, self.pages)];
        let mut encodings = vec![Encoding::RLE, self.encoding];
        if self.has_dictionary {
            pages.insert(0, page_stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
            encodings.push(Encoding::PLAIN);
        }
        let bytes = Bytes::from(self.sink.into_inner()?);
        let metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression_codec(CompressionCodec::ZSTD)
            .set_encodings(encodings)
            .set_page_encoding_stats(pages)
            .set_total_compressed_size(size(bytes.len()))
            .set_total_uncompressed_size(size(self.uncompressed))
            .set_num_values(size(rows))
            .set_data_page_offset(size(self.data_offset.unwrap_or_default()))
            .set_dictionary_page_offset(self.has_dictionary.then_some(0))
            .set_statistics(statistics)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(EncodedChunk { bytes, close })
    }
}

/// `bytes` compressed. A thread keeps its compressor, whose tables take longer to make than a page to compress.
fn compressed(bytes: &[u8]) -> Result<Bytes> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => compressor.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(failed)?),
        };
        compressor.compress(bytes).map(Bytes::from).map_err(failed)
    })
}

fn failed(error: std::io::Error) -> ParquetError {
    ParquetError::General(format!("a page can't be compressed: {error}"))
}

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("a row group has fewer than 2³² rows")
}

fn size(size: usize) -> i64 {
    i64::try_from(size).expect("sizes in memory fit 63 bits")
}

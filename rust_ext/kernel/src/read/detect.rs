//! What a file holds, by its first bytes, and by its name only where those can't tell.

use super::{Compression, Format};

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ZIP: [&[u8]; 3] = [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"];
const PARQUET: &[u8] = b"PAR1";
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const UTF16_BOMS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// How the file that begins with `head` is compressed. A head of less than four bytes is too short for that, and the
/// name decides.
pub fn compression(head: &[u8], name: &str) -> Compression {
    if head.starts_with(GZIP) {
        Compression::Gzip
    } else if head.starts_with(ZSTD) || is_skippable_zstd_frame(head) {
        Compression::Zstd
    } else if ZIP.iter().any(|magic| head.starts_with(magic)) {
        Compression::Zip
    } else if head.len() < 4 {
        by_extension(name).unwrap_or(Compression::None)
    } else {
        Compression::None
    }
}

/// Tools that compress in parallel begin with such a frame.
fn is_skippable_zstd_frame(head: &[u8]) -> bool {
    head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18]
}

fn by_extension(name: &str) -> Option<Compression> {
    match extension(name).as_str() {
        "gz" | "gzip" => Some(Compression::Gzip),
        "zst" | "zstd" => Some(Compression::Zstd),
        "zip" => Some(Compression::Zip),
        _ => None,
    }
}

/// The format of decompressed bytes that begin with `head`.
pub fn format(head: &[u8], name: &str) -> Format {
    if head.starts_with(PARQUET) {
        return Format::Parquet;
    }
    let by_name = format_by_name(name);
    let text = &head[bom(head)..];
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') if by_name == Some(Format::Csv) => Format::Csv,
        Some(b'[') => Format::Json,
        Some(b'{') => Format::Ndjson,
        // A broken first record must not make a JSON file into a CSV file.
        Some(_) if matches!(by_name, Some(Format::Ndjson | Format::Json)) => Format::Ndjson,
        Some(_) => Format::Csv,
        None => by_name.unwrap_or(Format::Csv),
    }
}

fn format_by_name(name: &str) -> Option<Format> {
    let stem = if by_extension(name).is_some() {
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    } else {
        name
    };
    match extension(stem).as_str() {
        "ndjson" | "jsonl" | "jsonlines" => Some(Format::Ndjson),
        "json" => Some(Format::Json),
        "csv" | "tsv" | "tab" | "txt" => Some(Format::Csv),
        "parquet" | "pq" => Some(Format::Parquet),
        _ => None,
    }
}

fn extension(name: &str) -> String {
    name.rsplit_once('.').map_or_else(String::new, |(_, extension)| extension.to_ascii_lowercase())
}

/// Length of the UTF-8 byte order mark at the beginning of `head`.
pub fn bom(head: &[u8]) -> usize {
    if head.starts_with(UTF8_BOM) { UTF8_BOM.len() } else { 0 }
}

/// Why decompressed bytes that begin with `head` can't be read as text, if that is plain from them.
pub fn not_text(head: &[u8]) -> Option<&'static str> {
    if UTF16_BOMS.iter().any(|mark| head.starts_with(mark)) {
        Some("the text is UTF-16; write it as UTF-8")
    } else if head.starts_with(PARQUET) {
        Some("a Parquet file can be read only by itself, neither compressed as a whole nor as text")
    } else if head.len() >= 4 && compression(head, "") != Compression::None {
        Some("what is to be read as text is compressed, or compressed twice; land the innermost file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_beat_the_name() {
        assert_eq!(compression(b"\x1f\x8b\x08\x00", "a.csv"), Compression::Gzip);
        assert_eq!(compression(b"\x28\xb5\x2f\xfd", "a.gz"), Compression::Zstd);
        assert_eq!(compression(b"\x51\x2a\x4d\x18", "a"), Compression::Zstd);
        assert_eq!(compression(b"PK\x03\x04", "a"), Compression::Zip);
        assert_eq!(compression(b"year,month", "a.csv.gz"), Compression::None);
        assert_eq!(compression(b"PK,name", "a.csv"), Compression::None);
        assert_eq!(compression(b"\x1f", "a.csv.gz"), Compression::Gzip);
    }

    #[test]
    fn the_first_byte_that_is_not_blank_tells_the_format() {
        assert_eq!(format(b"PAR1....", "a.csv"), Format::Parquet);
        assert_eq!(format(b" \n[{", "a.ndjson"), Format::Json);
        assert_eq!(format(b"\xef\xbb\xbf\n{\"a\"", "a.json"), Format::Ndjson);
        assert_eq!(format(b"year,month\n", "a"), Format::Csv);
        assert_eq!(format(b"\"year\",month\n", "a.zip"), Format::Csv);
    }

    #[test]
    fn the_name_decides_where_the_content_does_not() {
        assert_eq!(format(b"{id},name\n", "a.csv.gz"), Format::Csv);
        assert_eq!(format(b"[id],name\n", "a.CSV"), Format::Csv);
        assert_eq!(format(b"oops\n{\"a\": 1}\n", "a.jsonl.zst"), Format::Ndjson);
        assert_eq!(format(b"", "a.json"), Format::Json);
        assert_eq!(format(b"\n\n", "a"), Format::Csv);
    }

    #[test]
    fn what_is_not_utf8_text_is_named() {
        assert!(not_text(b"\xff\xfea\0").is_some_and(|why| why.contains("UTF-16")));
        assert!(not_text(b"PAR1").is_some_and(|why| why.contains("Parquet")));
        assert!(not_text(b"\x1f\x8b\x08\x00").is_some());
        assert!(not_text(b"a,b\n").is_none());
    }
}

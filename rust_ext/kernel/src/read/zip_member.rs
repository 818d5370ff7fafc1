//! The one file that a zip archive must hold.
//!
//! An archive that is cut off has lost its directory, which is at its end; then the member is taken by the header before
//! it, as far as it goes.

use std::{borrow::Cow, io::Cursor, ops::Range};

use zip::{CompressionMethod, ZipArchive};

use super::decompress::Check;

/// Folders, and what macOS adds to them, are no members.
const MAC_FOLDER: &str = "__MACOSX/";
/// How many members a message names.
const NAMED: usize = 5;

/// Where a member is and how it is packed.
pub struct Member {
    /// Its name in the archive; `None` when the archive is cut before it.
    pub name: Option<String>,
    /// Its packed bytes.
    pub range: Range<usize>,
    /// Whether they are deflated; if not, they are stored as they are.
    pub deflated: bool,
    /// What is known about them.
    pub check: Check,
}

/// Find the member of the archive `bytes`.
///
/// # Errors
/// A sentence when the archive doesn't hold exactly one file, or one that can't be unpacked.
pub fn find(bytes: &[u8]) -> Result<Member, String> {
    match ZipArchive::new(Cursor::new(bytes)) {
        Ok(archive) => by_directory(archive, bytes.len()),
        Err(error) => by_local_header(bytes, &error.to_string()),
    }
}

fn by_directory(mut archive: ZipArchive<Cursor<&[u8]>>, len: usize) -> Result<Member, String> {
    let names = archive.file_names().map(|name| name.map_or("?".to_owned(), Cow::into_owned));
    let mut members: Vec<_> = names.enumerate().filter(|(_, name)| is_member(name)).collect();
    if members.len() != 1 {
        return Err(not_one(&members));
    }
    let (index, name) = members.remove(0);
    let file =
        archive.by_index_raw(index).map_err(|error| format!("its member `{name}` can't be read: {error}"))?;
    let deflated = is_deflated(&name, file.encrypted(), file.compression())?;
    let start = file.data_start().and_then(|start| usize::try_from(start).ok()).unwrap_or(len);
    let stop = usize::try_from(file.compressed_size()).ok().and_then(|size| start.checked_add(size));
    let Some(stop) = stop.filter(|stop| *stop <= len) else {
        return Err(format!("its directory puts member `{name}` beyond the end of the file"));
    };
    let check = Check { crc: Some(file.crc32()), fault: None };
    Ok(Member { name: Some(name), range: start..stop, deflated, check })
}

fn is_member(name: &str) -> bool {
    !name.ends_with('/') && !name.starts_with(MAC_FOLDER)
}

fn not_one(members: &[(usize, String)]) -> String {
    if members.is_empty() {
        return "the zip archive holds no file".to_owned();
    }
    let names: Vec<_> = members.iter().take(NAMED).map(|(_, name)| format!("`{name}`")).collect();
    let more = if members.len() > NAMED { ", …" } else { "" };
    let (count, names) = (members.len(), names.join(", "));
    format!("the zip archive holds {count} files where one is expected: {names}{more}; land each by itself")
}

fn is_deflated(name: &str, encrypted: bool, method: CompressionMethod) -> Result<bool, String> {
    if encrypted {
        return Err(format!("member `{name}` of the zip archive is encrypted; land it decrypted"));
    }
    match method {
        CompressionMethod::Deflated => Ok(true),
        CompressionMethod::Stored => Ok(false),
        other => Err(format!(
            "member `{name}` of the zip archive is packed by {other}; deflate it, or land it as it is"
        )),
    }
}

/// The fields of a local file header that matter here (APPNOTE.TXT 4.3.7).
struct LocalHeader {
    flags: u16,
    method: u16,
    packed_len: usize,
    name: String,
    data: usize,
}

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const ENCRYPTED: u16 = 1;
/// The lengths come after the data.
const STREAMED: u16 = 8;

fn local_header(bytes: &[u8], start: usize) -> Option<LocalHeader> {
    let fixed = bytes.get(start..start + 30)?;
    let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    let long = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let name = start + 30..start + 30 + usize::from(short(26));
    let data = name.end + usize::from(short(28));
    (fixed.starts_with(LOCAL_HEADER) && data <= bytes.len()).then(|| LocalHeader {
        flags: short(6),
        method: short(8),
        packed_len: long(18) as usize,
        name: String::from_utf8_lossy(&bytes[name]).into_owned(),
        data,
    })
}

fn by_local_header(bytes: &[u8], why: &str) -> Result<Member, String> {
    let fault = format!("the zip archive ends at byte {}, without a directory: {why}", bytes.len());
    let mut start = 0;
    while let Some(header) = local_header(bytes, start) {
        if !is_member(&header.name) {
            start = header.data + header.packed_len;
            continue;
        }
        let method = match header.method {
            0 => CompressionMethod::Stored,
            8 => CompressionMethod::Deflated,
            _ => return Err(fault),
        };
        let deflated = is_deflated(&header.name, header.flags & ENCRYPTED != 0, method)?;
        let stop = bytes.len().min(header.data.saturating_add(header.packed_len));
        let stop = if deflated || header.flags & STREAMED != 0 { bytes.len() } else { stop };
        let check = Check { crc: None, fault: Some(fault) };
        return Ok(Member { name: Some(header.name), range: header.data..stop, deflated, check });
    }
    let check = Check { crc: None, fault: Some(fault) };
    Ok(Member { name: None, range: bytes.len()..bytes.len(), deflated: false, check })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            let options = SimpleFileOptions::default().compression_method(method);
            if name.ends_with('/') {
                writer.add_directory(*name, options).unwrap();
            } else {
                writer.start_file(*name, options).unwrap();
                writer.write_all(bytes).unwrap();
            }
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn folders_and_what_macos_adds_are_no_members() {
        let files: &[(&str, &[u8])] =
            &[("data/", b""), ("data/a.csv", b"a,b\n"), ("__MACOSX/data/._a.csv", b"x")];
        for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
            let bytes = archive(files, method);
            let member = find(&bytes).unwrap();
            assert_eq!(
                (member.name.as_deref(), member.deflated),
                (Some("data/a.csv"), method == CompressionMethod::Deflated)
            );
            assert!(member.check.crc.is_some() && member.check.fault.is_none());
        }
    }

    #[test]
    fn an_archive_of_no_file_or_several_is_refused_by_name() {
        let method = CompressionMethod::Stored;
        assert_eq!(find(&archive(&[], method)).err().unwrap(), "the zip archive holds no file");
        let fault = find(&archive(&[("a.csv", b"a"), ("b.csv", b"b")], method)).err().unwrap();
        assert!(fault.contains("2 files") && fault.contains("`a.csv`, `b.csv`"), "{fault}");
    }

    #[test]
    fn an_encrypted_member_is_refused() {
        let mut bytes = archive(&[("a.csv", b"a,b\n")], CompressionMethod::Stored);
        let directory = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        bytes[6] |= 1;
        bytes[directory + 8] |= 1;
        assert!(find(&bytes).err().unwrap().contains("encrypted"));
        assert!(find(&bytes[..directory]).err().unwrap().contains("encrypted"));
    }

    #[test]
    fn an_archive_that_is_cut_still_has_its_member() {
        let bytes = archive(&[("__MACOSX/x", b"x"), ("a.csv", b"a,b\n1,2\n")], CompressionMethod::Stored);
        for cut in 4..bytes.len() {
            let member = find(&bytes[..cut]).unwrap();
            assert!(member.check.fault.is_some());
            assert!(b"a,b\n1,2\n".starts_with(&bytes[member.range]));
        }
    }
}

//! The frames in which RocksDB writes its write-ahead logs and its MANIFEST, looked at before RocksDB reads them.
//!
//! ```text
//!  block of 32 KiB: records, and fewer than 7 bytes that are left over
//!  record:          crc32c u32 · length u16 (little endian) · kind u8 · bytes
//! ```
//! A record of a recycled log has a longer header and a kind of its own. Logs are not recycled here, so such a kind is a flipped
//! bit; RocksDB 11.8 reads a log with one for ever, and the program would never start and never say why.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::Path;

const BLOCK: u64 = 32 * 1024;
const HEADER: u64 = 7;
/// Kinds whose header is longer: records of recycled logs.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Where in a file there is a record of a recycled log; `None` if there is none before its end, torn or not.
///
/// # Errors
/// The file cannot be read.
pub(super) fn recycled(file: &Path) -> io::Result<Option<u64>> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut at = 0;
    loop {
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            at += left;
        }
        if at + HEADER > length {
            return Ok(None);
        }
        let forward = at - file.stream_position()?;
        file.seek_relative(forward as i64)?;
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header)?;
        let [_, _, _, _, low, high, kind] = header;
        if RECYCLED.contains(&kind) {
            return Ok(Some(at));
        }
        if kind == 0 {
            // Room that was set aside, or the end; what damage looks like this RocksDB finds itself.
            return Ok(None);
        }
        at += HEADER + u64::from(u16::from_le_bytes([low, high]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of records of these kinds and lengths.
    fn file(records: &[(u8, u16)]) -> tempfile::NamedTempFile {
        let mut bytes = Vec::new();
        for (kind, length) in records {
            bytes.extend([1, 2, 3, 4]);
            bytes.extend(length.to_le_bytes());
            bytes.push(*kind);
            bytes.resize(bytes.len() + usize::from(*length), 5);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_record_of_a_recycled_log_is_found_at_a_boundary_and_nowhere_else() {
        assert_eq!(recycled(file(&[(1, 40), (2, 9), (4, 0)]).path()).unwrap(), None);
        assert_eq!(recycled(file(&[(1, 40), (5, 9), (4, 0)]).path()).unwrap(), Some(47));
        assert_eq!(recycled(file(&[]).path()).unwrap(), None);
    }

    #[test]
    fn a_torn_end_is_none() {
        let torn = file(&[(1, 40), (1, 9)]);
        let bytes = std::fs::read(torn.path()).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(torn.path(), &bytes[..length]).unwrap();
            assert_eq!(recycled(torn.path()).unwrap(), None, "{length}");
        }
        std::fs::write(torn.path(), [bytes, vec![0; 100]].concat()).unwrap();
        assert_eq!(recycled(torn.path()).unwrap(), None);
    }

    #[test]
    fn what_is_left_over_in_a_block_is_passed() {
        let first = (BLOCK - HEADER - 3) as u16;
        let blocks = file(&[(1, first)]);
        let mut bytes = std::fs::read(blocks.path()).unwrap();
        bytes.extend([0; 3]);
        bytes.extend([1, 2, 3, 4, 0, 0, 5]);
        std::fs::write(blocks.path(), bytes).unwrap();
        assert_eq!(recycled(blocks.path()).unwrap(), Some(BLOCK));
    }
}

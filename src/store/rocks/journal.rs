//! The framing of RocksDB's write-ahead logs and of its MANIFEST: where a file ends in the middle of a record, and whether
//! that is a write which never finished, or damage which only looks like one.
//!
//! ```text
//!  block (32 KiB) = record … record [fewer than 7 bytes of padding]
//!  record         = masked crc32c u32 · length u16 · type u8 · payload     (little endian; crc over type and payload)
//! ```
//! RocksDB takes a record that reaches beyond the end of its file for an unfinished one, and goes on without it. A flipped
//! bit in a length looks the same and would take acknowledged rows along, so the end is looked at here first.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const BLOCK: usize = 32 * 1024;
const HEADER: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
/// Types that are no pieces of a record: compression, sizes of timestamps, the log before. Types of logs that are used again
/// are not among them: none is.
const NOTES: [u8; 3] = [9, 10, 130];
const MASK: u32 = 0xa282_ead8;

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Behind a whole record, or it is empty.
    Whole,
    /// Its last record was never finished; this many bytes belong to it.
    Torn(u64),
    /// What was whole once is not any more, at this offset.
    Damaged(u64),
}

/// Reads a log from beginning to end.
///
/// # Errors
/// The file cannot be read.
pub(super) fn end_of(file: &Path) -> io::Result<End> {
    scan(&mut File::open(file)?)
}

/// Calls `take` with every record that is whole, past damage: behind it, from the next block on.
///
/// # Errors
/// The file cannot be read.
pub(super) fn each_record(file: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut input, mut block, mut record) = (File::open(file)?, Vec::with_capacity(BLOCK), None);
    loop {
        block.clear();
        if input.by_ref().take(BLOCK as u64).read_to_end(&mut block)? == 0 {
            return Ok(());
        }
        let mut rest = &block[..];
        while let Some((kind, payload, behind)) = next_piece(rest) {
            match kind {
                FULL => take(payload),
                FIRST => record = Some(payload.to_vec()),
                MIDDLE => record.iter_mut().for_each(|record| record.extend_from_slice(payload)),
                LAST => {
                    if let Some(mut record) = record.take() {
                        record.extend_from_slice(payload);
                        take(&record);
                    }
                }
                _ => {}
            }
            rest = behind;
        }
        if rest.len() >= HEADER {
            record = None;
        }
    }
}

/// Type and payload of the piece that `bytes` begin with, and what is behind it.
fn next_piece(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, payload) = bytes.split_first_chunk::<HEADER>()?;
    let (payload, behind) = payload.split_at_checked(usize::from(u16::from_le_bytes([header[4], header[5]])))?;
    (header[6] != 0 && fits(header, payload)).then_some((header[6], payload, behind))
}

fn scan(input: &mut impl Read) -> io::Result<End> {
    let mut block = Vec::with_capacity(BLOCK);
    let (mut at, mut record) = (0_u64, None);
    loop {
        block.clear();
        let read = input.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        match scan_block(&block, at, &mut record) {
            Some(Stop::Damaged(offset)) => return Ok(End::Damaged(offset)),
            Some(Stop::Cut(offset)) => {
                // Zeros up to the end of the file are space that was given to it and never written.
                let Some(zeros) = zeros(input)? else { return Ok(End::Damaged(offset)) };
                // Both began within what was read.
                let end = at.saturating_add(read as u64).saturating_add(zeros);
                let rest = end.saturating_sub(record.unwrap_or(offset));
                return Ok(if rest == 0 { End::Whole } else { End::Torn(rest) });
            }
            None => at = at.saturating_add(read as u64),
        }
    }
}

enum Stop {
    Cut(u64),
    Damaged(u64),
}

/// Goes through one block, which begins at `base`. `record` is where a record of several pieces began that is not complete.
fn scan_block(block: &[u8], base: u64, record: &mut Option<u64>) -> Option<Stop> {
    let mut rest = block;
    loop {
        let offset = base.saturating_add(block.len().saturating_sub(rest.len()) as u64);
        let Some((header, payload)) = rest.split_first_chunk::<HEADER>() else {
            // Too little for a header is padding in a whole block, and the end in a short one.
            return if block.len() == BLOCK { None } else { Some(Stop::Cut(offset)) };
        };
        let (length, kind) = (usize::from(u16::from_le_bytes([header[4], header[5]])), header[6]);
        if kind == 0 && payload.iter().all(|byte| *byte == 0) {
            return Some(Stop::Cut(offset));
        }
        if !(FULL..=LAST).contains(&kind) && !NOTES.contains(&kind) {
            return Some(Stop::Damaged(offset));
        }
        let Some((payload, behind)) = payload.split_at_checked(length) else {
            let short = block.len() < BLOCK && !was_whole(rest);
            return Some(if short { Stop::Cut(offset) } else { Stop::Damaged(offset) });
        };
        if !fits(header, payload) {
            return Some(Stop::Damaged(offset));
        }
        let continues = kind == MIDDLE || kind == LAST;
        if continues != record.is_some() {
            return Some(Stop::Damaged(offset));
        }
        if kind == FIRST {
            *record = Some(offset);
        } else if kind == LAST {
            *record = None;
        }
        rest = behind;
    }
}

fn fits(header: &[u8; HEADER], payload: &[u8]) -> bool {
    checksum(header) == Some(crc32c::crc32c_append(crc32c::crc32c(&header[6..HEADER]), payload))
}

fn checksum(header: &[u8; HEADER]) -> Option<u32> {
    let masked = u32::from_le_bytes(*header.first_chunk()?).wrapping_sub(MASK);
    Some(masked.rotate_left(15))
}

/// Whether a record that seems to reach beyond the end was whole once: its checksum fits another length, or whole records
/// follow it. A write that never finished has neither.
fn was_whole(rest: &[u8]) -> bool {
    let Some((header, payload)) = rest.split_first_chunk::<HEADER>() else { return false };
    let mut crc = crc32c::crc32c(&header[6..HEADER]);
    let expected = checksum(header);
    let other_length = payload.iter().any(|byte| {
        crc = crc32c::crc32c_append(crc, std::slice::from_ref(byte));
        Some(crc) == expected
    });
    other_length || (1..payload.len()).any(|skip| rest.get(skip..).is_some_and(begins_whole))
}

fn begins_whole(bytes: &[u8]) -> bool {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else { return false };
    let (length, kind) = (usize::from(u16::from_le_bytes([header[4], header[5]])), header[6]);
    let known = (FULL..=LAST).contains(&kind) && length > 0;
    known && payload.get(..length).is_some_and(|payload| fits(header, payload))
}

/// How many zeros are left, if it is nothing but zeros.
fn zeros(input: &mut impl Read) -> io::Result<Option<u64>> {
    let (mut block, mut count) = ([0; BLOCK], 0_u64);
    loop {
        match input.read(&mut block)? {
            0 => return Ok(Some(count)),
            read if block.iter().take(read).any(|byte| *byte != 0) => return Ok(None),
            read => count = count.saturating_add(read as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn physical(kind: u8, payload: &[u8]) -> Vec<u8> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
        let mut bytes = crc.rotate_right(15).wrapping_add(MASK).to_le_bytes().to_vec();
        bytes.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Two records in one block, and a third that goes over into the second block.
    fn log() -> (Vec<u8>, Vec<u64>) {
        let (one, two) = (physical(1, &[7; 100]), physical(1, &[9; 1000]));
        let begun = one.len() + two.len();
        let first = physical(2, &vec![3; BLOCK - begun - HEADER]);
        let last = physical(4, &[5; 200]);
        let starts = vec![0, one.len() as u64, begun as u64];
        ([one, two, first, last].concat(), starts)
    }

    fn end(bytes: &[u8]) -> End {
        scan(&mut &bytes[..]).unwrap()
    }

    #[test]
    fn wherever_a_log_is_cut_what_is_unfinished_is_torn_and_no_more() {
        let (log, starts) = log();
        let last = starts.len() - 1;
        let edges = starts.iter().flat_map(|at| *at as usize..*at as usize + 20);
        for cut in (0..log.len()).step_by(211).chain(edges).chain(BLOCK - 9..=log.len()) {
            let complete = cut == log.len() || starts.contains(&(cut as u64));
            let begun = if cut == log.len() { last } else { starts.partition_point(|at| *at <= cut as u64) - 1 };
            let expected = if complete { End::Whole } else { End::Torn(cut as u64 - starts[begun]) };
            assert_eq!(end(&log[..cut]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_damage_and_never_a_torn_end() {
        let (log, _) = log();
        let headers = (0..HEADER).flat_map(|i| [i, 107 + i, 1114 + i, BLOCK + i]);
        for at in headers.chain((0..log.len()).step_by(97)) {
            for bit in 0..8 {
                let mut flipped = log.clone();
                flipped[at] ^= 1 << bit;
                assert!(matches!(end(&flipped), End::Damaged(_)), "byte {at}, bit {bit}: {:?}", end(&flipped));
            }
        }
    }

    #[test]
    fn zeros_at_the_end_were_never_written_and_zeros_in_the_middle_were() {
        let (log, _) = log();
        assert_eq!(end(&[log.clone(), vec![0; 3 * BLOCK]].concat()), End::Torn(3 * BLOCK as u64));
        let mut hole = log;
        hole[107..107 + 512].fill(0);
        assert_eq!(end(&hole), End::Damaged(107));
    }
}

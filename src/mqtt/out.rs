//! Bytes waiting to leave: copied when small, shared when large.

use bytes::Bytes;

/// Bytes to be written to one connection, in order. Small pieces are copied into one buffer, large ones
/// are kept as shared slices between them. Holds no memory when empty (after [`Out::take_buffer`]).
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    /// In a box: few connections have any, and every connection has this.
    shared: Option<Box<Shared>>,
}

/// Shared slices.
#[derive(Debug, Default)]
struct Shared {
    /// Each behind the first `at` copied bytes, ascending.
    pieces: Vec<(usize, Bytes)>,
    /// Bytes in them.
    bytes: usize,
}

impl Out {
    /// An empty buffer that writes into `buffer` (cleared), so that its memory is used again.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer, shared: None }
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_add(self.shared.as_ref().map_or(0, |shared| shared.bytes))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `bytes` without copying them.
    pub fn put_shared(&mut self, bytes: Bytes) {
        let shared = self.shared.get_or_insert_default();
        shared.bytes = shared.bytes.saturating_add(bytes.len());
        shared.pieces.push((self.bytes.len(), bytes));
    }

    /// Moves everything in `other` behind what is here. Shared slices stay shared; `other` keeps its buffer.
    pub fn append(&mut self, other: &mut Out) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        if let Some(theirs) = other.shared.take() {
            let shared = self.shared.get_or_insert_default();
            shared.pieces.extend(theirs.pieces.into_iter().map(|(at, piece)| (base.saturating_add(at), piece)));
            shared.bytes = shared.bytes.saturating_add(theirs.bytes);
        }
        other.bytes.clear();
    }

    /// The copied part, to append small pieces in place. Only append: what is there must stay.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether any shared slice waits: if not, [`Out::plain`] is everything.
    pub fn has_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The copied part; all of it when nothing is shared.
    pub fn plain(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything in order, as slices, for a vectored write.
    pub fn slices<'a>(&'a self, mut each: impl FnMut(&'a [u8])) {
        let mut from = 0;
        for (at, piece) in self.pieces() {
            if *at > from {
                each(self.bytes.get(from..*at).unwrap_or_default());
                from = *at;
            }
            each(piece);
        }
        if self.bytes.len() > from {
            each(self.bytes.get(from..).unwrap_or_default());
        }
    }

    fn pieces(&self) -> &[(usize, Bytes)] {
        self.shared.as_ref().map_or(&[], |shared| &shared.pieces)
    }

    /// Forgets the first `count` bytes: they were written.
    pub fn advance(&mut self, count: usize) {
        if count >= self.len() {
            self.bytes.clear();
            self.shared = None;
            return;
        }
        let copied = match &mut self.shared {
            Some(shared) => shared.advance(count, self.bytes.len()),
            None => count,
        };
        self.bytes.drain(..copied);
        self.shared.take_if(|shared| shared.pieces.is_empty());
    }

    /// Whether it has memory to copy into.
    pub fn has_buffer(&self) -> bool {
        self.bytes.capacity() > 0
    }

    /// Gives the (empty) copy buffer away, so that an idle connection holds none.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty(), "bytes would be lost");
        self.shared = None;
        std::mem::take(&mut self.bytes)
    }
}

impl Shared {
    /// Forgets what the first `count` bytes are made of, `all_copied` being the copied ones there are. Says how many of those are gone.
    fn advance(&mut self, mut count: usize, all_copied: usize) -> usize {
        // Nothing below goes under 0: of each part at most what is left of it is taken, and pieces stand in order.
        let mut take = |there: usize| {
            let taken = there.min(count);
            count = count.saturating_sub(taken);
            taken
        };
        let (mut copied, mut gone) = (0_usize, 0_usize);
        for (at, piece) in &mut self.pieces {
            copied = copied.saturating_add(take(at.saturating_sub(copied)));
            if copied < *at {
                break;
            }
            let part = take(piece.len());
            self.bytes = self.bytes.saturating_sub(part);
            if part < piece.len() {
                *piece = piece.slice(part..);
                break;
            }
            gone = gone.saturating_add(1);
        }
        self.pieces.drain(..gone);
        if self.pieces.is_empty() {
            copied = copied.saturating_add(take(all_copied.saturating_sub(copied)));
        }
        for (at, _) in &mut self.pieces {
            *at = at.saturating_sub(copied);
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(out: &Out) -> Vec<u8> {
        let mut all = Vec::new();
        out.slices(|s| all.extend_from_slice(s));
        all
    }

    #[test]
    fn appended_pieces_follow_in_order_and_leave_the_other_empty() {
        let mut out = Out::default();
        out.put(b"ab");
        out.put_shared(Bytes::from_static(b"CD"));
        let mut other = Out::default();
        other.put(b"e");
        other.put_shared(Bytes::from_static(b"FG"));
        other.put(b"h");
        out.append(&mut other);
        out.put(b"i");
        assert_eq!(collected(&out), b"abCDeFGhi");
        assert_eq!((out.len(), other.len(), other.has_shared()), (9, 0, false));
    }

    #[test]
    fn every_split_of_a_mixed_buffer_leaves_the_rest_in_order() {
        let build = || {
            let mut out = Out::default();
            out.put(b"ab");
            out.put_shared(Bytes::from_static(b"CDE"));
            out.put_shared(Bytes::from_static(b"FG"));
            out.put(b"hij");
            out.put_shared(Bytes::from_static(b"K"));
            out
        };
        let whole = b"abCDEFGhijK";
        for first in 0..=whole.len() {
            for second in 0..=whole.len() - first {
                let mut out = build();
                out.advance(first);
                out.advance(second);
                assert_eq!(collected(&out), &whole[first + second..], "after {first} and {second}");
                assert_eq!(out.len(), whole.len() - first - second);
            }
        }
    }
}

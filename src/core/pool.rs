//! Buffers lent to connections that have something to send, so that an idle one holds none.

use crate::mqtt::Out;

/// Buffers kept for the next borrower.
const KEPT: usize = 256;
/// Larger ones go back to the allocator.
const KEPT_BYTES: usize = 16 * 1024;

/// Empty buffers of one core.
#[derive(Debug, Default)]
pub(super) struct Pool {
    buffers: Vec<Vec<u8>>,
}

impl Pool {
    /// Gives `out` a buffer to write into, unless it has one.
    pub(super) fn lend_to(&mut self, out: &mut Out) {
        if !out.has_buffer() {
            *out = Out::with_buffer(self.buffers.pop().unwrap_or_default());
        }
    }

    /// Takes a buffer back.
    pub(super) fn take_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && buffer.capacity() <= KEPT_BYTES && self.buffers.len() < KEPT {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

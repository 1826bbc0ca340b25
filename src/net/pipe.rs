//! A connection without a socket: two ends in one process, for simulation and for load beyond the
//! number of sockets a machine allows.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

/// One direction of a pipe.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    /// The writer has said that nothing follows.
    ended: bool,
    /// The reader is gone: what is written would be lost.
    abandoned: bool,
}

/// Both directions; the first is written by the first end and read by the other. The lock is a plain mutex
/// because an operation is a short copy and the two ends are often on two threads.
#[derive(Debug)]
struct Lanes {
    lanes: [Mutex<Lane>; 2],
    capacity: usize,
}

/// One end of an in-process connection. Behaves like a non-blocking stream socket: reads and writes
/// take what there is or fail with `WouldBlock`, never wait, and depend on nothing but earlier calls.
/// Dropping an end closes both its directions. Like a socket in the kernel, an idle pipe holds no buffer.
#[derive(Debug)]
pub struct Pipe {
    shared: Arc<Lanes>,
    /// Whether this end writes the first lane, and reads the second.
    first: bool,
}

/// Two connected ends; each direction holds at most `capacity` bytes (at least 1).
pub fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let lanes = [Mutex::new(Lane::default()), Mutex::new(Lane::default())];
    let shared = Arc::new(Lanes { lanes, capacity: capacity.max(1) });
    (Pipe { shared: shared.clone(), first: true }, Pipe { shared, first: false })
}

impl Pipe {
    fn incoming(&self) -> &Mutex<Lane> {
        let [first, second] = &self.shared.lanes;
        if self.first { second } else { first }
    }

    fn outgoing(&self) -> &Mutex<Lane> {
        let [first, second] = &self.shared.lanes;
        if self.first { first } else { second }
    }

    /// Takes what has arrived, at most `buf.len()` bytes.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived yet; `Ok(0)` when nothing ever will.
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut lane = self.incoming().lock();
        if lane.bytes.is_empty() {
            return if lane.ended || buf.is_empty() { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = io::Read::read(&mut lane.bytes, buf)?;
        // `VecDeque` reads one of its two halves at a time.
        let more = io::Read::read(&mut lane.bytes, buf.get_mut(count..).unwrap_or_default())?;
        if lane.bytes.is_empty() {
            lane.bytes = VecDeque::new();
        }
        Ok(count.saturating_add(more))
    }

    /// Writes as much of `bytes` as fits, and returns how much that was.
    ///
    /// # Errors
    /// `WouldBlock` when the lane is full, `BrokenPipe` when nobody will read.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lane = self.outgoing().lock();
        if lane.ended || lane.abandoned {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = self.shared.capacity.saturating_sub(lane.bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = room.min(bytes.len());
        lane.bytes.extend(bytes.iter().take(count));
        Ok(count)
    }

    /// Says that nothing follows; the other end reads what is left and then the end of the stream.
    pub fn close_write(&mut self) {
        self.outgoing().lock().ended = true;
    }

    /// Whether a read would give bytes or the end of the stream.
    pub fn readable(&self) -> bool {
        let lane = self.incoming().lock();
        lane.ended || !lane.bytes.is_empty()
    }

    /// Whether a write would take a byte or fail for good.
    pub fn writable(&self) -> bool {
        let lane = self.outgoing().lock();
        lane.ended || lane.abandoned || lane.bytes.len() < self.shared.capacity
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.outgoing().lock().ended = true;
        let mut lane = self.incoming().lock();
        lane.abandoned = true;
        lane.bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: io::Result<usize>) -> io::ErrorKind {
        result.expect_err("an error").kind()
    }

    #[test]
    fn bytes_arrive_in_order_and_no_more_than_the_capacity_wait() {
        let (mut a, mut b) = pipe(4);
        assert!(!b.readable());
        assert_eq!(a.write(b"abcdef").unwrap(), 4);
        assert!(!a.writable());
        assert_eq!(kind(a.write(b"ef")), io::ErrorKind::WouldBlock);
        let mut buf = [0; 3];
        assert_eq!(b.read(&mut buf).unwrap(), 3);
        assert_eq!(&buf, b"abc");
        assert_eq!(a.write(b"efgh").unwrap(), 3);
        let mut rest = [0; 8];
        assert_eq!(b.read(&mut rest).unwrap(), 4);
        assert_eq!(&rest[..4], b"defg");
        assert_eq!(kind(b.read(&mut rest)), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_reader_gets_what_was_written_before_the_end_and_then_the_end() {
        let (mut a, mut b) = pipe(16);
        a.write(b"last").unwrap();
        a.close_write();
        assert_eq!(kind(a.write(b"x")), io::ErrorKind::BrokenPipe);
        let mut buf = [0; 16];
        assert_eq!(b.read(&mut buf).unwrap(), 4);
        assert!(b.readable());
        assert_eq!(b.read(&mut buf).unwrap(), 0);
        // The other direction is still open.
        assert_eq!(b.write(b"back").unwrap(), 4);
        assert_eq!(a.read(&mut buf).unwrap(), 4);
    }

    #[test]
    fn a_dropped_end_is_the_end_for_the_reader_and_broken_for_the_writer() {
        let (a, mut b) = pipe(16);
        drop(a);
        assert_eq!(b.read(&mut [0; 4]).unwrap(), 0);
        assert!(b.writable());
        assert_eq!(kind(b.write(b"x")), io::ErrorKind::BrokenPipe);
    }
}

//! Bytes in, bytes out: over TCP, or in the same process.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use smallvec::SmallVec;

use super::pipe::Pipe;
use crate::mqtt::Out;

/// Slices given to the kernel in one write. More would rarely fit a socket's buffer, and the array lies
/// on the stack.
const SLICES_MAX: usize = 64;

/// What carries a connection's bytes. All operations return at once.
#[derive(Debug)]
pub enum Transport {
    /// A TCP socket, non-blocking.
    Tcp(mio::net::TcpStream),
    /// One end of an in-process pipe.
    Pipe(Pipe),
}

impl Transport {
    /// Reads once into `buf`. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived; anything else ends the connection.
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.read(buf),
            Transport::Pipe(pipe) => pipe.read(buf),
        }
    }

    /// Writes once from the front of `out` and returns how many bytes were taken. `out` is left as it
    /// is: the caller advances it.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken; anything else ends the connection.
    pub fn write(&mut self, out: &Out) -> io::Result<usize> {
        if !out.has_shared() {
            return self.write_bytes(out.plain());
        }
        let mut slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> = SmallVec::new();
        out.slices(|piece| {
            if slices.len() < SLICES_MAX {
                slices.push(IoSlice::new(piece));
            }
        });
        match self {
            Transport::Tcp(stream) => stream.write_vectored(&slices),
            Transport::Pipe(pipe) => write_each(pipe, &slices),
        }
    }

    /// Writes once from the front of `bytes` and returns how many were taken.
    ///
    /// # Errors
    /// As [`Transport::write`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.write(bytes),
            Transport::Pipe(pipe) => pipe.write(bytes),
        }
    }

    /// Tells the peer that nothing follows; reading goes on. A connection that is gone already is fine.
    pub fn shutdown_write(&mut self) {
        match self {
            Transport::Tcp(stream) => drop(stream.shutdown(Shutdown::Write)),
            Transport::Pipe(pipe) => pipe.close_write(),
        }
    }

    /// The socket, to register it with a poll; `None` in process.
    pub fn tcp(&mut self) -> Option<&mut mio::net::TcpStream> {
        match self {
            Transport::Tcp(stream) => Some(stream),
            Transport::Pipe(_) => None,
        }
    }
}

/// A vectored write on a pipe: an error counts only if nothing was taken before it.
fn write_each(pipe: &mut Pipe, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut taken: usize = 0;
    for slice in slices {
        match pipe.write(slice) {
            Ok(count) => {
                taken = taken.saturating_add(count);
                if count < slice.len() {
                    break;
                }
            }
            Err(error) if taken == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::net::pipe;

    #[test]
    fn a_mixed_buffer_leaves_in_order_however_small_the_peers_window_is() {
        for capacity in 1..40 {
            let (near, mut far) = pipe(capacity);
            let mut transport = Transport::Pipe(near);
            let mut out = Out::default();
            let mut expected = Vec::new();
            for i in 0..100u8 {
                out.put(&[i; 3]);
                out.put_shared(Bytes::from(vec![i + 100; 2]));
                expected.extend_from_slice(&[i, i, i, i + 100, i + 100]);
            }
            let mut arrived = Vec::new();
            while !out.is_empty() {
                let taken = transport.write(&out).expect("room");
                assert!(taken > 0);
                out.advance(taken);
                assert_eq!(
                    transport.write_bytes(b"x").map_err(|e| e.kind()).is_err(),
                    taken == capacity,
                    "a write stops only at the window or after {SLICES_MAX} slices"
                );
                if taken < capacity {
                    // Take the probe's byte out again.
                    let mut buf = vec![0; capacity];
                    let count = far.read(&mut buf).unwrap();
                    arrived.extend_from_slice(&buf[..count - 1]);
                    continue;
                }
                let mut buf = vec![0; capacity];
                let count = far.read(&mut buf).unwrap();
                arrived.extend_from_slice(&buf[..count]);
            }
            assert_eq!(arrived, expected);
        }
    }
}

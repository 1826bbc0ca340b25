//! How a client's bytes travel.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A blocking byte stream with a time limit on reading.
pub trait Wire: Read + Write + Send {
    /// The longest a read may block.
    fn limit_read(&self, within: Duration);
    /// Says that no more bytes will be written.
    fn finish_writing(&self) -> Result<()>;
}

impl Wire for TcpStream {
    fn limit_read(&self, within: Duration) {
        self.set_read_timeout(Some(within.max(Duration::from_millis(1)))).expect("a non-zero time limit is legal");
    }

    fn finish_writing(&self) -> Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

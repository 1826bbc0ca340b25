//! Bytes out: each touched connection is written to once per turn.

use std::io;

use super::Core;
use super::client::{Client, Stage};
use crate::metrics::Direction;
use crate::mqtt::Out;
use crate::net::Transport;
use crate::session::Ending;

/// How a write ended.
enum Written {
    All,
    Part,
    Broken,
}

impl Core {
    pub(super) fn flush_touched(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        for slot in &touched {
            self.guarded(*slot, |core| core.flush(*slot));
        }
        // Flushing may have let slow sessions go on: they are written to in the next turn.
        if self.touched.is_empty() {
            self.touched = touched;
            self.touched.clear();
        }
    }

    fn flush(&mut self, slot: u32) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.touched = false;
        if client.flags.blocked {
            return; // an edge will come
        }
        let (bytes, written) = client.write_out();
        client.flags.blocked = matches!(written, Written::Part);
        let closing = matches!(client.stage, Stage::Closing { .. });
        if matches!(written, Written::All) && client.out.is_empty() {
            self.pool.take_back(client.out.take_buffer());
            client.sealed = None;
        }
        self.count_bytes(Direction::Sent, bytes);
        match written {
            Written::All => self.all_written(slot, bytes),
            Written::Part => {}
            Written::Broken if closing => self.remove(slot),
            Written::Broken => self.end(slot, Ending::Lost),
        }
    }

    /// Everything was taken, `written` bytes just now: closing connections shut down, slow sessions go on. However little
    /// was left to be taken: nobody else tells a session that there is room again.
    fn all_written(&mut self, slot: u32, written: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match &mut client.stage {
            Stage::Closing { shut, .. } if !*shut => {
                *shut = true;
                if client.layers.is_plain() {
                    client.transport.shutdown_write();
                } else {
                    self.say_goodbye(slot);
                }
                // The peer may have closed already: its FIN was read while the last packet was on its way.
                self.list(slot);
            }
            Stage::Open(session) => {
                if session.waits_for_room() {
                    self.with_session(slot, |session, may, now, desk| session.handle_drained(may, now, desk));
                }
                if written > 0 {
                    self.resume_reading(slot);
                }
            }
            _ => {}
        }
    }

    /// A WebSocket Close, a TLS close_notify, and then the end of our side.
    fn say_goodbye(&mut self, slot: u32) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let mut sealed = Out::default();
        client.layers.close(&mut client.out, &mut sealed);
        let (bytes, _) = write_all(&mut client.transport, &mut sealed);
        client.transport.shutdown_write();
        self.count_bytes(Direction::Sent, bytes);
    }
}

impl Client {
    /// Writes what there is, through the layers. A peer that does not read gets no new layer bytes made for it: they are
    /// made when those before have been taken.
    fn write_out(&mut self) -> (usize, Written) {
        if self.layers.is_plain() {
            return write_all(&mut self.transport, &mut self.out);
        }
        let sealed = self.sealed.get_or_insert_default();
        let mut total = 0;
        loop {
            let failed = sealed.is_empty() && self.layers.seal(&mut self.out, sealed).is_err();
            // Nothing more is to be said, or not before the handshake is done.
            if sealed.is_empty() && !failed {
                return (total, Written::All);
            }
            let (bytes, written) = write_all(&mut self.transport, sealed);
            total += bytes;
            match written {
                Written::All if failed => return (total, Written::Broken),
                Written::All => {}
                written => return (total, written),
            }
        }
    }
}

/// One write, and another only while shared slices exceed what one write takes.
fn write_all(transport: &mut Transport, out: &mut Out) -> (usize, Written) {
    let mut total = 0;
    while !out.is_empty() {
        match transport.write(out) {
            Ok(0) => return (total, Written::Part),
            Ok(count) => {
                let asked_for_all = !out.has_shared();
                let short = asked_for_all && count < out.len();
                out.advance(count);
                total += count;
                if short {
                    return (total, Written::Part);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (total, Written::Part),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return (total, Written::Broken),
        }
    }
    (total, Written::All)
}

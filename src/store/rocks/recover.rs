//! What a start finds: sessions and retained messages for the broker, tallies for the writer.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rocksdb::{ColumnFamily, DB, IteratorMode, ReadOptions, WriteBatch};

use super::age::Ages;
use super::batch::Families;
use super::layout::{self, Row};
use super::ram::{Open, Ram};
use crate::clock::Moment;
use crate::identity::{SessionId, Ticket};
use crate::session::SavedSubscription;
use crate::store::record::{self, Epoch, Unreadable};
use crate::store::{Recovered, SessionRecord};

/// Rows between two lines in the log.
const PROGRESS: u64 = 500_000;

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("column family {family}: {source}")]
    Database { family: &'static str, source: rocksdb::Error },
    #[error("column family {family}, key {key}: {source}")]
    Record { family: &'static str, key: String, source: Unreadable },
}

/// Everything that was found.
pub(super) struct Found {
    pub(super) ram: Ram,
    pub(super) recovered: Recovered,
    /// Sessions that had ended, with rows left.
    pub(super) ended: Vec<SessionId>,
    /// The highest ticket seen.
    pub(super) last: Ticket,
    pub(super) messages: u64,
    /// The soonest expiry of a waiting message.
    pub(super) soonest: Moment,
    pub(super) ages: Ages,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            ram: Ram::default(),
            recovered: Recovered::default(),
            ended: Vec::new(),
            last: Ticket::NONE,
            messages: 0,
            soonest: Moment::from_ms(u64::MAX),
            ages: Ages::default(),
        }
    }
}

/// Reads all rows once. Every checksum is looked at on the way.
pub(super) fn scan(db: &DB, epoch: Epoch) -> Result<Found, ScanError> {
    let families = Families::of(db);
    let mut found = Found { ages: ages(db, families.meta)?, ..Found::default() };
    // A ticket that is given out again would be taken for an old one.
    found.last = found.ages.last();
    scan_sessions(db, families.session, &mut found)?;
    let orphans = scan_queues(db, &families, epoch, &mut found)?;
    each(db, families.retained, layout::RETAINED, |key, value| {
        let message = record::message(record::unseal(key, value)?, epoch)?;
        found.recovered.retained.push(Arc::new(message));
        Ok(())
    })?;
    remove_bodies(db, families.body, &orphans)?;
    Ok(found)
}

/// What is known of the age of tickets.
fn ages(db: &DB, meta: &ColumnFamily) -> Result<Ages, ScanError> {
    let wrong = |source| ScanError::Record { family: layout::META, key: shown(layout::AGES), source };
    let value = db.get_cf(meta, layout::AGES);
    let Some(value) = value.map_err(|source| ScanError::Database { family: layout::META, source })? else {
        return Ok(Ages::default());
    };
    Ages::read(record::unseal(layout::AGES, &value).map_err(wrong)?).ok_or_else(|| wrong(Unreadable::Body))
}

/// A message that lies there once for many queues.
struct Body {
    bytes: usize,
    expires: Option<Moment>,
    refers: u32,
}

/// Reads bodies, then the queues that refer to them. Returns bodies that no queue refers to.
fn scan_queues(db: &DB, families: &Families<'_>, epoch: Epoch, found: &mut Found) -> Result<Vec<Ticket>, ScanError> {
    let mut bodies: HashMap<Ticket, Body, RandomState> = HashMap::default();
    each(db, families.body, layout::BODY, |key, value| {
        let message = record::message(record::unseal(key, value)?, epoch)?;
        let ticket = layout::ticket(key).ok_or(Unreadable::Body)?;
        bodies.insert(ticket, Body { bytes: message.bytes(), expires: message.expires, refers: 0 });
        Ok(())
    })?;
    let mut missing = None;
    each(db, families.queue, layout::QUEUE, |key, value| {
        let Some((session, ticket)) = layout::parse_queue_key(key) else { return Err(Unreadable::Body) };
        let entry = record::queue_entry(record::unseal(key, value)?, epoch)?;
        let (bytes, expires) = match (&entry.message, bodies.get_mut(&ticket)) {
            (Some(message), _) => (message.bytes(), message.expires),
            (None, Some(body)) => {
                body.refers = body.refers.saturating_add(1);
                (body.bytes, body.expires)
            }
            (None, None) => {
                missing.get_or_insert(ticket);
                return Ok(());
            }
        };
        found.last = found.last.max(ticket);
        if found.ram.knows(session) {
            found.ram.add(session, ticket, bytes);
            found.ram.keep();
            found.messages = found.messages.saturating_add(1);
            found.soonest = expires.map_or(found.soonest, |expires| found.soonest.min(expires));
        }
        Ok(())
    })?;
    if let Some(ticket) = missing {
        let (family, key) = (layout::BODY, format!("{ticket:?}, which a queue refers to"));
        return Err(ScanError::Record { family, key, source: Unreadable::Checksum });
    }
    let (used, orphans): (Vec<_>, Vec<_>) = bodies.into_iter().partition(|(_, body)| body.refers > 0);
    for (ticket, body) in used {
        found.ram.add_body(ticket, body.refers);
    }
    found.ram.keep();
    Ok(orphans.into_iter().map(|(ticket, _)| ticket).collect())
}

/// A session as its rows are read.
#[derive(Default)]
struct Rows {
    record: Option<SessionRecord>,
    subscriptions: Vec<SavedSubscription>,
    ends_wall_ms: Option<Option<u64>>,
    expiry_s: Option<u32>,
    will: Option<record::LaterWill>,
    exchanges: Vec<(Ticket, record::Exchange)>,
    ended: bool,
}

fn scan_sessions(db: &DB, family: &ColumnFamily, found: &mut Found) -> Result<(), ScanError> {
    let mut current = (SessionId::default(), Rows::default());
    each(db, family, layout::SESSION, |key, value| {
        let Some((session, row, rest)) = layout::parse_row_key(key) else { return Err(Unreadable::Body) };
        if session != current.0 {
            let (of, rows) = std::mem::replace(&mut current, (session, Rows::default()));
            rows.close(of, found);
        }
        current.1.add(session, row, rest, record::unseal(key, value)?)
    })?;
    let (of, rows) = current;
    rows.close(of, found);
    Ok(())
}

impl Rows {
    fn add(&mut self, session: SessionId, row: Row, rest: &[u8], body: &[u8]) -> Result<(), Unreadable> {
        match row {
            Row::Session => self.record = Some(record::session(session, body)?),
            Row::Subscription => {
                let filter = std::str::from_utf8(rest).map_err(|_| Unreadable::Body)?.into();
                self.subscriptions.push(SavedSubscription { filter, options: record::options(body)? });
            }
            Row::Received => {}
            Row::Exchange => {
                let ticket = layout::ticket(rest).ok_or(Unreadable::Body)?;
                self.exchanges.push((ticket, record::exchange(body)?));
            }
            Row::Will => self.will = Some(record::will(body)?),
            Row::Leave => self.ends_wall_ms = Some(record::leave(body)?),
            Row::Expiry => self.expiry_s = Some(record::expiry(body)?),
            Row::Ended => self.ended = true,
        }
        Ok(())
    }

    fn close(mut self, session: SessionId, found: &mut Found) {
        found.recovered.last_session = found.recovered.last_session.max(session);
        if self.ended {
            return found.ended.push(session);
        }
        let Some(mut record) = self.record else { return };
        record.expiry_s = self.expiry_s.unwrap_or(record.expiry_s);
        found.ram.found_session(session);
        for (ticket, exchange) in self.exchanges {
            let open = Open { packet_id: exchange.packet_id, state: exchange.state };
            found.ram.put_exchange(session, ticket, Some(open));
            found.ram.order = found.ram.order.max(exchange.order);
            found.last = found.last.max(ticket);
        }
        found.ram.keep();
        found.recovered.wills.extend(self.will.map(|will| (session, will)));
        // Half a million of these are held at once.
        self.subscriptions.shrink_to_fit();
        found.recovered.sessions.push((record, self.subscriptions, self.ends_wall_ms.flatten()));
    }
}

/// Calls `take` for every row of a column family.
pub(super) fn each(
    db: &DB,
    family: &ColumnFamily,
    name: &'static str,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Unreadable>,
) -> Result<(), ScanError> {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options.set_total_order_seek(true);
    options.set_readahead_size(4 * 1024 * 1024);
    let mut count: u64 = 0;
    for row in db.iterator_cf_opt(family, options, IteratorMode::Start) {
        // An iterator that meets damage ends early: asking it is what tells this from the end.
        let (key, value) = row.map_err(|source| ScanError::Database { family: name, source })?;
        take(&key, &value).map_err(|source| ScanError::Record { family: name, key: shown(&key), source })?;
        count = count.saturating_add(1);
        if count.is_multiple_of(PROGRESS) {
            tracing::info!(family = name, rows = count, "reading the store");
        }
    }
    Ok(())
}

/// A key as text.
pub(super) fn shown(key: &[u8]) -> String {
    key.iter().take(40).map(|byte| format!("{byte:02x}")).collect()
}

/// Bodies that no queue refers to: the process ended between two commits of an ending session.
fn remove_bodies(db: &DB, family: &ColumnFamily, orphans: &[Ticket]) -> Result<(), ScanError> {
    let mut batch = WriteBatch::default();
    for ticket in orphans {
        batch.delete_cf(family, layout::body_key(*ticket));
    }
    let failed = |source| ScanError::Database { family: layout::BODY, source };
    if orphans.is_empty() { Ok(()) } else { db.write(batch).map_err(failed) }
}

#[cfg(test)]
mod tests {
    use super::super::open::open;
    use super::*;
    use crate::clock::Now;
    use crate::identity::Origin;
    use crate::message::{Message, Parts};
    use crate::mqtt::{PacketId, QoS};
    use crate::session::OutState;
    use crate::store::Recipient;

    /// What a start says of one row that is whole.
    fn start(family: &'static str, key: &[u8], body: &[u8]) -> Result<Ticket, String> {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path()).unwrap();
        opened.db.put_cf(opened.db.cf_handle(family).unwrap(), key, record::seal(key, body)).unwrap();
        match scan(&opened.db, Epoch { wall_at_start_ms: 0 }) {
            Ok(found) => Ok(found.last),
            Err(ScanError::Record { source, .. }) => Err(source.to_string()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_number_behind_which_there_would_be_none_is_refused_and_not_counted_on_from() {
        let parts = Parts {
            topic: "t",
            properties: &[],
            payload: b"x",
            qos: QoS::AtLeastOnce,
            retain: false,
            expiry_s: None,
            origin: Origin(1),
        };
        let message = Message::new(parts, Now::default());
        let to =
            Recipient { session: SessionId(1), qos: QoS::AtLeastOnce, retain: false, subscription_ids: Vec::new() };
        let waiting = record::queue_body(&to, Some(&message), Epoch { wall_at_start_ms: 0 });
        let queued =
            |session, ticket| start(layout::QUEUE, &layout::queue_key(SessionId(session), Ticket(ticket)), &waiting);
        let no = || Err(Unreadable::Body.to_string());
        assert_eq!((queued(1, 7), queued(1, (1 << 63) - 1)), (Ok(Ticket(7)), Ok(Ticket((1 << 63) - 1))));
        assert_eq!((queued(1, u64::MAX), queued(1, 1 << 63), queued(u64::MAX, 7)), (no(), no(), no()));
        let mark = |last: u64| start(layout::META, layout::AGES, &[[0; 8], last.to_be_bytes()].concat());
        assert_eq!((mark(9), mark(u64::MAX)), (Ok(Ticket(9)), no()));
        let exchange = |ticket| {
            let key = layout::exchange_key(SessionId(1), Ticket(ticket));
            let (packet_id, state) = (PacketId::new(1).unwrap(), OutState::Published);
            start(layout::SESSION, &key, &record::exchange_body(record::Exchange { order: 1, packet_id, state }))
        };
        assert_eq!((exchange(3).is_ok(), exchange(u64::MAX)), (true, no()));
    }
}

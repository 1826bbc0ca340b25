//! Column families, keys and options of the database.
//!
//! ```text
//!  queue     session u64 · ticket u64                   a message waiting for, or under way to, one session
//!  body      ticket u64                                 the message itself, where many queues refer to it
//!  session   session u64 · 0                            the session
//!            session u64 · 1 · filter                   a subscription
//!            session u64 · 2 · Packet Identifier u16    an incoming QoS 2 message, not released
//!            session u64 · 3 · ticket u64               an outgoing exchange with a Packet Identifier
//!            session u64 · 4                            its delayed will
//!            session u64 · 5                            its connection has ended, and when the session will
//!            session u64 · 6                            its expiry, where DISCONNECT changed it
//!            session u64 · 7                            the session has ended, its rows are being removed
//!  retained  Topic Name                                 the retained message
//!  meta      name                                       store id; which tickets were there when
//! ```

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Options, SliceTransform};

use crate::identity::{SessionId, Ticket};
use crate::mqtt::PacketId;

/// Format of the whole folder. A higher one is refused.
pub(super) const FORMAT: u32 = 1;

pub(super) const QUEUE: &str = "queue";
pub(super) const BODY: &str = "body";
pub(super) const SESSION: &str = "session";
pub(super) const RETAINED: &str = "retained";
pub(super) const META: &str = "meta";
/// Key in `meta` of what is known of the age of tickets.
pub(super) const AGES: &[u8] = b"ages";
/// All column families, beside RocksDB's own `default`, which stays empty.
pub(super) const FAMILIES: [&str; 5] = [QUEUE, BODY, SESSION, RETAINED, META];

/// What a row of the column family `session` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Row {
    Session = 0,
    Subscription = 1,
    Received = 2,
    Exchange = 3,
    Will = 4,
    Leave = 5,
    Expiry = 6,
    Ended = 7,
}

impl Row {
    pub(super) fn of(byte: u8) -> Option<Row> {
        const ROWS: [Row; 8] = [
            Row::Session,
            Row::Subscription,
            Row::Received,
            Row::Exchange,
            Row::Will,
            Row::Leave,
            Row::Expiry,
            Row::Ended,
        ];
        ROWS.into_iter().find(|row| *row as u8 == byte)
    }
}

pub(super) fn queue_key(session: SessionId, ticket: Ticket) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&session.0.to_be_bytes());
    key[8..].copy_from_slice(&ticket.0.to_be_bytes());
    key
}

/// Session and ticket of a key in `queue`.
pub(super) fn parse_queue_key(key: &[u8]) -> Option<(SessionId, Ticket)> {
    let (session, rest) = key.split_first_chunk()?;
    Some((SessionId::written(*session)?, ticket(rest)?))
}

/// A ticket that is all there is, as in a key in `body`.
pub(super) fn ticket(bytes: &[u8]) -> Option<Ticket> {
    Ticket::written(bytes.try_into().ok()?)
}

pub(super) fn body_key(ticket: Ticket) -> [u8; 8] {
    ticket.0.to_be_bytes()
}

pub(super) fn row_key(session: SessionId, row: Row, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(rest.len().saturating_add(9));
    key.extend_from_slice(&session.0.to_be_bytes());
    key.push(row as u8);
    key.extend_from_slice(rest);
    key
}

pub(super) fn exchange_key(session: SessionId, ticket: Ticket) -> Vec<u8> {
    row_key(session, Row::Exchange, &ticket.0.to_be_bytes())
}

pub(super) fn received_key(session: SessionId, id: PacketId) -> Vec<u8> {
    row_key(session, Row::Received, &id.get().to_be_bytes())
}

/// Session, kind and rest of a key in `session`.
pub(super) fn parse_row_key(key: &[u8]) -> Option<(SessionId, Row, &[u8])> {
    let (session, rest) = key.split_first_chunk()?;
    let (row, rest) = rest.split_first()?;
    Some((SessionId::written(*session)?, Row::of(*row)?, rest))
}

/// First key behind everything of a session, in `queue` and `session`.
pub(super) fn end_of(session: SessionId) -> [u8; 8] {
    session.following().0.to_be_bytes()
}

/// Descriptors that the database may hold for its tables.
pub const FILES_MAX: i32 = 512;

const MIB: usize = 1024 * 1024;

/// Options of the database as a whole.
pub(super) fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A flipped bit in the log is refused; the default would open without what follows it.
    options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(0);
    options.set_manual_wal_flush(false);
    // A log goes as soon as its rows are in tables: an archive would hold everything that was written in its time.
    options.set_wal_ttl_seconds(0);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size((64 * MIB) as u64);
    options.set_db_write_buffer_size(64 * MIB);
    options.set_bytes_per_sync(MIB as u64);
    options.set_wal_bytes_per_sync(MIB as u64);
    options.set_max_open_files(FILES_MAX);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * MIB);
    options.set_max_manifest_file_size(16 * MIB);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options
}

/// Options of each column family. They share one block cache.
pub(super) fn families() -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(32 * MIB);
    FAMILIES.into_iter().map(|name| ColumnFamilyDescriptor::new(name, family(name, &cache))).collect()
}

fn family(name: &str, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(6);
    blocks.set_block_size(8 * 1024);
    let mut options = Options::default();
    options.set_level_compaction_dynamic_level_bytes(true);
    let (none, lz4) = (DBCompressionType::None, DBCompressionType::Lz4);
    options.set_compression_per_level(&[none, none, lz4, lz4, lz4, lz4, lz4]);
    options.set_max_write_buffer_number(4);
    match name {
        QUEUE => {
            // Queues are read by session; what was acknowledged leaves tombstones that compaction is told to look for.
            blocks.set_bloom_filter(10.0, false);
            blocks.set_whole_key_filtering(false);
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(8));
            options.add_compact_on_deletion_collector_factory(1024, 512, 0.5);
            options.set_write_buffer_size(16 * MIB);
        }
        SESSION => {
            blocks.set_bloom_filter(10.0, false);
            options.add_compact_on_deletion_collector_factory(1024, 512, 0.5);
            options.set_write_buffer_size(8 * MIB);
        }
        BODY | RETAINED => {
            options.add_compact_on_deletion_collector_factory(1024, 512, 0.5);
            options.set_write_buffer_size(8 * MIB);
        }
        _ => options.set_write_buffer_size(MIB),
    }
    options.set_block_based_table_factory(&blocks);
    options
}

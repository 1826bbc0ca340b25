//! Disk use follows what is alive, however much came and went.

use super::*;

const SESSIONS: u64 = 400;
const MESSAGES: usize = 60;
const SIZE: usize = 1000;
/// What RocksDB may hold beside what is alive: logs (`max_total_wal_size`), and one that is being written.
const LOGS: u64 = (64 + 32) << 20;
/// Its other files, and what it reserves for them.
const FILES: u64 = 16 << 20;

/// Bytes of a folder on its disk.
fn on_disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(folder).map(|entries| entries.filter_map(Result::ok).collect::<Vec<_>>());
    let size = |entry: &std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
        // What RocksDB removed meanwhile.
        metadata => metadata.map_or(0, |metadata| metadata.blocks() * 512),
    };
    entries.unwrap_or_default().iter().map(size).sum()
}

/// A round: all queues are filled, and emptied but for those of the sessions that never return.
fn round(store: &Rocks, number: u64, stay: impl Fn(u64) -> bool) {
    let payload = |n: usize| {
        // No two blocks are the same: compression must not hide what stays.
        let mut state = number << 32 | n as u64;
        let byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (state >> 58) as u8)
        };
        std::iter::repeat_with(byte).take(SIZE).collect::<String>()
    };
    let mut queued = Vec::new();
    for n in 0..MESSAGES {
        let payload = payload(n);
        queued.extend((1..=SESSIONS).map(|session| (session, store.append(vec![enqueue(&payload, [session])]))));
        settled(store, queued.last().unwrap().1);
    }
    for (place, (number, ticket)) in queued.iter().enumerate().filter(|(_, (number, _))| !stay(*number)) {
        let (session, packet_id) = (SessionId(*number), id(place as u16 % 100 + 1));
        let edit = |change| Record::Edit(session, change);
        let (sent, done) = (
            edit(Change::Sent { ticket: *ticket, packet_id, qos: QoS::ExactlyOnce }),
            edit(Change::Done { ticket: *ticket }),
        );
        store.append(vec![Record::Received { session, packet_id }, sent]);
        store.append(vec![edit(Change::Released(packet_id)), done]);
    }
    wait(store, Vec::new());
}

/// Subscriptions and retained messages that are made and taken back.
fn change_state(store: &Rocks, number: u64) {
    for n in 0..2000 {
        let session = SessionId(n % SESSIONS + 1);
        let filter: Arc<str> = format!("filter/{number}/{n}/{}", "f".repeat(100)).into();
        let options =
            Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: None };
        store.append(vec![Record::Subscribe(session, SavedSubscription { filter: Arc::clone(&filter), options })]);
        let parts = Parts {
            topic: &filter,
            properties: &[],
            payload: &[7; 500],
            qos: QoS::AtLeastOnce,
            retain: true,
            expiry_s: None,
            origin: Origin(1),
        };
        store.append(vec![Record::Retain(Arc::new(Message::new(parts, Now::default())))]);
        store.append(vec![Record::Unsubscribe(session, Arc::clone(&filter)), Record::Unretain((*filter).into())]);
    }
    wait(store, Vec::new());
}

#[test]
fn disk_use_after_churn_is_near_what_is_alive() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { messages_max: usize::MAX, bytes_max: usize::MAX, ..Bounds::default() };
    let store = Rocks::open(folder.path(), Level::Os, bounds, EPOCH).unwrap();
    store.append((1..=SESSIONS).map(|number| session(SessionId(number))).collect());
    // Written once, in families that hardly anything else is written to: it must not hold all logs.
    wait(&store, vec![Record::Retain(message("once"))]);
    let (rounds, mut peak) = (8, 0);
    for number in 0..rounds {
        // One of a hundred never returns.
        round(&store, number, |session| session % 100 == 0);
        change_state(&store, number);
        let used = on_disk(folder.path());
        println!("round {number}: {} MiB", used >> 20);
        peak = peak.max(used);
    }
    let messages = rounds * MESSAGES as u64;
    let alive = SESSIONS / 100 * messages * SIZE as u64;
    let written = SESSIONS * messages * SIZE as u64;
    println!("{} MiB were written, {} MiB are alive, {} MiB at most on disk", written >> 20, alive >> 20, peak >> 20);
    assert!(peak < LOGS * 2 + alive, "{peak} bytes at some time");
    let until = Instant::now() + Duration::from_secs(60);
    while on_disk(folder.path()) > LOGS + FILES + 3 * alive {
        assert!(Instant::now() < until, "{} bytes stay for {alive} that are alive", on_disk(folder.path()));
        std::thread::yield_now();
    }
    drop(store);
    // Opening moves what is in logs to tables: what is left is what is alive.
    let store = Rocks::open(folder.path(), Level::Os, bounds, EPOCH).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    println!("{} MiB after opening", on_disk(folder.path()) >> 20);
    while on_disk(folder.path()) > FILES + 3 * alive {
        assert!(Instant::now() < until, "{} bytes stay for {alive} that are alive", on_disk(folder.path()));
        std::thread::yield_now();
    }
    println!("{} MiB at rest", on_disk(folder.path()) >> 20);
    assert_eq!(store.shared.ram.lock().tally(SessionId(100)).messages, messages as u32);
}

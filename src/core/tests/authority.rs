//! What a client may do, at the edges.

use super::*;
use crate::metrics::Dropped;

/// Will Flag, and Will Retain.
const WILL: u8 = 0x24;

#[test]
fn no_will_is_published_below_the_brokers_own_topics() {
    let mut bench = Bench::plain();
    let mut watcher = bench.open(0, "watcher", 0);
    watcher.send(&subscribe("$SYS/broker/version", 0));
    bench.settle(&[&watcher]);
    watcher.read();
    for (topic, published) in [("$SYS/broker/version", false), ("$SYS/x", false), ("$SYSTEM", true)] {
        let before = bench.count(Metric::WillsPublished);
        let mut line = bench.connect_over(1, Layers::Plain);
        line.send(&connect("c", WILL, 0, &will(topic, "mine")));
        bench.settle(&[&line]);
        bench.vanish(line);
        bench.settle(&[&watcher]);
        assert_eq!(bench.count(Metric::WillsPublished) - before, u64::from(published), "{topic}");
    }
    assert!(watcher.read().is_empty());
    assert_eq!(bench.count(Metric::MessagesDropped(Dropped::PublishNotAuthorized)), 2);
}

#[test]
fn rules_that_change_while_a_client_comes_in_count_for_it() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16);
    let mut line = bench.enter(0, "c", 60);
    bench.turn(0, &[&line]);
    let nothing = Arc::new(Permissions::new(Vec::new(), false));
    let rules = Rules { anonymous_may: nothing, ..(*bench.door.rules.load_full()).clone() };
    bench.door.rules.store(Arc::new(rules));
    bench.shared.inboxes[0].post(Mail::Reloaded);
    bench.turn(0, &[]);
    bench.settle(&[&line]);
    assert_eq!(line.read().first(), Some(&0x20));
    line.send(&subscribe("t", 0));
    bench.settle(&[&line]);
    assert_eq!(line.read().last(), Some(&0x87));
}

/// The ACL file is this one from now on.
fn reload(bench: &Bench, acl: &str) {
    let folder = tempfile::tempdir().unwrap();
    let acl_file = folder.path().join("acl");
    std::fs::write(&acl_file, acl).unwrap();
    let files = Files::read(&AuthOptions { password_file: None, acl_file: Some(acl_file) }).unwrap();
    bench.shared.auth.as_ref().unwrap().replace(files);
}

#[test]
fn a_delayed_will_is_judged_by_the_rules_in_force_when_it_is_published() {
    let mut bench = Bench::plain();
    let mut watcher = bench.open(0, "watcher", 0);
    watcher.send(&subscribe("#", 0));
    bench.settle(&[&watcher]);
    watcher.read();
    let delayed = |topic: &str| [&[5, 0x18, 0, 0, 0, 10][..], &field(topic), &field("last")].concat();
    // One whose time comes, and one whose session is dropped before it has.
    for (client, topic) in [("c1", "w/1"), ("c2", "w/2"), ("c3", "still")] {
        let mut line = bench.connect_over(1, Layers::Plain);
        line.send(&connect(client, WILL, 600, &delayed(topic)));
        bench.settle(&[&line]);
        bench.vanish(line);
    }
    reload(&bench, "anonymous\nallow both still\n");
    let mut line = bench.connect_over(1, Layers::Plain);
    line.send(&connect("c2", 2, 0, &[]));
    bench.settle(&[&line]);
    bench.now_ms += 20_000;
    bench.settle(&[&watcher]);
    assert_eq!(bench.count(Metric::WillsPublished), 1, "the third");
    assert_eq!(bench.count(Metric::MessagesDropped(Dropped::PublishNotAuthorized)), 2);
    let stored = bench.store.recover();
    assert_eq!((stored.wills.len(), stored.retained.len()), (0, 1));
}

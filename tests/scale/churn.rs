//! Everything comes and goes, over and over: in the end the broker is as large as it was.

use crate::crowd::Crowd;
use crate::support::broker::{self, Broker};
use crate::support::build::Connect;
use crate::support::wire::Version::V5;
use crate::{MIB, resident, settled};

/// Sessions of one round.
const ROUND: usize = 400;

/// A round: each client connects and vanishes, then something is published to each of them. A session lives for four rounds:
/// begun with two subscriptions, resumed twice, ended; what was retained goes with it.
fn round(broker: &Broker, round: usize) {
    let addr = broker.addr("mqtt");
    let (name, stage) = (round / 4, round % 4);
    let topic = |n: usize| format!("churn/{name}/{n}");
    let mut clients = Vec::new();
    for n in 0..ROUND {
        let connect = Connect::new(V5, format!("churn-{name}-{n}"));
        let connect = if stage < 3 { connect.clean(stage == 0).kept_s(100_000) } else { connect };
        clients.push(Crowd::enter(addr, &connect));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        if stage == 0 {
            client.subscribe([topic(n + 1), format!("churn/+/{n}/#")].into_iter());
        }
    }
    clients.into_iter().for_each(Crowd::vanish);
    // Nobody is there: it waits in the sessions, twice where both subscriptions of a session match.
    let mut publisher = Crowd::enter(addr, &Connect::new(V5, "publisher"));
    let payload = if stage == 3 { "" } else { "0123456789abcdef0123456789abcdef" };
    publisher.retain((0..ROUND).map(|n| (topic(n), payload.to_owned())));
}

/// After `warm` sessions the broker is as large as it will be; then as many as `sessions` come and go.
fn churn(config: &str, warm: usize, sessions: usize) {
    let broker = broker::with(config);
    let rounds = |sessions: usize| sessions.div_ceil(ROUND).next_multiple_of(4);
    let (warm, rounds) = (rounds(warm), rounds(sessions));
    (0..warm).for_each(|number| round(&broker, number));
    let baseline = resident(&broker);
    (warm..warm + rounds).for_each(|number| round(&broker, number));
    let bound = baseline * 1.1 + 2.0 * MIB;
    let left = settled(&broker, bound);
    println!("{{\"sessions\":{},\"baseline\":{baseline},\"left\":{left}}}", rounds * ROUND);
    assert!(left <= bound, "{left} bytes after {sessions} sessions, {baseline} before");
}

#[test]
fn after_sessions_have_come_and_gone_the_broker_is_as_large_as_before() {
    churn("[limits]\nreceive_maximum = 1000\n[store]\nmode = \"memory\"\n", 3_000, 8_000);
}

#[test]
#[ignore = "make scale"]
fn after_a_million_sessions_have_come_and_gone_the_broker_is_as_large_as_before() {
    churn("[limits]\nreceive_maximum = 1000\n[store]\nmode = \"memory\"\n", 3_000, 1_000_000);
}

#[test]
#[ignore = "make scale"]
fn after_sessions_have_come_and_gone_so_is_one_that_stores_them() {
    // RocksDB's buffers are full after some ten thousand.
    churn("[limits]\nreceive_maximum = 1000\n[store]\nmode = \"os\"\n", 60_000, 60_000);
}

//! What must be true of what has its time: messages that expire and wills that are delayed. (Sessions are judged by their clients,
//! when they are let in.)

use std::collections::BTreeMap;

use crate::client::{Client, Connection, Wish};
use crate::oracle::{messages, publisher};
use crate::support::wire::Version;
use crate::world::World;

/// Every promise, for every client.
pub fn judge(world: &World) {
    for client in world.clients.iter().filter(|client| !client.kind.rival) {
        messages_in_time(world, client);
    }
    wills_in_time(world);
}

/// A message that has expired is not begun to be delivered [MQTT-3.3.2-5], and one that has not says what is left [MQTT-3.3.2-6].
fn messages_in_time(world: &World, client: &Client) {
    let name = &client.kind.name;
    for seen in messages(client) {
        let published = publisher(world, seen).expect("somebody published it");
        let Some(expiry_s) = published.expiry_s else {
            assert_eq!(seen.expiry_s, None, "{name}: {seen:?}");
            continue;
        };
        let over_ms = published.known.map(|(_, known_ms)| known_ms + u64::from(expiry_s) * 1000);
        let in_time = seen.repeat || over_ms.is_none_or(|over_ms| seen.entered_ms < over_ms);
        assert!(in_time, "{name}: {seen:?} came on a connection that was made when {published:?} had expired");
        if client.kind.version == Version::V5 {
            let left_s = seen.expiry_s.unwrap_or_else(|| panic!("{name}: {seen:?} does not say when it expires"));
            let waited_s = (seen.at_ms - published.at_ms) / 1000;
            let fits = left_s <= expiry_s && u64::from(left_s) + waited_s >= u64::from(expiry_s);
            assert!(fits && (left_s > 0 || seen.repeat), "{name}: {seen:?} of {published:?}");
        }
    }
}

/// A connection that broke has its will published once: when its delay or its session is over [MQTT-3.1.2-8], unless its client is back
/// by then [MQTT-3.1.3-9]. One that ended with DISCONNECT has not [MQTT-3.14.4-3].
fn wills_in_time(world: &World) {
    let Some(watcher) = world.clients.first() else { return };
    let Some(since) = watcher.subscribed_at.filter(|_| !world.refused) else { return };
    let mut count: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for seen in watcher.seen.iter().filter(|seen| seen.topic.starts_with("w/")) {
        // A repeat may be all that arrived of the first sending.
        let count = count.entry((&seen.publisher, seen.sequence)).or_default();
        *count = (*count + usize::from(!seen.repeat)).max(1);
    }
    for client in &world.clients {
        let Some(wish) = client.kind.will else { continue };
        for (number, connection) in &client.connections {
            let times = count.get(&(&*client.kind.name, *number)).copied().unwrap_or(0);
            let due = Due::of(world, client, wish, connection);
            let what = format!("{}: will {number} of {wish:?} came {times} times: {connection:?}", client.kind.name);
            assert!(times == 0 || due.may_come, "{what}");
            // A QoS 1 message is delivered before it is safe, and once more if it never is.
            assert!(times <= 1 || wish.qos == 1 && world.crashed, "{what}");
            assert!(times > 0 || !due.must_come || connection.ended_at.is_none_or(|ended| ended <= since), "{what}");
        }
    }
}

struct Due {
    may_come: bool,
    must_come: bool,
}

impl Due {
    fn of(world: &World, client: &Client, wish: Wish, connection: &Connection) -> Self {
        let Some(ended_ms) = connection.ended_ms.filter(|_| !connection.said_goodbye) else {
            return Self { may_come: false, must_come: false };
        };
        let delay_ms = u64::from(wish.delay_s.min(client.kind.kept_s)) * 1000;
        let back_in_time = connection.back_ms.is_some_and(|back_ms| back_ms < ended_ms + delay_ms);
        let looked_ms = connection.looked_ms.unwrap_or(world.looked_ms);
        let over = |noticed_ms: u64| delay_ms == 0 || looked_ms > noticed_ms + delay_ms;
        let must_come = if delay_ms == 0 { true } else { connection.noticed_ms.is_some_and(over) };
        Self { may_come: !back_in_time, must_come: must_come && !connection.forgotten }
    }
}

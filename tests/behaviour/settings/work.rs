//! What clients do all day, each step on connections of its own. A step is done right, or refused in a way the client can
//! tell; anything else fails the test at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::chance::Chance;
use crate::corpus;
use crate::support::build::{Connect, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, Will, ack, subscribe};
use crate::support::client::{Client, Event};
use crate::support::packet::{Packet, Publish};
use crate::support::wire::{Props, Version, prop};
use crate::support::{WAIT, unique};

/// How a client is told that it cannot have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// By a code, in an acknowledgement or at the end of the connection.
    Code(Version, u8),
    /// By the end of the connection, which in 3.1.1 is all there is.
    Closed(Version),
    /// It was turned away before its CONNECT was read.
    TurnedAway,
    /// CONNACK said that there is no session, or fewer messages came than were sent: the first ones, or where a publisher of 3.1.1 met
    /// a full queue, the last ones.
    Less,
}

impl Refusal {
    /// Whether this says that a limit was met.
    pub fn is_clear(self) -> bool {
        match self {
            // 3.1.1: identifier rejected, server unavailable; failure.
            Refusal::Code(Version::V3, code) => [0x02, 0x03, 0x80].contains(&code),
            // Identifier not valid, Keep Alive timeout, Filter invalid, Name invalid, Receive Maximum exceeded, Topic
            // Alias invalid, packet too large, quota exceeded, retain not supported, QoS not supported.
            Refusal::Code(Version::V5, code) => {
                [0x85, 0x8D, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x97, 0x9A, 0x9B].contains(&code)
            }
            Refusal::Closed(version) => version == Version::V3,
            Refusal::TurnedAway | Refusal::Less => true,
        }
    }
}

type Done = Result<(), Refusal>;

/// One thing that clients do.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Does it.
    pub run: fn(SocketAddr, Version) -> Done,
    /// Whether it asks for more than the defaults give.
    pub may_be_refused: bool,
}

const fn plain(run: fn(SocketAddr, Version) -> Done) -> Step {
    Step { run, may_be_refused: false }
}

/// All of it.
pub const STEPS: &[(&str, Step)] = &[
    ("a connection alone", plain(alone)),
    ("each QoS", plain(each_qos)),
    ("messages in a row", plain(in_a_row)),
    ("a large message", plain(large)),
    ("a retained message", plain(retained)),
    ("a will", plain(will)),
    ("a session resumed", plain(resumed)),
    ("a shared subscription", plain(shared)),
    ("topic aliases", plain(aliases)),
    ("a long Client Identifier", plain(long_identifier)),
    ("deep topics", Step { run: deep, may_be_refused: true }),
    ("bad packets", plain(bad_packets)),
];

fn other(version: Version) -> Version {
    if version == Version::V3 { Version::V5 } else { Version::V3 }
}

fn client(version: Version) -> Connect {
    Connect::new(version, unique("c"))
}

/// Connects.
fn enter(addr: SocketAddr, connect: &Connect) -> Result<Client, Refusal> {
    let mut client = connect.attempt_at(addr);
    match client.poll(WAIT) {
        Event::Packet(Packet::Connack(connack)) if connack.code == 0 => {
            client.connack = Some(connack);
            Ok(client)
        }
        Event::Packet(Packet::Connack(connack)) => Err(Refusal::Code(connect.version, connack.code)),
        Event::Closed => Err(Refusal::TurnedAway),
        other => client.fail(&format!("CONNACK or the end, got {other:?}")),
    }
}

/// The packet that fits, or why the connection ended without it.
fn answer<T>(client: &mut Client, what: &str, fits: impl Fn(&Packet) -> Option<T>) -> Result<T, Refusal> {
    if let Some(found) = client.seek(what, fits) {
        return Ok(found);
    }
    let code = client.seek("DISCONNECT", |packet| match packet {
        Packet::Disconnect(reason) => Some(reason.code),
        _ => None,
    });
    Err(code.map_or(Refusal::Closed(client.version), |code| Refusal::Code(client.version, code)))
}

fn judge(version: Version, code: u8) -> Done {
    if code < 0x80 { Ok(()) } else { Err(Refusal::Code(version, code)) }
}

fn take(client: &mut Client, filter: &str, options: u8) -> Done {
    let id = client.fresh_id();
    client.send(&subscribe(client.version, id, &Props::new(), &[(filter.as_bytes(), options)]));
    let code = answer(client, "SUBACK", |packet| match packet {
        Packet::Suback(codes) if codes.id == id => Some(codes.codes[0]),
        _ => None,
    })?;
    judge(client.version, code)
}

fn ack_of(client: &mut Client, first: u8, id: u16) -> Done {
    let code = answer(client, &format!("0x{first:02X}"), |packet| match packet {
        Packet::Ack(ack) if ack.first == first && ack.id == id => Some(ack.code),
        _ => None,
    })?;
    judge(client.version, code)
}

/// The answer to PINGREQ: what was sent before was taken in.
fn pinged(client: &mut Client) -> Done {
    client.send(&PINGREQ);
    answer(client, "PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()))
}

/// Publishes and finishes the exchange.
fn give(client: &mut Client, publication: Publication, qos: u8) -> Done {
    let id = if qos == 0 { 0 } else { client.fresh_id() };
    client.send_publish(&publication.qos(qos, id));
    match qos {
        0 => pinged(client),
        1 => ack_of(client, PUBACK, id),
        _ => {
            ack_of(client, PUBREC, id)?;
            client.send(&ack(PUBREL, id, 0));
            ack_of(client, PUBCOMP, id)
        }
    }
}

/// The next PUBLISH, acknowledged to the end.
fn next(client: &mut Client) -> Result<Publish, Refusal> {
    let publish = answer(client, "PUBLISH", |packet| match packet {
        Packet::Publish(publish) => Some(publish.clone()),
        _ => None,
    })?;
    match publish.qos {
        0 => {}
        1 => client.send(&ack(PUBACK, publish.id, 0)),
        _ => {
            client.send(&ack(PUBREC, publish.id, 0));
            ack_of(client, PUBREL, publish.id)?;
            client.send(&ack(PUBCOMP, publish.id, 0));
        }
    }
    Ok(publish)
}

#[track_caller]
fn is(client: &Client, publish: &Publish, payload: &[u8], qos: u8) {
    if publish.payload != payload || publish.qos != qos {
        let payload = String::from_utf8_lossy(&payload[..payload.len().min(40)]);
        client.fail(&format!("{payload:?} at QoS {qos}, got QoS {} of {} bytes", publish.qos, publish.payload.len()));
    }
}

/// Whoever is let in can be reached by itself: with room for one connection, too.
fn alone(addr: SocketAddr, version: Version) -> Done {
    let mut client = enter(addr, &client(version))?;
    pinged(&mut client)?;
    let topic = unique("t");
    take(&mut client, &topic, 0)?;
    give(&mut client, Publication::new(&topic, "self"), 0)?;
    let publish = next(&mut client)?;
    is(&client, &publish, b"self", 0);
    client.leave();
    Ok(())
}

fn each_qos(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let mut subscriber = enter(addr, &client(version))?;
    take(&mut subscriber, &topic, 2)?;
    let mut publisher = enter(addr, &client(other(version)))?;
    for qos in 0..=2 {
        give(&mut publisher, Publication::new(&topic, "each"), qos)?;
        let publish = next(&mut subscriber)?;
        is(&subscriber, &publish, b"each", qos);
    }
    Ok(())
}

/// More than one at a time: what comes is what was sent first, and all of it unless there is no room.
fn in_a_row(addr: SocketAddr, version: Version) -> Done {
    const MANY: u8 = 24;
    let topic = unique("t");
    let mut subscriber = enter(addr, &client(version))?;
    take(&mut subscriber, &topic, 1)?;
    let mut publisher = enter(addr, &client(other(version)))?;
    for number in 0..MANY {
        give(&mut publisher, Publication::new(&topic, [number]), 1)?;
    }
    pinged(&mut publisher)?;
    let mut came: Vec<u8> = Vec::new();
    while came.len() < usize::from(MANY) {
        pinged(&mut subscriber)?;
        let waits = subscriber.poll(Duration::from_millis(if came.is_empty() { 5000 } else { 300 }));
        let Event::Packet(Packet::Publish(publish)) = waits else { break };
        subscriber.send(&ack(PUBACK, publish.id, 0));
        came.extend(&publish.payload);
    }
    assert!(!came.is_empty() && came.is_sorted() && came[0] == 0, "the first ones, in order: {came:?}");
    if came.len() == usize::from(MANY) { Ok(()) } else { Err(Refusal::Less) }
}

fn large(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let payload = vec![b'x'; 70_000];
    let mut subscriber = enter(addr, &client(version))?;
    take(&mut subscriber, &topic, 1)?;
    let mut publisher = enter(addr, &client(other(version)))?;
    give(&mut publisher, Publication::new(&topic, &payload), 1)?;
    let publish = next(&mut subscriber)?;
    is(&subscriber, &publish, &payload, 1);
    Ok(())
}

fn retained(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let mut publisher = enter(addr, &client(other(version)))?;
    give(&mut publisher, Publication::new(&topic, "kept").retain(), 1)?;
    let mut late = enter(addr, &client(version))?;
    // 3.1.1 cannot say that it was not kept; then nothing comes.
    take(&mut late, &topic, 1)?;
    pinged(&mut late)?;
    match late.poll(Duration::from_millis(300)) {
        Event::Packet(Packet::Publish(publish)) => {
            is(&late, &publish, b"kept", 1);
            assert!(publish.retain, "it was there before");
            late.send(&ack(PUBACK, publish.id, 0));
        }
        Event::Silence if publisher.version == Version::V3 => return Err(Refusal::Less),
        other => late.fail(&format!("the retained message, got {other:?}")),
    }
    give(&mut publisher, Publication::new(&topic, "").retain(), 1)
}

fn will(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let mut subscriber = enter(addr, &client(other(version)))?;
    take(&mut subscriber, &topic, 2)?;
    let mut mortal = enter(addr, &client(version).will(Will::new(&topic, "last").qos(2)))?;
    mortal.finish_writing();
    mortal.drain_to_close();
    let publish = next(&mut subscriber)?;
    is(&subscriber, &publish, b"last", 2);
    Ok(())
}

fn resumed(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let connect = client(version).resume();
    let mut sleeper = enter(addr, &connect)?;
    take(&mut sleeper, &topic, 2)?;
    sleeper.leave();
    let mut publisher = enter(addr, &client(other(version)))?;
    let mut kept = Vec::new();
    let mut refused = None;
    for (payload, qos) in [("one", 1), ("two", 2), ("three", 1), ("four", 2)] {
        match give(&mut publisher, Publication::new(&topic, payload), qos) {
            Ok(()) => kept.push((payload, qos)),
            // Where the first was told in a DISCONNECT, the others meet a closed connection.
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    let mut sleeper = enter(addr, &connect)?;
    if !sleeper.session_present() {
        return Err(Refusal::Less);
    }
    while !kept.is_empty() {
        let publish = next(&mut sleeper)?;
        // In order among those of one QoS.
        let Some(first) = kept.iter().position(|(_, qos)| *qos == publish.qos) else {
            sleeper.fail(&format!("{kept:?}, got {publish:?}"))
        };
        let came = |(payload, qos): &(&str, u8)| *qos == publish.qos && payload.as_bytes() == publish.payload;
        // A publisher of 3.1.1 cannot be told that a queue is full, and pushes the oldest out of it.
        if publisher.version == Version::V3 && kept.iter().position(came).is_some_and(|at| at > first) {
            return Err(Refusal::Less);
        }
        let (payload, qos) = kept.remove(first);
        is(&sleeper, &publish, payload.as_bytes(), qos);
    }
    refused.map_or(Ok(()), Err)
}

fn shared(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let mut members = [enter(addr, &client(version))?, enter(addr, &client(other(version)))?];
    for member in &mut members {
        take(member, &format!("$share/g/{topic}"), 1)?;
    }
    let mut publisher = enter(addr, &client(version))?;
    give(&mut publisher, Publication::new(&topic, "a"), 1)?;
    give(&mut publisher, Publication::new(&topic, "b"), 1)?;
    let mut came = Vec::new();
    for _ in 0..500 {
        for member in &mut members {
            if let Event::Packet(Packet::Publish(publish)) = member.poll(Duration::from_millis(10)) {
                member.send(&ack(PUBACK, publish.id, 0));
                came.extend(publish.payload);
            }
        }
        if came.len() == 2 {
            break;
        }
    }
    came.sort_unstable();
    assert_eq!(came, *b"ab", "each message once");
    Ok(())
}

/// The largest alias the broker allows, and as many towards us as it likes.
fn aliases(addr: SocketAddr, version: Version) -> Done {
    let topic = unique("t");
    let connect = client(version);
    let connect = match version {
        Version::V5 => connect.props(Props::new().u16(prop::TOPIC_ALIAS_MAXIMUM, u16::MAX)),
        Version::V3 => connect,
    };
    let mut client = enter(addr, &connect)?;
    take(&mut client, &topic, 1)?;
    let alias = client.announced(prop::TOPIC_ALIAS_MAXIMUM).unwrap_or(0) as u16;
    for round in 0..3 {
        let publication = match alias {
            0 => Publication::new(&topic, "alias"),
            _ => Publication::new(if round == 0 { topic.as_str() } else { "" }, "alias")
                .props(Props::new().u16(prop::TOPIC_ALIAS, alias)),
        };
        give(&mut client, publication, 1)?;
        let publish = next(&mut client)?;
        is(&client, &publish, b"alias", 1);
        assert_eq!(publish.topic, topic);
    }
    Ok(())
}

fn long_identifier(addr: SocketAddr, version: Version) -> Done {
    let mut client = enter(addr, &Connect::new(version, unique(&"i".repeat(200))))?;
    pinged(&mut client)
}

fn deep(addr: SocketAddr, version: Version) -> Done {
    for topic in ["/".repeat(127), "/".repeat(128), "a/".repeat(32_767), "/".repeat(65_535)] {
        let mut client = enter(addr, &client(version))?;
        take(&mut client, &topic, 1)?;
        take(&mut client, &format!("{}#", &topic[..topic.len() - 2]), 1)?;
        give(&mut client, Publication::new(&topic, "deep").retain(), 1)?;
        let publish = next(&mut client)?;
        is(&client, &publish, b"deep", 1);
        give(&mut client, Publication::new(&topic, "").retain(), 1)?;
    }
    Ok(())
}

/// Each packet of the corpus, and some like it. The broker reads them to their end, and closes.
fn bad_packets(addr: SocketAddr, version: Version) -> Done {
    const VARIANTS: usize = 3;
    let over = if version == Version::V5 { 3 } else { 2 };
    let mut chance = Chance(u64::from(over));
    for sample in corpus::packets().iter().filter(|sample| sample.over == 0 || sample.over == over) {
        let mut bytes = sample.bytes.clone();
        for _ in 0..VARIANTS {
            let before = if sample.over == 0 { Vec::new() } else { client(version).bytes() };
            to_the_end(addr, &[before, bytes.clone()].concat());
            chance.change(&mut bytes);
        }
    }
    Ok(())
}

fn to_the_end(addr: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(WAIT)).expect("a timeout");
    // It may have closed already.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let ended = stream.read_to_end(&mut Vec::new());
    let hangs = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!hangs, "the broker neither answers nor closes after {bytes:x?}");
}

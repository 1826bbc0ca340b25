//! The packets of the crowd's clients, 5.0.

pub const CONNACK: u8 = 0x20;
pub const PUBACK: u8 = 0x40;
pub const PINGREQ: [u8; 2] = [0xC0, 0];

fn field(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128, "a length of one byte");
    [&[first, body.len() as u8][..], body].concat()
}

/// Clean Start 0, Session Expiry Interval one day.
pub fn connect(client: &str, keep_alive_s: u16) -> Vec<u8> {
    let head =
        [&field("MQTT")[..], &[5, 0], &keep_alive_s.to_be_bytes(), &[5, 0x11], &86_400_u32.to_be_bytes()].concat();
    packet(0x10, &[&head[..], &field(client)].concat())
}

pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1, 0][..], &field(filter), &[qos]].concat())
}

pub fn publish(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let id = if qos > 0 { id.to_be_bytes().to_vec() } else { Vec::new() };
    packet(0x30 | qos << 1, &[&field(topic)[..], &id, &[0], payload].concat())
}

pub fn puback(id: [u8; 2]) -> [u8; 4] {
    [0x40, 2, id[0], id[1]]
}

/// The Packet Identifier of a PUBLISH with QoS 1.
pub fn id_of(publish: &[u8]) -> [u8; 2] {
    let topic = usize::from(publish[2]) << 8 | usize::from(publish[3]);
    [publish[4 + topic], publish[5 + topic]]
}

/// Takes the packets apart that `bytes` consist of, each shorter than 128 bytes.
pub fn each(mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
    while bytes.len() >= 2 {
        let (packet, rest) = bytes.split_at(2 + usize::from(bytes[1]));
        take(packet);
        bytes = rest;
    }
}

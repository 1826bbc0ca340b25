//! Packets of each kind, for each version that has them: where the search for wrong ones begins.

/// A whole packet.
#[derive(Debug, Clone)]
pub struct Sample {
    /// 0: a CONNECT, which opens a connection; 2: sent over 3.1.1; 3: over 5.0.
    pub over: u8,
    /// Fixed header and body.
    pub bytes: Vec<u8>,
}

/// One of each.
pub fn packets() -> Vec<Sample> {
    let user: &[u8] = b"\x26\0\x01k\0\x01v";
    let connect_5 = [
        b"\0\x04MQTT\x05\xEE\0\x3C\x26\x11\0\0\0\x3C\x21\0\x14\x27\0\x01\0\0\x22\0\x05\x19\x01\x17\0\x15\0\x01m\x16\0\x02\0\xFF",
        user,
        b"\0\x02id\x0C\x18\0\0\0\x09",
        user,
        b"\0\x03w/t\0\x02\xFF\0\0\x04user\0\x02\0\xFF",
    ];
    let publish_5 =
        [b"\0\x03a/b\0\x07\x1C\x01\x01\x02\0\0\0\x1E\x03\0\x01c\x08\0\x01r\x09\0\x01\xFF\x23\0\x03", user, b"hi"];
    let bodies: [(u8, u8, Vec<u8>); 16] = [
        (0, 0x10, connect_5.concat()),
        (0, 0x10, b"\0\x04MQTT\x04\xC2\0\x3C\0\x02id\0\x01u\0\x01p".to_vec()),
        (0, 0x10, b"\0\x06MQIsdp\x03\x02\0\x3C\0\x02id".to_vec()),
        (3, 0x3D, publish_5.concat()),
        (3, 0x30, b"\0\0\x03\x23\0\x01x".to_vec()),
        (2, 0x3B, b"\0\x03a/b\0\x07hello".to_vec()),
        (3, 0x82, b"\0\x09\x02\x0B\x07\0\x03a/#\x2E".to_vec()),
        (2, 0x82, b"\0\x09\0\x03a/#\x01\0\x01b\x02".to_vec()),
        (3, 0xA2, b"\0\x09\0\0\x01a".to_vec()),
        (2, 0xA2, b"\0\x09\0\x01a".to_vec()),
        (3, 0x40, b"\0\x09\x10\x08\x1F\0\x01r\x26\0\0\0\0".to_vec()),
        (2, 0x62, b"\0\x09".to_vec()),
        (3, 0xE0, b"\x04\x05\x11\0\0\0\x05".to_vec()),
        (3, 0xF0, b"\x18\x08\x15\0\x01m\x16\0\x01x".to_vec()),
        (2, 0xC0, Vec::new()),
        (3, 0x70, b"\0\x09\x92".to_vec()),
    ];
    let framed = |(over, first, body): &(u8, u8, Vec<u8>)| Sample {
        over: *over,
        bytes: [&[*first, u8::try_from(body.len()).expect("short")][..], body].concat(),
    };
    bodies.iter().map(framed).collect()
}

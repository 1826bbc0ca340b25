//! What is written at one end is read at the other, however it is cut, until one of them closes.

use super::*;

#[test]
fn a_handshake_and_an_echo_work_however_the_bytes_are_cut() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        for fragment in [None, Some(32), Some(100)] {
            for chunk in [1, 2, 5, 64, 1000, usize::MAX] {
                let mut client_config = authority.client_config(version, None);
                client_config.max_fragment_size = fragment;
                let mut link = Link::new(&config, &client_config, chunk).established();
                assert_eq!(link.client.protocol_version(), Some(version.version));
                link.echo(b"hello");
                link.echo(&[7; 300]);
                assert_eq!((link.server.kept.capacity(), link.server.answers.capacity()), (0, 0), "idle");
            }
        }
    }
}

#[test]
fn every_cut_of_a_run_of_records_gives_the_same_bytes() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX).established();
        let pieces: [&[u8]; 4] = [b"a", b"bcd", &[9; 40], b"end"];
        let length = {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| link.send(piece)).collect();
            assert_eq!(link.serve(&bytes), Ok(false));
            bytes.len()
        };
        let expected = link.plain.clone();
        for first in 0..length {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| link.send(piece)).collect();
            let second = first + (length - first) / 2;
            link.plain.clear();
            for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                assert_eq!(link.serve(piece), Ok(false), "cut at {first}");
                // Writing while half a record waits must not disturb it.
                let answer = link.server_bytes(b"x");
                link.tell(&answer).unwrap();
            }
            assert_eq!(link.plain, expected, "cut at {first}");
        }
    }
}

#[test]
fn bytes_that_come_with_the_end_of_the_handshake_are_delivered_at_once() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut cut = 0;
        loop {
            let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX);
            link.client.writer().write_all(b"early").unwrap();
            // All but the client's last flight.
            let mut last = link.client_bytes();
            while link.client.is_handshaking() {
                link.serve(&last).unwrap();
                let answer = link.server_bytes(b"");
                link.tell(&answer).unwrap();
                last = link.client_bytes();
            }
            if version.version == TLS12.version {
                // In 1.2 the client speaks after the server's Finished: there is nothing early to cut.
                link.serve(&last).unwrap();
                assert_eq!(link.plain, b"early");
                break;
            }
            if cut > last.len() {
                break;
            }
            link.serve(&last[..cut]).unwrap();
            link.serve(&last[cut..]).unwrap();
            assert_eq!(link.plain, b"early", "cut at {cut}");
            cut += 1;
        }
    }
}

#[test]
fn what_is_to_be_sent_waits_for_the_end_of_the_handshake() {
    let (_authority, config) = plain_server();
    let mut tls = Tls::new(&config);
    let (mut out, mut sealed) = (Out::default(), Out::default());
    out.put(b"patience");
    tls.seal(&mut out, &mut sealed).unwrap();
    assert_eq!((out.len(), sealed.len(), tls.wants_seal()), (8, 0, false));
}

#[test]
fn large_and_shared_pieces_arrive_whole() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), 65_536).established();
        let big: Vec<u8> = (0..300_000u32).map(|i| (i % 253) as u8).collect();
        link.client.set_buffer_limit(None);
        let bytes = link.send(&big);
        assert_eq!(link.serve(&bytes), Ok(false));
        assert!(link.plain == big);
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(b"head");
        out.put_shared(Bytes::from(big.clone()));
        out.put(b"tail");
        link.server.seal(&mut out, &mut sealed).unwrap();
        assert!(out.is_empty());
        // The client's reader is drained as it goes: it holds only so much.
        let (mut wire, mut arrived) = (sealed.plain(), Vec::new());
        while !wire.is_empty() {
            link.client.read_tls(&mut wire).unwrap();
            link.client.process_new_packets().unwrap();
            let _would_block = link.client.reader().read_to_end(&mut arrived);
        }
        assert!(arrived == [b"head", &big[..], b"tail"].concat());
    }
}

#[test]
fn the_clients_close_notify_ends_the_stream_and_what_follows_is_ignored() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        for chunk in [1, usize::MAX] {
            let mut link = Link::new(&config, &authority.client_config(version, None), chunk).established();
            let mut bytes = link.send(b"last");
            link.client.send_close_notify();
            bytes.extend(link.client_bytes());
            bytes.extend_from_slice(b"garbage that must not be looked at");
            assert_eq!(link.serve(&bytes), Ok(true));
            assert_eq!(link.plain, b"last");
            // The client has closed one direction only: an answer can still leave.
            let answer = link.server_bytes(b"bye");
            link.tell(&answer).unwrap();
            assert_eq!(link.received(3), b"bye");
        }
    }
}

#[test]
fn our_close_notify_follows_what_waits_and_nothing_follows_it() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX).established();
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(b"bye");
        link.server.close(&mut out, &mut sealed);
        assert_eq!(link.server_bytes(b"too late"), b"");
        link.tell(sealed.plain()).unwrap();
        assert_eq!(link.received(3), b"bye");
        assert!(link.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn a_change_of_keys_is_followed_and_answered_before_the_next_data() {
    let (authority, config) = plain_server();
    for chunk in [1, usize::MAX] {
        let mut link = Link::new(&config, &authority.client_config(&TLS13, None), chunk).established();
        for round in 0..100u8 {
            link.client.refresh_traffic_keys().unwrap();
            link.echo(&[round; 20]);
        }
    }
}

#[test]
fn a_flood_of_key_changes_ends_the_connection_and_holds_no_memory() {
    let (authority, config) = plain_server();
    let mut link = Link::new(&config, &authority.client_config(&TLS13, None), usize::MAX).established();
    let mut flood = Vec::new();
    for _ in 0..10_000 {
        link.client.refresh_traffic_keys().unwrap();
        flood.extend(link.client_bytes());
    }
    let fault = link.serve(&flood).expect_err("refused");
    assert_eq!(fault, TlsFault::Protocol(PeerMisbehaved::TooManyKeyUpdateRequests.into()));
    assert!(link.server.kept.is_empty() && link.server.answers.len() < 100);
    assert_eq!(link.server_bytes(b"lost").len(), link.server_bytes(b"").len());
}

#[test]
fn a_damaged_record_ends_the_connection_with_an_alert_and_what_came_before_it_counts() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX).established();
        let mut bytes = link.send(b"good");
        bytes.extend(link.send(b"damaged"));
        *bytes.last_mut().unwrap() ^= 1;
        let more = link.send(b"more");
        let fault = link.serve(&bytes).expect_err("damage");
        assert_eq!(fault, TlsFault::Protocol(Error::DecryptError));
        assert_eq!(link.plain, b"good");
        let alert = link.server_bytes(b"dropped");
        assert_eq!(link.tell(&alert), Err(Error::AlertReceived(AlertDescription::BadRecordMac)));
        assert_eq!(link.serve(&more), Ok(true), "nothing is read after a failure");
        assert_eq!(link.plain, b"good");
    }
}

#[test]
fn every_cut_of_a_handshake_leads_to_the_same_connection() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            for flight in 0..2 {
                let mut cut = 0;
                loop {
                    let client_config = authority.client_config(version, None);
                    if expected == HandshakeKind::Resumed {
                        Link::new(&config, &client_config, usize::MAX).established();
                    }
                    let mut link = Link::new(&config, &client_config, usize::MAX);
                    let mut bytes = link.client_bytes();
                    for _ in 0..flight {
                        bytes = link.answered(&bytes);
                    }
                    // Flights of the same kind differ by some bytes: so do signatures.
                    if cut >= bytes.len() {
                        break;
                    }
                    let (first, second) = bytes.split_at(cut);
                    // The core has the layer's answers sent after each read.
                    link.answered(first);
                    let after = link.answered(second);
                    link.answered(&after);
                    let mut link = link.established();
                    assert_eq!(link.client.handshake_kind(), Some(expected), "flight {flight} cut at {cut}");
                    link.echo(b"hello");
                    cut += 1;
                }
                assert!(cut > 30, "flight {flight} of {expected:?} is there");
            }
        }
    }
}

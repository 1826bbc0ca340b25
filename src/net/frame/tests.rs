use proptest::prelude::*;

use super::*;

/// A frame as a client sends it: the first byte as given, the length in its shortest form.
pub(in crate::net) fn client_frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut header = Out::default();
    put_binary_header(payload.len(), &mut header);
    let mut frame = header.plain().to_vec();
    frame[0] = first;
    frame[1] |= MASKED;
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A final binary frame.
pub(in crate::net) fn binary(payload: &[u8]) -> Vec<u8> {
    client_frame(FIN | BINARY, payload, [1, 2, 3, 4])
}

/// Everything that comes out of `pieces`, fed one after the other.
fn unframe(pieces: &[&[u8]]) -> (Vec<u8>, Vec<Control>, Result<(), Violation>) {
    let (mut frames, mut plain, mut controls) = (Frames::default(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut wire = piece.to_vec();
        let mut from = 0;
        while from < wire.len() {
            let (step, result) = frames.open(&mut wire[from..]);
            plain.extend_from_slice(&wire[from..from + step.plain]);
            controls.extend(step.control);
            if result.is_err() {
                return (plain, controls, result);
            }
            from += step.used;
        }
    }
    (plain, controls, Ok(()))
}

fn violation(bytes: &[u8]) -> Violation {
    let (_, _, result) = unframe(&[bytes]);
    result.expect_err("a violation")
}

/// A header with a length as given, and nothing behind it.
fn long_header(second: u8, length: &[u8]) -> Vec<u8> {
    [&[FIN | BINARY, MASKED | second], length, &[9, 9, 9, 9]].concat()
}

#[test]
fn mqtt_6_0_0_1_a_text_frame_is_a_violation_and_binary_is_not() {
    assert_eq!(violation(&client_frame(FIN | TEXT, b"x", [0; 4])), Violation::Text);
    assert_eq!(violation(&client_frame(TEXT, b"", [0; 4])), Violation::Text);
    assert_eq!(Violation::Text.close_code(), 1003);
    assert_eq!(unframe(&[&binary(b"x")]), (b"x".to_vec(), vec![], Ok(())));
}

#[test]
fn a_violation_is_seen_at_the_second_byte_and_what_came_before_it_counts() {
    let mut bytes = binary(b"good");
    bytes.extend_from_slice(&[FIN | TEXT, MASKED]);
    assert_eq!(unframe(&[&bytes]), (b"good".to_vec(), vec![], Err(Violation::Text)));
}

#[test]
fn unmasked_and_reserved_are_violations() {
    assert_eq!(violation(&[FIN | BINARY, 1]), Violation::Unmasked);
    for bit in [0x40, 0x20, 0x10] {
        assert_eq!(violation(&client_frame(FIN | BINARY | bit, b"", [0; 4])), Violation::Reserved);
    }
    for opcode in (3..8).chain(11..16) {
        assert_eq!(violation(&client_frame(FIN | opcode, b"", [0; 4])), Violation::Reserved);
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    assert_eq!(violation(&client_frame(PING, b"", [0; 4])), Violation::Control);
    assert_eq!(violation(&client_frame(FIN | PONG, &[0; 126], [0; 4])), Violation::Control);
    let longest = vec![7; usize::from(CONTROL_MAX)];
    let (_, controls, result) = unframe(&[&client_frame(FIN | PING, &longest, [5; 4])]);
    assert_eq!((controls, result), (vec![Control::Ping(longest)], Ok(())));
}

#[test]
fn lengths_are_judged_before_anything_follows_them() {
    assert_eq!(violation(&long_header(127, &(1u64 << 31).to_be_bytes())), Violation::TooLong);
    assert_eq!(violation(&long_header(127, &(1u64 << 63).to_be_bytes())), Violation::Length);
    assert_eq!(violation(&long_header(127, &u64::MAX.to_be_bytes())), Violation::Length);
    assert_eq!(violation(&long_header(127, &(FRAME_MAX + 1).to_be_bytes())), Violation::TooLong);
    assert_eq!(violation(&long_header(127, &0xffffu64.to_be_bytes())), Violation::Length);
    assert_eq!(violation(&long_header(126, &125u16.to_be_bytes())), Violation::Length);
    for allowed in [1 << 16, FRAME_MAX] {
        assert_eq!(unframe(&[&long_header(127, &allowed.to_be_bytes())]).2, Ok(()));
    }
    assert_eq!(Violation::TooLong.close_code(), 1009);
}

#[test]
fn every_size_of_length_carries_its_payload() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_001] {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let (plain, _, result) = unframe(&[&client_frame(FIN | BINARY, &payload, [0xa5, 0, 0xff, 1])]);
        assert_eq!(result, Ok(()));
        assert!(plain == payload, "length {length}");
    }
}

#[test]
fn fragments_of_any_size_make_one_stream_with_control_frames_between() {
    let bytes = [
        client_frame(BINARY, b"a", [1; 4]),
        client_frame(CONTINUATION, b"", [2; 4]),
        client_frame(FIN | PING, b"hi", [3; 4]),
        client_frame(CONTINUATION, b"bc", [4; 4]),
        client_frame(FIN | PONG, b"unasked", [5; 4]),
        client_frame(FIN | CONTINUATION, b"", [6; 4]),
        client_frame(FIN | BINARY, b"d", [7; 4]),
    ]
    .concat();
    assert_eq!(unframe(&[&bytes]), (b"abcd".to_vec(), vec![Control::Ping(b"hi".to_vec())], Ok(())));
}

#[test]
fn fragments_out_of_place_are_violations() {
    assert_eq!(violation(&client_frame(FIN | CONTINUATION, b"", [0; 4])), Violation::Fragment);
    let restart = [client_frame(BINARY, b"a", [0; 4]), binary(b"b")].concat();
    assert_eq!(violation(&restart), Violation::Fragment);
    let over = [client_frame(BINARY, b"a", [0; 4]), client_frame(FIN, b"b", [0; 4]), client_frame(FIN, b"c", [0; 4])];
    assert_eq!(unframe(&[&over.concat()]), (b"ab".to_vec(), vec![], Err(Violation::Fragment)));
}

#[test]
fn a_close_carries_an_allowed_code_or_none() {
    let close = |payload: &[u8]| unframe(&[&client_frame(FIN | CLOSE, payload, [8; 4])]);
    assert_eq!(close(b"").1, vec![Control::Close(None)]);
    assert_eq!(close(&[0x03, 0xe8]).1, vec![Control::Close(Some(1000))]);
    assert_eq!(close(b"\x0f\xa0bye").1, vec![Control::Close(Some(4000))]);
    // One byte, 999, 1005, 1015, 5000, and a reason that is not UTF-8.
    for wrong in [&b"\x03"[..], b"\x03\xe7", b"\x03\xed", b"\x03\xf7", b"\x13\x88", b"\x03\xe8\xff"] {
        assert_eq!(close(wrong).2, Err(Violation::Close), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn every_cut_of_a_stream_gives_the_same_bytes(
        frames in prop::collection::vec((0..4u8, prop::collection::vec(any::<u8>(), 0..200), any::<[u8; 4]>()), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        // Kinds: 0 and 1 end a message, 2 leaves it open, 3 is a Ping. Continuations follow what is open.
        let (mut bytes, mut expected, mut open) = (Vec::new(), Vec::new(), false);
        for (kind, payload, mask) in &frames {
            if *kind == 3 {
                bytes.extend(client_frame(FIN | PING, &payload[..payload.len().min(usize::from(CONTROL_MAX))], *mask));
                continue;
            }
            let fin = if *kind == 2 { 0 } else { FIN };
            let opcode = if open { CONTINUATION } else { BINARY };
            open = fin == 0;
            expected.extend_from_slice(payload);
            bytes.extend(client_frame(fin | opcode, payload, *mask));
        }
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let whole = unframe(&[&bytes]);
        prop_assert_eq!(&whole.0, &expected);
        prop_assert_eq!(&unframe(&pieces), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&unframe(&single), &whole);
    }

    #[test]
    fn no_input_panics_and_no_more_comes_out_than_went_in(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (plain, _, _) = unframe(&[&bytes]);
        prop_assert!(plain.len() <= bytes.len());
    }
}

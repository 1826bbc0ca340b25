//! Who is at the other end, and what is spoken.

use super::*;

#[test]
fn alpn_names_what_is_spoken_here_or_the_handshake_ends() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut client_config = authority.client_config(version, None);
        client_config.alpn_protocols = vec![b"h2".to_vec(), b"mqtt".to_vec()];
        let link = Link::new(&config, &client_config, usize::MAX).established();
        assert_eq!(link.server.alpn(), Some(&b"mqtt"[..]));
        client_config.alpn_protocols = vec![b"h2".to_vec()];
        let Refused { fault, told } = *Link::new(&config, &client_config, usize::MAX).run().expect_err("refused");
        assert_eq!(fault, TlsFault::Protocol(Error::NoApplicationProtocol));
        assert_eq!(told, Err(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    }
}

#[test]
fn sessions_resume_unless_clients_show_certificates() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let own = authority.client(1);
        for (options, own, expected) in [
            (authority.options(), None, HandshakeKind::Resumed),
            (authority.mutual(true, &[]), Some(&own), HandshakeKind::Full),
        ] {
            let config = load(&options);
            let client_config = authority.client_config(version, own);
            Link::new(&config, &client_config, usize::MAX).established().echo(b"x");
            let mut again = Link::new(&config, &client_config, usize::MAX).established();
            again.echo(b"again");
            assert_eq!(again.client.handshake_kind(), Some(expected));
        }
    }
}

#[test]
fn a_trusted_client_is_known_by_its_certificate() {
    let authority = Authority::new();
    let config = load(&authority.mutual(true, &[7]));
    let own = authority.client(8);
    for version in [&TLS12, &TLS13] {
        for fragment in [None, Some(64)] {
            for chunk in [1, 700, usize::MAX] {
                let mut client_config = authority.client_config(version, Some(&own));
                client_config.max_fragment_size = fragment;
                let mut link = Link::new(&config, &client_config, chunk);
                assert_eq!(link.server.peer_certificate(), None, "not before it is proved");
                link = link.established();
                assert_eq!(link.server.peer_certificate(), Some(own.der().as_ref()));
                link.echo(b"hello");
            }
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_refused_only_if_one_is_required() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let client_config = authority.client_config(version, None);
        let optional = load(&authority.mutual(false, &[]));
        let mut link = Link::new(&optional, &client_config, usize::MAX).established();
        assert_eq!(link.server.peer_certificate(), None);
        link.echo(b"hello");
        let required = load(&authority.mutual(true, &[]));
        let Refused { fault, told } = *Link::new(&required, &client_config, usize::MAX).run().expect_err("refused");
        assert_eq!(fault, TlsFault::Protocol(Error::NoCertificatesPresented));
        assert!(matches!(told, Err(Error::AlertReceived(_))), "{told:?}");
    }
}

#[test]
fn bad_client_certificates_are_refused_required_or_not() {
    use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
    let (authority, other) = (Authority::new(), Authority::new());
    let bad = [
        ("revoked", authority.client(7)),
        ("another authority's", other.client(8)),
        ("expired", authority.issue(|params| params.not_after = date_time_ymd(2020, 1, 1))),
        ("not valid yet", authority.issue(|params| params.not_before = date_time_ymd(2090, 1, 1))),
        (
            "a server's",
            authority.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
    ];
    for require in [true, false] {
        let config = load(&authority.mutual(require, &[7]));
        for version in [&TLS12, &TLS13] {
            for (what, leaf) in &bad {
                let client_config = authority.client_config(version, Some(leaf));
                let Refused { fault, told } = *Link::new(&config, &client_config, usize::MAX).run().expect_err(what);
                assert!(matches!(fault, TlsFault::Protocol(Error::InvalidCertificate(_))), "{what}: {fault}");
                assert!(matches!(told, Err(Error::AlertReceived(_))), "{what}: {told:?}");
            }
        }
    }
    let config = load(&authority.mutual(true, &[7]));
    let client_config = authority.client_config(&TLS13, Some(&bad[0].1));
    let Refused { fault, .. } = *Link::new(&config, &client_config, usize::MAX).run().expect_err("revoked");
    assert_eq!(fault, TlsFault::Protocol(CertificateError::Revoked.into()));
}

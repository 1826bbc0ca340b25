//! Listeners that ask clients for certificates.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A client's configuration with a certificate of this authority.
    fn config(&self, broker: &Broker, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["client".into()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots(broker))
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .expect("they fit")
    }
}

fn asking(ca: &Path, require: bool) -> Broker {
    let listener = |name| {
        format!(
            "[listeners.{name}]\naddr = \"127.0.0.1:0\"\nclient_ca = {ca:?}\nrequire_client_certificate = {require}\n"
        )
    };
    broker::with(&[listener("mqtts"), listener("wss")].concat())
}

/// A client is let in on both listeners, again and again: sessions of TLS are not resumed past the check.
#[track_caller]
fn is_let_in(broker: &Broker, config: &ClientConfig) {
    for _ in 0..2 {
        let mut wire = tls_over(tcp(broker.addr("mqtts")), config.clone());
        enter(&mut wire, &Connect::new(V5, unique("c")));
        assert_eq!(wire.conn.handshake_kind(), Some(HandshakeKind::Full));
        let mut wire = WebSocket::over(Box::new(tls_over(tcp(broker.addr("wss")), config.clone())));
        enter(&mut wire, &Connect::new(V3, unique("c")));
    }
}

/// A client gets nothing but an alert on either listener.
#[track_caller]
fn is_refused(broker: &Broker, config: &ClientConfig) {
    for listener in ["mqtts", "wss"] {
        let mut wire = tls_over(tcp(broker.addr(listener)), config.clone());
        wire.limit_read(WAIT);
        // In 1.3 the client may speak before the server has looked at its certificate.
        let refused = wire.write_all(&Connect::new(V5, unique("c")).bytes()).and_then(|()| wire.read(&mut [0; 9]));
        let told = refused.expect_err("not let in");
        let alert = told.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        assert!(matches!(alert, Some(rustls::Error::AlertReceived(_))), "on {listener}: {told}");
    }
}

#[test]
fn a_client_is_let_in_by_a_certificate_of_the_authority_only() {
    let (ours, others) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().expect("a directory");
    let ca = dir.path().join("clients.pem");
    std::fs::write(&ca, &ours.pem).expect("it is ours");
    let broker = asking(&ca, true);
    for tls in TLS {
        is_let_in(&broker, &ours.config(&broker, tls));
        is_refused(&broker, &config(&broker, tls));
        is_refused(&broker, &others.config(&broker, tls));
        is_let_in(&broker, &ours.config(&broker, tls));
    }
    sound_at(&broker);
}

#[test]
fn where_certificates_are_not_required_a_bad_one_is_worse_than_none() {
    let (ours, others) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().expect("a directory");
    let ca = dir.path().join("clients.pem");
    std::fs::write(&ca, &ours.pem).expect("it is ours");
    let broker = asking(&ca, false);
    for tls in TLS {
        is_let_in(&broker, &ours.config(&broker, tls));
        is_let_in(&broker, &config(&broker, tls));
        is_refused(&broker, &others.config(&broker, tls));
    }
    sound_at(&broker);
}

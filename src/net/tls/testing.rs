//! An authority for tests: certificates good and bad, as files and as configurations.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::ClientConnection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

use super::{TlsConfig, TlsOptions};

/// A certificate with its key.
pub(in crate::net) struct Leaf {
    pub(in crate::net) certificate: rcgen::Certificate,
    pub(in crate::net) key: KeyPair,
}

impl Leaf {
    pub(in crate::net) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }
}

/// An authority and a directory to write its files to.
pub(in crate::net) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
    pub(in crate::net) dir: TempDir,
}

impl Authority {
    pub(in crate::net) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), root, dir: tempfile::tempdir().unwrap() }
    }

    /// A certificate for `localhost`, changed by `change` before it is signed.
    pub(in crate::net) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        change(&mut params);
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// A client's certificate with this serial number.
    pub(in crate::net) fn client(&self, serial: u8) -> Leaf {
        self.issue(|params| {
            params.serial_number = Some(SerialNumber::from_slice(&[serial]));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    pub(in crate::net) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Files of a server that asks clients for nothing.
    pub(in crate::net) fn options(&self) -> TlsOptions {
        let leaf = self.issue(|_| {});
        TlsOptions {
            certificate: self.write("server.pem", &leaf.certificate.pem()),
            key: self.write("server.key", &leaf.key.serialize_pem()),
            client_ca: None,
            crl: None,
            require_client_certificate: false,
        }
    }

    /// Files of a server that wants client certificates of this authority, except those revoked.
    pub(in crate::net) fn mutual(&self, require: bool, revoked: &[u8]) -> TlsOptions {
        TlsOptions {
            client_ca: Some(self.write("ca.pem", &self.root.pem())),
            crl: Some(self.write("ca.crl", &self.crl(revoked))),
            require_client_certificate: require,
            ..self.options()
        }
    }

    fn crl(&self, revoked: &[u8]) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A configuration of a client that trusts this authority, with a certificate if it has one.
    pub(in crate::net) fn client_config(
        &self,
        version: &'static SupportedProtocolVersion,
        own: Option<&Leaf>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match own {
            Some(leaf) => builder.with_client_auth_cert(vec![leaf.der()], leaf.key_der()).unwrap(),
            None => builder.with_no_client_auth(),
        }
    }
}

/// A server's configuration for `mqtt`.
pub(in crate::net) fn load(options: &TlsOptions) -> TlsConfig {
    TlsConfig::load(options, &[b"mqtt"]).expect("good files")
}

/// A client that calls the server `localhost`.
pub(in crate::net) fn client(config: &ClientConfig) -> ClientConnection {
    ClientConnection::new(Arc::new(config.clone()), "localhost".try_into().unwrap()).unwrap()
}

//! Development certificates: TLS on one's own machine without an authority.
//!
//! An authority is made for one server certificate and its key is thrown away, so that nothing else can
//! ever be signed with it: clients may trust `ca.pem` without trusting anybody who finds the directory.
//!
//! *Architecture invariant:* the broker never makes certificates for itself. Only the command line calls
//! this; a running broker reads the files it is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

/// The authority's certificate: what clients trust.
pub const CA: &str = "ca.pem";
/// The server's certificate.
pub const CERTIFICATE: &str = "server.pem";
/// The server's private key.
pub const KEY: &str = "server.key";

/// The names the server's certificate is valid for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const CA_DAYS: i64 = 3650;
/// The longest validity some systems accept from an authority the user has added.
const SERVER_DAYS: i64 = 825;

/// Makes [`CA`], [`CERTIFICATE`] and [`KEY`] in `dir` (created if need be), ECDSA P-256, valid from a day
/// ago: clocks differ. If all three are there, they stay as they are.
///
/// # Errors
/// `AlreadyExists` if only some of them are there: they would not fit new ones. Otherwise what the file
/// system says.
pub fn dev_certificates(dir: &Path) -> io::Result<()> {
    let present = [CA, CERTIFICATE, KEY].map(|name| fs::exists(dir.join(name)));
    match present.into_iter().filter(|exists| matches!(exists, Ok(true))).count() {
        0 => {}
        3 => return Ok(()),
        _ => {
            let text = format!("{}: some of {CA}, {CERTIFICATE}, {KEY} exist, but not all", dir.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
    }
    let made = make().map_err(io::Error::other)?;
    fs::create_dir_all(dir)?;
    // The key comes first: a directory without it is never taken for complete.
    write_new(dir, KEY, &made.key, true)?;
    write_new(dir, CERTIFICATE, &made.certificate, false)?;
    write_new(dir, CA, &made.ca, false)
}

/// The files' contents, PEM.
struct Made {
    ca: String,
    certificate: String,
    key: String,
}

fn make() -> Result<Made, rcgen::Error> {
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name = named("HeraldMQ development CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut ca, CA_DAYS);
    let ca_certificate = ca.self_signed(&ca_key)?;

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut server = CertificateParams::new(NAMES.map(String::from).to_vec())?;
    server.distinguished_name = named("HeraldMQ development server");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    valid_for(&mut server, SERVER_DAYS);
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key))?;

    Ok(Made { ca: ca_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn valid_for(params: &mut CertificateParams, days: i64) {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(since_epoch.as_secs().cast_signed());
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days);
}

/// Writes a file that must not exist yet; a secret one for its owner only.
fn write_new(dir: &Path, name: &str, content: &str, secret: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    let mut file: File = options.open(dir.join(name))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

    use super::*;

    /// What a client that trusts `ca.pem` says of the server when it calls it `name`, `days` from now.
    fn verdict(dir: &Path, name: &str, days: u64) -> Result<(), rustls::Error> {
        let ca = CertificateDer::from_pem_file(dir.join(CA)).expect("a certificate");
        let leaf = CertificateDer::from_pem_file(dir.join(CERTIFICATE)).expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca).expect("a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let then = UnixTime::since_unix_epoch(
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
                + std::time::Duration::from_secs(days * 86_400),
        );
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let verifier = verifier.build().unwrap();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, &leaf, &[], &name, &[], then)
            .map(|_| ())
    }

    #[test]
    fn a_client_that_trusts_the_ca_accepts_the_server_by_each_name_for_825_days() {
        let dir = tempfile::tempdir().unwrap();
        dev_certificates(dir.path()).unwrap();
        for name in NAMES {
            assert_eq!(verdict(dir.path(), name, 0), Ok(()), "{name}");
            assert_eq!(verdict(dir.path(), name, 824), Ok(()), "{name}");
        }
        assert!(verdict(dir.path(), "localhost", 826).is_err());
        assert!(verdict(dir.path(), "example.org", 0).is_err());
    }

    #[test]
    fn the_key_fits_the_certificate_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("made/too");
        dev_certificates(&inside).unwrap();
        let chain = vec![CertificateDer::from_pem_file(inside.join(CERTIFICATE)).unwrap()];
        let key = PrivateKeyDer::from_pem_file(inside.join(KEY)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        assert!(config.is_ok());
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(inside.join(KEY)).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_there_stays_and_a_part_of_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        dev_certificates(dir.path()).unwrap();
        let read = || [CA, CERTIFICATE, KEY].map(|name| fs::read(dir.path().join(name)).unwrap());
        let before = read();
        dev_certificates(dir.path()).unwrap();
        assert!(before == read());
        fs::remove_file(dir.path().join(KEY)).unwrap();
        let error = dev_certificates(dir.path()).expect_err("a new key would not fit");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}

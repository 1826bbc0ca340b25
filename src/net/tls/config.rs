//! Certificates, keys and whom to trust, from files to a configuration that is replaced whole.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The longest handshake message of a client that shows no certificate: one record, as large as rustls
/// reads them.
const HANDSHAKE_MAX: usize = 5 + (1 << 14) + 2048;
/// The same for a client that may send a chain of certificates.
const HANDSHAKE_WITH_CERTIFICATES_MAX: usize = 64 * 1024;

/// The files of a TLS endpoint, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The server's certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// The certificate's private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
    /// The authorities whose client certificates are trusted; without it clients are asked for none.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of those authorities. With it, a client certificate is refused when it or one
    /// between it and the root is revoked, or when no list here speaks for it.
    pub crl: Option<PathBuf>,
    /// Whether a client without a certificate is refused; otherwise it may say who it is in CONNECT.
    pub require_client_certificate: bool,
}

/// Why a TLS configuration cannot be used. The configuration in use stays.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{}: no {what} in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A file's content is not accepted.
    #[error("{}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Client certificates are required, or a revocation list is given, without saying whom to trust.
    #[error("client certificates cannot be checked without client_ca")]
    NoClientCa,
    /// The system gave no randomness for ticket keys.
    #[error("no randomness for ticket keys")]
    NoRandomness,
}

/// What a TLS endpoint presents and trusts; cheap to clone. A reload makes a new one.
#[derive(Clone)]
pub struct TlsConfig {
    server: Arc<ServerConfig>,
    handshake_bytes_max: usize,
}

impl TlsConfig {
    /// Reads the files. `protocols` are the names accepted in ALPN from clients that offer any.
    ///
    /// # Errors
    /// The first thing found wrong, with its file.
    #[expect(clippy::expect_used, reason = "what the build decides, not a peer")]
    pub fn load(options: &TlsOptions, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain: Vec<CertificateDer<'static>> = read_all(&options.certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_file(&options.key)
            .map_err(|source| unreadable(&options.key, "private key", source))?;
        let verifier = client_verifier(options, provider.clone())?;
        let asks_clients = verifier.is_some();
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions");
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Invalid { path: options.certificate.clone(), why: error.to_string() })?;
        server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // Tickets keep a resumed session's secrets with the client instead of in our memory. A resumed
        // session would not look at the client's certificate again, nor at the revocation list.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        if asks_clients {
            server.send_tls13_tickets = 0;
        } else {
            server.send_tls13_tickets = 1;
            server.ticketer = aws_lc_rs::Ticketer::new().map_err(|_| TlsError::NoRandomness)?;
        }
        let handshake_bytes_max = if asks_clients { HANDSHAKE_WITH_CERTIFICATES_MAX } else { HANDSHAKE_MAX };
        Ok(Self { server: Arc::new(server), handshake_bytes_max })
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    pub(super) fn handshake_bytes_max(&self) -> usize {
        self.handshake_bytes_max
    }
}

/// Who checks client certificates; `None` when clients are asked for none.
fn client_verifier(
    options: &TlsOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &options.client_ca else {
        let pointless = options.require_client_certificate || options.crl.is_some();
        return if pointless { Err(TlsError::NoClientCa) } else { Ok(None) };
    };
    let mut roots = RootCertStore::empty();
    for root in read_all::<CertificateDer<'static>>(path, "certificate")? {
        roots.add(root).map_err(|error| TlsError::Invalid { path: path.clone(), why: error.to_string() })?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(path) = &options.crl {
        builder = builder.with_crls(read_all::<CertificateRevocationListDer<'static>>(path, "revocation list")?);
    }
    if !options.require_client_certificate {
        builder = builder.allow_unauthenticated();
    }
    let blamed = options.crl.as_ref().unwrap_or(path);
    match builder.build() {
        Ok(verifier) => Ok(Some(verifier)),
        Err(error) => Err(TlsError::Invalid { path: blamed.clone(), why: error.to_string() }),
    }
}

/// All sections of one kind in a file; at least one.
fn read_all<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let sections = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    match sections {
        Ok(sections) if sections.is_empty() => Err(TlsError::Empty { path: path.into(), what }),
        Ok(sections) => Ok(sections),
        Err(source) => Err(unreadable(path, what, source)),
    }
}

fn unreadable(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    match source {
        pem::Error::NoItemsFound => TlsError::Empty { path: path.into(), what },
        source => TlsError::Unreadable { path: path.into(), source },
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("tickets", &self.server.send_tls13_tickets).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

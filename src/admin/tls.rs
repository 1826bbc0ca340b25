//! HTTPS: certificate and key, replaceable while connections are served.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::{AdminError, TlsFiles};

/// The certificate in use. The next handshake sees a replaced one.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<ServerConfig>,
}

/// A certificate that was read and is right, and is not in use yet.
#[derive(Debug)]
pub struct FreshCertificates(Arc<ServerConfig>);

impl Certificates {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// A file cannot be read, holds no PEM of its kind, or the two do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, AdminError> {
        let FreshCertificates(current) = Self::read(files)?;
        Ok(Self { current: ArcSwap::new(current) })
    }

    /// The next handshake uses `fresh`.
    pub fn replace(&self, fresh: FreshCertificates) {
        self.current.store(fresh.0);
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Reads the files without using them yet, for a reload that is all or nothing.
    ///
    /// # Errors
    /// As [`Certificates::load`].
    pub fn read(files: &TlsFiles) -> Result<FreshCertificates, AdminError> {
        let wrong = |file: &Path, why: String| AdminError::Certificate { file: file.to_owned(), why };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&files.certificate, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&files.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&files.certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(FreshCertificates(Arc::new(config)))
    }
}

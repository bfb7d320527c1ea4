//! TLS: the certificate and its key, read from PEM files, and read again when those change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};
use tokio::{signal::unix::SignalKind, sync::watch, time::sleep};

/// How often the files are looked at. A SIGHUP is quicker.
const LOOK: Duration = Duration::from_secs(2);

/// Why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {error}", path.display())]
    Unreadable {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file holds no certificate.
    #[error(
        "tls_cert: {} holds no certificate that can be read; it is a PEM file of the server's certificate, then those of \
         the authorities between it and the root",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// The file holds no key.
    #[error(
        "tls_key: {} holds no private key that can be read; it is a PEM file of a key that is not encrypted",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The two do not belong together.
    #[error("tls_key: the key in {} is not that of the first certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// They are what they should be, and cannot be used all the same.
    #[error("tls_cert, tls_key: they cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What a server proves its name with, as the files say now.
#[derive(Debug)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: watch::Sender<Arc<ServerConfig>>,
}

/// The one provider of cryptography in this program: the S3 client brings it along.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Tls {
    /// TLS with the certificate and the key in these files.
    ///
    /// # Errors
    /// [`TlsError`], in words for the operator.
    pub(crate) fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = watch::Sender::new(load(cert, key)?);
        Ok(Self { cert: cert.into(), key: key.into(), current })
    }

    /// What a connection that begins now is answered with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow())
    }

    /// Reads the files again whenever they change, or a SIGHUP says so, until `stop` resolves. A pair that cannot be used
    /// is told of, and the old one serves on.
    pub(crate) async fn follow(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        // Where the process may not have it, looking is enough.
        let mut hangup = tokio::signal::unix::signal(SignalKind::hangup()).ok();
        let mut seen = self.stamps();
        loop {
            let asked = tokio::select! {
                () = &mut stop => return,
                () = sleep(LOOK) => false,
                () = received(&mut hangup) => true,
            };
            let stamps = self.stamps();
            if stamps == seen && !asked {
                continue;
            }
            seen = stamps;
            match load(&self.cert, &self.key) {
                Ok(config) => {
                    self.current.send_replace(config);
                    tracing::info!(cert = %self.cert.display(), "TLS uses the certificate as it is now");
                }
                Err(error) => tracing::warn!(%error, "the new TLS files cannot be used; the old ones serve on"),
            }
        }
    }

    /// What changes with the files: when and how large they were written, and which files the names lead to.
    fn stamps(&self) -> [Option<(i64, i64, u64, u64)>; 2] {
        [&self.cert, &self.key].map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.mtime(), about.mtime_nsec(), about.size(), about.ino()))
        })
    }
}

async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read("tls_cert", cert)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| TlsError::NoCertificate(cert.into()))?;
    let private: Result<_, pem::Error> = PrivateKeyDer::from_pem_slice(&read("tls_key", key)?);
    let private = private.map_err(|_| TlsError::NoKey(key.into()))?;
    let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = versions.with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert: cert.into(), key: key.into() },
        other => other.into(),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { setting, path: path.into(), error })
}

//! A certificate authority of the test process's own, for servers that speak TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// The authority, made by the first who asks.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    trusted: Arc<ClientConfig>,
}

/// Files that a server and its clients are given.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The authority's certificate.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn get() -> &'static Self {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(|| {
            let mut about = CertificateParams::new(Vec::new()).unwrap();
            // OpenSSL takes a certificate whose subject is its issuer's for its own issuer.
            about.distinguished_name.push(DnType::CommonName, "the tests' authority");
            about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(about, KeyPair::generate().unwrap()).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let trusted = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            Self { issuer, trusted: Arc::new(trusted) }
        })
    }

    /// How a client trusts it.
    pub(crate) fn trusted(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.trusted)
    }

    /// Writes a new certificate for loopback, its key and the authority's certificate into a folder.
    pub(crate) fn issue(&self, folder: &Path) -> Files {
        let files =
            Files { authority: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        let key = KeyPair::generate().unwrap();
        let about = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        fs::write(&files.authority, self.issuer.pem()).unwrap();
        fs::write(&files.cert, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

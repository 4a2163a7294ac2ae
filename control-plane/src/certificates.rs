//! The keys of a test cluster: an authority, the API server's certificate, and the key that service accounts' tokens are
//! signed with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Where they are.
pub(super) struct Certificates {
    /// The authority's certificate.
    pub(super) authority: PathBuf,
    /// The API server's certificate.
    pub(super) server_certificate: PathBuf,
    /// The API server's private key.
    pub(super) server_key: PathBuf,
    /// The private key that signs tokens.
    pub(super) accounts_key: PathBuf,
    /// The public key that tokens are checked with.
    pub(super) accounts_public_key: PathBuf,
}

impl Certificates {
    /// Makes new ones in `directory`.
    pub(super) fn make(directory: &Path) -> Result<Self> {
        let write = |name: &str, text: String| {
            let file = directory.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            anyhow::Ok(file)
        };
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let server_key = KeyPair::generate()?;
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let server = CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
        let accounts_key = KeyPair::generate()?;
        Ok(Self {
            authority: write("authority.crt", certificate.pem())?,
            server_certificate: write("server.crt", server.pem())?,
            server_key: write("server.key", server_key.serialize_pem())?,
            accounts_key: write("accounts.key", accounts_key.serialize_pem())?,
            accounts_public_key: write("accounts.pub", accounts_key.public_key_pem())?,
        })
    }
}

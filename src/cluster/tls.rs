//! Whom to trust, and what to show.

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;

use super::options::{ClusterOptions, ClusterOptionsError};
use crate::sync::Arc;

/// The TLS side of the options, which counts if a node is spoken to so.
pub(super) fn config(options: &ClusterOptions, is_used: bool) -> Result<ClientConfig, ClusterOptionsError> {
    // Named here and not installed for the whole process, where a host may want another one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |what: &'static str| {
        move |source: Box<dyn std::error::Error + Send + Sync>| ClusterOptionsError::Certificate { what, source }
    };
    let system = "system's own certificates";
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(system)(error.into()))?;
    let builder = match &options.certificate_authority {
        // A container without certificates may well speak to nodes without TLS.
        None if !is_used => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_platform_verifier().map_err(|error| unusable(system)(error.into()))?,
        Some(pem) => {
            let what = "certificate authority";
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem).map_err(unusable(what))? {
                roots.add(certificate).map_err(|error| unusable(what)(error.into()))?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let Some((chain, key)) = &options.client_certificate else { return Ok(builder.with_no_client_auth()) };
    let what = "client certificate";
    let chain = certificates(chain).map_err(unusable(what))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable("client certificate's key")(error.into()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(what)(error.into()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Box<dyn std::error::Error + Send + Sync>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(certificates)
}

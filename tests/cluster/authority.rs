//! TLS between a client and a server that both show certificates.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use crate::scripted::{ReadWrite, Reply, Scripted, Seen};

/// A certificate authority and what it has signed.
pub(crate) struct Authority {
    pub(crate) certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// A certificate and its key.
    pub(crate) fn sign(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server with a certificate, which wants one from the authority too.
    pub(crate) fn server(&self, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Scripted {
        let (certificate, key) = self.sign("localhost");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(verifier.unwrap());
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap());
        let wrap = move |stream: TcpStream| -> io::Result<Box<dyn ReadWrite>> {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
        };
        Scripted::wrapped("https", wrap, reply)
    }
}

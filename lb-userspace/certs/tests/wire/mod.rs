//! Certificates made for a test, and handshakes in memory.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lb_certs::{Challenges, ServerTls};
use lb_model::http::{Certificate, CertificateSource, Listener, Protocols, UpstreamTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

/// A folder with a root of its own.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) root: Root,
}

pub(crate) struct Root(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root")
    }
}

impl Root {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("root"))
    }
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
    /// Certificate and key, PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        self.issue_with(names, &KeyPair::generate().expect("key"), |_| {})
    }
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        change(&mut params);
        (params.signed_by(key, &self.0).expect("leaf").pem(), key.serialize_pem())
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("folder"), root: Root::new("test root") }
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }
    pub(crate) fn ca(&self) -> PathBuf {
        self.write("ca.pem", self.root.pem())
    }
    /// Writes NAME.pem and NAME.key for `names`.
    pub(crate) fn pair(&self, name: &str, names: &[&str]) -> Certificate {
        let (cert, key) = self.root.issue(names);
        self.files(name, cert, key)
    }
    pub(crate) fn files(&self, name: &str, cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Certificate {
        let cert = self.write(&format!("{name}.pem"), cert);
        let key = self.write(&format!("{name}.key"), key);
        Certificate { names: Vec::new(), source: CertificateSource::Files { cert, key } }
    }
    pub(crate) fn load(&self, listener: &Listener) -> Result<Arc<ServerTls>, Vec<String>> {
        ServerTls::load(listener, self.dir.path(), &Arc::new(Challenges::default()))
    }
    pub(crate) fn client(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        lb_certs::client::config(&upstream(Some(&self.ca())), alpn).expect("client")
    }
}

pub(crate) fn upstream(ca: Option<&Path>) -> UpstreamTls {
    UpstreamTls { ca: ca.map(Path::to_owned), server_name: None, client: None, verify: true }
}

pub(crate) fn listener(certificates: Vec<Certificate>) -> Listener {
    let mut listener = Listener::new("edge".parse().expect("name"), "127.0.0.1:443".parse().expect("address"));
    listener.protocols = Protocols { h1: true, h2: true, h3: false, h2c: false };
    listener.certificates = certificates;
    listener
}

/// What came of a handshake.
#[derive(Debug)]
pub(crate) struct Shaken {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

impl Shaken {
    /// The leaf that the client got, DER.
    pub(crate) fn leaf(&self) -> Vec<u8> {
        self.client.peer_certificates().expect("certificates")[0].to_vec()
    }
    pub(crate) fn names(&self) -> Vec<String> {
        use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
        let leaf = self.leaf();
        let (_, cert) = X509Certificate::from_der(&leaf).expect("DER");
        let san = cert.subject_alternative_name().expect("one").expect("present");
        let names = san.value.general_names.iter();
        names.filter_map(|n| if let GeneralName::DNSName(d) = n { Some((*d).to_owned()) } else { None }).collect()
    }
    pub(crate) fn resumed(&self) -> bool {
        self.client.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// Client, server, name → both ends after the handshake and what follows at once (tickets).
pub(crate) fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<Shaken, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("name");
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut wire = Vec::new();
    for _ in 0..16 {
        wire.clear();
        client.write_tls(&mut wire).expect("memory");
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
            server.process_new_packets()?;
        }
        wire.clear();
        server.write_tls(&mut wire).expect("memory");
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "neither failed nor done");
    Ok(Shaken { client, server })
}

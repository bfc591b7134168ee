//! A listener's TLS from outside: which certificate, which protocol, who may enter, and files that change.

mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_model::http::{CertificateSource, ClientAuth, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use wire::{Bench, Root, listener, shake};

fn at(seconds: u64) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates are valid now")]
    let now = SystemTime::now();
    now + Duration::from_secs(seconds)
}

#[test]
fn exact_beats_wildcard_and_the_unknown_get_the_first() {
    let b = Bench::new();
    let tls = b
        .load(&listener(vec![
            b.pair("first", &["first.test"]),
            b.pair("wild", &["*.a.test"]),
            b.pair("exact", &["x.a.test"]),
        ]))
        .expect("loads");
    let client = b.client(&[]);
    let got = |name: &str| shake(&client, &tls.config(), name).map(|s| s.names());
    assert_eq!(got("x.a.test").expect("exact"), ["x.a.test"]);
    assert_eq!(got("y.a.test").expect("wildcard"), ["*.a.test"]);
    // The client of this test refuses what is not for its name: it got the first.
    assert!(matches!(got("x.y.a.test"), Err(rustls::Error::InvalidCertificate(_))), "one label only");
    let anybody = lb_certs::client::config(&lb_model::http::UpstreamTls { verify: false, ..wire::upstream(None) }, &[])
        .expect("client");
    assert_eq!(shake(&anybody, &tls.config(), "other.test").expect("served").names(), ["first.test"]);
    assert_eq!(shake(&anybody, &tls.config(), "127.0.0.1").expect("no SNI").names(), ["first.test"]);
    for (host, covered) in
        [("x.a.test", true), ("Y.A.TEST.", true), ("z.y.a.test", false), ("a.test", false), ("first.test", true)]
    {
        assert_eq!(tls.covers(host), covered, "{host}");
    }
}

#[test]
fn of_two_keys_for_a_name_the_client_gets_what_it_can_check() {
    let b = Bench::new();
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key");
    let (cert, key) = b.root.issue_with(&["a.test"], &ed, |_| {});
    let mut both = vec![b.files("ed", cert, key), b.pair("p256", &["a.test"])];
    both[0].names = vec!["a.test".to_owned()];
    let tls = b.load(&listener(both)).expect("loads");
    let mut no_ed = rustls::crypto::aws_lc_rs::default_provider();
    let schemes = no_ed.signature_verification_algorithms.mapping;
    let without: Vec<_> = schemes.iter().copied().filter(|(s, _)| *s != SignatureScheme::ED25519).collect();
    no_ed.signature_verification_algorithms.mapping = Box::leak(without.into_boxed_slice());
    let mut roots = rustls::RootCertStore::empty();
    let ca = <CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(b.root.pem().as_bytes());
    roots.add(ca.expect("PEM")).expect("root");
    let client = ClientConfig::builder_with_provider(Arc::new(no_ed))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let second = shake(&Arc::new(client), &tls.config(), "a.test").expect("the second").leaf();
    let first = shake(&b.client(&[]), &tls.config(), "a.test").expect("the first").leaf();
    assert_ne!(first, second);
}

#[test]
fn what_is_wrong_is_said_with_the_path() {
    let b = Bench::new();
    let (cert, key) = b.root.issue(&["a.test"]);
    let (_, other_key) = b.root.issue(&["a.test"]);
    let says = |cert: &str, key: &str, words: &[&str]| {
        let faults = b.load(&listener(vec![b.files("x", cert, key)])).expect_err("refused");
        for word in words {
            assert!(faults.iter().any(|f| f.contains(word)), "{faults:?} should contain '{word}'");
        }
    };
    says(&cert, &other_key, &["x.key", "x.pem", "not the one"]);
    says("nothing", &key, &["x.pem", "BEGIN CERTIFICATE"]);
    says(&cert, "nothing", &["x.key", "no private key"]);
    says(&cert[..cert.len() - 40], &key, &["x.pem", "cut off"]);
    says(&cert, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n", &["encrypted"]);

    let mut narrow = b.pair("y", &["a.test"]);
    narrow.names = vec!["a.test".to_owned(), "b.test".to_owned()];
    let mut absent = narrow.clone();
    absent.source = CertificateSource::Files { cert: b.path("no.pem"), key: b.path("no.key") };
    let faults = b.load(&listener(vec![narrow, absent])).expect_err("refused");
    assert_eq!(faults.len(), 2, "all of them: {faults:?}");
    assert!(faults[0].contains("does not cover b.test; it is for a.test"), "{faults:?}");
    assert!(faults[1].contains("no.pem"), "{faults:?}");
}

#[test]
fn changed_files_are_in_force_at_the_next_look_and_broken_ones_are_not() {
    let b = Bench::new();
    let tls = b.load(&listener(vec![b.pair("a", &["a.test"])])).expect("loads");
    // A new client each time: with a session one is shown what it was shown then.
    let leaf = || shake(&b.client(&[]), &tls.config(), "a.test").expect("served").leaf();
    let (old, held) = (leaf(), tls.config());
    tls.poll(at(0));
    assert_eq!(leaf(), old, "nothing changed");

    // The certificate first, as every tool does: for a moment the two do not fit.
    let (cert, key) = b.root.issue(&["a.test", "b.test"]);
    b.write("a.pem", &cert);
    tls.poll(at(1));
    assert_eq!(leaf(), old);
    assert!(tls.certificates()[0].error.as_ref().is_some_and(|e| e.contains("a.key")), "{:?}", tls.certificates());
    b.write("a.key", &key);
    tls.poll(at(2));
    assert_ne!(leaf(), old);
    assert_eq!(tls.certificates()[0].error, None);
    assert!(tls.covers("b.test"));
    let names = shake(&b.client(&[]), &held, "b.test").expect("a configuration in hand follows").names();
    assert_eq!(names, ["a.test", "b.test"]);

    let new = leaf();
    std::fs::remove_file(b.path("a.pem")).expect("removed");
    tls.poll(at(3));
    assert_eq!(leaf(), new, "what is gone goes on serving");
    assert!(tls.certificates()[0].error.is_some());
}

#[test]
fn a_change_that_leaves_size_and_time_is_noticed() {
    let b = Bench::new();
    let tls = b.load(&listener(vec![b.pair("a", &["a.test"])])).expect("loads");
    tls.poll(at(0));
    let (cert, key) = b.root.issue(&["b.test"]);
    let stamp = std::fs::metadata(b.path("a.pem")).and_then(|m| m.modified()).expect("time");
    b.write("a.pem", cert);
    b.write("a.key", key);
    for name in ["a.pem", "a.key"] {
        let file = std::fs::File::options().write(true).open(b.path(name)).expect("opens");
        file.set_modified(stamp).expect("time set");
    }
    tls.poll(at(1));
    assert!(tls.covers("b.test"));
}

#[test]
fn certificates_are_shown() {
    let b = Bench::new();
    let key = rcgen::KeyPair::generate().expect("key");
    let (cert, key) = b.root.issue_with(&["a.test", "10.0.0.1"], &key, |p| {
        p.not_before = rcgen::date_time_ymd(2020, 1, 1);
        p.not_after = rcgen::date_time_ymd(2021, 2, 3);
    });
    let tls = b.load(&listener(vec![b.files("a", cert, key)])).expect("an expired one still loads");
    tls.poll(at(0));
    let view = &tls.certificates()[0];
    assert_eq!(view.names, ["a.test", "10.0.0.1"]);
    assert_eq!(view.issuer.as_deref(), Some("test root"));
    assert_eq!(view.not_after.as_deref(), Some("2021-02-03T00:00:00Z"));
    assert_eq!(view.source, "file");
    assert_eq!(view.path.as_deref(), Some(b.path("a.pem").to_str().expect("path")));
    assert_eq!(view.error.as_deref(), Some("expired at 2021-02-03T00:00:00Z"));
}

#[test]
fn protocols_are_those_of_the_listener() {
    let b = Bench::new();
    let mut l = listener(vec![b.pair("a", &["a.test"])]);
    let chosen = |l: &lb_model::http::Listener, offered: &[&[u8]]| {
        let tls = b.load(l).expect("loads");
        shake(&b.client(offered), &tls.config(), "a.test").map(|s| s.server.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(chosen(&l, &[b"http/1.1", b"h2"]).expect("both"), Some(b"h2".to_vec()));
    assert_eq!(chosen(&l, &[]).expect("none offered"), None);
    l.protocols.h2 = false;
    assert_eq!(chosen(&l, &[b"h2", b"http/1.1"]).expect("h1"), Some(b"http/1.1".to_vec()));
    assert!(chosen(&l, &[b"h2"]).is_err());
    assert!(chosen(&l, &[b"acme-tls/1"]).is_err(), "no validation is under way");
    assert_eq!(b.load(&l).expect("loads").quic().alpn_protocols, [b"h3".to_vec()]);
}

#[test]
fn the_minimum_version_is_kept() {
    let b = Bench::new();
    let mut l = listener(vec![b.pair("a", &["a.test"])]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Sees::default()))
        .with_no_client_auth();
    let old = Arc::new(old);
    let tls = b.load(&l).expect("loads");
    assert!(shake(&old, &tls.config(), "a.test").is_ok());
    assert!(shake(&old, &tls.quic(), "a.test").is_err(), "QUIC is TLS 1.3");
    l.tls_min = TlsVersion::V1_3;
    assert!(shake(&old, &b.load(&l).expect("loads").config(), "a.test").is_err());
}

#[test]
fn clients_without_the_right_certificate_stay_outside() {
    let b = Bench::new();
    let clients = Root::new("clients");
    let ca = b.write("clients.pem", clients.pem());
    let mut l = listener(vec![b.pair("a", &["a.test"])]);
    let with = |root: &Root| {
        let (cert, key) = root.issue(&["client"]);
        let client = Some((b.write("c.pem", cert), b.write("c.key", key)));
        let tls = lb_model::http::UpstreamTls { client, ..wire::upstream(Some(&b.ca())) };
        lb_certs::client::config(&tls, &[]).expect("client")
    };
    let (right, wrong, none) = (with(&clients), with(&Root::new("strangers")), b.client(&[]));
    for (required, without_one) in [(true, false), (false, true)] {
        l.client_auth = Some(ClientAuth { ca: ca.clone(), required });
        let tls = b.load(&l).expect("loads");
        let config = tls.config();
        assert!(shake(&right, &config, "a.test").is_ok());
        assert!(shake(&wrong, &config, "a.test").is_err());
        assert_eq!(shake(&none, &config, "a.test").is_ok(), without_one, "required: {required}");
    }
    // Another CA in the file: the old clients stay outside, also those with a session.
    let tls = b.load(&l).expect("loads");
    assert!(shake(&right, &tls.config(), "a.test").is_ok());
    b.write("clients.pem", Root::new("others").pem());
    tls.poll(at(1));
    assert!(shake(&right, &tls.config(), "a.test").is_err());
    b.write("clients.pem", "broken");
    tls.poll(at(2));
    assert!(tls.certificates()[0].error.as_ref().is_some_and(|e| e.contains("clients.pem")));
    assert!(shake(&none, &tls.config(), "a.test").is_ok(), "the last good one is in force");
    l.client_auth = Some(ClientAuth { ca, required: true });
    assert!(b.load(&l).expect_err("refused")[0].contains("clients.pem"));
}

#[test]
fn sessions_are_resumed_and_never_with_early_data() {
    let b = Bench::new();
    let tls = b.load(&listener(vec![b.pair("a", &["a.test"])])).expect("loads");
    let client = b.client(&[b"h2"]);
    assert!(!shake(&client, &tls.config(), "a.test").expect("first").resumed());
    assert!(shake(&client, &tls.config(), "a.test").expect("second").resumed());
    assert_eq!((tls.config().max_early_data_size, tls.quic().max_early_data_size), (0, 0));
}

/// DER of one value.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut bytes =
        if length < 0x80 { vec![tag, length as u8] } else { vec![tag, 0x82, (length >> 8) as u8, length as u8] };
    bytes.extend_from_slice(&content);
    bytes
}

/// An OCSP response with an answer for this serial number (RFC 6960 §4.2.1), signed by nobody.
fn ocsp(serial: &[u8], next: &str) -> Vec<u8> {
    let algorithm = der(0x30, &[&der(0x06, &[&[0x2b, 0x0e, 0x03, 0x02, 0x1a]])]);
    let id = der(0x30, &[&algorithm, &der(0x04, &[&[1; 20]]), &der(0x04, &[&[2; 20]]), &der(0x02, &[serial])]);
    let next = der(0xa0, &[&der(0x18, &[next.as_bytes()])]);
    let single = der(0x30, &[&id, &[0x80, 0], &der(0x18, &[b"20200101000000Z"]), &next]);
    let by = der(0xa2, &[&der(0x04, &[&[3; 20]])]);
    let data = der(0x30, &[&by, &der(0x18, &[b"20200101000000Z"]), &der(0x30, &[&single])]);
    let basic = der(0x30, &[&data, &algorithm, &der(0x03, &[&[0, 1, 2]])]);
    let kind = der(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = der(0xa0, &[&der(0x30, &[&kind, &der(0x04, &[&basic])])]);
    der(0x30, &[&der(0x0a, &[&[0]]), &bytes])
}

#[test]
fn an_ocsp_response_beside_a_certificate_is_stapled_while_it_is_good() {
    let b = Bench::new();
    let key = rcgen::KeyPair::generate().expect("key");
    let (cert, key) = b.root.issue_with(&["a.test"], &key, |p| p.serial_number = Some(vec![0x11, 0x22].into()));
    let tls = b.load(&listener(vec![b.files("a", cert, key)])).expect("loads");
    let stapled = || {
        let sees = Arc::new(Sees::default());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("client");
        let client = client.dangerous().with_custom_certificate_verifier(Arc::clone(&sees) as Arc<_>);
        shake(&Arc::new(client.with_no_client_auth()), &tls.config(), "a.test").expect("served");
        let seen = sees.0.lock().expect("lock").clone();
        (seen, tls.certificates()[0].error.clone().unwrap_or_default())
    };
    assert_eq!(stapled(), (Vec::new(), String::new()), "there is none");
    let good = ocsp(&[0x11, 0x22], "20990101000000Z");
    b.write("a.pem.ocsp", &good);
    tls.poll(at(1));
    assert_eq!(stapled(), (good.clone(), String::new()));
    let century = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    for (content, now, word) in [
        (ocsp(&[0x11, 0x23], "20990101000000Z"), at(2), "another certificate"),
        (b"rubbish".to_vec(), at(3), "no OCSP response"),
        (good[..good.len() / 2].to_vec(), at(4), "no OCSP response"),
        (der(0x30, &[&der(0x0a, &[&[6]])]), at(5), "refusal"),
        (ocsp(&[0x11, 0x22], "20210101000000Z"), at(6), "out of date"),
        (good.clone(), century, "out of date"),
    ] {
        b.write("a.pem.ocsp", &content);
        tls.poll(now);
        let (seen, error) = stapled();
        assert!(seen.is_empty() && error.contains(word), "{word}: {error}");
    }
}

/// Accepts, and notes what was stapled.
#[derive(Debug, Default)]
struct Sees(std::sync::Mutex<Vec<u8>>);

impl ServerCertVerifier for Sees {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().expect("lock") = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

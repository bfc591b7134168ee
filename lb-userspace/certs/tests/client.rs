//! TLS to backends from outside: who is believed.

mod wire;

use lb_certs::client;
use lb_model::http::UpstreamTls;
use wire::{Bench, Root, listener, shake, upstream};

#[test]
fn only_the_named_authority_and_name_are_believed() {
    let b = Bench::new();
    let tls = b.load(&listener(vec![b.pair("a", &["a.test", "127.0.0.1"])])).expect("loads");
    let good = b.client(&[b"http/1.1"]);
    assert!(shake(&good, &tls.config(), "a.test").is_ok());
    assert!(shake(&good, &tls.config(), "127.0.0.1").is_ok());
    assert!(shake(&good, &tls.config(), "b.test").is_err());
    let stranger = b.write("other.pem", Root::new("other").pem());
    let other = client::config(&upstream(Some(&stranger)), &[]).expect("client");
    assert!(shake(&other, &tls.config(), "a.test").is_err());
    let loose = UpstreamTls { verify: false, ..upstream(None) };
    let loose = client::config(&loose, &[]).expect("client");
    assert!(shake(&loose, &tls.config(), "b.test").is_ok());
}

#[test]
fn without_a_ca_the_system_is_asked() {
    let system = client::config(&upstream(None), &[b"h2"]);
    let b = Bench::new();
    let tls = b.load(&listener(vec![b.pair("a", &["a.test"])])).expect("loads");
    match system {
        Ok(config) => assert!(shake(&config, &tls.config(), "a.test").is_err(), "our test root is no public one"),
        Err(e) => assert!(e.contains("root certificates"), "{e}"),
    }
}

#[test]
fn wrong_files_are_named() {
    let b = Bench::new();
    let (cert, _) = b.root.issue(&["c"]);
    let (_, key) = b.root.issue(&["c"]);
    let mut tls = upstream(Some(&b.path("none.pem")));
    assert!(client::config(&tls, &[]).expect_err("refused").contains("none.pem"));
    tls.verify = false;
    assert!(client::config(&tls, &[]).expect_err("refused").contains("none.pem"));
    tls.ca = Some(b.ca());
    tls.client = Some((b.write("c.pem", cert), b.write("c.key", key)));
    assert!(client::config(&tls, &[]).expect_err("keys differ").contains("c.key"));
}

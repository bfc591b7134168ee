//! Listeners, by chance.

use std::time::Duration;

use lb_model::http::{
    AcmeAccount, Certificate, CertificateSource, ClientAuth, Listener, ListenerLimits, ListenerTimeouts, Protocols,
    TlsVersion,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::text::{millis, name, path, prefix};

fn certificates() -> impl Strategy<Value = Vec<Certificate>> {
    let files =
        (any::<bool>(), path(), path()).prop_map(|(named, cert, key)| (named, CertificateSource::Files { cert, key }));
    let acme =
        ("[a-z]{1,5}", option::of("[a-z]{1,5}@[a-z]{1,5}"), option::of(path())).prop_map(|(ca_name, email, ca)| {
            let directory = format!("https://{ca_name}.test/dir");
            (true, CertificateSource::Acme(AcmeAccount { directory, email, ca }))
        });
    vec(prop_oneof![files, acme], 0..3).prop_map(|all| {
        let one = |(i, (named, source)): (usize, (bool, CertificateSource))| {
            let wild = matches!(source, CertificateSource::Files { .. }).then(|| format!("*.b{i}.test"));
            let names = if named { std::iter::once(format!("a{i}.test")).chain(wild).collect() } else { Vec::new() };
            Certificate { names, source }
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

pub(crate) fn listener() -> impl Strategy<Value = Listener> {
    let times = (millis(10, 3_600_000), millis(10, 3_600_000), millis(10, 86_400_000), millis(10, 3_600_000));
    let limits = (1024..1_048_576u64, 1..10_000u32, 64..1_048_576u64, 1..10_000u32, any::<u32>());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let rest = (vec(prefix(), 0..3), certificates(), option::of((path(), any::<bool>())), 0..100u64);
    (name(), flags, times, limits, rest).prop_map(|(name, flags, times, limits, rest)| {
        let mut l = Listener::new(name, ([127, 0, 0, 1], 1).into());
        l.trusted_proxies = rest.0;
        l.certificates = rest.1;
        let tls = l.is_tls();
        l.protocols = Protocols { h1: flags.0, h2: tls && flags.1, h3: tls && flags.2, h2c: !tls && flags.1 };
        if l.protocols == Protocols::default() {
            l.protocols.h1 = true;
        }
        l.proxy_protocol = flags.3 && !l.protocols.h3 && !l.trusted_proxies.is_empty();
        l.client_auth = rest.2.filter(|_| tls).map(|(ca, required)| ClientAuth { ca, required });
        l.tls_min = if tls && flags.0 { TlsVersion::V1_3 } else { TlsVersion::V1_2 };
        l.hsts = Duration::from_secs(rest.3 * 86_400);
        l.timeouts = ListenerTimeouts { header: times.0, body: times.1, idle: times.2, tls: times.3 };
        let (header, fields, uri, streams, per) = limits;
        l.limits = ListenerLimits { header, fields, uri, streams, requests_per_connection: per.into() };
        l
    })
}

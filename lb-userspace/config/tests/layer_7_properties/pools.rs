//! Pools as layer 7 has them, by chance.

use std::time::Duration;

use lb_model::http::{
    HashOn, HttpAlgorithm, HttpPool, Outlier, Queue, SameSite, Sticky, UpstreamProtocol, UpstreamTls,
};
use lb_model::{Backend, HealthCheck, HealthKind, Pool, StatusRange, Weight};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::text::{field_name, millis, name, path};

fn tls() -> impl Strategy<Value = UpstreamTls> {
    // A `ca` beside `verify = false` is warned of, and kept.
    (option::of(path()), option::of("[a-z]{1,8}\\.test"), option::of((path(), path())), any::<bool>())
        .prop_map(|(ca, server_name, client, verify)| UpstreamTls { ca, server_name, client, verify })
}

fn outlier() -> impl Strategy<Value = Outlier> {
    let times = (millis(100, 3_600_000), millis(10, 86_400_000), option::of(millis(1, 3_600_000)));
    (0..1000u32, 0..=100u8, 1..1000u32, 0..=100u8, times).prop_map(|(errors, rate, fewest, most, times)| Outlier {
        consecutive_errors: errors,
        error_rate: rate,
        min_requests: fewest,
        window: times.0,
        eject: times.1,
        max_ejected: most,
        latency: times.2,
    })
}

fn http_pool() -> impl Strategy<Value = HttpPool> {
    let hash_on = prop_oneof![
        Just(HashOn::ClientIp),
        Just(HashOn::Path),
        field_name().prop_map(HashOn::Header),
        "[a-zA-Z_]{1,8}".prop_map(HashOn::Cookie)
    ];
    let sites = select(vec![SameSite::Lax, SameSite::Strict, SameSite::None]);
    let sticky = ("[a-zA-Z_]{1,8}", millis(0, 86_400_000), sites).prop_map(|(cookie, ttl, same_site)| Sticky {
        cookie,
        ttl,
        same_site,
    });
    let clear = select(vec![UpstreamProtocol::H1, UpstreamProtocol::H2c]);
    let secure = (select(vec![UpstreamProtocol::H1, UpstreamProtocol::H2]), tls().prop_map(Some));
    let spoken = prop_oneof![(clear, Just(None)), secure];
    let times = (millis(0, 86_400_000), millis(0, 86_400_000), 0..1000u32);
    let queue = (0..1000u32, millis(1, 3_600_000)).prop_map(|(size, timeout)| Queue { size, timeout });
    let rest = (option::of(sticky), option::of(outlier()), times, queue);
    (select(HttpAlgorithm::ALL.to_vec()), hash_on, spoken, rest).prop_map(|(algorithm, hash_on, spoken, rest)| {
        HttpPool {
            algorithm,
            hash_on,
            protocol: spoken.0,
            tls: spoken.1,
            sticky: rest.0,
            outlier: rest.1,
            drain_timeout: rest.2.0,
            slow_start: rest.2.1,
            max_requests: rest.2.2,
            queue: rest.3,
        }
    })
}

fn health(tls: Option<UpstreamTls>) -> impl Strategy<Value = HealthKind> {
    let verified = UpstreamTls { ca: None, server_name: None, client: None, verify: true };
    let of_https = tls.clone().unwrap_or(verified);
    prop_oneof![
        Just(HealthKind::Tcp),
        ("[a-zA-Z.]{0,10}").prop_map(move |service| HealthKind::Grpc { service, tls: tls.clone() }),
        ("/[a-z]{0,5}", option::of("[a-z]{1,5}")).prop_map(move |(path, host)| HealthKind::Https {
            path,
            host,
            expect: vec![StatusRange { first: 200, last: 204 }],
            tls: of_https.clone(),
        }),
    ]
}

pub(crate) fn pool() -> impl Strategy<Value = Pool> {
    let checked = http_pool().prop_flat_map(|http| (option::of(health(http.tls.clone())), Just(http)));
    (name(), vec(any::<bool>(), 0..3), checked).prop_map(|(name, backups, (kind, http))| {
        let backend = |(i, backup): (usize, bool)| Backend {
            address: format!("10.0.0.{}:80", i + 1).parse().expect("an address"),
            weight: Weight::ONE,
            backup,
        };
        let backends = backups.into_iter().enumerate().map(backend).collect();
        let mut pool = Pool::new(name, http.algorithm.at_layer_4().unwrap_or_default(), backends).expect("a pool");
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(1));
        pool.health =
            kind.map(|kind| HealthCheck { kind, interval, timeout, rise: 1, fall: 1, jitter_percent: 5, port: None });
        pool.http = http;
        pool
    })
}

//! No text panics, every place lies within the text, and what is exported reads back to the same.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lb_config::{Environment, export, parse_in};
use lb_model::{
    Affinity, Algorithm, Backend, BackendAddress, Desired, Forward, HealthCheck, HealthKind, Host, Listen, MssClamp,
    Name, OnAllDown, OnExit, PlaneChoice, Pool, PortRange, Prefix, Protocol, RateLimit, SendProxy, Service,
    StatusRange, Weight,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Parses, and checks every place that comes back.
fn survives(text: &str) -> Result<(), TestCaseError> {
    let found = match parse_in(text, "f", &Environment::default()) {
        Ok(loaded) => loaded.warnings,
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            errors
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for d in found {
        prop_assert!((1..=lines.len()).contains(&d.line), "{d}");
        prop_assert!((1..=lines[d.line - 1].chars().count() + 1).contains(&d.column), "{d}");
        prop_assert!(!d.message.is_empty());
        let _ = d.to_string();
    }
    Ok(())
}

const GOOD: &str = include_str!("good.toml");

/// Pieces that are TOML, or nearly.
fn pieces() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "[host]",
        "[[pool]]",
        "[[service]]",
        "[pool.health]",
        "[[listener]]",
        "[pool]",
        "[[host]]",
        "[service.x]",
        "[a.b]",
        "[[a.b]]",
        "[[pool.backends]]",
        "\n",
        "\n",
        "\n",
        " = ",
        ".",
        ",",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "\"\"\"",
        "#",
        "name",
        "listen",
        "pool",
        "backends",
        "health",
        "address",
        "weight",
        "host",
        "\"web\"",
        "\"10.0.0.1:80\"",
        "\"192.0.2.1:80/tcp\"",
        "7",
        "-1",
        "1e9",
        "true",
        "1979-05-27",
        "ä",
        "\u{1F600}",
        "\r\n",
        "\t",
        "\u{0}",
        "{ address = \"10.0.0.1:80\" }",
        "name = \"web\"\n",
        "pool = \"web\"\n",
        "pool.health.type = \"tcp\"\n",
        "0x",
        "\\",
        "inf",
    ]);
    vec(piece, 0..60).prop_map(|p| p.concat())
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9._-]{0,12}".prop_map(|s| s.parse().expect("a name"))
}

fn millis(from: u64, to: u64) -> impl Strategy<Value = Duration> {
    (from..to).prop_map(Duration::from_millis)
}

fn check() -> impl Strategy<Value = HealthCheck> {
    let statuses = vec((100..600u16, 0..50u16), 1..4).prop_map(|r| {
        r.into_iter().map(|(first, more)| StatusRange { first, last: (first + more).min(599) }).collect::<Vec<_>>()
    });
    let kind =
        prop_oneof![
            Just(HealthKind::Tcp),
            ("/[!-\"$-~]{0,20}", option::of("[a-z.]{1,20}"), statuses)
                .prop_map(|(path, host, expect)| HealthKind::Http { path, host, expect }),
            (vec(any::<u8>(), 0..40), option::of(vec(any::<u8>(), 0..40)))
                .prop_map(|(send, expect)| HealthKind::Udp { send, expect }),
            ("\\PC{0,20}", option::of("\\PC{0,20}"))
                .prop_map(|(s, e)| HealthKind::Udp { send: s.into(), expect: e.map(Into::into) }),
        ];
    let numbers = (1..1000u32, 1..1000u32, 0..=50u8, option::of(1..u16::MAX));
    (kind, millis(10, 3_600_000), millis(1, 3_600_000), numbers).prop_map(|(kind, interval, timeout, n)| HealthCheck {
        kind,
        interval,
        timeout,
        rise: n.0,
        fall: n.1,
        jitter_percent: n.2,
        port: n.3,
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let backend = (any::<u32>(), option::of("[a-z]{1,8}\\.example"), 1..u16::MAX, 0..=1000u32);
    let rest = (select(Algorithm::ALL.to_vec()), select(vec![3u32, 1009, 65_537]), any::<bool>(), option::of(check()));
    (name(), vec(backend, 0..6), rest).prop_map(|(name, backends, (algorithm, size, spread, health))| {
        let mut seen = BTreeSet::new();
        let backends = backends.into_iter().map(|(ip, host, port, weight)| {
            // An address that is some host's.
            let ip = std::net::Ipv4Addr::from(0x0a00_0000 | ip >> 8);
            let text = host.map_or_else(|| format!("{ip}:{port}"), |h| format!("{h}:{port}"));
            Backend {
                address: text.parse().expect("an address"),
                weight: Weight::new(weight).expect("a weight"),
                backup: false,
            }
        });
        let backends = backends.filter(|b| seen.insert(b.address.clone())).collect();
        let mut pool = Pool::new(name, algorithm, backends).expect("a pool");
        pool.http.algorithm = algorithm.as_str().parse().expect("layer 7 has all of them");
        pool.maglev_table_size = size;
        pool.on_all_down = if spread { OnAllDown::Spread } else { OnAllDown::Drop };
        pool.health = health;
        pool
    })
}

fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(a, l)| {
        let masked = u32::MAX.checked_shl(32 - u32::from(l)).unwrap_or(0) & a;
        format!("{}/{l}", std::net::Ipv4Addr::from(masked)).parse().expect("a range")
    });
    let v6 = (any::<u16>()).prop_map(|a| format!("2001:db8:{a:x}::/48").parse().expect("a range"));
    vec(prop_oneof![v4, v6], 0..4)
}

fn service() -> impl Strategy<Value = (Service, Index)> {
    let week = 7 * 86_400_000;
    let limit = option::of((1..=1_000_000u32, select(vec![1u64, 60, 3600, 86_400, 10]), 1..=1_000_000u32));
    let clamp = prop_oneof![Just(MssClamp::Auto), Just(MssClamp::Off), (88..65_495u16).prop_map(MssClamp::Bytes)];
    let times = (millis(10, week), millis(0, week), option::of(millis(10, week)));
    let proxy = option::of(select(vec![SendProxy::V1, SendProxy::V2]));
    let rest = (clamp, limit, prefixes(), prefixes(), proxy);
    (name(), any::<Index>(), any::<bool>(), times, rest).prop_map(|(name, pool, udp, times, rest)| {
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        let listen = Listen { address: [192, 0, 2, 1].into(), ports: PortRange::single(1).expect("a port"), protocol };
        let mut s = Service::new(name.clone(), listen, name);
        s.mss_clamp = rest.0;
        s.rate_limit =
            rest.1.map(|(count, per, burst)| RateLimit { interval: Duration::from_secs(per) / count, burst });
        (s.allow, s.deny) = (rest.2, rest.3);
        s.send_proxy = rest.4.filter(|_| !udp);
        (s.idle_timeout, s.drain_timeout) = (times.0, times.1);
        s.affinity = times.2.map_or(Affinity::None, |timeout| Affinity::ClientIp { timeout });
        (s, pool)
    })
}

fn host() -> impl Strategy<Value = Host> {
    let path = || "/[ -~é]{1,20}".prop_map(std::path::PathBuf::from);
    let plane = select(vec![PlaneChoice::Auto, PlaneChoice::Xdp, PlaneChoice::XdpGeneric, PlaneChoice::Userspace]);
    let addresses = btree_set(any::<u16>(), 0..3);
    let rest = (16..134_217_728u32, any::<bool>(), option::of((any::<u128>(), 1..u16::MAX)), addresses);
    (btree_set("[a-z]{2,15}", 0..3), plane, path(), path(), path(), rest).prop_map(
        |(interfaces, data_plane, state_dir, socket, pin_dir, rest)| Host {
            interfaces: interfaces.into_iter().collect(),
            data_plane,
            state_dir,
            flow_table_size: rest.0,
            on_exit: if rest.1 { OnExit::Detach } else { OnExit::Keep },
            socket,
            pin_dir,
            metrics: rest.2.map(|(ip, port)| (IpAddr::from(ip.to_be_bytes()), port).into()),
            snat_addresses: rest.3.into_iter().map(|a| [10, 1, (a >> 8) as u8, a as u8].into()).collect(),
            ..Host::default()
        },
    )
}

/// States that `config` would let through: what does not fit together is made to.
fn desired() -> impl Strategy<Value = Desired> {
    (host(), vec(pool(), 1..4), vec(service(), 0..4)).prop_map(|(host, pools, services)| {
        let userspace = host.data_plane == PlaneChoice::Userspace;
        let pools: std::collections::BTreeMap<_, _> = pools.into_iter().map(|p| (p.name.clone(), p)).collect();
        let names: Vec<Name> = pools.keys().cloned().collect();
        let mut desired = Desired { host, pools, ..Desired::default() };
        for (i, (mut s, pool)) in services.into_iter().enumerate() {
            s.pool = pool.get(&names).clone();
            s.listen.ports = PortRange::single(5000 + i as u16).expect("a port");
            s.send_proxy = s.send_proxy.filter(|_| userspace);
            let own = |b: &Backend| b.address.port() == Some(s.listen.ports.first());
            if !userspace && desired.pools[&s.pool].backends().iter().all(own) {
                s.forward = Forward::Dsr;
            }
            desired.services.insert(s.name.clone(), s);
        }
        desired
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        survives(&text)?;
    }

    #[test]
    fn no_nearly_toml_panics(text in pieces()) {
        survives(&text)?;
    }

    /// A good file with a part cut out, doubled or replaced.
    #[test]
    fn no_damaged_file_panics(from: Index, length in 0..40usize, with in select(vec!["", "\"", "]", "[", "=", "\n", "ä", "9", "}", "[[x]]\n"])) {
        let at = |byte: usize| (0..=byte.min(GOOD.len())).rev().find(|b| GOOD.is_char_boundary(*b)).unwrap_or(0);
        let start = at(from.index(GOOD.len()));
        let end = at(start + length);
        survives(&format!("{}{with}{}", &GOOD[..start], &GOOD[end..]))?;
        survives(&format!("{}{}", &GOOD[..end], &GOOD[start..]))?;
    }

    #[test]
    fn what_is_exported_reads_back_to_the_same(desired in desired()) {
        let text = export(&desired);
        match parse_in(&text, "/x/exported.toml", &Environment::default()) {
            Ok(loaded) => prop_assert_eq!(loaded.desired, desired, "{}", text),
            Err(errors) => prop_assert!(false, "{}\n{}", errors[0], text),
        }
    }
}

#[test]
fn the_good_file_is_good() {
    let loaded = parse_in(GOOD, "good.toml", &Environment::default()).expect("good");
    assert_eq!(loaded.warnings, []);
    assert!(export(&loaded.desired).contains("address = \"10.0.0.12:8080\", weight = 2"));
}

/// Every backend that has an address of the model's can stand in a file.
#[test]
fn addresses_of_every_form_are_exported() {
    for text in ["10.0.0.1:80", "[2001:db8::1]:80", "web.example:80"] {
        let address: BackendAddress = text.parse().expect("an address");
        let backends = vec![Backend { address, weight: Weight::ONE, backup: false }];
        let pool = Pool::new("p".parse().expect("a name"), Algorithm::Maglev, backends).expect("a pool");
        let desired = Desired { pools: [(pool.name.clone(), pool)].into(), ..Desired::default() };
        let loaded = parse_in(&export(&desired), "f", &Environment::default()).expect("reads back");
        assert_eq!(loaded.desired, desired);
    }
}

//! What is accepted, what it means, and what is warned of.

use std::path::Path;
use std::time::Duration;

use lb_config::{Environment, Loaded, parse_in};
use lb_model::{
    Affinity, Algorithm, Desired, Forward, HealthKind, MssClamp, OnAllDown, OnExit, PlaneChoice, RateLimit, SendProxy,
    Service,
};

fn good(text: &str) -> Loaded {
    parse_in(text, "/etc/lb/lb.toml", &Environment::default()).unwrap_or_else(|errors| {
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", shown.join("\n"))
    })
}

fn quiet(text: &str) -> Desired {
    let loaded = good(text);
    assert_eq!(loaded.warnings, []);
    loaded.desired
}

const EVERYTHING: &str = r#"
[[service]]
name             = "web"
listen           = "192.0.2.10:80/tcp"
pool             = "web"
forward          = "nat"
affinity         = "client-ip"
affinity_timeout = "10m"
mss_clamp        = 1_400
idle_timeout     = "1h"
drain_timeout    = "0s"
allow            = ["0.0.0.0/0", "2001:db8::/32"]
deny             = ["192.0.2.66"]
rate_limit       = { per = "client-ip", new_flows = "100/s", burst = 200 }

[[pool]]
name      = "web"
algorithm = "least-connections"
backends  = [
  { address = "10.0.0.11:8080" },
  { address = "web-2.example:8080", weight = 0x10 },   # sixteen
]
maglev_table_size = 1_009
on_all_down = "spread"
[pool.health]
type     = "http"
path     = "/healthz?deep=1"
host     = "www.example.com"
expect   = ["200-299", 304]
interval = "5s"
timeout  = "500ms"
rise     = 1
fall     = 5
jitter   = "0%"
port     = 9000

[host]
interfaces      = ["eth0", "wan.100"]
data_plane      = "xdp-generic"
state_dir       = "state"
flow_table_size = 2_000_000
on_exit         = "detach"
socket          = "/tmp/lb.sock"
pin_dir         = "/sys/fs/bpf/other"
metrics         = "[::1]:9901"
snat_addresses  = ["192.0.2.10", "2001:db8::10"]

[[pool]]
name = "dns"
health = { type = "udp", send = "hex:00 01", expect = "hex:0001", interval = "1m", timeout = "30s" }
backends = [ { address = "[2001:db8::53]:53" }, { weight = 3, address = "[2001:db8::54]:53" } ]

[[service]]
listen = "[2001:db8::10]:53/UDP"
forward = "dsr"
name = "dns"
pool = "dns"
rate_limit.new_flows = "20/min"
"#;

#[test]
fn every_key_means_what_it_says() {
    let d = quiet(EVERYTHING);
    let h = &d.host;
    assert_eq!(h.interfaces, ["eth0", "wan.100"]);
    assert_eq!((h.data_plane, h.on_exit, h.flow_table_size), (PlaneChoice::XdpGeneric, OnExit::Detach, 2_000_000));
    assert_eq!((h.state_dir.as_path(), h.socket.as_path()), (Path::new("/etc/lb/state"), Path::new("/tmp/lb.sock")));
    assert_eq!(h.pin_dir, Path::new("/sys/fs/bpf/other"));
    assert_eq!(h.metrics, Some("[::1]:9901".parse().expect("an address")));
    assert_eq!(h.snat_addresses.len(), 2);

    let p = &d.pools["web"];
    assert_eq!(
        (p.algorithm, p.maglev_table_size, p.on_all_down),
        (Algorithm::LeastConnections, 1009, OnAllDown::Spread)
    );
    let backends: Vec<_> = p.backends().iter().map(|b| (b.address.to_string(), b.weight.get())).collect();
    assert_eq!(backends, [("10.0.0.11:8080".to_owned(), 1), ("web-2.example:8080".to_owned(), 16)]);
    let check = p.health.as_ref().expect("a check");
    let HealthKind::Http { path, host, expect } = &check.kind else { panic!("http") };
    assert_eq!((path.as_str(), host.as_deref()), ("/healthz?deep=1", Some("www.example.com")));
    assert_eq!(expect.iter().map(|r| (r.first, r.last)).collect::<Vec<_>>(), [(200, 299), (304, 304)]);
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(5), Duration::from_millis(500)));
    assert_eq!((check.rise, check.fall, check.jitter_percent, check.port), (1, 5, 0, Some(9000)));

    let s = &d.services["web"];
    assert_eq!(s.affinity, Affinity::ClientIp { timeout: Duration::from_secs(600) });
    assert_eq!((s.mss_clamp, s.drain_timeout), (MssClamp::Bytes(1400), Duration::ZERO));
    assert_eq!(s.idle_timeout, Duration::from_secs(3600));
    assert_eq!((s.allow.len(), s.deny[0].to_string()), (2, "192.0.2.66/32".to_owned()));
    assert_eq!(s.rate_limit, Some(RateLimit { interval: Duration::from_millis(10), burst: 200 }));

    let udp = &d.pools["dns"].health.as_ref().expect("a check").kind;
    assert_eq!(udp, &HealthKind::Udp { send: vec![0, 1], expect: Some(vec![0, 1]) });
    let s = &d.services["dns"];
    assert_eq!((s.forward, s.listen.to_string()), (Forward::Dsr, "[2001:db8::10]:53/udp".to_owned()));
    assert_eq!(s.rate_limit, Some(RateLimit { interval: Duration::from_secs(3), burst: 20 }));
}

#[test]
fn defaults_are_the_model_s() {
    let d = quiet(
        "[[pool]]\nname = \"p\"\nbackends = [{ address = \"10.0.0.1:80\" }]\nhealth = {}\n\
         [[service]]\nname = \"s\"\nlisten = \"192.0.2.1:80/tcp\"\npool = \"p\"\n",
    );
    assert_eq!(d.host, lb_model::Host::default());
    let s = &d.services["s"];
    assert_eq!(*s, Service::new(s.name.clone(), s.listen, s.pool.clone()));
    let p = &d.pools["p"];
    let mut plain = lb_model::Pool::new(p.name.clone(), Algorithm::default(), p.backends().to_vec()).expect("a pool");
    plain.health.clone_from(&p.health);
    assert_eq!(*p, plain);
    let check = p.health.as_ref().expect("a check");
    assert_eq!(
        (&check.kind, check.interval, check.timeout),
        (&HealthKind::Tcp, Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!((check.rise, check.fall, check.jitter_percent), (2, 3, 10));
}

#[test]
fn every_algorithm_and_every_engine_is_known() {
    for algorithm in Algorithm::ALL {
        let text = format!("[[pool]]\nname = \"p\"\nalgorithm = \"{algorithm}\"\nbackends = []\n");
        assert_eq!(good(&text).desired.pools["p"].algorithm, algorithm);
    }
    for (word, plane) in [
        ("auto", PlaneChoice::Auto),
        ("xdp", PlaneChoice::Xdp),
        ("xdp-generic", PlaneChoice::XdpGeneric),
        ("userspace", PlaneChoice::Userspace),
    ] {
        assert_eq!(good(&format!("host.data_plane = \"{word}\"")).desired.host.data_plane, plane);
    }
}

#[test]
fn the_userspace_engine_may_do_more() {
    let d = quiet(
        "[host]\ndata_plane = \"userspace\"\n[[pool]]\nname = \"p\"\nbackends = [{ address = \"[::1]:80\" }]\n\
         [[service]]\nname = \"a\"\nlisten = \"0.0.0.0:80/tcp\"\npool = \"p\"\nsend_proxy = \"v1\"\n\
         [[service]]\nname = \"b\"\nlisten = \"[::]:80/tcp\"\npool = \"p\"\nsend_proxy = \"v2\"\nmss_clamp = \"off\"\n",
    );
    assert_eq!(d.services["a"].send_proxy, Some(SendProxy::V1));
    assert_eq!(d.services["b"].send_proxy, Some(SendProxy::V2));
    assert_eq!(d.services["b"].mss_clamp, MssClamp::Off);
}

#[test]
fn port_ranges_keep_the_packet_s_port() {
    let text = "[[pool]]\nname = \"p\"\nbackends = [{ address = \"10.0.0.1\" }]\n[pool.health]\nport = 80\n\
         [[service]]\nname = \"a\"\nlisten = \"192.0.2.1:5000-5100/tcp\"\npool = \"p\"\nforward = \"FORWARD\"\n";
    for forward in ["nat", "dsr"] {
        quiet(&text.replace("FORWARD", forward));
    }
    let single = text.replace("5000-5100", "80").replace("FORWARD", "dsr");
    quiet(&single);
}

#[test]
fn an_empty_file_is_a_configuration() {
    for text in ["", "\n# nothing\n", "\u{feff}[host]\r\non_exit = \"keep\"\r\n"] {
        let loaded = good(text);
        assert_eq!(loaded.desired, Desired::default());
        assert_eq!(loaded.warnings.len(), 1, "that nothing is balanced");
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let base = "[[pool]]\nname = \"p\"\nPOOL\n[[service]]\nname = \"s\"\nlisten = \"192.0.2.1:80/tcp\"\npool = \"p\"\nSERVICE\n";
    let one = "backends = [{ address = \"10.0.0.1:80\" }]";
    for (pool, service, place, sentence) in [
        ("backends = []", "", (3, 12), "has no backends"),
        ("backends = [{ address = \"10.0.0.1:80\", weight = 0 }]", "", (3, 12), "has weight 0"),
        (
            "algorithm = \"round-robin\"\nbackends = [{ address = \"10.0.0.1:80\", weight = 2 }]",
            "",
            (4, 49),
            "round-robin ignores weights",
        ),
        ("maglev_table_size = 7\nbackends = [{ address = \"10.0.0.1:80\" }]", "", (3, 21), "unevenly"),
        (
            "backends = [{ address = \"10.0.0.1:80\" }]\nhealth = { interval = \"1s\", timeout = \"2s\" }",
            "",
            (4, 39),
            "longer than interval",
        ),
        ("backends = [{ address = \"10.0.0.1:80\" }]\nhealth = { type = \"udp\" }", "", (4, 10), "empty datagram"),
        (one, "affinity_timeout = \"1m\"", (8, 1), "does nothing without affinity"),
        (
            one,
            "[[pool]]\nname = \"q\"\nbackends = [{ address = \"10.0.0.1:80\" }]",
            (9, 8),
            "no service and no route uses the pool 'q'",
        ),
        (
            one,
            "[host]\ndata_plane = \"userspace\"\n[[service]]\nname = \"t\"\nlisten = \"192.0.2.1:81/tcp\"\npool = \"p\"\nmss_clamp = 1400",
            (14, 13),
            "nothing to clamp",
        ),
        (
            one,
            "[[service]]\nname = \"t\"\nlisten = \"127.0.0.1:81/tcp\"\npool = \"p\"",
            (10, 10),
            "never sees packets to 127.0.0.1",
        ),
    ] {
        let text = base.replace("POOL", pool).replace("SERVICE", service);
        let warnings = good(&text).warnings;
        let [w] = warnings.as_slice() else { panic!("{sentence}: {warnings:?}") };
        assert!(w.message.contains(sentence), "{w}");
        assert_eq!((w.line, w.column), place, "{w}");
        assert!(w.to_string().contains("warning: "));
    }
}

#[test]
fn the_environment_gives_the_places_and_the_file_wins() {
    let user = Environment {
        xdg_runtime_dir: Some("/run/user/7".into()),
        xdg_state_home: Some("/home/u/state".into()),
        ordinary_user: true,
        ..Environment::default()
    };
    let host = parse_in("", "lb.toml", &user).expect("empty").desired.host;
    assert_eq!((host.socket, host.state_dir), ("/run/user/7/lb.sock".into(), "/home/u/state/lb".into()));
    let host = parse_in("host.socket = \"s\"\nhost.state_dir = \"/d\"", "lb.toml", &user).expect("good").desired.host;
    assert_eq!((host.socket, host.state_dir), ("s".into(), "/d".into()));
}

#[test]
fn files_are_read_or_the_reason_is_told() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loaded");
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("lb.toml");
    std::fs::write(&file, EVERYTHING).expect("written");
    let loaded = lb_config::load(&file).expect("a good file");
    assert_eq!(loaded.desired.host.state_dir, folder.join("state"));

    let missing = lb_config::load(&folder.join("nothing.toml")).expect_err("no file");
    assert!(missing[0].message.contains("cannot read the file: No such file"), "{}", missing[0]);
    assert!(lb_config::load(&folder).expect_err("a folder")[0].message.contains("cannot read the file"));

    std::fs::write(&file, b"[host]\n# \xc3\xa9\xff\n").expect("written");
    let binary = lb_config::load(&file).expect_err("no text");
    assert_eq!((binary[0].line, binary[0].column), (2, 4), "{}", binary[0]);
}

#[test]
fn limits_are_limits() {
    let backends = |n: usize| -> String {
        let one = |i: usize| format!("{{ address = \"10.{}.{}.{}:80\" }},", i >> 16, i >> 8 & 255, i & 255);
        format!("[[pool]]\nname = \"p\"\nbackends = [{}]\n", (1..=n).map(one).collect::<String>())
    };
    let service =
        |i: usize| format!("[[service]]\nname = \"s{i}\"\nlisten = \"192.0.2.1:{}/tcp\"\npool = \"p\"\n", i + 1);
    let many = |n: usize| (0..n).map(service).collect::<String>();
    quiet(&(backends(1024).replace("name = \"p\"", "name = \"p\"\nmaglev_table_size = 131_071") + &many(4096)));
    for (text, sentence) in [
        (backends(1025) + &many(1), "1025 backends are more than the 1024"),
        (backends(1) + &many(4097), "more than 4096 services"),
    ] {
        let errors = parse_in(&text, "f", &Environment::default()).expect_err("too many");
        assert!(errors.len() == 1 && errors[0].message.contains(sentence), "{}", errors[0].message);
    }
}

#[test]
fn tables_may_be_written_in_every_way_toml_has() {
    let headers = "[[pool]]\nname = \"p\"\n[[pool.backends]]\naddress = \"10.0.0.1:80\"\n[[pool.backends]]\naddress = \"10.0.0.2:80\"\nweight = 0b11\n\
         [pool.health]\n[service]\n";
    let headers = headers
        .replace("[service]", "[[service]]\nname = \"s\"\nlisten = '192.0.2.1:80/tcp'\npool = \"\"\"p\"\"\"\n[host]");
    let inline = "pool = [{ name = \"p\", backends = [{ address = \"10.0.0.1:80\" }, { address = \"10.0.0.2:80\", weight = 3 }], health = {} }]\n\
         \"service\" = [{ name = \"s\", listen = \"192.0.2.1:80/tcp\", 'pool' = \"p\" }]\nhost = {}\n";
    assert_eq!(quiet(&headers), quiet(inline));
}

/// A reload of whatever lies there must come back, and soon.
#[test]
fn a_file_that_is_no_toml_at_all_is_refused_in_time() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let noise: String = (0..300_000).map(|_| char::from_u32(random() as u32 % 128).unwrap_or(' ')).collect();
    for text in [
        noise,
        "[".repeat(100_000),
        "[[a]\n".repeat(50_000),
        format!("a = [{}]", "b,".repeat(100_000)),
        "a = {b = ".repeat(10_000),
    ] {
        let errors = parse_in(&text, "f", &Environment::default()).expect_err("no TOML");
        assert!((1..=1000).contains(&errors.iter().filter(|e| e.message.contains("not valid TOML")).count()));
    }
}

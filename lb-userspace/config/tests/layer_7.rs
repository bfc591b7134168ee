//! What layer 7's keys mean, and what is warned of.

use std::path::Path;
use std::time::Duration;

use lb_config::{Environment, Loaded, parse_in};
use lb_model::http::{
    AcmeAccount, CertificateSource, Coding, Compress, HashOn, HostPattern, HttpAlgorithm, HttpPool, Listener,
    PathPattern, PathRewrite, Protocols, Route, SameSite, Segment, Target, TlsVersion, UnsafeEscape, UpstreamProtocol,
    ValueMatch,
};
use lb_model::{AccessLog, AccessLogFormat, Algorithm, Desired, HealthKind};

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

const EVERYTHING: &str = include_str!("layer_7.toml");

#[test]
fn a_listener_s_keys() {
    let d = quiet(EVERYTHING);
    let l = &d.listeners["edge"];
    assert_eq!(l.listen.to_string(), "192.0.2.10:443");
    assert_eq!(l.protocols, Protocols { h1: true, h2: true, h3: true, h2c: false });
    assert_eq!(l.trusted_proxies[0].to_string(), "10.0.0.0/8");
    let auth = l.client_auth.as_ref().expect("mutual TLS");
    assert_eq!((auth.ca.as_path(), auth.required), (Path::new("/etc/lb/certs/clients.pem"), false));
    assert_eq!((l.tls_min, l.hsts), (TlsVersion::V1_3, Duration::from_secs(365 * 86_400)));
    let t = &l.timeouts;
    assert_eq!([t.header, t.body, t.idle, t.tls].map(|d| d.as_secs()), [1, 2, 3, 4]);
    let m = &l.limits;
    assert_eq!((m.header, m.fields, m.uri, m.streams, m.requests_per_connection), (16 << 10, 50, 4096, 10, 1000));
    let [files, acme] = l.certificates.as_slice() else { panic!("two certificates") };
    assert_eq!(files.names, ["api.example.com", "*.example.org"]);
    let CertificateSource::Files { cert, key } = &files.source else { panic!("files") };
    assert_eq!((cert.as_path(), key.as_path()), (Path::new("/etc/lb/certs/api.pem"), Path::new("/abs/api.key")));
    let account = AcmeAccount {
        directory: "https://ca.test/directory".into(),
        email: Some("ops@example.com".into()),
        ca: Some("/etc/lb/certs/ca.pem".into()),
    };
    assert_eq!(acme.source, CertificateSource::Acme(account));

    let clear = &d.listeners["clear"];
    assert_eq!(clear.listen.to_string(), "[::]:80");
    assert_eq!(clear.protocols, Protocols { h1: true, h2c: true, ..Protocols::default() });
    assert!(clear.proxy_protocol && !clear.is_tls());
    assert_eq!(d.host.access_log, AccessLog::File("/etc/lb/access.log".into()));
    assert_eq!((d.host.access_log_format, d.host.access_log_sample), (AccessLogFormat::Combined, 10));
    assert_eq!(d.host.shutdown_timeout, Duration::from_secs(3600));
}

#[test]
fn a_pool_s_keys() {
    let d = quiet(EVERYTHING);
    let p = &d.pools["web"];
    let h = &p.http;
    assert_eq!((p.algorithm, h.algorithm), (Algorithm::Maglev, HttpAlgorithm::RingHash));
    assert_eq!(h.hash_on, HashOn::Header("x-user".parse().expect("a name")));
    assert_eq!((h.protocol, h.max_requests), (UpstreamProtocol::H2, 7));
    let tls = h.tls.as_ref().expect("TLS");
    assert_eq!((tls.ca.as_deref(), tls.verify), (Some(Path::new("/etc/lb/ca.pem")), true));
    assert_eq!(tls.server_name.as_deref(), Some("web.internal"));
    assert_eq!(tls.client, Some(("/etc/lb/c.pem".into(), "/etc/lb/c.key".into())));
    let sticky = h.sticky.as_ref().expect("sticky");
    assert_eq!((sticky.cookie.as_str(), sticky.ttl.as_secs()), ("lb", 3600));
    assert_eq!(sticky.same_site, SameSite::Strict);
    let o = h.outlier.as_ref().expect("outlier");
    assert_eq!((o.consecutive_errors, o.error_rate, o.min_requests, o.max_ejected), (3, 10, 5, 20));
    assert_eq!([o.window, o.eject, o.latency.expect("written")].map(|d| d.as_secs()), [20, 60, 2]);
    assert_eq!((h.drain_timeout.as_secs(), h.slow_start.as_secs()), (60, 10));
    assert_eq!((h.queue.size, h.queue.timeout.as_millis()), (5, 500));
    assert_eq!(p.backends().iter().map(|b| b.backup).collect::<Vec<_>>(), [false, true]);
    let check = &p.health.as_ref().expect("a check").kind;
    assert_eq!(*check, HealthKind::Grpc { service: "shop.Orders".into(), tls: h.tls.clone() });

    let other = &d.pools["shadow"];
    let HealthKind::Https { path, tls, .. } = &other.health.as_ref().expect("a check").kind else { panic!("https") };
    assert!(path == "/up" && tls.verify && tls.ca.is_none());
    assert_eq!(other.http, HttpPool { outlier: other.http.outlier.clone(), ..HttpPool::default() });
    let usual = other.http.outlier.as_ref().expect("outlier = {}");
    assert_eq!((usual.consecutive_errors, usual.error_rate, usual.min_requests, usual.max_ejected), (5, 50, 20, 50));
    assert_eq!((usual.window.as_secs(), usual.eject.as_secs(), usual.latency), (10, 30, None));
}

#[test]
fn a_route_s_match() {
    let d = quiet(EVERYTHING);
    let names: Vec<&str> = d.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["orders", "z-split", "moved", "sorry", "files", "all"]);
    let m = &d.routes[0].matching;
    let hosts = [HostPattern::Exact("api.example.com".into()), HostPattern::Wildcard("example.org".into())];
    assert_eq!(m.hosts, hosts);
    let segments = vec![Segment::Literal("users".into()), Segment::Capture("id".into())];
    assert_eq!(m.path, Some(PathPattern::Pattern { segments, rest: true }));
    assert_eq!(m.methods, [http::Method::GET, http::Method::from_bytes(b"PURGE").expect("a method")]);
    let exact = |s: &str| ValueMatch::Exact(s.to_owned());
    assert_eq!(m.headers, [("x-beta".parse().expect("a name"), exact("1"))]);
    assert_eq!(m.query, [("a b".to_owned(), exact("")), ("debug".to_owned(), ValueMatch::Present)]);
    assert_eq!(m.cookies, [("beta".to_owned(), ValueMatch::Present)]);
    assert_eq!(m.source[0].to_string(), "10.0.0.0/8");
}

#[test]
fn a_route_s_exchange() {
    let d = quiet(EVERYTHING);
    let r = &d.routes[0];
    assert_eq!(r.listeners, ["edge".parse().expect("a name")]);
    assert_eq!(r.rewrite.host.as_deref(), Some("orders.internal"));
    assert!(matches!(&r.rewrite.path, Some(PathRewrite::Path(t)) if t.to_string() == "/o/{id}"));
    let t = &r.timeouts;
    assert_eq!([t.request, t.idle, t.connect].map(|d| d.as_millis()), [5000, 10_000, 250]);
    assert_eq!((r.retry.attempts, r.retry.budget_percent), (2, 10));
    assert_eq!(r.retry.on.iter().map(|r| (r.first, r.last)).collect::<Vec<_>>(), [(502, 504), (429, 429)]);
    assert_eq!(r.max_body, None);
    let c = r.compress.as_ref().expect("compression");
    assert_eq!((c.algorithms.as_slice(), c.min_size), ([Coding::Gzip, Coding::Zstd].as_slice(), 512));
    assert_eq!(c.types, ["text/*", "application/json"]);
    let c = r.cache.as_ref().expect("a cache");
    assert_eq!((c.max_size, c.max_object, c.tags.as_str()), (1 << 30, 1 << 20, "surrogate-key"));
    assert_eq!((c.stale_while_revalidate.as_secs(), c.stale_if_error.as_secs()), (30, 60));
    let disk = c.disk.as_ref().expect("a disk");
    assert_eq!((disk.path.as_path(), disk.size), (Path::new("/etc/lb/cache"), 10 << 30));
    let mirror = r.mirror.as_ref().expect("a mirror");
    assert_eq!((mirror.pool.as_str(), mirror.percent), ("shadow", 10));
    assert_eq!(r.errors, [(502, "/etc/lb/sorry.html".into()), (503, "/srv/503.html".into())].into());
    assert_eq!(r.upgrade, ["websocket", "foo/2"]);
    assert_eq!(r.path_unsafe, [UnsafeEscape::Slash, UnsafeEscape::Nul]);
}

#[test]
fn every_target() {
    let d = quiet(EVERYTHING);
    let name = |s: &str| s.parse().expect("a name");
    assert_eq!(d.routes[0].target, Target::Pool(name("web")));
    assert_eq!(d.routes[1].target, Target::Split(vec![(name("web"), 95), (name("shadow"), 1)]));
    assert!(matches!(&d.routes[1].rewrite.path, Some(PathRewrite::Strip(p)) if p == "/api/v2"));
    assert_eq!(d.routes[1].compress, Some(Compress::default()));
    let Target::Redirect { to, status } = &d.routes[2].target else { panic!("redirect") };
    assert_eq!((to.to_string().as_str(), status.as_u16()), ("https://new.example.com{path}", 308));
    assert_eq!(d.routes[2].listeners, [name("clear"), name("edge")]);
    let Target::Respond { status, body, headers } = &d.routes[3].target else { panic!("respond") };
    assert_eq!((status.as_u16(), body.to_string().as_str()), (404, "no {path}"));
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().expect("text"))).collect();
    assert_eq!(headers, [("x-a", "1"), ("x-a", "2"), ("x-b", "3")]);
    assert_eq!(d.routes[4].target, Target::Files { root: "/etc/lb/www".into() });
    assert!(matches!(&d.routes[4].rewrite.path, Some(PathRewrite::ReplacePrefix(p)) if p == "/static"));
    assert_eq!(d.routes[4].compress, None);
    // Nothing but its name and pool: every default is the model's.
    assert_eq!(d.routes[5], Route::new(name("all"), Target::Pool(name("web"))));
}

#[test]
fn defaults_are_the_model_s() {
    let d = quiet(
        "[[pool]]\nname = \"p\"\nbackends = [{ address = \"10.0.0.1:80\" }]\n\
         [[listener]]\nname = \"l\"\nlisten = \"0.0.0.0:80\"\n\
         [[listener]]\nname = \"t\"\nlisten = \"0.0.0.0:443\"\ncertificate = [{ cert = \"c\", key = \"k\" }]\n\
         [[route]]\nname = \"r\"\npool = \"p\"\ncache = {}\n",
    );
    let l = &d.listeners["l"];
    assert_eq!(*l, Listener::new(l.name.clone(), l.listen));
    assert_eq!(d.listeners["t"].protocols, Protocols { h1: true, h2: true, ..Protocols::default() });
    assert_eq!(d.pools["p"].http, HttpPool::default());
    assert_eq!(d.pools["p"].algorithm, Algorithm::Maglev);
    let c = d.routes[0].cache.as_ref().expect("a cache");
    assert_eq!((c.max_size, c.max_object, c.tags.as_str(), &c.disk), (256 << 20, 8 << 20, "cache-tag", &None));
    assert_eq!(d.host, lb_model::Host::default());
}

#[test]
fn one_algorithm_for_both_layers() {
    for algorithm in HttpAlgorithm::ALL {
        let text = format!("[[pool]]\nname = \"p\"\nalgorithm = \"{algorithm}\"\nbackends = []\n");
        let pool = &good(&text).desired.pools["p"];
        assert_eq!(pool.http.algorithm, algorithm);
        assert_eq!(pool.algorithm, algorithm.at_layer_4().unwrap_or_default());
    }
}

/// A small file, a key or table that is out of place in it, the warning and its line.
#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let base = "[[listener]]\nname = \"l\"\nlisten = \"0.0.0.0:80\"\nLISTENER\n[[pool]]\nname = \"p\"\nbackends = [{ address = \"10.0.0.1:80\" }]\nPOOL\n\
         [[route]]\nname = \"r\"\npool = \"p\"\nROUTE\n";
    for (listener, pool, route, line, sentence) in [
        ("hsts = \"1d\"", "", "", 4, "hsts does nothing on a listener in clear text"),
        ("tls = { min = \"1.3\" }", "", "", 4, "tls does nothing on a listener in clear text"),
        (
            "[[listener]]\nname = \"idle\"\nlisten = \"0.0.0.0:81\"",
            "",
            "listener = \"l\"",
            5,
            "listener 'idle' has no route",
        ),
        ("", "outlier = { consecutive_errors = 0, error_rate = \"0%\" }", "", 8, "outlier looks at nothing"),
        ("", "tls = {}\nhealth = { type = \"http\" }", "", 9, "this check asks them in clear text"),
        ("", "", "retry = { attempts = 0, on = [\"503\"] }", 12, "on does nothing with attempts = 0"),
        (
            "",
            "",
            "[[route]]\nname = \"s\"\nmatch.path = \"/s\"\nredirect.to = \"http://{host}{path}\"",
            15,
            "redirects a URL to itself",
        ),
        ("", "queue = { size = 3 }", "", 8, "queue does nothing without max_requests"),
        ("", "hash_on = \"path\"", "", 8, "hash_on does nothing with algorithm = \"p2c\""),
        ("", "tls = { ca = \"c\", verify = false }", "", 8, "ca does nothing with verify = false"),
        ("", "[[pool]]\nname = \"q\"\nbackends = []", "mirror = { pool = \"q\" }", 10, "has no backends"),
        (
            "",
            "[[pool]]\nname = \"q\"\nbackends = [{ address = \"10.0.0.2:80\" }]",
            "",
            9,
            "no service and no route uses the pool 'q'",
        ),
        (
            "",
            "",
            "match.path = \"/a/*\"\nrewrite.strip_prefix = \"/b\"",
            13,
            "no path that matches /a/* begins with /b",
        ),
        ("", "", "rewrite.strip_prefix = \"/\"", 12, "takes nothing off"),
        ("", "", "[[route]]\nname = \"s\"\npool = \"p\"", 13, "route 'r' has the same match"),
        (
            "",
            "",
            "match.path = \"/{a}\"\n[[route]]\nname = \"s\"\nmatch.path = \"/{b}\"\nlistener = \"l\"\nrespond = {}",
            15,
            "the same match",
        ),
        (
            "",
            "",
            "[[route]]\nname = \"s\"\nmatch.path = \"/s\"\nrespond = {}\ncache = {}",
            16,
            "cache does nothing on a route with respond",
        ),
        (
            "",
            "",
            "[[route]]\nname = \"s\"\nmatch.path = \"/s\"\nfiles.root = \"/\"\nretry.attempts = 2",
            16,
            "retry does nothing on a route with files",
        ),
    ] {
        let text = base.replace("LISTENER", listener).replace("POOL", pool).replace("ROUTE", route);
        let warnings = good(&text).warnings;
        let [w] = warnings.as_slice() else { panic!("{sentence}: {warnings:?}") };
        assert!(w.message.contains(sentence), "{w}");
        assert_eq!(w.line, line, "{w}");
    }
}

#[test]
fn hosts_that_no_certificate_is_for_are_warned_of() {
    let text = "[[listener]]\nname = \"l\"\nlisten = \"0.0.0.0:443\"\ncertificate = [{ names = [\"a.test\", \"*.b.test\"], cert = \"c\", key = \"k\" }]\n\
         [[route]]\nname = \"r\"\nmatch.host = HOST\nrespond = {}\n";
    for host in ["\"a.test\"", "\"x.b.test\"", "[\"A.test\", \"*.b.test\"]", "\"*.test\""] {
        quiet(&text.replace("HOST", host));
    }
    for host in ["\"c.test\"", "\"b.test\"", "\"x.y.b.test\"", "[\"a.test\", \"*.c.test\"]"] {
        let warnings = good(&text.replace("HOST", host)).warnings;
        assert!(warnings.len() == 1 && warnings[0].message.contains("get 421"), "{host}: {warnings:?}");
        assert_eq!((warnings[0].line, warnings[0].column), (7, 14));
        let clear = format!("{}[[listener]]\nname = \"clear\"\nlisten = \"0.0.0.0:80\"\n", text.replace("HOST", host));
        quiet(&clear);
    }
}

#[test]
fn routes_on_different_listeners_do_not_shadow_each_other() {
    let text = "[[listener]]\nname = \"a\"\nlisten = \"0.0.0.0:80\"\n[[listener]]\nname = \"b\"\nlisten = \"0.0.0.0:81\"\n\
         [[route]]\nname = \"one\"\nlistener = \"a\"\nrespond = {}\n[[route]]\nname = \"two\"\nlistener = [\"a\", \"b\"]\nrespond = {}\n";
    quiet(text);
    let no_listener = "[[route]]\nname = \"one\"\nrespond = {}\n";
    assert!(good(no_listener).warnings[0].message.contains("there is no [[listener]]"));
}

/// Each of them by name, where nobody at layer 7 reads them.
#[test]
fn layer_7_s_keys_do_nothing_for_services() {
    let text = "[[pool]]\nname = \"p\"\nprotocol = \"h2\"\ntls = {}\nsticky = { cookie = \"c\" }\noutlier = {}\ndrain_timeout = \"1s\"\n\
         slow_start = \"1s\"\nmax_requests = 1\nqueue = { size = 1 }\nhash_on = \"path\"\nalgorithm = \"maglev\"\n\
         backends = [{ address = \"10.0.0.1:80\", backup = false }]\n\
         [[service]]\nname = \"s\"\nlisten = \"192.0.2.1:80/tcp\"\npool = \"p\"\n";
    let warnings = good(text).warnings;
    let keys = [
        "protocol",
        "tls",
        "sticky",
        "outlier",
        "drain_timeout",
        "slow_start",
        "max_requests",
        "queue",
        "hash_on",
        "backup",
    ];
    assert_eq!(warnings.len(), keys.len(), "{warnings:?}");
    for key in keys {
        let sentence = format!("{key} does nothing here: only services use the pool 'p'");
        assert!(warnings.iter().any(|w| w.message == sentence), "{key}");
    }
    let routed =
        format!("{text}[[listener]]\nname = \"l\"\nlisten = \"0.0.0.0:80\"\n[[route]]\nname = \"r\"\npool = \"p\"\n");
    let clash = parse_in(&routed, "f", &Environment::default()).expect_err("the port is the service's");
    assert_eq!(clash.len(), 1);
    quiet(&routed.replace("0.0.0.0:80", "0.0.0.0:81"));
}

#[test]
fn files_must_be_there_at_load_and_at_no_other_time() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layer_7_files");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("www")).expect("a folder");
    let text = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:443\"\nclient_ca = \"ca.pem\"\ncertificate = [{ cert = \"c.pem\", key = \"c.key\" }]\n\
         [[pool]]\nname = \"p\"\nbackends = [{ address = \"10.0.0.1:80\" }]\ntls = { ca = \"www\" }\n\
         [[route]]\nname = \"f\"\nfiles.root = \"www\"\n\
         [[route]]\nname = \"g\"\nmatch.path = \"/g\"\nfiles.root = \"none\"\nerrors = { 404 = \"404.html\" }\n\
         [[route]]\nname = \"p\"\nmatch.path = \"/p\"\npool = \"p\"\n";
    let file = folder.join("lb.toml");
    std::fs::write(&file, text).expect("written");
    std::fs::write(folder.join("c.pem"), "").expect("written");
    let path = file.display().to_string();
    parse_in(text, &path, &Environment::default()).expect("a text is checked for itself");
    let errors = lb_config::load(&file).expect_err("files are missing");
    let found: Vec<(usize, usize)> = errors.iter().map(|e| (e.line, e.column)).collect();
    assert_eq!(found, [(4, 13), (5, 40), (9, 14), (16, 14), (17, 18)], "{errors:?}");
    assert!(errors[0].message.contains(&folder.join("ca.pem").display().to_string()), "{}", errors[0]);
    assert!(errors[2].message.contains("not a file"), "{}", errors[2]);
    for name in ["ca.pem", "c.key", "404.html"] {
        std::fs::write(folder.join(name), "x").expect("written");
    }
    std::fs::write(&file, text.replace("\"none\"", "\"www\"").replace("ca = \"www\"", "ca = \"ca.pem\""))
        .expect("written");
    lb_config::load(&file).expect("all are there");
}

/// However the process came to the file, a reload from elsewhere must find the same.
#[test]
fn what_is_loaded_has_absolute_paths() {
    let loaded = lb_config::load(Path::new("tests/layer_7_relative.toml")).expect("a good file");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    assert_eq!(loaded.desired.host.access_log, AccessLog::File(tests.join("access.log")));
    assert_eq!(loaded.desired.routes[0].target, Target::Files { root: tests.join("broken") });
}

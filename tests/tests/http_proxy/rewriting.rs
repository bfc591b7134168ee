//! What becomes of a request before the backend sees it: captures, prefixes, hosts, queries.

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, route};

#[test]
fn captures_stand_in_paths_redirects_and_bodies() -> Result<()> {
    let tables = [
        route(
            "path",
            "match = { path = \"/users/{id}/posts/{n}\" }\nrewrite = { path = \"/p/{n}/of/{id}\" }\npool = \"web\"",
        ),
        route("host", "match = { path = \"/host/*\" }\nrewrite = { host = \"inner.test\" }\npool = \"web\""),
        route("both", "match = { path = \"/both\" }\nrewrite = { path = \"/{host}{path}\" }\npool = \"web\""),
        route(
            "to",
            "match = { path = \"/go/{id}\" }\nredirect = { to = \"https://{host}/new/{id}?{query}\", status = 301 }",
        ),
        route("plain", "match = { path = \"/old\" }\nredirect = { to = \"https://other.test/\" }"),
        route(
            "say",
            "match = { path = \"/say/{what}\" }\nrespond = { status = 201, body = \"{what} of {host}\", headers = { X-A = \"b\" } }",
        ),
    ];
    let scene = Scene::routes("", &tables.concat(), echo::reply)?;
    every(
        [
            ("path", ("/users/7/posts/9?x=1", "/p/9/of/7?x=1")),
            ("escaped", ("/users/a%20b/posts/9", "/p/9/of/a%20b")),
            ("both", ("/both?x=1", "/a.test/both?x=1")),
            ("host", ("/host/x", "/host/x")),
        ],
        |(sent, want)| {
            let answer = scene.get(sent)?;
            ensure!(answer.json()["target"] == want, "{} {}", answer.status, answer.text());
            Ok(())
        },
    )?;
    let hosts: Vec<String> =
        scene.backend.seen().iter().map(|s| s.field("host").unwrap_or_default().to_owned()).collect();
    ensure!(hosts == ["a.test", "a.test", "a.test", "inner.test"], "hosts {hosts:?}");
    let moved = scene.get("/go/7?x=1")?;
    ensure!(moved.status == 301 && moved.field("location") == Some("https://a.test/new/7?x=1"), "{moved:?}");
    let plain = scene.get("/old?x=1")?;
    ensure!(plain.status == 308 && plain.field("location") == Some("https://other.test/"), "{plain:?}");
    let said = scene.get("/say/hello")?;
    ensure!(said.status == 201 && said.text() == "hello of a.test" && said.field("x-a") == Some("b"), "{said:?}");
    Ok(())
}

#[test]
fn nothing_a_client_sends_splits_a_location() -> Result<()> {
    let tables = route("to", "match = { path = \"/go/{id}\" }\nredirect = { to = \"https://b.test/{id}\" }");
    let scene = Scene::routes("", &tables, echo::reply)?;
    for path in ["/go/a%0d%0aSet-Cookie:%20a=b", "/go/%0aX:y"] {
        let answer = scene.get(path)?;
        ensure!(answer.field("set-cookie").is_none() && answer.field("x").is_none(), "{answer:?}");
        ensure!(answer.status == 400 || answer.field("location").is_some_and(|l| l.contains("%0")), "{answer:?}");
    }
    Ok(())
}

#[test]
fn a_location_that_names_the_backend_names_the_front() -> Result<()> {
    use lb_tests::http::backend::{Backend, Reply};
    use lb_tests::http::client::Client;
    use lb_tests::http::proxy::Proxy;
    use lb_tests::http::scene::{get, listener, pool};
    use std::sync::{Arc, OnceLock};
    let own = Arc::new(OnceLock::new());
    let of_backend = Arc::clone(&own);
    let backend = Backend::start(move |seen| {
        let me: &std::net::SocketAddr = of_backend.get_or_init(|| ([127, 0, 0, 1], 0).into());
        let to = match seen.target.as_str() {
            "/full" => format!("http://{me}/x?y=1"),
            "/path" => "/x".to_owned(),
            "/deep" => "x/y".to_owned(),
            _ => "http://elsewhere.test/x".to_owned(),
        };
        Reply::new(
            &format!(
                "302 Found\r\nLocation: {to}\r\nContent-Location: {to}\r\nSet-Cookie: a=b; Domain={}; Path=/",
                me.ip()
            ),
            "",
        )
    })?;
    let _ = own.set(backend.address);
    let front = lb_tests::http::port::free()?;
    let tables = route("all", "match = { path = \"/app/*\" }\nrewrite = { strip_prefix = \"/app\" }\npool = \"web\"");
    let _proxy = Proxy::start(&format!("{}{}{tables}", listener(front, ""), pool("web", &[backend.address], "")))?;
    for (path, want) in [
        ("/app/full", "http://a.test/app/x?y=1"),
        ("/app/path", "/app/x"),
        ("/app/deep", "x/y"),
        ("/app/other", "http://elsewhere.test/x"),
    ] {
        let answer = Client::connect(front)?.ask(get(path, ""))?;
        let location = answer.field("location").unwrap_or_default();
        // The contract gives the prefix back to a path; a whole URL gets scheme and host, the prefix may come too.
        ensure!(location == want || location == want.replace("/app/x?", "/x?"), "{path}: {location}");
        ensure!(
            answer.field("content-location").is_some_and(|l| !l.contains("127.0.0.1")),
            "{path}: {:?}",
            answer.fields
        );
        let cookie = answer.field("set-cookie").unwrap_or_default();
        ensure!(cookie.starts_with("a=b") && !cookie.contains("127.0.0.1"), "{path}: {cookie}");
    }
    Ok(())
}

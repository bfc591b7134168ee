//! Which of several routes a request gets: hosts, paths, methods, fields, queries, cookies, sources, the file's order.

use anyhow::{Result, ensure};
use lb_tests::http::backend::Reply;
use lb_tests::http::scene::{Scene, every, route};

/// A route that answers with its name.
fn named(name: &str, matching: &str) -> String {
    route(name, &format!("match = {{ {matching} }}\nrespond = {{ body = \"{name}\" }}"))
}

/// Each request (host, target, method, further fields) against the name of its route, or "404".
fn answered(tables: &str, cases: &[(&str, &str, &str, &str, &str)]) -> Result<()> {
    let scene = Scene::routes("", tables, |_| Reply::ok("pool"))?;
    let cases = cases.iter().map(|c| (format!("{} {}{} {:?}", c.2, c.0, c.1, c.3), c));
    every(cases, |(host, target, method, fields, want)| {
        let answer = scene.ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))?;
        if *want == "404" {
            return answer.is_refusal(404, "no_route");
        }
        ensure!(answer.text() == *want, "{} {:?} instead of {want:?}", answer.status, answer.text());
        ensure!(
            answer.status == 200 && answer.field("content-type") == Some("text/plain; charset=utf-8"),
            "{answer:?}"
        );
        Ok(())
    })
}

#[test]
fn the_most_specific_host_wins() -> Result<()> {
    let tables = [
        named("any", "path = \"/\""),
        named("wide", "host = \"*.test\", path = \"/\""),
        named("narrow", "host = \"*.a.test\", path = \"/\""),
        named("exact", "host = \"x.a.test\", path = \"/\""),
        named("deep", "host = \"x.a.test\", path = \"/deep\""),
    ];
    answered(
        &tables.concat(),
        &[
            ("x.a.test", "/", "GET", "", "exact"),
            ("X.A.Test", "/", "GET", "", "exact"),
            ("x.a.test:8080", "/", "GET", "", "exact"),
            ("y.a.test", "/", "GET", "", "narrow"),
            ("y.z.a.test", "/", "GET", "", "narrow"),
            ("a.test", "/", "GET", "", "wide"),
            ("test", "/", "GET", "", "any"),
            ("other.example", "/", "GET", "", "any"),
            ("[::1]:80", "/", "GET", "", "any"),
            ("y.a.test", "/deep", "GET", "", "404"),
        ],
    )
}

#[test]
fn exact_then_pattern_then_longest_prefix() -> Result<()> {
    let tables = [
        named("root", "path = \"/*\""),
        named("users", "path = \"/users/*\""),
        named("user", "path = \"/users/{id}\""),
        named("under", "path = \"/users/{id}/*\""),
        named("me", "path = \"/users/me\""),
        named("posts", "path = \"/users/{id}/posts\""),
        named("long", "path = \"/users/{id}/posts/{n}\""),
        named("literal", "path = \"/users/fred/{what}\""),
    ];
    answered(
        &tables.concat(),
        &[
            ("a.test", "/", "GET", "", "root"),
            ("a.test", "/other", "GET", "", "root"),
            ("a.test", "/users", "GET", "", "users"),
            ("a.test", "/users/", "GET", "", "users"),
            ("a.test", "/users/me", "GET", "", "me"),
            ("a.test", "/users/me?x=1", "GET", "", "me"),
            ("a.test", "/users/7", "GET", "", "user"),
            ("a.test", "/users/7/posts", "GET", "", "posts"),
            ("a.test", "/users/7/posts/1", "GET", "", "long"),
            ("a.test", "/users/7/other", "GET", "", "under"),
            ("a.test", "/users/fred/posts", "GET", "", "posts"),
            ("a.test", "/usersx", "GET", "", "root"),
        ],
    )
}

#[test]
fn a_prefix_is_of_whole_segments() -> Result<()> {
    let tables = [named("a", "path = \"/a/*\""), named("exact", "path = \"/b\"")];
    answered(
        &tables.concat(),
        &[
            ("a.test", "/a", "GET", "", "a"),
            ("a.test", "/a/", "GET", "", "a"),
            ("a.test", "/a/b/c", "GET", "", "a"),
            ("a.test", "/ab", "GET", "", "404"),
            ("a.test", "/b", "GET", "", "exact"),
            ("a.test", "/b/", "GET", "", "404"),
            ("a.test", "/B", "GET", "", "404"),
        ],
    )
}

#[test]
fn then_method_then_fields_then_queries_then_cookies() -> Result<()> {
    let tables = [
        named("plain", "path = \"/p\""),
        named("cookie", "path = \"/p\", cookies = { beta = \"*\" }"),
        named("query", "path = \"/p\", query = { debug = \"*\" }"),
        named("query2", "path = \"/p\", query = { debug = \"1\", more = \"x y\" }"),
        named("header", "path = \"/p\", headers = { X-A = \"1\" }"),
        named("header2", "path = \"/p\", headers = { X-A = \"1\", X-B = \"*\" }"),
        named("method", "path = \"/p\", methods = [\"PUT\"]"),
        named("only", "path = \"/only\", methods = [\"POST\"]"),
    ];
    answered(
        &tables.concat(),
        &[
            ("a.test", "/p", "GET", "", "plain"),
            ("a.test", "/p", "PUT", "X-A: 1\r\nX-B: 2\r\n", "method"),
            ("a.test", "/p", "GET", "X-A: 1\r\n", "header"),
            ("a.test", "/p", "GET", "x-a: 1\r\n", "header"),
            ("a.test", "/p", "GET", "X-A: 2\r\n", "plain"),
            ("a.test", "/p", "GET", "X-A: 1\r\nX-B:\r\n", "header2"),
            ("a.test", "/p?debug", "GET", "", "query"),
            ("a.test", "/p?debug=", "GET", "", "query"),
            ("a.test", "/p?debug=1&more=x+y", "GET", "", "query2"),
            ("a.test", "/p?debug=%31&more=x%20y", "GET", "", "query2"),
            ("a.test", "/p?debug=2&debug=1&more=x+y", "GET", "", "query"),
            ("a.test", "/p?debug=1", "GET", "X-A: 1\r\n", "header"),
            ("a.test", "/p?Debug=1", "GET", "", "plain"),
            ("a.test", "/p", "GET", "Cookie: a=b; beta=1\r\n", "cookie"),
            ("a.test", "/p?debug=1", "GET", "Cookie: beta=1\r\n", "query"),
            ("a.test", "/only", "POST", "Content-Length: 0\r\n", "only"),
            ("a.test", "/only", "GET", "", "404"),
        ],
    )
}

#[test]
fn sources_and_the_files_order_come_last() -> Result<()> {
    let tables = [
        named("first", "path = \"/p\""),
        named("second", "path = \"/p\""),
        named("local", "path = \"/p\", source = [\"127.0.0.0/8\"]"),
        named("far", "path = \"/far\", source = [\"192.0.2.0/24\"]"),
        named("tie1", "path = \"/tie\", headers = { A = \"1\" }"),
        named("tie2", "path = \"/tie\", headers = { B = \"1\" }"),
    ];
    answered(
        &tables.concat(),
        &[
            ("a.test", "/p", "GET", "", "local"),
            ("a.test", "/far", "GET", "", "404"),
            ("a.test", "/tie", "GET", "A: 1\r\nB: 1\r\n", "tie1"),
            ("a.test", "/tie", "GET", "B: 1\r\n", "tie2"),
        ],
    )?;
    let order = [named("first", "path = \"/p\""), named("second", "path = \"/p\"")];
    answered(&order.concat(), &[("a.test", "/p", "GET", "", "first")])
}

#[test]
fn no_match_is_everything_and_no_route_is_404() -> Result<()> {
    answered(&route("all", "respond = { body = \"all\" }"), &[("x.test", "/any?q", "DELETE", "", "all")])?;
    answered(
        &named("one", "host = \"a.test\""),
        &[("a.test", "/x", "GET", "", "one"), ("b.test", "/x", "GET", "", "404")],
    )
}

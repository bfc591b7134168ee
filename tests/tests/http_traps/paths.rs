//! Row 11: a path is made normal once; what is matched, refused and forwarded are the same bytes.

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get, route};

fn guarded(on_rest: &str) -> Result<Scene> {
    let tables = [
        route("admin", "match = { path = \"/admin/*\" }\nrespond = { status = 403, body = \"no\" }"),
        route("rest", &format!("pool = \"web\"\n{on_rest}")),
    ];
    Scene::routes("", &tables.concat(), echo::reply)
}

#[test]
fn row_11_no_spelling_gets_past_a_rule() -> Result<()> {
    let scene = guarded("")?;
    let paths = [
        "/admin",
        "/admin/",
        "/admin/x",
        "/a/../admin/x",
        "/./admin/x",
        "/a/b/../../admin",
        "/%61dmin/x",
        "/%61%64min",
        "/a/%2e%2e/admin/x",
        "/a/%2E%2E/admin/x",
        "/.%2e/admin",
        "/a/.%2e/admin",
        "/%2e/admin/x",
        "/../admin",
        "/../../admin/x",
        "/admin/../admin/x",
        "/admin/./x",
        "/admin/%2e/x",
    ];
    every(paths.map(|p| (p, p)), |path| {
        let answer = scene.get(path)?;
        ensure!(answer.status == 403 || answer.status == 400, "status {}: {}", answer.status, answer.text());
        Ok(())
    })?;
    for path in ["/adminx", "/admi", "/x/admin"] {
        ensure!(scene.get(path)?.status == 200, "{path} is not /admin");
    }
    ensure!(scene.backend.count() == 3, "the backend saw {:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_11_the_backend_gets_the_normal_form() -> Result<()> {
    let scene = Scene::echo()?;
    let cases = [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/%7euser", "/~user"),
        ("/%41%2d%5f%2e%7E", "/A-_.~"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a%3fb", "/a%3Fb"),
        ("/a%23b", "/a%23b"),
        ("/a//b", "/a//b"),
        ("//a", "//a"),
        ("/a;b=c", "/a;b=c"),
        ("/a?x=%2f..%00&y=/../z", "/a?x=%2f..%00&y=/../z"),
        ("/a?", "/a?"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/a+b", "/a+b"),
        ("/", "/"),
    ];
    every(cases.map(|(sent, seen)| (sent, (sent, seen))), |(sent, want)| {
        let answer = scene.get(sent)?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let document = answer.json();
        let got = document["target"].as_str().unwrap_or_default();
        // An empty query may be left out.
        ensure!(got == want || format!("{got}?") == want, "the backend saw {got}, not {want}");
        Ok(())
    })
}

#[test]
fn row_11_escapes_that_servers_read_in_different_ways_are_refused() -> Result<()> {
    let scene = guarded("")?;
    let paths = [
        "/admin%2fx",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
        "/a%00",
        "/%00",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%2fb?x=1",
        "/x/..%2fadmin/y",
        "/x%2f..%2fadmin",
        "/%2e%2e%2fadmin",
    ];
    every(paths.map(|p| (p, p)), |path| scene.refuses_alone(get(path, ""), 400, "bad_request"))
}

#[test]
fn row_11_a_route_may_let_them_through_as_they_are() -> Result<()> {
    let scene = guarded("path_unsafe = [\"%2f\"]")?;
    let answer = scene.get("/a%2fb")?;
    ensure!(answer.status == 200 && answer.json()["target"] == "/a%2Fb", "{answer:?}");
    ensure!(scene.get("/a%5cb")?.status == 400 && scene.get("/a%00b")?.status == 400, "more than named passes");
    ensure!(scene.get("/admin/a%2fb")?.status == 400, "passes where a route does not name it");
    let all = guarded("path_unsafe = [\"%00\", \"%2f\", \"%5c\"]")?;
    ensure!(all.get("/a%5cb")?.json()["target"] == "/a%5Cb", "named, and refused");
    ensure!(all.get("/a%00b")?.json()["target"] == "/a%00b", "named, and refused");
    Ok(())
}

#[test]
fn row_11_rewriting_leaves_no_way_around() -> Result<()> {
    let tables = [
        route("api", "match = { path = \"/api/*\" }\nrewrite = { strip_prefix = \"/api\" }\npool = \"web\""),
        route("old", "match = { path = \"/old/*\" }\nrewrite = { replace_prefix = \"/new\" }\npool = \"web\""),
    ];
    let scene = Scene::routes("", &tables.concat(), echo::reply)?;
    let cases = [
        ("/api/x", Some("/x")),
        ("/api", Some("/")),
        ("/api/", Some("/")),
        ("/api//x", Some("//x")),
        ("/api/../old/y", Some("/new/y")),
        ("/api/../x", None),
        ("/old", Some("/new")),
        ("/old/a%20b?c=d", Some("/new/a%20b?c=d")),
        ("/older", None),
    ];
    every(cases.map(|(sent, want)| (sent, (sent, want))), |(sent, want)| {
        let answer = scene.get(sent)?;
        match want {
            Some(want) => ensure!(answer.json()["target"] == want, "{}: {}", answer.status, answer.text()),
            None => answer.is_refusal(404, "no_route")?,
        }
        Ok(())
    })
}

//! Row 21: after an error, and after a client that went away.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::{Reply, Then};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, get, post, route};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn row_21_an_unread_body_is_never_a_request() -> Result<()> {
    let tables = [
        route("no", "match = { path = \"/no\" }\nrespond = { status = 403, body = \"no\" }"),
        route("all", "match = { path = \"/ok/*\" }\npool = \"web\""),
    ];
    let scene = Scene::routes("", &tables.concat(), echo::reply)?;
    let smuggled = get("/ok/smuggled", "");
    for path in ["/no", "/nowhere"] {
        let mut client = scene.client()?;
        let answer = client.ask(post(path, "", &smuggled))?;
        ensure!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
        // Either the connection goes on behind the body, or it ends.
        if let Ok(next) = client.ask(get("/ok/next", "")) {
            ensure!(next.json()["target"] == "/ok/next", "{path}: {next:?}");
        }
    }
    ensure!(scene.get("/ok/control")?.status == 200, "a good request is not served");
    ensure!(scene.backend.seen().iter().all(|s| s.target != "/ok/smuggled"), "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_21_a_large_unread_body_is_drained_within_a_bound_or_the_connection_ends() -> Result<()> {
    let scene = Scene::routes("", &route("no", "respond = { status = 403, body = \"no\" }"), echo::reply)?;
    let mut client = scene.client()?;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n")?;
    ensure!(client.answer(false)?.status == 403, "no answer");
    let (part, mut sent) = (vec![b'x'; 1 << 20], 0_usize);
    while sent < 200 << 20 && client.send(&part).is_ok() {
        sent += part.len();
    }
    ensure!(sent < 100 << 20, "{} MiB of a refused body were read", sent >> 20);
    Ok(())
}

#[test]
fn row_21_a_client_that_goes_away_ends_its_request_at_the_backend() -> Result<()> {
    let scene = Scene::answering(|seen| if seen.target == "/slow" { Reply::never() } else { echo::reply(seen) })?;
    let mut client = scene.client()?;
    client.send(get("/slow", ""))?;
    clock::until("the backend has the request", PATIENCE, || Ok((scene.backend.count() == 1).then_some(())))?;
    drop(client);
    clock::until(
        "the backend's request is cancelled",
        PATIENCE,
        || Ok((scene.backend.abandoned() == 1).then_some(())),
    )?;
    ensure!(scene.get("/next")?.status == 200, "a good request is not served");
    Ok(())
}

#[test]
fn row_21_a_half_read_answer_does_not_return_its_connection() -> Result<()> {
    let scene = Scene::answering(|seen| {
        if seen.target == "/big" {
            let body = vec![b'x'; 32 << 20];
            Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).and(Duration::ZERO, body)
        } else {
            echo::reply(seen)
        }
    })?;
    for _ in 0..3 {
        let mut client = scene.client()?;
        client.send(get("/big", ""))?;
        ensure!(client.head()?.status == 200, "no head");
        drop(client);
        let next = scene.get("/next")?;
        ensure!(next.status == 200 && next.json()["target"] == "/next", "{next:?}");
    }
    let seen = scene.backend.seen();
    for big in seen.iter().filter(|s| s.target == "/big") {
        let again = seen.iter().filter(|s| s.connection == big.connection && s.turn > big.turn).count();
        ensure!(again == 0, "connection {} went on after a half-read answer", big.connection);
    }
    Ok(())
}

#[test]
fn row_21_a_backend_that_closes_after_its_answer_harms_nobody() -> Result<()> {
    let scene = Scene::answering(|_| Reply::ok("hi").then(Then::Close))?;
    let mut client = scene.client()?;
    for turn in 0..20 {
        let answer = client.ask(get("/", ""))?;
        ensure!(answer.status == 200 && answer.body == b"hi", "turn {turn}: {answer:?}");
    }
    Ok(())
}

#[test]
fn row_21_an_answer_before_the_body_is_whole_is_passed_on() -> Result<()> {
    let scene = Scene::answering(|_| Reply::new("403 Forbidden\r\nConnection: close", "no").then(Then::Close))?;
    let answer = scene.ask(post("/", "", &"x".repeat(100_000)))?;
    ensure!(answer.status == 403, "{answer:?}");
    Ok(())
}

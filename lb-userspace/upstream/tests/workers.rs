//! Several workers and unruly backends: nothing is lost, nothing leaks.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use http_body_util::BodyExt as _;
use lb_model::StatusRange;
use lb_model::http::{HttpPool, Outlier, Queue, Retry};
use lb_upstream::{Client, Upstreams};
use support::*;

/// Runs `task` so often at once on each of `workers` threads.
fn on_workers(
    workers: usize,
    each: usize,
    http: HttpPool,
    servers: &[&Server],
    task: fn(One) -> Task,
) -> Arc<Upstreams> {
    let upstreams = Upstreams::new([7; 32]);
    let pool = install(&upstreams, plan(http, servers.iter().map(|s| member(s.address)).collect()));
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            let (upstreams, pool) = (Arc::clone(&upstreams), Arc::clone(&pool));
            thread::spawn(move || {
                worker(async {
                    let client = Client::new(upstreams);
                    let tasks: Vec<_> = (0..each)
                        .map(|n| {
                            let one = One { client: std::rc::Rc::clone(&client), pool: Arc::clone(&pool), n };
                            tokio::task::spawn_local(task(one))
                        })
                        .collect();
                    for task in tasks {
                        task.await.expect("no panic");
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().expect("a worker"));
    upstreams
}

struct One {
    client: std::rc::Rc<Client>,
    pool: Arc<lb_upstream::PoolHandle>,
    n: usize,
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[test]
fn a_queue_serves_all_workers_and_never_more_at_once_than_allowed() {
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counts = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |_, _| {
        counts.1.fetch_max(counts.0.fetch_add(1, SeqCst) + 1, SeqCst);
        thread::yield_now();
        counts.0.fetch_sub(1, SeqCst);
        Reply::Keep(ok("x"))
    });
    let queue = Queue { size: 1_000, timeout: Duration::from_secs(15) };
    let http = HttpPool { max_requests: 2, queue, ..HttpPool::default() };
    let upstreams = on_workers(3, 20, http, &[&server], |one| {
        Box::pin(async move {
            let route = Route { timeouts: lb_model::http::RouteTimeouts::default(), ..Route::default() };
            for _ in 0..10 {
                let answer = one.client.send(&one.pool, get(), &route.want()).await.expect("an answer");
                text(answer).await;
            }
        })
    });
    assert_eq!(server.count(), 600);
    assert!(most.load(SeqCst) <= 2, "{}", most.load(SeqCst));
    assert_eq!(upstreams.counters()[0].active, 0);
}

#[test]
fn unruly_backends_leave_nothing_behind() {
    let unruly = || {
        Server::start(|n, _| match n * 7 % 11 {
            0 => Reply::Close(String::new()),
            1 => Reply::Close("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort".into()),
            2 => Reply::Keep("garbage\r\n\r\n".into()),
            3 => Reply::Hang,
            4 => Reply::Keep("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno".into()),
            5 => Reply::After(Duration::from_millis(15), ok("late")),
            6 => Reply::Close(ok("last")),
            _ => Reply::Keep(ok("fine")),
        })
    };
    let servers = [unruly(), unruly(), unruly()];
    let outlier = Outlier {
        consecutive_errors: 3,
        error_rate: 60,
        min_requests: 10,
        window: Duration::from_secs(1),
        eject: Duration::from_millis(50),
        max_ejected: 70,
        latency: None,
    };
    let queue = Queue { size: 100, timeout: Duration::from_secs(2) };
    let http = HttpPool {
        outlier: Some(outlier),
        max_requests: 8,
        queue,
        slow_start: Duration::from_millis(100),
        ..HttpPool::default()
    };
    let upstreams = on_workers(2, 8, http, &servers.each_ref(), |one| {
        Box::pin(async move {
            let mut route = Route::default();
            route.timeouts.request = Duration::from_millis(60);
            route.timeouts.idle = Duration::from_millis(60);
            route.retry = Retry { attempts: 2, budget_percent: 50, on: vec![StatusRange { first: 500, last: 599 }] };
            for n in 0..40 {
                let request = if (one.n + n).is_multiple_of(3) { post("hello") } else { get() };
                let want = route.want();
                let sending = one.client.send(&one.pool, request, &want);
                // Some go away before their answer comes.
                let patience = Duration::from_millis(if n % 5 == 0 { 10 } else { 2_000 });
                match tokio::time::timeout(patience, sending).await {
                    Ok(Ok(answer)) if n % 7 != 0 => drop(answer.response.into_body().collect().await),
                    other => drop(other),
                }
            }
        })
    });
    let counts = upstreams.counters();
    assert!(counts.iter().all(|c| c.active == 0), "{counts:?}");
    assert!(counts.iter().all(|c| c.requests > 0 && c.statuses.iter().any(|(s, _)| *s == 200)), "{counts:?}");
}

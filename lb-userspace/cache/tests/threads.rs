//! One cache, several workers: a miss on all of them at once is one request, read along over threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use lb_cache::{CacheKey, Caches};
use lb_message::Body;

#[allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]
mod world;

const WORKERS: usize = 4;

/// A head after a while, then a body chunk by chunk.
async fn backend(fetches: Arc<AtomicUsize>) -> Response<Body> {
    fetches.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<_, std::convert::Infallible>>(1);
    tokio::spawn(async move {
        for n in 0..100_u8 {
            let frame = http_body::Frame::data(bytes::Bytes::from(vec![n; 1000]));
            if send.send(Ok(frame)).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut receive = receive;
    let stream = futures_util::stream::poll_fn(move |cx| receive.poll_recv(cx));
    let mut response = Response::new(Body::boxed(http_body_util::StreamBody::new(stream)));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("max-age=60"));
    response
}

async fn ask(caches: &Caches, fetches: &Arc<AtomicUsize>) -> usize {
    let cache = caches.get(&world::name()).expect("the cache");
    let key = CacheKey { scheme: "http", authority: "a.test", path: "/", query: None };
    let fetches = fetches.clone();
    let response = cache.serve(Request::new(Body::Empty), key, now, move |_| backend(fetches.clone())).await;
    response.into_body().collect().await.expect("a body").to_bytes().len()
}

/// The clock stands.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

#[test]
fn a_miss_everywhere_is_one_fetch() {
    let caches = Caches::default();
    caches.set(&[(world::name(), world::rules())]);
    let fetches = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(WORKERS));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (caches, fetches, start) = (caches.clone(), fetches.clone(), start.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                start.wait();
                runtime.block_on(world::local(async {
                    let many = (0..10).map(|_| ask(&caches, &fetches));
                    futures_util::future::join_all(many).await
                }))
            })
        })
        .collect();
    for worker in workers {
        for length in worker.join().expect("no panic") {
            assert_eq!(length, 100_000);
        }
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert_eq!(caches.stats().stored, 1);
}

//! Bodies with a bound, a time-out and a count, under a clock that stands still.

use super::*;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;

const RULES: UploadRules = UploadRules { max: Some(5), timeout: Duration::from_secs(30), grpc: false };

/// Time stands still but for those who wait for it.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

type Part = Result<Frame<Bytes>, &'static str>;

fn stream() -> (mpsc::UnboundedSender<Part>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|part| (part, r)) });
    (sender, Body::boxed(StreamBody::new(Box::pin(frames))))
}

fn data(text: &'static str) -> Part {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn fault(error: &BoxError) -> Option<BodyFault> {
    error.downcast_ref().copied()
}

#[test]
fn an_empty_body_needs_no_meter() {
    let (body, meter) = Upload::wrap(Body::Empty, RULES);
    assert!(matches!(body, Body::Empty) && meter.is_none());
}

#[test]
fn a_body_within_its_bound_passes() {
    run(async {
        let (sender, body) = stream();
        let (body, meter) = Upload::wrap(body, RULES);
        let meter = meter.expect("a meter");
        for part in [data("ab"), data("cde")] {
            sender.send(part).expect("sent");
        }
        drop(sender);
        assert_eq!(body.collect().await.expect("a body").to_bytes(), "abcde");
        assert_eq!((meter.bytes(), meter.fault(), meter.ended()), (5, None, true));
    });
}

#[test]
fn a_body_beyond_it_fails_for_good() {
    run(async {
        let (sender, body) = stream();
        let (mut body, meter) = Upload::wrap(body, RULES);
        sender.send(data("abcd")).expect("sent");
        sender.send(data("ef")).expect("sent");
        assert!(body.frame().await.expect("a frame").is_ok());
        for _ in 0..2 {
            let error = body.frame().await.expect("a frame").expect_err("too large");
            assert_eq!(fault(&error), Some(BodyFault::TooLarge));
        }
        assert_eq!(meter.expect("a meter").fault().map(BodyFault::refusal), Some(Refusal::BodyTooLarge));
    });
}

#[test]
fn silence_is_counted_from_the_last_byte() {
    run(async {
        let (sender, body) = stream();
        let (mut body, meter) = Upload::wrap(body, RULES);
        let start = Instant::now();
        let writer = async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            sender.send(data("a")).expect("sent");
        };
        let reader = async {
            assert!(body.frame().await.expect("a frame").is_ok());
            body.frame().await.expect("a frame").expect_err("silence")
        };
        let ((), error) = tokio::join!(writer, reader);
        assert_eq!(fault(&error), Some(BodyFault::Slow));
        assert_eq!(start.elapsed().as_secs(), 59);
        assert_eq!(meter.expect("a meter").fault().map(BodyFault::refusal), Some(Refusal::ClientTimeout));
    });
}

#[test]
fn a_body_that_breaks_off() {
    run(async {
        let (sender, body) = stream();
        let (mut body, meter) = Upload::wrap(body, RULES);
        sender.send(Err("reset")).expect("sent");
        let error = body.frame().await.expect("a frame").expect_err("broken");
        assert_eq!(fault(&error), Some(BodyFault::Broken));
        assert!(!meter.expect("a meter").ended());
    });
}

fn trailers() -> Part {
    let fields = [("grpc-status", "7"), ("set-cookie", "a"), ("x-own", "b")];
    let map = fields.map(|(n, v)| (n.parse().expect("a name"), HeaderValue::from_static(v)));
    Ok(Frame::trailers(HeaderMap::from_iter(map)))
}

#[test]
fn trailers_are_chosen_both_ways() {
    run(async {
        for (grpc, want) in [(false, 1), (true, 2)] {
            let (sender, body) = stream();
            sender.send(trailers()).expect("sent");
            drop(sender);
            let (body, _) = Upload::wrap(body, UploadRules { grpc, ..RULES });
            assert_eq!(body.collect().await.expect("a body").trailers().expect("trailers").len(), want);
            let (sender, body) = stream();
            sender.send(trailers()).expect("sent");
            drop(sender);
            let seen = Rc::new(Cell::new(None));
            let body = Download::new(body, grpc, Note(Rc::clone(&seen)));
            assert_eq!(body.collect().await.expect("a body").trailers().expect("trailers").len(), want);
            assert_eq!(seen.get().expect("told").grpc_status, Some(7));
        }
    });
}

struct Note(Rc<Cell<Option<Sent>>>);

impl Finish for Note {
    fn finish(self, sent: Sent) {
        assert!(self.0.replace(Some(sent)).is_none(), "told twice");
    }
}

/// What is told when so many frames were taken before the body was dropped.
fn told(body: Body, frames: usize) -> Sent {
    let seen = Rc::new(Cell::new(None));
    run(async {
        let mut body = Download::new(body, false, Note(Rc::clone(&seen)));
        for _ in 0..frames {
            let _ = body.frame().await;
        }
    });
    seen.get().expect("told")
}

#[test]
fn the_end_of_a_response_is_told_once() {
    let sent = |bytes, complete| Sent { bytes, complete, failed: false, grpc_status: None };
    assert_eq!(told(Body::Empty, 0), sent(0, true));
    assert_eq!(told(Body::full("hello"), 0), sent(0, false));
    assert_eq!(told(Body::full("hello"), 1), sent(5, true));
    let parts = |last: Part| {
        let (sender, body) = stream();
        sender.send(data("ab")).expect("sent");
        sender.send(last).expect("sent");
        body
    };
    assert_eq!(told(parts(data("c")), 1), sent(2, false));
    assert_eq!(told(parts(data("c")), 2), sent(3, false));
    assert_eq!(told(parts(data("c")), 3), sent(3, true));
    assert_eq!(told(parts(Err("reset")), 3), Sent { failed: true, ..sent(2, false) });
}

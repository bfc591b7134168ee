//! A cache with a backend that follows a script and a clock that is set by hand.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use lb_cache::{Cache, CacheKey, Caches, Outcome};
use lb_message::Body;
use lb_model::Name;
use lb_model::http::Cache as Rules;

pub fn rules() -> Rules {
    Rules {
        max_size: 16 << 20,
        max_object: 1 << 20,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        tags: HeaderName::from_static("cache-tag"),
        disk: None,
    }
}

pub fn name() -> Name {
    "all".parse().expect("a name")
}

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub outcome: Outcome,
}

impl Got {
    pub fn cache_status(&self) -> &str {
        self.field("cache-status")
    }
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("text"))
    }
}

pub type Fields<'a> = &'a [(&'static str, &'a str)];

pub fn fields(list: Fields<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
    }
    map
}

pub fn response(status: u16, list: Fields<'_>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    *response.headers_mut() = fields(list);
    response
}

#[derive(Clone)]
pub struct World {
    pub caches: Caches,
    now: Rc<Cell<SystemTime>>,
    script: Rc<RefCell<VecDeque<Response<Body>>>>,
    /// What the backend was asked.
    pub asked: Rc<RefCell<Vec<(Method, HeaderMap)>>>,
}

pub const START: SystemTime = SystemTime::UNIX_EPOCH;

impl World {
    pub fn new(rules: &Rules) -> Self {
        let caches = Caches::default();
        let failed = caches.set(&[(name(), rules.clone())]);
        assert!(failed.is_empty(), "{failed:?}");
        Self {
            caches,
            now: Rc::new(Cell::new(START + Duration::from_secs(1_000_000_000))),
            script: Rc::default(),
            asked: Rc::default(),
        }
    }

    pub fn cache(&self) -> Arc<Cache> {
        self.caches.get(&name()).expect("the route's cache")
    }

    pub fn pass(&self, seconds: u64) {
        self.now.set(self.now.get() + Duration::from_secs(seconds));
    }

    /// The backend's next answer. When there is none left, it answers 599.
    pub fn then(&self, status: u16, list: Fields<'_>, body: &str) {
        self.push(response(status, list, Body::full(body.to_owned())));
    }

    pub fn push(&self, response: Response<Body>) {
        self.script.borrow_mut().push_back(response);
    }

    pub fn fetches(&self) -> usize {
        self.asked.borrow().len()
    }

    pub async fn head(&self, method: &str, path: &str, list: Fields<'_>) -> Response<Body> {
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
        *request.headers_mut() = fields(list);
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let key = CacheKey { scheme: "http", authority: "a.test", path, query };
        let (now, script, asked) = (self.now.clone(), self.script.clone(), self.asked.clone());
        let fetch = move |request: Request<Body>| {
            let (script, asked) = (script.clone(), asked.clone());
            async move {
                asked.borrow_mut().push((request.method().clone(), request.headers().clone()));
                // The backend is not there at once.
                tokio::task::yield_now().await;
                let next = script.borrow_mut().pop_front();
                next.unwrap_or_else(|| response(599, &[], Body::Empty))
            }
        };
        self.cache().serve(request, key, move || now.get(), fetch).await
    }

    pub async fn ask(&self, method: &str, path: &str, list: Fields<'_>) -> Got {
        got(self.head(method, path, list).await).await
    }

    pub async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[]).await
    }

    /// Lets tasks in the background do what they can.
    pub async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

pub async fn got(response: Response<Body>) -> Got {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
        outcome: *parts.extensions.get::<Outcome>().expect("an outcome"),
    }
}

pub async fn local<F: Future>(future: F) -> F::Output {
    tokio::task::LocalSet::new().run_until(future).await
}

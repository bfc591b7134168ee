//! What each path and method does: one match, one function a route.

use std::time::Duration;

use hyper::Method;
use lb_control::{CommandError, FlowQuery, Handle, ReloadError};
use lb_model::Listen;
use tokio::sync::mpsc;

pub(crate) use crate::answer::Answer;
use crate::answer::text;
use crate::request::{Asked, invalid};
use crate::server::Takeover;
use crate::wire::{BackendAdd, BackendDrain, BackendSet, ExportDoc, Fault, FaultKind, PlanRequest};
use crate::{document, document_http, routes_http};

/// Who answers: the control plane, and the daemon's life for what it alone can do.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) handle: Handle,
    pub(crate) takeover: Option<mpsc::Sender<Takeover>>,
}

pub(crate) type Answered = Result<Answer, Fault>;

pub(crate) async fn dispatch(asked: &Asked, asker: &Asker) -> Answered {
    let handle = &asker.handle;
    let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    let (get, post) = (asked.method == Method::GET, asked.method == Method::POST);
    match segments.as_slice() {
        ["status"] if get => Answer::ok(&document::status(&*handle.view().await)),
        ["services"] if get => Answer::ok(&document::services(&*handle.view().await)),
        ["services", name] if get => Answer::ok(&document::service(&*handle.view().await, name)?),
        ["backends"] if get => backends(asked, handle).await,
        ["pools", pool, "backends"] if post => add(asked, handle, pool).await,
        ["pools", pool, "backends", address] if asked.method == Method::PATCH => {
            set(asked, handle, pool, address).await
        }
        ["pools", pool, "backends", address] if asked.method == Method::DELETE => {
            remove(asked, handle, pool, address).await
        }
        ["pools", pool, "backends", address, "drain"] if post => drain(asked, handle, pool, address).await,
        ["pools", pool, "backends", address, "undrain"] if post => undrain(handle, pool, address).await,
        ["flows"] if get => flows(asked, handle).await,
        ["explain"] if get => explain(asked, handle).await,
        ["explain"] if post => routes_http::explain(asked, handle).await,
        ["routes"] if get => Answer::ok(&document_http::routes(&*handle.view().await)),
        ["routes", name] if get => Answer::ok(&document_http::route(&*handle.view().await, name)?),
        ["certificates"] if get => routes_http::certificates(handle).await,
        ["cache"] if get => routes_http::cache_stats(handle).await,
        ["cache", "purge"] if post => routes_http::purge(asked, handle).await,
        ["tap"] if get => routes_http::tap(asked, handle).await,
        ["takeover"] if post => routes_http::takeover(asked, asker).await,
        ["plan"] if post => plan(asked, handle).await,
        ["reload"] if post => reload(handle).await,
        ["export"] if get => Answer::ok(&ExportDoc { config: handle.export().await }),
        ["detach"] if post => Answer::done(or_fault(handle, handle.detach().await).await?),
        _ => {
            let error = format!("{} /v1/{} is nothing this interface knows", asked.method, asked.segments.join("/"));
            Err(Fault::new(FaultKind::Unknown, error))
        }
    }
}

pub(crate) async fn or_fault<T>(handle: &Handle, result: Result<T, CommandError>) -> Result<T, Fault> {
    match result {
        Ok(done) => Ok(done),
        Err(error) => Err(fault(handle, error).await),
    }
}

async fn fault(handle: &Handle, error: CommandError) -> Fault {
    match error {
        CommandError::Unknown { kind, given, nearest } => {
            let view = handle.view().await;
            let mut fault = match kind {
                "pool" => document::unknown(kind, &given, view.pools.iter().map(|p| p.name.as_str())),
                "service" => document::unknown(kind, &given, view.services.iter().map(|s| s.service.name.as_str())),
                "route" => document::unknown(kind, &given, view.routes.iter().map(|r| r.route.name.as_str())),
                "listener" => document::unknown(kind, &given, view.listeners.iter().map(|l| l.listener.name.as_str())),
                _ => {
                    let known: Vec<_> =
                        view.pools.iter().flat_map(|p| &p.backends).map(|b| b.address.to_string()).collect();
                    document::unknown(kind, &given, known.iter().map(String::as_str))
                }
            };
            // The control plane knows better which of them were eligible.
            fault.nearest = nearest.or(fault.nearest);
            fault
        }
        CommandError::Invalid(error) => invalid(error),
        CommandError::Refused(error) => Fault::new(FaultKind::Refused, error),
    }
}

fn configuration(diagnostics: &[lb_control::Diagnostic]) -> Fault {
    let n = diagnostics.len();
    let error =
        if n == 1 { "the configuration has an error".into() } else { format!("the configuration has {n} errors") };
    let mut fault = Fault::new(FaultKind::Configuration, error);
    fault.diagnostics = diagnostics.iter().map(document::diagnostic).collect();
    fault
}

async fn backends(asked: &Asked, handle: &Handle) -> Answered {
    asked.only(&["pool"])?;
    Answer::ok(&document::backends(&*handle.view().await, asked.query("pool"))?)
}

async fn add(asked: &Asked, handle: &Handle, pool: &str) -> Answered {
    let BackendAdd { address, weight } = asked.json()?;
    or_fault(handle, handle.backend_add(pool.to_owned(), address.clone(), weight).await).await?;
    Answer::done(format!("{address} added to {pool}"))
}

async fn set(asked: &Asked, handle: &Handle, pool: &str, address: &str) -> Answered {
    let BackendSet { weight } = asked.json()?;
    or_fault(handle, handle.backend_set(pool.to_owned(), address.to_owned(), weight).await).await?;
    Answer::done(format!("{address} in {pool} has weight {weight}"))
}

async fn remove(asked: &Asked, handle: &Handle, pool: &str, address: &str) -> Answered {
    asked.only(&["force"])?;
    let force = asked.parsed::<bool>("force")?.unwrap_or(false);
    or_fault(handle, handle.backend_remove(pool.to_owned(), address.to_owned(), force).await).await?;
    let how = if force { "removed from" } else { "drains, and is then removed from" };
    Answer::done(format!("{address} {how} {pool}"))
}

async fn drain(asked: &Asked, handle: &Handle, pool: &str, address: &str) -> Answered {
    let BackendDrain { timeout_ms } = asked.json()?;
    let timeout = timeout_ms.map(Duration::from_millis);
    or_fault(handle, handle.backend_drain(pool.to_owned(), address.to_owned(), timeout).await).await?;
    Answer::done(format!("{address} in {pool} drains: no new flows"))
}

async fn undrain(handle: &Handle, pool: &str, address: &str) -> Answered {
    or_fault(handle, handle.backend_undrain(pool.to_owned(), address.to_owned()).await).await?;
    Answer::done(format!("{address} in {pool} takes new flows again"))
}

async fn flows(asked: &Asked, handle: &Handle) -> Answered {
    asked.only(&["service", "limit"])?;
    let query = FlowQuery { service: asked.query("service").map(str::to_owned), limit: asked.parsed("limit")? };
    let records = or_fault(handle, handle.flows(query).await).await?;
    // There may be millions: one row at a time, not all of them as documents beside all of them as text.
    let mut body = String::from("[");
    for record in &records {
        if body.len() > 1 {
            body.push(',');
        }
        body.push_str(&text(&document::flow(record))?);
    }
    body.push(']');
    Ok(Answer::Document { status: 200, body })
}

async fn explain(asked: &Asked, handle: &Handle) -> Answered {
    asked.only(&["from", "to"])?;
    let from = asked.parsed("from")?.ok_or_else(|| invalid("'from' is missing: ADDRESS:PORT"))?;
    let to = asked.query("to").ok_or_else(|| invalid("'to' is missing: ADDRESS:PORT/tcp"))?;
    let to: Listen = to.parse().map_err(|e: lb_model::listen::BadListen| invalid(e.to_string()))?;
    if !to.ports.is_single() {
        return Err(invalid("'to' is one packet's destination: write one port"));
    }
    let vip = std::net::SocketAddr::new(to.address, to.ports.first());
    Answer::ok(&document::explanation(&handle.explain(from, vip, to.protocol).await))
}

async fn plan(asked: &Asked, handle: &Handle) -> Answered {
    let PlanRequest { config, file } = asked.json()?;
    let report = handle.plan(config, file).await.map_err(|d| configuration(&d))?;
    Answer::ok(&document::plan(&report))
}

async fn reload(handle: &Handle) -> Answered {
    match handle.reload().await {
        Ok(report) => Answer::ok(&document::reload(&report)),
        Err(ReloadError::Invalid(diagnostics)) => Err(configuration(&diagnostics)),
        // A file that the configuration names is the configuration's: what is typed or configured is wrong.
        Err(error @ ReloadError::Files(_)) => Err(invalid(error.to_string())),
        Err(ReloadError::Refused(error)) => Err(Fault::new(FaultKind::Refused, error)),
    }
}

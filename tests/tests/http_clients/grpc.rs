//! gRPC by tonic, client and server, through the proxy: all four kinds of call, statuses, metadata, deadlines.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _};
use futures_util::{Stream, StreamExt as _, stream};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Context, Poll, Service, http};
use tonic::server::{ClientStreamingService, Grpc as Server, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};

use crate::site::{NAME, Site};

/// Messages are bytes, without protobuf.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;
type Later<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// What the server does: the method's name says which kind of call it is.
#[derive(Clone, Copy, Debug)]
struct Calls;

impl UnaryService<Vec<u8>> for Calls {
    type Response = Vec<u8>;
    type Future = Later<Vec<u8>>;
    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move {
            match request.get_ref().as_slice() {
                b"fail" => Err(Status::failed_precondition("told to fail")),
                b"slow" => {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    Ok(Response::new(Vec::new()))
                }
                _ => {
                    let said = request.metadata().get("x-said").cloned();
                    let mut response = Response::new(request.into_inner());
                    said.map(|v| response.metadata_mut().insert("x-heard", v));
                    Ok(response)
                }
            }
        })
    }
}

impl ServerStreamingService<Vec<u8>> for Calls {
    type Response = Vec<u8>;
    type ResponseStream = Answers;
    type Future = Later<Answers>;
    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let count = request.into_inner().len();
        let all = stream::iter((0..count).map(|n| Ok(n.to_string().into_bytes())));
        let end = stream::iter([Err(Status::data_loss("at the end"))]);
        Box::pin(async move { Ok(Response::new(Box::pin(all.chain(end)) as Answers)) })
    }
}

impl ClientStreamingService<Vec<u8>> for Calls {
    type Response = Vec<u8>;
    type Future = Later<Vec<u8>>;
    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        Box::pin(async move {
            let mut all = Vec::new();
            let mut parts = request.into_inner();
            while let Some(part) = parts.next().await {
                all.extend(part?);
            }
            Ok(Response::new(all))
        })
    }
}

impl StreamingService<Vec<u8>> for Calls {
    type Response = Vec<u8>;
    type ResponseStream = Answers;
    type Future = Later<Answers>;
    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(Box::pin(request.into_inner()) as Answers)) })
    }
}

impl Service<http::Request<tonic::body::Body>> for Calls {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let mut server = Server::new(Plain);
            Ok(match request.uri().path() {
                "/test.Calls/Unary" => server.unary(Calls, request).await,
                "/test.Calls/Down" => server.server_streaming(Calls, request).await,
                "/test.Calls/Up" => server.client_streaming(Calls, request).await,
                "/test.Calls/Both" => server.streaming(Calls, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl tonic::server::NamedService for Calls {
    const NAME: &'static str = "test.Calls";
}

/// A server in clear text; it ends with the runtime.
async fn serve() -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(Calls).serve_with_incoming(incoming));
    Ok(address)
}

type Client = tonic::client::Grpc<tonic::transport::Channel>;

async fn client(site: &Site, secure: bool) -> Result<Client> {
    use tonic::transport::{Certificate, Channel, ClientTlsConfig};
    let channel = if secure {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&site.authority.pem)).domain_name(NAME);
        Channel::from_shared(format!("https://127.0.0.1:{}", site.secure.port()))?
            .origin(format!("https://{NAME}:{}", site.secure.port()).parse()?)
            .tls_config(tls)?
    } else {
        Channel::from_shared(format!("http://127.0.0.1:{}", site.clear.port()))?
    };
    Ok(Client::new(channel.connect().await.context("no connection")?))
}

fn path(method: &str) -> http::uri::PathAndQuery {
    format!("/test.Calls/{method}").parse().unwrap_or_else(|_| http::uri::PathAndQuery::from_static("/"))
}

async fn four_calls(mut client: Client) -> Result<()> {
    client.ready().await?;
    let mut request = Request::new(b"hello".to_vec());
    request.metadata_mut().insert("x-said", "this".parse()?);
    let answer: Response<Vec<u8>> = client.unary(request, path("Unary"), Plain).await?;
    ensure!(answer.metadata().get("x-heard").is_some_and(|v| v == "this"), "{:?}", answer.metadata());
    ensure!(answer.get_ref() == b"hello", "{answer:?}");

    client.ready().await?;
    let answer: Response<Streaming<Vec<u8>>> =
        client.server_streaming(Request::new(vec![0; 100]), path("Down"), Plain).await?;
    let all: Vec<Result<Vec<u8>, Status>> = answer.into_inner().collect().await;
    ensure!(
        all.len() == 101
            && all[..100].iter().enumerate().all(|(n, m)| m.as_ref().is_ok_and(|m| *m == n.to_string().into_bytes())),
        "{} messages",
        all.len()
    );
    ensure!(
        all[100].as_ref().is_err_and(|s| s.code() == tonic::Code::DataLoss && s.message() == "at the end"),
        "{:?}",
        all[100]
    );

    client.ready().await?;
    let parts: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; 10_000]).collect();
    let whole = parts.concat();
    let answer: Response<Vec<u8>> =
        client.client_streaming(Request::new(stream::iter(parts)), path("Up"), Plain).await?;
    ensure!(*answer.get_ref() == whole, "{} of {} bytes", answer.get_ref().len(), whole.len());

    client.ready().await?;
    let (send, receive) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let asked = stream::unfold(receive, |mut r| async move { r.recv().await.map(|m| (m, r)) });
    let answer: Response<Streaming<Vec<u8>>> = client.streaming(Request::new(asked), path("Both"), Plain).await?;
    let mut answers = answer.into_inner();
    for n in 0..100_u8 {
        // Each is answered before the next is asked: nothing is held back on the way.
        send.send(vec![n]).await?;
        let got = tokio::time::timeout(Duration::from_secs(5), answers.message()).await??;
        ensure!(got == Some(vec![n]), "{n}: {got:?}");
    }
    drop(send);
    ensure!(answers.message().await?.is_none(), "more than asked");
    Ok(())
}

async fn errors(mut client: Client) -> Result<()> {
    client.ready().await?;
    let failed = client.unary::<_, Vec<u8>, _>(Request::new(b"fail".to_vec()), path("Unary"), Plain).await;
    let status = failed.err().context("did not fail")?;
    ensure!(status.code() == tonic::Code::FailedPrecondition && status.message() == "told to fail", "{status:?}");
    client.ready().await?;
    let unknown = client.unary::<_, Vec<u8>, _>(Request::new(Vec::new()), path("Nothing"), Plain).await;
    ensure!(unknown.is_err_and(|s| s.code() == tonic::Code::Unimplemented), "an unknown method");
    client.ready().await?;
    let slow = client.unary::<_, Vec<u8>, _>(Request::new(b"slow".to_vec()), path("Unary"), Plain).await;
    // The route's time-out, said in gRPC's own way.
    ensure!(slow.as_ref().is_err_and(|s| s.code() == tonic::Code::DeadlineExceeded), "{slow:?}");
    Ok(())
}

fn through(secure: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let backend = serve().await?;
        let site =
            Site::new(backend, "protocol = \"h2c\"", "timeout = { request = \"2s\" }\nretry = { attempts = 0 }")?;
        tokio::time::timeout(Duration::from_secs(30), four_calls(client(&site, secure).await?)).await??;
        tokio::time::timeout(Duration::from_secs(30), errors(client(&site, secure).await?)).await?
    })
}

#[test]
fn all_four_calls_over_tls() -> Result<()> {
    through(true)
}

#[test]
fn all_four_calls_in_clear_text() -> Result<()> {
    through(false)
}

//! Real clients through the proxy: curl, Chromium, gRPC by tonic, WebSockets by Python; no privilege needed.

mod browser;
mod curl;
mod grpc;
mod site;
mod websocket;

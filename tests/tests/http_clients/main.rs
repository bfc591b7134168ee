//! Real clients through the proxy: curl, Chromium, gRPC by tonic, WebSockets by Python (`cargo xtask setup` has them).

mod browser;
mod curl;
mod grpc;
mod site;
mod websocket;

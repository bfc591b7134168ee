//! What each proxy is told: one worker, connections to the backend kept, a line of log for every request.

use std::path::Path;

/// Ports on loopback; each proxy has two of its own.
pub(super) const BACKEND: u16 = 18_000;

/// The backend: nginx, without a log.
pub(super) fn backend(dir: &Path) -> String {
    let d = dir.display();
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {d}/backend.pid;\nerror_log {d}/backend.err crit;\nevents {{ \
         worker_connections 8000; }}\nhttp {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout \
         600s;\n  client_max_body_size 0;\n  client_body_temp_path {d}/backend-body;\n  sendfile on;\n  tcp_nopush \
         on;\n  server {{\n    listen 127.0.0.1:{BACKEND} backlog=4096;\n    location /small {{ return 200 \"{text}\"; \
         }}\n    location /cached {{ add_header Cache-Control \"public, max-age=3600\"; return 200 \"{text}\"; }}\n    \
         location /upload {{ client_body_buffer_size 2m; proxy_pass_request_body off; \
         proxy_set_header Content-Length \"\"; proxy_pass http://127.0.0.1:{BACKEND}/small; }}\n    location /big {{ root {d}; }}\n  }}\n}}\n",
        text = "hello, world. ".repeat(8),
    )
}

pub(super) fn nginx(dir: &Path, clear: u16, tls: u16) -> String {
    let d = dir.display();
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {d}/nginx.pid;\nerror_log {d}/nginx.err crit;\nevents {{ \
         worker_connections 15000; }}\nhttp {{\n  log_format j escape=json \
         '{{\"time\":\"$time_iso8601\",\"client\":\"$remote_addr\",\"method\":\"$request_method\",\"host\":\"$host\",\
         \"path\":\"$uri\",\"status\":$status,\"bytes_out\":$body_bytes_sent,\"duration\":$request_time,\
         \"upstream\":\"$upstream_addr\",\"request_id\":\"$request_id\"}}';\n  access_log {d}/nginx.log j buffer=64k \
         flush=1s;\n  keepalive_requests 1000000000;\n  keepalive_timeout 600s;\n  client_max_body_size 0;\n  \
         client_body_temp_path {d}/nginx-body;\n  proxy_temp_path {d}/nginx-proxy;\n  proxy_request_buffering off;\n  \
         proxy_cache_path {d}/nginx-cache keys_zone=c:10m;\n  ssl_certificate {d}/cert.pem;\n  ssl_certificate_key \
         {d}/key.pem;\n  ssl_protocols TLSv1.2 TLSv1.3;\n  upstream b {{ server 127.0.0.1:{BACKEND}; keepalive 64; \
         keepalive_requests 1000000000; }}\n  server {{\n    listen 127.0.0.1:{clear} backlog=4096;\n    listen \
         127.0.0.1:{tls} ssl http2 backlog=4096;\n    http2_max_requests 1000000000;\n    location / {{ proxy_pass \
         http://b; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For \
         $remote_addr; proxy_set_header X-Request-Id $request_id; }}\n    location /cached {{ proxy_cache c; proxy_pass \
         http://b; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n  }}\n}}\n"
    )
}

pub(super) fn haproxy(dir: &Path, clear: u16, tls: u16) -> String {
    let d = dir.display();
    format!(
        "global\n  nbthread 1\n  maxconn 10100\n  no strict-limits\n  log stdout format raw local0\n  tune.ssl.default-dh-param \
         2048\ndefaults\n  mode http\n  log global\n  option httplog\n  timeout connect 5s\n  timeout client 600s\n  \
         timeout server 60s\n  timeout http-keep-alive 600s\n  option http-keep-alive\n  http-reuse always\ncache c\n  \
         total-max-size 64\n  max-object-size 100000\n  max-age 3600\nfrontend f\n  bind 127.0.0.1:{clear} backlog \
         4096\n  bind 127.0.0.1:{tls} ssl crt {d}/both.pem alpn h2,http/1.1 backlog 4096\n  option forwardfor\n  \
         unique-id-format %{{+X}}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid\n  unique-id-header X-Request-Id\n  acl cached path_beg \
         /cached\n  use_backend cb if cached\n  default_backend b\nbackend b\n  server s 127.0.0.1:{BACKEND} \
         pool-max-conn 64\nbackend cb\n  http-request cache-use c\n  http-response cache-store c\n  server s \
         127.0.0.1:{BACKEND}\n"
    )
}

/// The routes given before two that take what is asked; metrics and the access log on.
pub(super) fn lb(dir: &Path, clear: u16, tls: u16, metrics: u16, routes: &str) -> String {
    let d = dir.display();
    let mut text = format!(
        "[host]\ndata_plane = \"userspace\"\nstate_dir = \"{d}/state\"\nsocket = \"{d}/lb.sock\"\nmetrics = \
         \"127.0.0.1:{metrics}\"\naccess_log = \"{d}/lb.log\"\n\n[[pool]]\nname = \"b\"\nbackends = [{{ address = \
         \"127.0.0.1:{BACKEND}\" }}]\n\n[[listener]]\nname = \"clear\"\nlisten = \"127.0.0.1:{clear}\"\ntimeout = {{ \
         idle = \"10m\" }}\n\n[[listener]]\nname = \"tls\"\nlisten = \"127.0.0.1:{tls}\"\ntimeout = {{ idle = \"10m\" \
         }}\nlimits = {{ streams = 256 }}\n[[listener.certificate]]\ncert = \"{d}/cert.pem\"\nkey = \"{d}/key.pem\"\n\n"
    );
    text += routes;
    text += "[[route]]\nname = \"cached\"\nmatch = { path = \"/cached/*\" }\npool = \"b\"\ncache = { max_size = \
             \"64MiB\" }\n\n[[route]]\nname = \"all\"\npool = \"b\"\n";
    text
}

//! `[[listener]]` as a file has it.

use lb_model::http::{
    Certificate, CertificateSource, Listener, ListenerLimits, ListenerTimeouts, Protocols, TlsVersion,
};

use super::{Lines, duration, list, path, quoted, size};

pub(super) fn write(out: &mut String, l: &Listener) {
    let mut lines = Lines(Vec::new());
    lines.put("name", quoted(l.name.as_str())).put("listen", quoted(l.listen.to_string()));
    let usual = Protocols { h1: true, h2: l.is_tls(), ..Protocols::default() };
    lines
        .put_if(l.protocols != usual, "protocols", list(&protocols(l.protocols)))
        .put_if(l.proxy_protocol, "proxy_protocol", "true")
        .put_if(!l.trusted_proxies.is_empty(), "trusted_proxies", list(&l.trusted_proxies));
    if let Some(auth) = &l.client_auth {
        lines.put("client_ca", path(&auth.ca)).put_if(!auth.required, "client_auth", quoted("optional"));
    }
    let (timeouts, limits) = (timeouts(&l.timeouts), limits(&l.limits));
    lines
        .put_if(l.tls_min == TlsVersion::V1_3, "tls", "{ min = \"1.3\" }")
        .put_if(!l.hsts.is_zero(), "hsts", duration(l.hsts))
        .put_if(!timeouts.is_empty(), "timeout", timeouts.inline())
        .put_if(!limits.is_empty(), "limits", limits.inline());
    lines.write(out, "[[listener]]");
    l.certificates.iter().for_each(|c| certificate(out, c));
}

fn protocols(p: Protocols) -> Vec<&'static str> {
    let all = [(p.h1, "h1"), (p.h2, "h2"), (p.h3, "h3"), (p.h2c, "h2c")];
    all.into_iter().filter_map(|(spoken, name)| spoken.then_some(name)).collect()
}

fn timeouts(t: &ListenerTimeouts) -> Lines {
    let usual = ListenerTimeouts::default();
    let mut lines = Lines(Vec::new());
    lines
        .put_if(t.header != usual.header, "header", duration(t.header))
        .put_if(t.body != usual.body, "body", duration(t.body))
        .put_if(t.idle != usual.idle, "idle", duration(t.idle))
        .put_if(t.tls != usual.tls, "tls", duration(t.tls));
    lines
}

fn limits(l: &ListenerLimits) -> Lines {
    let usual = ListenerLimits::default();
    let per_connection = l.requests_per_connection;
    let mut lines = Lines(Vec::new());
    lines
        .put_if(l.header != usual.header, "header", size(l.header))
        .put_if(l.fields != usual.fields, "fields", l.fields.to_string())
        .put_if(l.uri != usual.uri, "uri", size(l.uri))
        .put_if(l.streams != usual.streams, "streams", l.streams.to_string())
        .put_if(per_connection != 0, "requests_per_connection", per_connection.to_string());
    lines
}

fn certificate(out: &mut String, c: &Certificate) {
    let mut lines = Lines(Vec::new());
    lines.put_if(!c.names.is_empty(), "names", list(&c.names));
    match &c.source {
        CertificateSource::Files { cert, key } => {
            lines.put("cert", path(cert)).put("key", path(key));
        }
        CertificateSource::Acme(account) => {
            let mut acme = Lines(Vec::new());
            acme.put("directory", quoted(account.directory.as_str()))
                .put_some("email", account.email.as_deref(), quoted)
                .put_some("ca", account.ca.as_deref(), path);
            lines.put("acme", acme.inline());
        }
    }
    lines.write(out, "[[listener.certificate]]");
}

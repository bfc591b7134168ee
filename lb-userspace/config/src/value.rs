//! One written value against the kind its key declares.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use lb_model::{BackendAddress, Listen, Name, Prefix};
use toml::de::DeValue;

use crate::composite::Field;
use crate::nearest::nearest;
use crate::report::Problem;
use crate::schema::{Choice, Kind, Literal, listed};
use crate::source::Span;
use crate::table::Table;
use crate::units::{self, Rate};

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) span: Span,
    pub(crate) value: T,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Name(Name),
    Text(String),
    Path(PathBuf),
    Bool(bool),
    Integer(i64),
    Size(u64),
    Duration(Duration),
    Percent(u8),
    Choice(&'static str),
    Ip(IpAddr),
    Socket(SocketAddr),
    Listen(Listen),
    Prefix(Prefix),
    Backend(BackendAddress),
    Rate(Rate),
    Payload(Vec<u8>),
    Expect(Vec<At<String>>),
    /// Items that were wrong are `None`.
    List(Vec<At<Option<Self>>>),
    Map(Vec<Field>),
    Table(Table),
    Tables(Vec<Table>),
}

/// A scalar as written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written<'a> {
    Text(&'a str),
    Integer(i64),
    Bool(bool),
    /// Something else; what, in words.
    Other(&'static str),
}

impl From<Literal> for Written<'static> {
    fn from(l: Literal) -> Self {
        match l {
            Literal::Text(t) => Self::Text(t),
            Literal::Integer(n) => Self::Integer(n),
            Literal::Bool(b) => Self::Bool(b),
        }
    }
}

impl<'a> Written<'a> {
    pub(crate) fn of(value: &'a DeValue<'_>) -> Self {
        match value {
            DeValue::String(s) => Self::Text(s),
            DeValue::Integer(i) => {
                i64::from_str_radix(i.as_str(), i.radix()).map_or(Self::Other("a number that large"), Self::Integer)
            }
            DeValue::Float(_) => Self::Other("a number with a fraction"),
            DeValue::Boolean(b) => Self::Bool(*b),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(_) => Self::Other("a list"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Other(what) => what,
        }
    }
}

/// Reads what is no list or table.
pub(crate) fn scalar(key: &str, kind: &'static Kind, written: Written<'_>) -> Result<Value, Problem> {
    let ill = |message: String| Problem::new(message);
    match (kind, written) {
        (Kind::Name, Written::Text(t)) => {
            t.parse().map(Value::Name).map_err(|e: lb_model::name::BadName| ill(e.to_string()))
        }
        (Kind::Text(form), Written::Text(t)) if (form.holds)(t) => Ok(Value::Text(t.to_owned())),
        (Kind::Path, Written::Text(t)) if !t.is_empty() && !t.contains('\0') => Ok(Value::Path(t.into())),
        (Kind::Integer { min, max }, Written::Integer(n)) => integer(key, n, *min, *max),
        (Kind::Bool | Kind::BoolOr(_), Written::Bool(b)) => Ok(Value::Bool(b)),
        (Kind::Size { min, max }, Written::Text(t)) => size(key, t, *min, *max),
        (Kind::Size { min, max }, Written::Integer(n)) if n >= 0 => size(key, &n.to_string(), *min, *max),
        (Kind::Duration { min, max }, Written::Text(t)) => duration(key, t, *min, *max),
        (Kind::Percent { max }, Written::Text(t)) => match units::parse_percent(t) {
            Some(p) if p <= *max => Ok(Value::Percent(p)),
            Some(_) => Err(ill(format!("{key} = {t} is out of range: 0% to {max}%"))),
            None => Err(ill(format!("'{t}' is not a percentage")).hint("write a whole number and %, such as \"10%\"")),
        },
        (Kind::Choice(choices), Written::Text(t)) => choose(key, choices, t),
        (Kind::ChoiceOrInteger { min, max, .. }, Written::Integer(n)) => integer(key, n, *min, *max),
        (Kind::ChoiceOrInteger { choices, .. }, Written::Text(t)) => choose(key, choices, t),
        (Kind::Ip, Written::Text(t)) => {
            t.parse().map(Value::Ip).map_err(|_| ill(format!("'{t}' is not an IPv4 or IPv6 address")))
        }
        (Kind::Socket, Written::Text(t)) => socket(t),
        (Kind::Listen, Written::Text(t)) => t.parse().map(Value::Listen).map_err(|e| bad_listen(t, &e)),
        (Kind::HttpListen, Written::Text(t)) => http_listen(t).map(Value::Socket),
        (Kind::Prefix, Written::Text(t)) => {
            t.parse().map(Value::Prefix).map_err(|e: lb_model::listen::BadPrefix| ill(e.to_string()))
        }
        (Kind::Backend, Written::Text(t)) => {
            t.parse().map(Value::Backend).map_err(|e: lb_model::pool::BadAddress| bad_backend(t, &e))
        }
        (Kind::Rate, Written::Text(t)) => Rate::parse(t).map(Value::Rate).map_err(ill),
        (Kind::Payload, Written::Text(t)) => units::parse_payload(t).map(Value::Payload).map_err(ill),
        (Kind::Expect | Kind::Statuses, Written::Text(t)) => Ok(expect(t.to_owned())),
        (Kind::Expect | Kind::Statuses, Written::Integer(n)) => Ok(expect(n.to_string())),
        (_, written) => Err(mistyped(key, kind, written)),
    }
}

fn expect(text: String) -> Value {
    Value::Expect(vec![At { span: 0..0, value: text }])
}

fn mistyped(key: &str, kind: &'static Kind, written: Written<'_>) -> Problem {
    let problem = match written {
        Written::Text(t) => Problem::new(format!("{key} must be {}, not '{t}'", kind.what())),
        Written::Integer(n) => Problem::new(format!("{key} must be {}, not the number {n}", kind.what())),
        other => Problem::new(format!("{key} must be {}, not {}", kind.what(), other.what())),
    };
    match (kind, written) {
        (Kind::Integer { .. } | Kind::ChoiceOrInteger { .. }, Written::Text(t)) if t.parse::<i64>().is_ok() => {
            problem.hint(format!("write {key} = {t}, without quotes"))
        }
        (Kind::Bool | Kind::BoolOr(_), Written::Text(t @ ("true" | "false"))) => {
            problem.hint(format!("write {key} = {t}, without quotes"))
        }
        (Kind::Duration { .. }, Written::Integer(n)) => {
            problem.hint(format!("say the unit: {key} = \"{n}s\" or \"{n}ms\""))
        }
        (Kind::Percent { .. }, Written::Integer(n)) => problem.hint(format!("write {key} = \"{n}%\"")),
        (Kind::Tables(section), _) if section.heading.starts_with("[[") => {
            problem.hint(format!("write {} with double brackets", section.heading))
        }
        (Kind::Table(section), Written::Other("a list")) if section.heading.starts_with('[') => {
            problem.hint(format!("write {} with single brackets", section.heading))
        }
        _ => problem.hint(format!("for example: {key} = {}", kind.example())),
    }
}

fn integer(key: &str, n: i64, min: i64, max: i64) -> Result<Value, Problem> {
    if (min..=max).contains(&n) {
        Ok(Value::Integer(n))
    } else {
        Err(Problem::new(format!("{key} = {n} is out of range: {min} to {max}")))
    }
}

fn duration(key: &str, text: &str, min: Duration, max: Duration) -> Result<Value, Problem> {
    let value = units::parse_duration(text).map_err(Problem::new)?;
    if (min..=max).contains(&value) {
        return Ok(Value::Duration(value));
    }
    let (min, max) = (units::Duration(min), units::Duration(max));
    Err(Problem::new(format!("{key} = {text} is out of range: {min} to {max}")))
}

fn size(key: &str, text: &str, min: u64, max: u64) -> Result<Value, Problem> {
    let value = units::parse_size(text).map_err(Problem::new)?;
    if (min..=max).contains(&value) {
        return Ok(Value::Size(value));
    }
    Err(Problem::new(format!("{key} = {text} is out of range: {} to {}", units::Size(min), units::Size(max))))
}

fn choose(key: &str, choices: &'static [Choice], text: &str) -> Result<Value, Problem> {
    match choices.iter().find(|c| c.name == text) {
        Some(c) if c.built => Ok(Value::Choice(c.name)),
        Some(_) => {
            let problem = Problem::new(format!("{key} = \"{text}\" is not built yet"));
            Err(problem.hint(format!("this version has {}", listed(choices))))
        }
        None => {
            let problem = Problem::new(format!("{key} = \"{text}\" is unknown: it must be {}", listed(choices)));
            let near = nearest(text, choices.iter().filter(|c| c.built).map(|c| c.name));
            Err(problem.maybe(near.map(|n| format!("did you mean \"{n}\"?"))))
        }
    }
}

fn socket(text: &str) -> Result<Value, Problem> {
    match text.parse::<SocketAddr>() {
        Ok(s) if s.port() > 0 => Ok(Value::Socket(s)),
        Ok(_) => Err(Problem::new(format!("'{text}' has port 0; a port is 1 to 65535"))),
        Err(_) => Err(Problem::new(format!("'{text}' is not an address and a port"))
            .hint("for example: 127.0.0.1:9901 or [::1]:9901")),
    }
}

fn bad_listen(text: &str, why: &lb_model::listen::BadListen) -> Problem {
    use lb_model::listen::BadListen;
    let problem = Problem::new(why.to_string());
    if text.starts_with("http://") || text.starts_with("https://") {
        return Problem::new(format!("'{text}' is a URL, and a service works below HTTP"))
            .hint("write ADDRESS:PORT/tcp, or use [[listener]] and [[route]] for HTTP");
    }
    match why {
        BadListen::Address(a)
            if a.parse::<std::net::Ipv6Addr>().is_err() && a.contains(|c: char| c.is_ascii_alphabetic()) =>
        {
            problem.hint("a service listens on an address; host names are for backends")
        }
        BadListen::NoPort(_) if text.matches(':').count() > 1 => {
            problem.hint("IPv6 addresses stand in brackets: [2001:db8::1]:80/tcp")
        }
        _ => problem.hint("for example: 192.0.2.10:80/tcp, [2001:db8::1]:53/udp or 192.0.2.10:5000-5100/udp"),
    }
}

/// `192.0.2.10:443`, `[::]:443`; `/tcp` behind it is accepted.
fn http_listen(text: &str) -> Result<SocketAddr, Problem> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let place = rest.trim_end_matches('/');
        let tls = if scheme == "https" { " and a [[listener.certificate]]" } else { "" };
        return Err(Problem::new(format!("'{text}' is a URL; a listener has an address and a port"))
            .hint(format!("write listen = \"{place}\"{tls}")));
    }
    let (place, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if protocol.eq_ignore_ascii_case("udp") {
        let hint = "HTTP/3 takes the UDP side of the same port: protocols = [\"h1\", \"h2\", \"h3\"]";
        return Err(Problem::new(format!("'{text}': a listener is named by its TCP port")).hint(hint));
    }
    if !protocol.eq_ignore_ascii_case("tcp") {
        return Err(Problem::new(format!("'{protocol}' is not tcp")).hint(format!("write {place}")));
    }
    if let Ok(socket) = place.parse::<SocketAddr>() {
        let zero = || Problem::new(format!("'{text}' has port 0; a port is 1 to 65535"));
        return if socket.port() > 0 { Ok(socket) } else { Err(zero()) };
    }
    let problem = Problem::new(format!("'{text}' is not an address and a port"));
    let hint = if place.parse::<IpAddr>().is_ok() || !place.contains(':') {
        let shown = if place.contains(':') { format!("[{place}]") } else { place.to_owned() };
        format!("add the port: {shown}:443")
    } else if place.starts_with("*:") || place.starts_with(':') {
        format!("for every address write 0.0.0.0{0} or [::]{0}", place.trim_start_matches('*'))
    } else if place.split_once(':').is_some_and(|(_, ports)| ports.contains('-')) {
        "a listener has one port; write a [[listener]] for each".to_owned()
    } else if place.contains(|c: char| c.is_ascii_alphabetic()) && !place.contains("::") {
        "a listener has an address; host names are for match = { host = … } of a route".to_owned()
    } else {
        "for example: 192.0.2.10:443, 0.0.0.0:80 or [::]:443".to_owned()
    };
    Err(problem.hint(hint))
}

fn bad_backend(text: &str, why: &lb_model::pool::BadAddress) -> Problem {
    if text.contains('/') {
        let problem = Problem::new(format!("'{text}' is neither an address nor a host name"));
        return problem
            .hint("a backend has no protocol and no path: write 10.0.0.1:80, [2001:db8::1]:80 or name.example:80");
    }
    Problem::new(why.to_string())
}

//! The PROXY protocol's header (haproxy.org, `proxy-protocol.txt`), versions 1 and 2: pure, from bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the header says of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `None`: the peer speaks for itself (LOCAL, UNKNOWN, or an address family that is not IP).
    pub source: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Fault {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header is broken")]
    Broken,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// A line of version 1 with its CRLF (§2.1).
const LONGEST_LINE: usize = 107;
/// Addresses and extensions of version 2; real ones stay below 600 bytes.
pub(crate) const LONGEST: usize = 16 + 2048;

/// Reads the header that a connection begins with, and says how many bytes it is. `None`: more bytes are needed.
///
/// # Errors
/// [`Fault`]: the connection is to be closed.
pub fn parse(input: &[u8]) -> Result<Option<(usize, Header)>, Fault> {
    match input {
        [] => Ok(None),
        [b'P', ..] => line(input),
        [b'\r', ..] => binary(input),
        _ => Err(Fault::Missing),
    }
}

fn line(input: &[u8]) -> Result<Option<(usize, Header)>, Fault> {
    let seen = &input[..input.len().min(LONGEST_LINE)];
    if !seen.starts_with(&b"PROXY "[..seen.len().min(6)]) {
        return Err(Fault::Missing);
    }
    let Some(end) = seen.iter().position(|b| *b == b'\n') else {
        return if seen.len() == LONGEST_LINE { Err(Fault::Broken) } else { Ok(None) };
    };
    let text = seen[..end].strip_suffix(b"\r").ok_or(Fault::Broken)?;
    let text = std::str::from_utf8(text).map_err(|_| Fault::Broken)?;
    let mut words = text.split(' ').skip(1);
    let source = match words.next() {
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?),
        _ => return Err(Fault::Broken),
    };
    Ok(Some((end + 1, Header { source })))
}

/// Source, destination, source's port, destination's port; nothing else.
fn addresses<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Result<SocketAddr, Fault>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let address = |text: Option<&str>| text.and_then(|t| t.parse::<A>().ok()).ok_or(Fault::Broken);
    let port = |text: Option<&str>| {
        let plain = text.filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        plain.and_then(|t| t.parse::<u16>().ok()).ok_or(Fault::Broken)
    };
    let (source, _) = (address(words.next())?, address(words.next())?);
    let (from, _) = (port(words.next())?, port(words.next())?);
    if words.next().is_some() {
        return Err(Fault::Broken);
    }
    Ok(SocketAddr::new(source.into(), from))
}

fn binary(input: &[u8]) -> Result<Option<(usize, Header)>, Fault> {
    let seen = input.len().min(SIGNATURE.len());
    if input[..seen] != SIGNATURE[..seen] {
        return Err(Fault::Missing);
    }
    let Some((head, rest)) = input.split_at_checked(16) else { return Ok(None) };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if command >> 4 != 2 || 16 + length > LONGEST {
        return Err(Fault::Broken);
    }
    let proxied = match command & 0xf {
        0 => false,
        1 => true,
        _ => return Err(Fault::Broken),
    };
    let Some(block) = rest.get(..length) else { return Ok(None) };
    let source = match family {
        _ if !proxied => None,
        0x11 => Some(v4(block)?),
        0x21 => Some(v6(block)?),
        // Datagrams do not come over TCP; Unix sockets and the unspecified have no address of use.
        _ => None,
    };
    Ok(Some((16 + length, Header { source })))
}

/// Two addresses, two ports.
fn v4(block: &[u8]) -> Result<SocketAddr, Fault> {
    let fixed: &[u8; 12] = block.first_chunk().ok_or(Fault::Broken)?;
    let [a, b, c, d, _, _, _, _, high, low, _, _] = *fixed;
    Ok(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

fn v6(block: &[u8]) -> Result<SocketAddr, Fault> {
    let fixed: &[u8; 36] = block.first_chunk().ok_or(Fault::Broken)?;
    let source: [u8; 16] = *fixed.first_chunk().ok_or(Fault::Broken)?;
    Ok(SocketAddr::new(Ipv6Addr::from(source).to_canonical(), u16::from_be_bytes([fixed[32], fixed[33]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: Option<&str>, length: usize) -> Result<Option<(usize, Header)>, Fault> {
        Ok(Some((length, Header { source: source.map(|s| s.parse().expect("an address")) })))
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&[command, family]);
        out.extend_from_slice(&u16::try_from(block.len()).expect("short").to_be_bytes());
        out.extend_from_slice(block);
        out
    }

    #[test]
    fn lines() {
        assert_eq!(parse(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nGET"), header(Some("192.0.2.1:5"), 36));
        assert_eq!(parse(b"PROXY TCP6 2001:db8::1 ::1 5 6\r\n"), header(Some("[2001:db8::1]:5"), 32));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), header(None, 15));
        assert_eq!(parse(b"PROXY UNKNOWN ffff:: x y\r\n"), header(None, 26));
        for part in ["P", "PROXY", "PROXY TCP4 192.0.2.1", "PROXY UNKNOWN\r"] {
            assert_eq!(parse(part.as_bytes()), Ok(None), "{part}");
        }
        for text in ["GET / HTTP/1.1\r\n", "PUT / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}"] {
            assert_eq!(parse(text.as_bytes()), Err(Fault::Missing), "{text}");
        }
        for text in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 5\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 5 6 7\r\n",
            "PROXY TCP4 ::1 ::1 5 6\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +5 6\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 5 65536\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 5 6\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 5 6\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Fault::Broken), "{text}");
        }
        assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200]].concat()), Err(Fault::Broken));
    }

    #[test]
    fn binaries() {
        let block = [192, 0, 2, 1, 192, 0, 2, 2, 0, 5, 0, 6];
        assert_eq!(parse(&v2(0x21, 0x11, &block)), header(Some("192.0.2.1:5"), 28));
        let with_extension = [&block[..], &[4, 0, 1, 0]].concat();
        assert_eq!(parse(&v2(0x21, 0x11, &with_extension)), header(Some("192.0.2.1:5"), 32));
        assert_eq!(parse(&v2(0x20, 0x11, &block)), header(None, 28));
        assert_eq!(parse(&v2(0x21, 0x00, &[])), header(None, 16));
        let mut six = [0; 36];
        six[15] = 1;
        six[33] = 7;
        assert_eq!(parse(&v2(0x21, 0x21, &six)), header(Some("[::1]:7"), 52));
        let whole = v2(0x21, 0x11, &block);
        for cut in 1..whole.len() {
            assert_eq!(parse(&whole[..cut]), Ok(None), "{cut}");
        }
        for broken in
            [v2(0x11, 0x11, &block), v2(0x22, 0x11, &block), v2(0x21, 0x11, &block[..11]), v2(0x21, 0x21, &six[..35])]
        {
            assert_eq!(parse(&broken), Err(Fault::Broken));
        }
        assert_eq!(parse(&v2(0x21, 0x11, &[0; 3000])), Err(Fault::Broken));
        assert_eq!(parse(b"\r\n\r\nGET"), Err(Fault::Missing));
    }
}

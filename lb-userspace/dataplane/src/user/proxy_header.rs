//! The PROXY protocol's header towards backends, versions 1 and 2 (HAProxy, *The PROXY protocol*, §2.1 and §2.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use lb_model::SendProxy;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The bytes that go before the client's own.
pub(super) fn header(version: SendProxy, client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    match version {
        SendProxy::V1 => {
            let family = if client.is_ipv4() && vip.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = if family == "TCP4" {
                (client.ip().to_string(), vip.ip().to_string())
            } else {
                (wide(client.ip()).to_string(), wide(vip.ip()).to_string())
            };
            format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), vip.port()).into_bytes()
        }
        SendProxy::V2 => {
            let mut out = SIGNATURE.to_vec();
            out.push(VERSION_COMMAND);
            match (client.ip(), vip.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    out.push(TCP_OVER_IPV4);
                    out.extend(12u16.to_be_bytes());
                    out.extend(from.octets());
                    out.extend(to.octets());
                }
                (from, to) => {
                    out.push(TCP_OVER_IPV6);
                    out.extend(36u16.to_be_bytes());
                    out.extend(wide(from).octets());
                    out.extend(wide(to).octets());
                }
            }
            out.extend(client.port().to_be_bytes());
            out.extend(vip.port().to_be_bytes());
            out
        }
    }
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: &str) -> SocketAddr {
        s.parse().expect("an address")
    }

    #[test]
    fn version_one_is_a_line() {
        let h = header(SendProxy::V1, at("198.51.100.1:56324"), at("192.0.2.10:443"));
        assert_eq!(h, b"PROXY TCP4 198.51.100.1 192.0.2.10 56324 443\r\n");
        let h = header(SendProxy::V1, at("[2001:db8::1]:1"), at("[2001:db8::2]:65535"));
        assert_eq!(h, b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
    }

    #[test]
    fn version_two_is_binary() {
        let h = header(SendProxy::V2, at("198.51.100.1:258"), at("192.0.2.10:443"));
        let mut want = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c".to_vec();
        want.extend([198, 51, 100, 1, 192, 0, 2, 10, 1, 2, 1, 187]);
        assert_eq!(h, want);
        let h = header(SendProxy::V2, at("[2001:db8::1]:258"), at("[2001:db8::2]:443"));
        assert_eq!(h[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(h.len(), 16 + 36);
        assert_eq!(h[48..], [1, 2, 1, 187]);
    }
}

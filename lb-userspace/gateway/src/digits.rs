//! Numbers and addresses as text, into a buffer, without the formatting machinery: several stand in each access line.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Decimal.
pub(crate) fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of ten is one digit.
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Decimal with leading zeroes; `width` is at most 20.
pub(crate) fn padded(out: &mut Vec<u8>, n: u64, width: usize) {
    let mut power = 10_u64.saturating_pow(u32::try_from(width.saturating_sub(1)).unwrap_or(0));
    while power > n && power > 1 {
        out.push(b'0');
        power /= 10;
    }
    number(out, n);
}

/// Lower-case hexadecimal, 16 digits.
pub(crate) fn hex(out: &mut Vec<u8>, n: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..16).rev().map(|at| DIGITS[(n >> (at * 4) & 0xf) as usize]));
}

pub(crate) fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, byte) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                number(out, byte.into());
            }
        }
        IpAddr::V6(ip) => {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "{ip}");
        }
    }
}

/// `ip:port`, IPv6 in brackets.
pub(crate) fn socket(out: &mut Vec<u8>, of: SocketAddr) {
    match of {
        SocketAddr::V4(_) => address(out, of.ip()),
        SocketAddr::V6(_) => {
            out.push(b'[');
            address(out, of.ip());
            out.push(b']');
        }
    }
    out.push(b':');
    number(out, of.port().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn as_the_formatting_machinery_has_it() {
        for n in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(text(|o| number(o, n)), n.to_string());
            assert_eq!(text(|o| padded(o, n, 3)), format!("{n:03}"));
            assert_eq!(text(|o| hex(o, n)), format!("{n:016x}"));
        }
        for a in ["192.0.2.1:80", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            assert_eq!(text(|o| socket(o, a.parse().expect("an address"))), a);
        }
    }
}

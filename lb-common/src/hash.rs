//! The hash that places flows and clients: one function for both halves, the tests and `lb explain`.
//!
//! Mixing after Jenkins' lookup3 (2006, public domain, `final`), which spreads well for few 32-bit words and needs no
//! multiplication. Words are taken as they lie in memory, in network byte order.

use crate::net::{Addr, Be16};

const SEED: u32 = 0x6c62_2d31;

#[inline(always)]
const fn finish(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c ^= b;
    c = c.wrapping_sub(b.rotate_left(14));
    a ^= c;
    a = a.wrapping_sub(c.rotate_left(11));
    b ^= a;
    b = b.wrapping_sub(a.rotate_left(25));
    c ^= b;
    c = c.wrapping_sub(b.rotate_left(16));
    a ^= c;
    a = a.wrapping_sub(c.rotate_left(4));
    b ^= a;
    b = b.wrapping_sub(a.rotate_left(14));
    c ^= b;
    c.wrapping_sub(b.rotate_left(24))
}

/// Hash of a client's address alone: what `source-hash` goes by.
#[inline(always)]
#[must_use]
pub const fn of_client(client: &Addr) -> u32 {
    let h = finish(client.0[0].wrapping_add(SEED), client.0[1].wrapping_add(SEED), client.0[2].wrapping_add(SEED));
    finish(client.0[3].wrapping_add(h), SEED, h)
}

/// Hash of a flow as the client sends it: client and service address and port, protocol. What `maglev` goes by.
#[inline(always)]
#[must_use]
pub const fn of_flow(client: &Addr, client_port: Be16, vip: &Addr, vip_port: Be16, protocol: u8) -> u32 {
    let ports = ((client_port.0 as u32) << 16) | vip_port.0 as u32;
    let v =
        finish(vip.0[0].wrapping_add(vip.0[1]).wrapping_add(SEED), vip.0[2].wrapping_add(vip.0[3]), protocol as u32);
    finish(of_client(client), ports, v)
}

/// Maps a 32-bit hash evenly onto `0..n` without division (Lemire, 2016).
#[inline(always)]
#[must_use]
pub const fn slot(hash: u32, n: u32) -> u32 {
    ((hash as u64 * n as u64) >> 32) as u32
}

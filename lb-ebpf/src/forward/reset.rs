//! A TCP reset back to the sender (RFC 9293 §3.10.7.1): what a peer learns of a flow whose backend is gone.

use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use lb_common::checksum::{fold, replace16, update};
use lb_common::net::proto;

use super::echo::swap_addresses;
use crate::emit;
use crate::packet::header::tcp_flag::{ACK, FIN, RST, SYN};
use crate::packet::header::{Ipv4, Ipv6, Tcp};
use crate::packet::{Packet, access};

/// Turns the packet into a reset for its sender and cuts off what followed the TCP header. `None`: it is a reset itself,
/// which is never answered, or does not fit.
#[inline(never)]
pub fn answer(ctx: &XdpContext, packet: &Packet) -> Option<()> {
    if packet.tcp_flags & RST != 0 {
        return None;
    }
    swap_addresses(ctx, packet)?;
    let header = (packet.l4 - packet.l3) as u32;
    set_length(ctx, packet, header + 20)?;
    write_tcp(ctx, packet, header)?;
    emit::back(ctx)?;
    let surplus = access::length(ctx) as i32 - (packet.l4 as i32 + 20);
    if surplus > 0 {
        // SAFETY: shrinks the packet; pointers into it are not used after.
        unsafe { bpf_xdp_adjust_tail(ctx.ctx, -surplus) };
    }
    Some(())
}

#[inline(always)]
fn set_length(ctx: &XdpContext, packet: &Packet, len: u32) -> Option<()> {
    if packet.v4 {
        let ip = access::at::<Ipv4>(ctx, packet.l3)?;
        // SAFETY: `at` checked the bounds of the header.
        let ip = unsafe { &mut *ip };
        let total = (len as u16).to_be();
        ip.check = update(ip.check, replace16(ip.total_length, total));
        ip.total_length = total;
    } else {
        let ip = access::at::<Ipv6>(ctx, packet.l3)?;
        // SAFETY: `at` checked the bounds of the header.
        unsafe { (*ip).payload_length = ((len - 40) as u16).to_be() };
    }
    Some(())
}

/// With an ACK the reset takes its sequence number from it; without, it acknowledges what came.
#[inline(always)]
fn write_tcp(ctx: &XdpContext, packet: &Packet, header: u32) -> Option<()> {
    let tcp = access::at::<Tcp>(ctx, packet.l4)?;
    // SAFETY: `at` checked the bounds of the header.
    let tcp = unsafe { &mut *tcp };
    let data = packet.len - header - u32::from(tcp.data_offset >> 4) * 4;
    let control = u32::from(tcp.flags & SYN != 0) + u32::from(tcp.flags & FIN != 0);
    let (sequence, acknowledgement, flags) = if tcp.flags & ACK != 0 {
        (tcp.acknowledgement, 0, RST)
    } else {
        (0, u32::from_be(tcp.sequence).wrapping_add(data + control).to_be(), RST | ACK)
    };
    core::mem::swap(&mut tcp.src_port, &mut tcp.dst_port);
    tcp.sequence = sequence;
    tcp.acknowledgement = acknowledgement;
    tcp.data_offset = 5 << 4;
    tcp.flags = flags;
    tcp.window = 0;
    tcp.urgent = 0;
    let words = u64::from(tcp.src_port)
        + u64::from(tcp.dst_port)
        + u64::from(sequence)
        + u64::from(acknowledgement)
        + u64::from(u16::from_ne_bytes([tcp.data_offset, tcp.flags]));
    tcp.check = !fold(words + pseudo_header(packet));
    Some(())
}

/// RFC 9293 §3.1, RFC 8200 §8.1: addresses, protocol and the length of a bare TCP header.
#[inline(always)]
fn pseudo_header(packet: &Packet) -> u64 {
    let t = &packet.tuple;
    let mut sum = u64::from(u16::from(proto::TCP).to_be()) + u64::from(20u16.to_be());
    if packet.v4 {
        sum += u64::from(t.src.as_v4().0) + u64::from(t.dst.as_v4().0);
    } else {
        for i in 0..4 {
            sum += u64::from(t.src.0[i]) + u64::from(t.dst.0[i]);
        }
    }
    sum
}

//! What the balancer says itself or passes on about flows: resets, echo replies, ICMP errors.

use lb_common::backend::flag;
use lb_common::reason::Reason;

use super::parse::{self, Packet};
use super::tcp::State;
use super::{Flow, Reference, Verdict, not_ours, rewrite, stop};
use crate::packet::program::action;

impl Reference {
    /// The flow's backend is gone for good: whoever speaks is told.
    pub(super) fn reset(&mut self, p: &Packet, flow: &Flow, out: &mut Vec<u8>) -> Verdict {
        let entry = self.flows.get_mut(&flow.tuple).expect("just looked up");
        entry.connection.state = State::Reset;
        if std::mem::take(&mut entry.counted) {
            *self.active.entry(flow.backend).or_default() -= 1;
        }
        if p.flags & parse::flag::RST != 0 {
            // A reset is never answered (RFC 9293 §3.10.7.1).
            return stop(action::DROP, flow.service, Reason::BackendGone);
        }
        *out = rewrite::reset(out, p);
        stop(action::TX, flow.service, Reason::Reset)
    }

    pub(super) fn icmp(&self, p: &Packet, out: &mut [u8]) -> Verdict {
        let (vip, source) = (self.is_vip(p.tuple.dst), self.world.snat.contains(&p.tuple.dst));
        if !vip && !source {
            return not_ours();
        }
        let v4 = p.tuple.dst.is_ipv4();
        let (kind, code) = (out[p.transport], out[p.transport + 1]);
        let errors: &[u8] = if v4 { &[3, 4, 11, 12] } else { &[1, 2, 3, 4] };
        if errors.contains(&kind) {
            return self.error(p, out);
        }
        let (request, reply) = if v4 { (8, 0) } else { (128, 129) };
        if !vip || (kind, code) != (request, 0) {
            return not_ours();
        }
        rewrite::echo(out, p, reply);
        let (to, from) = (out[..6].try_into().expect("six bytes"), out[6..12].try_into().expect("six bytes"));
        rewrite::link(out, to, from);
        stop(action::TX, 0, Reason::EchoReply)
    }

    /// The quote shows a packet as it left us: turned round, it is what comes in.
    fn error(&self, p: &Packet, out: &mut [u8]) -> Verdict {
        let unknown = || stop(action::PASS, 0, Reason::UnknownQuote);
        let Some(quote) = parse::quoted(out, p) else { return unknown() };
        let incoming = quote.tuple.reversed();
        if let Some(flow) = self.flows.get(&incoming) {
            if !self.is(flow.backend, flag::REACHABLE) {
                return stop(action::DROP, flow.service, Reason::NoNeighbour);
            }
            if let Some(reply) = flow.reply {
                rewrite::error(out, p, &quote, &reply, p.tuple.src, reply.src);
            }
            return stop(self.to_backend(out, flow.backend), flow.service, Reason::IcmpForwarded);
        }
        let Some(flow) = self.replies.get(&incoming).map(|t| self.flows[t]) else { return unknown() };
        let backend_speaks = p.tuple.src == self.backend(flow.backend).ip;
        let src = if backend_speaks { flow.tuple.dst } else { p.tuple.src };
        rewrite::error(out, p, &quote, &flow.tuple, src, flow.tuple.src);
        self.to_client(out, &flow);
        stop(action::TX, flow.service, Reason::IcmpForwarded)
    }
}

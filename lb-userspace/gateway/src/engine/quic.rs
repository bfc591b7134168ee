//! The UDP side of listeners with HTTP/3: sockets opened, taken over and closed as a plan says.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use lb_model::Name;
use lb_model::http::Listener;

use super::Engine;
use crate::door::{GatewayError, Inherited};
use crate::listener::udp::{self, Share};
use crate::plan::HttpPlan;
use crate::worker::Command;

/// Sockets of one address, in the order in which packets are steered to them.
pub(super) type Sockets = (SocketAddr, Vec<UdpSocket>);

fn wants(plan: &HttpPlan) -> impl Iterator<Item = (&Name, &Arc<Listener>)> {
    plan.listeners.iter().filter(|(_, l)| l.is_tls() && l.protocols.h3)
}

impl Engine {
    /// Sockets for all listeners with HTTP/3 that have none yet; all or none.
    pub(super) fn bind_quic(&self, plan: &HttpPlan) -> Result<BTreeMap<Name, Sockets>, GatewayError> {
        let mut opened = BTreeMap::new();
        for (name, listener) in wants(plan) {
            let address = listener.listen;
            if self.quic.get(name).is_some_and(|(of, _)| *of == address) {
                continue;
            }
            let taken = self.take_inherited_udp(address);
            let ours = self.quic.values().any(|(of, _)| *of == address);
            let sockets = if taken.is_empty() {
                let opened = udp::open(address, self.workers.len(), ours);
                opened.map_err(|why| GatewayError::Listen {
                    listener: name.to_string(),
                    address,
                    why: format!("by UDP, for HTTP/3: {why}"),
                })?
            } else {
                taken
            };
            opened.insert(name.clone(), (address, sockets));
        }
        Ok(opened)
    }

    /// After the listeners themselves are in force.
    pub(super) fn settle_quic(&mut self, plan: &HttpPlan, opened: BTreeMap<Name, Sockets>) {
        let stays: Vec<(&Name, SocketAddr)> = wants(plan).map(|(name, l)| (name, l.listen)).collect();
        let gone: Vec<Name> =
            self.quic.iter().filter(|(n, (a, _))| !stays.contains(&(*n, *a))).map(|(n, _)| n.clone()).collect();
        for name in gone {
            self.quic.remove(&name);
            self.tell(self.workers.iter().map(|_| Command::CloseQuic(name.clone())).collect());
        }
        for (name, (address, sockets)) in opened {
            let Some(place) = self.open.get(&name).map(|o| Arc::clone(&o.place)) else { continue };
            let mut shares: Vec<Vec<(UdpSocket, Share)>> = self.workers.iter().map(|_| Vec::new()).collect();
            let count = shares.len();
            for (at, (socket, share)) in sockets.iter().zip(Share::all(sockets.len())).enumerate() {
                match socket.try_clone() {
                    Ok(socket) => shares[at % count].push((socket, share)),
                    Err(e) => tracing::error!("listener '{name}': HTTP/3: {e}"),
                }
            }
            let open = |sockets| Command::OpenQuic { place: Arc::clone(&place), name: name.clone(), sockets };
            self.tell(shares.into_iter().map(open).collect());
            self.quic.insert(name, (address, sockets));
        }
    }

    fn take_inherited_udp(&self, address: SocketAddr) -> Vec<UdpSocket> {
        let mut waiting = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, rest): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|i| i.address == address && i.udp);
        *waiting = rest;
        ours.into_iter().map(|i| UdpSocket::from(i.socket)).collect()
    }

    /// For a process that takes over, in the order of steering. QUIC's connections stay here: they end with us.
    pub(super) fn quic_sockets(&self) -> std::io::Result<Vec<Inherited>> {
        let mut all = Vec::new();
        for (address, sockets) in self.quic.values() {
            for socket in sockets {
                all.push(Inherited { address: *address, udp: true, socket: OwnedFd::from(socket.try_clone()?) });
            }
        }
        Ok(all)
    }
}

//! Descriptors from one process to another over a Unix socket, each with what it is.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// The kernel takes 253 descriptors a message (`SCM_MAX_FD`).
const BATCH: usize = 64;
/// A list longer than this is none of ours.
const LONGEST: u32 = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// The control socket, and the lock that goes with it.
    Control,
    Lock,
    Stdout,
    Stderr,
    Metrics,
    /// Layer 7's listening sockets.
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) what: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<SocketAddr>,
}

pub(super) type Parcel = (Label, OwnedFd);

/// First the labels as JSON behind their length, then the descriptors in the same order.
pub(super) fn send(mut stream: &UnixStream, parcels: &[Parcel]) -> io::Result<()> {
    let labels: Vec<Label> = parcels.iter().map(|(label, _)| *label).collect();
    let text = serde_json::to_vec(&labels)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&text)?;
    for batch in parcels.chunks(BATCH) {
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|(_, fd)| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("no room for the descriptors"));
        }
        sendmsg(stream, &[IoSlice::new(b".")], &mut control, SendFlags::empty())?;
    }
    Ok(())
}

pub(super) fn receive(mut stream: &UnixStream) -> io::Result<Vec<Parcel>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other("this is not the list of an lb"));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text)?;
    let labels: Vec<Label> = serde_json::from_slice(&text)?;
    let mut fds: Vec<OwnedFd> = Vec::with_capacity(labels.len());
    while fds.len() < labels.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0; 1];
        let got = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = fds.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        if got.bytes == 0 || fds.len() == before {
            return Err(io::Error::other("the other lb sent fewer descriptors than it said"));
        }
    }
    Ok(labels.into_iter().zip(fds).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_come_with_their_labels() {
        let (a, b) = UnixStream::pair().expect("a pair");
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sockets: Vec<_> = (0..150).map(|_| socket()).collect();
        let address = |s: &std::net::UdpSocket| s.local_addr().expect("an address");
        let parcels: Vec<Parcel> = sockets
            .iter()
            .map(|s| {
                let label = Label { what: What::Udp, address: Some(address(s)) };
                (label, s.as_fd().try_clone_to_owned().expect("a duplicate"))
            })
            .collect();
        let sender = std::thread::spawn(move || send(&a, &parcels));
        let got = receive(&b).expect("received");
        sender.join().expect("no panic").expect("sent");
        assert_eq!(got.len(), 150);
        for (label, fd) in got {
            assert_eq!(Some(address(&std::net::UdpSocket::from(fd))), label.address);
        }
    }

    #[test]
    fn a_sender_that_ends_early_is_an_error() {
        let (a, b) = UnixStream::pair().expect("a pair");
        let text = br#"[{"what":"Lock"}]"#;
        (&a).write_all(&[&(text.len() as u32).to_be_bytes()[..], text].concat()).expect("sent");
        drop(a);
        assert!(receive(&b).is_err());
    }
}

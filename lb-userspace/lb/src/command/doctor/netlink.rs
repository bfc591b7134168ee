//! The few questions `lb doctor` asks of the kernel over netlink: a link's kind and XDP program (RTM_GETLINK), the XDP
//! features of its driver (generic netlink `netdev`), its offloads (generic netlink `ethtool`).
//!
//! Message layouts: include/uapi/linux/{netlink,rtnetlink,if_link,genetlink,netdev,ethtool_netlink}.h. All native-endian.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols};

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;
const GENL_ID_CTRL: u16 = 16;

/// Attributes of a message or of a nest: (type, payload).
pub(super) type Attributes<'a> = Vec<(u16, &'a [u8])>;

/// Splits what it can; a truncated tail is left out.
pub(super) fn attributes(mut bytes: &[u8]) -> Attributes<'_> {
    let mut out = Vec::new();
    while let [l0, l1, t0, t1, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(payload) = bytes.get(4..length) else { break };
        out.push((u16::from_ne_bytes([t0, t1]) & NLA_TYPE_MASK, payload));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

pub(super) fn find<'a>(attributes: &Attributes<'a>, kind: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(k, _)| *k == kind).map(|(_, payload)| *payload)
}

pub(super) fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).trim_end_matches('\0').to_owned()
}

/// Little and big numbers alike, as the kernel sends them.
pub(super) fn number(payload: &[u8]) -> Option<u64> {
    match payload.len() {
        1 => payload.first().map(|b| u64::from(*b)),
        4 => payload.try_into().ok().map(u32::from_ne_bytes).map(u64::from),
        8 => payload.try_into().ok().map(u64::from_ne_bytes),
        _ => None,
    }
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap_or(u16::MAX);
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// One request, one answer: the payload after the netlink header.
fn ask(socket: &Socket, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend_from_slice(body);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let malformed = || io::Error::other("the kernel's answer is truncated");
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(malformed)?;
    let payload = answer.get(16..).ok_or_else(malformed)?;
    if kind == NLMSG_ERROR {
        let code = payload.get(..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes).ok_or_else(malformed)?;
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(payload.to_vec())
}

fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// RTM_GETLINK's attributes of one link.
pub(super) fn link(index: u32) -> io::Result<Vec<u8>> {
    const RTM_GETLINK: u16 = 18;
    const IFINFOMSG: usize = 16;
    let mut body = vec![0; IFINFOMSG];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = ask(&open(protocols::NETLINK_ROUTE)?, RTM_GETLINK, &body)?;
    answer.get(IFINFOMSG..).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("no link in the answer"))
}

fn generic(family: &str, command: u8, attributes_of_request: &[u8]) -> io::Result<Vec<u8>> {
    const CTRL_CMD_GETFAMILY: u8 = 3;
    const CTRL_ATTR_FAMILY_ID: u16 = 1;
    const CTRL_ATTR_FAMILY_NAME: u16 = 2;
    let socket = open(protocols::NETLINK_GENERIC)?;
    let header = |command: u8| vec![command, 1, 0, 0];
    let name = [family.as_bytes(), b"\0"].concat();
    let body = [header(CTRL_CMD_GETFAMILY), attribute(CTRL_ATTR_FAMILY_NAME, &name)].concat();
    let answer = ask(&socket, GENL_ID_CTRL, &body)?;
    let id = find(&attributes(answer.get(4..).unwrap_or_default()), CTRL_ATTR_FAMILY_ID)
        .and_then(|b| b.try_into().ok())
        .map(u16::from_ne_bytes)
        .ok_or_else(|| io::Error::other(format!("the kernel has no '{family}'")))?;
    let body = [&header(command)[..], attributes_of_request].concat();
    let answer = ask(&socket, id, &body)?;
    Ok(answer.get(4..).unwrap_or_default().to_vec())
}

/// `NETDEV_XDP_ACT_*` of the driver; since Linux 6.3.
pub(super) fn xdp_features(index: u32) -> io::Result<u64> {
    const NETDEV_CMD_DEV_GET: u8 = 1;
    const NETDEV_A_DEV_IFINDEX: u16 = 1;
    const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
    let answer = generic("netdev", NETDEV_CMD_DEV_GET, &attribute(NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes()))?;
    let features = find(&attributes(&answer), NETDEV_A_DEV_XDP_FEATURES).and_then(number);
    features.ok_or_else(|| io::Error::other("the kernel does not say"))
}

/// Names of the offloads that are on, as `ethtool -k` knows them; since Linux 5.6.
pub(super) fn offloads(index: u32) -> io::Result<Vec<String>> {
    const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
    const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
    const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
    const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
    const ETHTOOL_A_BITSET_BITS: u16 = 3;
    const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
    let device = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    let request = attribute(ETHTOOL_A_FEATURES_HEADER | NLA_F_NESTED, &device);
    let answer = generic("ethtool", ETHTOOL_MSG_FEATURES_GET, &request)?;
    let active = find(&attributes(&answer), ETHTOOL_A_FEATURES_ACTIVE).map(attributes).unwrap_or_default();
    let bits = find(&active, ETHTOOL_A_BITSET_BITS).map(attributes).unwrap_or_default();
    let names = bits.iter().filter_map(|(_, bit)| find(&attributes(bit), ETHTOOL_A_BITSET_BIT_NAME));
    Ok(names.map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_as_written() {
        let bytes = [attribute(1, b"abc\0"), attribute(2 | NLA_F_NESTED, &7_u32.to_ne_bytes()), attribute(3, b"x")];
        let bytes = bytes.concat();
        let read = attributes(&bytes);
        assert_eq!(find(&read, 1).map(text).as_deref(), Some("abc"));
        assert_eq!(find(&read, 2).and_then(number), Some(7));
        assert_eq!(find(&read, 3), Some(&b"x"[..]));
        assert_eq!(find(&read, 4), None);
        // Whatever comes, it ends and stays within bounds.
        for n in 0..bytes.len() {
            attributes(&bytes[..n]);
        }
        assert!(attributes(&[0, 0, 0, 0]).is_empty());
    }

    #[test]
    fn the_loopback_link_answers() {
        let lo = link(1).expect("lo");
        const IFLA_IFNAME: u16 = 3;
        assert_eq!(find(&attributes(&lo), IFLA_IFNAME).map(text).as_deref(), Some("lo"));
    }
}

//! Where a WebSocket's frames end (RFC 6455 §5.2), so that a close frame of ours never stands within another.

/// The position in one direction's stream of frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 14],
    have: usize,
    payload: u64,
    closed: bool,
}

impl Frames {
    /// A close frame began: nothing may follow it (RFC 6455 §5.5.1).
    pub(crate) const fn closed(&self) -> bool {
        self.closed
    }

    /// So many further bytes belong to the frame at hand for certain; 0 between two frames.
    pub(crate) fn rest(&self) -> u64 {
        if self.payload > 0 {
            self.payload
        } else if self.have > 0 {
            (self.header_length() - self.have) as u64
        } else {
            0
        }
    }

    /// Takes note of bytes that passed.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let part = usize::try_from(self.payload).map_or(bytes.len(), |p| p.min(bytes.len()));
                self.payload -= part as u64;
                bytes = &bytes[part..];
                continue;
            }
            let part = (self.header_length() - self.have).min(bytes.len());
            self.header[self.have..self.have + part].copy_from_slice(&bytes[..part]);
            self.have += part;
            bytes = &bytes[part..];
            if self.have >= 2 && self.have == self.header_length() {
                self.payload = self.payload_length();
                self.closed |= self.header[0] & 0x0f == 8;
                self.have = 0;
            }
        }
    }

    /// As far as it is known from the bytes that are there.
    const fn header_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        match self.header[1] & 0x7f {
            126 => number(&self.header[2..4]),
            127 => number(&self.header[2..10]),
            short => u64::from(short),
        }
    }
}

/// A close frame with status 1001, "going away" (RFC 6455 §7.4.1). `mask`: to a backend, to which we are the client.
pub(crate) fn going_away(mask: Option<[u8; 4]>) -> Vec<u8> {
    let status = 1001u16.to_be_bytes();
    match mask {
        None => vec![0x88, 2, status[0], status[1]],
        Some(m) => vec![0x88, 0x82, m[0], m[1], m[2], m[3], status[0] ^ m[0], status[1] ^ m[1]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(mask | length as u8),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(if masked { &[0xff; 4] } else { &[] });
        bytes.resize(bytes.len() + length, 0x88);
        bytes
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_come() {
        let all: Vec<Vec<u8>> =
            [(0x81, true, 0), (0x02, false, 5), (0x00, true, 126), (0x80, false, 70_000), (0x89, true, 125)]
                .map(|(first, masked, length)| frame(first, masked, length))
                .to_vec();
        for step in [1, 2, 3, 7, 4096, 1 << 20] {
            let mut frames = Frames::default();
            for frame in &all {
                let mut rest = frame.as_slice();
                while !rest.is_empty() {
                    assert!(frames.rest() <= rest.len() as u64);
                    let (now, later) = rest.split_at(step.min(rest.len()));
                    frames.pass(now);
                    assert_eq!(frames.rest() == 0, later.is_empty(), "step {step}");
                    rest = later;
                }
            }
            assert!(!frames.closed());
            frames.pass(&all.concat());
            assert_eq!(frames.rest(), 0);
        }
    }

    #[test]
    fn close_frames_are_seen_and_written() {
        for bytes in [going_away(None), going_away(Some([1, 2, 3, 4]))] {
            let mut frames = Frames::default();
            frames.pass(&bytes);
            assert!(frames.closed() && frames.rest() == 0);
        }
        assert_eq!(going_away(None), [0x88, 2, 0x03, 0xe9]);
        let masked = going_away(Some([7, 9, 0, 0]));
        assert_eq!((masked[6] ^ 7, masked[7] ^ 9), (0x03, 0xe9));
    }
}

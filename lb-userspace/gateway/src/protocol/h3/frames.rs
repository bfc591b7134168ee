//! The frames of a request's stream (RFC 9114 §7), before the library sees them: it buffers a frame until it is whole, reads
//! more with each step than it uses, and takes an empty DATA frame for the end of a body. So what it need not see is taken
//! out, what is too large is refused by its announced length, and each frame's head comes by itself.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;

/// `GET https://-/` in QPACK's static table (RFC 9204): stands in for a head that is too large to be looked at.
const STAND_IN: &[u8] = &[0x01, 0x08, 0x00, 0x00, 0xd1, 0xd7, 0xc1, 0x50, 0x01, b'-'];

/// A stream's bytes in, a stream's bytes out.
#[derive(Debug)]
pub(crate) struct Filter {
    /// Bytes of a frame other than DATA.
    limit: u64,
    /// A frame's head that is not whole yet.
    head: Vec<u8>,
    state: State,
    /// The request's head, until it is whole: something else may have to stand in for it.
    held: Option<Vec<u8>>,
    out: VecDeque<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Hold(u64),
    Pass(u64),
    Skip(u64),
    /// Nothing more is read.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request's head: a stand-in comes out, and then the end.
    HeadTooLarge,
    /// Trailers, or a frame that has no place here.
    TooLarge,
}

impl Filter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, head: Vec::new(), state: State::Between, held: Some(Vec::new()), out: VecDeque::new() }
    }

    /// Further bytes of the stream.
    ///
    /// # Errors
    /// A frame that is too large; the stream is over with it.
    pub(crate) fn push(&mut self, mut bytes: Bytes) -> Result<(), Fault> {
        while bytes.has_remaining() {
            match self.state {
                State::Over => return Ok(()),
                State::Hold(left) => {
                    let (piece, left) = part(&mut bytes, left);
                    if let Some(held) = &mut self.held {
                        held.extend_from_slice(&piece);
                    }
                    self.state = if left == 0 { State::Between } else { State::Hold(left) };
                    if left == 0 {
                        self.let_go();
                    }
                }
                State::Pass(left) => {
                    let (piece, left) = part(&mut bytes, left);
                    self.out.push_back(piece);
                    self.state = if left == 0 { State::Between } else { State::Pass(left) };
                }
                State::Skip(left) => {
                    let (_, left) = part(&mut bytes, left);
                    self.state = if left == 0 { State::Between } else { State::Skip(left) };
                }
                State::Between => {
                    self.head.push(bytes.get_u8());
                    if let Some((kind, length)) = parse(&self.head) {
                        self.begin(kind, length)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<(), Fault> {
        let head = std::mem::take(&mut self.head);
        let first = self.held.is_some();
        if kind == DATA && !first && length > 0 {
            self.out.push_back(head.into());
            self.state = State::Pass(length);
        } else if (kind == DATA && !first) || !is_known(kind) {
            // RFC 9114 §9: unknown types are ignored; so is DATA that is none.
            self.state = if length == 0 { State::Between } else { State::Skip(length) };
        } else if length > self.limit {
            self.state = State::Over;
            return Err(if kind == HEADERS && self.stand_in() { Fault::HeadTooLarge } else { Fault::TooLarge });
        } else if kind == HEADERS
            && let Some(held) = &mut self.held
        {
            *held = head;
            self.state = State::Hold(length);
            if length == 0 {
                self.let_go();
            }
        } else {
            self.out.push_back(head.into());
            self.state = if length == 0 { State::Between } else { State::Pass(length) };
        }
        Ok(())
    }

    fn let_go(&mut self) {
        if let Some(held) = self.held.take() {
            self.out.push_back(held.into());
            self.state = State::Between;
        }
    }

    /// The request's head will not be waited for; another one comes out. `false`: it has come already.
    pub(crate) fn stand_in(&mut self) -> bool {
        let waited = self.held.take().is_some();
        if waited {
            self.out.push_back(Bytes::from_static(STAND_IN));
            self.state = State::Over;
        }
        waited
    }

    /// The next piece: a frame's head, or some of its payload.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// The rest of the stream does not matter.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The stream ends here; what was begun comes out, so that the library sees that it is cut off.
    pub(crate) fn end(&mut self) {
        if let Some(held) = self.held.take().filter(|h| !h.is_empty()) {
            self.out.push_back(held.into());
        }
        if !self.head.is_empty() {
            self.out.push_back(std::mem::take(&mut self.head).into());
        }
    }
}

/// As much of a frame's payload as is there, and what is left of it.
fn part(bytes: &mut Bytes, left: u64) -> (Bytes, u64) {
    let length = usize::try_from(left).map_or(bytes.len(), |l| l.min(bytes.len()));
    (bytes.split_to(length), left - length as u64)
}

/// Types that the library knows: it says what is wrong with those that have no place in a request (RFC 9114 §7.2.8 too).
const fn is_known(kind: u64) -> bool {
    matches!(kind, 0x0..=0x9 | 0xd)
}

/// Type and length (RFC 9000 §16), once both are whole.
fn parse(head: &[u8]) -> Option<(u64, u64)> {
    let (kind, rest) = integer(head)?;
    Some((kind, integer(rest)?.0))
}

fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let length = 1usize << (first >> 6);
    let own = bytes.get(..length)?;
    let value = own[1..].iter().fold(u64::from(first & 0x3f), |n, b| n << 8 | u64::from(*b));
    Some((value, &bytes[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(filter: &mut Filter, bytes: &[u8], step: usize) -> Result<Vec<Bytes>, Fault> {
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            let pushed = filter.push(Bytes::copy_from_slice(piece));
            out.extend(std::iter::from_fn(|| filter.next()));
            pushed?;
        }
        Ok(out)
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("short");
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(0x4000 | length).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn what_means_nothing_is_taken_out_however_it_comes() {
        let head = frame(1, b"head");
        let (some, trailers) = (frame(0, b"some body"), frame(1, b"trailers"));
        let all =
            [&head[..], &frame(0, b""), &some, &frame(0x21, &[7; 300]), &frame(0, b""), &some, &trailers].concat();
        for step in [1, 2, 5, 4096] {
            let mut filter = Filter::new(100);
            let out = through(&mut filter, &all, step).expect("fine").concat();
            assert_eq!(out, [&head[..], &some, &some, &trailers].concat(), "step {step}");
        }
    }

    #[test]
    fn a_frames_head_comes_by_itself() {
        let all = [frame(1, b"head"), frame(0, b"body")].concat();
        let out = through(&mut Filter::new(100), &all, 4096).expect("fine");
        let lengths: Vec<usize> = out.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [7, 3, 4], "but for the request's own");
    }

    #[test]
    fn too_large_is_told_by_what_is_announced() {
        let mut filter = Filter::new(100);
        assert_eq!(filter.push(Bytes::copy_from_slice(&frame(1, &[0; 101])[..3])), Err(Fault::HeadTooLarge));
        assert_eq!(filter.next().as_deref(), Some(STAND_IN));
        assert!(filter.is_over());
        let mut slow = Filter::new(100);
        assert_eq!(through(&mut slow, &frame(1, b"head")[..5], 9), Ok(Vec::new()), "held");
        assert!(slow.stand_in());
        assert_eq!(slow.next().as_deref(), Some(STAND_IN));
        assert!(!slow.stand_in());
        assert_eq!(
            through(&mut Filter::new(100), &[frame(1, b"x"), frame(1, &[0; 101])].concat(), 9),
            Err(Fault::TooLarge)
        );
        let endless = [&frame(1, b"x")[..], &[0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(through(&mut Filter::new(100), &endless, 9), Err(Fault::TooLarge));
    }

    #[test]
    fn data_has_no_bound_and_nothing_of_it_is_kept() {
        let mut filter = Filter::new(100);
        filter.push(Bytes::from_static(&[0x01, 0x01, 0x00, 0x00, 0xbf, 0xff, 0xff, 0xff])).expect("fine");
        while filter.next().is_some() {}
        for _ in 0..100 {
            filter.push(Bytes::from(vec![0; 1 << 16])).expect("fine");
            assert_eq!(filter.next().map(|b| b.len()), Some(1 << 16));
            assert_eq!(filter.next(), None);
        }
    }

    #[test]
    fn what_is_cut_off_is_seen() {
        let mut filter = Filter::new(100);
        assert_eq!(through(&mut filter, &[0x00, 0x40], 1).expect("fine"), Vec::<Bytes>::new());
        filter.end();
        assert_eq!(filter.next().as_deref(), Some(&[0x00, 0x40][..]));
        let mut filter = Filter::new(100);
        assert_eq!(through(&mut filter, &[0x01, 0x05, 0x00], 1).expect("fine"), Vec::<Bytes>::new());
        filter.end();
        assert_eq!(filter.next().as_deref(), Some(&[0x01, 0x05, 0x00][..]));
    }
}

//! The source ports of NAT: the larger gap that the host's own ephemeral range leaves.

use lb_common::maps::Settings;

/// Ports `first .. first + count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPorts {
    pub first: u16,
    pub count: u16,
}

impl NatPorts {
    /// Beside Linux's default range of 32768 to 60999.
    pub const DEFAULT: Self = Self { first: 1024, count: 31_744 };

    /// The larger of `1024..low` and `high + 1..=65535`; `None` if the host's range leaves nothing.
    #[must_use]
    pub fn beside(low: u16, high: u16) -> Option<Self> {
        let below = u32::from(low).saturating_sub(1024);
        let above = 65_535 - u32::from(high);
        let (first, count) = if below >= above { (1024, below) } else { (u32::from(high) + 1, above) };
        let count = u16::try_from(count).ok().filter(|c| *c > 0)?;
        Some(Self { first: first as u16, count })
    }

    /// From `/proc/sys/net/ipv4/ip_local_port_range` (which holds for IPv6 too).
    #[must_use]
    pub fn of_host() -> Self {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse::<u16>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(low)), Some(Ok(high))) => Self::beside(low, high).unwrap_or_else(|| {
                tracing::warn!(
                    low,
                    high,
                    "ip_local_port_range leaves no ports for NAT; sharing 1024-32767 with the host"
                );
                Self::DEFAULT
            }),
            _ => Self::DEFAULT,
        }
    }
}

impl From<Settings> for NatPorts {
    fn from(s: Settings) -> Self {
        Self { first: s.nat_first, count: s.nat_count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_gap_wins() {
        assert_eq!(NatPorts::beside(32_768, 60_999), Some(NatPorts::DEFAULT));
        assert_eq!(NatPorts::beside(1024, 20_000), Some(NatPorts { first: 20_001, count: 45_535 }));
        assert_eq!(NatPorts::beside(1025, 65_534), Some(NatPorts { first: 1024, count: 1 }));
        assert_eq!(NatPorts::beside(1024, 65_535), None);
        assert_eq!(NatPorts::beside(1, 65_535), None);
    }
}

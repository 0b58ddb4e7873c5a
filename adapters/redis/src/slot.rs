//! Which part of a cluster a key is in.

/// How many there are.
pub(crate) const SLOTS: u16 = 16_384;

/// One of the 16,384 parts into which a cluster divides its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    /// Where a key is: what is in the first braces decides, so that keys can be kept together.
    pub(crate) fn of(key: &str) -> Self {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        let hashed = tag.map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag });
        Self(crc16(hashed.as_bytes()) % SLOTS)
    }
}

/// CRC16 as XMODEM has it, which is what clusters take.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_clusters_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Slot::of("foo"), Slot(12_182));
        assert_eq!(Slot::of("{user1000}.following"), Slot::of("{user1000}.followers"));
        assert_eq!(Slot::of("foo{}{bar}"), Slot(crc16(b"foo{}{bar}") % SLOTS));
        assert_eq!(Slot::of("foo{{bar}}zap"), Slot(crc16(b"{bar") % SLOTS));
        assert_eq!(Slot::of("foo{bar}{zap}"), Slot::of("bar"));
    }
}

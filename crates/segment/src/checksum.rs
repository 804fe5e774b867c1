//! CRC-64/NVME over whole objects.

use elanus_types::Checksum;

/// The checksum of these bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> Checksum {
    let mut sum = Checksummer::new();
    sum.update(bytes);
    sum.finish()
}

/// The checksum of bytes that come in pieces.
#[derive(Clone)]
pub struct Checksummer(crc64fast_nvme::Digest);

impl Checksummer {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self(crc64fast_nvme::Digest::new())
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of all pieces so far.
    #[must_use]
    pub fn finish(&self) -> Checksum {
        Checksum(self.0.sum64())
    }
}

impl Default for Checksummer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Checksummer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Checksummer").field(&self.finish()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_64_nvme() {
        // The check value of the CRC catalogue.
        assert_eq!(checksum(b"123456789").to_string(), "ae8b14860a799888");
        assert_eq!(checksum(b""), Checksum(0));
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..1_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut sum = Checksummer::new();
        for piece in bytes.chunks(77) {
            sum.update(piece);
        }
        assert_eq!(sum.finish(), checksum(&bytes));
    }
}

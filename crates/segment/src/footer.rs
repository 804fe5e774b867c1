//! A look at a Parquet footer, and at the headers of pages, before the Parquet reader sees them: the reader reserves memory for
//! the row groups that a list header claims, and for what a page claims to be without compression, so a few hostile bytes
//! could end the process. Knows Thrift's compact encoding, not what it means.

const TRAILER_LEN: usize = 8;
const DEPTH_MAX: u32 = 32;

/// True when the footer is where it should be and no length in it goes beyond its end.
pub(crate) fn is_plausible(file: &[u8]) -> bool {
    walk(file).is_some()
}

fn walk(file: &[u8]) -> Option<()> {
    let (body, trailer) = file.split_at_checked(file.len().checked_sub(TRAILER_LEN)?)?;
    let (len, magic) = trailer.split_at(4);
    if magic != b"PAR1" {
        return None;
    }
    let len = usize::try_from(u32::from_le_bytes(len.try_into().ok()?)).ok()?;
    Cursor(body.get(body.len().checked_sub(len)?..)?).skip_struct(DEPTH_MAX)
}

/// The sizes that the header of a page claims, without and with compression, and what follows the header.
pub(crate) fn page_header(bytes: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut cursor = Cursor(bytes);
    let (mut field, mut sizes) = (0, [None; 2]);
    loop {
        let header = cursor.byte()?;
        if header == 0 {
            break;
        }
        field = match header >> 4 {
            0 => cursor.signed()?,
            more => field + i64::from(more),
        };
        match (field, header & 0x0f) {
            (2, 5) => sizes[0] = u64::try_from(cursor.signed()?).ok(),
            (3, 5) => sizes[1] = u64::try_from(cursor.signed()?).ok(),
            (_, 1 | 2) => {} // the value of a bool is in its header
            (_, kind) => cursor.skip_value(kind, DEPTH_MAX)?,
        }
    }
    Some((sizes[0]?, sizes[1]?, cursor.0))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip(&mut self, len: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(len).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number of which the lowest bit is the sign.
    fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn skip_struct(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        loop {
            let header = self.byte()?;
            if header & 0x0f == 0 {
                return Some(());
            }
            if header >> 4 == 0 {
                self.varint()?; // the field's number
            }
            match header & 0x0f {
                1 | 2 => {} // the value of a bool is in its header
                kind => self.skip_value(kind, depth)?,
            }
        }
    }

    fn skip_list(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let header = self.byte()?;
        let len = match header >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        if len > self.0.len() as u64 {
            return None;
        }
        (0..len).try_for_each(|_| self.skip_value(header & 0x0f, depth))
    }

    fn skip_value(&mut self, kind: u8, depth: u32) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let len = self.varint()?;
                self.skip(len)
            }
            9 | 10 => self.skip_list(depth),
            12 => self.skip_struct(depth),
            13 => self.skip(16),
            _ => None, // a Parquet footer has no maps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(footer: &[u8]) -> Vec<u8> {
        let mut file = b"PAR1".to_vec();
        file.extend_from_slice(footer);
        file.extend_from_slice(&u32::try_from(footer.len()).unwrap().to_le_bytes());
        file.extend_from_slice(b"PAR1");
        file
    }

    #[test]
    fn a_list_longer_than_the_footer_is_refused() {
        assert!(is_plausible(&file(&[0x15, 0x02, 0x19, 0x15, 0x02, 0x00])));
        // Field 4, a list of 2^31 - 1 structs.
        assert!(!is_plausible(&file(&[0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00])));
    }

    #[test]
    fn endless_nesting_and_short_files_are_refused() {
        assert!(!is_plausible(&file(&[0x1c; 10_000])));
        for len in 0..12 {
            assert!(!is_plausible(&b"PAR1\0\0\0\0PAR1"[..len]), "{len}");
        }
    }
}

//! `.npy`: one NumPy array. Taken: two dimensions, little-endian 32- or 64-bit floats, row after row (C order).
//!
//! The header is a Python dictionary; exactly the three entries that the format names are read, nothing is evaluated.

use super::{Vectors, check_finite, check_shape, narrow};
use anyhow::{Context as _, Result, bail, ensure};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const HEADER_BYTES_MAX: usize = 64 << 10;

pub(super) fn decode(bytes: &[u8]) -> Result<Vectors> {
    let rest = bytes.strip_prefix(MAGIC).context("byte 0: this is no .npy file, it does not start with \\x93NUMPY")?;
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [major @ 1..=3, minor, ..] if *minor != 0 => {
            bail!("byte 7: version {major}.{minor} of the format is not known")
        }
        [1..=3, ..] | [] => bail!("the file ends at byte {} in its header", bytes.len()),
        [major, ..] => bail!("byte 6: version {major} of the format is not known"),
    };
    ensure!(length <= HEADER_BYTES_MAX, "a header of {length} bytes: at most {HEADER_BYTES_MAX} are read");
    let start = bytes.len() - rest.len();
    let (header, data) = rest
        .split_at_checked(length)
        .with_context(|| format!("the file ends at byte {} in its header of {length} bytes", bytes.len()))?;
    let header = parse(header).map_err(|(at, why)| anyhow::anyhow!("byte {}: {why}", start + at))?;
    elements(&header, data, start + length)
}

fn elements(header: &Header, data: &[u8], start: usize) -> Result<Vectors> {
    let [rows, dim] = header.shape[..] else {
        bail!("an array of {} dimensions: two are taken, rows and elements", header.shape.len());
    };
    ensure!(!header.fortran_order, "the array is in Fortran order: save it with np.ascontiguousarray");
    let width = match &*header.descr {
        "<f4" => 4,
        "<f8" => 8,
        other => bail!("elements of type {other}: little-endian floats are taken, <f4 or <f8"),
    };
    check_shape(rows, dim)?;
    let (row_bytes, end) = (dim * width, start + rows * dim * width);
    let found = start + data.len();
    ensure!(found >= end, "row {}: the file ends at byte {found}, it should have {end}", data.len() / row_bytes);
    ensure!(found == end, "byte {end}: {} bytes after the last row", found - end);
    let mut values = Vec::with_capacity(rows * dim);
    for (row, vector) in data.chunks_exact(row_bytes).enumerate() {
        match width {
            4 => values.extend(vector.as_chunks::<4>().0.iter().map(|element| f32::from_le_bytes(*element))),
            _ => values.extend(vector.as_chunks::<8>().0.iter().map(|element| narrow(f64::from_le_bytes(*element)))),
        }
        check_finite(row, &values[row * dim..])?;
    }
    Ok(Vectors { dim, values })
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Where in the header something is wrong, and what.
type Fault = (usize, String);

fn parse(header: &[u8]) -> Result<Header, Fault> {
    let mut input = Input { bytes: header, at: 0 };
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    input.expect(b'{')?;
    while !input.take(b'}') {
        let at = input.at;
        let key = input.text()?;
        input.expect(b':')?;
        let again = match &*key {
            "descr" => descr.replace(input.text()?).is_some(),
            "fortran_order" => fortran_order.replace(input.truth()?).is_some(),
            "shape" => shape.replace(input.tuple()?).is_some(),
            other => return Err((at, format!("the header has an unknown entry {other:?}"))),
        };
        if again {
            return Err((at, format!("the header has {key} twice")));
        }
        if !input.take(b',') {
            input.expect(b'}')?;
            break;
        }
    }
    input.skip_space();
    if input.at < header.len() {
        return Err((input.at, "there is something after the end of the header".to_owned()));
    }
    let lacks = |key: &str| (0, format!("the header does not have {key}"));
    Ok(Header {
        descr: descr.ok_or_else(|| lacks("descr"))?,
        fortran_order: fortran_order.ok_or_else(|| lacks("fortran_order"))?,
        shape: shape.ok_or_else(|| lacks("shape"))?,
    })
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.take(wanted) { Ok(()) } else { Err((self.at, format!("{:?} expected", char::from(wanted)))) }
    }

    /// Bytes as long as they please.
    fn run(&mut self, pleases: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&pleases) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    fn text(&mut self) -> Result<String, Fault> {
        self.skip_space();
        let start = self.at;
        let Some(quote @ (b'\'' | b'"')) = self.peek() else {
            return Err((start, "a text in quotes expected: arrays of records are not taken".to_owned()));
        };
        self.at += 1;
        let text = self.run(|byte| byte != quote && byte != b'\\' && byte.is_ascii_graphic());
        if self.peek() != Some(quote) {
            return Err((self.at, "a text without end".to_owned()));
        }
        self.at += 1;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, Fault> {
        self.skip_space();
        let at = self.at;
        match &*self.run(|byte| byte.is_ascii_alphabetic()) {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err((at, "True or False expected".to_owned())),
        }
    }

    fn tuple(&mut self) -> Result<Vec<usize>, Fault> {
        self.expect(b'(')?;
        let mut numbers = Vec::new();
        while !self.take(b')') {
            self.skip_space();
            let at = self.at;
            let digits = self.run(|byte| byte.is_ascii_digit());
            numbers.push(digits.parse().map_err(|_| (at, "a number of rows or elements expected".to_owned()))?);
            if !self.take(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [MAGIC.as_slice(), &[1, 0], &length, header.as_bytes(), data].concat()
    }

    fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}    \n"), data)
    }

    fn singles(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn doubles(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn arrays_of_both_widths_and_all_versions_come_back() {
        let expected = Vectors { dim: 2, values: vec![1.0, -2.0, 3.5, 4.0] };
        let single = array("<f4", "(2, 2)", &singles(&[1.0, -2.0, 3.5, 4.0]));
        assert_eq!(decode(&single).unwrap(), expected);
        assert_eq!(decode(&array("<f8", "(2, 2)", &doubles(&[1.0, -2.0, 3.5, 4.0]))).unwrap(), expected);
        for version in [2, 3] {
            let mut long = single.clone();
            long[6] = version;
            long.splice(10..10, [0, 0]);
            assert_eq!(decode(&long).unwrap(), expected);
        }
        let double_quotes = r#"{"shape":(2,2),"fortran_order":False,"descr":"<f4"}"#;
        assert_eq!(decode(&file(double_quotes, &singles(&[1.0, -2.0, 3.5, 4.0]))).unwrap(), expected);
    }

    #[test]
    fn a_bad_file_is_refused_with_the_row_or_the_byte() {
        let data = singles(&[1.0, 2.0, 3.0, 4.0]);
        let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
        let header = |text: &str| file(text, &data);
        let version = |major, minor| [MAGIC.as_slice(), &[major, minor, 1, 0, 0, 0, b'{']].concat();
        let table: [(Vec<u8>, &str); 27] = [
            (vec![], "byte 0: this is no .npy file"),
            (b"PAR1....".to_vec(), "byte 0: this is no .npy file"),
            (MAGIC.to_vec(), "the file ends at byte 6 in its header"),
            ([MAGIC.as_slice(), &[1, 0, 9]].concat(), "the file ends at byte 9 in its header"),
            ([MAGIC.as_slice(), &[1, 0, 9, 0, b'{']].concat(), "the file ends at byte 11 in its header of 9 bytes"),
            (version(4, 0), "byte 6: version 4"),
            (version(1, 1), "byte 7: version 1.1"),
            ([MAGIC.as_slice(), &[2, 0, 0, 0, 0, 255]].concat(), "at most 65536 are read"),
            (header(""), "byte 10: '{' expected"),
            (header("{'descr': <f4}"), "byte 20: a text in quotes expected"),
            (header("{'descr': [('a', '<f4')]}"), "byte 20: a text in quotes expected"),
            (header("{'descr"), "byte 17: a text without end"),
            (header("{'descr': '<f4', 'fortran_order': 0}"), "byte 44: True or False expected"),
            (header("{'shape': (2, x)}"), "byte 24: a number of rows"),
            (header("{'shape': (2, -2)}"), "byte 24: a number of rows"),
            (header("{'shape': (2, 99999999999999999999)}"), "byte 24: a number of rows"),
            (header("{'shape': (2, 2), 'shape': (2, 2)}"), "the header has shape twice"),
            (header("{'evil': '1'}"), "unknown entry \"evil\""),
            (header("{'descr': '<f4', 'shape': (2, 2)}"), "the header does not have fortran_order"),
            (header("{} x"), "byte 13: there is something after"),
            (array(">f4", "(2, 2)", &data), "elements of type >f4"),
            (array("<f4", "(4,)", &data), "an array of 1 dimensions"),
            (array("<f4", "(9999999, 9999)", &data), "9,999,999 rows: at most"),
            (cut(&array("<f4", "(2, 2)", &data), 3), "row 1: the file ends at byte"),
            ([array("<f4", "(2, 2)", &data), vec![0]].concat(), "1 bytes after the last row"),
            (array("<f4", "(2, 2)", &singles(&[1.0, 2.0, 3.0, f32::INFINITY])), "row 1: element 1 is inf"),
            (array("<f8", "(2, 2)", &doubles(&[1.0, 2.0, 1e300, 4.0])), "row 1: element 0 is inf"),
        ];
        for (bytes, part) in table {
            let text = decode(&bytes).unwrap_err().to_string();
            assert!(text.contains(part), "{text} / {part}");
        }
        let fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}";
        assert!(decode(&header(fortran)).unwrap_err().to_string().contains("Fortran order"));
    }
}

//! `.fvecs`: for every row its length as a 32-bit integer, then that many 32-bit floats, all little-endian.

use super::{Vectors, check_finite, check_shape};
use anyhow::{Result, bail, ensure};

pub(super) fn decode(bytes: &[u8]) -> Result<Vectors> {
    let Some(head) = bytes.first_chunk::<4>() else {
        bail!("row 0: the file ends at byte {} where the length of a vector should be", bytes.len());
    };
    let dim = length(*head, 0, 0)?;
    // At least as many rows as there can be: how many there are is known when every length is read.
    check_shape(bytes.len().div_ceil(4 + 4 * dim), dim)?;
    let mut values = Vec::with_capacity(bytes.len() / 4);
    let (mut rest, mut row) = (bytes, 0);
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let Some((head, after)) = rest.split_first_chunk::<4>() else {
            bail!("row {row}: the file ends at byte {} in the length of a vector", bytes.len());
        };
        let found = length(*head, row, at)?;
        ensure!(found == dim, "row {row}: {found} elements at byte {at}, the rows before have {dim}");
        let Some((vector, after)) = after.split_at_checked(4 * dim) else {
            let missing = 4 * dim - after.len();
            bail!("row {row}: the file ends at byte {}, {missing} bytes before the end of the row", bytes.len());
        };
        let (elements, _) = vector.as_chunks::<4>();
        values.extend(elements.iter().map(|element| f32::from_le_bytes(*element)));
        check_finite(row, &values[values.len() - dim..])?;
        rest = after;
        row += 1;
    }
    Ok(Vectors { dim, values })
}

fn length(head: [u8; 4], row: usize, at: usize) -> Result<usize> {
    let found = i32::from_le_bytes(head);
    match usize::try_from(found) {
        Ok(dim) if dim > 0 => Ok(dim),
        _ => bail!("row {row}: {found} elements at byte {at}: this is no .fvecs file, or a damaged one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dim: i32, values: &[f32]) -> Vec<u8> {
        let mut bytes = dim.to_le_bytes().to_vec();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let bytes = [row(2, &[1.0, -2.0]), row(2, &[3.0, 4.5])].concat();
        assert_eq!(decode(&bytes).unwrap(), Vectors { dim: 2, values: vec![1.0, -2.0, 3.0, 4.5] });
    }

    #[test]
    fn a_bad_file_is_refused_with_the_row_and_the_byte() {
        let good = row(2, &[1.0, 2.0]);
        let table: [(Vec<u8>, &str); 9] = [
            (vec![], "row 0: the file ends at byte 0"),
            (vec![2, 0], "row 0: the file ends at byte 2"),
            (row(0, &[]), "row 0: 0 elements at byte 0"),
            (row(-5, &[]), "row 0: -5 elements at byte 0"),
            (row(40_000, &[1.0]), "40000 elements a vector: 2 to 32768"),
            ([good.clone(), row(3, &[1.0, 2.0, 3.0])].concat(), "row 1: 3 elements at byte 12, the rows before have 2"),
            ([good.clone(), vec![2, 0, 0]].concat(), "row 1: the file ends at byte 15 in the length"),
            ([good.clone(), row(2, &[1.0])].concat(), "row 1: the file ends at byte 20, 4 bytes before"),
            ([good.clone(), good.clone(), row(2, &[1.0, f32::NAN])].concat(), "row 2: element 1 is NaN"),
        ];
        for (bytes, part) in table {
            let text = decode(&bytes).unwrap_err().to_string();
            assert!(text.contains(part), "{text} / {part}");
        }
    }

    #[test]
    fn too_many_rows_are_refused_before_they_are_read() {
        let bytes = row(2, &[0.0, 0.0]).repeat(1_000_001);
        assert!(decode(&bytes).unwrap_err().to_string().contains("1,000,001 rows"));
    }
}

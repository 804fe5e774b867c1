//! Reads the user's own vectors. A file is taken whole or refused with the row or the byte where it is bad; rows count
//! from 0, as the keys of the collection do.

mod fvecs;
mod npy;
mod parquet;

use crate::dataset::{Dataset, grouped};
use anyhow::{Context as _, Result, bail, ensure};
use std::ops::RangeInclusive;
use std::path::Path;

/// Most rows that are taken.
const ROWS_MAX: usize = 1_000_000;
/// Largest file that is opened, and most bytes that vectors take as 32-bit floats: all of it is held in memory.
const FILE_BYTES_MAX: u64 = 2 << 30;
const VECTOR_BYTES_MAX: usize = 1 << 30;
/// Elements of a vector that the server takes.
const DIM: RangeInclusive<usize> = 2..=32_768;

/// Vectors of one length, row after row.
#[derive(Debug, PartialEq)]
struct Vectors {
    dim: usize,
    values: Vec<f32>,
}

/// Reads a file by the ending of its name.
pub(crate) fn read(path: &Path) -> Result<Dataset> {
    let name = path.display();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    ensure!(matches!(&*ending, "parquet" | "npy" | "fvecs"), "{name}: the name must end in .parquet, .npy or .fvecs");
    let size = std::fs::metadata(path).with_context(|| format!("cannot open {name}"))?.len();
    ensure!(
        size <= FILE_BYTES_MAX,
        "{name}: {} MiB, files of more than {} MiB are not taken: give a part of it",
        size >> 20,
        FILE_BYTES_MAX >> 20
    );
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let dataset = match &*ending {
        "parquet" => parquet::decode(bytes.into(), &file),
        "npy" => npy::decode(&bytes).map(|vectors| plain(&file, vectors)),
        _ => fvecs::decode(&bytes).map(|vectors| plain(&file, vectors)),
    };
    dataset.with_context(|| format!("cannot take {name}"))
}

fn plain(file: &str, vectors: Vectors) -> Dataset {
    Dataset::plain(title(file, &vectors), "vector".to_owned(), vectors.dim, vectors.values)
}

fn title(file: &str, vectors: &Vectors) -> String {
    format!("{} vectors of {file}", grouped(vectors.values.len() / vectors.dim))
}

/// Refuses a table that is too large, before memory is taken for it.
fn check_shape(rows: usize, dim: usize) -> Result<()> {
    ensure!(DIM.contains(&dim), "{dim} elements a vector: {} to {} are taken", DIM.start(), DIM.end());
    ensure!(rows > 0, "it has no rows");
    ensure!(rows <= ROWS_MAX, "{} rows: at most {} are taken", grouped(rows), grouped(ROWS_MAX));
    let bytes = rows.saturating_mul(dim).saturating_mul(size_of::<f32>());
    if bytes > VECTOR_BYTES_MAX {
        bail!("{} MiB of vectors: at most {} MiB are taken", bytes >> 20, VECTOR_BYTES_MAX >> 20);
    }
    Ok(())
}

/// Refuses what is no number, naming its row.
fn check_finite(row: usize, vector: &[f32]) -> Result<()> {
    match vector.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => bail!("row {row}: element {at} is {}", vector[at]),
    }
}

/// A 64-bit float as the server stores it; what does not fit becomes infinite, for [`check_finite`] to find.
#[expect(clippy::cast_possible_truncation, reason = "vectors have 32-bit elements; rounding is what is asked for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_limits() {
        let table = [
            (1, 2, None),
            (ROWS_MAX, 128, None),
            (0, 4, Some("no rows")),
            (1, 1, Some("2 to 32768")),
            (1, 32_769, Some("2 to 32768")),
            (ROWS_MAX + 1, 4, Some("1,000,001 rows: at most 1,000,000")),
            (ROWS_MAX, 32_768, Some("at most 1024 MiB")),
            (usize::MAX, 2, Some("at most 1,000,000")),
        ];
        for (rows, dim, expected) in table {
            let text = check_shape(rows, dim).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(text, None),
                Some(part) => assert!(text.as_deref().is_some_and(|text| text.contains(part)), "{text:?} / {part}"),
            }
        }
    }

    #[test]
    fn a_file_is_refused_by_its_name_or_its_absence_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str| format!("{:#}", read(&dir.path().join(name)).unwrap_err());
        assert!(text("vectors.csv").contains("vectors.csv: the name must end in .parquet, .npy or .fvecs"));
        assert!(text("none.npy").contains("none.npy"));
        std::fs::write(dir.path().join("bad.fvecs"), [1, 2, 3]).unwrap();
        assert!(text("bad.fvecs").contains("bad.fvecs: row 0"), "{}", text("bad.fvecs"));
    }

    #[test]
    fn a_good_file_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.FVECS");
        let row: Vec<u8> = [2_u32, 1.5_f32.to_bits(), 2.5_f32.to_bits()].iter().flat_map(|n| n.to_le_bytes()).collect();
        std::fs::write(&path, row.repeat(3)).unwrap();
        let dataset = read(&path).unwrap();
        assert_eq!((dataset.what.as_str(), dataset.rows(), dataset.dim), ("3 vectors of my.FVECS", 3, 2));
        assert_eq!(dataset.vector(2), [1.5, 2.5]);
    }
}

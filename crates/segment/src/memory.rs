//! How much memory a file may ask for. The Parquet reader reserves what is claimed: for a page, what it says that it is without
//! compression; for a batch, a place for every row that is asked for. Neither may be more than the bytes of the file explain.

use crate::footer;
use arrow::datatypes::{DataType as ArrowType, Schema};
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;

/// What a byte of zstd can become: a block of 128 KiB that is one byte over and over takes four.
const ZSTD_RATIO_MAX: u64 = 1 << 15;
/// What a byte of snappy can become: a copy of 64 bytes takes two.
const SNAPPY_RATIO_MAX: u64 = 32;
/// Memory of one batch that is never too much.
const BATCH_BYTES_MIN: usize = 64 << 20;
/// What a byte of a file may become before its rows are read little by little.
const USUAL_RATIO_MAX: usize = 64;

/// True when no page claims more than its bytes can become. What is not a page at all is left to the reader.
pub(crate) fn explains(file: &[u8], metadata: &ParquetMetaData) -> bool {
    metadata.row_groups().iter().flat_map(|group| group.columns()).all(|chunk| {
        let ratio = match chunk.compression() {
            Compression::UNCOMPRESSED => return true,
            Compression::SNAPPY => SNAPPY_RATIO_MAX,
            // What else there is this reader cannot read.
            _ => ZSTD_RATIO_MAX,
        };
        // As the reader finds them.
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let size = usize::try_from(chunk.compressed_size());
        let pages = usize::try_from(start).ok().and_then(|start| file.get(start..)).unwrap_or_default();
        let pages = size.ok().and_then(|size| pages.get(..size)).unwrap_or(pages);
        all_explained(pages, ratio)
    })
}

fn all_explained(mut pages: &[u8], ratio: u64) -> bool {
    while let Some((size, compressed, rest)) = footer::page_header(pages) {
        if size > compressed.saturating_mul(ratio) {
            return false;
        }
        let next = usize::try_from(compressed).ok().and_then(|compressed| rest.get(compressed..));
        pages = next.unwrap_or_default();
    }
    true
}

/// How many of so many rows may be read at once: all of a usual file, few of one that claims to be much more than it is long.
pub(crate) fn rows_at_once(wanted: &Schema, rows: usize, file_bytes: usize) -> usize {
    let row_bytes: usize = wanted.fields().iter().map(|field| width(field.data_type())).sum();
    let bytes_max = file_bytes.saturating_mul(USUAL_RATIO_MAX).max(BATCH_BYTES_MIN);
    rows.min(bytes_max / row_bytes.max(1)).max(1)
}

/// Bytes for which a place is reserved for each row.
fn width(data_type: &ArrowType) -> usize {
    match data_type {
        ArrowType::FixedSizeList(item, len) => {
            width(item.data_type()).saturating_mul(usize::try_from(*len).unwrap_or(0))
        }
        ArrowType::FixedSizeBinary(len) => usize::try_from(*len).unwrap_or(0),
        other => other.primitive_width().unwrap_or(size_of::<i64>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    /// A header of a page: fields 1 to 3, numbers of 32 bits.
    fn page(uncompressed: u32, compressed: u32) -> Vec<u8> {
        let varint = |value: u32| -> Vec<u8> {
            let mut value = u64::from(value) << 1;
            let mut bytes = Vec::new();
            while value > 0x7f {
                bytes.push((value & 0x7f) as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        [vec![0x15, 0, 0x15], varint(uncompressed), vec![0x15], varint(compressed), vec![0], vec![7; 100]].concat()
    }

    #[test]
    fn a_page_that_claims_more_than_its_bytes_can_become_is_refused() {
        assert!(all_explained(&page(3_000_000, 100), ZSTD_RATIO_MAX));
        assert!(!all_explained(&page(4_000_000, 100), ZSTD_RATIO_MAX));
        assert!(!all_explained(&page(i32::MAX.unsigned_abs(), 100), ZSTD_RATIO_MAX));
        let second = [page(100, 100), page(i32::MAX.unsigned_abs(), 1)].concat();
        assert!(!all_explained(&second, ZSTD_RATIO_MAX));
        // What is no page is refused by the reader.
        assert!(all_explained(b"no page", ZSTD_RATIO_MAX) && all_explained(&[], ZSTD_RATIO_MAX));
    }

    #[test]
    fn a_usual_file_is_read_at_once_and_one_that_claims_too_much_little_by_little() {
        let column = |data_type| Schema::new(vec![Field::new("v", data_type, false)]);
        assert_eq!(rows_at_once(&column(ArrowType::Int64), 1_000_000, 10_000), 1_000_000);
        let wide = column(ArrowType::FixedSizeBinary(65_536));
        assert_eq!(rows_at_once(&wide, 1 << 24, 10_000), 1_024);
        assert_eq!(rows_at_once(&wide, 100_000, 100_000 * 60_000), 100_000);
        let item = std::sync::Arc::new(Field::new_list_field(ArrowType::Float32, false));
        assert_eq!(rows_at_once(&column(ArrowType::FixedSizeList(item, 32_768)), 1 << 24, 10_000), 512);
    }
}

//! Work over the rows of many files: several pieces at a time, small files together, large ones in parts, files that are
//! in memory first. Holds no more files than it works on, so that a collection larger than memory is only slower.

use crate::cache::FileCache;
use crate::cpu::Cpu;
use crate::rows::RowFile;
use crate::view::View;
use elanus_types::Failure;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::ops::Range;
use std::sync::Arc;

/// Rows of one piece of work: enough that starting it costs nothing, few enough that all cores get some.
const PIECE_ROWS_MAX: usize = 1 << 14;
/// Small files of one piece of work.
const PIECE_FILES_MAX: usize = 128;

/// What reading needs beside the view.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) cache: Arc<FileCache>,
    pub(crate) cpu: Cpu,
}

/// Rows of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    file: u32,
    rows: Range<usize>,
}

/// Rows of one file, in memory.
#[derive(Debug)]
pub(crate) struct LoadedPart {
    /// Position in [`View::files`].
    pub(crate) file: u32,
    pub(crate) rows: Range<usize>,
    pub(crate) content: Arc<RowFile>,
}

impl Reader {
    /// Gives every row of these files of the view to `work` once, in pieces. `work` runs off the async threads.
    ///
    /// # Errors
    /// The first failure of a fetch or of `work`.
    pub(crate) async fn scan(
        &self,
        view: &Arc<View>,
        mut files: Vec<u32>,
        work: impl Fn(&[LoadedPart]) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        // What is in memory may have gone when its turn would have come.
        files.sort_by_cached_key(|file| !self.cache.has(view.files[*file as usize].record.file_set));
        let pieces = pieces(files.into_iter().map(|file| (file, view.files[file as usize].keys.len())));
        let work = Arc::new(work);
        stream::iter(pieces)
            .map(Ok::<_, Failure>)
            .map_ok(|piece| {
                let work = Arc::clone(&work);
                async move {
                    let parts = try_join_all(piece.into_iter().map(|part| self.load(view, part))).await?;
                    self.cpu.run(move || work(&parts)).await
                }
            })
            // One more than there are cores is fetching while the others work.
            .try_buffer_unordered(self.cpu.width() + 1)
            .try_collect()
            .await
    }

    async fn load(&self, view: &View, part: Part) -> Result<LoadedPart, Failure> {
        let content = self.cache.rows(&view.schema, &view.files[part.file as usize].record).await?;
        Ok(LoadedPart { file: part.file, rows: part.rows, content })
    }
}

fn pieces(files: impl Iterator<Item = (u32, usize)>) -> Vec<Vec<Part>> {
    let mut pieces = Vec::new();
    let mut open: Vec<Part> = Vec::new();
    let mut open_rows = 0;
    for (file, rows) in files {
        for start in (0..rows).step_by(PIECE_ROWS_MAX) {
            let part = Part { file, rows: start..rows.min(start + PIECE_ROWS_MAX) };
            if open_rows + part.rows.len() > PIECE_ROWS_MAX || open.len() >= PIECE_FILES_MAX {
                pieces.push(std::mem::take(&mut open));
                open_rows = 0;
            }
            open_rows += part.rows.len();
            open.push(part);
        }
    }
    if !open.is_empty() {
        pieces.push(open);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_piece_and_no_piece_is_large(sizes in prop::collection::vec(0_usize..60_000, 0..300)) {
            let pieces = pieces((0..).zip(sizes.iter().copied()));
            let mut next = vec![0; sizes.len()];
            for piece in &pieces {
                prop_assert!(!piece.is_empty() && piece.len() <= PIECE_FILES_MAX);
                prop_assert!(piece.iter().map(|part| part.rows.len()).sum::<usize>() <= PIECE_ROWS_MAX);
                for part in piece {
                    prop_assert_eq!(next[part.file as usize], part.rows.start);
                    next[part.file as usize] = part.rows.end;
                }
            }
            prop_assert_eq!(next, sizes);
        }
    }
}

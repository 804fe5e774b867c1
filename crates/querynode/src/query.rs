//! Rows by a condition, ordered by primary key. Where keys alone decide, no row is read but those that are put out.

use crate::keys::KeyRef;
use crate::output::{rows_at, to_ipc};
use crate::scan::Reader;
use crate::scope::{Condition, Scope};
use crate::topk::{Ranking, TopK};
use crate::view::{RowAt, View};
use elanus_proto::querynode::{QueryRequest, QueryResponse};
use elanus_types::Failure;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::sync::{Arc, Mutex, PoisonError};

/// By primary key; of rows with one key the newest.
struct ByKey<'a>(&'a View);

impl<'a> Ranking for ByKey<'a> {
    type Item = RowAt;
    type Key = KeyRef<'a>;

    fn compare(&self, a: &RowAt, b: &RowAt) -> Ordering {
        self.0.key(*a).cmp(&self.0.key(*b)).then_with(|| self.0.newest_first(*a, *b))
    }

    fn key(&self, item: &RowAt) -> KeyRef<'a> {
        self.0.key(*item)
    }
}

/// Which of the rows in order are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

impl Page {
    /// The page of a request; a limit of -1 is none.
    ///
    /// # Errors
    /// 1100 when a number is negative.
    pub(crate) fn new(offset: i64, limit: i64) -> Result<Self, Failure> {
        let refuse = |what: &str, number: i64| Failure::invalid(format!("{what} is {number}: it must not be negative"));
        let offset = usize::try_from(offset).map_err(|_| refuse("offset", offset))?;
        let limit = match limit {
            -1 => usize::MAX,
            limit => usize::try_from(limit).map_err(|_| refuse("limit", limit))?,
        };
        Ok(Self { offset, limit })
    }

    /// How many rows must be found to know those of the page.
    pub(crate) fn end(self) -> usize {
        self.offset.saturating_add(self.limit)
    }
}

/// Answers a query.
///
/// # Errors
/// When the request is wrong, a file cannot be read, or the answer is too large.
pub(crate) async fn query(reader: &Reader, scope: Scope, request: &QueryRequest) -> Result<QueryResponse, Failure> {
    let page = Page::new(request.offset, request.limit)?;
    let read_ts = u64::try_from(scope.view.ts.0).unwrap_or_default();
    if request.count_only {
        let count = i64::try_from(count(reader, scope).await?).unwrap_or(i64::MAX);
        return Ok(QueryResponse { count, read_ts, ..QueryResponse::default() });
    }
    let (view, columns) = (Arc::clone(&scope.view), scope.columns.clone());
    let mut rows = find(reader, scope, page.end()).await?;
    rows.drain(..page.offset.min(rows.len()));
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let rows = rows_at(reader, &view, rows, columns).await?;
    Ok(QueryResponse { arrow_ipc: to_ipc(reader, rows).await?, count, read_ts })
}

async fn count(reader: &Reader, scope: Scope) -> Result<u64, Failure> {
    let Scope { view, files, condition, .. } = scope;
    match condition {
        Condition::All => Ok(files.iter().map(|file| view.files[*file as usize].visible_rows() as u64).sum()),
        Condition::Keys(keys) => {
            let count = move || {
                let mut count = 0;
                for file in files.iter().map(|file| &view.files[*file as usize]) {
                    keys.join(&file.keys, |_, row| count += u64::from(file.is_visible(row)));
                }
                Ok(count)
            };
            reader.cpu.run(count).await
        }
        Condition::Filter(_) => {
            let count = Arc::new(AtomicU64::new(0));
            let (sum, seen) = (Arc::clone(&count), Arc::clone(&view));
            let work = move |parts: &[crate::scan::LoadedPart]| {
                for part in parts {
                    let file = &seen.files[part.file as usize];
                    let found = condition.select(file, &part.content.batch, part.rows.clone())?;
                    sum.fetch_add(found.len() as u64, Atomic::Relaxed);
                }
                Ok(())
            };
            reader.scan(&view, files, work).await?;
            Ok(count.load(Atomic::Relaxed))
        }
    }
}

/// The first `keep` rows by key, of each key one.
async fn find(reader: &Reader, scope: Scope, keep: usize) -> Result<Vec<RowAt>, Failure> {
    let Scope { view, files, condition, .. } = scope;
    if keep == 0 {
        return Ok(Vec::new());
    }
    match condition {
        Condition::All => reader.cpu.run(move || Ok(first_of_all(&view, &files, keep))).await,
        Condition::Keys(keys) => {
            let find = move || {
                let ranking = ByKey(&view);
                let mut top = TopK::new(keep);
                for file in files {
                    let one = &view.files[file as usize];
                    keys.join(&one.keys, |_, row| {
                        if one.is_visible(row) {
                            top.offer(&ranking, RowAt { file, row });
                        }
                    });
                }
                Ok(top.finish(&ranking))
            };
            reader.cpu.run(find).await
        }
        Condition::Filter(_) => first_by_filter(reader, view, files, condition, keep).await,
    }
}

fn first_of_all(view: &View, files: &[u32], keep: usize) -> Vec<RowAt> {
    let ranking = ByKey(view);
    let mut top = TopK::new(keep);
    for &file in files {
        let one = &view.files[file as usize];
        if keep >= one.keys.len() {
            let visible = (0..).take(one.keys.len()).filter(|row| one.is_visible(*row));
            visible.for_each(|row| top.offer(&ranking, RowAt { file, row }));
            continue;
        }
        for row in one.keys.ascending() {
            if top.bound().is_some_and(|bound| one.keys.key(row) > view.key(bound)) {
                break;
            }
            if one.is_visible(row) {
                top.offer(&ranking, RowAt { file, row });
            }
        }
    }
    top.finish(&ranking)
}

async fn first_by_filter(
    reader: &Reader,
    view: Arc<View>,
    files: Vec<u32>,
    condition: Condition,
    keep: usize,
) -> Result<Vec<RowAt>, Failure> {
    let all = Arc::new(Mutex::new(TopK::new(keep)));
    let (shared, seen) = (Arc::clone(&all), Arc::clone(&view));
    let work = move |parts: &[crate::scan::LoadedPart]| {
        let ranking = ByKey(&seen);
        let bound = shared.lock().unwrap_or_else(PoisonError::into_inner).bound();
        let mut top = TopK::new(keep);
        for part in parts {
            let file = &seen.files[part.file as usize];
            let smallest = file.keys.range().map(|(smallest, _)| smallest);
            if bound.zip(smallest).is_some_and(|(bound, smallest)| smallest > seen.key(bound)) {
                continue;
            }
            for row in condition.select(file, &part.content.batch, part.rows.clone())? {
                top.offer(&ranking, RowAt { file: part.file, row });
            }
        }
        shared.lock().unwrap_or_else(PoisonError::into_inner).merge(&ranking, top);
        Ok(())
    };
    reader.scan(&view, files, work).await?;
    let take = move || {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *all, TopK::new(0)).finish(&ByKey(&view)))
    };
    reader.cpu.run(take).await
}

//! The nearest rows of the nearest groups: rows with the same value of a scalar field are a group, and so are those
//! without one.
//!
//! Exact in two scans: the first finds the nearest row of each of the nearest groups, the second, where a group may have
//! several hits, the nearest rows of those groups alone. Neither keeps more than what the answer needs.

use crate::keys::KeyRef;
use crate::scan::{LoadedPart, Reader};
use crate::scope::{Condition, field};
use crate::search::{Hit, Nearest, Wanted};
use crate::topk::{Ranking, TopK};
use crate::view::View;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType as ArrowType, Int8Type, Int16Type, Int32Type, Int64Type};
use elanus_proto::querynode::SearchRequest;
use elanus_types::Failure;
use elanus_types::schema::CollectionSchema;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What groups are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouping {
    /// Position of the field in the schema.
    column: usize,
    /// Most hits of one group.
    size: usize,
}

/// A value that names a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(Box<str>),
}

/// Numbers of the groups that were seen, so that a hit stays small.
#[derive(Debug, Default)]
struct Groups(Mutex<HashMap<Value, u32>>);

/// A row, and its group.
#[derive(Clone, Copy, Debug)]
struct Member {
    hit: Hit,
    group: u32,
}

/// The nearest row of each group.
struct NearestOfGroups<'a>(Nearest<'a>);

impl Ranking for NearestOfGroups<'_> {
    type Item = Member;
    type Key = u32;

    fn compare(&self, a: &Member, b: &Member) -> Ordering {
        self.0.compare(&a.hit, &b.hit)
    }

    fn key(&self, item: &Member) -> u32 {
        item.group
    }
}

impl Grouping {
    /// What a request asks for, if it asks for groups.
    ///
    /// # Errors
    /// 1100 when rows cannot be grouped by the field.
    pub(crate) fn of(schema: &CollectionSchema, request: &SearchRequest) -> Result<Option<Self>, Failure> {
        if request.group_by_field.is_empty() {
            return Ok(None);
        }
        let (column, field) = field(schema, &request.group_by_field)?;
        let arrow = elanus_segment::arrow_schema(schema);
        if !is_groupable(arrow.field(column).data_type()) || field.data_type.number() == 23 {
            let text = format!("unsupported data type {:?} for group by operator", field.data_type);
            return Err(Failure::invalid(text).context(&field.name));
        }
        let size = usize::try_from(request.group_size.max(1)).unwrap_or(usize::MAX);
        Ok(Some(Self { column, size }))
    }
}

fn is_groupable(data_type: &ArrowType) -> bool {
    use ArrowType::{Boolean, Int8, Int16, Int32, Int64, Utf8};
    matches!(data_type, Boolean | Int8 | Int16 | Int32 | Int64 | Utf8)
}

/// The page of hits of each query.
///
/// # Errors
/// When a file cannot be read.
pub(crate) async fn nearest(
    reader: &Reader,
    view: &Arc<View>,
    files: Vec<u32>,
    condition: Condition,
    wanted: &Arc<Wanted>,
    grouping: Grouping,
) -> Result<Vec<Vec<Hit>>, Failure> {
    let groups = Arc::new(Groups::default());
    let mut pages = first_of_groups(reader, view, files.clone(), condition.clone(), wanted, grouping, &groups).await?;
    for page in &mut pages {
        page.drain(..wanted.page.offset.min(page.len()));
    }
    if grouping.size == 1 {
        return Ok(pages.into_iter().map(|page| page.into_iter().map(|member| member.hit).collect()).collect());
    }
    rows_of_groups(reader, view, files, condition, wanted, grouping, &groups, pages).await
}

/// The nearest row of each group, nearest first, up to the end of the page.
async fn first_of_groups(
    reader: &Reader,
    view: &Arc<View>,
    files: Vec<u32>,
    condition: Condition,
    wanted: &Arc<Wanted>,
    grouping: Grouping,
    groups: &Arc<Groups>,
) -> Result<Vec<Vec<Member>>, Failure> {
    let end = wanted.page.end();
    let all = Arc::new(Mutex::new(wanted.empty::<Member>(end)));
    let (shared, seen, what, groups) = (Arc::clone(&all), Arc::clone(view), Arc::clone(wanted), Arc::clone(groups));
    let work = move |parts: &[LoadedPart]| {
        let ranking = NearestOfGroups(Nearest(&seen));
        let mut tops = what.empty(end);
        let bounds: Vec<f32> = {
            let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.iter().map(|top| top.bound().map_or(f32::INFINITY, |bound| bound.hit.distance)).collect()
        };
        for part in parts {
            let rows = condition.select(&seen.files[part.file as usize], &part.content.batch, part.rows.clone())?;
            let column = part.content.batch.column(grouping.column);
            what.compare(part, &rows, &bounds, |query, hit| {
                let group = groups.number(value(column.as_ref(), hit.at.row as usize));
                tops[query].offer(&ranking, Member { hit, group });
            })?;
        }
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (all, top) in shared.iter_mut().zip(tops) {
            all.merge(&ranking, top);
        }
        Ok(())
    };
    reader.scan(view, files, work).await?;
    let view = Arc::clone(view);
    let finish = move || {
        let tops = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tops.into_iter().map(|top| top.finish(&NearestOfGroups(Nearest(&view)))).collect())
    };
    reader.cpu.run(finish).await
}

/// The nearest rows of each of these groups, group by group.
#[expect(clippy::too_many_arguments, reason = "the second half of one function")]
async fn rows_of_groups(
    reader: &Reader,
    view: &Arc<View>,
    files: Vec<u32>,
    condition: Condition,
    wanted: &Arc<Wanted>,
    grouping: Grouping,
    groups: &Arc<Groups>,
    pages: Vec<Vec<Member>>,
) -> Result<Vec<Vec<Hit>>, Failure> {
    // The groups of each query in their order, with the place of each in it.
    let places: Vec<HashMap<u32, usize>> =
        pages.iter().map(|page| (0..).zip(page).map(|(place, member)| (member.group, place)).collect()).collect();
    let empty = move |places: &[HashMap<u32, usize>]| -> Vec<Vec<TopK<Hit>>> {
        places.iter().map(|of_query| of_query.iter().map(|_| TopK::new(grouping.size)).collect()).collect()
    };
    let all = Arc::new(Mutex::new(empty(&places)));
    let (shared, seen, what, groups) = (Arc::clone(&all), Arc::clone(view), Arc::clone(wanted), Arc::clone(groups));
    let work = move |parts: &[LoadedPart]| {
        let ranking = Nearest(&seen);
        let mut tops = empty(&places);
        let bounds = vec![f32::INFINITY; places.len()];
        for part in parts {
            let rows = condition.select(&seen.files[part.file as usize], &part.content.batch, part.rows.clone())?;
            let column = part.content.batch.column(grouping.column);
            what.compare(part, &rows, &bounds, |query, hit| {
                let group = groups.known(&value(column.as_ref(), hit.at.row as usize));
                if let Some(place) = group.and_then(|group| places[query].get(&group)) {
                    tops[query][*place].offer(&ranking, hit);
                }
            })?;
        }
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (all, top) in shared.iter_mut().flatten().zip(tops.into_iter().flatten()) {
            all.merge(&ranking, top);
        }
        Ok(())
    };
    reader.scan(view, files, work).await?;
    let view = Arc::clone(view);
    let finish = move || {
        let tops = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tops.into_iter().map(|of_query| one_of_each_key(&view, of_query)).collect())
    };
    reader.cpu.run(finish).await
}

/// The hits of a query, group by group; a key that is in several groups only where it comes first.
fn one_of_each_key(view: &View, groups: Vec<TopK<Hit>>) -> Vec<Hit> {
    let mut seen: HashSet<KeyRef<'_>> = HashSet::new();
    let hits = groups.into_iter().flat_map(|top| top.finish(&Nearest(view)));
    hits.filter(|hit| seen.insert(view.key(hit.at))).collect()
}

impl Groups {
    fn number(&self, value: Value) -> u32 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        *known.entry(value).or_insert(next)
    }

    fn known(&self, value: &Value) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(value).copied()
    }
}

/// The value of a row; [`is_groupable`] says of which columns.
fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        ArrowType::Boolean => Value::Bool(column.as_boolean().value(row)),
        ArrowType::Int8 => Value::Int(column.as_primitive::<Int8Type>().value(row).into()),
        ArrowType::Int16 => Value::Int(column.as_primitive::<Int16Type>().value(row).into()),
        ArrowType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(row).into()),
        ArrowType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        ArrowType::Utf8 => Value::Text(column.as_string::<i32>().value(row).into()),
        _ => Value::Null,
    }
}

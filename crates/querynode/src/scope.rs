//! What a request reads: a view, its files, a filter, fields. Everything that a user can get wrong is refused here.

use crate::keys::KeySet;
use crate::view::FileView;
use crate::view::View;
use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use elanus_filter::{Filter, PkList, params_from_json};
use elanus_proto::convert::template_params;
use elanus_proto::querynode::ReadScope;
use elanus_segment::PkColumn;
use elanus_types::Failure;
use elanus_types::schema::{CollectionSchema, FieldSchema};
use std::ops::Range;
use std::sync::Arc;

/// What a request reads.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) view: Arc<View>,
    /// Positions in [`View::files`].
    pub(crate) files: Vec<u32>,
    pub(crate) condition: Condition,
    /// Positions in the schema of what is put out.
    pub(crate) columns: Vec<usize>,
}

/// Which visible rows match.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Each.
    All,
    /// Those with one of these keys, and no others.
    Keys(Arc<KeySet>),
    /// Those for which the filter says so.
    Filter(Arc<Filter>),
}

impl Scope {
    /// Checks a request against the view that it reads.
    ///
    /// # Errors
    /// 1100 when a field is unknown or the filter is wrong.
    pub(crate) fn new(view: Arc<View>, request: &ReadScope) -> Result<Self, Failure> {
        let columns = request.output_fields.iter().map(|name| Ok(field(&view.schema, name)?.0));
        let columns = columns.collect::<Result<_, Failure>>()?;
        let condition = Condition::parse(&view.schema, request)?;
        let wanted = |file: &FileView| {
            request.partition_ids.is_empty() || request.partition_ids.contains(&file.record.partition.0)
        };
        let files = (0..).zip(&view.files).filter(|(_, file)| file.visible_rows() > 0 && wanted(file));
        let files = files.map(|(at, _)| at).collect();
        Ok(Self { view, files, condition, columns })
    }
}

impl Condition {
    fn parse(schema: &CollectionSchema, request: &ReadScope) -> Result<Self, Failure> {
        let filter =
            Filter::parse(&request.filter, schema, &params_from_json(template_params(&request.filter_params)?)?)?;
        if filter.is_always_true() {
            return Ok(Self::All);
        }
        let keys = match filter.primary_keys() {
            Some(PkList::Ints(keys)) => PkColumn::Int(keys.clone()),
            Some(PkList::Strings(keys)) => PkColumn::Str(keys.clone()),
            None => return Ok(Self::Filter(Arc::new(filter))),
        };
        Ok(Self::Keys(Arc::new(KeySet::new(keys))))
    }

    /// The visible rows of a part of a file that match, ascending.
    ///
    /// # Errors
    /// When the filter cannot be applied: a bug.
    pub(crate) fn select(&self, file: &FileView, batch: &RecordBatch, rows: Range<usize>) -> Result<Vec<u32>, Failure> {
        if let Self::Keys(keys) = self {
            let mut found = Vec::new();
            keys.join(&file.keys, |_, row| {
                if rows.contains(&(row as usize)) && file.is_visible(row) {
                    found.push(row);
                }
            });
            found.sort_unstable();
            return Ok(found);
        }
        let start = u32::try_from(rows.start).map_err(|e| Failure::internal(e.to_string()))?;
        Ok(match self.mask(file, batch, rows.clone())? {
            Some(mask) => set_rows(&mask, start),
            None => (start..).take(rows.len()).collect(),
        })
    }

    /// The same rows as bits, one a row of the part; `None` when all of them match. Keys are no condition for this.
    ///
    /// # Errors
    /// When the filter cannot be applied: a bug.
    pub(crate) fn mask(
        &self,
        file: &FileView,
        batch: &RecordBatch,
        rows: Range<usize>,
    ) -> Result<Option<BooleanBuffer>, Failure> {
        let visible = file.visible().map(|visible| visible.slice(rows.start, rows.len()));
        Ok(match self {
            Self::All | Self::Keys(_) => visible,
            Self::Filter(filter) => {
                let mask = filter.mask(&batch.slice(rows.start, rows.len()))?.values().clone();
                Some(match visible {
                    Some(visible) => &mask & &visible,
                    None => mask,
                })
            }
        })
    }
}

fn set_rows(mask: &BooleanBuffer, start: u32) -> Vec<u32> {
    // A word of bits at a time: of a selective filter most are empty.
    mask.set_indices_u32().map(|row| start + row).collect()
}

/// A field and its position.
///
/// # Errors
/// 1100 when there is none of this name.
pub(crate) fn field<'a>(schema: &'a CollectionSchema, name: &str) -> Result<(usize, &'a FieldSchema), Failure> {
    let found = schema.fields.iter().enumerate().find(|(_, field)| field.name == name);
    found.ok_or_else(|| Failure::invalid(format!("field {name} does not exist")))
}

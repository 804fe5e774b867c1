//! Hits in groups: what a request asks for.

use super::options::Options;
use crate::indexes::kinds::type_name;
use elanus_types::{Failure, schema::CollectionSchema};

/// Most hits that a request may ask for of one group.
const SIZE_MAX: i64 = 10;

/// What groups are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grouping {
    /// A scalar field.
    pub(super) field: String,
    /// Most hits of one group. That a group has fewer only where there are fewer is promised anyway, so that
    /// `strict_group_size` changes nothing.
    pub(super) size: i64,
}

impl Grouping {
    /// # Errors
    /// 1100 in the words of Milvus.
    pub(super) fn of(options: &Options, schema: &CollectionSchema) -> Result<Option<Self>, Failure> {
        let Some(name) = options.text("group_by_field") else { return Ok(None) };
        let field = schema.field(name).ok_or_else(|| {
            Failure::invalid(format!("groupBy field not found in schema: field not found[field={name}]"))
        })?;
        if !matches!(field.data_type.number(), 1..=5 | 21) {
            let ty = type_name(field.data_type);
            return Err(Failure::invalid(format!("unsupported data type {ty} for group by operator")));
        }
        let size = match options.text("group_size") {
            None => 1,
            Some(text) => {
                text.parse().map_err(|_| Failure::invalid(format!("failed to parse input group size:{text}")))?
            }
        };
        if size <= 0 {
            let text = format!("input group size:{size} is negative, failed to do search_groupby");
            return Err(Failure::invalid(text));
        }
        if size > SIZE_MAX {
            let text = format!("input group size:{size} exceeds configured max group size:{SIZE_MAX}");
            return Err(Failure::invalid(text));
        }
        if options.is_set("iterator") {
            return Err(Failure::invalid("Not allowed to do groupBy when doing iteration"));
        }
        if options.text("radius").is_some() {
            return Err(Failure::invalid("Not allowed to do range-search when doing search-group-by"));
        }
        Ok(Some(Self { field: field.name.clone(), size }))
    }
}

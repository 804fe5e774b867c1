//! What the modules that move state machines have in common. No statements.

use crate::error::{MetaError, Result};
use elanus_lifecycle::{CorruptRow, Refusal};
use elanus_types::Failure;
use sqlx::any::AnyRow;

/// What the sender of a refused event is told.
pub(crate) fn refused(refusal: &Refusal) -> MetaError {
    if refusal.is_bug() {
        return MetaError::Corrupt(refusal.to_string());
    }
    MetaError::Refused(Failure::invalid(refusal.to_string()))
}

/// True for an error that concerns one thing alone, so that a round over many goes on without it (O-1).
pub(crate) fn concerns_one(error: &MetaError) -> bool {
    matches!(error, MetaError::Refused(_) | MetaError::Corrupt(_))
}

/// The things of a list, those aside whose row is corrupt: one such row must not hide the others (O-1).
pub(crate) fn readable<T>(rows: &[AnyRow], read: impl Fn(&AnyRow) -> Result<T>) -> Result<Vec<T>> {
    let mut things = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(thing) => things.push(thing),
            Err(error) if concerns_one(&error) => tracing::error!(%error, "a row is passed over"),
            Err(error) => return Err(error),
        }
    }
    Ok(things)
}

impl From<CorruptRow> for MetaError {
    fn from(row: CorruptRow) -> Self {
        Self::Corrupt(row.to_string())
    }
}

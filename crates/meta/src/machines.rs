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

/// Moves of this machine, with the labels `from`, `to` and `event`.
pub(crate) fn transitions_metric(machine: &'static str) -> String {
    format!("elanus_{machine}_transitions_total")
}

impl From<CorruptRow> for MetaError {
    fn from(row: CorruptRow) -> Self {
        Self::Corrupt(row.to_string())
    }
}

#[cfg(test)]
mod tests {
    use elanus_lifecycle::{file_set, restore_job, segment, snapshot, task};

    /// The labels of a table's state, in the order of its CHECK.
    fn checked(constraint: &str) -> Vec<&'static str> {
        checked_in(include_str!("../migrations/0001_first.sql"), constraint)
    }

    fn checked_in(schema: &'static str, constraint: &str) -> Vec<&'static str> {
        let (_, check) = schema.split_once(&format!("CONSTRAINT {constraint} CHECK (CASE state")).unwrap();
        let (check, _) = check.split_once("END)").unwrap();
        check.split("WHEN '").skip(1).map(|rest| rest.split_once('\'').unwrap().0).collect()
    }

    #[test]
    fn the_schema_knows_every_state_of_every_machine() {
        assert_eq!(checked("file_sets_state"), file_set::State::LABELS);
        assert_eq!(checked("restore_jobs_state"), restore_job::State::LABELS);
        assert_eq!(checked("copy_tasks_state"), task::State::LABELS);
        let compactions = include_str!("../migrations/0010_compaction.sql");
        assert_eq!(checked_in(compactions, "compactions_state"), task::State::LABELS);
        let builds = include_str!("../migrations/0024_index_builds.sql");
        assert_eq!(checked_in(builds, "index_builds_state"), task::State::LABELS);
        let of_its_own = |label: &&&str| !["gone", "accepted"].contains(*label);
        let in_schema: Vec<_> = snapshot::State::LABELS.iter().filter(of_its_own).copied().collect();
        assert_eq!(checked("snapshots_state"), in_schema, "what is gone has no row; what is accepted has a mark");
        let schema = include_str!("../migrations/0001_first.sql");
        assert_eq!(segment::State::LABELS, ["growing", "flushed", "dropped"]);
        assert!(schema.contains("CHECK (state IN ('growing', 'flushed', 'dropped'))"));
    }
}

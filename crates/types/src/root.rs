//! Why nothing is deleted below a root path, until a person or a reconciliation says otherwise.

use serde::{Deserialize, Serialize};

/// A hold on all deletes that outlives the process. Kept in the owner's marker and mirrored in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootHold {
    /// The marker knows more than the metadata: the metadata was restored from a backup and may have forgotten what it
    /// needs, or may believe that it still owns what it gave up.
    Restored,
    /// The root path was taken from another cluster, and nobody has said yet what becomes of that cluster's objects.
    Quarantined,
}

impl RootHold {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Restored, Self::Quarantined];

    /// As in the marker and the metadata.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Quarantined => "quarantined",
        }
    }

    /// The hold with this label.
    #[must_use]
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hold| hold.label() == label)
    }
}

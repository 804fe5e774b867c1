//! How a restore makes its target.

use crate::Failure;
use std::fmt;

/// How the target of a restore gets its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestoreMode {
    /// It shares the files of the source: no byte moves.
    Clone,
    /// It gets files of its own.
    Copy,
}

impl RestoreMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Clone, Self::Copy];

    /// Its name everywhere: metadata store, calls, command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Copy => "copy",
        }
    }

    /// The mode with this name.
    ///
    /// # Errors
    /// 1100 when there is none.
    pub fn parse(label: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|mode| mode.label() == label);
        found.ok_or_else(|| Failure::invalid(format!("{label:?} is no restore mode, give clone or copy")))
    }
}

impl fmt::Display for RestoreMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_known_by_its_name_only() {
        for mode in RestoreMode::ALL {
            assert_eq!(RestoreMode::parse(&mode.to_string()), Ok(mode));
        }
        for wrong in ["", "Clone", "move", " copy"] {
            assert_eq!(RestoreMode::parse(wrong).unwrap_err().code.number(), 1100, "{wrong}");
        }
    }
}

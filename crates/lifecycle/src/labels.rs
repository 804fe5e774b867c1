//! Macros that write the name of every state, effect and event once, so that no list of names can miss one.

/// `label()` and `LABELS` of an enum.
macro_rules! labels {
    ($ty:ident { $($pat:pat => $label:literal),* $(,)? }) => {
        impl $ty {
            /// The name of every variant, in the order of [`Self::label`].
            pub const LABELS: &[&str] = &[$($label),*];

            /// The variant's name in the metadata store, in metrics and in messages.
            #[must_use]
            pub fn label(&self) -> &'static str {
                match self {
                    $($pat => $label,)*
                }
            }
        }
    };
}

/// `name()`, `sender()` and `NAMES` of an enum of events.
macro_rules! events {
    ($ty:ident { $($pat:pat => ($name:literal, $sender:literal)),* $(,)? }) => {
        impl $ty {
            /// The name of every event, in the order of [`Self::name`].
            pub const NAMES: &[&str] = &[$($name),*];

            /// The event's name in metrics and in the history.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $($pat => $name,)*
                }
            }

            /// Who sends it.
            #[must_use]
            pub fn sender(&self) -> &'static str {
                match self {
                    $($pat => $sender,)*
                }
            }
        }
    };
}

pub(crate) use {events, labels};

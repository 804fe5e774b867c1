//! One trace for one request, wherever it goes: through calls, rows and tasks.
//!
//! * [`span!`]: a step of a request; may be the first one, then it begins a trace.
//! * [`inner!`]: a step that is told only as part of a request: background tasks do the same things all day.
//! * [`many!`]: one of many like it. Of one parent so many are told, the others are not: [`MANY_MAX`].
//! * [`continued!`]: a step of a request that was left in a row or a message: see [`TraceParent`].
//! * [`note`], [`event!`], [`fail`], [`failed`]: what is told about the present step; [`span_failed`]: about another one.
//! * [`inject`], [`extract`]: the way through headers.
//!
//! TR-1  Who runs without an exporter pays for nothing here: all of it is a look at a flag.
//! TR-2  No step depends on being traced. What is not a trace context is passed over, and no error comes from here.
//! TR-3  Names of spans are constants; what differs is in attributes.
//! TR-4  How much a trace may hold does not depend on how many files a request touches.
//!
//! Who wants the spans decides the program: `elanus_runtime::telemetry`. Log lines do not show them; they have their ids.

mod context;
mod headers;

pub use context::{TraceParent, attach, current, fail, failed, is_on, note, span_failed, switch_on};
pub use headers::{extract, inject};
pub use opentelemetry::{Context, Value};
#[doc(hidden)]
pub use tracing;
pub use tracing::{Instrument, Span};

/// Target of what [`span!`] and [`event!`] make. No target of a log begins like this.
pub const SPAN: &str = "span";
/// Target of what [`inner!`] makes.
pub const INNER: &str = "span.inner";
/// Target of what [`many!`] makes.
pub const MANY: &str = "span.many";
/// Spans of [`many!`] that one parent has at most (TR-4).
pub const MANY_MAX: u32 = 32;

/// A step of a request. With no step around it, it begins a trace.
#[macro_export]
macro_rules! span {
    ($($what:tt)*) => { $crate::tracing::info_span!(target: "span", $($what)*) };
}

/// A step that is told only inside another one.
#[macro_export]
macro_rules! inner {
    ($($what:tt)*) => { $crate::tracing::info_span!(target: "span.inner", $($what)*) };
}

/// One of many steps of the same kind: told only inside another one, and of each parent the first [`MANY_MAX`](crate::MANY_MAX).
#[macro_export]
macro_rules! many {
    ($($what:tt)*) => { $crate::tracing::info_span!(target: "span.many", $($what)*) };
}

/// A step that continues what `parent`, an `Option<&TraceParent>`, left; nothing where nothing was left.
#[macro_export]
macro_rules! continued {
    ($parent:expr, $($what:tt)*) => {
        match $parent {
            Some(parent) if $crate::is_on() => {
                let span = $crate::span!($($what)*);
                $crate::attach(&span, $crate::TraceParent::context(parent));
                span
            }
            _ => $crate::Span::none(),
        }
    };
}

/// Something that happened in the present step. Not a log line.
#[macro_export]
macro_rules! event {
    ($($what:tt)*) => { $crate::tracing::info!(target: "span", $($what)*) };
}

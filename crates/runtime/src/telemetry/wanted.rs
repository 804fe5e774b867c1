//! Which spans and events become part of a trace.

use elanus_trace::{INNER, MANY, MANY_MAX, SPAN};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// Spans of `elanus_trace`, and what is logged inside of them. What libraries tell of themselves is not wanted.
pub(super) struct Wanted;

/// Of a parent: how many spans of [`MANY`] it has.
struct Many(u32);

enum Kind {
    Always,
    Never,
    Inside,
    Some,
}

fn kind(metadata: &Metadata<'_>) -> Kind {
    if *metadata.level() > Level::INFO {
        return Kind::Never;
    }
    match metadata.target() {
        SPAN => Kind::Always,
        INNER => Kind::Inside,
        MANY => Kind::Some,
        // An event outside of a span goes nowhere.
        target if metadata.is_event() && target.starts_with("elanus") => Kind::Always,
        _ => Kind::Never,
    }
}

impl<S> Filter<S> for Wanted
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn enabled(&self, metadata: &Metadata<'_>, ctx: &Context<'_, S>) -> bool {
        match kind(metadata) {
            Kind::Always => true,
            Kind::Never => false,
            Kind::Inside => ctx.lookup_current().is_some(),
            Kind::Some => ctx.lookup_current().is_some_and(|parent| {
                let mut extensions = parent.extensions_mut();
                if extensions.get_mut::<Many>().is_none() {
                    extensions.insert(Many(0));
                }
                extensions.get_mut::<Many>().is_some_and(|many| {
                    many.0 = many.0.saturating_add(1);
                    many.0 <= MANY_MAX
                })
            }),
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match kind(metadata) {
            Kind::Always => Interest::always(),
            Kind::Never => Interest::never(),
            Kind::Inside | Kind::Some => Interest::sometimes(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::span::{Attributes, Id};
    use tracing_subscriber::{Layer, layer::SubscriberExt as _, registry};

    /// Names of spans, in their order.
    #[derive(Clone, Default)]
    struct Names(Arc<Mutex<Vec<&'static str>>>);

    impl<S: Subscriber> Layer<S> for Names {
        fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.0.lock().unwrap().push(span.metadata().name());
        }
    }

    #[test]
    fn tr_4_a_trace_has_what_belongs_to_it_and_not_everything() {
        let names = Names::default();
        let subscriber = registry().with(names.clone().with_filter(Wanted));
        tracing::subscriber::with_default(subscriber, || {
            drop((elanus_trace::inner!("nobody's"), elanus_trace::many!("nobody's")));
            let outer = elanus_trace::span!("outer").entered();
            for _ in 0..3 * MANY_MAX {
                drop(elanus_trace::many!("one of many"));
            }
            drop((elanus_trace::inner!("inner"), tracing::info_span!("a library's")));
            drop(outer);
            elanus_trace::span!("another").in_scope(|| drop(elanus_trace::many!("one of few")));
        });
        let names = names.0.lock().unwrap();
        let many = names.iter().filter(|name| **name == "one of many").count();
        assert_eq!(many, usize::try_from(MANY_MAX).unwrap());
        let others: Vec<_> = names.iter().filter(|name| **name != "one of many").collect();
        assert_eq!(others, [&"outer", &"inner", &"another", &"one of few"]);
    }
}

//! The trace in the headers of a call: `traceparent` and `tracestate` of the W3C recommendation.

use crate::context::{TraceParent, is_on};
use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TraceState};
use std::str::FromStr as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Says in the headers of a call that it is part of `span`; of the present step where nobody wants this span.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    if !is_on() {
        return;
    }
    let context = if span.is_disabled() { Context::current() } else { span.context() };
    let context = context.span().span_context().clone();
    let Some(parent) = TraceParent::of(&context) else { return };
    if let Ok(value) = HeaderValue::try_from(parent.to_string()) {
        headers.insert(PARENT, value);
    }
    match HeaderValue::try_from(context.trace_state().header()) {
        Ok(value) if !value.is_empty() => headers.insert(STATE, value),
        _ => headers.remove(STATE),
    };
}

/// The step that a call is part of, where its headers say so.
#[must_use]
pub fn extract(headers: &HeaderMap) -> Option<Context> {
    if !is_on() {
        return None;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parent: TraceParent = text(PARENT)?.parse().ok()?;
    let state = text(STATE).and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    Some(parent.with_state(state).context())
}

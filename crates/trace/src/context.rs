//! The present step, and where a later one goes on.

use opentelemetry::trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

static ON: AtomicBool = AtomicBool::new(false);

/// True when somebody wants spans.
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// From now on somebody does. For the program, once.
pub fn switch_on() {
    ON.store(true, Ordering::Relaxed);
}

/// A step of a trace as text, version 00 of the W3C recommendation: what rows and messages carry, so that whoever goes on
/// with them goes on with the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(SpanContext);

/// A text is no trace parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATraceParent;

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// Takes later versions as what they begin with, as the recommendation wants.
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags, rest @ ..] = parts.as_slice() else { return Err(NotATraceParent) };
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let is_version = hex(version, 2) && *version != "ff" && (rest.is_empty() || *version != "00");
        if !(is_version && hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
            return Err(NotATraceParent);
        }
        let trace = TraceId::from_hex(trace).map_err(|_| NotATraceParent)?;
        let span = SpanId::from_hex(span).map_err(|_| NotATraceParent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NotATraceParent)?;
        let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
        Self::of(&SpanContext::new(trace, span, flags, true, TraceState::NONE)).ok_or(NotATraceParent)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(context) = self;
        let sampled = u8::from(context.is_sampled());
        write!(f, "00-{}-{}-{sampled:02x}", context.trace_id(), context.span_id())
    }
}

impl fmt::Display for NotATraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a traceparent: two, 32, 16 and two hexadecimal digits are wanted, with - between them")
    }
}

impl std::error::Error for NotATraceParent {}

impl TraceParent {
    /// This step, when it is one.
    pub(crate) fn of(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self(context.clone()))
    }

    /// With what the vendors of the trace said.
    pub(crate) fn with_state(self, state: TraceState) -> Self {
        let Self(context) = self;
        Self(SpanContext::new(context.trace_id(), context.span_id(), context.trace_flags(), true, state))
    }

    /// What a span becomes a part of by [`attach`].
    #[must_use]
    pub fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }

    /// Id of the trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Id of the step, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.0.span_id().to_string()
    }
}

/// The present step, for whoever goes on with it later. `None` outside of traces.
#[must_use]
pub fn current() -> Option<TraceParent> {
    if !is_on() {
        return None;
    }
    Context::map_current(|context| TraceParent::of(context.span().span_context()))
}

/// Makes a span that has not been entered yet a part of the step in `context`.
pub fn attach(span: &Span, context: Context) {
    // Refused where nobody wants the span (TR-2).
    let _ = span.set_parent(context);
}

/// Tells something about the present step.
pub fn note(key: &'static str, value: impl Into<Value>) {
    if is_on() {
        Context::map_current(|context| context.span().set_attribute(KeyValue::new(key, value.into())));
    }
}

/// The present step failed.
pub fn failed(why: &str) {
    if is_on() {
        Context::map_current(|context| context.span().set_status(Status::error(why.to_owned())));
    }
}

/// This step failed; nothing where nobody wants it.
pub fn span_failed(span: &Span, why: &str) {
    if !span.is_disabled() {
        span.set_status(Status::error(why.to_owned()));
    }
}

/// The present step failed, with this code of the Milvus API.
pub fn fail(code: i32, why: &str) {
    failed(why);
    note("elanus.code", i64::from(code));
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_parent_is_the_same_after_a_way_through_text() {
        for text in [WHOLE, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        }
        let later = format!("{}-more", WHOLE.replacen("00", "cc", 1));
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), WHOLE, "a later version");
        let flags = WHOLE.replace("-01", "-ff");
        assert_eq!(flags.parse::<TraceParent>().unwrap().to_string(), WHOLE, "flags of others are not repeated");
    }

    #[test]
    fn what_is_no_trace_parent_is_refused() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NotATraceParent), "{bad}");
        }
    }

    #[test]
    fn outside_of_traces_nothing_is_left_behind() {
        assert_eq!(current(), None);
        note("key", 1);
        fail(5, "why");
    }
}

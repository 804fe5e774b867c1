//! Log lines with the ids of the trace that they are part of, so that one leads to the other.

use std::fmt::{self, Write as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines of `inner`, with ids where there are any.
pub(super) struct WithIds<F> {
    pub(super) inner: F,
    pub(super) json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(step) = elanus_trace::current() else { return self.inner.format_event(ctx, writer, event) };
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", with_ids(&line, self.json, &step.trace_id(), &step.span_id()))
    }
}

fn with_ids(line: &str, json: bool, trace: &str, span: &str) -> String {
    let line = line.trim_end_matches('\n');
    let mut told = match line.strip_suffix('}').filter(|_| json) {
        Some(object) => format!("{object},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}"),
        None => line.to_owned(),
    };
    if !json {
        let _ = write!(told, " trace_id={trace} span_id={span}"); // a String takes everything
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_what_it_is_and_has_the_ids() {
        assert_eq!(with_ids("INFO a b=1\n", false, "t", "s"), "INFO a b=1 trace_id=t span_id=s");
        let told = with_ids("{\"level\":\"INFO\",\"b\":{}}\n", true, "t", "s");
        let read: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(read, serde_json::json!({"level": "INFO", "b": {}, "trace_id": "t", "span_id": "s"}));
    }
}

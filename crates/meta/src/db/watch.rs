//! What is told about a transaction: a span where a request is traced, and its time for metrics.

use elanus_trace::Span;
use std::time::{Duration, Instant};

/// Pieces of the summary that a span has at most.
const SUMMARY_MAX: usize = 12;

/// A transaction from the wish for a connection to its end.
pub(super) struct Watch {
    kind: &'static str,
    span: Span,
    asked: Instant,
    statements: u32,
    /// `UPDATE restore_jobs`, …: each once, and only where somebody is told.
    summary: Vec<String>,
    ended: &'static str,
}

impl Watch {
    /// `kind` is `write` or `read`, `engine` the name that OpenTelemetry has for the store.
    pub(super) fn begin(kind: &'static str, engine: &'static str) -> Self {
        let span = elanus_trace::inner!(
            "meta.transaction",
            otel.name = if kind == "write" { "meta.write" } else { "meta.read" },
            otel.kind = "client",
            db.system.name = engine,
            db.query.summary = tracing::field::Empty,
            elanus.statements = tracing::field::Empty,
            elanus.wait_ms = tracing::field::Empty,
            elanus.ended = tracing::field::Empty,
        );
        // Dropped without a commit, a transaction that reads has done what it should, and one that writes nothing.
        let ended = if kind == "write" { "rolled back" } else { "read" };
        Self { kind, span, asked: Instant::now(), statements: 0, summary: Vec::new(), ended }
    }

    /// There is a connection, and the transaction has begun.
    pub(super) fn begun(&self) {
        let waited = self.asked.elapsed();
        metrics::histogram!("elanus_meta_wait_seconds", "kind" => self.kind).record(waited.as_secs_f64());
        self.span.record("elanus.wait_ms", millis(waited));
    }

    /// There was none, or it did not begin.
    pub(super) fn not_begun(mut self, error: &sqlx::Error) {
        self.failed(error);
        self.ended = "not begun";
    }

    pub(super) fn statement(&mut self, sql: &str) {
        self.statements += 1;
        if !self.span.is_disabled() && self.summary.len() < SUMMARY_MAX {
            let piece = summary(sql);
            if !self.summary.contains(&piece) {
                self.summary.push(piece);
            }
        }
    }

    pub(super) fn failed(&mut self, error: &sqlx::Error) {
        self.ended = "failed";
        elanus_trace::span_failed(&self.span, &error.to_string());
    }

    pub(super) fn committed(&mut self) {
        self.ended = "committed";
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let took = self.asked.elapsed().as_secs_f64();
        let (kind, ended) = (self.kind, self.ended);
        metrics::counter!("elanus_meta_transactions_total", "ended" => ended, "kind" => kind).increment(1);
        metrics::histogram!("elanus_meta_transaction_duration_seconds", "kind" => kind).record(took);
        if !self.span.is_disabled() {
            self.span.record("db.query.summary", self.summary.join("; "));
            self.span.record("elanus.statements", self.statements);
            self.span.record("elanus.ended", ended);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a statement does, and to which table: no values, so that there are few of them.
fn summary(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let table = match verb.as_str() {
        "UPDATE" => words.next(),
        "SELECT" | "DELETE" | "WITH" => words.skip_while(|word| *word != "FROM").nth(1),
        _ => words.skip_while(|word| *word != "INTO").nth(1),
    };
    let table = table.unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
    if table.is_empty() || table == "SELECT" { verb } else { format!("{verb} {table}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_summed_up_by_verb_and_table() {
        for (sql, expected) in [
            ("\nUPDATE restore_jobs SET a = $1", "UPDATE restore_jobs"),
            ("INSERT INTO outbox (a) VALUES ($1)", "INSERT outbox"),
            ("SELECT a, b FROM snapshots s WHERE c = $1", "SELECT snapshots"),
            ("DELETE FROM pins WHERE a = $1", "DELETE pins"),
            ("SELECT COUNT(*) FROM (SELECT a FROM b) c", "SELECT"),
            ("", ""),
        ] {
            assert_eq!(summary(sql), expected, "{sql}");
        }
    }
}

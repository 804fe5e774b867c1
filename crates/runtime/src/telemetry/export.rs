//! Where spans go: to a receiver of OTLP, in batches, beside everything else.
//!
//! A receiver that is slow or away costs spans and nothing else: so many wait, further ones are dropped, and both is counted.

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Spans that wait to be exported, at most: a few MiB.
const WAITING_MAX: usize = 8_192;
const BATCH_MAX: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
/// How long one batch may take.
const EXPORT_MAX: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last spans to be sent.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Where the traces of a process go, and who it is there.
#[derive(Clone, Debug)]
pub struct Traces {
    /// `http://host:4317`.
    pub endpoint: String,
    /// Share of the requests without a trace of their own that begin one, from 0 to 1.
    pub sample_fraction: f64,
    /// `elanus-proxy`, …
    pub service: String,
    /// Another one after every start.
    pub instance: String,
    /// Of the program.
    pub version: &'static str,
}

/// Sends spans until it is told to end.
#[derive(Clone, Debug)]
pub(super) struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Connects when there is something to send.
    pub(super) fn start(traces: &Traces) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let otlp =
            OtlpExporter::builder().with_tonic().with_endpoint(&traces.endpoint).with_timeout(EXPORT_MAX).build()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let endpoint = traces.endpoint.clone();
        let careful = Careful { inner: otlp, endpoint, waiting: Arc::clone(&waiting), is_away: AtomicBool::new(false) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(EVERY)
            .build();
        let inner = BatchSpanProcessor::builder(careful).with_batch_config(batches).build();
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", traces.service.clone()),
            KeyValue::new("service.namespace", "elanus"),
            KeyValue::new("service.instance.id", traces.instance.clone()),
            KeyValue::new("service.version", traces.version),
        ]);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(traces.sample_fraction)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded { inner, waiting })
            .with_sampler(sampler)
            .with_resource(resource.build())
            .build();
        Ok(Self(provider))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("elanus")
    }

    /// Sends what waits, for a bounded time.
    pub(super) async fn end(self) {
        // It blocks, and what it waits for runs on this runtime. Late spans are no reason to end badly.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_MAX)).await;
    }
}

fn count(outcome: &'static str, spans: usize) {
    metrics::counter!("elanus_runtime_spans_total", "outcome" => outcome).increment(spans as u64);
}

/// Takes spans as long as not too many wait.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &opentelemetry::Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            count("dropped", 1);
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends spans, and says once that this does not work.
#[derive(Debug)]
struct Careful<E> {
    inner: E,
    endpoint: String,
    waiting: Arc<AtomicUsize>,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Careful<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match self.inner.export(batch).await {
            Ok(()) => {
                count("exported", spans);
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = self.endpoint, "traces arrive again");
                }
            }
            Err(error) => {
                count("lost", spans);
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(endpoint = self.endpoint, %error, "traces are lost until their receiver answers");
                }
            }
        }
        // It was told: the SDK need not tell it, too.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

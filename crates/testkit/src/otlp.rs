//! A receiver of traces: what a process exports is here, span by span.

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Request, Response, Status};

/// A span that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedSpan {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// 16 hexadecimal digits, or empty for a span without a parent.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// As OpenTelemetry numbers them: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// `service.name` of the process.
    pub service: String,
    /// `service.instance.id` of the process.
    pub instance: String,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Names of what happened in it, with attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// Why it failed; `None`: it did not.
    pub error: Option<String>,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
}

type Spans = Arc<Mutex<Vec<ReceivedSpan>>>;

/// A receiver that listens until it is dropped.
#[derive(Debug)]
pub struct OtlpReceiver {
    address: SocketAddr,
    spans: Spans,
    server: JoinHandle<()>,
}

struct Collect(Spans);

#[tonic::async_trait]
impl TraceService for Collect {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_process in request.into_inner().resource_spans {
            let resource = of_process.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
            let of = |name: &str| resource.get(name).cloned().unwrap_or_default();
            let (service, instance) = (of("service.name"), of("service.instance.id"));
            for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let status = span.status.unwrap_or_default();
                spans.push(ReceivedSpan {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    name: span.name,
                    kind: span.kind,
                    service: service.clone(),
                    instance: instance.clone(),
                    attributes: texts(span.attributes),
                    events: span.events.into_iter().map(|event| (event.name, texts(event.attributes))).collect(),
                    error: (status.code == 2).then_some(status.message),
                    began_ns: span.start_time_unix_nano,
                    ended_ns: span.end_time_unix_nano,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

impl OtlpReceiver {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, spans) = (listener.local_addr()?, Spans::default());
        let service = TraceServiceServer::new(Collect(Arc::clone(&spans)));
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the receiver of traces ended: {error}");
            }
        });
        Ok(Self { address, spans, server })
    }

    /// Where processes send their traces.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that came so far, in the order in which it came.
    #[must_use]
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came of one trace.
    #[must_use]
    pub fn trace(&self, trace: &str) -> Vec<ReceivedSpan> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A trace for people: every span below its parent, with its time in milliseconds since the first one began, how long it
/// took, and what of its attributes is wanted.
#[must_use]
pub fn picture(spans: &[ReceivedSpan], attributes: &[&str]) -> String {
    let mut spans: Vec<&ReceivedSpan> = spans.iter().collect();
    spans.sort_by_key(|span| (span.began_ns, std::cmp::Reverse(span.ended_ns)));
    let first_ns = spans.first().map_or(0, |span| span.began_ns);
    let mut text = String::new();
    for root in spans.iter().filter(|span| spans.iter().all(|other| other.id != span.parent)) {
        draw(&mut text, &spans, root, first_ns, 0, attributes);
    }
    text
}

fn draw(text: &mut String, spans: &[&ReceivedSpan], span: &ReceivedSpan, first_ns: u64, depth: usize, wanted: &[&str]) {
    let ms = |ns: u64| ns as f64 / 1e6;
    let told: Vec<String> = wanted
        .iter()
        .filter_map(|name| span.attributes.get(*name).map(|value| format!("{}={value}", name.replace("elanus.", ""))))
        .collect();
    let failed = span.error.as_ref().map_or_else(String::new, |why| format!(" FAILED: {why}"));
    text.push_str(&format!(
        "{:>9.1} {:>9.1}  {}{} [{}] {}{failed}\n",
        ms(span.began_ns.saturating_sub(first_ns)),
        ms(span.ended_ns.saturating_sub(span.began_ns)),
        "  ".repeat(depth),
        span.name,
        span.service.trim_start_matches("elanus-"),
        told.join(" ")
    ));
    for child in spans.iter().filter(|child| child.parent == span.id) {
        draw(text, spans, child, first_ns, depth + 1, wanted);
    }
}

//! What is sent to the services, and what must hold afterwards.

use crate::{
    Finding,
    chance::Chance,
    messages, requests,
    watch::Watch,
    world::{State, World, framed},
};
use bytes::Bytes;
use elanus_proto::{convert::failure_from_grpc, transport::Channel};
use elanus_types::Code;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};
use tonic::{Status, body::Body};
use tower::Service as _;

/// Requests of one run: all to one world, which they change.
const REQUESTS: usize = 150;
/// FZ-2. A busy machine is slow, and a test has what others leave of it; what hangs hangs for ever.
const WITHIN: Duration = Duration::from_secs(300);
/// FZ-3: what a request of a few kilobytes may need, caches and the encoder of a file included.
const BYTES_MAX: usize = 192 << 20;
/// Headers that mean something, and values of them.
const HEADERS: [(&str, &[&str]); 3] = [
    ("dbname", &["default", "none", ""]),
    ("elanus-snapshot", &["s", "none", "\u{ff}"]),
    ("grpc-timeout", &["10S", "x", "99999999H"]),
];

/// How often what came of the requests of a run: by service, and `done` or `refused`.
pub type Met = BTreeMap<String, u64>;

/// What became of a request.
enum Outcome {
    Done,
    Refused(Code, String),
}

struct Call {
    method: MethodDescriptor,
    bytes: Vec<u8>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// Sends the requests of a seed.
///
/// # Errors
/// The first promise that was broken, with the request that broke it.
pub async fn run(seed: u64, met: &mut Met) -> Result<(), Finding> {
    let mut chance = Chance::new(seed);
    let failed = |error: Box<dyn std::error::Error>| Finding(format!("seed {seed}: there is no world: {error}"));
    let mut world = World::start().await.map_err(failed)?;
    let methods: Vec<MethodDescriptor> =
        messages::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    let written = requests::written();
    let mut before = world.state().await.map_err(failed)?;
    let mut version = world.version().await.map_err(|error| failed(error.into()))?;
    for number in 0..REQUESTS {
        let call = choose(&mut chance, &methods, &written);
        let told =
            |finding: Finding| Finding(format!("seed {seed}, request {number}: {}\n{}", finding.0, call.describe()));
        let watch = Watch::start();
        let outcome = tokio::time::timeout(WITHIN, call.send(world.services.clone())).await;
        watch.end(WITHIN, BYTES_MAX).map_err(&told)?;
        let outcome = outcome.map_err(|_| told(Finding("FZ-2: there is no answer".to_owned())))?.map_err(&told)?;
        let word = if matches!(outcome, Outcome::Done) { "done" } else { "refused" };
        *met.entry(format!("{}: {word}", call.method.parent_service().name())).or_default() += 1;

        let now = world.version().await.map_err(|error| failed(error.into()))?;
        if now != version {
            version = now;
            let state = world.state().await.map_err(failed)?;
            if let Outcome::Refused(_, reason) = &outcome {
                unchanged(&before, &state, reason).map_err(&told)?;
            }
            before = state;
        }
        if let Outcome::Refused(Code::Internal, reason) = &outcome
            && call.is_of_users()
        {
            return Err(told(Finding(format!("FZ-4: the server says that it failed: {reason}"))));
        }
    }
    Ok(())
}

/// FZ-4.
fn unchanged(before: &State, after: &State, reason: &str) -> Result<(), Finding> {
    let Some((table, now)) = after.iter().find(|(table, now)| before.get(*table) != Some(now)) else { return Ok(()) };
    let then: Vec<&str> = before.get(table).map(|text| text.lines().collect()).unwrap_or_default();
    let new = now.lines().find(|line| !then.contains(line)).unwrap_or("a row less");
    Err(Finding(format!("FZ-4: refused ({reason}), and {table} changed: {new}")))
}

fn choose(chance: &mut Chance, methods: &[MethodDescriptor], written: &[(&'static str, Vec<u8>)]) -> Call {
    let by_hand = if chance.once_in(2) { chance.of(written) } else { None };
    let named = by_hand.and_then(|(name, _)| methods.iter().find(|method| method.name() == *name));
    let method = named.or_else(|| chance.of(methods)).expect("there are services").clone();
    let mut bytes = match (named, by_hand) {
        (Some(_), Some((_, bytes))) => {
            let mut message = DynamicMessage::decode(method.input(), &bytes[..]).expect("a request that is right");
            chance.change(&mut message);
            message.encode_to_vec()
        }
        _ if chance.once_in(6) => chance.bytes(100),
        _ => {
            let mut message = chance.message(&method.input(), 3);
            if chance.once_in(3) {
                chance.change(&mut message);
            }
            message.encode_to_vec()
        }
    };
    if chance.once_in(6) {
        chance.spoil(&mut bytes);
    }
    let header = chance.once_in(10).then(|| {
        let (name, values) = HEADERS[chance.below(HEADERS.len())];
        let value = values[chance.below(values.len())];
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("a value of a header"))
    });
    Call { method, bytes, header }
}

impl Call {
    fn path(&self) -> String {
        format!("/{}/{}", self.method.parent_service().full_name(), self.method.name())
    }

    /// Those of the Milvus API answer with Milvus' codes.
    fn is_of_users(&self) -> bool {
        self.method.parent_service().name() == "MilvusService"
    }

    fn describe(&self) -> String {
        let mut text = format!("{} {:?}\n", self.path(), self.header);
        match DynamicMessage::decode(self.method.input(), &self.bytes[..]) {
            Ok(message) => _ = writeln!(text, "{message}"),
            Err(error) => _ = writeln!(text, "no message: {error}"),
        }
        let _ = self.bytes.iter().take(4_096).try_for_each(|byte| write!(text, "{byte:02x}"));
        text
    }

    async fn send(&self, mut services: Channel) -> Result<Outcome, Finding> {
        let broken = |error: &dyn std::fmt::Display| Finding(format!("FZ-1: the call broke off: {error}"));
        let mut request = http::Request::post(self.path())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(framed(&self.bytes))))
            .expect("a request");
        if let Some((name, value)) = &self.header {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        // In a task, as every server has it: a panic ends the task and not the one who looks.
        let answered = tokio::spawn(async move { services.call(request).await }).await;
        let answer = answered.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Ok(outcome(status));
        }
        if self.method.is_server_streaming() {
            return Ok(Outcome::Done);
        }
        let whole = answer.into_body().collect().await.map_err(|error| broken(&error))?;
        let status = whole.trailers().and_then(Status::from_header_map);
        match status.filter(|status| status.code() != tonic::Code::Ok) {
            Some(status) => Ok(outcome(status)),
            None => Ok(read(&self.method.output(), &whole.to_bytes())),
        }
    }
}

fn outcome(status: Status) -> Outcome {
    if status.code() == tonic::Code::Ok {
        return Outcome::Done;
    }
    // What tonic says of bytes that are no message.
    let unreadable = status.details().is_empty() && status.code() == tonic::Code::Internal;
    let failure = failure_from_grpc(status);
    let code =
        if unreadable && failure.message.contains("failed to decode") { Code::ParameterInvalid } else { failure.code };
    Outcome::Refused(code, failure.message)
}

/// The status in an answer.
fn read(descriptor: &MessageDescriptor, frame: &Bytes) -> Outcome {
    let message = frame.get(5..).and_then(|bytes| DynamicMessage::decode(descriptor.clone(), bytes).ok());
    let Some(message) = message else { return Outcome::Done };
    let is_status = descriptor.full_name() == "milvus.proto.common.Status";
    let status = if is_status {
        Some(message)
    } else {
        let status = message.get_field_by_name("status");
        status.as_deref().and_then(|status| status.as_message()).cloned()
    };
    let status = status.and_then(|status| status.transcode_to::<elanus_proto::common::Status>().ok());
    match status.unwrap_or_default().into_result() {
        Ok(()) => Outcome::Done,
        Err(failure) => Outcome::Refused(failure.code, failure.message),
    }
}

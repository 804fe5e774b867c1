//! A channel to one of several processes that serve the same: which one is asked, and who is asked next.
//!
//! RT-1  A call is sent again only when nothing was done of it: its process could not be connected to, or refused it
//!       ([`REFUSED`]). A call that may be repeated ([`Choice::repeatable`]) is also sent again after its connection broke.
//! RT-2  A call that may have been done is never answered with a status that clients repeat by themselves.
//! RT-3  A call that nobody takes waits for somebody who does, for a bounded time; then it is answered with UNAVAILABLE and
//!       what was tried. A caller that goes away ends the waiting.

use elanus_proto::convert::failure_to_grpc;
use elanus_proto::transport::{About, Channel, ChannelError, REFUSED, was_not_sent};
use elanus_types::{Code, Failure};
use futures::future::BoxFuture;
use http::{Request, Response, request::Parts};
use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};
use tracing::Span;

/// A process that could not be reached is asked after the others for so long.
const AVOIDED: Duration = Duration::from_secs(2);
/// Pause before everybody is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// A process that serves.
#[derive(Debug)]
pub struct Target {
    name: String,
    address: String,
    channel: Channel,
    busy: AtomicUsize,
    failed: Mutex<Option<Instant>>,
}

impl Target {
    /// `name` is for people, and what [`rendezvous`] ranks by: the same for the same process in every caller.
    #[must_use]
    pub fn new(name: impl Into<String>, channel: Channel) -> Self {
        let name = name.into();
        Self { address: name.clone(), name, channel, busy: AtomicUsize::new(0), failed: Mutex::default() }
    }

    /// The same at this `host:port`, for metrics: names come new with every start.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// See [`Target::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls of this process that wait for its answer.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// True when it could not be reached a moment ago.
    #[must_use]
    pub fn is_avoided(&self) -> bool {
        self.failed().is_some_and(|failed| failed.elapsed() < AVOIDED)
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ChannelError> {
        let _call = Call::begin(&self.busy);
        let answer = self.channel.clone().oneshot(request).await;
        *self.failed() = answer.is_err().then(Instant::now);
        answer
    }
}

/// Counts a call, also one whose caller went away.
struct Call<'t>(&'t AtomicUsize);

impl<'t> Call<'t> {
    fn begin(busy: &'t AtomicUsize) -> Self {
        busy.fetch_add(1, Ordering::Relaxed);
        Self(busy)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a call that waits for somebody who takes it, also one whose caller went away.
struct Waiting(&'static str);

impl Waiting {
    fn new(what: &'static str) -> Self {
        metrics::gauge!("elanus_router_waiting", "what" => what).increment(1.0);
        Self(what)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!("elanus_router_waiting", "what" => self.0).decrement(1.0);
    }
}

/// Who may be asked.
pub trait Choice: fmt::Debug + Send + Sync + 'static {
    /// What they are, for people: "data node".
    fn what(&self) -> &'static str;

    /// Everybody who may be asked now, the best first.
    fn rank(&self, about: Option<About>) -> Vec<Arc<Target>>;

    /// True when a call of this path does no harm when it is done twice.
    fn repeatable(&self, path: &str) -> bool;

    /// Called when nobody took a call: whoever finds out who there is should look again.
    fn look_again(&self) {}
}

/// Ranks targets for a collection: every caller gets the same order, and when a target comes or goes, only the collections
/// that are its own move (rendezvous hashing).
pub fn rendezvous(targets: &mut [Arc<Target>], about: Option<About>) {
    let collection = about.map_or(0, |About(collection)| collection);
    targets.sort_by_cached_key(|target| std::cmp::Reverse(weight(&target.name, collection)));
}

/// The same in every process and version, so not the hash of the standard library: FNV-1a, then mixed, for ids that follow
/// each other differ in few bits.
fn weight(name: &str, collection: i64) -> u64 {
    let bytes = name.bytes().chain(collection.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// Puts those that could not be reached behind the others.
pub fn avoided_last(targets: &mut [Arc<Target>]) {
    targets.sort_by_key(|target| target.is_avoided());
}

/// Sends calls to those whom a [`Choice`] names. Clones are the same router.
#[derive(Clone, Debug)]
pub struct Router {
    choice: Arc<dyn Choice>,
    patience: Duration,
}

impl Router {
    /// Waits for somebody who takes a call for `patience` at most.
    #[must_use]
    pub fn new(choice: Arc<dyn Choice>, patience: Duration) -> Self {
        // There from the start, for alarms.
        metrics::gauge!("elanus_router_waiting", "what" => choice.what()).set(0.0);
        metrics::counter!("elanus_router_given_up_total", "what" => choice.what()).increment(0);
        Self { choice, patience }
    }

    /// What clients are built with.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::in_process(self.clone())
    }

    async fn route(&self, request: Request<Body>) -> Response<Body> {
        let until = Instant::now() + self.patience;
        let (parts, body) = request.into_parts();
        let body = match axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await {
            Ok(body) => body,
            Err(error) => return answer(Failure::internal(format!("a call could not be encoded: {error}"))),
        };
        let about = parts.extensions.get::<About>().copied();
        let repeatable = self.choice.repeatable(parts.uri.path());
        let mut tried = String::new();
        let mut waiting = None;
        loop {
            tried.clear();
            for target in self.choice.rank(about) {
                let sent = target.send(again(&parts, &body)).await;
                let (why, outcome) = match sent {
                    Ok(response) if !response.headers().contains_key(REFUSED) => {
                        self.asked(&target, "answered");
                        Span::current().record("server.address", &target.address);
                        return response;
                    }
                    Ok(_refused) => ("refused the call".to_owned(), "refused"),
                    Err(error) if repeatable || was_not_sent(&error) => (innermost(&*error), "away"),
                    Err(error) => {
                        self.asked(&target, "broke");
                        return self.lost(&target, &*error);
                    }
                };
                self.asked(&target, outcome);
                elanus_trace::event!(target = target.name, address = target.address, why, "the next one is asked");
                tracing::debug!(target = target.name, path = parts.uri.path(), why, "the next one is asked");
                tried.push_str(&format!("; {}: {why}", target.name));
            }
            self.choice.look_again();
            let _waits = waiting.get_or_insert_with(|| Waiting::new(self.choice.what()));
            if Instant::now() + AGAIN >= until {
                return self.nobody(&tried);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn asked(&self, target: &Target, outcome: &'static str) {
        let (what, address) = (self.choice.what(), target.address.clone());
        let name = "elanus_router_calls_total";
        metrics::counter!(name, "address" => address, "outcome" => outcome, "what" => what).increment(1);
    }

    /// RT-2
    fn lost(&self, target: &Target, error: &(dyn Error + 'static)) -> Response<Body> {
        let (what, name, why) = (self.choice.what(), &target.name, innermost(error));
        tracing::warn!(target = name, why, "the connection broke before the answer");
        answer(Failure::internal(format!(
            "the connection to the {what} {name} broke before it answered ({why}): what was asked may have been done or not; \
             look before you repeat it"
        )))
    }

    /// RT-3
    fn nobody(&self, tried: &str) -> Response<Body> {
        let what = self.choice.what();
        metrics::counter!("elanus_router_given_up_total", "what" => what).increment(1);
        let tried = if tried.is_empty() { ": none is registered" } else { tried };
        answer(Failure::new(Code::NotReady, format!("no {what} takes calls now{tried}; nothing was done, try again")))
    }
}

fn again(parts: &Parts, body: &bytes::Bytes) -> Request<Body> {
    Request::from_parts(parts.clone(), Body::new(axum::body::Body::from(body.clone())))
}

fn answer(failure: Failure) -> Response<Body> {
    failure_to_grpc(failure).into_http()
}

/// The outer ones only say "transport error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl Service<Request<Body>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let router = self.clone();
        Box::pin(async move { Ok(router.route(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LateChannel;
    use crate::grpc::{self, GrpcConfig};
    use elanus_proto::convert::failure_from_grpc;
    use elanus_proto::datanode::{
        AssignTaskRequest, AssignTaskResponse, DropTaskRequest, DropTaskResponse, WriteRequest, WriteResponse,
        data_node_server::DataNode,
    };
    use elanus_proto::transport::{about, datanode_client, datanode_server};
    use tokio::sync::Notify;
    use tokio_util::sync::CancellationToken;
    use tonic::service::Routes;

    const PATIENCE: Duration = Duration::from_millis(300);

    /// Answers writes with its number, and drops of tasks not before it is told to.
    #[derive(Clone, Default)]
    struct Node {
        number: u64,
        begun: Arc<Notify>,
        calls: Arc<AtomicUsize>,
    }

    #[tonic::async_trait]
    impl DataNode for Node {
        async fn write(
            &self,
            _: tonic::Request<WriteRequest>,
        ) -> Result<tonic::Response<WriteResponse>, tonic::Status> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            Ok(tonic::Response::new(WriteResponse { timestamp: self.number }))
        }

        async fn assign_task(
            &self,
            _: tonic::Request<AssignTaskRequest>,
        ) -> Result<tonic::Response<AssignTaskResponse>, tonic::Status> {
            Err(tonic::Status::unavailable("my own answer"))
        }

        async fn drop_task(
            &self,
            _: tonic::Request<DropTaskRequest>,
        ) -> Result<tonic::Response<DropTaskResponse>, tonic::Status> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.begun.notify_one();
            std::future::pending().await
        }
    }

    #[derive(Debug)]
    struct All(Vec<Arc<Target>>);

    impl Choice for All {
        fn what(&self) -> &'static str {
            "data node"
        }

        fn rank(&self, _: Option<About>) -> Vec<Arc<Target>> {
            self.0.clone()
        }

        fn repeatable(&self, path: &str) -> bool {
            path.ends_with("/Write")
        }
    }

    fn target(name: &str, channel: Channel) -> Arc<Target> {
        Arc::new(Target::new(name, channel))
    }

    fn serving(number: u64) -> Channel {
        Channel::in_process(datanode_server(Node { number, ..Node::default() }))
    }

    fn router(targets: Vec<Arc<Target>>) -> Channel {
        Router::new(Arc::new(All(targets)), PATIENCE).channel()
    }

    /// An address that nobody listens on.
    async fn nobody() -> Channel {
        let listener = grpc::bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
        Channel::to(&listener.local_addr().unwrap().to_string()).unwrap()
    }

    #[tokio::test]
    async fn rt_1_who_is_not_there_or_refuses_is_passed_over() {
        let targets = vec![target("gone", nobody().await), target("starting", LateChannel::new().channel())];
        let gone = Arc::clone(&targets[0]);
        let mut client = datanode_client(router([targets, vec![target("two", serving(2))]].concat()));
        assert_eq!(client.write(WriteRequest::default()).await.unwrap().into_inner().timestamp, 2);
        assert!(gone.is_avoided() && gone.busy() == 0);
        let own = client.assign_task(AssignTaskRequest::default()).await.unwrap_err();
        assert_eq!(own.message(), "my own answer", "what a service answers is not tried elsewhere");
    }

    #[tokio::test]
    async fn rt_2_a_call_that_may_have_been_done_is_not_sent_again_and_not_called_unavailable() {
        let node = Node::default();
        let listener = grpc::bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
        let behind = listener.local_addr().unwrap();
        let (stop, config) = (CancellationToken::new(), GrpcConfig::default());
        // A connection that can be cut while the call is under way.
        let front = grpc::bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
        let address = front.local_addr().unwrap().to_string();
        let wire = tokio::spawn(async move {
            let (mut client, _) = front.accept().await.unwrap();
            let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
        tokio::spawn(grpc::serve(listener, Routes::new(datanode_server(node.clone())), config, stop.clone()));
        let other = Node::default();
        let channel = Channel::in_process(datanode_server(other.clone()));
        let targets = vec![target("dies", Channel::to(&address).unwrap()), target("other", channel)];
        let mut client = datanode_client(router(targets));
        let call = tokio::spawn(async move { client.drop_task(DropTaskRequest::default()).await });
        node.begun.notified().await;
        wire.abort();
        let failure = failure_from_grpc(call.await.unwrap().unwrap_err());
        assert_eq!((failure.code, other.calls.load(Ordering::SeqCst)), (Code::Internal, 0), "{failure}");
        assert!(failure.message.contains("may have been done"), "{failure}");
        stop.cancel();
    }

    #[tokio::test]
    async fn rt_3_a_call_waits_for_somebody_who_takes_it_and_not_for_ever() {
        let late = LateChannel::new();
        let mut client = datanode_client(router(vec![target("late", late.channel()), target("gone", nobody().await)]));
        let failure = failure_from_grpc(client.write(WriteRequest::default()).await.unwrap_err());
        assert_eq!(failure.code, Code::NotReady);
        assert!(failure.message.contains("no data node takes calls now; late: refused the call; gone:"), "{failure}");
        let waiting = tokio::spawn(async move { client.write(about(7, WriteRequest::default())).await });
        tokio::task::yield_now().await;
        late.set(serving(3));
        assert_eq!(waiting.await.unwrap().unwrap().into_inner().timestamp, 3);
        let failure = datanode_client(router(Vec::new())).write(WriteRequest::default()).await.unwrap_err();
        assert!(failure_from_grpc(failure).message.contains("none is registered"));
    }

    #[test]
    fn a_collection_keeps_its_target_while_others_come_and_go() {
        let named = |names: &[&str]| -> Vec<Arc<Target>> {
            names.iter().map(|name| target(name, LateChannel::new().channel())).collect()
        };
        let first = |names: &[&str], collection: i64| {
            let mut targets = named(names);
            rendezvous(&mut targets, Some(About(collection)));
            targets[0].name.clone()
        };
        let mut of_a = 0;
        for collection in 0..1_000 {
            let before = first(&["a", "b", "c"], collection);
            assert_eq!(before, first(&["c", "a", "b"], collection), "whatever order they are found in");
            if before != "c" {
                assert_eq!(before, first(&["a", "b"], collection), "only those of the one that went away move");
            }
            of_a += usize::from(before == "a");
        }
        assert!((250..420).contains(&of_a), "{of_a} of 1,000 are one third's");
    }
}

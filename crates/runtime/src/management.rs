//! Health, metrics, background tasks and version over plain HTTP, for probes and operators.
//!
//! * `GET /healthz`: 200 `OK`, or 503 with a reason a line. A process that serves although a person must look is not ill:
//!   200 `degraded`, with a reason a line, for a restart would not help and would take it away from its users.
//! * `GET /healthz/strict`: the same, and 503 for `degraded`: for alarms, never for probes that restart.
//! * `GET /readyz`: the same, and 503 while the process starts or stops.
//! * `GET /metrics`: for Prometheus.
//! * `GET /tasks`: every background task as JSON.
//! * `GET /version`: the version as JSON.
//!
//! What else a process serves there it brings itself: [`Management::get`]. Paths that change something
//! ([`Management::change`]) may demand a token: `Authorization: Bearer TOKEN`. Those above never do: probes have none.

use crate::background::{Background, TaskStatus};
use axum::{
    Json, Router,
    extract::{RawQuery, Request, State},
    http::StatusCode,
    http::header::{AUTHORIZATION, WWW_AUTHENTICATE},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::Listener,
};
use elanus_trust::{ServerTls, TlsListener, TlsStream, Tokens};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A probe must answer before its asker gives up.
const CHECK_MAX: Duration = Duration::from_secs(3);
/// A task that failed so often in a row does not recover by itself.
const FAILING_ROUNDS: u64 = 5;
/// How long requests may go on after the end was asked for.
const DRAIN_MAX: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

type Measure = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Answers a request by the parameters of its query: a status and JSON.
type Answer = Arc<dyn Fn(HashMap<String, String>) -> BoxFuture<'static, (u16, serde_json::Value)> + Send + Sync>;

/// What the management port tells. Clones tell the same.
#[derive(Clone)]
pub struct Management {
    background: Background,
    version: &'static str,
    checks: Vec<(&'static str, Check)>,
    watches: Vec<(&'static str, Check)>,
    gets: Vec<(&'static str, Answer)>,
    changes: Vec<(&'static str, Answer)>,
    demanded: Option<Tokens>,
    measures: Vec<Measure>,
    ready: Arc<AtomicBool>,
}

impl Management {
    /// Tells about these background tasks; not ready yet.
    #[must_use]
    pub fn new(background: Background, version: &'static str) -> Self {
        // What is counted before somebody collects is lost.
        let _ = crate::metrics::collector();
        let (checks, watches, gets) = (Vec::new(), Vec::new(), Vec::new());
        let (changes, measures) = (Vec::new(), Vec::new());
        Self { background, version, checks, watches, gets, changes, demanded: None, measures, ready: Arc::default() }
    }

    /// Adds a check to the health of the process: an error is the reason why it is not healthy.
    #[must_use]
    pub fn check<F>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.checks.push((name, Arc::new(check)));
        self
    }

    /// Adds something that a person must look at, but that does not keep the process from serving: an error says what.
    #[must_use]
    pub fn watch<F>(mut self, name: &'static str, watch: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.watches.push((name, Arc::new(watch)));
        self
    }

    /// Brings gauges up to date whenever somebody asks for the metrics.
    #[must_use]
    pub fn measure<F>(mut self, measure: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    {
        self.measures.push(Arc::new(measure));
        self
    }

    /// Serves one more path. A parameter that comes twice counts with its last value.
    #[must_use]
    pub fn get<F>(mut self, path: &'static str, answer: F) -> Self
    where
        F: Fn(HashMap<String, String>) -> BoxFuture<'static, (u16, serde_json::Value)> + Send + Sync + 'static,
    {
        self.gets.push((path, Arc::new(answer)));
        self
    }

    /// Serves one more path, which changes something.
    #[must_use]
    pub fn change<F>(mut self, path: &'static str, answer: F) -> Self
    where
        F: Fn(HashMap<String, String>) -> BoxFuture<'static, (u16, serde_json::Value)> + Send + Sync + 'static,
    {
        self.changes.push((path, Arc::new(answer)));
        self
    }

    /// Who changes something must show one of these tokens.
    #[must_use]
    pub fn demand(self, tokens: Option<Tokens>) -> Self {
        Self { demanded: tokens, ..self }
    }

    /// What it tells about, for whoever adds to it.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// Says whether clients should be sent here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// The paths as a router.
    pub fn router(&self) -> Router {
        let mut router = Router::new()
            .route("/healthz", get(healthz))
            .route("/healthz/strict", get(healthz_strict))
            .route("/metrics", get(metrics))
            .route("/readyz", get(readyz))
            .route("/tasks", get(tasks))
            .route("/version", get(version));
        for (path, answer) in &self.gets {
            router = router.route(path, get(served(answer)));
        }
        for (path, answer) in &self.changes {
            let route = get(served(answer)).layer(middleware::from_fn_with_state(self.demanded.clone(), may_change));
            router = router.route(path, route);
        }
        router.with_state(self.clone())
    }

    async fn problems(&self) -> Vec<String> {
        ask(&self.checks).await.into_iter().map(|(name, reason)| format!("{name}: {reason}")).collect()
    }

    /// What a person must look at: what is watched, and tasks that fail again and again.
    async fn concerns(&self) -> Vec<String> {
        let found = ask(&self.watches).await;
        for (name, _) in &self.watches {
            let is_degraded = found.iter().any(|(found, _)| found == name);
            ::metrics::gauge!("elanus_runtime_degraded", "reason" => *name).set(f64::from(u8::from(is_degraded)));
        }
        let mut concerns: Vec<String> = found.into_iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        let failing = self.background.status().into_iter().filter(|task| task.failed_in_a_row >= FAILING_ROUNDS);
        let before = concerns.len();
        concerns.extend(failing.map(|task| {
            let text = task.last_report.map(|report| report.text).unwrap_or_default();
            format!("task {}: failed {} times in a row: {text}", task.name, task.failed_in_a_row)
        }));
        let tasks_fail = f64::from(u8::from(concerns.len() > before));
        ::metrics::gauge!("elanus_runtime_degraded", "reason" => "tasks").set(tasks_fail);
        concerns
    }
}

fn served(answer: &Answer) -> impl Fn(RawQuery) -> BoxFuture<'static, (StatusCode, Json<Value>)> + Clone + use<> {
    let answer = Arc::clone(answer);
    move |RawQuery(query)| {
        let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        let answer = answer(query);
        Box::pin(async move {
            let (status, body) = answer.await;
            (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body))
        })
    }
}

async fn may_change(State(demanded): State<Option<Tokens>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match demanded {
        Some(tokens) if !given.is_some_and(|given| tokens.accept(given)) => {
            let text = "this changes something, and a token of the services is demanded for it: send the header \
                        Authorization: Bearer TOKEN";
            let answer = (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], Json(json!({ "msg": text })));
            answer.into_response()
        }
        _ => next.run(request).await,
    }
}

async fn ask(checks: &[(&'static str, Check)]) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    for (name, check) in checks {
        match tokio::time::timeout(CHECK_MAX, check()).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => problems.push((*name, reason)),
            Err(_) => problems.push((*name, format!("no answer within {} s", CHECK_MAX.as_secs()))),
        }
    }
    problems
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Serves the management port until `stop`; encrypted, where `tls` is given.
///
/// # Errors
/// When the transport fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    management: Management,
    stop: CancellationToken,
) -> io::Result<()> {
    match tls {
        Some(tls) => serve_on(Encrypted(TlsListener::new(listener, tls)), management, stop).await,
        None => serve_on(listener, management, stop).await,
    }
}

async fn serve_on<L>(listener: L, management: Management, stop: CancellationToken) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    let server = axum::serve(listener, management.router()).with_graceful_shutdown(stop.clone().cancelled_owned());
    let server = std::future::IntoFuture::into_future(server);
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = stop.cancelled() => {}
    }
    // A client that holds its connection open does not hold the process.
    tokio::time::timeout(DRAIN_MAX, server).await.unwrap_or(Ok(()))
}

struct Encrypted(TlsListener);

impl Listener for Encrypted {
    type Io = TlsStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TlsStream, SocketAddr) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn healthz(State(management): State<Management>) -> (StatusCode, String) {
    let problems = management.problems().await;
    let concerns = management.concerns().await;
    if problems.is_empty() && !concerns.is_empty() {
        return (StatusCode::OK, format!("degraded\n{}\n", concerns.join("\n")));
    }
    verdict(&problems)
}

async fn healthz_strict(State(management): State<Management>) -> (StatusCode, String) {
    let mut problems = management.problems().await;
    problems.extend(management.concerns().await);
    verdict(&problems)
}

async fn metrics(State(management): State<Management>) -> String {
    // Brings the gauges of what is watched up to date.
    management.concerns().await;
    for measure in &management.measures {
        // A store that is away must not keep the other metrics from being read.
        let _ = tokio::time::timeout(CHECK_MAX, measure()).await;
    }
    crate::metrics::render()
}

async fn readyz(State(management): State<Management>) -> (StatusCode, String) {
    let mut problems = management.problems().await;
    if !management.ready.load(Ordering::SeqCst) {
        problems.push("process: starting or stopping".to_owned());
    }
    verdict(&problems)
}

fn verdict(problems: &[String]) -> (StatusCode, String) {
    if problems.is_empty() {
        return (StatusCode::OK, "OK\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n")
}

async fn tasks(State(management): State<Management>) -> Json<Vec<TaskStatus>> {
    Json(management.background.status())
}

async fn version(State(management): State<Management>) -> Json<serde_json::Value> {
    Json(json!({"name": "elanus", "version": management.version}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::{BackgroundTask, Report};
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use elanus_types::ManualClock;
    use tower::ServiceExt as _;

    async fn get(management: &Management, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = management.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn management() -> Management {
        Management::new(Background::new(Arc::new(ManualClock::at_ms(5))), "1.2.3")
    }

    #[tokio::test]
    async fn a_path_that_a_process_brings_gets_its_query() {
        let management = management().get("/more", |query| {
            let status = if query.contains_key("bad") { 400 } else { 200 };
            Box::pin(async move { (status, json!(query)) })
        });
        assert_eq!(get(&management, "/more?a=1&a=x%20y").await, (200, r#"{"a":"x y"}"#.to_owned()));
        assert_eq!(get(&management, "/more?bad").await.0, 400);
        assert_eq!(get(&management, "/more").await, (200, "{}".to_owned()));
    }

    #[tokio::test]
    async fn a_healthy_process_says_ok_and_an_ill_one_says_why() {
        let management = management().check("metadata", || Box::pin(async { Ok(()) }));
        assert_eq!(get(&management, "/healthz").await, (200, "OK\n".to_owned()));
        let management = management
            .check("objects", || Box::pin(async { Err("the directory is gone".to_owned()) }))
            .check("bus", || Box::pin(async { Err("away".to_owned()) }));
        let told = (503, "objects: the directory is gone\nbus: away\n".to_owned());
        assert_eq!(get(&management, "/healthz").await, told);
    }

    #[tokio::test]
    async fn a_process_that_serves_and_worries_is_degraded_and_not_ill() {
        let management = management().watch("deletes", || Box::pin(async { Err("frozen".to_owned()) }));
        assert_eq!(get(&management, "/healthz").await, (200, "degraded\ndeletes: frozen\n".to_owned()));
        assert_eq!(get(&management, "/healthz/strict").await, (503, "deletes: frozen\n".to_owned()));
        management.set_ready(true);
        assert_eq!(get(&management, "/readyz").await.0, 200);
        let (status, text) = get(&management, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("elanus_runtime_degraded{reason=\"deletes\"} 1"), "{text}");
    }

    #[tokio::test]
    async fn a_process_is_ready_between_start_and_stop() {
        let management = management();
        assert_eq!(get(&management, "/readyz").await.0, 503);
        management.set_ready(true);
        assert_eq!(get(&management, "/readyz").await.0, 200);
        management.set_ready(false);
        assert_eq!(get(&management, "/readyz").await.0, 503);
        assert_eq!(get(&management, "/healthz").await.0, 200);
    }

    struct Idle;

    #[async_trait::async_trait]
    impl BackgroundTask for Idle {
        fn name(&self) -> &'static str {
            "test.idle"
        }
        fn drains(&self) -> &'static str {
            "nothing"
        }
        fn period(&self) -> Duration {
            Duration::from_secs(90)
        }
        async fn round(&self) -> Report {
            Report::handled(2)
        }
    }

    #[tokio::test]
    async fn tasks_and_version_are_told_as_json() {
        let management = management();
        management.background.spawn(Idle);
        management.background.activate_and_wait("test.idle").await;
        let (status, body) = get(&management, "/tasks").await;
        let tasks: serde_json::Value = serde_json::from_str(&body).unwrap();
        let told = json!([{
            "name": "test.idle", "drains": "nothing", "period_ms": 90_000,
            "last_report": {"handled": 2, "failed": 0, "text": "", "again_now": false},
            "last_started_ms": 5, "last_ended_ms": 5, "rounds": tasks[0]["rounds"], "failures": 0,
            "failed_in_a_row": 0,
        }]);
        assert_eq!((status, tasks), (200, told));
        let (_, body) = get(&management, "/version").await;
        assert_eq!(body, r#"{"name":"elanus","version":"1.2.3"}"#);
        assert_eq!(get(&management, "/unknown").await.0, 404);
    }
}

//! The way to the server, with faults on it.

use aws_sdk_s3::{
    config::{
        HttpClient, RuntimeComponents, SharedHttpClient,
        http::{HttpRequest, HttpResponse},
    },
    error::ConnectorError,
    primitives::{ByteStream, SdkBody},
};
use aws_smithy_runtime_api::{
    client::http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    http::StatusCode,
};
use elanus_objects::{
    S3Config,
    s3::{S3Limits, http_client},
};
use std::sync::{Arc, Mutex};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// 503, and nothing was done.
    SlowDownBefore,
    /// 503, although it was done.
    SlowDownAfter,
    /// 500, although it was done.
    ErrorAfter,
    /// It was done, and the connection broke before the answer.
    Cut,
    /// The answer ends in the middle of its body.
    CutBody,
    /// 403.
    Refuse,
    /// 507.
    Full,
    /// 301.
    OtherRegion,
    /// 403, because of the clock.
    Skewed,
    /// An answer to a delete that names no key, and nothing was done.
    Silent,
    /// An answer to a delete that names no key, although it was done.
    SilentAfter,
    /// 501 for a copy with `If-None-Match`; nothing else is touched.
    NoConditionalCopy,
}

/// Faults of one store.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests until it happens, once.
    once: Option<(usize, Happening)>,
    always: Option<Happening>,
    seen: Vec<String>,
}

/// The same store with faults on the way.
pub(crate) fn flaky(mut config: S3Config) -> (S3Config, Faults) {
    let faults = Faults { inner: http_client(None, S3Limits::default()).unwrap(), state: Arc::default() };
    config.http = Some(SharedHttpClient::new(faults.clone()));
    (config, faults)
}

impl Faults {
    /// Lets it happen to the n-th request from now, counted from 1.
    pub(crate) fn put(&self, n: usize, happening: Happening) {
        self.state.lock().unwrap().once = Some((n, happening));
    }

    /// Lets it happen to every request.
    pub(crate) fn always(&self, happening: Happening) {
        self.state.lock().unwrap().always = Some(happening);
    }

    /// Requests that were still to come before it would have happened; 0: it happened.
    pub(crate) fn take(&self) -> usize {
        self.state.lock().unwrap().once.take().map_or(0, |(n, _)| n)
    }

    /// Method and URL of every request.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl State {
    fn draw(&mut self, request: &HttpRequest) -> Option<Happening> {
        let url = request.uri().split('?').next().unwrap_or_default();
        self.seen.push(format!("{} {url}", request.method()));
        match self.once.take() {
            Some((1, happening)) => return Some(happening),
            Some((n, happening)) => self.once = Some((n - 1, happening)),
            None => {}
        }
        let copies = request.headers().get("x-amz-copy-source").is_some();
        let conditional = copies && request.headers().get("if-none-match").is_some();
        self.always.filter(|happening| *happening != Happening::NoConditionalCopy || conditional)
    }
}

impl HttpClient for Faults {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, state: Arc::clone(&self.state) })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    state: Arc<Mutex<State>>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(happening) = self.state.lock().unwrap().draw(&request) else { return self.inner.call(request) };
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            match happening {
                Happening::SlowDownBefore => Ok(answer(503, "SlowDown")),
                Happening::Refuse => Ok(answer(403, "AccessDenied")),
                Happening::Full => Ok(answer(507, "QuotaExceeded")),
                Happening::OtherRegion => Ok(answer(301, "PermanentRedirect")),
                Happening::Skewed => Ok(answer(403, "RequestTimeTooSkewed")),
                Happening::NoConditionalCopy => Ok(answer(501, "NotImplemented")),
                Happening::Silent => Ok(named_no_key()),
                Happening::SilentAfter => done(inner.call(request)).await.map(|()| named_no_key()),
                Happening::SlowDownAfter => done(inner.call(request)).await.map(|()| answer(503, "SlowDown")),
                Happening::ErrorAfter => done(inner.call(request)).await.map(|()| answer(500, "InternalError")),
                Happening::Cut => {
                    done(inner.call(request)).await?;
                    Err(ConnectorError::io("the connection was cut".into()))
                }
                Happening::CutBody => {
                    let mut response = inner.call(request).await?;
                    let body = std::mem::replace(response.body_mut(), SdkBody::empty());
                    let body = ByteStream::new(body).collect().await.unwrap().into_bytes();
                    *response.body_mut() = SdkBody::from(body.slice(..body.len() / 2));
                    Ok(response)
                }
            }
        })
    }
}

/// The request was answered in full, and nobody hears it.
async fn done(answer: HttpConnectorFuture) -> Result<(), ConnectorError> {
    let mut response = answer.await?;
    let body = std::mem::replace(response.body_mut(), SdkBody::empty());
    ByteStream::new(body).collect().await.map_err(|error| ConnectorError::io(error.into()))?;
    Ok(())
}

fn named_no_key() -> HttpResponse {
    let body = "<?xml version=\"1.0\"?><DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></DeleteResult>";
    HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(body))
}

fn answer(status: u16, code: &str) -> HttpResponse {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
}

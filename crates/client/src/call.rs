//! One call: a bounded wait, and for reads another try when the server is away for a moment.

use crate::{Client, ClientError, ErrorKind, Result};
use std::time::Duration;
use tonic::{Response, Status};

const ATTEMPTS_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(100);

impl Client {
    /// A call that changes something: sent once.
    pub(crate) async fn write<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
        let unknown = "; what was asked may have been done or not";
        bounded(self.timeout, unknown, async { Ok(call.await?.into_inner()) }).await
    }

    /// A call that changes nothing: sent again while the server is away.
    pub(crate) async fn read<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let call = || {
            let answer = call();
            async { Ok(answer.await?.into_inner()) }
        };
        bounded(self.timeout, "", with_retries(PAUSE_MIN, call)).await
    }
}

async fn bounded<T>(timeout: Option<Duration>, then: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(timeout) = timeout else {
        return call.await;
    };
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
        let message = format!("no answer within {timeout:?}{then}");
        Err(ClientError::new(ErrorKind::Unavailable, message))
    })
}

async fn with_retries<T, F>(mut pause: Duration, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for _ in 1..ATTEMPTS_MAX {
        match call().await {
            Err(error) if error.kind == ErrorKind::Unavailable => {}
            answer => return answer,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    call().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails so often with an error of this kind; the answer and the number of attempts.
    async fn attempts(failures: u32, kind: ErrorKind) -> (Option<ErrorKind>, u32) {
        let mut attempts = 0;
        let answer = with_retries(Duration::ZERO, || {
            attempts += 1;
            std::future::ready(if attempts > failures { Ok(()) } else { Err(ClientError::new(kind, "x")) })
        });
        (answer.await.err().map(|error| error.kind), attempts)
    }

    #[tokio::test]
    async fn a_read_is_repeated_only_while_the_server_is_away() {
        assert_eq!(attempts(0, ErrorKind::Unavailable).await, (None, 1));
        assert_eq!(attempts(2, ErrorKind::Unavailable).await, (None, 3));
        assert_eq!(attempts(9, ErrorKind::Unavailable).await, (Some(ErrorKind::Unavailable), ATTEMPTS_MAX));
        assert_eq!(attempts(9, ErrorKind::NotFound).await, (Some(ErrorKind::NotFound), 1));
    }

    #[tokio::test]
    async fn a_wait_is_bounded_and_says_what_is_not_known() {
        let never = std::future::pending::<Result<()>>();
        let error = bounded(Some(Duration::from_millis(1)), "; unknown", never).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, "no answer within 1ms; unknown"));
        assert_eq!(bounded(None, "", async { Ok(7) }).await, Ok(7));
    }

    #[test]
    fn calls_can_be_made_from_spawned_tasks() {
        fn sendable(_: impl Future + Send) {}
        let client = Client::over(elanus_proto::transport::Channel::in_process(NoService));
        sendable(client.snapshots().list("docs"));
        sendable(client.snapshots().create("docs", "a").send());
        sendable(client.jobs().wait(1, |_| {}));
        sendable(client.collections().describe("docs"));
    }

    #[derive(Clone)]
    struct NoService;

    impl tower::Service<http::Request<tonic::body::Body>> for NoService {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
            std::future::ready(Ok(Status::unimplemented("").into_http()))
        }
    }
}

//! Around the services that clients call: who has no valid password is not let in (AC-1).

use super::{Identity, limit::Exhausted, passwords::Secret, token};
use crate::Proxy;
use elanus_proto::datacoord as dc;
use elanus_types::Failure;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tonic::{Status, body::Body, server::NamedService, transport::server::TcpConnectInfo};
use tower::Service;

const WRONG: &str = "auth check failure, please check username and password are correct";

/// A generated server of clients' calls, behind the door of the proxy. Where no authorization is asked for, the door is open.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    proxy: Proxy,
}

impl<S> Guarded<S> {
    /// Lets those in whom the proxy knows.
    #[must_use]
    pub fn new(inner: S, proxy: Proxy) -> Self {
        Self { inner, proxy }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that is ready, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        if self.proxy.door.is_none() {
            return Box::pin(inner.call(request));
        }
        let proxy = self.proxy.clone();
        Box::pin(async move {
            match proxy.authenticate(request.headers(), peer(&request)).await {
                Ok(identity) => {
                    request.headers_mut().remove(AUTHORIZATION); // AC-5
                    request.extensions_mut().insert(identity);
                    inner.call(request).await
                }
                Err(Refusal { status, why, user }) => {
                    metrics::counter!("elanus_proxy_refused_total", "why" => why).increment(1);
                    tracing::info!(why, user, peer = %peer(&request), "a call was refused: {}", status.message());
                    Ok(status.into_http())
                }
            }
        })
    }
}

/// Why somebody is not let in. `user`: one that there is, or empty; what others send as a name may be a password.
struct Refusal {
    status: Status,
    why: &'static str,
    user: String,
}

impl From<Failure> for Refusal {
    /// The metadata are away: clients try again.
    fn from(failure: Failure) -> Self {
        let text = format!("who calls could not be looked up: {}", failure.message);
        Self { status: Status::unavailable(text), why: "unavailable", user: String::new() }
    }
}

fn unauthenticated(text: &'static str, user: &str) -> Refusal {
    Refusal { status: Status::unauthenticated(text), why: "unauthenticated", user: user.to_owned() }
}

fn exhausted(why: Exhausted, user: &str) -> Refusal {
    Refusal { status: Status::resource_exhausted(why.to_string()), why: "limited", user: user.to_owned() }
}

fn peer(request: &Request<Body>) -> IpAddr {
    let address = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    // Inside this process.
    address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}

impl Proxy {
    async fn authenticate(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Identity, Refusal> {
        let Some(door) = &self.door else { return Err(unauthenticated("authorization is off", "")) };
        let given = token::read(headers).map_err(|text| unauthenticated(text, ""))?;
        let state = self.known.now(self.datacoord()).await?;
        let user = state.user(&given.user);
        let name = user.map(|user| user.name.as_str());
        let identity =
            |user: &dc::SecurityUser| Identity { user: Arc::from(user.name.as_str()), peer, state: Arc::clone(&state) };
        let was_let_in = |user: &dc::SecurityUser, password: &Secret| {
            door.verified().has(&user.name, &user.password_hash, password, Instant::now())
        };
        if let Some(user) = user.filter(|user| was_let_in(user, &given.password)) {
            return Ok(identity(user));
        }
        let shown = name.unwrap_or_default();
        door.limiter().look(peer, name, Instant::now()).map_err(|why| exhausted(why, shown))?;
        let turn = self.passwords.turn().await?;
        // Of many calls that come at once, one compares the password.
        if let Some(user) = user.filter(|user| was_let_in(user, &given.password)) {
            return Ok(identity(user));
        }
        let attempt = door.limiter().take(peer, name, Instant::now()).map_err(|why| exhausted(why, shown))?;
        let hash = user.map(|user| user.password_hash.clone());
        let is_right = self.passwords.verify(turn, given.password.clone(), hash).await?;
        match user {
            Some(user) if is_right => {
                door.limiter().give_back(attempt, Instant::now());
                door.verified().add(&user.name, &user.password_hash, &given.password, Instant::now());
                Ok(identity(user))
            }
            _ => Err(unauthenticated(WRONG, shown)),
        }
    }
}

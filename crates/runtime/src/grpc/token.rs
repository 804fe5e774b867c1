//! Refuses calls that do not come from a service of the same cluster.

use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use elanus_proto::transport::TOKEN;
use elanus_trust::Tokens;
use tonic::{Status, service::Routes};

const NONE: &str = "a token of the services is demanded here, and the call has none: give the process that calls \
                    --services-token-file (or ELANUS_SERVICES_TOKEN) with a token of this cluster; clients and elanus ctl \
                    connect to a proxy";
const WRONG: &str = "the token of the services that the call has is not one of this process's: give both processes \
                     --services-token-file (or ELANUS_SERVICES_TOKEN) with a token in common";

/// Every call of these services must have one of the tokens, known or not.
pub(super) fn demanded(routes: Routes, tokens: Tokens) -> Routes {
    routes.into_axum_router().layer(middleware::from_fn_with_state(tokens, check)).into()
}

async fn check(State(tokens): State<Tokens>, mut request: Request, next: Next) -> Response {
    let why = match request.headers_mut().remove(TOKEN) {
        Some(given) if tokens.accept(given.as_bytes()) => return next.run(request).await,
        Some(_) => WRONG,
        None => NONE,
    };
    tracing::debug!(path = request.uri().path(), why, "a call was refused");
    Status::unauthenticated(why).into_http()
}

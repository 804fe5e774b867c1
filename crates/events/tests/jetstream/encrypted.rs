//! TLS to the server, with certificates on both sides.

use super::{SOON, bus, config, next, publish, task};
use elanus_events::{BusConfig, Kind, Tls, open};
use elanus_testkit::{Authority, Nats};
use std::path::PathBuf;

/// A server that shows a certificate and asks for one.
async fn encrypted(authority: &Authority) -> Nats {
    let server = authority.issue("server").unwrap();
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key, ca) = (path(&server.cert), path(&server.key), path(&authority.ca()));
    Nats::start_with(&["--tls", "--tlscert", &cert, "--tlskey", &key, "--tlscacert", &ca, "--tlsverify"]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_is_encrypted_and_shows_who_it_is() {
    let authority = Authority::new().unwrap();
    let nats = encrypted(&authority).await;
    let own = authority.issue("elanus").unwrap();
    let tls = Tls { ca: Some(authority.ca()), own: Some((own.cert, own.key)) };
    let config = BusConfig { tls, ..config(&nats) };
    let (one, other) = (bus(&config, "c").await, bus(&config, "c").await);
    let mut items = other.subscribe(&[Kind::Task]).await.unwrap();
    publish(&*one, &task(7)).await;
    while next(&mut items).await.subject != task(7).subject {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_or_is_shown_something_else_sends_nothing() {
    let authority = Authority::new().unwrap();
    let nats = encrypted(&authority).await;
    let stranger = Authority::new().unwrap();
    let of = |authority: &Authority| {
        let pair = authority.issue("other").unwrap();
        Some((pair.cert, pair.key))
    };
    let refused = [
        ("no certificate", Tls { ca: Some(authority.ca()), own: None }),
        ("one of an authority that the server does not know", Tls { ca: Some(authority.ca()), own: of(&stranger) }),
        ("a server of an authority that is not trusted", Tls { ca: Some(stranger.ca()), own: of(&authority) }),
    ];
    for (what, tls) in refused {
        let bus = open(&BusConfig { tls, ..config(&nats) }, "c", "test").await.unwrap();
        let sent = tokio::time::timeout(SOON, bus.publish(task(1))).await.expect("an answer");
        assert!(sent.is_err(), "{what}");
    }
}

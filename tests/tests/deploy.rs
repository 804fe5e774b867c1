//! What `deploy/` says is what the program is: flags, settings, ports, paths and metrics. No engine and no cluster is
//! needed; that the images and the compose file run is seen by `cargo xtask e2e --compose`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use elanus_testkit::{Server, elanus, free_port, get, program, python};

async fn check(script: &str) {
    let program = program().unwrap().display().to_string();
    let written = python(&file("python").join(script), &[&program]).await;
    eprintln!("{}", written.unwrap());
}

#[tokio::test]
async fn the_compose_file_is_of_this_program() {
    check("deploy_compose.py").await;
}

#[tokio::test]
async fn the_kubernetes_manifests_are_valid_and_of_this_program() {
    check("deploy_kubernetes.py").await;
}

#[tokio::test]
async fn dashboards_alerts_and_pages_name_metrics_that_there_are() {
    check("deploy_metrics.py").await;
}

/// What images and manifests ask a process.
#[tokio::test]
async fn probes_are_answered_and_healthcheck_says_what_they_say() {
    let mut server = Server::start().await.unwrap();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(server.management(), path).await.unwrap().0, 200, "{path}");
    }
    let management = server.management().to_string();
    for more in [&[][..], &["--live"]] {
        let ended = elanus(["healthcheck", "--management", &management].iter().chain(more)).await.unwrap();
        assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "OK"), "{more:?}");
    }
    let everywhere = format!("0.0.0.0:{}", server.management().port());
    assert_eq!(elanus(["healthcheck", "--management", &everywhere]).await.unwrap().code, Some(0));
    let other = server.listen().to_string();
    let ended = elanus(["healthcheck", "--management", &other]).await.unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("a management port"), "{}", ended.stdout);
    server.terminate().await.unwrap();
    let ended = elanus(["healthcheck", "--management", &management]).await.unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("could not connect"), "{}", ended.stdout);
}

#[tokio::test]
async fn healthcheck_refuses_what_is_no_address() {
    for bad in ["", "localhost", "127.0.0.1", "http://127.0.0.1:9091", "127.0.0.1:99999"] {
        assert_eq!(elanus(["healthcheck", "--management", bad]).await.unwrap().code, Some(2), "{bad}");
    }
    let nobody = format!("127.0.0.1:{}", free_port().unwrap());
    assert_eq!(elanus(["healthcheck", "--management", &nobody]).await.unwrap().code, Some(1));
}

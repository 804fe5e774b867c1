//! Certificates that are replaced, and certificates that end.

use crate::world::{call, client, dial, now_s, serve_tls, server_files, write};
use elanus_runtime::{BackgroundTask as _, Reload, metrics};
use elanus_testkit::Authority;
use elanus_trust::{Protocol, ServerTls};
use elanus_types::{Clock as _, ManualClock, SystemClock};
use std::{
    io,
    sync::{Arc, Mutex},
};

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_new_certificate_is_in_force_without_a_restart_and_a_bad_one_is_not() {
    let (log, _guard) = logged();
    let (first, second) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (used, next) = (first.issue("server").unwrap(), second.issue("server").unwrap());
    let tls = ServerTls::open(server_files(&used, None), Protocol::Http2, now_s()).unwrap();
    let served = serve_tls(&tls).await;
    let reload = Reload::new(Arc::new(SystemClock), vec![("listen", tls.watch())]);
    let (of_first, of_second) = (dial(client(&first, None, None)), dial(client(&second, None, None)));
    let open = of_first.to(&format!("localhost:{}", served.port)).unwrap();
    assert!(write(open.clone()).await.is_ok());
    assert!(reload.round().await.is_quiet());

    std::fs::write(&used.key, "no key").unwrap();
    assert!(reload.round().await.is_quiet(), "somebody is about to replace both");
    for _ in 0..3 {
        assert!(reload.round().await.is_quiet());
        assert!(reload.concern().unwrap_err().contains("listen: --tls-key"), "{:?}", reload.concern());
    }
    let text = log.take();
    assert_eq!(text.matches("ERROR").count(), 1, "{text}");
    assert!(text.contains("those that were read before stay in force"), "{text}");
    assert!(call(&of_first, "localhost", &served).await.is_ok());
    metrics::collector().unwrap();
    reload.round().await;
    assert!(metrics::render().contains("elanus_tls_files_refused{of=\"listen\"} 1"), "{}", metrics::render());

    used.replace_by(&next).unwrap();
    assert_eq!(reload.round().await.handled, 1);
    assert_eq!(reload.concern(), Ok(()));
    assert!(call(&of_second, "localhost", &served).await.is_ok());
    assert!(call(&of_first, "localhost", &served).await.is_err());
    assert!(write(open).await.is_ok(), "connections that are open go on");
    assert!(metrics::render().contains("elanus_tls_files_refused{of=\"listen\"} 0"), "{}", metrics::render());
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_two_weeks_before_and_once_a_day() {
    let (log, _guard) = logged();
    let authority = Authority::new().unwrap();
    let pair = authority.issue_for("server", &["localhost"], 2030).unwrap();
    const END_S: i64 = 1_893_456_000;
    const DAY_S: i64 = 86_400;
    let tls = ServerTls::open(server_files(&pair, None), Protocol::Http2, now_s()).unwrap();
    let clock = Arc::new(ManualClock::at_ms(1_000 * (END_S - 20 * DAY_S)));
    let reload = Reload::new(Arc::clone(&clock) as _, vec![("expiry", tls.watch())]);
    metrics::collector().unwrap();
    let gauge = |seconds: i64| format!("elanus_tls_certificate_expiry_seconds{{of=\"expiry\"}} {seconds}\n");
    assert!(reload.round().await.is_quiet());
    assert_eq!(log.take(), "");
    assert!(metrics::render().contains(&gauge(20 * DAY_S)), "{}", metrics::render());
    for day in [13, 12] {
        clock.advance_ms(1_000 * (END_S - day * DAY_S) - clock.now_ms());
        for _ in 0..3 {
            assert!(reload.round().await.is_quiet());
        }
        let text = log.take();
        assert_eq!((text.matches("WARN").count(), text.matches(&format!("days_left={day}")).count()), (1, 1), "{text}");
    }
    clock.advance_ms(1_000 * (END_S + 5) - clock.now_ms());
    reload.round().await;
    assert_eq!(reload.concern(), Err("expiry: the certificate has ended".to_owned()));
    reload.round().await;
    assert_eq!(log.take().matches("ERROR").count(), 1);
    assert!(metrics::render().contains(&gauge(-5)), "{}", metrics::render());
}

//! From signals to one token: SIGTERM or Ctrl-C ends the process in good order, a second Ctrl-C at once.

use std::io;
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second Ctrl-C ended, as shells expect it.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first SIGTERM or Ctrl-C.
///
/// # Errors
/// When the system does not let this process listen to signals.
pub fn on_signals() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancel = token.clone();
    let mut signals = Signals::listen()?;
    tokio::spawn(async move {
        let name = signals.first().await;
        tracing::info!("{name}: stopping; Ctrl-C again to stop at once");
        cancel.cancel();
        signals.interrupt().await;
        tracing::warn!("stopped at once");
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn first(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    async fn interrupt(&mut self) {
        self.interrupt.recv().await;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn first(&mut self) -> &'static str {
        self.interrupt().await;
        "Ctrl-C"
    }

    async fn interrupt(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

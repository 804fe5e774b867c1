//! `elanus-chaos`: see `cargo xtask chaos --help`, which starts it.

use clap::Parser as _;
use elanus_e2e::{
    chaos::{self, Args},
    until_stopped,
};
use std::process::ExitCode;

// One that stops PostgreSQL waits without giving way; the others carry connections.
#[tokio::main(worker_threads = 4)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let Some(ended) = until_stopped(chaos::run(&args)).await else { return ExitCode::from(130) };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `elanus-e2e`: see `cargo xtask e2e --help`, which starts it.

use clap::Parser as _;
use elanus_e2e::{
    e2e::{self, Args, NoScenario},
    until_stopped,
};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let Some(ended) = until_stopped(e2e::run(&args)).await else { return ExitCode::from(130) };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<NoScenario>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

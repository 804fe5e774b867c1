//! `elanus-demo`: starts a server in a temporary directory, loses rows on purpose and gets them back from a snapshot,
//! and proves that what came back is what was there. Started by `cargo xtask demo`.

mod dataset;
mod input;
mod milvus;
mod picture;
mod screen;
mod story;

use anyhow::{Context as _, Result};
use clap::Parser;
use dataset::Dataset;
use elanus_testkit::Server;
use screen::Screen;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Lines of the server's log that a failure shows.
const LOG_LINES_SHOWN: usize = 60;

/// Starts a server and shows what Elanus does, step by step.
#[derive(Debug, Parser)]
#[command(name = "elanus-demo")]
struct Args {
    /// Your own vectors instead of the handwritten digits.
    #[arg(long, value_name = "FILE.parquet|.npy|.fvecs")]
    input: Option<PathBuf>,
    /// Keep the data directory and say where it is.
    #[arg(long)]
    keep: bool,
    /// Set to anything: no colours.
    #[arg(long, env = "NO_COLOR", value_name = "ANY", hide = true)]
    no_color: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let screen = Screen::new(args.no_color.as_ref().is_some_and(|value| !value.is_empty()));
    tokio::select! {
        ended = demo(&args, screen) => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("\nerror: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\nstopped");
            ExitCode::from(130)
        }
    }
}

async fn demo(args: &Args, mut screen: Screen) -> Result<()> {
    // First: a bad file must not start anything.
    let dataset = match &args.input {
        Some(path) => input::read(path)?,
        None => Dataset::digits()?,
    };
    screen.title(&format!("Elanus demo: {}, {} dimensions", dataset.what, dataset.dim));
    for note in &dataset.notes {
        screen.say(&format!("note: {note}"));
    }
    let home =
        tempfile::Builder::new().prefix("elanus-demo-").tempdir().context("cannot make a temporary directory")?;
    let data = home.path().join("data");

    let started = Instant::now();
    let mut server = Server::start_in(&data).await?;
    let start = started.elapsed();
    screen.step("server", &format!("elanus standalone, serving the Milvus API on {}", server.listen()), start);
    let told = story::tell(&server, &dataset, start, &mut screen).await;
    let stopped = server.terminate().await;
    match told.and(stopped) {
        Ok(()) => {
            if args.keep {
                keep(home, &server, &screen)?;
            }
            screen.done("Everything is as it should be.");
            Ok(())
        }
        Err(error) => {
            show_log(&server);
            let _ = keep(home, &server, &screen);
            Err(error)
        }
    }
}

fn keep(home: tempfile::TempDir, server: &Server, screen: &Screen) -> Result<()> {
    let home = home.keep();
    let log = home.join("server.log");
    std::fs::write(&log, server.log()).with_context(|| format!("cannot write {}", log.display()))?;
    screen.say(&format!("The log of the server is {}.", log.display()));
    screen.say(&format!("The data is kept: elanus standalone --data {}", shell_word(&home.join("data"))));
    Ok(())
}

fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains([' ', '\'', '"', '$', '\\']) { format!("{text:?}") } else { text }
}

fn show_log(server: &Server) {
    let log = server.log();
    let lines: Vec<&str> = log.lines().collect();
    eprintln!("\n── end of the server's log");
    for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
        eprintln!("{line}");
    }
    eprintln!("──");
}

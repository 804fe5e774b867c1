//! `cargo xtask images`: the image of Elanus, and the third-party images that `deploy/docker-compose.yml` names.
//!
//! * `compose`: which images those are.
//! * `docker`: the engine.
//! * `stand_ins`: what is built where no registry can be reached.
//! * `elanus`: the image of Elanus.
//!
//! What is there already is not made again. The compose file is the only place that says a name or a tag.

mod compose;
mod docker;
mod elanus;
mod stand_ins;

use anyhow::Result;
use compose::Image;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const HELP: &str = "\
Examples:
  cargo xtask images                       build Elanus in a container, pull the rest; stand-ins without a registry
  cargo xtask images --stand-ins --debug   nothing from a registry, and the quickest build: for a look, and for tests
  docker-compose -f deploy/docker-compose.yml -p elanus up -d

A stand-in has the name and tag of an image of the compose file and is made of Debian and PyPI packages: the same
PostgreSQL, NATS and SeaweedFS, an older Prometheus. In place of Jaeger and Grafana it has small programs that take spans
and check the dashboard, and show nothing. Every stand-in has the label elanus.stand-in=true:
  docker image ls --filter label=elanus.stand-in=true
Remove them before you pull the real ones. Needs a Docker engine and, for stand-ins, mmdebstrap and python3-venv.";

/// Make every image that deploy/docker-compose.yml names.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Ask no registry: build stand-ins for third-party images, and Elanus outside of a container.
    #[arg(long)]
    stand_ins: bool,
    /// Make those again that are there already.
    #[arg(long)]
    again: bool,
    /// Put a debug build of Elanus into its image: quick to make, not for use. Builds outside of a container.
    #[arg(long)]
    debug: bool,
    /// Put this program into the image of Elanus instead of building one.
    #[arg(long, value_name = "FILE", conflicts_with = "debug")]
    binary: Option<PathBuf>,
}

/// How an image came to be here.
struct Made {
    name: String,
    how: &'static str,
    took: Duration,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    docker::answers()?;
    let images = compose::images()?;
    let mut made = Vec::new();
    let missing: Vec<&Image> =
        images.third_party.iter().filter(|image| args.again || !docker::has(&image.name())).collect();
    for image in &images.third_party {
        if !missing.iter().any(|missing| missing.name() == image.name()) {
            let how = if docker::is_stand_in(&image.name()) { "stand-in, was here" } else { "was here" };
            made.push(Made { name: image.name(), how, took: Duration::ZERO });
        }
    }
    let is_cut_off = args.stand_ins || !registry_answers(&missing, args);
    if is_cut_off {
        stand_ins::build(&missing, args.again, &mut made)?;
    } else {
        for image in missing {
            step(&format!("pull {}", image.name()));
            let at = Instant::now();
            docker::pull(&image.name())?;
            made.push(Made { name: image.name(), how: "pulled", took: at.elapsed() });
        }
    }
    let at = Instant::now();
    let how = elanus::build(&images.elanus, args, is_cut_off)?;
    made.push(Made { name: images.elanus, how, took: at.elapsed() });
    report(&made, started.elapsed())
}

/// Asked once. Only when there is something to ask for: another run needs no network.
fn registry_answers(missing: &[&Image], args: &Args) -> bool {
    let builds_outside = args.debug || args.binary.is_some();
    let asked = match missing.first() {
        Some(image) => image.name(),
        None if builds_outside || docker::has(elanus::BUILDER) => return true,
        None => elanus::BUILDER.to_owned(),
    };
    step(&format!("is there a registry? pull {asked}"));
    let answers = docker::pull(&asked).is_ok();
    if !answers {
        step("no registry: stand-ins instead");
    }
    answers
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn step(text: &str) {
    println!("── {text}");
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn report(made: &[Made], took: Duration) -> Result<()> {
    println!();
    for Made { name, how, took } in made {
        let megabytes = docker::bytes(name)? / 1_000_000;
        println!("{name:<32} {how:<20} {megabytes:>6} MB {:>7.1} s", took.as_secs_f32());
    }
    println!("{:<63} {:>7.1} s", "in all", took.as_secs_f32());
    println!("\nnext: docker-compose -f deploy/docker-compose.yml -p elanus up -d");
    Ok(())
}

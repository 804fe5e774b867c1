//! `cargo xtask e2e` and `cargo xtask chaos`: build what they need, then become the program that does it. Its flags and its
//! help are its own.

use crate::demo::target;
use crate::run::{cargo, command, read, root, succeed};
use crate::test::{TESTED, environment};
use anyhow::{Context as _, Result, bail};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of another program, as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Flags: see `--help` of the command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    flags: Vec<String>,
}

impl Args {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }
}

pub(crate) fn e2e(args: &Args) -> Result<()> {
    let mut further = Vec::new();
    if args.has("--full") && !args.has("--help") {
        further.push("--old-program".into());
        further.push(build_before()?.into_os_string());
    }
    let mut program = prepared("elanus-e2e", args)?;
    program.arg("--root").arg(root()).args(further);
    become_it(program)
}

pub(crate) fn chaos(args: &Args) -> Result<()> {
    become_it(prepared("elanus-chaos", args)?)
}

fn prepared(name: &str, args: &Args) -> Result<Command> {
    // Of what `cargo xtask test` builds: with the features of fewer packages, every dependency would be built twice.
    succeed(cargo(&["build", "--locked", "--bins"]).args(TESTED))?;
    let mut program = Command::new(target(false).join(name));
    program.args(&args.flags).arg("--logs").arg(target(false).join("../e2e-logs"));
    if !args.has("--help") && !args.has("-h") {
        servers()?;
        program.envs(environment()?);
    }
    Ok(program)
}

/// This process becomes that one: Ctrl-C, and its exit code, are for nobody else.
fn become_it(mut program: Command) -> Result<()> {
    let error = program.exec();
    Err(error).with_context(|| format!("cannot start {:?}", program.get_program()))
}

/// PostgreSQL comes from Debian; the other servers are packages of the tests' Python.
fn servers() -> Result<()> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    if versions.map(|version| version.path().join("bin/initdb")).any(|initdb| initdb.is_file()) {
        return Ok(());
    }
    let root = read(&mut command("id", &["-u"]))?.trim() == "0";
    let apt = |args: &[&str]| {
        let mut apt = if root { command("apt-get", args) } else { command("sudo", &["apt-get"]) };
        if !root {
            apt.args(args);
        }
        succeed(&mut apt)
    };
    apt(&["update", "-q"])
        .and_then(|()| apt(&["install", "-q", "-y", "--no-install-recommends", "postgresql"]))
        .context("PostgreSQL is not installed, and this could not do it: apt-get install postgresql")
}

/// The program of the commit before this one, built in a work tree of its own below `target`.
fn build_before() -> Result<PathBuf> {
    let commit =
        read(&mut command("git", &["rev-parse", "HEAD~1"])).context("--full needs the commit before this one")?;
    let commit = commit.trim();
    let folder = target(false).join("../before");
    let (tree, built) = (folder.join("tree"), folder.join("target"));
    let text = path_text(&tree)?;
    if tree.exists() {
        succeed(&mut command("git", &["-C", &text, "checkout", "--quiet", "--detach", commit]))?;
    } else {
        succeed(&mut command("git", &["worktree", "add", "--quiet", "--detach", &text, commit]))?;
    }
    let mut build = cargo(&["build", "--locked", "--package", "elanus", "--bins"]);
    succeed(build.current_dir(&tree).env("CARGO_TARGET_DIR", &built))?;
    Ok(built.join("debug/elanus"))
}

fn path_text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{} is not UTF-8: move the checkout", path.display()),
    }
}

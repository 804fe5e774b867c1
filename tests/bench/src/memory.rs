//! Memory of coordinator and worker while very many files are restored by copy: in a process of its own, above what it
//! needs before the restore begins.

use crate::copies::{content, write};
use crate::report::Figure;
use crate::world::{Objects, World};
use anyhow::{Context as _, Result, bail, ensure};
use elanus_objects::checksum_of;
use elanus_types::RestoreMode;

/// What a restore may need, whatever its size.
const AIM_MIB: f64 = 200.0;
const BYTES: usize = 64;

pub(crate) async fn measure(files: i64) -> Result<Vec<Figure>> {
    let numbers = numbers_of_child("--restore-and-tell-memory", files).await?;
    let [before_kib, peak_kib, seconds] = numbers[..] else { bail!("it told {numbers:?}") };
    Ok(vec![
        Figure::new(
            format!("memory: above {:.0} MiB, {files} files", before_kib / 1024.0),
            (peak_kib - before_kib) / 1024.0,
            "MiB",
        )
        .beside("the aim", AIM_MIB),
        Figure::new(format!("memory: the restore of {files} files of {BYTES} bytes"), seconds, "s"),
    ])
}

/// The child: restores, and prints memory before, its peak, and the time.
#[expect(clippy::print_stdout, reason = "read by the parent")]
pub(crate) async fn restore_and_tell(files: i64) -> Result<()> {
    let mut world = World::start(Objects::Directory).await?;
    let bytes = content(BYTES);
    let filled = world.fill(files, bytes.len(), checksum_of(&bytes)).await?;
    write(&world, &filled, &bytes)?;
    drop(filled);
    world.listed_snapshot("first").await?;

    let before = peak_from_here()?;
    let (cost, ()) = world.cost(world.restore("first", "target", RestoreMode::Copy)).await?;
    println!("{before} {} {}", status("VmHWM:")?, cost.time.as_secs_f64());
    world.end().await;
    Ok(())
}

/// Numbers that this program prints when it is started again with a flag.
pub(crate) async fn numbers_of_child(flag: &str, files: i64) -> Result<Vec<f64>> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?);
    child.args(["--quick", flag, &files.to_string()]).kill_on_drop(true);
    let output = child.output().await?;
    ensure!(output.status.success(), "{flag} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout)?;
    Ok(told.split_whitespace().filter_map(|number| number.parse().ok()).collect())
}

/// The peak of memory counts from here; what is needed now, in KiB.
pub(crate) fn peak_from_here() -> Result<u64> {
    std::fs::write("/proc/self/clear_refs", "5").context("the peak of memory is told by Linux only")?;
    status("VmRSS:")
}

/// KiB.
pub(crate) fn status(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

//! Restore by copy, beside a bare loop over the same store that copies and verifies the same files, as many at a time.
//!
//! In a local directory a copy is a hard link: the bytes that are told are those that were verified.

use crate::report::Figure;
use crate::world::{CLUSTER, Filled, Objects, World};
use anyhow::Result;
use elanus_objects::{Expected, ObjectStore, checksum_of};
use elanus_types::{Checksum, ObjectKey, RestoreMode};
use futures::{TryStreamExt as _, stream};
use std::time::Instant;

/// As many as the worker copies at the same time: four tasks of sixteen files.
const AT_ONCE: usize = 64;

pub(crate) async fn measure(name: &str, (files, size): (i64, usize)) -> Result<Vec<Figure>> {
    let mut world = World::start(Objects::Directory).await?;
    let bytes = content(size);
    let checksum = checksum_of(&bytes);
    let filled = world.fill(files, size, checksum).await?;
    write(&world, &filled, &bytes)?;

    let bare_s = bare_loop(&*world.objects, &filled, Expected { size: size as u64, checksum }).await?;
    world.listed_snapshot("first").await?;
    let (cost, ()) = world.cost(world.restore("first", "target", RestoreMode::Copy)).await?;
    world.end().await;

    let seconds = cost.time.as_secs_f64();
    let files_per_s = Figure {
        object_requests: Some(cost.object_requests),
        sql_statements: Some(cost.sql_statements),
        ..Figure::new(format!("copy: {files} {name} of {size} bytes"), files as f64 / seconds, "files/s")
    };
    let megabytes = (files as usize * size) as f64 / 1e6;
    Ok(vec![
        files_per_s.beside("a bare loop that verifies", files as f64 / bare_s),
        Figure::new(format!("copy: {files} {name}, bytes verified"), megabytes / seconds, "MB/s")
            .beside("a bare loop that verifies", megabytes / bare_s),
    ])
}

/// Bytes that differ from one another.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    next.flatten().take(size).collect()
}

/// The objects that the metadata name, without the store: their writing is not measured.
pub(crate) fn write(world: &World, filled: &Filled, bytes: &[u8]) -> Result<()> {
    for key in &filled.keys {
        let path = world.object_path(key);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// Seconds.
async fn bare_loop(objects: &dyn ObjectStore, filled: &Filled, expected: Expected) -> Result<f64> {
    let started = Instant::now();
    stream::iter(filled.keys.iter().enumerate().map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, async |(n, key)| {
            let to = ObjectKey::parse(&format!("{CLUSTER}/bare/{n}"))?;
            objects.copy(&ObjectKey::parse(key)?, &to, expected).await?;
            let copied: Checksum = objects.checksum(&to).await?;
            anyhow::ensure!(copied == expected.checksum, "{key} was copied wrongly");
            Ok(())
        })
        .await?;
    Ok(started.elapsed().as_secs_f64())
}

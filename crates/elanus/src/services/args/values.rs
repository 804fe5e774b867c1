//! Times and sizes as users write them.

use elanus_proto::transport::MESSAGE_BYTES_MAX;
use std::time::Duration;

/// Not shorter than a reader's lease lasts: what a read may still open must not depend on its heartbeat alone.
pub(super) fn tolerance(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(elanus_querynode::READER_LEASE_MS.unsigned_abs());
    match retention(text)? {
        time if time.is_zero() || time >= least => Ok(time),
        _ => Err(format!("give {least:?} or more, the time of a reader's lease, or 0")),
    }
}

/// What is put off must not be off: the plan is kept for two days.
pub(super) fn first_run_pause(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(48 * 3_600);
    match retention(text)? {
        time if time <= MAX => Ok(time),
        _ => Err("it is more than two days; for example 1h, or 0".to_owned()),
    }
}

/// `24h`, `7days`, `0`.
pub(super) fn retention(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; for example 24h, or 0"))
}

/// `30s`, `5m`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; for example 30s"))?;
    if time < Duration::from_secs(1) { Err("it is less than a second; for example 30s".to_owned()) } else { Ok(time) }
}

/// `24h`, `7days`.
pub(super) fn a_day_or_more(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(86_400);
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; for example 168h"))?;
    if time < DAY { Err("it is less than a day; for example 168h".to_owned()) } else { Ok(time) }
}

/// `24h`, `30m`.
pub(super) fn a_minute_or_more(text: &str) -> Result<Duration, String> {
    const MINUTE: Duration = Duration::from_secs(60);
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; for example 24h"))?;
    if time < MINUTE { Err("it is less than a minute; for example 24h".to_owned()) } else { Ok(time) }
}

/// `64MiB`, `10GiB`.
pub(super) fn bytes_of_stream(text: &str) -> Result<u64, String> {
    let bytes = number_of_bytes(text)?;
    let bounds = 1_u64 << 20..=1 << 40;
    if bounds.contains(&bytes) { Ok(bytes) } else { Err("give at least 1MiB and at most 1024GiB".to_owned()) }
}

/// `1048576`, `1024KiB`, `1MiB`.
pub(in crate::services) fn bytes(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(number_of_bytes(text)?).unwrap_or(usize::MAX);
    let bounds = 1 << 20..=MESSAGE_BYTES_MAX;
    if bounds.contains(&bytes) { Ok(bytes) } else { Err("give at least 1MiB and at most 512MiB".to_owned()) }
}

fn number_of_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.find(|c: char| !c.is_ascii_digit()).map(|at| text.split_at(at)) {
        None => (text, 0),
        Some((number, "KiB")) => (number, 10),
        Some((number, "MiB")) => (number, 20),
        Some((number, "GiB")) => (number, 30),
        Some(_) => return Err("give bytes, or a number with KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "give a number, for example 64MiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is too much; for example 64MiB".to_owned())
}

/// `host:port`, as others reach it.
pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let example = "give HOST:PORT, for example datacoord-0.internal:19531";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| example.to_owned())?;
    let named = !host.is_empty() && !text.contains(|c: char| c.is_whitespace() || "/@?#".contains(c));
    let port: u16 = port.parse().map_err(|_| example.to_owned())?;
    if named && port > 0 { Ok(text.to_owned()) } else { Err(example.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_not_shorter_than_a_readers_lease() {
        for (text, seconds) in [("0", 0), ("60s", 60), ("24h", 86_400)] {
            assert_eq!(tolerance(text).map(|time| time.as_secs()), Ok(seconds));
        }
        for bad in ["59s", "1ms", "-1h", "24"] {
            assert!(tolerance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_first_run_waits_and_never_for_ever() {
        for (text, seconds) in [("0", 0), ("1h", 3_600), ("48h", 172_800)] {
            assert_eq!(first_run_pause(text).map(|time| time.as_secs()), Ok(seconds));
        }
        for bad in ["49h", "-1h", "soon"] {
            assert!(first_run_pause(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_has_a_unit_and_bounds() {
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        for bad in ["", "MiB", "1", "1GiB", "64MB", "-1", "99999999999999999999KiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_that_others_reach_has_a_host_and_a_port() {
        for good in ["127.0.0.1:19531", "datacoord-0.internal:19531", "[::1]:1"] {
            assert_eq!(host_and_port(good).as_deref(), Ok(good));
        }
        for bad in ["", "localhost", ":19531", "host:", "host:0", "host:99999", "http://host:1", "a b:1", "u@h:1"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }
}

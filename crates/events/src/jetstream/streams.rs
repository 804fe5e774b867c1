//! What is kept, and for how long. Made by whoever publishes, and corrected when it is not what was configured; what an
//! operator added to a stream (a placement, a mirror, a description) stays.

use super::wire;
use crate::Error;
use crate::config::Limits;
use async_nats::jetstream::{
    Context,
    context::GetStreamErrorKind,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use std::time::Duration;

/// An event that is published again within this time is stored once. Longer than a server is usually away for a restart.
const DUPLICATES_WINDOW: Duration = Duration::from_secs(600);

/// Stream of the events of a cluster.
pub(super) fn events(cluster: &str) -> String {
    format!("elanus-{cluster}")
}

/// Stream of what could not be handled.
pub(super) fn dead_letters(cluster: &str) -> String {
    format!("elanus-dead-{cluster}")
}

/// Makes both streams, or corrects them. Harmless twice.
pub(super) async fn check(context: &Context, cluster: &str, limits: &Limits) -> Result<(), Error> {
    for (name, subjects) in [(events(cluster), wire::all(cluster)), (dead_letters(cluster), wire::all_dead(cluster))] {
        let there = match context.get_stream(&name).await {
            Ok(stream) => Some(stream.cached_info().config.clone()),
            Err(error) if is_absent(&error.kind()) => None,
            Err(error) => return Err(Error::away(error)),
        };
        let wanted = as_configured(there.clone().unwrap_or_default(), name, subjects, limits);
        match there {
            Some(there) if there == wanted => {}
            Some(_) => {
                context.update_stream(&wanted).await.map_err(Error::away)?;
                tracing::info!(stream = wanted.name, "corrected a stream of events to what is configured");
            }
            None => {
                context.create_stream(&wanted).await.map_err(Error::away)?;
                tracing::info!(stream = wanted.name, "made a stream of events");
            }
        }
    }
    Ok(())
}

pub(super) fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error)
        if error.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn as_configured(config: Config, name: String, subjects: String, limits: &Limits) -> Config {
    Config {
        name,
        subjects: vec![subjects],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: limits.age_max,
        max_bytes: i64::try_from(limits.bytes_max).unwrap_or(i64::MAX),
        num_replicas: usize::from(limits.replicas),
        duplicate_window: DUPLICATES_WINDOW.min(limits.age_max),
        ..config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_added_stays() {
        let limits = Limits { age_max: Duration::from_secs(60), bytes_max: 1_000, replicas: 3, ..Limits::default() };
        let theirs = Config { description: Some("ours".to_owned()), max_bytes: 7, ..Config::default() };
        let config = as_configured(theirs, events("c"), wire::all("c"), &limits);
        assert_eq!((config.name.as_str(), config.subjects.as_slice()), ("elanus-c", &["elanus.c.>".to_owned()][..]));
        assert_eq!((config.max_bytes, config.num_replicas, config.description.as_deref()), (1_000, 3, Some("ours")));
        assert_eq!(config.duplicate_window, Duration::from_secs(60), "not longer than anything is kept");
        let again = as_configured(config.clone(), events("c"), wire::all("c"), &limits);
        assert_eq!(config, again);
    }
}

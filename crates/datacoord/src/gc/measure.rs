//! The numbers about garbage collection that only the metadata know. Counted once a minute, not at every look.

use crate::Parts;
use elanus_meta::gauges::Gauges;
use elanus_runtime::background::Report;
use elanus_types::Failure;
use metrics::gauge;

/// Values of labels, so that what is empty is shown as 0 and not as it was.
const REASONS: [&str; 3] = ["abandoned", "released", "orphan"];
const BRAKES: [&str; 5] = ["frozen", "paused", "held", "read", "breaker"];
const ORPHANS: [&str; 6] = ["seen", "unknown", "candidate", "young", "ready", "queued"];

pub(crate) async fn measure(parts: &Parts) -> Result<Report, Failure> {
    let gauges = parts.meta().gauges(super::rule(parts)).await?;
    show(&gauges, parts.now_ms());
    Ok(Report::default())
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn show(gauges: &Gauges, now_ms: i64) {
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let age = |since: Option<i64>| since.map_or(0.0, |since| seconds((now_ms - since).max(0)));
    for (reason, state) in REASONS.map(|reason| (reason, "queued")).into_iter().chain([("", "deleting")]) {
        let found = gauges.queue.iter().find(|part| part.reason == reason && part.state == state);
        let (sets, bytes) = found.map_or((0, 0), |part| (part.file_sets, part.bytes));
        gauge!("elanus_datacoord_gc_queue_file_sets", "reason" => reason, "state" => state).set(sets as f64);
        gauge!("elanus_datacoord_gc_queue_bytes", "reason" => reason, "state" => state).set(bytes as f64);
    }
    for by in BRAKES {
        let found = gauges.kept.iter().find(|kept| kept.by == by);
        let (objects, bytes) = found.map_or((0, 0), |kept| (kept.amount.objects, kept.amount.bytes));
        gauge!("elanus_datacoord_gc_kept_objects", "by" => by).set(objects as f64);
        gauge!("elanus_datacoord_gc_kept_bytes", "by" => by).set(bytes as f64);
    }
    gauge!("elanus_datacoord_gc_first_run_objects").set(gauges.first_run as f64);
    gauge!("elanus_datacoord_gc_failing_objects").set(gauges.failing as f64);
    for state in ORPHANS {
        let (number, bytes) = gauges.orphans.get(state).copied().unwrap_or_default();
        gauge!("elanus_datacoord_gc_orphans", "state" => state).set(number as f64);
        gauge!("elanus_datacoord_gc_orphans_bytes", "state" => state).set(bytes as f64);
    }
    gauge!("elanus_datacoord_gc_queue_oldest_seconds").set(age(gauges.queue_oldest_ms));
    gauge!("elanus_datacoord_gc_freezes").set(gauges.freezes as f64);
    gauge!("elanus_datacoord_snapshots_unlisted").set(gauges.unlisted as f64);
    gauge!("elanus_datacoord_snapshot_unlisted_oldest_seconds").set(age(gauges.unlisted_oldest_ms));
    gauge!("elanus_datacoord_pins").set(gauges.pins as f64);
    gauge!("elanus_datacoord_pin_oldest_seconds").set(age(gauges.pin_oldest_ms));
    let kept = [("one", gauges.bytes_of_one_snapshot), ("several", gauges.bytes_of_several_snapshots)];
    for (kept_by, bytes) in kept {
        gauge!("elanus_datacoord_snapshot_only_bytes", "kept_by" => kept_by).set(bytes as f64);
    }
    let scan = gauges.last_scan.as_ref();
    let started_ms = scan.and_then(|scan| scan.started_ms);
    let took = scan.and_then(|scan| scan.ended_ms).zip(started_ms).map_or(0.0, |(end, start)| seconds(end - start));
    gauge!("elanus_datacoord_scan_age_seconds").set(if started_ms.is_some() { age(started_ms) } else { -1.0 });
    gauge!("elanus_datacoord_scan_duration_seconds").set(took);
    gauge!("elanus_datacoord_scan_missing_objects").set(scan.map_or(0.0, |scan| scan.counts.missing as f64));
}

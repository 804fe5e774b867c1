//! Names, types and labels of the metrics of each service: what dashboards and alarms are built on.

use elanus_scenarios::file;
use elanus_testkit::{Server, get, settings, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(90);
/// Counted once a minute, and only where there is something to count: too late and too seldom for a test.
const LATE: [&str; 4] = [
    "elanus_datacoord_gc_kept_",
    "elanus_datacoord_gc_orphans",
    "elanus_datacoord_gc_queue_bytes",
    "elanus_datacoord_gc_queue_file_sets",
];
/// For so long nothing new may come before a file is written.
const QUIET: Duration = Duration::from_secs(10);

/// `name type {labels}` of everything that a page has.
fn lines(page: &str) -> BTreeSet<String> {
    let mut kinds = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        kinds.insert(name, (kind, BTreeSet::new()));
    }
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, labels) = line.split_once(['{', ' ']).unwrap();
        let labels = if line.contains('{') { labels.rsplit_once('}').unwrap().0 } else { "" };
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let name = if kinds.contains_key(name) { name } else { base.unwrap_or(name) };
        let (_, known) = kinds.get_mut(name).unwrap_or_else(|| panic!("{name} has no type"));
        known.extend(
            labels
                .split("\",")
                .filter_map(|pair| pair.split_once('='))
                .map(|(label, _)| label)
                .filter(|label| *label != "le"),
        );
    }
    let line = |(name, (kind, labels)): (&str, (&str, BTreeSet<&str>))| {
        format!("{name} {kind} {{{}}}", labels.into_iter().collect::<Vec<_>>().join(","))
    };
    kinds.into_iter().filter(|(name, _)| !LATE.iter().any(|late| name.starts_with(late))).map(line).collect()
}

async fn found(server: &Server) -> Result<BTreeSet<String>, String> {
    let (status, page) = get(server.management(), "/metrics").await.map_err(|error| error.to_string())?;
    if status == 200 { Ok(lines(&page)) } else { Err(page) }
}

/// The metrics of a service are those of its file, no more and no fewer.
pub(crate) async fn keep_their_names(service: &str, server: &Server) {
    let path = file(&format!("metrics/{service}.txt"));
    if settings::bless() {
        let text: String = settled(server).await.into_iter().map(|line| line + "\n").collect();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let wanted: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let what = format!(
        "all metrics of tests/metrics/{service}.txt; when some are meant to go: ELANUS_BLESS=1 and this test again"
    );
    let found = wait_for(&what, SOON, async || {
        let found = found(server).await?;
        let missing: Vec<_> = wanted.difference(&found).collect();
        if missing.is_empty() { Ok(found) } else { Err(format!("missing: {missing:#?}")) }
    })
    .await;
    let new: Vec<_> = found.difference(&wanted).collect();
    assert!(
        new.is_empty(),
        "{service} has metrics that are not in tests/metrics/{service}.txt: {new:#?}\nwhen they are meant: run this test \
         with ELANUS_BLESS=1, and say so in the CHANGELOG"
    );
}

/// Everything that came until nothing new did.
async fn settled(server: &Server) -> BTreeSet<String> {
    let (mut all, mut last) = (BTreeSet::new(), Instant::now());
    wait_for("metrics that settle", SOON, async || {
        let before = all.len();
        all.extend(found(server).await?);
        if all.len() > before {
            last = Instant::now();
        }
        if last.elapsed() > QUIET { Ok(()) } else { Err(format!("{} metrics", all.len())) }
    })
    .await;
    all
}

#[test]
fn a_page_is_read_as_prometheus_reads_it() {
    let page = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"x,y=\\\"z\",c=\"}\"} 1\n\n\
                # TYPE d_seconds histogram\nd_seconds_bucket{e=\"f\",le=\"0.1\"} 1\nd_seconds_sum{e=\"f\"} 1\n\
                # TYPE g gauge\ng 1\n";
    let found: Vec<_> = lines(page).into_iter().collect();
    assert_eq!(found, ["a_total counter {b,c}", "d_seconds histogram {e}", "g gauge {}"]);
}

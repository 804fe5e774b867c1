//! The keys of the configuration file, each with its flag. Keys that Milvus has are named as there.

/// A key of the file and the flag that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Dotted path in the file.
    pub(crate) key: &'static str,
    /// Name of the flag, without dashes.
    pub(crate) flag: &'static str,
}

const fn setting(key: &'static str, flag: &'static str) -> Setting {
    Setting { key, flag }
}

/// All of them, in the order of `elanus config template`.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("data", "data"),
    setting("listen", "listen"),
    setting("advertise", "advertise"),
    setting("management", "management"),
    setting("readOnly", "read-only"),
    setting("meta.url", "meta"),
    setting("objects.url", "objects"),
    setting("objects.s3.endpoint", "s3-endpoint"),
    setting("objects.s3.region", "s3-region"),
    setting("objects.s3.addressStyle", "s3-address-style"),
    setting("objects.s3.ca", "s3-ca"),
    setting("objects.s3.accessKey", "s3-access-key"),
    setting("objects.s3.secretKey", "s3-secret-key"),
    setting("objects.s3.requestsMax", "s3-requests-max"),
    setting("events.url", "events-url"),
    setting("events.user", "events-user"),
    setting("events.password", "events-password"),
    setting("events.token", "events-token"),
    setting("events.credentials", "events-credentials"),
    setting("events.ca", "events-ca"),
    setting("events.cert", "events-cert"),
    setting("events.key", "events-key"),
    setting("events.retention", "events-retention"),
    setting("events.bytesMax", "events-bytes-max"),
    setting("events.replicas", "events-replicas"),
    setting("events.deliveriesMax", "events-deliveries-max"),
    setting("events.waitingMax", "events-waiting-max"),
    setting("services.datacoord", "datacoord"),
    setting("services.datanode", "datanode"),
    setting("services.querynode", "querynode"),
    setting("services.token", "services-token"),
    setting("services.tokenFile", "services-token-file"),
    setting("common.security.authorizationEnabled", "authorization-enabled"),
    setting("common.security.superUsers", "super-users"),
    setting("tls.serverPemPath", "tls-cert"),
    setting("tls.serverKeyPath", "tls-key"),
    setting("tls.caPemPath", "tls-client-ca"),
    setting("tls.minVersion", "tls-min-version"),
    setting("tls.management", "management-tls"),
    setting("internaltls.serverPemPath", "services-tls-cert"),
    setting("internaltls.serverKeyPath", "services-tls-key"),
    setting("internaltls.caPemPath", "services-tls-ca"),
    setting("internaltls.sni", "services-tls-server-name"),
    setting("proxy.grpc.serverMaxRecvSize", "message-bytes-max"),
    setting("snapshot.listedMax", "snapshot-listed-max"),
    setting("restore.mode", "restore-mode"),
    setting("restore.copySlots", "copy-slots"),
    setting("restore.copiesAtOnceMax", "copies-at-once-max"),
    setting("compaction.enableAutoCompaction", "auto-compaction"),
    setting("compaction.interval", "compaction-interval"),
    setting("compaction.fileSize", "compaction-file-size"),
    setting("compaction.tasksMax", "compactions-max"),
    setting("indexCoord.segment.minSegmentNumRowsToEnableIndex", "index-rows-min"),
    setting("indexCoord.scheduler.buildsMax", "index-builds-max"),
    setting("trash.retention", "trash-retention"),
    setting("gc.scanInterval", "gc-scan-interval"),
    setting("gc.missingTolerance", "gc-missing-tolerance"),
    setting("gc.dropTolerance", "gc-drop-tolerance"),
    setting("gc.firstRunPause", "gc-first-run-pause"),
    setting("log.level", "log"),
    setting("log.format", "log-format"),
    setting("trace.otlp.endpoint", "otlp-endpoint"),
    setting("trace.sampleFraction", "trace-sample-fraction"),
];

/// The commands that they are for.
pub(crate) const SERVICES: [&str; 5] = ["standalone", "proxy", "datacoord", "datanode", "querynode"];

/// The flag that says where the file is; the only one that the file cannot hold.
pub(crate) const FILE_FLAG: &str = "config";

/// Milvus keeps these settings below it; the prefix is accepted.
const MILVUS_PREFIX: &str = "dataCoord.";

/// The setting of a key.
///
/// # Errors
/// The key that comes nearest to an unknown one.
pub(crate) fn find(key: &str) -> Result<Setting, Option<&'static str>> {
    let key = key.strip_prefix(MILVUS_PREFIX).unwrap_or(key);
    if let Some(found) = SETTINGS.iter().find(|setting| setting.key == key) {
        return Ok(*found);
    }
    let near = SETTINGS.iter().map(|setting| (strsim::jaro_winkler(key, setting.key), setting.key));
    let best = near.max_by(|a, b| a.0.total_cmp(&b.0));
    Err(best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, key)| key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_also_under_the_name_that_milvus_gives_it() {
        assert_eq!(find("restore.mode").unwrap().flag, "restore-mode");
        assert_eq!(find("dataCoord.restore.mode").unwrap().flag, "restore-mode");
        assert_eq!(find("restore.mod"), Err(Some("restore.mode")));
        assert_eq!(find("quux"), Err(None));
    }
}

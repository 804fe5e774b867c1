//! What a trace must be like.

use crate::requests::Caller;
use elanus_testkit::{OtlpReceiver, ReceivedSpan, picture, wait_for};
use std::collections::HashMap;
use std::time::Duration;

/// A trace that is whole: every span but the first has its parent in it.
pub(crate) struct Tree {
    spans: Vec<ReceivedSpan>,
    by_id: HashMap<String, usize>,
}

impl Tree {
    /// Waits until spans of these names have come, and everything between them and the caller.
    pub(crate) async fn of(receiver: &OtlpReceiver, caller: &Caller, names: &[&str]) -> Self {
        wait_for("a whole trace", Duration::from_secs(60), async || {
            let tree = Self::from(receiver.trace(&caller.trace));
            let missing: Vec<_> = names.iter().filter(|name| tree.named(name).is_empty()).collect();
            let lost = tree.spans.iter().filter(|span| span.parent != caller.span && tree.parent(span).is_none());
            let lost: Vec<_> = lost.map(|span| &span.name).collect();
            if missing.is_empty() && lost.is_empty() {
                Ok(tree)
            } else {
                Err(format!("missing: {missing:?}, without their parent: {lost:?}, in\n{}", tree.picture()))
            }
        })
        .await
    }

    fn from(spans: Vec<ReceivedSpan>) -> Self {
        let by_id = spans.iter().enumerate().map(|(n, span)| (span.id.clone(), n)).collect();
        Self { spans, by_id }
    }

    fn parent(&self, span: &ReceivedSpan) -> Option<&ReceivedSpan> {
        self.by_id.get(&span.parent).map(|n| &self.spans[*n])
    }

    pub(crate) fn spans(&self) -> &[ReceivedSpan] {
        &self.spans
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&ReceivedSpan> {
        self.spans.iter().filter(|span| short(span) == name).collect()
    }

    pub(crate) fn one(&self, name: &str) -> &ReceivedSpan {
        let found = self.named(name);
        assert_eq!(found.len(), 1, "{name} in\n{}", self.picture());
        found[0]
    }

    pub(crate) fn picture(&self) -> String {
        picture(&self.spans, SHOWN)
    }

    /// The way from the first span to this one, without the client's side of calls.
    fn way(&self, span: &ReceivedSpan) -> Vec<String> {
        let mut way = vec![short(span)];
        let mut at = span;
        while let Some(parent) = self.parent(at) {
            if !is_call(parent) {
                way.insert(0, short(parent));
            }
            at = parent;
        }
        way
    }

    /// There is a span at the end of each of these ways; names with ` / ` between them.
    pub(crate) fn has_ways(&self, wanted: &[&str]) {
        let found: Vec<String> = self.spans.iter().map(|span| self.way(span).join(" / ")).collect();
        for way in wanted {
            assert!(found.iter().any(|found| found == way), "there is no {way} in\n{}", self.picture());
        }
    }

    /// The first span: what the client called.
    pub(crate) fn root(&self, caller: &Caller) -> &ReceivedSpan {
        let roots: Vec<_> = self.spans.iter().filter(|span| span.parent == caller.span).collect();
        assert_eq!(roots.len(), 1, "{}", self.picture());
        roots[0]
    }
}

const SHOWN: &[&str] = &[
    "elanus.collection",
    "elanus.snapshot",
    "elanus.job",
    "elanus.task",
    "elanus.files",
    "elanus.bytes",
    "elanus.report",
    "db.query.summary",
];

fn is_call(span: &ReceivedSpan) -> bool {
    span.kind == 3 && span.attributes.contains_key("rpc.system")
}

/// Without package and service of a call.
fn short(span: &ReceivedSpan) -> String {
    let name = span.name.rsplit_once('.').filter(|_| span.name.contains('/')).map_or(&*span.name, |(_, name)| name);
    if is_call(span) { format!("→ {name}") } else { name.to_owned() }
}

/// The ways that a create has in every deployment.
pub(crate) const CREATE: &[&str] = &[
    "MilvusService/CreateSnapshot / DataCoord/DescribeCollection / meta.read",
    "MilvusService/CreateSnapshot / DataCoord/CreateSnapshot / datacoord.snapshot.pin / meta.write",
    "MilvusService/CreateSnapshot / DataCoord/CreateSnapshot / datacoord.snapshot.manifests / objects.put",
    "MilvusService/CreateSnapshot / DataCoord/CreateSnapshot / datacoord.snapshot.metadata / objects.put",
    "MilvusService/CreateSnapshot / DataCoord/CreateSnapshot / datacoord.snapshot.commit / meta.write",
];
/// Of a restore that shares files.
pub(crate) const CLONE: &[&str] = &[
    "MilvusService/RestoreSnapshot / DataCoord/DescribeCollection / meta.read",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / meta.write",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.restore.clone / meta.write",
];
/// Of a restore that copies.
pub(crate) const COPY: &[&str] = &[
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / meta.write",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.restore.plan / meta.write",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.task.claim / meta.write",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.task.assign / DataNode/AssignTask / datanode.task.copy / datanode.file.copy / objects.copy",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.task.assign / DataNode/AssignTask / datanode.task.copy / datanode.file.copy / objects.checksum",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.task.assign / DataNode/AssignTask / datanode.task.copy / DataCoord/ReportTask / meta.write",
    "MilvusService/RestoreSnapshot / DataCoord/RestoreSnapshot / datacoord.restore.publish / meta.write",
];

pub(crate) fn attribute<'s>(span: &'s ReceivedSpan, name: &str) -> &'s str {
    span.attributes.get(name).unwrap_or_else(|| panic!("no {name} in {span:#?}"))
}

/// Every call and every transaction has the names that OpenTelemetry gives.
pub(crate) fn speaks_the_standard(tree: &Tree) {
    for span in tree.spans() {
        if span.name.contains('/') {
            assert_eq!(attribute(span, "rpc.system"), "grpc");
            assert_eq!(span.name, format!("{}/{}", attribute(span, "rpc.service"), attribute(span, "rpc.method")));
        }
        if span.name.starts_with("meta.") {
            assert!(["sqlite", "postgresql"].contains(&attribute(span, "db.system.name")), "{span:#?}");
            assert!(!attribute(span, "db.query.summary").contains('\''), "{span:#?}");
        }
    }
}

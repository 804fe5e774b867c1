//! `elanus ctl gc`.

use super::{
    Stop, confirm,
    output::{Rendered, clean, facts, number_or_null, rfc3339, seconds, size, table},
};
use clap::Subcommand;
use elanus_client::{
    Client, Gc, GcAmount, GcAuditLine, GcCollection, GcHold, GcPause, GcPlan, GcPlanItem, GcRun, GcStatus, GcWhy,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Objects of one page of a plan.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What waits for deletion, and what keeps it
    ///
    /// Ends with exit code 1 while deletes are frozen, a circuit breaker is open, or objects cannot be deleted.
    Status,
    Scan(super::gc_scan::ScanArgs),
    Orphans(super::gc_scan::OrphansArgs),
    Reconcile(super::gc_scan::ReconcileArgs),
    /// Run the collector now, or one of its background tasks
    #[command(after_long_help = "Tasks: snapshot.expire, intent.expire, gc.release, sweep, gc.recount, gc.forget")]
    Run {
        /// One background task [default: all of them]
        task: Option<String>,
    },
    /// Write down what would be deleted now. Deletes nothing
    Plan {
        /// Objects that are listed; the plan has all of them
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Delete what is in a plan, and nothing else; the answer to a circuit breaker
    Apply {
        /// Number of the plan
        plan: i64,
        /// Only show what is left of the plan
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Tell who keeps an object
    Why {
        /// Its key, as `ctl scrub` and `ctl snapshot inspect` show it
        key: String,
    },
    /// Bring a purged collection back from the deletion queue, as long as none of its files is deleted
    ///
    /// Its snapshots do not come back. What is still in the trash comes back whole: elanus ctl trash restore.
    Undo {
        /// Id of the collection, from `gc audit`, `gc why` or `trash list`
        collection: i64,
        /// Another name, where the old one is taken
        #[arg(long = "as", value_name = "NAME")]
        new_name: Option<String>,
    },
    /// Delete nothing for a time; returns when no deletion runs
    Pause {
        /// Only what belongs to this collection: its name, or its id
        #[arg(long, value_name = "COLLECTION")]
        collection: Option<String>,
        /// How long, for example 2h
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        ttl: Duration,
    },
    /// End a pause
    Resume {
        /// Ticket of the pause [default: all pauses end]
        ticket: Option<i64>,
    },
    /// Legal holds: list, set, lift
    #[command(subcommand)]
    Holds(Holds),
    /// What was claimed, deleted, paused, held, newest first
    Audit {
        /// Only what happened to this object
        #[arg(long)]
        key: Option<String>,
        /// Only lines before this one
        #[arg(long, value_name = "ID", default_value_t = 0)]
        before: i64,
        /// Lines
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Stop all deletes until `gc thaw`
    Freeze {
        /// Why
        reason: String,
    },
    /// Let deletes go on after a freeze
    Thaw {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Holds {
    /// All holds
    #[command(visible_alias = "ls")]
    List,
    /// Keep everything that a collection has or had, or one of its snapshots, until the hold is lifted
    Set {
        /// Its name, or its id where it is dropped
        collection: String,
        /// Only this snapshot
        #[arg(long, value_name = "NAME")]
        snapshot: Option<String>,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Lift a hold
    Lift {
        /// Its id
        hold: i64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    let gc = client.gc().actor("elanus ctl");
    Ok(match command {
        Command::Scan(args) => super::gc_scan::scan(client, &args).await?,
        Command::Orphans(args) => super::gc_scan::orphans(client, &args).await?,
        Command::Reconcile(args) => super::gc_scan::reconcile(client, &args).await?,
        Command::Status => {
            let status = gc.status().await?;
            let rendered = render_status(&status);
            if status.frozen_ms != 0 || !status.breakers.is_empty() || status.failing > 0 {
                return Err(Stop::Differs(rendered));
            }
            rendered
        }
        Command::Run { task } => {
            let runs = gc.run(task.as_deref()).await?;
            let rendered = render_runs(&runs);
            if runs.iter().any(|run| run.failed > 0) {
                return Err(Stop::Differs(rendered));
            }
            rendered
        }
        Command::Plan { limit } => {
            let plan = gc.plan().await?;
            let items = items(&gc, plan.plan_id, limit).await?;
            render_plan(&plan, &items)
        }
        Command::Apply { plan, dry_run: true, .. } => {
            let items = items(&gc, plan, usize::MAX).await?;
            render_left(plan, &items)
        }
        Command::Apply { plan, yes, .. } => {
            let what = format!("what plan {plan} lists is deleted and cannot come back");
            confirm::confirm(yes, &what, &plan.to_string())?;
            let file_sets = gc.apply(plan).await?;
            Rendered {
                text: format!("{file_sets} file sets of plan {plan} are deleted"),
                json: json!({"plan_id": plan, "file_sets": file_sets}),
            }
        }
        Command::Why { key } => render_why(&key, &gc.why(&key).await?),
        Command::Undo { collection, new_name } => {
            let back = gc.undo(collection, new_name.as_deref()).await?;
            Rendered {
                text: format!("{} (id {}) is back, as it was when it was dropped", back.name, back.collection_id),
                json: json!({"id": back.collection_id, "name": back.name, "undone": true}),
            }
        }
        Command::Pause { collection, ttl } => render_pause(&gc.pause(collection.as_deref().map(which), ttl).await?),
        Command::Resume { ticket } => {
            let ended = gc.resume(ticket).await?;
            let pauses = if ended == 1 { "pause" } else { "pauses" };
            Rendered { text: format!("{ended} {pauses} ended"), json: json!({"ended": ended}) }
        }
        Command::Holds(Holds::List) => render_holds(&gc.holds().await?),
        Command::Holds(Holds::Set { collection, snapshot, reason }) => {
            render_holds(&[gc.hold(which(&collection), snapshot.as_deref(), &reason).await?])
        }
        Command::Holds(Holds::Lift { hold, yes }) => {
            let what = format!("what hold {hold} kept may be deleted then");
            confirm::confirm(yes, &what, &hold.to_string())?;
            gc.lift(hold).await?;
            Rendered { text: format!("hold {hold} is lifted"), json: json!({"hold_id": hold, "lifted": true}) }
        }
        Command::Audit { key, before, limit } => render_audit(&gc.audit(key.as_deref(), before, limit).await?),
        Command::Freeze { reason } => {
            gc.freeze(&reason).await?;
            Rendered { text: "deletes are frozen".to_owned(), json: json!({"frozen": true}) }
        }
        Command::Thaw { yes } => {
            confirm::confirm(yes, "deletes go on", "thaw")?;
            let thawed = gc.thaw().await?;
            let text = if thawed { "deletes go on" } else { "deletes were not frozen" };
            Rendered { text: text.to_owned(), json: json!({"thawed": thawed}) }
        }
    })
}

/// No name of a collection begins with a digit.
fn which(text: &str) -> GcCollection<'_> {
    text.parse().map_or(GcCollection::Name(text), GcCollection::Id)
}

async fn items(gc: &Gc<'_>, plan: i64, limit: usize) -> Result<Vec<GcPlanItem>, Stop> {
    let mut items: Vec<GcPlanItem> = vec![];
    loop {
        let after = items.last().map_or(String::new(), |last| last.key.clone());
        let page = gc.plan_items(plan, &after, PAGE).await?;
        let done = i64::try_from(page.len()).is_ok_and(|len| len < PAGE);
        items.extend(page);
        if done || items.len() >= limit {
            items.truncate(limit);
            return Ok(items);
        }
    }
}

fn of(amount: Option<&GcAmount>) -> GcAmount {
    amount.copied().unwrap_or_default()
}

fn told(amount: Option<&GcAmount>) -> String {
    let GcAmount { objects, bytes } = of(amount);
    format!("{objects} objects, {}", size(bytes))
}

fn counted(amount: Option<&GcAmount>) -> Value {
    let GcAmount { objects, bytes } = of(amount);
    json!({"objects": objects, "bytes": bytes})
}

fn render_status(status: &GcStatus) -> Rendered {
    let frozen = match status.frozen_ms {
        0 => "no".to_owned(),
        since => format!("since {}: {}", seconds(since), status.frozen_reason),
    };
    let mut lines = vec![
        ("frozen", frozen),
        (
            "to be released",
            format!(
                "{} snapshots, {} partitions, {} collections",
                status.unreleased_snapshots, status.unreleased_partitions, status.unreleased_collections
            ),
        ),
        ("waits for its time", told(status.waiting.as_ref())),
        ("next is due", seconds(status.next_due_ms)),
        ("due", told(status.due.as_ref())),
        ("being deleted", told(status.deleting.as_ref())),
    ];
    for kept in &status.kept {
        lines.push(("kept", format!("{}: {}", kept.by, told(kept.amount.as_ref()))));
    }
    for breaker in &status.breakers {
        let amount = told(breaker.amount.as_ref());
        let since = seconds(breaker.opened_ms);
        lines.push((
            "circuit breaker",
            format!("open since {since} for collection {}: {amount}", breaker.collection_id),
        ));
    }
    if status.failing > 0 {
        lines.push(("not deleted", format!("{} objects, tried again", status.failing)));
    }
    for failure in &status.failures {
        let retry = seconds(failure.retry_ms);
        let text = format!("{} failed {} times, next try {retry}: {}", failure.key, failure.fails, failure.why);
        lines.push(("failing", text));
    }
    for pause in &status.pauses {
        let until = seconds(pause.until_ms);
        lines.push(("paused", format!("{}, ticket {}, until {until}", scope(pause.collection_id), pause.ticket)));
        if pause.plan_id != 0 {
            let (plan, ticket) = (pause.plan_id, pause.ticket);
            lines.push(("dry run", format!("{}: what it would delete is in plan {plan}", pause.why)));
            let answers = format!("gc apply {plan} --dry-run shows it; gc apply {plan} or gc resume {ticket} goes on");
            lines.push(("to answer", answers));
        }
    }
    for hold in &status.holds {
        lines.push(("held", format!("hold {}: {}", hold.hold_id, hold.reason)));
    }
    lines.push(("readers", status.readers.to_string()));
    lines.push(("tolerance", format!("{} s", status.drop_tolerance_ms / 1_000)));
    let json = json!({
        "frozen": status.frozen_ms != 0,
        "frozen_ms": number_or_null(status.frozen_ms),
        "frozen_reason": status.frozen_reason,
        "unreleased_snapshots": status.unreleased_snapshots,
        "unreleased_partitions": status.unreleased_partitions,
        "unreleased_collections": status.unreleased_collections,
        "waiting": counted(status.waiting.as_ref()),
        "next_due_ms": number_or_null(status.next_due_ms),
        "next_due": rfc3339(status.next_due_ms),
        "due": counted(status.due.as_ref()),
        "oldest_due_ms": number_or_null(status.oldest_due_ms),
        "deleting": counted(status.deleting.as_ref()),
        "kept": status.kept.iter().map(|one| json!({"by": one.by, "amount": counted(one.amount.as_ref())})).collect::<Vec<_>>(),
        "breakers": status.breakers.iter().map(|one| json!({
            "collection_id": one.collection_id,
            "opened_ms": one.opened_ms,
            "amount": counted(one.amount.as_ref()),
        })).collect::<Vec<_>>(),
        "failing": status.failing,
        "failures": status.failures.iter().map(|one| json!({
            "key": one.key,
            "fails": one.fails,
            "since_ms": one.since_ms,
            "since": rfc3339(one.since_ms),
            "retry_ms": one.retry_ms,
            "retry": rfc3339(one.retry_ms),
            "why": one.why,
        })).collect::<Vec<_>>(),
        "pauses": status.pauses.iter().map(pause_json).collect::<Vec<_>>(),
        "holds": status.holds.iter().map(hold_json).collect::<Vec<_>>(),
        "readers": status.readers,
        "drop_tolerance_ms": status.drop_tolerance_ms,
    });
    Rendered { text: facts(&lines), json }
}

fn scope(collection: i64) -> String {
    if collection == 0 { "everything".to_owned() } else { format!("collection {collection}") }
}

fn render_runs(runs: &[GcRun]) -> Rendered {
    let row = |run: &GcRun| vec![run.task.clone(), run.handled.to_string(), run.failed.to_string(), run.text.clone()];
    let to_json =
        |run: &GcRun| json!({"task": run.task, "handled": run.handled, "failed": run.failed, "text": run.text});
    Rendered {
        text: table(&["TASK", "HANDLED>", "FAILED>", "TEXT"], runs.iter().map(row)),
        json: runs.iter().map(to_json).collect(),
    }
}

fn plan_table(items: &[GcPlanItem]) -> String {
    let row = |item: &GcPlanItem| {
        let asks = if item.by_itself { "" } else { "yes" };
        vec![item.key.clone(), size(item.bytes), item.reason.clone(), item.collection_id.to_string(), asks.to_owned()]
    };
    table(&["KEY", "SIZE>", "REASON", "COLLECTION>", "BREAKER"], items.iter().map(row))
}

fn item_json(item: &GcPlanItem) -> Value {
    json!({
        "key": item.key,
        "file_set_id": item.file_set_id,
        "bytes": item.bytes,
        "reason": item.reason,
        "collection_id": number_or_null(item.collection_id),
        "by_itself": item.by_itself,
    })
}

fn render_plan(plan: &GcPlan, items: &[GcPlanItem]) -> Rendered {
    let summary = format!("plan {}: {} objects, {}", plan.plan_id, plan.objects, size(plan.bytes));
    let text = if items.is_empty() { summary } else { format!("{}\n{summary}", plan_table(items)) };
    let json = json!({
        "plan_id": plan.plan_id,
        "created_ms": plan.created_ms,
        "created": rfc3339(plan.created_ms),
        "file_sets": plan.file_sets,
        "objects": plan.objects,
        "bytes": plan.bytes,
        "items": items.iter().map(item_json).collect::<Vec<_>>(),
    });
    Rendered { text, json }
}

fn render_left(plan: i64, items: &[GcPlanItem]) -> Rendered {
    let bytes = items.iter().map(|item| item.bytes).sum();
    let summary = format!("plan {plan} would delete {} objects, {}", items.len(), size(bytes));
    let text = if items.is_empty() { summary } else { format!("{}\n{summary}", plan_table(items)) };
    let items: Vec<Value> = items.iter().map(item_json).collect();
    Rendered { text, json: json!({"plan_id": plan, "bytes": bytes, "items": items}) }
}

fn render_why(key: &str, why: &GcWhy) -> Rendered {
    let mut text = facts(&[
        ("object", key.to_owned()),
        ("file set", format!("{} ({}, {}, {} references)", why.file_set_id, why.kind, why.state, why.references)),
    ]);
    for reason in &why.reasons {
        text.push_str(&format!("\n- {}", clean(reason)));
    }
    let json = json!({
        "key": key,
        "file_set_id": why.file_set_id,
        "kind": why.kind,
        "state": why.state,
        "references": why.references,
        "reasons": why.reasons,
    });
    Rendered { text, json }
}

fn pause_json(pause: &GcPause) -> Value {
    json!({
        "ticket": pause.ticket,
        "collection_id": number_or_null(pause.collection_id),
        "until_ms": pause.until_ms,
        "until": rfc3339(pause.until_ms),
        "created_ms": pause.created_ms,
        "actor": pause.actor,
        "plan_id": number_or_null(pause.plan_id),
        "why": pause.why,
    })
}

fn render_pause(pause: &GcPause) -> Rendered {
    let text = format!(
        "{} is paused until {}, nothing is being deleted\nticket {}",
        scope(pause.collection_id),
        seconds(pause.until_ms),
        pause.ticket
    );
    Rendered { text, json: pause_json(pause) }
}

fn hold_json(hold: &GcHold) -> Value {
    json!({
        "hold_id": hold.hold_id,
        "collection_id": hold.collection_id,
        "snapshot_id": number_or_null(hold.snapshot_id),
        "created_ms": hold.created_ms,
        "created": rfc3339(hold.created_ms),
        "actor": hold.actor,
        "reason": hold.reason,
    })
}

fn render_holds(holds: &[GcHold]) -> Rendered {
    let row = |hold: &GcHold| {
        let snapshot = if hold.snapshot_id == 0 { "-".to_owned() } else { hold.snapshot_id.to_string() };
        vec![
            hold.hold_id.to_string(),
            hold.collection_id.to_string(),
            snapshot,
            seconds(hold.created_ms),
            hold.actor.clone(),
            hold.reason.clone(),
        ]
    };
    let columns = ["HOLD", "COLLECTION", "SNAPSHOT", "SINCE", "BY", "REASON"];
    Rendered { text: table(&columns, holds.iter().map(row)), json: holds.iter().map(hold_json).collect() }
}

fn render_audit(lines: &[GcAuditLine]) -> Rendered {
    let row = |line: &GcAuditLine| {
        vec![
            line.id.to_string(),
            seconds(line.at_ms),
            line.actor.clone(),
            line.action.clone(),
            if line.collection_id == 0 { "-".to_owned() } else { line.collection_id.to_string() },
            if line.key.is_empty() { "-".to_owned() } else { line.key.clone() },
            line.detail.clone(),
        ]
    };
    let to_json = |line: &GcAuditLine| {
        json!({
            "id": line.id,
            "at_ms": line.at_ms,
            "at": rfc3339(line.at_ms),
            "epoch": line.epoch,
            "actor": line.actor,
            "action": line.action,
            "collection_id": number_or_null(line.collection_id),
            "file_set_id": number_or_null(line.file_set_id),
            "key": line.key,
            "bytes": line.bytes,
            "checksum": line.checksum,
            "detail": line.detail,
        })
    };
    let columns = ["ID", "AT", "BY", "ACTION", "COLLECTION", "KEY", "DETAIL"];
    Rendered { text: table(&columns, lines.iter().map(row)), json: lines.iter().map(to_json).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_what_waits_and_why() {
        let amount = |objects, bytes| Some(GcAmount { objects, bytes });
        let status = GcStatus {
            waiting: amount(3, 2_048),
            due: amount(1, 0),
            next_due_ms: 1_700_000_000_000,
            drop_tolerance_ms: 86_400_000,
            kept: vec![elanus_proto::admin::GcKept { by: "held".to_owned(), amount: amount(2, 1) }],
            ..GcStatus::default()
        };
        let expected = "\
frozen              no
to be released      0 snapshots, 0 partitions, 0 collections
waits for its time  3 objects, 2.00 KiB
next is due         2023-11-14T22:13:20Z
due                 1 objects, 0 B
being deleted       0 objects, 0 B
kept                held: 2 objects, 1 B
readers             0
tolerance           86400 s";
        let rendered = render_status(&status);
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json["waiting"]["objects"], 3);
        assert_eq!(rendered.json["frozen_ms"], Value::Null);
    }

    #[test]
    fn a_plan_says_what_only_an_operator_may_delete() {
        let item = |key: &str, by_itself| GcPlanItem {
            key: key.to_owned(),
            bytes: 1_024,
            collection_id: 7,
            reason: "released".to_owned(),
            by_itself,
            ..GcPlanItem::default()
        };
        let plan = GcPlan { plan_id: 5, objects: 2, bytes: 2_048, ..GcPlan::default() };
        let rendered = render_plan(&plan, &[item("a", true), item("b", false)]);
        let expected = "\
KEY      SIZE  REASON    COLLECTION  BREAKER
a    1.00 KiB  released           7
b    1.00 KiB  released           7  yes
plan 5: 2 objects, 2.00 KiB";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json["items"][1]["by_itself"], false);
    }
}

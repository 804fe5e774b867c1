//! `elanus ctl`: every command in both forms, and the exit codes that scripts rely on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::{milvus::Milvus, rows::Row};
use elanus_testkit::{Ended, Server, elanus, get};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A server with a collection `docs` of ten rows, and the command line on it.
struct Operator {
    server: Server,
    milvus: Milvus,
}

impl Operator {
    async fn start() -> Self {
        Self::on(Server::start().await.unwrap()).await
    }

    async fn on(server: Server) -> Self {
        let milvus = Milvus::at(&server.url());
        milvus.create_collection("docs").await.unwrap();
        let rows: Vec<Row> = (0..10).map(|id| Row { id, version: 1 }).collect();
        milvus.insert("docs", &rows).await.unwrap();
        Self { server, milvus }
    }

    async fn run(&self, line: &str) -> Ended {
        let url = self.server.url();
        let addr = if line.starts_with("--addr") { &[][..] } else { &["--addr", &url] };
        elanus(["ctl"].iter().chain(addr).copied().chain(line.split(' '))).await.unwrap()
    }

    /// What a command that succeeds writes.
    async fn text(&self, line: &str) -> String {
        let ended = self.run(line).await;
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        ended.stdout
    }

    async fn json(&self, line: &str) -> Value {
        let text = self.text(&format!("--output json {line}")).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// A command that fails writes why to standard error and nothing else.
    async fn fails(&self, line: &str, code: i32, says: &str) {
        let ended = self.run(line).await;
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert!(ended.stderr.contains(says), "{line}: {says:?} is not in {:?}", ended.stderr);
        assert_eq!(ended.stdout, "", "{line}");
    }
}

/// The words of each line.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// The value of a fact: `name  value`.
fn fact<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))[name.len()..].trim()
}

#[tokio::test]
async fn snapshots_are_taken_looked_at_kept_and_dropped() {
    let operator = Operator::start().await;
    let text = operator.text("snapshot create docs first --description before-the-import").await;
    assert_eq!((fact(&text, "name"), fact(&text, "rows"), fact(&text, "state")), ("first", "10", "committed"));
    let second = operator.json("snapshot create docs second").await;
    assert_eq!((&second["name"], &second["rows"], &second["live_pins"]), (&json!("second"), &json!(10), &json!(0)));

    let listed = operator.text("snapshot list docs").await;
    let listed = table(&listed);
    assert_eq!(listed[0], ["NAME", "CREATED", "ROWS", "FILES", "SIZE", "PINS", "DESCRIPTION"]);
    assert_eq!((listed[1][0], listed[2][0], listed.len()), ("first", "second", 3));
    let listed = operator.json("snapshots ls docs").await;
    assert_eq!((&listed[0]["description"], &listed[1]["id"]), (&json!("before-the-import"), &second["id"]));

    let text = operator.text("snapshot describe docs first").await;
    assert!(fact(&text, "location").ends_with(".json") && fact(&text, "created").contains("timestamp"), "{text}");
    let described = operator.json("snapshot describe docs second").await;
    assert_eq!(described, second);
    assert_eq!(described["partition_names"], json!(["_default"]));

    let pinned = operator.text("snapshot pin docs first --ttl 1h").await;
    assert!(pinned.contains("elanus ctl snapshot unpin "), "{pinned}");
    let for_ever = operator.json("snapshot pin docs first").await;
    let pins = operator.json("snapshot pins docs first").await;
    assert_eq!((pins.as_array().unwrap().len(), &pins[1]["id"]), (2, &for_ever["pin_id"]));
    assert_eq!((pins[0]["expires_ms"].is_i64(), &pins[1]["expires_ms"]), (true, &Value::Null));
    let text = operator.text("snapshot pins docs first").await;
    assert_eq!((table(&text)[0].as_slice(), table(&text).len()), (&["ID", "CREATED", "EXPIRES", "OWNER"][..], 3));
    operator.fails("snapshot drop docs first", 5, "active pins exist").await;
    for pin in pins.as_array().unwrap() {
        operator.text(&format!("snapshot unpin {}", pin["id"])).await;
    }
    let unpinned = operator.json(&format!("snapshot unpin {}", for_ever["pin_id"])).await;
    assert_eq!(unpinned["unpinned"], true, "a repeat is a success");

    assert!(operator.text("snapshot drop docs first").await.contains("snapshot first of docs is gone"));
    assert_eq!(operator.json("snapshot drop docs second").await["dropped"], true);
    assert_eq!(operator.json("snapshot list docs").await, json!([]));
}

#[tokio::test]
async fn a_restore_is_started_watched_and_listed() {
    let operator = Operator::start().await;
    operator.text("snapshot create docs first").await;
    let watched = operator.run("snapshot restore docs first docs_v1 --mode copy --wait").await;
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert_eq!(fact(&watched.stdout, "state"), "completed, 100 %");
    assert_eq!(fact(&watched.stdout, "snapshot"), "default.docs@first");
    assert_eq!(fact(&watched.stdout, "mode"), "copy");
    assert!(watched.stderr.contains("restore job ") && watched.stderr.contains("completed, 100 %"), "{watched:?}");

    let started = operator.json("snapshot restore docs first docs_v2").await;
    let id = &started["job_id"];
    let job = operator.json(&format!("job describe {id} --wait")).await;
    assert_eq!((&job["state"], &job["progress"], &job["job_id"]), (&json!("completed"), &json!(100), id));
    assert_eq!((&job["files_done"], &job["bytes_done"]), (&job["files_total"], &job["bytes_total"]));
    assert!(job["ended_ms"].as_i64() >= job["started_ms"].as_i64() && job["bytes_total"].as_i64() > Some(0), "{job}");
    assert_eq!((&job["mode"], &job["with_indexes"]), (&json!("clone"), &json!(true)), "the default");
    let history = operator.json(&format!("job history {id}")).await;
    let states: Vec<_> = history.as_array().unwrap().iter().map(|line| line["to_state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "publishing", "completed"]);
    assert_eq!(operator.json(&format!("job errors {id}")).await, json!([]));
    let text = operator.text(&format!("job describe {id}")).await;
    assert!(fact(&text, "target").starts_with("default.docs_v2 (id "), "{text}");

    let listed = operator.text("job list").await;
    let listed = table(&listed);
    assert_eq!(listed[0][..6], ["ID", "STATE", "MODE", "PROGRESS", "SNAPSHOT", "TARGET"]);
    assert_eq!((listed[1][6], listed[2][6], listed.len()), ("default.docs_v1", "default.docs_v2", 3));
    let only = operator.json("jobs ls --target docs_v2 --target-db default").await;
    assert_eq!((only.as_array().unwrap().len(), &only[0]["job_id"]), (1, id));
    assert_eq!(operator.json("job list --target nothing").await, json!([]));

    let refused = operator.run(&format!("job cancel {id}")).await;
    assert!(matches!(refused.code, Some(2 | 5)) && refused.stderr.contains("error: "), "too late: {refused:?}");
    operator.milvus.load("docs_v2").await.unwrap();
    assert_eq!(operator.milvus.query("docs_v2", "id >= 0").await.unwrap().len(), 10);
}

#[tokio::test]
async fn collections_are_listed_and_described() {
    let operator = Operator::start().await;
    let listed = operator.text("collection list").await;
    let listed = table(&listed);
    assert_eq!(listed[0], ["NAME", "ID", "LOADED", "FIELDS", "PARTITIONS", "INDEXES", "CREATED"]);
    assert_eq!((listed[1][0], &listed[1][2..6]), ("docs", &["yes", "4", "1", "1"][..]));
    let all = operator.json("collections ls").await;
    assert_eq!((&all[0]["name"], &all[0]["db_name"]), (&json!("docs"), &json!("default")));
    let one = operator.json("collection describe docs").await;
    assert_eq!(one["statistics"]["row_count"], 10);
    let names: Vec<&str> = one["fields"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["id", "version", "text", "vector"]);
    let text = operator.text("collection describe docs").await;
    assert!(fact(&text, "rows").starts_with("10 ") && fact(&text, "name").starts_with("default.docs"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_is_told_by_exit_code_and_text() {
    let mut operator = Operator::start().await;
    operator.text("snapshot create docs first").await;
    for (line, code, says) in [
        ("snapshot create docs 1st", 2, "the first character of snapshot name"),
        ("snapshot create docs a-b", 2, "snapshot name can only contain"),
        ("snapshot restore docs first 1st", 2, "(code 1100)"),
        ("snapshot create docs", 2, "Usage"),
        ("snapshot unpin 0", 2, "0 is not in"),
        ("--addr here collection list", 2, "not a server address"),
        ("snapshot list nothing", 4, "(code 100)"),
        ("snapshot describe docs absent", 4, "snapshot not found[snapshot=absent] (code 2600)"),
        ("snapshot pin docs absent", 4, "(code 2600)"),
        ("snapshot pins docs absent", 4, "(code 2600)"),
        ("snapshot restore docs absent target", 4, "(code 2600)"),
        ("--db nowhere collection list", 4, "(code 800)"),
        ("snapshot restore docs first target --target-db nowhere", 4, "(code 800)"),
        ("collection describe nothing", 4, "(code 100)"),
        ("job describe 4711", 4, "restore job not found: jobID=4711"),
        ("job errors 4711", 4, "restore job not found: jobID=4711"),
        ("job history 4711", 4, "restore job not found: jobID=4711"),
        ("snapshot restore docs first target --partition absent", 4, "the snapshot has _default"),
        ("job cancel 4711", 4, "restore job not found: jobID=4711"),
        ("snapshot create docs first", 5, "already exists"),
        ("snapshot restore docs first docs", 5, "duplicate collection"),
    ] {
        operator.fails(line, code, says).await;
    }
    assert_eq!(operator.text("snapshot drop docs absent").await.trim(), "snapshot absent of docs is gone");
    operator.server.terminate().await.unwrap();
    for line in ["collection list", "snapshot create docs second", "job list", "scrub"] {
        operator.fails(line, 7, "could not reach").await;
    }
}

/// Files of inserted rows.
fn row_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut row_files(&path));
        } else if path.to_str().unwrap().contains("/insert_log/") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn scrub_sees_what_is_missing_damaged_and_unknown_and_changes_nothing() {
    let operator = Operator::start().await;
    operator.milvus.insert("docs", &[Row { id: 100, version: 1 }]).await.unwrap();
    operator.text("snapshot create docs first").await;
    let sound = operator.json("scrub --checksums").await;
    assert_eq!((&sound["ok"], &sound["unknown"]), (&json!(true), &json!([])), "{sound}");
    assert!(sound["objects_listed"].as_i64() > Some(3) && sound["objects_known"] == sound["objects_listed"], "{sound}");
    let text = operator.text("scrub").await;
    assert!(text.contains("missing") && text.contains("sizes only"), "{text}");

    let [first, second] = <[PathBuf; 2]>::try_from(row_files(operator.server.data())).unwrap();
    let bytes = fs::read(&first).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(&first, &changed).unwrap();
    fs::remove_file(&second).unwrap();
    let foreign = second.with_file_name("foreign.parquet");
    fs::write(&foreign, "not ours").unwrap();

    let found = operator.run("--output json scrub --checksums").await;
    assert_eq!(found.code, Some(1), "{found:?}");
    let report: Value = serde_json::from_str(&found.stdout).unwrap();
    let is_only = |list: &Value, path: &Path| {
        let [key] = list.as_array().unwrap().as_slice() else { return false };
        path.ends_with(key.as_str().unwrap())
    };
    assert!(is_only(&report["damaged"], &first), "{report}");
    assert!(is_only(&report["missing"], &second), "{report}");
    assert!(is_only(&report["unknown"], &foreign), "{report}");
    assert_eq!(report["ok"], false);
    assert!(foreign.exists() && fs::read(&first).unwrap() == changed, "a scrub changed something");
    let text = operator.run("scrub").await;
    assert!(text.code == Some(1) && text.stdout.contains("missing: ") && text.stdout.contains("unknown: "), "{text:?}");
}

#[tokio::test]
async fn a_clone_is_detached_and_holds_what_it_held() {
    let operator = Operator::start().await;
    operator.milvus.delete("docs", &[3, 4]).await.unwrap();
    operator.text("snapshot create docs first").await;
    operator.text("snapshot restore docs first twin --wait").await;
    operator.milvus.load("twin").await.unwrap();
    let before = operator.milvus.query("twin", "id >= 0").await.unwrap();
    assert_eq!(before.len(), 8);
    let files = row_files(operator.server.data()).len();
    let detached = operator.run("collection detach twin --wait").await;
    assert_eq!(detached.code, Some(0), "{detached:?}");
    assert_eq!((fact(&detached.stdout, "mode"), fact(&detached.stdout, "snapshot")), ("detach", "-"));
    assert_eq!(fact(&detached.stdout, "state"), "completed, 100 %");
    assert!(detached.stderr.contains("detach job "), "{detached:?}");
    assert_eq!(row_files(operator.server.data()).len(), 2 * files, "files of its own");
    assert_eq!(operator.milvus.query("twin", "id >= 0").await.unwrap(), before, "it is loaded, and the same");
    let jobs = operator.json("job list --target twin").await;
    assert_eq!((&jobs[0]["kind"], &jobs[1]["kind"]), (&json!("restore"), &json!("detach")));
    let again = operator.json("collection detach twin --wait").await;
    assert_eq!(
        (&again["state"], &again["files_total"]),
        (&json!("completed"), &json!(0)),
        "it shares nothing any more"
    );
    operator.fails("collection detach nothing", 4, "(code 100)").await;
    assert_eq!(operator.json("scrub --checksums").await["ok"], true);
}

#[tokio::test]
async fn ctrl_c_ends_the_wait_and_not_the_job() {
    let server = Server::start_with(&["--copy-slots", "0"]).await.unwrap();
    let operator = Operator::on(server).await;
    operator.text("snapshot create docs first").await;
    let url = operator.server.url();
    let line = "snapshot restore docs first target --mode copy --wait";
    let mut waiting = tokio::process::Command::new(elanus_testkit::program().unwrap())
        .args(["ctl", "--addr", &url])
        .args(line.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("it waits").contains("copying") {}
    let pid = waiting.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push_str(&line);
    }
    assert!(said.contains("goes on in the server") && said.contains("elanus ctl job cancel "), "{said}");
    assert_eq!(waiting.wait().await.unwrap().code(), Some(130));
    let jobs = operator.json("job list --target target").await;
    assert_eq!(jobs[0]["state"], "copying", "{jobs}");
    operator.text(&format!("job cancel {}", jobs[0]["job_id"])).await;
}

#[tokio::test]
async fn a_scan_finds_what_nothing_knows_and_what_is_missing() {
    let operator = Operator::start().await;
    let [file] = <[PathBuf; 1]>::try_from(row_files(operator.server.data())).unwrap();
    let foreign = file.with_file_name("foreign.parquet");
    fs::write(&foreign, "not ours").unwrap();
    assert!(operator.text("gc scan --last").await.contains("no scan"));
    let scan = operator.json("gc scan").await;
    assert_eq!(
        (&scan["state"], &scan["unknown"], &scan["missing"]),
        (&json!("complete"), &json!(1), &json!(0)),
        "{scan}"
    );
    assert_eq!((&scan["held"], &scan["freezes"]), (&json!(false), &json!([])));
    let orphans = operator.json("gc orphans").await;
    assert_eq!((&orphans[0]["state"], &orphans[0]["scans"]), (&json!("unknown"), &json!(1)), "{orphans}");
    assert!(foreign.ends_with(orphans[0]["key"].as_str().unwrap()));
    operator.fails("gc orphans --allow-unknown all", 2, "nobody can be asked").await;
    operator.fails("gc orphans --accept-scan 1 --yes", 2, "not held").await;
    assert_eq!(operator.json("gc orphans --allow-unknown all --yes").await["allowed"], 1);
    assert_eq!(operator.json("gc orphans").await[0]["state"], "candidate");

    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let missing = operator.run("gc scan").await;
    assert!(
        missing.code == Some(1) && missing.stdout.contains("deletes are frozen by scan: 1 live objects"),
        "{missing:?}"
    );
    let (status, health) = get(operator.server.management(), "/healthz").await.unwrap();
    assert!(status == 200 && health.starts_with("degraded\ndeletes: frozen by scan: "), "{status} {health}");
    assert_eq!(get(operator.server.management(), "/healthz/strict").await.unwrap().0, 503);
    assert_eq!(operator.run("gc reconcile").await.code, Some(1));
    let refused = operator.run("gc reconcile --apply --yes").await;
    assert!(
        refused.code == Some(1)
            && refused.stdout.contains("are off, as before: deletes are frozen by scan: 1 live objects"),
        "{refused:?}"
    );

    fs::write(&file, bytes).unwrap();
    assert_eq!(operator.json("gc scan").await["freezes"], json!([]));
    assert_eq!(get(operator.server.management(), "/healthz").await.unwrap(), (200, "OK\n".to_owned()));
    assert!(foreign.exists());
}

#[tokio::test]
async fn r_2_a_restore_of_a_damaged_file_fails_and_leaves_nothing_behind() {
    let operator = Operator::start().await;
    operator.text("snapshot create docs first").await;
    let [file] = <[PathBuf; 1]>::try_from(row_files(operator.server.data())).unwrap();
    let sound = fs::read(&file).unwrap();
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    fs::write(&file, damaged).unwrap();

    let failed = operator.run("snapshot restore docs first target --mode copy --wait").await;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(6), ""), "{failed:?}");
    assert!(failed.stderr.contains("restore job ") && failed.stderr.contains(" failed: "), "{failed:?}");
    let jobs = operator.json("job list --target target").await;
    assert_eq!((&jobs[0]["state"], jobs[0]["reason"].as_str().unwrap().is_empty()), (&json!("failed"), false));
    let errors = operator.json(&format!("job errors {}", jobs[0]["job_id"])).await;
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(errors[0]["key"].as_str().unwrap().ends_with(name), "{errors}");
    assert_eq!(errors[0]["task_state"], "failed", "{errors}");
    operator.fails("collection describe target", 4, "(code 100)").await;
    assert_eq!(operator.json("snapshot pins docs first").await, json!([]));

    fs::write(&file, sound).unwrap();
    let scrubbed = operator.json("scrub --checksums").await;
    assert_eq!(scrubbed["ok"], true, "{scrubbed}");
    operator.text("snapshot restore docs first target --wait").await;
    operator.milvus.load("target").await.unwrap();
    assert_eq!(operator.milvus.query("target", "id >= 0").await.unwrap().len(), 10);
}

#[tokio::test]
async fn the_collector_is_seen_braked_and_driven() {
    let server = Server::start_with(&["--trash-retention", "0", "--gc-drop-tolerance", "0"]).await.unwrap();
    let operator = Operator::on(server).await;
    let collection = operator.json("collection describe docs").await["id"].clone();
    let [file] = <[PathBuf; 1]>::try_from(row_files(operator.server.data())).unwrap();
    let key = file.strip_prefix(operator.server.data().canonicalize().unwrap()).unwrap_or(&file);
    let key = key.strip_prefix(operator.server.data()).unwrap_or(key).to_str().unwrap().to_owned();

    let status = operator.text("gc status").await;
    assert_eq!((fact(&status, "frozen"), fact(&status, "tolerance")), ("no", "0 s"), "{status}");
    let why = operator.text(&format!("gc why {key}")).await;
    assert!(why.contains("live collection docs"), "{why}");
    for (line, code, says) in [
        ("gc why nothing/here", 2, "does not know nothing/here"),
        ("gc why ../x", 2, "(code 1100)"),
        ("gc run x", 2, "there are snapshot.expire"),
        ("gc apply 4711 --yes", 2, "4711"),
        ("gc apply 4711 --dry-run", 2, "4711"),
        ("gc apply 4711", 2, "nobody can be asked"),
        ("gc undo 4711", 4, "(code 100)"),
        ("gc pause --ttl 0s", 2, "a pause takes 1 to"),
        ("gc pause --collection nothing", 4, "(code 100)"),
        ("gc pause --collection 4711", 4, "(code 100)"),
        ("gc resume 4711", 2, "no pause with the ticket 4711"),
        ("gc holds lift 4711 --yes", 2, "there is no hold 4711"),
        ("gc holds set docs", 2, "--reason"),
        ("gc holds set docs --snapshot x --reason y", 4, "(code 2600)"),
        ("gc thaw", 2, "nobody can be asked"),
        ("gc audit --limit 0", 2, "0 is not in"),
        ("gc plan --limit x", 2, "invalid"),
    ] {
        operator.fails(line, code, says).await;
    }

    let pause = operator.json("gc pause --collection docs --ttl 2h").await;
    assert_eq!(pause["collection_id"], collection);
    assert!(operator.text("gc status").await.contains("paused"));
    let text = operator.text("gc pause").await;
    let ticket = fact(&text, "ticket").to_owned();
    assert_eq!(operator.text(&format!("gc resume {ticket}")).await.trim(), "1 pause ended");
    let hold = operator.json("gc holds set docs --reason a-court").await[0]["hold_id"].clone();
    let rows = operator.text("gc holds list").await;
    assert_eq!(table(&rows)[1].last(), Some(&"a-court"), "{rows}");
    operator.milvus.drop_collection("docs").await.unwrap();
    assert_eq!(operator.json("gc resume").await["ended"], 1);
    operator.text("gc run").await;
    let status = operator.json("gc status").await;
    assert_eq!((&status["unreleased_collections"], &status["holds"][0]["hold_id"]), (&json!(1), &hold), "{status}");

    assert!(operator.text("gc freeze why-not").await.contains("frozen"));
    assert_eq!(operator.text(&format!("gc holds lift {hold} --yes")).await.trim(), format!("hold {hold} is lifted"));
    let frozen = operator.run("gc status").await;
    assert!(frozen.code == Some(1) && frozen.stdout.contains("why-not"), "{frozen:?}");
    operator.text("gc run sweep").await;
    assert!(file.exists(), "frozen");
    let back = operator.text(&format!("gc undo {collection} --as again")).await;
    assert!(back.starts_with("again (id "), "{back}");
    assert_eq!(operator.json("gc thaw --yes").await["thawed"], true);
    assert_eq!(operator.text("gc thaw --yes").await.trim(), "deletes were not frozen");

    let pause = |query: &str| format!("/management/datacoord/garbage_collection/{query}");
    let ask = async |query: &str| get(operator.server.management(), &pause(query)).await.unwrap();
    for (query, status) in [
        ("pause", 400),
        ("pause?pause_seconds=soon", 400),
        ("pause?pause_seconds=0", 500),
        ("pause?pause_seconds=-1", 500),
        ("pause?pause_seconds=60&collection_id=x", 400),
        ("pause?pause_seconds=60&collection_id=4711", 500),
        ("resume?ticket=x", 400),
        ("resume?ticket=4711", 500),
    ] {
        let (told, body) = ask(query).await;
        assert!(told == status && body.contains("\"msg\""), "{query}: {told} {body}");
    }
    let (status, body) = ask(&format!("pause?pause_seconds=60&collection_id={collection}")).await;
    let paused: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &paused["msg"]), (200, &json!("OK")));
    operator.milvus.drop_collection("again").await.unwrap();
    operator.text("gc run").await;
    assert!(file.exists(), "paused");
    assert_eq!(ask(&format!("resume?ticket={}", paused["ticket"].as_str().unwrap())).await.0, 200);
    operator.text("gc run").await;
    assert!(!file.exists());
    let plan = operator.json("gc plan").await;
    assert_eq!(plan["objects"], 0);
    let plan = plan["plan_id"].clone();
    assert!(operator.text(&format!("gc apply {plan} --dry-run")).await.contains("would delete 0 objects"));
    assert_eq!(operator.json(&format!("gc apply {plan} --yes")).await["file_sets"], 0);
    assert!(operator.text(&format!("gc why {key}")).await.contains("deleted at "));
    let audit = operator.json(&format!("gc audit --key {key}")).await;
    let actions: Vec<_> = audit.as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["gone", "claim"]);
    let lines = operator.text("gc audit --limit 3").await;
    assert_eq!(table(&lines).len(), 4, "{lines}");
}

#[tokio::test]
async fn every_command_works_in_every_database() {
    let mut operator = Operator::start().await;
    operator.text("snapshot create docs first").await;
    operator.text("database create shop").await;
    operator.fails("database create shop", 5, "database already exist: shop").await;
    operator.fails("database create a-b", 2, "invalid database name").await;
    assert_eq!(operator.json("databases ls").await, json!(["default", "shop"]));
    operator.fails("-d nowhere collection list", 4, "database not found[database=nowhere]").await;

    let job = operator.json("snapshot restore docs first docs --target-database shop --wait").await;
    assert_eq!((&job["target_db_name"], &job["source_db_name"]), (&json!("shop"), &json!("default")));
    let described = operator.json("collection describe docs --database shop").await;
    assert_eq!((&described["db_name"], &described["statistics"]["row_count"]), (&json!("shop"), &json!(10)));
    assert_ne!(described["id"], operator.json("collection describe docs").await["id"]);
    operator.text("-d shop snapshot create docs there").await;
    assert_eq!(operator.json("snapshot list docs").await.as_array().unwrap().len(), 1);
    assert_eq!(operator.text("-d shop snapshot count docs there").await.trim(), "10");
    operator.text("-d shop collection rollback docs there --yes").await;
    operator.text("-d shop snapshot restore docs there docs_2 --wait").await;
    let listed = operator.json("-d shop collection list").await;
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["docs", "docs_2"], "the target's database is the one of -d");
    operator.fails("database drop shop", 5, "database:shop not empty").await;
    operator.fails("database drop default", 1, "can not drop default database").await;
    assert_eq!(operator.json("-d shop trash list").await, json!([]));
    operator.server.terminate().await.unwrap();
}

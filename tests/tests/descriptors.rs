//! Our protocol files against the official ones, which the package `milvus-sdk-rust` ships: whatever of the Milvus API is in
//! ours is in theirs, with the same name, number and type. And our own messages against what they were: services of two
//! versions speak to each other while a cluster is restarted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
};
use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, process::Command};

const API: &str = "milvus.proto.";
const OWN: &str = "elanus.";

fn read(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of a package that this workspace depends on.
fn package(name: &str) -> PathBuf {
    let versions = read(Command::new("rustc").arg("-vV"));
    let host = versions.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    // Only what this machine needs was downloaded.
    let metadata = read(
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--manifest-path", manifest])
            .args(["--filter-platform", host]),
    );
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == name).expect("a dependency of this package");
    let manifest = PathBuf::from(found["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

fn official() -> DescriptorPool {
    let folder = package("milvus-sdk-rust").join("milvus-proto/proto");
    let files = protox::compile(["milvus.proto", "common.proto", "schema.proto", "msg.proto", "rg.proto"], [folder]);
    DescriptorPool::from_file_descriptor_set(files.unwrap()).unwrap()
}

fn ours() -> DescriptorPool {
    DescriptorPool::decode(elanus_proto::FILE_DESCRIPTOR_SET).unwrap()
}

/// A field with everything that the wire and JSON depend on.
fn field(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => format!("message {}", message.full_name()),
        Kind::Enum(enumeration) => format!("enum {}", enumeration.full_name()),
        scalar => format!("{scalar:?}"),
    };
    let label = match field.cardinality() {
        Cardinality::Repeated if field.is_map() => "map of ",
        Cardinality::Repeated if field.is_packed() => "packed ",
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.supports_presence() => "",
        Cardinality::Optional => "plain ",
    };
    let mut text = format!("{label}{kind} {} = {} ({})", field.name(), field.number(), field.json_name());
    if let Some(oneof) = field.containing_oneof() {
        write!(text, " of {}", oneof.name()).unwrap();
    }
    text
}

fn message(message: &MessageDescriptor) -> BTreeSet<String> {
    message.fields().map(|f| format!("{}: {}", message.full_name(), field(&f))).collect()
}

fn enumeration(enumeration: &EnumDescriptor) -> BTreeSet<String> {
    let name = enumeration.full_name();
    enumeration.values().map(|value| format!("{name}: {} = {}", value.name(), value.number())).collect()
}

fn service(service: &ServiceDescriptor) -> BTreeSet<String> {
    let call = |method: prost_reflect::MethodDescriptor| {
        let stream = |yes: bool| if yes { "stream " } else { "" };
        format!(
            "{} ({}{}) returns ({}{})",
            method.full_name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name()
        )
    };
    service.methods().map(call).collect()
}

/// One line for everything that there is in packages of this prefix.
fn lines(pool: &DescriptorPool, prefix: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut add = |name: &str, parts: BTreeSet<String>| {
        if name.starts_with(prefix) {
            lines.insert(name.to_owned());
            lines.extend(parts);
        }
    };
    pool.all_messages().for_each(|m| add(m.full_name(), message(&m)));
    pool.all_enums().for_each(|e| add(e.full_name(), enumeration(&e)));
    pool.services().for_each(|s| add(s.full_name(), service(&s)));
    lines
}

#[test]
fn whatever_we_have_of_the_milvus_api_is_as_in_the_official_files() {
    let (ours, official) = (lines(&ours(), API), lines(&official(), API));
    assert!(ours.len() > 500, "only {} lines: the descriptors are not there", ours.len());
    let foreign: Vec<_> = ours.difference(&official).collect();
    assert!(foreign.is_empty(), "not in the official files:\n{foreign:#?}");
}

#[test]
fn no_served_message_lacks_a_field_that_clients_may_send() {
    let (ours, official) = (ours(), official());
    let mut lacking = Vec::new();
    for ours in ours.all_messages().filter(|m| m.full_name().starts_with(API)) {
        let theirs = official.get_message_by_name(ours.full_name()).unwrap();
        lacking.extend(message(&theirs).difference(&message(&ours)).cloned());
    }
    assert!(lacking.is_empty(), "ignored when a client sends it:\n{lacking:#?}");
}

#[test]
fn docs_compatibility_lists_every_call_and_says_which_are_served() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(folder.join("docs/compatibility.md")).unwrap();
    let table = text.split("## Calls").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| ")?.split(" | ").collect();
        Some((cells[0].to_owned(), cells.get(1)?.to_owned()))
    });
    let listed: Vec<_> = rows.filter(|(call, _)| call != "call").collect();
    let calls = |pool: &DescriptorPool| -> BTreeSet<String> {
        let service = pool.get_service_by_name("milvus.proto.milvus.MilvusService").unwrap();
        service.methods().map(|method| method.name().to_owned()).collect()
    };
    let (official, served) = (calls(&official()), calls(&ours()));
    let names: BTreeSet<String> = listed.iter().map(|(call, _)| call.clone()).collect();
    assert_eq!(names.len(), listed.len(), "a call is listed twice");
    let forgotten: Vec<_> = official.difference(&names).collect();
    let unknown: Vec<_> = names.difference(&official).collect();
    assert!(forgotten.is_empty() && unknown.is_empty(), "forgotten: {forgotten:?}, no calls: {unknown:?}");
    for (call, state) in listed {
        let expected: &[_] = if served.contains(&call) { &["served", "differs"] } else { &["refused"] };
        assert!(expected.contains(&state), "{call} is {state}, expected {expected:?}");
    }
}

#[test]
fn our_own_messages_only_grow() {
    let spoken = std::fs::read_to_string(elanus_scenarios::file("data/upgrade/wire.txt")).unwrap();
    let (now, before) = (lines(&ours(), OWN), spoken.lines().map(str::to_owned).collect::<BTreeSet<_>>());
    let changed: Vec<_> = before.difference(&now).collect();
    assert!(changed.is_empty(), "an earlier version says this, or waits for it: leave it as it was\n{changed:#?}");
    let new: Vec<_> = now.difference(&before).map(String::as_str).collect();
    assert!(new.is_empty(), "add to tests/data/upgrade/wire.txt, and never change it afterwards:\n{}", new.join("\n"));
}

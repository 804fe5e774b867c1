//! Generates messages, clients and servers from `/proto`, without an installed `protoc`.

use prost::Message as _;
use std::{error::Error, fs, path::PathBuf};

const ROOT: &str = "../../proto";
const FILES: [&str; 5] = [
    "milvus/milvus.proto",
    "elanus/datacoord.proto",
    "elanus/datanode.proto",
    "elanus/querynode.proto",
    "elanus/admin.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its paths through the environment only")]
fn out_dir() -> Result<PathBuf, Box<dyn Error>> {
    Ok(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?.into())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;
    fs::write(out_dir()?.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        // The Milvus API has a call named Connect, as the generated constructor of a transport would be.
        .build_transport(false)
        .bytes(".")
        .btree_map(".")
        .include_file("generated.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}

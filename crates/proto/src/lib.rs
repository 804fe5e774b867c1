//! What goes over the wire: the messages and services of `/proto`, generated, and how they become the types of Elanus.
//!
//! * [`milvus`], [`schema`], [`common`]: the Milvus API, as far as Elanus serves it.
//! * [`datacoord`], [`datanode`], [`querynode`], [`admin`]: calls between the services, and for operators.
//! * [`calls`]: what is told of a call between services.
//! * [`convert`]: statuses, schemas and states to and from the words of `elanus-types`.
//! * [`restore_headers`]: metadata keys of a restore.
//! * [`transport`]: one channel type for services in the same process and behind a socket.
//!
//! No decisions here: a value that the types of Elanus cannot hold is refused, nothing else.

mod generated {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

pub mod calls;
pub mod convert;
pub mod restore_headers;
pub mod transport;

pub use generated::elanus::{
    admin::v1 as admin, datacoord::v1 as datacoord, datanode::v1 as datanode, querynode::v1 as querynode,
};
pub use generated::milvus::proto::{common, milvus, msg, rg, schema};

/// All descriptors, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

//! The root path of the objects and the metadata that goes with it: who owns it, and how the two are asked.
//!
//! The rules are in `elanus_objects::ownership`; here its two sides meet. A server and `elanus ctl root` both start here.

mod metadata;
mod places;
mod renewal;

pub(crate) use metadata::{RootInMeta, view};
pub(crate) use places::{Places, Reach, checked_meta_url, checked_postgres_url};
pub(crate) use renewal::{Lookout, Renewal, measure};

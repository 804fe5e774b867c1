//! Users, roles, grants and groups of privileges: the calls of Milvus about them, with its checks, in its order and words.
//!
//! The coordinator keeps them; passwords end here, what goes on is a hash. What is read is asked for anew, not taken from
//! the copy that `access` uses.

mod grants;
mod groups;
mod names;
mod roles;
mod users;

pub(crate) use grants::{operate_privilege, operate_privilege_v2, select_grant};
pub(crate) use groups::{create_privilege_group, drop_privilege_group, list_privilege_groups, operate_privilege_group};
pub(crate) use roles::{alter_role, create_role, drop_role, operate_user_role, select_role, select_user};
pub(crate) use users::{create_credential, delete_credential, list_cred_users, update_credential};

use crate::{Proxy, access::State, backend::answer};
use elanus_proto::{datacoord as dc, datacoord::change_security_request::What};
use elanus_types::Failure;
use std::sync::Arc;

impl Proxy {
    /// Who may do what, as it is now.
    async fn security(&self) -> Result<Arc<State>, Failure> {
        self.known.ask(self.datacoord()).await
    }

    /// Changes it, and knows of it from the next call on (AC-4).
    pub(crate) async fn change_security(&self, what: What) -> Result<(), Failure> {
        let changed = answer(self.datacoord().change_security(dc::ChangeSecurityRequest { what: Some(what) })).await;
        // Also when nobody knows whether it was done.
        self.known.changed();
        changed.map(drop)
    }
}

fn no_such_role() -> Failure {
    let text = "not found the role, maybe the role isn't existed or internal system error";
    Failure::new(elanus_types::Code::Unexpected, text)
}

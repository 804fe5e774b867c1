//! Users, roles, grants and groups of privileges.
//!
//! SEC-1  Every change raises the version in the same transaction, under the lock of its row: changes come one after the
//!        other, and who has a copy of this version has all that is in force.
//! SEC-2  A password is changed only by who knew the hash that it had: of two changes at once one wins.
//! SEC-3  Passwords are not here, only hashes; a record does not print its hash.
//!
//! What names may be, is the proxy's to say; what exists, is said here. The texts are those of Milvus.

mod grants;
mod groups;
mod roles;
mod users;

pub use grants::{Grant, GrantRecord};

use crate::db::{Tx, args};
use crate::error::Result;
use crate::rows::from_json;
use crate::{Coordinator, Meta};
use elanus_types::{Code, Failure};
use sqlx::Row;
use std::collections::BTreeMap;
use std::fmt;

/// Users that there may be, as in Milvus.
const USERS_MAX: u64 = 100;
/// Roles that there may be, with the two that are built in, as in Milvus.
const ROLES_MAX: u64 = 10;

/// Everything that says who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityRecord {
    /// Another one after every change.
    pub version: i64,
    /// By name.
    pub users: Vec<UserRecord>,
    /// By name.
    pub roles: Vec<RoleRecord>,
    /// By role, in a fixed order.
    pub grants: Vec<GrantRecord>,
    /// What is in the groups that users made, sorted.
    pub groups: BTreeMap<String, Vec<String>>,
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Unique.
    pub name: String,
    /// Argon2, as text with salt and costs (PHC).
    pub password_hash: String,
    /// As users gave it.
    pub description: String,
    /// Roles that it was given, sorted; the role of all is not told.
    pub roles: Vec<String>,
}

/// SEC-3
impl fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRecord {
    /// Unique.
    pub name: String,
    /// As users gave it.
    pub description: String,
}

impl Meta {
    /// All of it; `None`: it still is as of version `known`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn security(&self, known: i64) -> Result<Option<SecurityRecord>> {
        let mut tx = self.db.read().await?;
        let row = tx.one("SELECT version FROM security WHERE only_row = 1", args![]).await?;
        let version: i64 = row.try_get("version")?;
        if version == known { Ok(None) } else { Ok(Some(read(&mut tx, version).await?)) }
    }
}

async fn read(tx: &mut Tx, version: i64) -> Result<SecurityRecord> {
    let mut roles_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let members = "SELECT user_name, role_name FROM role_members ORDER BY user_name, role_name";
    for row in tx.all(members, args![]).await? {
        roles_of.entry(row.try_get("user_name")?).or_default().push(row.try_get("role_name")?);
    }
    let mut users = Vec::new();
    for row in tx.all("SELECT name, password_hash, description FROM users ORDER BY name", args![]).await? {
        let name: String = row.try_get("name")?;
        users.push(UserRecord {
            password_hash: row.try_get("password_hash")?,
            description: row.try_get("description")?,
            roles: roles_of.remove(&name).unwrap_or_default(),
            name,
        });
    }
    let mut roles = Vec::new();
    for row in tx.all("SELECT name, description FROM roles ORDER BY name", args![]).await? {
        roles.push(RoleRecord { name: row.try_get("name")?, description: row.try_get("description")? });
    }
    let mut groups = BTreeMap::new();
    for row in tx.all("SELECT name, privileges_json FROM privilege_groups ORDER BY name", args![]).await? {
        groups.insert(row.try_get("name")?, from_json(&row, "privileges_json")?);
    }
    Ok(SecurityRecord { version, users, roles, grants: grants::all(tx).await?, groups })
}

impl Coordinator {
    /// A transaction that changes who may do what (SEC-1).
    async fn change(&self) -> Result<Tx> {
        let mut tx = self.write().await?;
        tx.execute_exactly(1, "the users", "UPDATE security SET version = version + 1 WHERE only_row = 1", args![])
            .await?;
        Ok(tx)
    }
}

async fn require_user(tx: &mut Tx, name: &str) -> Result<()> {
    let there = tx.optional("SELECT name FROM users WHERE name = $1", args![name.to_owned()]).await?;
    there
        .map(drop)
        .ok_or_else(|| unexpected("not found the user, maybe the user isn't existed or internal system error"))
}

async fn require_role(tx: &mut Tx, name: &str) -> Result<()> {
    let there = tx.optional("SELECT name FROM roles WHERE name = $1", args![name.to_owned()]).await?;
    there
        .map(drop)
        .ok_or_else(|| unexpected("not found the role, maybe the role isn't existed or internal system error"))
}

/// A refusal for which Milvus has no number.
fn unexpected(text: impl Into<String>) -> crate::MetaError {
    Failure::new(Code::Unexpected, text).into()
}

//! Groups of privileges that users make.

use super::unexpected;
use crate::Coordinator;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::rows::{from_json, to_json};
use elanus_types::privilege::{BuiltInGroup, Privilege};
use elanus_types::{Failure, privilege::Level};
use sqlx::Row;
use std::collections::BTreeSet;

impl Coordinator {
    /// Creates a group with nothing in it.
    ///
    /// # Errors
    /// 1100 when it exists; fenced.
    pub async fn create_privilege_group(&self, name: &str) -> Result<()> {
        let mut tx = self.change().await?;
        let now_ms = tx.now_ms;
        let created = tx
            .execute(
                "INSERT INTO privilege_groups (name, privileges_json, created_ms) VALUES ($1, '[]', $2) \
                 ON CONFLICT (name) DO NOTHING",
                args![name.to_owned(), now_ms],
            )
            .await?;
        if created == 0 {
            let text = format!("privilege group name [{name}] is defined by users: invalid parameter");
            return Err(Failure::invalid(text).into());
        }
        tx.commit().await
    }

    /// Drops a group that no role has. An unknown one is passed over, as in Milvus.
    ///
    /// # Errors
    /// 65535 while a role has it; fenced.
    pub async fn drop_privilege_group(&self, name: &str) -> Result<()> {
        let mut tx = self.change().await?;
        let sql = "SELECT role_name FROM grants WHERE privilege = $1 ORDER BY role_name LIMIT 1";
        let used = tx.optional(sql, args![name.to_owned()]).await?;
        if let Some(row) = used {
            let role: String = row.try_get("role_name")?;
            let text = format!("privilege group [{name}] is used by role [{role}], Use REVOKE API to revoke it first");
            return Err(unexpected(text));
        }
        tx.execute("DELETE FROM privilege_groups WHERE name = $1", args![name.to_owned()]).await?;
        tx.commit().await
    }

    /// Puts privileges into a group, or takes them out. A group that is named brings what is in it now.
    ///
    /// # Errors
    /// 1100 for an unknown group or privilege; 65535 when the group would have privileges of several levels; fenced.
    pub async fn change_privilege_group(&self, name: &str, privileges: &[String], adds: bool) -> Result<()> {
        let mut tx = self.change().await?;
        let Some(mut members) = members(&mut tx, name).await? else {
            let text = format!("there is no privilege group name [{name}] to operate: invalid parameter");
            return Err(Failure::invalid(text).into());
        };
        for privilege in privileges {
            let meant = meant(&mut tx, privilege).await?;
            if adds {
                members.extend(meant);
            } else {
                members.retain(|member| !meant.contains(member));
            }
        }
        let levels: BTreeSet<Level> =
            members.iter().filter_map(|one| Privilege::parse(one)).map(Privilege::level).collect();
        if levels.len() > 1 {
            return Err(unexpected("privileges are not the same privilege level"));
        }
        tx.execute_exactly(
            1,
            "the group",
            "UPDATE privilege_groups SET privileges_json = $2 WHERE name = $1",
            args![name.to_owned(), to_json(&members)],
        )
        .await?;
        tx.commit().await
    }
}

async fn members(tx: &mut Tx, name: &str) -> Result<Option<BTreeSet<String>>> {
    let sql = "SELECT privileges_json FROM privilege_groups WHERE name = $1";
    let row = tx.optional(sql, args![name.to_owned()]).await?;
    row.map(|row| from_json(&row, "privileges_json")).transpose()
}

/// A privilege, or all that is in a group.
async fn meant(tx: &mut Tx, name: &str) -> Result<BTreeSet<String>> {
    if Privilege::parse(name).is_some() {
        return Ok([name.to_owned()].into());
    }
    if let Some(group) = BuiltInGroup::parse(name) {
        return Ok(group.privileges().map(|one| one.name().to_owned()).collect());
    }
    members(tx, name).await?.ok_or_else(|| {
        let text = format!(
            "there is no privilege name or privilege group name [{name}] defined in system to operate: invalid parameter"
        );
        Failure::invalid(text).into()
    })
}

//! What roles may do.

use super::{require_role, require_user, unexpected};
use crate::Coordinator;
use crate::db::{Tx, args};
use crate::error::Result;
use elanus_types::privilege::{ALL, ANY, ObjectType, is_defined};
use sqlx::Row;

/// Something that a role may do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// What kind of object.
    pub object_type: ObjectType,
    /// A database, or `*`.
    pub db_name: String,
    /// A collection or a user, or `*`.
    pub object_name: String,
    /// A privilege, a group, or `*`.
    pub privilege: String,
}

/// A [`Grant`] as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Whose it is.
    pub role: String,
    /// What it allows.
    pub grant: Grant,
    /// Who gave it.
    pub grantor: String,
}

impl Coordinator {
    /// Lets a role do some things. What it may do already changes nothing.
    ///
    /// # Errors
    /// 65535 for an unknown role, grantor or privilege; fenced.
    pub async fn grant(&self, role: &str, grantor: &str, grants: &[Grant]) -> Result<()> {
        let mut tx = self.change().await?;
        require_role(&mut tx, role).await?;
        require_user(&mut tx, grantor).await?;
        for grant in grants {
            require_privilege(&mut tx, &grant.privilege).await?;
            insert(&mut tx, role, grantor, grant).await?;
        }
        tx.commit().await
    }

    /// Forbids a role some things that it was allowed. What it may not do anyway changes nothing.
    ///
    /// # Errors
    /// 65535 for an unknown role or privilege; fenced.
    pub async fn revoke(&self, role: &str, grants: &[Grant]) -> Result<()> {
        let mut tx = self.change().await?;
        require_role(&mut tx, role).await?;
        for grant in grants {
            require_privilege(&mut tx, &grant.privilege).await?;
            let Grant { object_type, db_name, object_name, privilege } = grant.clone();
            tx.execute(
                "DELETE FROM grants WHERE role_name = $1 AND object_type = $2 AND db_name = $3 AND object_name = $4 \
                 AND privilege = $5",
                args![role.to_owned(), object_type.label().to_owned(), db_name, object_name, privilege],
            )
            .await?;
        }
        tx.commit().await
    }
}

async fn insert(tx: &mut Tx, role: &str, grantor: &str, grant: &Grant) -> Result<()> {
    let Grant { object_type, db_name, object_name, privilege } = grant.clone();
    let now_ms = tx.now_ms;
    tx.execute(
        "INSERT INTO grants (role_name, object_type, db_name, object_name, privilege, grantor, created_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (role_name, object_type, db_name, object_name, privilege) DO NOTHING",
        args![
            role.to_owned(),
            object_type.label().to_owned(),
            db_name,
            object_name,
            privilege,
            grantor.to_owned(),
            now_ms
        ],
    )
    .await?;
    Ok(())
}

/// A group of a user must be there as long as a role has it: whoever drops it looks, too (SEC-1).
async fn require_privilege(tx: &mut Tx, name: &str) -> Result<()> {
    if name == ANY || name == ALL || is_defined(name) {
        return Ok(());
    }
    let there = tx.optional("SELECT name FROM privilege_groups WHERE name = $1", args![name.to_owned()]).await?;
    there.map(drop).ok_or_else(|| unexpected(format!("not found the privilege name[{name}]")))
}

pub(super) async fn all(tx: &mut Tx) -> Result<Vec<GrantRecord>> {
    let rows = tx
        .all(
            "SELECT role_name, object_type, db_name, object_name, privilege, grantor FROM grants \
             ORDER BY role_name, object_type, db_name, object_name, privilege",
            args![],
        )
        .await?;
    let mut grants = Vec::with_capacity(rows.len());
    for row in &rows {
        let object_type: String = row.try_get("object_type")?;
        // Of a kind that only a newer program knows: it allows nothing here.
        let Some(object_type) = ObjectType::parse(&object_type) else { continue };
        let grant = Grant {
            object_type,
            db_name: row.try_get("db_name")?,
            object_name: row.try_get("object_name")?,
            privilege: row.try_get("privilege")?,
        };
        grants.push(GrantRecord { role: row.try_get("role_name")?, grant, grantor: row.try_get("grantor")? });
    }
    Ok(grants)
}

//! Roles and who has them.

use super::{ROLES_MAX, require_role, require_user, unexpected};
use crate::Coordinator;
use crate::db::args;
use crate::error::Result;
use crate::rows::count;

impl Coordinator {
    /// Creates a role that may do nothing.
    ///
    /// # Errors
    /// 65535 when it exists, and when there are as many as there may be; fenced.
    pub async fn create_role(&self, name: &str, description: &str) -> Result<()> {
        let mut tx = self.change().await?;
        let there = tx.one("SELECT COUNT(*) AS roles FROM roles", args![]).await?;
        let now_ms = tx.now_ms;
        let created = tx
            .execute(
                "INSERT INTO roles (name, description, created_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
                args![name.to_owned(), description.to_owned(), now_ms],
            )
            .await?;
        if created == 0 {
            return Err(unexpected(format!("role [name:\"{name}\"] already exists")));
        }
        if count(&there, "roles")? >= ROLES_MAX {
            return Err(unexpected("unable to create role because the number of roles has reached the limit"));
        }
        tx.commit().await
    }

    /// Describes a role.
    ///
    /// # Errors
    /// 65535 for an unknown role; fenced.
    pub async fn alter_role(&self, name: &str, description: &str) -> Result<()> {
        let mut tx = self.change().await?;
        require_role(&mut tx, name).await?;
        let sql = "UPDATE roles SET description = $2 WHERE name = $1";
        tx.execute_exactly(1, "the role", sql, args![name.to_owned(), description.to_owned()]).await?;
        tx.commit().await
    }

    /// Ends a role: users lose it, and with `force` what it may do goes with it.
    ///
    /// # Errors
    /// 65535 for an unknown role, and without `force` for one that may do something; fenced.
    pub async fn drop_role(&self, name: &str, force: bool) -> Result<()> {
        let mut tx = self.change().await?;
        require_role(&mut tx, name).await?;
        let granted = tx.execute("DELETE FROM grants WHERE role_name = $1", args![name.to_owned()]).await?;
        if granted > 0 && !force {
            let text = "fail to drop the role that it has privileges. Use REVOKE API to revoke privileges";
            return Err(unexpected(text));
        }
        tx.execute("DELETE FROM role_members WHERE role_name = $1", args![name.to_owned()]).await?;
        tx.execute("DELETE FROM roles WHERE name = $1", args![name.to_owned()]).await?;
        tx.commit().await
    }

    /// Gives a user a role. The same again changes nothing.
    ///
    /// # Errors
    /// 65535 for an unknown role or user; fenced.
    pub async fn add_to_role(&self, user: &str, role: &str) -> Result<()> {
        let mut tx = self.change().await?;
        require_role(&mut tx, role).await?;
        require_user(&mut tx, user).await?;
        tx.execute(
            "INSERT INTO role_members (user_name, role_name) VALUES ($1, $2) ON CONFLICT (user_name, role_name) DO NOTHING",
            args![user.to_owned(), role.to_owned()],
        )
        .await?;
        tx.commit().await
    }

    /// Takes a role from a user. Where the user does not have it, nothing changes.
    ///
    /// # Errors
    /// 65535 for an unknown role; fenced.
    pub async fn remove_from_role(&self, user: &str, role: &str) -> Result<()> {
        let mut tx = self.change().await?;
        require_role(&mut tx, role).await?;
        let sql = "DELETE FROM role_members WHERE user_name = $1 AND role_name = $2";
        tx.execute(sql, args![user.to_owned(), role.to_owned()]).await?;
        tx.commit().await
    }
}

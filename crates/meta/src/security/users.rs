//! Users and their passwords.

use super::{USERS_MAX, require_user, unexpected};
use crate::Coordinator;
use crate::db::args;
use crate::error::Result;
use crate::rows::count;
use elanus_types::{Code, Failure, privilege::ROOT};

impl Coordinator {
    /// Creates a user without roles.
    ///
    /// # Errors
    /// 65535 when it exists, and when there are as many as there may be; fenced.
    pub async fn create_user(&self, name: &str, password_hash: &str, description: &str) -> Result<()> {
        let mut tx = self.change().await?;
        let there = tx.one("SELECT COUNT(*) AS users FROM users", args![]).await?;
        let now_ms = tx.now_ms;
        let created = tx
            .execute(
                "INSERT INTO users (name, password_hash, description, created_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (name) DO NOTHING",
                args![name.to_owned(), password_hash.to_owned(), description.to_owned(), now_ms],
            )
            .await?;
        if created == 0 {
            return Err(unexpected(format!("user already exists: {name}")));
        }
        if count(&there, "users")? >= USERS_MAX {
            let text = "unable to add user because the number of users has reached the limit";
            return Err(unexpected(text));
        }
        tx.commit().await
    }

    /// Gives a user another password, where it still has the one of `known_hash` (SEC-2); and another description, where
    /// one is given.
    ///
    /// # Errors
    /// 65535 for an unknown user; 1400 when it has another password by now; fenced.
    pub async fn set_password(
        &self,
        name: &str,
        known_hash: &str,
        password_hash: &str,
        description: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.change().await?;
        require_user(&mut tx, name).await?;
        let changed = tx
            .execute(
                "UPDATE users SET password_hash = $3 WHERE name = $1 AND password_hash = $2",
                args![name.to_owned(), known_hash.to_owned(), password_hash.to_owned()],
            )
            .await?;
        if changed == 0 {
            let text = format!("old password not correct for {name}: not authenticated");
            return Err(Failure::new(Code::NotAuthenticated, text).into());
        }
        if let Some(description) = description {
            describe(&mut tx, name, description).await?;
        }
        tx.commit().await
    }

    /// Describes a user.
    ///
    /// # Errors
    /// 65535 for an unknown user; fenced.
    pub async fn describe_user(&self, name: &str, description: &str) -> Result<()> {
        let mut tx = self.change().await?;
        require_user(&mut tx, name).await?;
        describe(&mut tx, name, description).await?;
        tx.commit().await
    }

    /// Ends a user and takes its roles from it. An unknown one is passed over, as in Milvus.
    ///
    /// # Errors
    /// 1401 for root; fenced.
    pub async fn drop_user(&self, name: &str) -> Result<()> {
        if name == ROOT {
            let text = "root user cannot be deleted: privilege not permitted";
            return Err(Failure::new(Code::NotPermitted, text).into());
        }
        let mut tx = self.change().await?;
        tx.execute("DELETE FROM role_members WHERE user_name = $1", args![name.to_owned()]).await?;
        tx.execute("DELETE FROM users WHERE name = $1", args![name.to_owned()]).await?;
        tx.commit().await
    }
}

async fn describe(tx: &mut crate::db::Tx, name: &str, description: &str) -> Result<()> {
    let sql = "UPDATE users SET description = $2 WHERE name = $1";
    tx.execute_exactly(1, "the user", sql, args![name.to_owned(), description.to_owned()]).await
}

//! Users, roles and what these may do.

use crate::{Client, Result, error::check};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use elanus_proto::milvus as m;

/// Calls about users and roles.
#[derive(Clone, Copy, Debug)]
pub struct Security<'c>(pub(crate) &'c Client);

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// As it was given.
    pub description: String,
    /// Roles that it was given; every user has the role public besides.
    pub roles: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// As it was given.
    pub description: String,
    /// Users that have it.
    pub users: Vec<String>,
}

/// Something that a role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// `Collection`, `Global` or `User`.
    pub object_type: String,
    /// A database, or `*`.
    pub db_name: String,
    /// A collection or a user, or `*`.
    pub object_name: String,
    /// A privilege, or a group of them.
    pub privilege: String,
    /// Who gave it.
    pub grantor: String,
}

fn role_entity(name: &str) -> Option<m::RoleEntity> {
    Some(m::RoleEntity { name: name.to_owned(), ..m::RoleEntity::default() })
}

impl Security<'_> {
    /// All users, by name.
    ///
    /// # Errors
    /// When the server is away, or does not allow it.
    pub async fn users(&self) -> Result<Vec<User>> {
        let request = m::SelectUserRequest { include_role_info: true, ..Default::default() };
        let answer = self.0.read(|| async { self.0.milvus.clone().select_user(request.clone()).await }).await?;
        check(answer.status)?;
        let user = |result: m::UserResult| User {
            name: result.user.unwrap_or_default().name,
            description: result.description,
            roles: result.roles.into_iter().map(|role| role.name).collect(),
        };
        Ok(answer.results.into_iter().map(user).collect())
    }

    /// Creates a user without roles.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when it exists.
    pub async fn create_user(&self, name: &str, password: &str, description: &str) -> Result<()> {
        let request = m::CreateCredentialRequest {
            username: name.to_owned(),
            password: BASE64_STANDARD.encode(password),
            description: Some(description.to_owned()),
            ..Default::default()
        };
        check(Some(self.0.write(self.0.milvus.clone().create_credential(request)).await?))
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// When the old one is wrong.
    pub async fn set_password(&self, name: &str, old: &str, new: &str) -> Result<()> {
        let request = m::UpdateCredentialRequest {
            username: name.to_owned(),
            old_password: BASE64_STANDARD.encode(old),
            new_password: BASE64_STANDARD.encode(new),
            ..Default::default()
        };
        check(Some(self.0.write(self.0.milvus.clone().update_credential(request)).await?))
    }

    /// Ends a user. Success also when there is none.
    ///
    /// # Errors
    /// For root.
    pub async fn drop_user(&self, name: &str) -> Result<()> {
        let request = m::DeleteCredentialRequest { username: name.to_owned(), ..Default::default() };
        check(Some(self.0.write(self.0.milvus.clone().delete_credential(request)).await?))
    }

    /// All roles with their users, by name.
    ///
    /// # Errors
    /// When the server is away, or does not allow it.
    pub async fn roles(&self) -> Result<Vec<Role>> {
        let request = m::SelectRoleRequest { include_user_info: true, ..Default::default() };
        let answer = self.0.read(|| async { self.0.milvus.clone().select_role(request.clone()).await }).await?;
        check(answer.status)?;
        let role = |result: m::RoleResult| {
            let m::RoleEntity { name, description } = result.role.unwrap_or_default();
            Role { name, description, users: result.users.into_iter().map(|user| user.name).collect() }
        };
        Ok(answer.results.into_iter().map(role).collect())
    }

    /// Creates a role that may do nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when it exists.
    pub async fn create_role(&self, name: &str, description: &str) -> Result<()> {
        let entity = Some(m::RoleEntity { name: name.to_owned(), description: description.to_owned() });
        let request = m::CreateRoleRequest { entity, ..Default::default() };
        check(Some(self.0.write(self.0.milvus.clone().create_role(request)).await?))
    }

    /// Ends a role; with `force` also one that may do something.
    ///
    /// # Errors
    /// When there is none, or it is built in.
    pub async fn drop_role(&self, name: &str, force: bool) -> Result<()> {
        let request = m::DropRoleRequest { role_name: name.to_owned(), force_drop: force, ..Default::default() };
        check(Some(self.0.write(self.0.milvus.clone().drop_role(request)).await?))
    }

    /// Gives a user a role, or takes it.
    ///
    /// # Errors
    /// When there is no such user or role.
    pub async fn set_member(&self, role: &str, user: &str, is_member: bool) -> Result<()> {
        let does = match is_member {
            true => m::OperateUserRoleType::AddUserToRole,
            false => m::OperateUserRoleType::RemoveUserFromRole,
        };
        let request = m::OperateUserRoleRequest {
            username: user.to_owned(),
            role_name: role.to_owned(),
            r#type: does.into(),
            ..Default::default()
        };
        check(Some(self.0.write(self.0.milvus.clone().operate_user_role(request)).await?))
    }

    /// What a role may do, in all databases.
    ///
    /// # Errors
    /// When there is no such role.
    pub async fn grants(&self, role: &str) -> Result<Vec<Granted>> {
        let entity = m::GrantEntity { role: role_entity(role), db_name: "*".to_owned(), ..Default::default() };
        let request = m::SelectGrantRequest { entity: Some(entity), ..Default::default() };
        let answer = self.0.read(|| async { self.0.milvus.clone().select_grant(request.clone()).await }).await?;
        check(answer.status)?;
        let granted = |entity: m::GrantEntity| {
            let m::GrantorEntity { user, privilege } = entity.grantor.unwrap_or_default();
            Granted {
                object_type: entity.object.unwrap_or_default().name,
                db_name: entity.db_name,
                object_name: entity.object_name,
                privilege: privilege.unwrap_or_default().name,
                grantor: user.unwrap_or_default().name,
            }
        };
        Ok(answer.entities.into_iter().map(granted).collect())
    }

    /// Lets a role do something with a collection (`*`: with all) of a database (`*`: of all), or forbids it again.
    ///
    /// # Errors
    /// When there is no such role or privilege, or they do not fit.
    pub async fn set_grant(
        &self,
        role: &str,
        privilege: &str,
        db: &str,
        collection: &str,
        is_granted: bool,
    ) -> Result<()> {
        let does = if is_granted { m::OperatePrivilegeType::Grant } else { m::OperatePrivilegeType::Revoke };
        let privilege = Some(m::PrivilegeEntity { name: privilege.to_owned() });
        let request = m::OperatePrivilegeV2Request {
            role: role_entity(role),
            grantor: Some(m::GrantorEntity { user: None, privilege }),
            r#type: does.into(),
            db_name: db.to_owned(),
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        check(Some(self.0.write(self.0.milvus.clone().operate_privilege_v2(request)).await?))
    }
}

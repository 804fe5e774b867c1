//! Roles, who has them, and which ones somebody has.

use super::names;
use crate::{Proxy, access::State, backend::Call};
use elanus_proto::{datacoord as dc, datacoord::change_security_request::What, milvus as m};
use elanus_types::{
    Code, Failure,
    privilege::{ADMIN, PUBLIC},
};

fn is_built_in(role: &str) -> bool {
    role == ADMIN || role == PUBLIC
}

pub(crate) async fn create_role(proxy: &Proxy, _: &Call, request: m::CreateRoleRequest) -> Result<(), Failure> {
    let m::RoleEntity { name, description } = request.entity.unwrap_or_default();
    names::role(&name)?;
    proxy.change_security(What::CreateRole(dc::SecurityRole { name, description })).await
}

pub(crate) async fn alter_role(proxy: &Proxy, _: &Call, request: m::AlterRoleRequest) -> Result<(), Failure> {
    let m::AlterRoleRequest { role_name: name, description, .. } = request;
    names::role(&name)?;
    proxy.change_security(What::AlterRole(dc::SecurityRole { name, description })).await
}

pub(crate) async fn drop_role(proxy: &Proxy, _: &Call, request: m::DropRoleRequest) -> Result<(), Failure> {
    let m::DropRoleRequest { role_name: name, force_drop: force, .. } = request;
    names::role(&name)?;
    if is_built_in(&name) {
        let text = format!("the role[{name}] is a default role, which can't be dropped: privilege not permitted");
        return Err(Failure::new(Code::NotPermitted, text));
    }
    proxy.change_security(What::DropRole(dc::DropRole { name, force })).await
}

pub(crate) async fn operate_user_role(
    proxy: &Proxy,
    _: &Call,
    request: m::OperateUserRoleRequest,
) -> Result<(), Failure> {
    let does = m::OperateUserRoleType::try_from(request.r#type);
    names::user(&request.username)?;
    names::role(&request.role_name)?;
    let member = dc::RoleMember { user: request.username, role: request.role_name };
    proxy
        .change_security(match does {
            Ok(m::OperateUserRoleType::AddUserToRole) => What::AddToRole(member),
            Ok(m::OperateUserRoleType::RemoveUserFromRole) => What::RemoveFromRole(member),
            Err(_) => return Err(Failure::invalid("invalid operate user role type, give 0 to add or 1 to remove")),
        })
        .await
}

/// One role, or all of them. An unknown one is an empty answer, as in Milvus.
pub(crate) async fn select_role(
    proxy: &Proxy,
    _: &Call,
    request: m::SelectRoleRequest,
) -> Result<m::SelectRoleResponse, Failure> {
    if let Some(role) = &request.role {
        names::role(&role.name)?;
    }
    let state = proxy.security().await?;
    let members = |role: &str| {
        let has = |user: &&dc::SecurityUser| user.roles.iter().any(|one| one == role);
        state.users.iter().filter(has).map(|user| m::UserEntity { name: user.name.clone() }).collect()
    };
    let wanted = |role: &&dc::SecurityRole| request.role.as_ref().is_none_or(|wanted| wanted.name == role.name);
    let result = |role: &dc::SecurityRole| m::RoleResult {
        role: Some(entity(role)),
        users: if request.include_user_info { members(&role.name) } else { Vec::new() },
    };
    let results = state.roles.iter().filter(wanted).map(result).collect();
    Ok(m::SelectRoleResponse { results, status: None })
}

/// One user, or all of them. An unknown one is an empty answer, as in Milvus.
pub(crate) async fn select_user(
    proxy: &Proxy,
    _: &Call,
    request: m::SelectUserRequest,
) -> Result<m::SelectUserResponse, Failure> {
    if let Some(user) = &request.user {
        names::user(&user.name)?;
    }
    let state = proxy.security().await?;
    let wanted = |user: &&dc::SecurityUser| request.user.as_ref().is_none_or(|wanted| wanted.name == user.name);
    let result = |user: &dc::SecurityUser| m::UserResult {
        user: Some(m::UserEntity { name: user.name.clone() }),
        roles: if request.include_role_info { roles_of(&state, user) } else { Vec::new() },
        description: user.description.clone(),
    };
    let results = state.users.iter().filter(wanted).map(result).collect();
    Ok(m::SelectUserResponse { results, status: None })
}

fn roles_of(state: &State, user: &dc::SecurityUser) -> Vec<m::RoleEntity> {
    state.roles.iter().filter(|role| user.roles.contains(&role.name)).map(entity).collect()
}

fn entity(role: &dc::SecurityRole) -> m::RoleEntity {
    m::RoleEntity { name: role.name.clone(), description: role.description.clone() }
}

//! Users, roles and grants.

use crate::Parts;
use elanus_meta::{Grant, GrantRecord, RoleRecord, SecurityRecord, UserRecord};
use elanus_proto::datacoord as pb;
use elanus_proto::datacoord::change_security_request::What;
use elanus_types::{Failure, privilege::ObjectType};

pub(super) async fn get(parts: &Parts, request: pb::GetSecurityRequest) -> Result<pb::SecurityState, Failure> {
    let known = request.known_version;
    let Some(SecurityRecord { version, users, roles, grants, groups }) = parts.meta().security(known).await? else {
        return Ok(pb::SecurityState { version: known, unchanged: true, ..pb::SecurityState::default() });
    };
    Ok(pb::SecurityState {
        version,
        unchanged: false,
        users: users.into_iter().map(user).collect(),
        roles: roles
            .into_iter()
            .map(|RoleRecord { name, description }| pb::SecurityRole { name, description })
            .collect(),
        grants: grants.into_iter().map(grant).collect(),
        groups: groups.into_iter().map(|(name, privileges)| pb::SecurityGroup { name, privileges }).collect(),
    })
}

pub(super) async fn change(parts: &Parts, request: pb::ChangeSecurityRequest) -> Result<(), Failure> {
    let to = &parts.coordinator;
    let what = request.what.ok_or_else(|| Failure::missing("a change of users, roles or grants names none"))?;
    let done = match what {
        What::CreateUser(user) => to.create_user(&user.name, &user.password_hash, &user.description).await,
        What::SetPassword(pb::SetPassword { user, known_hash, password_hash, description }) => {
            to.set_password(&user, &known_hash, &password_hash, description.as_deref()).await
        }
        What::DescribeUser(user) => to.describe_user(&user.name, &user.description).await,
        What::DropUser(name) => to.drop_user(&name).await,
        What::CreateRole(role) => to.create_role(&role.name, &role.description).await,
        What::AlterRole(role) => to.alter_role(&role.name, &role.description).await,
        What::DropRole(pb::DropRole { name, force }) => to.drop_role(&name, force).await,
        What::AddToRole(pb::RoleMember { user, role }) => to.add_to_role(&user, &role).await,
        What::RemoveFromRole(pb::RoleMember { user, role }) => to.remove_from_role(&user, &role).await,
        What::Grant(pb::ChangeGrants { role, grantor, grants }) => to.grant(&role, &grantor, &read(grants)?).await,
        What::Revoke(pb::ChangeGrants { role, grants, .. }) => to.revoke(&role, &read(grants)?).await,
        What::CreateGroup(name) => to.create_privilege_group(&name).await,
        What::DropGroup(name) => to.drop_privilege_group(&name).await,
        What::AddToGroup(group) => to.change_privilege_group(&group.name, &group.privileges, true).await,
        What::RemoveFromGroup(group) => to.change_privilege_group(&group.name, &group.privileges, false).await,
    };
    Ok(done?)
}

fn user(record: UserRecord) -> pb::SecurityUser {
    let UserRecord { name, password_hash, description, roles } = record;
    pb::SecurityUser { name, password_hash, description, roles }
}

fn grant(record: GrantRecord) -> pb::SecurityGrant {
    let GrantRecord { role, grant: Grant { object_type, db_name, object_name, privilege }, grantor } = record;
    pb::SecurityGrant { role, object_type: object_type.label().to_owned(), db_name, object_name, privilege, grantor }
}

fn read(grants: Vec<pb::SecurityGrant>) -> Result<Vec<Grant>, Failure> {
    let read = |grant: pb::SecurityGrant| {
        let pb::SecurityGrant { object_type, db_name, object_name, privilege, .. } = grant;
        let object_type = ObjectType::parse(&object_type).ok_or_else(|| {
            Failure::invalid(format!("{object_type:?} is no kind of object: give Collection, Global or User"))
        })?;
        Ok(Grant { object_type, db_name, object_name, privilege })
    };
    grants.into_iter().map(read).collect()
}

//! Groups of privileges: those that are built in, and those that users make.

use super::names;
use crate::{Proxy, backend::Call};
use elanus_proto::{datacoord as dc, datacoord::change_security_request::What, milvus as m};
use elanus_types::{
    Failure,
    privilege::{BuiltInGroup, is_defined},
};

/// 1100 for a name that is Milvus' own.
fn own(group: &str) -> Result<(), Failure> {
    if !is_defined(group) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "the privilege group name [{group}] is defined by built in privileges or privilege groups in system: invalid parameter"
    )))
}

pub(crate) async fn create_privilege_group(
    proxy: &Proxy,
    _: &Call,
    request: m::CreatePrivilegeGroupRequest,
) -> Result<(), Failure> {
    names::group(&request.group_name)?;
    own(&request.group_name)?;
    proxy.change_security(What::CreateGroup(request.group_name)).await
}

/// Success also when there is none, as in Milvus.
pub(crate) async fn drop_privilege_group(
    proxy: &Proxy,
    _: &Call,
    request: m::DropPrivilegeGroupRequest,
) -> Result<(), Failure> {
    names::group(&request.group_name)?;
    own(&request.group_name)?;
    proxy.change_security(What::DropGroup(request.group_name)).await
}

pub(crate) async fn operate_privilege_group(
    proxy: &Proxy,
    _: &Call,
    request: m::OperatePrivilegeGroupRequest,
) -> Result<(), Failure> {
    names::group(&request.group_name)?;
    own(&request.group_name)?;
    let does = m::OperatePrivilegeGroupType::try_from(request.r#type);
    for privilege in &request.privileges {
        names::privilege(&privilege.name)?;
    }
    let privileges = request.privileges.into_iter().map(|privilege| privilege.name).collect();
    let group = dc::SecurityGroup { name: request.group_name, privileges };
    proxy
        .change_security(match does {
            Ok(m::OperatePrivilegeGroupType::AddPrivilegesToGroup) => What::AddToGroup(group),
            Ok(m::OperatePrivilegeGroupType::RemovePrivilegesFromGroup) => What::RemoveFromGroup(group),
            Err(_) => return Err(Failure::invalid("unsupported operate type, give 0 to add or 1 to remove")),
        })
        .await
}

pub(crate) async fn list_privilege_groups(
    proxy: &Proxy,
    _: &Call,
    _: m::ListPrivilegeGroupsRequest,
) -> Result<m::ListPrivilegeGroupsResponse, Failure> {
    let state = proxy.security().await?;
    let entity = |name: &str| m::PrivilegeEntity { name: name.to_owned() };
    let built_in = BuiltInGroup::all().map(|group| m::PrivilegeGroupInfo {
        group_name: group.name().to_owned(),
        privileges: group.privileges().map(|one| entity(one.name())).collect(),
    });
    let made = state.groups.iter().map(|group| m::PrivilegeGroupInfo {
        group_name: group.name.clone(),
        privileges: group.privileges.iter().map(|one| entity(one)).collect(),
    });
    let privilege_groups = made.chain(built_in).collect();
    Ok(m::ListPrivilegeGroupsResponse { privilege_groups, status: None })
}

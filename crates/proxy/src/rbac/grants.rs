//! What roles may do: the two ways in which Milvus grants, and what was granted.
//!
//! The first one names a kind of object and an object of it; the second a database, a collection and a privilege or a
//! group of them. Both make the same grants.

use super::{names, no_such_role};
use crate::{Proxy, access::State, backend::Call};
use elanus_proto::{datacoord as dc, datacoord::change_security_request::What, milvus as m};
use elanus_types::{
    Code, Failure,
    privilege::{ALL, ANY, BuiltInGroup, Level, ObjectType, Privilege},
};

const KINDS: &str = "[Collection Global User]";

fn nil(what: &str) -> Failure {
    Failure::invalid(format!("{what}: invalid parameter"))
}

fn unexpected(text: String) -> Failure {
    Failure::new(Code::Unexpected, text)
}

fn kind(name: &str) -> Result<ObjectType, Failure> {
    let unknown =
        || unexpected(format!("not found the object type[name: {name}], supported the object types: {KINDS}"));
    ObjectType::parse(name).ok_or_else(unknown)
}

/// Grants or revokes.
async fn operate(
    proxy: &Proxy,
    call: &Call,
    operation: i32,
    role: String,
    grants: Vec<dc::SecurityGrant>,
) -> Result<(), Failure> {
    let change = dc::ChangeGrants { role, grantor: call.user().to_owned(), grants };
    proxy
        .change_security(match m::OperatePrivilegeType::try_from(operation) {
            Ok(m::OperatePrivilegeType::Grant) => What::Grant(change),
            Ok(m::OperatePrivilegeType::Revoke) => What::Revoke(change),
            Err(_) => return Err(nil("the type in the request not grant or revoke")),
        })
        .await
}

/// The first way. What clients ask for after such a call comes with it, as in Milvus.
pub(crate) async fn operate_privilege(
    proxy: &Proxy,
    call: &Call,
    request: m::OperatePrivilegeRequest,
) -> Result<(), Failure> {
    let entity = request.entity.ok_or_else(|| nil("the entity in the request is nil"))?;
    let grantor = entity.grantor.ok_or_else(|| nil("the grantor entity in the grant entity is nil"))?;
    let privilege = grantor.privilege.ok_or_else(|| nil("the privilege entity in the grantor entity is nil"))?.name;
    names::privilege(&privilege)?;
    let object_type = entity.object.ok_or_else(|| nil("the resource entity in the grant entity is nil"))?.name;
    names::object_type(&object_type)?;
    names::object(&entity.object_name)?;
    let role = entity.role.ok_or_else(|| nil("the object entity in the grant entity is nil"))?.name;
    names::role(&role)?;
    let state = proxy.security().await?;
    require_role(&state, &role)?;
    let object_type = kind(&object_type)?;
    let mut privileges = vec![privilege.clone()];
    if privilege != ANY {
        privileges.extend(of_kind(&state, &privilege, object_type)?.related().iter().map(|name| (*name).to_owned()));
    }
    let object_name = if object_type == ObjectType::Global { ANY.to_owned() } else { entity.object_name };
    let db_name = call.db(&entity.db_name);
    let grant = |privilege| dc::SecurityGrant {
        object_type: object_type.label().to_owned(),
        db_name: db_name.clone(),
        object_name: object_name.clone(),
        privilege,
        ..dc::SecurityGrant::default()
    };
    operate(proxy, call, request.r#type, role, privileges.into_iter().map(grant).collect()).await
}

/// A privilege that this kind of object has; groups are for the second way.
fn of_kind(state: &State, name: &str, object_type: ObjectType) -> Result<Privilege, Failure> {
    if state.groups.iter().any(|group| group.name == name) {
        return Err(unexpected(format!("can not operate the custom privilege group [{name}]")));
    }
    if BuiltInGroup::parse(name).is_some() {
        return Err(unexpected(format!("can not operate the built-in privilege group [{name}]")));
    }
    let found = Privilege::parse(name).filter(|found| found.object_type() == object_type);
    found.ok_or_else(|| unexpected(format!("not found the privilege name[{name}] in object[{}]", object_type.label())))
}

/// The second way.
pub(crate) async fn operate_privilege_v2(
    proxy: &Proxy,
    call: &Call,
    request: m::OperatePrivilegeV2Request,
) -> Result<(), Failure> {
    let role = request.role.ok_or_else(|| nil("the role in the request is nil"))?.name;
    names::role(&role)?;
    let grantor = request.grantor.ok_or_else(|| nil("the grantor entity in the request is nil"))?;
    let privilege = grantor.privilege.ok_or_else(|| nil("the privilege entity in the grantor entity is nil"))?.name;
    names::privilege(&privilege)?;
    if request.collection_name != ANY {
        crate::names::collection(&request.collection_name)?;
    }
    let db_name = call.db(&request.db_name);
    if db_name != ANY {
        crate::names::database(&db_name)?;
    }
    let state = proxy.security().await?;
    require_role(&state, &role)?;
    fits(&state, &privilege, &db_name, &request.collection_name)?;
    // Kinds of objects are the first way's: without one, everything is all of it.
    let privilege = if privilege == ANY { ALL.to_owned() } else { privilege };
    let object_type = Privilege::parse(&privilege).map_or(ObjectType::Global, Privilege::object_type);
    let grant = dc::SecurityGrant {
        object_type: object_type.label().to_owned(),
        db_name,
        object_name: request.collection_name,
        privilege,
        ..dc::SecurityGrant::default()
    };
    operate(proxy, call, request.r#type, role, vec![grant]).await
}

/// A privilege is there; a group is granted of what its level is about.
fn fits(state: &State, name: &str, db: &str, collection: &str) -> Result<(), Failure> {
    if name == ANY || Privilege::parse(name).is_some() {
        return Ok(());
    }
    let level = match (BuiltInGroup::parse(name), state.groups.iter().find(|group| group.name == name)) {
        (Some(group), _) => Some(group.level()),
        (None, Some(group)) => group.privileges.iter().find_map(|one| Privilege::parse(one)).map(Privilege::level),
        (None, None) => return Err(unexpected(format!("not found the privilege name[{name}]"))),
    };
    let why = match level {
        Some(Level::Cluster) if db != ANY || collection != ANY => {
            "dbName and collectionName should be * for the cluster level privilege"
        }
        Some(Level::Database) if collection != ANY => "collectionName should be * for the database level privilege",
        Some(Level::Collection) if db == ANY && collection != ANY => {
            "please specify database name for the collection level privilege"
        }
        _ => return Ok(()),
    };
    Err(nil(&format!("{why}: {name}")))
}

/// What a role may do in a database, and in all of them.
pub(crate) async fn select_grant(
    proxy: &Proxy,
    call: &Call,
    request: m::SelectGrantRequest,
) -> Result<m::SelectGrantResponse, Failure> {
    let entity = request.entity.ok_or_else(|| nil("the grant entity in the request is nil"))?;
    if let Some(object) = &entity.object {
        names::object_type(&object.name)?;
        names::object(&entity.object_name)?;
    }
    let role = entity.role.ok_or_else(|| nil("the role entity in the grant entity is nil"))?.name;
    names::role(&role)?;
    let state = proxy.security().await?;
    require_role(&state, &role)?;
    let object_type = entity.object.map(|object| kind(&object.name)).transpose()?;
    let db = call.db(&entity.db_name);
    let wanted = |grant: &&dc::SecurityGrant| {
        let in_db = db == ANY || grant.db_name == ANY || grant.db_name == db;
        let of_object = object_type.is_none_or(|kind| {
            grant.object_type == kind.label()
                && (entity.object_name.is_empty() || grant.object_name == entity.object_name)
        });
        in_db && of_object
    };
    let entities = state.grants_of(&role).filter(wanted).map(told).collect();
    Ok(m::SelectGrantResponse { entities, status: None })
}

fn told(grant: &dc::SecurityGrant) -> m::GrantEntity {
    let dc::SecurityGrant { role, object_type, db_name, object_name, privilege, grantor } = grant.clone();
    m::GrantEntity {
        role: Some(m::RoleEntity { name: role, ..m::RoleEntity::default() }),
        object: Some(m::ObjectEntity { name: object_type }),
        object_name,
        grantor: Some(m::GrantorEntity {
            user: Some(m::UserEntity { name: grantor }),
            privilege: Some(m::PrivilegeEntity { name: privilege }),
        }),
        db_name,
    }
}

fn require_role(state: &State, name: &str) -> Result<(), Failure> {
    if state.roles.iter().any(|role| role.name == name) { Ok(()) } else { Err(no_such_role()) }
}

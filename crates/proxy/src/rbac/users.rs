//! Users and their passwords.

use super::names;
use crate::{Proxy, access::Secret, backend::Call};
use elanus_proto::{datacoord as dc, datacoord::change_security_request::What, milvus as m};
use elanus_types::{Code, Failure, privilege::ROOT};

pub(crate) async fn create_credential(
    proxy: &Proxy,
    _: &Call,
    request: m::CreateCredentialRequest,
) -> Result<(), Failure> {
    let m::CreateCredentialRequest { username, password, description, .. } = request;
    names::user(&username)?;
    let password = names::decoded("password", &password)?;
    names::password(&password)?;
    let password_hash = proxy.passwords.hash(password).await?;
    let description = description.unwrap_or_default();
    let user = dc::SecurityUser { name: username, password_hash, description, roles: Vec::new() };
    proxy.change_security(What::CreateUser(user)).await
}

/// A new password for whoever knows the old one, or where a super user asks. Without passwords, only the description.
pub(crate) async fn update_credential(
    proxy: &Proxy,
    call: &Call,
    request: m::UpdateCredentialRequest,
) -> Result<(), Failure> {
    let m::UpdateCredentialRequest { username, old_password, new_password, description, .. } = request;
    if let (true, true, Some(description)) = (old_password.is_empty(), new_password.is_empty(), &description) {
        let (name, description) = (username, description.clone());
        return proxy
            .change_security(What::DescribeUser(dc::SecurityUser { name, description, ..Default::default() }))
            .await;
    }
    let old = names::decoded("old password", &old_password)?;
    let new = names::decoded("new password", &new_password)?;
    names::password(&new)?;
    let state = proxy.security().await?;
    let known_hash = state.user(&username).map(|user| user.password_hash.clone());
    let wrong = || {
        let text = format!("old password not correct for {username}: not authenticated");
        Failure::new(Code::NotAuthenticated, text)
    };
    let is_super = proxy.config.super_users.iter().any(|one| one == call.user());
    if !is_super && !is_password(proxy, call, &username, old, known_hash.clone()).await? {
        return Err(wrong());
    }
    set_password(proxy, username.clone(), known_hash.ok_or_else(wrong)?, new, description).await
}

/// Compared also where there is no such user.
async fn is_password(
    proxy: &Proxy,
    call: &Call,
    user: &str,
    password: Secret,
    hash: Option<String>,
) -> Result<bool, Failure> {
    match (&proxy.door, call.identity()) {
        (Some(door), Ok(who)) => door.compare(&proxy.passwords, who, user, password, hash).await,
        _ => {
            let turn = proxy.passwords.turn().await?;
            proxy.passwords.verify(turn, password, hash).await
        }
    }
}

/// SEC-2: of two at once one wins.
async fn set_password(
    proxy: &Proxy,
    user: String,
    known_hash: String,
    password: Secret,
    description: Option<String>,
) -> Result<(), Failure> {
    let password_hash = proxy.passwords.hash(password).await?;
    let set = dc::SetPassword { user, known_hash, password_hash, description };
    proxy.change_security(What::SetPassword(set)).await
}

pub(crate) async fn delete_credential(
    proxy: &Proxy,
    _: &Call,
    request: m::DeleteCredentialRequest,
) -> Result<(), Failure> {
    if request.username == ROOT {
        return Err(Failure::new(Code::NotPermitted, "root user cannot be deleted: privilege not permitted"));
    }
    proxy.change_security(What::DropUser(request.username)).await
}

pub(crate) async fn list_cred_users(
    proxy: &Proxy,
    _: &Call,
    _: m::ListCredUsersRequest,
) -> Result<m::ListCredUsersResponse, Failure> {
    let usernames = proxy.security().await?.users.iter().map(|user| user.name.clone()).collect();
    Ok(m::ListCredUsersResponse { usernames, status: None })
}

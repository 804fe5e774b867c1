//! Users, roles, grants and groups of privileges.

use crate::store::{Store, refusal};
use elanus_meta::{Grant, GrantRecord, Meta, SecurityRecord};
use elanus_types::privilege::{ObjectType, ROOT};

const NO_ROLE: &str = "not found the role, maybe the role isn't existed or internal system error";
const NO_USER: &str = "not found the user, maybe the user isn't existed or internal system error";

async fn all(meta: &Meta) -> SecurityRecord {
    meta.security(0).await.unwrap().unwrap()
}

async fn roles_of(meta: &Meta, user: &str) -> Vec<String> {
    all(meta).await.users.into_iter().find(|one| one.name == user).unwrap().roles
}

fn grant(object_type: ObjectType, db: &str, object: &str, privilege: &str) -> Grant {
    let [db_name, object_name, privilege] = [db, object, privilege].map(str::to_owned);
    Grant { object_type, db_name, object_name, privilege }
}

fn unexpected<T: std::fmt::Debug>(result: elanus_meta::Result<T>, text: &str) {
    assert_eq!(refusal(result), (65535, text.to_owned()));
}

async fn a_new_store_has_root_two_roles_and_what_all_may(store: Store) {
    let found = all(&store.meta).await;
    let [root] = &found.users[..] else { panic!("{found:?}") };
    assert_eq!((root.name.as_str(), root.roles.len()), (ROOT, 0));
    assert!(root.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "of Milvus");
    assert!(!format!("{found:?}").contains("argon2"), "SEC-3");
    assert_eq!(found.roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["admin", "public"]);
    let public: Vec<_> = found.grants.iter().map(|one| (one.role.as_str(), one.grant.privilege.as_str())).collect();
    assert_eq!(public, [("public", "IndexDetail"), ("public", "DescribeCollection"), ("public", "ListAliases")]);
    assert!(found.groups.is_empty());
}

async fn sec_1_every_change_raises_the_version_and_a_refusal_does_not(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let first = all(meta).await.version;
    assert_eq!(meta.security(first).await.unwrap(), None, "it still is so");
    coordinator.create_user("ann", "$hash", "of the shop").await.unwrap();
    let second = meta.security(first).await.unwrap().unwrap();
    assert!(second.version > first);
    unexpected(coordinator.create_user("ann", "$other", "").await, "user already exists: ann");
    unexpected(coordinator.create_role("admin", "").await, "role [name:\"admin\"] already exists");
    assert_eq!(meta.security(second.version).await.unwrap(), None);
    let (one, other) = tokio::join!(coordinator.create_role("a", ""), coordinator.create_role("b", ""));
    one.unwrap();
    other.unwrap();
    assert_eq!(all(meta).await.version, second.version + 2, "changes come one after the other");
}

async fn sec_2_a_password_is_changed_by_who_knew_the_old_hash(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    coordinator.create_user("ann", "$1", "before").await.unwrap();
    let hash = async || all(meta).await.users.into_iter().find(|one| one.name == "ann").unwrap();
    let (one, other) = tokio::join!(
        coordinator.set_password("ann", "$1", "$2", None),
        coordinator.set_password("ann", "$1", "$3", Some("after"))
    );
    let loser = if one.is_err() { one } else { other };
    assert_eq!(refusal(loser), (1400, "old password not correct for ann: not authenticated".to_owned()));
    let now = hash().await;
    assert!(["$2", "$3"].contains(&now.password_hash.as_str()));
    assert_eq!(now.description, if now.password_hash == "$3" { "after" } else { "before" });
    coordinator.describe_user("ann", "again").await.unwrap();
    assert_eq!(hash().await.description, "again");
    unexpected(coordinator.set_password("bob", "$1", "$2", None).await, NO_USER);
    unexpected(coordinator.describe_user("bob", "x").await, NO_USER);
    coordinator.drop_user("ann").await.unwrap();
    coordinator.drop_user("ann").await.unwrap();
    let text = "root user cannot be deleted: privilege not permitted".to_owned();
    assert_eq!(refusal(coordinator.drop_user(ROOT).await), (1401, text));
    assert_eq!(all(meta).await.users.len(), 1);
}

async fn roles_are_given_and_taken_and_go_with_their_users(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    coordinator.create_user("ann", "$1", "").await.unwrap();
    coordinator.create_role("reader", "reads").await.unwrap();
    for _ in 0..2 {
        coordinator.add_to_role("ann", "reader").await.unwrap();
    }
    coordinator.add_to_role("ann", "admin").await.unwrap();
    assert_eq!(roles_of(meta, "ann").await, ["admin", "reader"]);
    unexpected(coordinator.add_to_role("ann", "writer").await, NO_ROLE);
    unexpected(coordinator.add_to_role("bob", "reader").await, NO_USER);
    unexpected(coordinator.remove_from_role("ann", "writer").await, NO_ROLE);
    for _ in 0..2 {
        coordinator.remove_from_role("ann", "reader").await.unwrap();
    }
    coordinator.remove_from_role("bob", "reader").await.unwrap();
    coordinator.alter_role("reader", "reads more").await.unwrap();
    unexpected(coordinator.alter_role("writer", "x").await, NO_ROLE);
    assert_eq!(all(meta).await.roles[2].description, "reads more");
    coordinator.drop_user("ann").await.unwrap();
    coordinator.create_user("ann", "$2", "").await.unwrap();
    assert_eq!(roles_of(meta, "ann").await.len(), 0, "another user of the name has nothing of the first one");
}

async fn a_role_goes_when_it_may_do_nothing_or_by_force(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    coordinator.create_user("ann", "$1", "").await.unwrap();
    coordinator.create_role("reader", "").await.unwrap();
    coordinator.add_to_role("ann", "reader").await.unwrap();
    let query = grant(ObjectType::Collection, "default", "docs", "Query");
    let wide = grant(ObjectType::Global, "*", "*", "ClusterReadOnly");
    for _ in 0..2 {
        coordinator.grant("reader", ROOT, &[query.clone(), wide.clone()]).await.unwrap();
    }
    let of_reader = async || -> Vec<GrantRecord> {
        all(meta).await.grants.into_iter().filter(|one| one.role == "reader").collect()
    };
    let found = of_reader().await;
    assert_eq!(found.iter().map(|one| one.grant.clone()).collect::<Vec<_>>(), [query.clone(), wide.clone()]);
    assert!(found.iter().all(|one| one.grantor == ROOT));
    unexpected(coordinator.grant("writer", ROOT, std::slice::from_ref(&query)).await, NO_ROLE);
    unexpected(coordinator.grant("reader", "bob", std::slice::from_ref(&query)).await, NO_USER);
    let other = grant(ObjectType::Collection, "default", "docs", "Fly");
    unexpected(coordinator.grant("reader", ROOT, &[wide.clone(), other]).await, "not found the privilege name[Fly]");

    let text = "fail to drop the role that it has privileges. Use REVOKE API to revoke privileges";
    unexpected(coordinator.drop_role("reader", false).await, text);
    for _ in 0..2 {
        coordinator.revoke("reader", std::slice::from_ref(&query)).await.unwrap();
    }
    assert_eq!(of_reader().await.len(), 1);
    coordinator.drop_role("reader", true).await.unwrap();
    unexpected(coordinator.drop_role("reader", true).await, NO_ROLE);
    assert_eq!((of_reader().await.len(), roles_of(meta, "ann").await.len()), (0, 0));
}

async fn a_group_is_of_one_level_and_stays_while_a_role_has_it(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    coordinator.create_privilege_group("mine").await.unwrap();
    let text = "privilege group name [mine] is defined by users: invalid parameter".to_owned();
    assert_eq!(refusal(coordinator.create_privilege_group("mine").await), (1100, text));
    coordinator.change_privilege_group("mine", &words(&["Search", "Query"]), true).await.unwrap();
    coordinator.create_privilege_group("more").await.unwrap();
    coordinator.change_privilege_group("more", &words(&["mine", "Insert", "Query"]), true).await.unwrap();
    assert_eq!(all(meta).await.groups["more"], ["Insert", "Query", "Search"]);
    coordinator.change_privilege_group("more", &words(&["mine", "Load"]), false).await.unwrap();
    assert_eq!(all(meta).await.groups["more"], ["Insert"]);
    unexpected(
        coordinator.change_privilege_group("mine", &words(&["CreateDatabase"]), true).await,
        "privileges are not the same privilege level",
    );
    unexpected(
        coordinator.change_privilege_group("more", &words(&["DatabaseReadOnly"]), true).await,
        "privileges are not the same privilege level",
    );
    for (group, privilege, says) in [
        ("none", "Query", "there is no privilege group name [none] to operate"),
        ("mine", "Fly", "there is no privilege name or privilege group name [Fly] defined in system to operate"),
    ] {
        let (code, text) = refusal(coordinator.change_privilege_group(group, &words(&[privilege]), true).await);
        assert!(code == 1100 && text.starts_with(says), "{text}");
    }
    coordinator.create_role("reader", "").await.unwrap();
    let given = grant(ObjectType::Global, "default", "docs", "mine");
    coordinator.grant("reader", ROOT, std::slice::from_ref(&given)).await.unwrap();
    let text = "privilege group [mine] is used by role [reader], Use REVOKE API to revoke it first";
    unexpected(coordinator.drop_privilege_group("mine").await, text);
    coordinator.revoke("reader", std::slice::from_ref(&given)).await.unwrap();
    for _ in 0..2 {
        coordinator.drop_privilege_group("mine").await.unwrap();
    }
    unexpected(coordinator.grant("reader", ROOT, &[given]).await, "not found the privilege name[mine]");
}

async fn there_are_no_more_users_and_roles_than_there_may_be(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    for n in 1..100 {
        coordinator.create_user(&format!("u{n}"), "$1", "").await.unwrap();
    }
    let text = "unable to add user because the number of users has reached the limit";
    unexpected(coordinator.create_user("more", "$1", "").await, text);
    unexpected(coordinator.create_user("u7", "$1", "").await, "user already exists: u7");
    for n in 2..10 {
        coordinator.create_role(&format!("r{n}"), "").await.unwrap();
    }
    let text = "unable to create role because the number of roles has reached the limit";
    unexpected(coordinator.create_role("more", "").await, text);
    let found = all(meta).await;
    assert_eq!((found.users.len(), found.roles.len()), (100, 10));
}

on_every_store! {
    a_new_store_has_root_two_roles_and_what_all_may,
    sec_1_every_change_raises_the_version_and_a_refusal_does_not,
    sec_2_a_password_is_changed_by_who_knew_the_old_hash,
    roles_are_given_and_taken_and_go_with_their_users,
    a_role_goes_when_it_may_do_nothing_or_by_force,
    a_group_is_of_one_level_and_stays_while_a_role_has_it,
    there_are_no_more_users_and_roles_than_there_may_be,
}

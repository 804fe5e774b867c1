//! Who may do what, as the coordinator said it a moment ago.
//!
//! A copy is used for a second and then asked for again, which costs one row when nothing changed. A change that this
//! process made is known at once, what others changed a second later. Without the coordinator nobody is let in: a copy that
//! may be old is no answer to who may do what.

use elanus_proto::{convert, datacoord as dc, datacoord::data_coord_client::DataCoordClient, transport::Channel};
use elanus_types::{
    Failure,
    privilege::{ADMIN, ALL, ANY, BuiltInGroup, PUBLIC, Privilege, ROOT},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A copy is not asked about so long.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Everything that says who may do what, of one version.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) version: i64,
    pub(crate) users: Vec<dc::SecurityUser>,
    pub(crate) roles: Vec<dc::SecurityRole>,
    pub(crate) grants: Vec<dc::SecurityGrant>,
    pub(crate) groups: Vec<dc::SecurityGroup>,
    /// Grants by role: their places.
    of_role: HashMap<String, Vec<usize>>,
}

/// Hashes are not shown.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What a privilege is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object<'a> {
    /// One collection, or one user.
    Named(&'a str),
    /// Not one that has a name: a database, the cluster.
    Whole,
    /// Any at all.
    Some,
}

impl From<dc::SecurityState> for State {
    fn from(state: dc::SecurityState) -> Self {
        let dc::SecurityState { version, users, roles, grants, groups, .. } = state;
        let mut of_role: HashMap<String, Vec<usize>> = HashMap::new();
        for (n, grant) in grants.iter().enumerate() {
            of_role.entry(grant.role.clone()).or_default().push(n);
        }
        Self { version, users, roles, grants, groups, of_role }
    }
}

impl State {
    pub(crate) fn user(&self, name: &str) -> Option<&dc::SecurityUser> {
        self.users.iter().find(|user| user.name == name)
    }

    /// What is in a group that a user made.
    fn group(&self, name: &str) -> Option<&dc::SecurityGroup> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Root, or one with the role of administrators.
    pub(crate) fn is_admin(&self, user: &str) -> bool {
        user == ROOT || self.user(user).is_some_and(|user| user.roles.iter().any(|role| role == ADMIN))
    }

    /// Roles of a user that it has been given, and the one of all.
    pub(crate) fn roles_of<'s>(&'s self, user: &str) -> impl Iterator<Item = &'s str> {
        let given = self.user(user).map(|user| user.roles.as_slice()).unwrap_or_default();
        given.iter().map(String::as_str).chain([PUBLIC])
    }

    /// May this user do this? Unknown users may do nothing.
    pub(crate) fn allows(&self, user: &str, privilege: Privilege, db: &str, object: Object<'_>) -> bool {
        if self.user(user).is_none() {
            return false;
        }
        self.is_admin(user)
            || self
                .roles_of(user)
                .any(|role| self.grants_of(role).any(|grant| self.covers(grant, privilege, db, object)))
    }

    /// Grants that a role has, without those of the role of all.
    pub(crate) fn grants_of<'s>(&'s self, role: &str) -> impl Iterator<Item = &'s dc::SecurityGrant> {
        let places = self.of_role.get(role).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|n| self.grants.get(*n))
    }

    /// True where a user was given something about this collection; what all may do does not count. For lists.
    pub(crate) fn sees(&self, user: &str, db: &str, collection: Option<&str>) -> bool {
        let Some(known) = self.user(user) else { return false };
        let of_it = |grant: &dc::SecurityGrant| {
            let collections =
                grant.object_type == "Collection" || self.is_group(&grant.privilege) || grant.privilege == ALL;
            match collection {
                Some(name) => {
                    collections && in_db(grant, db) && (grant.object_name == ANY || grant.object_name == name)
                }
                None => in_db(grant, db),
            }
        };
        let mut given = known.roles.iter().filter(|role| *role != PUBLIC);
        self.is_admin(user) || given.any(|role| self.grants_of(role).any(of_it))
    }

    fn is_group(&self, name: &str) -> bool {
        BuiltInGroup::parse(name).is_some() || self.group(name).is_some()
    }

    fn covers(&self, grant: &dc::SecurityGrant, wanted: Privilege, db: &str, object: Object<'_>) -> bool {
        let in_object = match object {
            Object::Named(name) => grant.object_name == ANY || grant.object_name == name,
            Object::Whole => grant.object_name == ANY,
            Object::Some => true,
        };
        in_object && in_db(grant, db) && self.contains(grant, wanted)
    }

    fn contains(&self, grant: &dc::SecurityGrant, wanted: Privilege) -> bool {
        let name = wanted.name();
        let is_it = |one: &str| one == name || Privilege::parse(one).is_some_and(|one| one.related().contains(&name));
        match grant.privilege.as_str() {
            ALL => true,
            ANY => grant.object_type == wanted.object_type().label(),
            one if is_it(one) => true,
            group => match BuiltInGroup::parse(group) {
                Some(group) => group.privileges().any(|member| is_it(member.name())),
                None => self.group(group).is_some_and(|group| group.privileges.iter().any(|member| is_it(member))),
            },
        }
    }
}

fn in_db(grant: &dc::SecurityGrant, db: &str) -> bool {
    grant.db_name == ANY || grant.db_name == db
}

/// The copy of this process.
#[derive(Debug, Default)]
pub(crate) struct Known {
    slot: Mutex<Slot>,
    /// One asks, the others wait for what it learns.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Option<Arc<State>>,
    /// When it was asked for; `None`: it must be asked for again.
    asked: Option<Instant>,
    /// Changes that this process made.
    changes: u64,
}

impl Known {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Whoever holds it sets fields, nothing else.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process knows, where that is not too old.
    fn young(&self) -> Option<Arc<State>> {
        let slot = self.slot();
        let is_young = slot.asked.is_some_and(|asked| asked.elapsed() < AGE_MAX);
        slot.state.clone().filter(|_| is_young)
    }

    /// This process changed something: what it knows is old.
    pub(crate) fn changed(&self) {
        let mut slot = self.slot();
        slot.changes += 1;
        slot.asked = None;
    }

    /// Who may do what, at most a second ago.
    ///
    /// # Errors
    /// When the coordinator is away.
    pub(crate) async fn now(&self, datacoord: DataCoordClient<Channel>) -> Result<Arc<State>, Failure> {
        if let Some(state) = self.young() {
            return Ok(state);
        }
        let _asking = self.asking.lock().await;
        if let Some(state) = self.young() {
            return Ok(state);
        }
        self.ask(datacoord).await
    }

    /// Who may do what now.
    ///
    /// # Errors
    /// When the coordinator is away.
    pub(crate) async fn ask(&self, mut datacoord: DataCoordClient<Channel>) -> Result<Arc<State>, Failure> {
        let (begun, known, changes) = {
            let slot = self.slot();
            (Instant::now(), slot.state.clone(), slot.changes)
        };
        let known_version = known.as_ref().map_or(0, |known| known.version);
        let asked = datacoord.get_security(dc::GetSecurityRequest { known_version }).await;
        let answer = asked.map_err(convert::failure_from_grpc)?.into_inner();
        let state = match (answer.unchanged, known) {
            (true, Some(known)) => known,
            _ => Arc::new(State::from(answer)),
        };
        let mut slot = self.slot();
        // What was asked for before a change of this process may not know of it.
        if slot.changes == changes {
            slot.state = Some(Arc::clone(&state));
            slot.asked = Some(begun);
        }
        Ok(state)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A grant: role, kind, database, object, privilege.
    pub(crate) fn state(users: &[(&str, &[&str])], grants: &[[&str; 5]], groups: &[(&str, &[&str])]) -> State {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        State::from(dc::SecurityState {
            version: 1,
            unchanged: false,
            users: users
                .iter()
                .map(|(name, roles)| dc::SecurityUser {
                    name: (*name).to_owned(),
                    roles: words(roles),
                    ..dc::SecurityUser::default()
                })
                .collect(),
            roles: Vec::new(),
            grants: grants
                .iter()
                .map(|grant| {
                    let [role, object_type, db_name, object_name, privilege] = grant.map(str::to_owned);
                    dc::SecurityGrant { role, object_type, db_name, object_name, privilege, grantor: "root".to_owned() }
                })
                .collect(),
            groups: groups
                .iter()
                .map(|(name, privileges)| dc::SecurityGroup { name: (*name).to_owned(), privileges: words(privileges) })
                .collect(),
        })
    }

    fn may(state: &State, user: &str, privilege: &str, db: &str, object: Object<'_>) -> bool {
        state.allows(user, Privilege::parse(privilege).unwrap(), db, object)
    }

    #[test]
    fn a_grant_is_of_a_database_an_object_and_a_privilege() {
        let state = state(
            &[("ann", &["reader"]), ("bob", &[])],
            &[
                ["reader", "Collection", "default", "docs", "Query"],
                ["reader", "Collection", "*", "shared", "Search"],
                ["reader", "Global", "shop", "*", "CreateCollection"],
                ["public", "Global", "*", "*", "DescribeCollection"],
            ],
            &[],
        );
        use Object::{Named, Some, Whole};
        assert!(may(&state, "ann", "Query", "default", Named("docs")));
        for (privilege, db, object) in [
            ("Query", "default", Named("other")),
            ("Query", "shop", Named("docs")),
            ("Query", "default", Whole),
            ("Search", "default", Named("docs")),
            ("Search", "shop", Named("docs")),
            ("Insert", "default", Named("docs")),
            ("CreateCollection", "default", Named("new")),
            ("DropCollection", "shop", Named("new")),
        ] {
            assert!(!may(&state, "ann", privilege, db, object), "{privilege} {db} {object:?}");
        }
        assert!(may(&state, "ann", "Search", "anywhere", Named("shared")));
        assert!(may(&state, "ann", "CreateCollection", "shop", Named("new")));
        assert!(may(&state, "ann", "CreateCollection", "shop", Whole));
        assert!(may(&state, "ann", "Query", "default", Some) && !may(&state, "ann", "Query", "shop", Some));
        assert!(may(&state, "bob", "DescribeCollection", "shop", Named("docs")), "everybody may");
        assert!(!may(&state, "bob", "Query", "default", Named("docs")));
        assert!(!may(&state, "eve", "DescribeCollection", "shop", Named("docs")), "there is no such user");
    }

    #[test]
    fn groups_wildcards_and_what_comes_with_a_privilege() {
        let state = state(
            &[("all", &["all"]), ("kind", &["kind"]), ("admin", &["admin"]), ("root", &[]), ("group", &["group"])],
            &[
                ["all", "Global", "shop", "*", "All"],
                ["kind", "Collection", "*", "docs", "*"],
                ["group", "Global", "shop", "docs", "CollectionReadOnly"],
                ["group", "Global", "*", "notes", "mine"],
            ],
            &[("mine", &["Load", "Insert"])],
        );
        let named = Object::Named;
        for privilege in Privilege::all() {
            let name = privilege.name();
            assert!(may(&state, "root", name, "x", named("y")) && may(&state, "admin", name, "x", Object::Whole));
            assert!(may(&state, "all", name, "shop", named("y")) && !may(&state, "all", name, "default", named("y")));
            let of_collections = privilege.object_type().label() == "Collection";
            assert_eq!(may(&state, "kind", name, "x", named("docs")), of_collections, "{name}");
            let reads = BuiltInGroup::parse("CollectionReadOnly").unwrap().has(privilege);
            assert_eq!(may(&state, "group", name, "shop", named("docs")), reads, "{name}");
            assert!(
                !may(&state, "group", name, "default", named("docs"))
                    && !may(&state, "group", name, "shop", named("x"))
            );
            let mine = ["Load", "Insert", "GetLoadState", "GetLoadingProgress"].contains(&name);
            assert_eq!(may(&state, "group", name, "any", named("notes")), mine, "{name}");
        }
    }

    #[test]
    fn lists_show_what_a_user_was_given_something_about() {
        let state = state(
            &[("ann", &["reader"]), ("bob", &[]), ("root", &[])],
            &[
                ["reader", "Collection", "default", "docs", "Query"],
                ["reader", "Global", "shop", "*", "DatabaseAdmin"],
                ["reader", "Global", "other", "*", "CreateCollection"],
                ["public", "Global", "*", "*", "DescribeCollection"],
            ],
            &[],
        );
        let sees = |user, db, name| state.sees(user, db, name);
        assert!(sees("ann", "default", Some("docs")) && !sees("ann", "default", Some("notes")));
        assert!(sees("ann", "shop", Some("any")) && !sees("ann", "other", Some("any")));
        assert!(sees("ann", "other", None) && !sees("ann", "third", None) && sees("root", "third", Some("x")));
        assert!(
            !sees("bob", "default", Some("docs")) && !sees("bob", "default", None) && !sees("eve", "default", None)
        );
    }
}

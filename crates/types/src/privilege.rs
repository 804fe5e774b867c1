//! What may be granted, by the names of Milvus: privileges, what kind of object they are about, and the groups of them that
//! are built in.
//!
//! The kind of object decides how the first version of the calls names a privilege (`Collection`, `Global`, `User`); the
//! level, which privileges may be in one group.

/// A role of which every user is, without having been given it.
pub const PUBLIC: &str = "public";
/// A role that may do everything.
pub const ADMIN: &str = "admin";
/// The user that may do everything, with whatever roles.
pub const ROOT: &str = "root";
/// Its password until somebody changes it.
pub const ROOT_PASSWORD: &str = "Milvus";
/// All of a kind.
pub const ANY: &str = "*";
/// The privilege that stands for all of them.
pub const ALL: &str = "All";

/// What kind of object a privilege is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// A collection.
    Collection,
    /// A database, the cluster, or a collection as a whole.
    Global,
    /// A user.
    User,
}

impl ObjectType {
    /// All of them, in the order of their numbers in the Milvus API.
    pub const ALL: [Self; 3] = [Self::Collection, Self::Global, Self::User];

    /// As in grants.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Collection => "Collection",
            Self::Global => "Global",
            Self::User => "User",
        }
    }

    /// The kind with this label.
    #[must_use]
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

/// How far a privilege reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One collection.
    Collection,
    /// One database.
    Database,
    /// Everything.
    Cluster,
}

/// The smallest built-in group of its level that has a privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    ReadOnly,
    ReadWrite,
    Admin,
    /// In no group.
    Alone,
}

use Level::{Cluster, Collection, Database};
use ObjectType::{Collection as OfCollection, Global, User};
use Rank::{Admin, Alone, ReadOnly, ReadWrite};

/// Every privilege that can be granted.
const PRIVILEGES: &[(&str, ObjectType, Level, Rank)] = &[
    ("All", Global, Cluster, Alone),
    ("Query", OfCollection, Collection, ReadOnly),
    ("Search", OfCollection, Collection, ReadOnly),
    ("IndexDetail", OfCollection, Collection, ReadOnly),
    ("GetFlushState", OfCollection, Collection, ReadOnly),
    ("GetLoadState", OfCollection, Collection, ReadOnly),
    ("GetLoadingProgress", OfCollection, Collection, ReadOnly),
    ("HasPartition", OfCollection, Collection, ReadOnly),
    ("ShowPartitions", OfCollection, Collection, ReadOnly),
    ("DescribeCollection", Global, Collection, ReadOnly),
    ("DescribeAlias", Global, Collection, ReadOnly),
    ("GetStatistics", OfCollection, Collection, ReadOnly),
    ("ListAliases", Global, Collection, ReadOnly),
    ("DescribeSnapshot", OfCollection, Collection, ReadOnly),
    ("ListSnapshots", OfCollection, Collection, ReadOnly),
    ("Load", OfCollection, Collection, ReadWrite),
    ("Release", OfCollection, Collection, ReadWrite),
    ("Insert", OfCollection, Collection, ReadWrite),
    ("Delete", OfCollection, Collection, ReadWrite),
    ("Upsert", OfCollection, Collection, ReadWrite),
    ("Import", OfCollection, Collection, ReadWrite),
    ("GetImportProgress", OfCollection, Collection, ReadWrite),
    ("ListImport", OfCollection, Collection, ReadWrite),
    ("Flush", OfCollection, Collection, ReadWrite),
    ("Compaction", OfCollection, Collection, ReadWrite),
    ("LoadBalance", OfCollection, Collection, ReadWrite),
    ("CreateIndex", OfCollection, Collection, ReadWrite),
    ("DropIndex", OfCollection, Collection, ReadWrite),
    ("CreatePartition", OfCollection, Collection, ReadWrite),
    ("DropPartition", OfCollection, Collection, ReadWrite),
    ("AddCollectionField", OfCollection, Collection, ReadWrite),
    ("AlterCollectionSchema", OfCollection, Collection, ReadWrite),
    ("RefreshExternalCollection", OfCollection, Collection, ReadWrite),
    ("CreateSnapshot", OfCollection, Collection, ReadWrite),
    ("DropSnapshot", OfCollection, Collection, ReadWrite),
    ("CreateAlias", Global, Collection, Admin),
    ("DropAlias", Global, Collection, Admin),
    ("RestoreSnapshot", OfCollection, Collection, Admin),
    ("ShowCollections", Global, Database, ReadOnly),
    ("DescribeDatabase", Global, Database, ReadOnly),
    ("AlterDatabase", Global, Database, ReadWrite),
    ("CreateCollection", Global, Database, Admin),
    ("DropCollection", Global, Database, Admin),
    ("ListDatabases", Global, Cluster, ReadOnly),
    ("SelectOwnership", Global, Cluster, ReadOnly),
    ("SelectUser", User, Cluster, ReadOnly),
    ("DescribeResourceGroup", Global, Cluster, ReadOnly),
    ("ListResourceGroups", Global, Cluster, ReadOnly),
    ("ListPrivilegeGroups", Global, Cluster, ReadOnly),
    ("ListFileResources", Global, Cluster, ReadOnly),
    ("FlushAll", Global, Cluster, ReadWrite),
    ("TransferNode", Global, Cluster, ReadWrite),
    ("TransferReplica", Global, Cluster, ReadWrite),
    ("UpdateResourceGroups", Global, Cluster, ReadWrite),
    ("AddFileResource", Global, Cluster, ReadWrite),
    ("RemoveFileResource", Global, Cluster, ReadWrite),
    ("PinSnapshotData", Global, Cluster, ReadWrite),
    ("UnpinSnapshotData", Global, Cluster, ReadWrite),
    ("BackupRBAC", Global, Cluster, Admin),
    ("RestoreRBAC", Global, Cluster, Admin),
    ("CreateDatabase", Global, Cluster, Admin),
    ("DropDatabase", Global, Cluster, Admin),
    ("CreateOwnership", Global, Cluster, Admin),
    ("DropOwnership", Global, Cluster, Admin),
    ("ManageOwnership", Global, Cluster, Admin),
    ("CreateResourceGroup", Global, Cluster, Admin),
    ("DropResourceGroup", Global, Cluster, Admin),
    ("UpdateUser", User, Cluster, Admin),
    ("RenameCollection", Global, Cluster, Admin),
    ("CreatePrivilegeGroup", Global, Cluster, Admin),
    ("DropPrivilegeGroup", Global, Cluster, Admin),
    ("OperatePrivilegeGroup", Global, Cluster, Admin),
    ("UpdateReplicateConfiguration", Global, Cluster, Admin),
    ("GetReplicateConfiguration", Global, Cluster, Admin),
    ("RestoreExternalSnapshot", Global, Cluster, Admin),
    ("ExportSnapshot", Global, Cluster, Admin),
];

/// The groups that are built in. One has what those before it of the same level have, too.
const GROUPS: [(&str, Level, Rank); 9] = [
    ("ClusterReadOnly", Cluster, ReadOnly),
    ("ClusterReadWrite", Cluster, ReadWrite),
    ("ClusterAdmin", Cluster, Admin),
    ("DatabaseReadOnly", Database, ReadOnly),
    ("DatabaseReadWrite", Database, ReadWrite),
    ("DatabaseAdmin", Database, Admin),
    ("CollectionReadOnly", Collection, ReadOnly),
    ("CollectionReadWrite", Collection, ReadWrite),
    ("CollectionAdmin", Collection, Admin),
];

/// A privilege that can be granted: one of the names that Milvus has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Privilege(&'static str);

impl Privilege {
    /// The privilege with this name; a group is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        PRIVILEGES.iter().find(|row| row.0 == name).map(|row| Self(row.0))
    }

    /// One that the program itself names.
    ///
    /// # Panics
    /// When there is none of this name; in a constant, the program is not built.
    #[must_use]
    pub const fn named(name: &str) -> Self {
        let mut n = 0;
        while n < PRIVILEGES.len() {
            if same(PRIVILEGES[n].0, name) {
                return Self(PRIVILEGES[n].0);
            }
            n += 1;
        }
        panic!("there is no such privilege")
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        PRIVILEGES.iter().map(|row| Self(row.0))
    }

    /// As in grants.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }

    /// What kind of object it is about.
    #[must_use]
    pub fn object_type(self) -> ObjectType {
        self.row().1
    }

    /// How far it reaches.
    #[must_use]
    pub fn level(self) -> Level {
        self.row().2
    }

    /// Privileges that come with it: clients ask for progress after such a call.
    #[must_use]
    pub fn related(self) -> &'static [&'static str] {
        match self.0 {
            "Load" => &["GetLoadState", "GetLoadingProgress"],
            "Flush" => &["GetFlushState"],
            _ => &[],
        }
    }

    fn row(self) -> (&'static str, ObjectType, Level, Rank) {
        // Made from a row.
        *PRIVILEGES.iter().find(|row| row.0 == self.0).unwrap_or(&PRIVILEGES[0])
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut n = 0;
    while n < a.len() {
        if a[n] != b[n] {
            return false;
        }
        n += 1;
    }
    true
}

/// A group of privileges that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltInGroup(usize);

impl BuiltInGroup {
    /// The group with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        GROUPS.iter().position(|group| group.0 == name).map(Self)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..GROUPS.len()).map(Self)
    }

    /// As in grants.
    #[must_use]
    pub fn name(self) -> &'static str {
        GROUPS[self.0].0
    }

    /// Of all that is in it.
    #[must_use]
    pub fn level(self) -> Level {
        GROUPS[self.0].1
    }

    /// What is in it.
    pub fn privileges(self) -> impl Iterator<Item = Privilege> {
        let (_, level, rank) = GROUPS[self.0];
        PRIVILEGES.iter().filter(move |row| row.2 == level && row.3 <= rank).map(|row| Privilege(row.0))
    }

    /// Is it in it?
    #[must_use]
    pub fn has(self, privilege: Privilege) -> bool {
        self.privileges().any(|one| one == privilege)
    }
}

/// True for a name that no group of a user can have.
#[must_use]
pub fn is_defined(name: &str) -> bool {
    Privilege::parse(name).is_some() || BuiltInGroup::parse(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn members(name: &str) -> BTreeSet<&'static str> {
        BuiltInGroup::parse(name).unwrap().privileges().map(Privilege::name).collect()
    }

    #[test]
    fn every_name_is_there_once_and_is_found() {
        let names: BTreeSet<_> = PRIVILEGES.iter().map(|row| row.0).chain(GROUPS.iter().map(|group| group.0)).collect();
        assert_eq!(names.len(), PRIVILEGES.len() + GROUPS.len());
        assert!(Privilege::all().all(|one| Privilege::parse(one.name()) == Some(one)));
        assert!(BuiltInGroup::all().all(|one| BuiltInGroup::parse(one.name()) == Some(one)));
        assert_eq!(Privilege::named("Load").name(), "Load");
        assert!(is_defined("Query") && is_defined("ClusterAdmin") && !is_defined("query") && !is_defined("*"));
        assert!(Privilege::all().flat_map(Privilege::related).all(|name| Privilege::parse(name).is_some()));
    }

    #[test]
    fn a_group_has_what_the_smaller_ones_of_its_level_have() {
        for level in ["Collection", "Database", "Cluster"] {
            let [small, middle, large] =
                ["ReadOnly", "ReadWrite", "Admin"].map(|rank| members(&format!("{level}{rank}")));
            assert!(small.is_subset(&middle) && middle.is_subset(&large), "{level}");
            assert!(small.len() < middle.len() && middle.len() < large.len(), "{level}");
        }
        assert!(members("CollectionReadOnly").is_superset(&["DescribeSnapshot", "ListSnapshots", "Query"].into()));
        assert!(!members("CollectionReadWrite").contains("RestoreSnapshot"));
        assert!(members("CollectionAdmin").contains("RestoreSnapshot"));
        assert!(members("ClusterReadWrite").contains("PinSnapshotData"));
        assert_eq!(members("DatabaseReadOnly"), ["DescribeDatabase", "ShowCollections"].into());
        assert!(BuiltInGroup::all().all(|group| !group.has(Privilege::named("All"))));
    }
}

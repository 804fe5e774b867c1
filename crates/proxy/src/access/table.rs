//! What every call of the Milvus API needs: a privilege, and what it must be of. Privileges and kinds of objects are those of
//! the official descriptors, but for three: what a call about a collection as a whole needs, it needs for that collection
//! and not for all; a restore needs something for its target, too; and who asks for a job must have a right to it.

use super::{Demand, Target};
use crate::backend::Call;
use elanus_proto::milvus as m;
use elanus_types::privilege::{ANY, Privilege};

/// A message of a call.
pub(crate) trait Needs {
    /// All of it must be had; nothing: whoever is known may call.
    fn needs(&self, call: &Call) -> Vec<Demand>;
}

/// A line of the table: the call, the privilege (empty: none), and what it must be of.
#[cfg(test)]
pub(crate) type Line = (&'static str, &'static str, &'static str);

macro_rules! table {
    ($($call:ident($request:ident): $privilege:literal $kind:ident $(($($field:ident),*))?;)*) => {
        #[cfg(test)]
        pub(crate) const TABLE: &[Line] = &[$((stringify!($call), $privilege, stringify!($kind))),*];
        $(
            impl Needs for m::$request {
                fn needs(&self, call: &Call) -> Vec<Demand> {
                    let _ = call; // not every line asks
                    table!(@ $kind, self, call, $privilege $(, $($field),*)?)
                }
            }
        )*
    };
    (@ nothing, $r:ident, $call:ident, $p:literal) => { Vec::new() };
    (@ $kind:ident, $r:ident, $call:ident, $p:literal $(, $field:ident)*) => {{
        const PRIVILEGE: Privilege = Privilege::named($p);
        table!(# $kind, $r, $call, PRIVILEGE $(, $field)*)
    }};
    // A collection that is there.
    (# collection, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::collection($call, &$r.db_name, &$r.collection_name))]
    };
    // The same, by an id where the message has one.
    (# collection_or_id, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::by_id($call, &$r.db_name, &$r.collection_name, $r.collection_id))]
    };
    // A collection by its own name, there or not.
    (# name, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::Name { db: $call.db(&$r.db_name), name: $r.collection_name.clone() })]
    };
    (# alias, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::Alias { db: $call.db(&$r.db_name), alias: $r.alias.clone() })]
    };
    // The database that the message names.
    (# database, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::Database($call.db(&$r.db_name)))]
    };
    // Everything, in the database that the client is bound to.
    (# cluster, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::Database($call.db("")))]
    };
    // A user; oneself always.
    (# user, $r:ident, $call:ident, $p:ident) => {
        vec![Demand::of($p, Target::User($r.username.clone()))]
    };
    // More than one thing: a function says it.
    (# special, $r:ident, $call:ident, $p:ident) => { special::Special::needs($r, $call, $p) };
}

table! {
    Connect(ConnectRequest): "" nothing;
    GetVersion(GetVersionRequest): "" nothing;
    CheckHealth(CheckHealthRequest): "" nothing;
    AllocTimestamp(AllocTimestampRequest): "" nothing;
    CreateCollection(CreateCollectionRequest): "CreateCollection" name;
    DropCollection(DropCollectionRequest): "DropCollection" collection;
    HasCollection(HasCollectionRequest): "" nothing;
    LoadCollection(LoadCollectionRequest): "Load" collection;
    ReleaseCollection(ReleaseCollectionRequest): "Release" collection;
    DescribeCollection(DescribeCollectionRequest): "DescribeCollection" collection_or_id;
    BatchDescribeCollection(BatchDescribeCollectionRequest): "DescribeCollection" special;
    GetCollectionStatistics(GetCollectionStatisticsRequest): "GetStatistics" collection;
    // Lists what its user was given something about.
    ShowCollections(ShowCollectionsRequest): "" nothing;
    AlterCollection(AlterCollectionRequest): "CreateCollection" collection_or_id;
    AddCollectionField(AddCollectionFieldRequest): "AddCollectionField" collection;
    AlterCollectionSchema(AlterCollectionSchemaRequest): "AlterCollectionSchema" collection_or_id;
    TruncateCollection(TruncateCollectionRequest): "DropCollection" collection;
    GetReplicas(GetReplicasRequest): "" nothing;
    ListResourceGroups(ListResourceGroupsRequest): "ListResourceGroups" cluster;
    DescribeResourceGroup(DescribeResourceGroupRequest): "DescribeResourceGroup" cluster;
    AlterCollectionField(AlterCollectionFieldRequest): "CreateCollection" collection;
    RenameCollection(RenameCollectionRequest): "RenameCollection" special;
    GetPersistentSegmentInfo(GetPersistentSegmentInfoRequest): "" nothing;
    GetQuerySegmentInfo(GetQuerySegmentInfoRequest): "" nothing;
    CreatePartition(CreatePartitionRequest): "CreatePartition" collection;
    DropPartition(DropPartitionRequest): "DropPartition" collection;
    HasPartition(HasPartitionRequest): "HasPartition" collection;
    LoadPartitions(LoadPartitionsRequest): "Load" collection;
    ReleasePartitions(ReleasePartitionsRequest): "Release" collection;
    GetPartitionStatistics(GetPartitionStatisticsRequest): "GetStatistics" collection;
    ShowPartitions(ShowPartitionsRequest): "ShowPartitions" collection_or_id;
    GetLoadingProgress(GetLoadingProgressRequest): "GetLoadState" collection;
    GetLoadState(GetLoadStateRequest): "GetLoadState" collection;
    CreateIndex(CreateIndexRequest): "CreateIndex" collection;
    DescribeIndex(DescribeIndexRequest): "IndexDetail" collection;
    GetIndexState(GetIndexStateRequest): "IndexDetail" collection;
    GetIndexBuildProgress(GetIndexBuildProgressRequest): "IndexDetail" collection;
    GetIndexStatistics(GetIndexStatisticsRequest): "IndexDetail" collection;
    DropIndex(DropIndexRequest): "DropIndex" collection;
    AlterIndex(AlterIndexRequest): "CreateIndex" collection;
    Insert(InsertRequest): "Insert" collection;
    Delete(DeleteRequest): "Delete" collection;
    Upsert(UpsertRequest): "Upsert" collection;
    Search(SearchRequest): "Search" special;
    HybridSearch(HybridSearchRequest): "Search" special;
    Query(QueryRequest): "Query" special;
    Flush(FlushRequest): "Flush" special;
    FlushAll(FlushAllRequest): "FlushAll" special;
    GetFlushState(GetFlushStateRequest): "GetFlushState" collection;
    GetFlushAllState(GetFlushAllStateRequest): "" nothing;
    ManualCompaction(ManualCompactionRequest): "Compaction" collection_or_id;
    GetCompactionState(GetCompactionStateRequest): "" nothing;
    GetCompactionStateWithPlans(GetCompactionPlansRequest): "" nothing;
    CreateDatabase(CreateDatabaseRequest): "CreateDatabase" cluster;
    DropDatabase(DropDatabaseRequest): "DropDatabase" cluster;
    AlterDatabase(AlterDatabaseRequest): "AlterDatabase" database;
    // Lists where its user was given something.
    ListDatabases(ListDatabasesRequest): "" nothing;
    DescribeDatabase(DescribeDatabaseRequest): "DescribeDatabase" database;
    CreateAlias(CreateAliasRequest): "CreateAlias" collection;
    DropAlias(DropAliasRequest): "DropAlias" alias;
    AlterAlias(AlterAliasRequest): "CreateAlias" special;
    ListAliases(ListAliasesRequest): "ListAliases" special;
    DescribeAlias(DescribeAliasRequest): "DescribeAlias" alias;
    CreateSnapshot(CreateSnapshotRequest): "CreateSnapshot" collection;
    DropSnapshot(DropSnapshotRequest): "DropSnapshot" collection;
    ListSnapshots(ListSnapshotsRequest): "ListSnapshots" collection;
    DescribeSnapshot(DescribeSnapshotRequest): "DescribeSnapshot" collection;
    RestoreSnapshot(RestoreSnapshotRequest): "RestoreSnapshot" special;
    GetRestoreSnapshotState(GetRestoreSnapshotStateRequest): "RestoreSnapshot" special;
    ListRestoreSnapshotJobs(ListRestoreSnapshotJobsRequest): "RestoreSnapshot" special;
    PinSnapshotData(PinSnapshotDataRequest): "PinSnapshotData" cluster;
    UnpinSnapshotData(UnpinSnapshotDataRequest): "UnpinSnapshotData" cluster;
    CreateCredential(CreateCredentialRequest): "CreateOwnership" cluster;
    UpdateCredential(UpdateCredentialRequest): "UpdateUser" user;
    DeleteCredential(DeleteCredentialRequest): "DropOwnership" cluster;
    ListCredUsers(ListCredUsersRequest): "SelectOwnership" cluster;
    CreateRole(CreateRoleRequest): "CreateOwnership" cluster;
    AlterRole(AlterRoleRequest): "CreateOwnership" cluster;
    DropRole(DropRoleRequest): "DropOwnership" cluster;
    OperateUserRole(OperateUserRoleRequest): "ManageOwnership" cluster;
    SelectRole(SelectRoleRequest): "SelectOwnership" cluster;
    SelectUser(SelectUserRequest): "SelectUser" special;
    OperatePrivilege(OperatePrivilegeRequest): "ManageOwnership" cluster;
    OperatePrivilegeV2(OperatePrivilegeV2Request): "ManageOwnership" cluster;
    SelectGrant(SelectGrantRequest): "SelectOwnership" special;
    CreatePrivilegeGroup(CreatePrivilegeGroupRequest): "CreatePrivilegeGroup" cluster;
    DropPrivilegeGroup(DropPrivilegeGroupRequest): "DropPrivilegeGroup" cluster;
    ListPrivilegeGroups(ListPrivilegeGroupsRequest): "ListPrivilegeGroups" cluster;
    OperatePrivilegeGroup(OperatePrivilegeGroupRequest): "OperatePrivilegeGroup" cluster;
}

/// Calls that need more than one thing, or something that depends.
mod special {
    use super::{ANY, Call, Demand, Privilege, Target, m};
    use elanus_types::schema::DEFAULT_DATABASE;

    const CREATE_COLLECTION: Privilege = Privilege::named("CreateCollection");
    const DESCRIBE_SNAPSHOT: Privilege = Privilege::named("DescribeSnapshot");

    pub(super) trait Special {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand>;
    }

    /// Also where the collection goes to.
    impl Special for m::RenameCollectionRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let from = call.db(&self.db_name);
            let to = if self.new_db_name.is_empty() { from.clone() } else { self.new_db_name.clone() };
            let mut needs = vec![Demand::of(privilege, Target::collection(call, &from, &self.old_name))];
            if to != from {
                needs.push(Demand::of(privilege, Target::Database(to)));
            }
            needs
        }
    }

    /// What was deleted since is in a snapshot: whoever reads inside of one must be allowed to look at it.
    fn read(call: &Call, privilege: Privilege, db: &str, name: &str) -> Vec<Demand> {
        let of = |privilege| Demand::of(privilege, Target::collection(call, db, name));
        let mut needs = vec![of(privilege)];
        if call.snapshot().is_some() {
            needs.push(of(DESCRIBE_SNAPSHOT));
        }
        needs
    }

    impl Special for m::SearchRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            read(call, privilege, &self.db_name, &self.collection_name)
        }
    }

    impl Special for m::HybridSearchRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            read(call, privilege, &self.db_name, &self.collection_name)
        }
    }

    impl Special for m::QueryRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            read(call, privilege, &self.db_name, &self.collection_name)
        }
    }

    impl Special for m::BatchDescribeCollectionRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let names = self.collection_name.iter().map(|name| Target::collection(call, &self.db_name, name));
            let ids = self.collection_id.iter().map(|id| Target::by_id(call, &self.db_name, "", *id));
            names.chain(ids).map(|target| Demand::of(privilege, target)).collect()
        }
    }

    /// In every database that is named; in all of them where none is.
    impl Special for m::FlushAllRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let of = |db: String| Demand::of(privilege, Target::Database(db));
            match (self.flush_targets.as_slice(), self.db_name.as_str()) {
                ([], "") => vec![of(call.db("")), of(ANY.to_owned())],
                ([], db) => vec![of(call.db(db))],
                (targets, _) => targets.iter().map(|target| of(call.db(&target.db_name))).collect(),
            }
        }
    }

    impl Special for m::FlushRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let of = |name: &String| Demand::of(privilege, Target::collection(call, &self.db_name, name));
            self.collection_names.iter().map(of).collect()
        }
    }

    /// Of what it stands for now, and of what it is to stand for.
    impl Special for m::AlterAliasRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let now = Target::Alias { db: call.db(&self.db_name), alias: self.alias.clone() };
            let then = Target::collection(call, &self.db_name, &self.collection_name);
            vec![Demand::of(privilege, now), Demand::of(privilege, then)]
        }
    }

    impl Special for m::ListAliasesRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            vec![Demand::of(
                privilege,
                match self.collection_name.as_str() {
                    "" => Target::AnyIn(call.db(&self.db_name)),
                    name => Target::collection(call, &self.db_name, name),
                },
            )]
        }
    }

    /// Of the target: to restore into this name, or to create collections there.
    fn target(db: String, name: &str, privilege: Privilege) -> Demand {
        let target = Target::Name { db, name: name.to_owned() };
        Demand { privilege, or: Some(CREATE_COLLECTION), target }
    }

    impl Special for m::RestoreSnapshotRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            // As the call itself takes it: the target's database is never that of the metadata.
            let db = if self.target_db_name.is_empty() { DEFAULT_DATABASE } else { self.target_db_name.as_str() };
            let source = Target::collection(call, &self.db_name, &self.collection_name);
            vec![Demand::of(privilege, source), target(db.to_owned(), &self.target_collection_name, privilege)]
        }
    }

    impl Special for m::GetRestoreSnapshotStateRequest {
        fn needs(&self, _: &Call, privilege: Privilege) -> Vec<Demand> {
            vec![Demand::of(privilege, Target::Job(self.job_id))]
        }
    }

    /// What is listed are the jobs that one may see; who may see none is told so.
    impl Special for m::ListRestoreSnapshotJobsRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let db = call.db(&self.db_name);
            match self.collection_name.as_str() {
                "" => vec![Demand::of(privilege, Target::AnyIn(db))],
                name => vec![target(db, name, privilege)],
            }
        }
    }

    /// One user, or all of them.
    impl Special for m::SelectUserRequest {
        fn needs(&self, _: &Call, privilege: Privilege) -> Vec<Demand> {
            let name = self.user.as_ref().map_or(ANY, |user| user.name.as_str());
            vec![Demand::of(privilege, Target::User(name.to_owned()))]
        }
    }

    /// What one's own roles may do, everybody may ask.
    impl Special for m::SelectGrantRequest {
        fn needs(&self, call: &Call, privilege: Privilege) -> Vec<Demand> {
            let role = self.entity.as_ref().and_then(|entity| entity.role.as_ref()).map(|role| role.name.as_str());
            match (call.identity(), role) {
                (Ok(identity), Some(role)) if identity.state.roles_of(&identity.user).any(|own| own == role) => {
                    Vec::new()
                }
                _ => vec![Demand::of(privilege, Target::Database(call.db("")))],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;
    use std::collections::BTreeSet;

    #[test]
    fn ac_2_every_call_of_the_milvus_api_has_a_line() {
        let pool = DescriptorPool::decode(elanus_proto::FILE_DESCRIPTOR_SET).unwrap();
        let service = pool.get_service_by_name("milvus.proto.milvus.MilvusService").unwrap();
        let served: BTreeSet<String> = service.methods().map(|method| method.name().to_owned()).collect();
        let listed: BTreeSet<String> = TABLE.iter().map(|(call, ..)| (*call).to_owned()).collect();
        assert_eq!(served, listed, "a call that is served says in access/table.rs what it needs");
        assert_eq!(TABLE.len(), listed.len(), "one line a call");
        for (call, privilege, kind) in TABLE {
            assert_eq!(privilege.is_empty(), *kind == "nothing", "{call}");
            assert!(privilege.is_empty() || Privilege::parse(privilege).is_some(), "{call}: {privilege}");
        }
    }

    #[test]
    fn what_nobody_needs_a_privilege_for_changes_nothing_and_is_as_in_milvus() {
        let free: Vec<_> = TABLE.iter().filter(|(_, privilege, _)| privilege.is_empty()).map(|line| line.0).collect();
        let expected = [
            "Connect",
            "GetVersion",
            "CheckHealth",
            "AllocTimestamp",
            "HasCollection",
            "ShowCollections",
            "GetReplicas",
            "GetPersistentSegmentInfo",
            "GetQuerySegmentInfo",
            "GetFlushAllState",
            "GetCompactionState",
            "GetCompactionStateWithPlans",
            "ListDatabases",
        ];
        assert_eq!(free, expected);
    }
}

//! What a call needs, and whether who calls has it.

use super::{Identity, Object, State};
use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::datacoord as dc;
use elanus_types::{Code, Failure, privilege::Privilege};
use tonic::Status;

/// What a call is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A collection that is there, by a name, an alias or an id.
    Collection(dc::CollectionRef),
    /// A collection by this name, there or not: no alias stands for it.
    Name { db: String, name: String },
    /// The collection that an alias stands for.
    Alias { db: String, alias: String },
    /// A database, or the cluster as seen from one.
    Database(String),
    /// Some collection of a database.
    AnyIn(String),
    /// A user.
    User(String),
    /// The collections that a restore reads and makes.
    Job(i64),
}

/// One thing that a call needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demand {
    pub(crate) privilege: Privilege,
    /// This one will do as well.
    pub(crate) or: Option<Privilege>,
    pub(crate) target: Target,
}

impl Demand {
    pub(crate) fn of(privilege: Privilege, target: Target) -> Self {
        Self { privilege, or: None, target }
    }
}

impl Target {
    pub(crate) fn collection(call: &Call, db: &str, name: &str) -> Self {
        Self::by_id(call, db, name, 0)
    }

    pub(crate) fn by_id(call: &Call, db: &str, name: &str, id: i64) -> Self {
        let (db_name, collection_name) = (call.db(db), name.to_owned());
        Self::Collection(dc::CollectionRef { db_name, collection_name, collection_id: id })
    }
}

impl Proxy {
    /// AC-2: `Ok` where this call may be answered.
    ///
    /// # Errors
    /// PERMISSION_DENIED; UNAUTHENTICATED when nobody said who calls; UNAVAILABLE when it cannot be known.
    pub(crate) async fn admit(&self, call: &Call, demands: Vec<Demand>) -> Result<(), Status> {
        if self.door.is_none() {
            return Ok(());
        }
        let identity = call.identity()?;
        for demand in demands {
            self.require(call, identity, demand).await?;
        }
        Ok(())
    }

    /// As [`Proxy::admit`], for what administrators may.
    pub(crate) fn admit_admin(&self, call: &Call) -> Result<(), Status> {
        if self.door.is_none() || call.identity()?.is_admin() {
            return Ok(());
        }
        Err(denied("the role admin", &call.identity()?.user, &call.db("")))
    }

    async fn require(&self, call: &Call, identity: &Identity, demand: Demand) -> Result<(), Status> {
        let Demand { privilege, or, target } = demand;
        let (state, user): (&State, &str) = (&identity.state, &identity.user);
        let allows = |db: &str, object: Object<'_>| {
            state.allows(user, privilege, db, object) || or.is_some_and(|or| state.allows(user, or, db, object))
        };
        let (is_allowed, db) = match target {
            // Root and administrators: what it is about need not be looked up.
            _ if identity.is_admin() => return Ok(()),
            Target::Database(db) => (allows(&db, Object::Whole), db),
            Target::AnyIn(db) => (allows(&db, Object::Some), db),
            Target::Name { db, name } => (allows(&db, Object::Named(&name)), db),
            // Everybody may ask about himself.
            Target::User(name) => (name == user || allows(&call.db(""), Object::Named(&name)), call.db("")),
            Target::Collection(reference) => {
                let (db, name) = self.real_name(reference).await?;
                (allows(&db, Object::Named(&name)), db)
            }
            Target::Alias { db, alias } => match self.stands_for(&db, &alias).await? {
                Some(name) => (allows(&db, Object::Named(&name)), db),
                None => (allows(&db, Object::Some), db),
            },
            Target::Job(job_id) => (self.may_see_job(identity, job_id).await?, call.db("")),
        };
        if is_allowed {
            return Ok(());
        }
        metrics::counter!("elanus_proxy_refused_total", "why" => "denied").increment(1);
        tracing::info!(user, privilege = privilege.name(), db, "a call was denied");
        Err(denied(&format!("Privilege{}", privilege.name()), user, &db))
    }

    /// Database and name of what is referred to (AC-3); the names as they are where there is no such collection.
    async fn real_name(&self, reference: dc::CollectionRef) -> Result<(String, String), Status> {
        let (db, name) = (reference.db_name.clone(), reference.collection_name.clone());
        match answer(self.datacoord().describe_collection(reference)).await {
            Ok(found) => Ok((found.db_name, found.name)),
            Err(failure) if is_absent(&failure) => Ok((db, name)),
            Err(failure) => Err(unknown(&failure)),
        }
    }

    async fn stands_for(&self, db: &str, alias: &str) -> Result<Option<String>, Status> {
        let ask = dc::AliasRequest { db_name: db.to_owned(), alias: alias.to_owned(), collection_name: String::new() };
        match answer(self.datacoord().describe_alias(ask)).await {
            Ok(found) => Ok(Some(found.collection_name)),
            Err(failure) if is_absent(&failure) => Ok(None),
            Err(failure) => Err(unknown(&failure)),
        }
    }

    /// A job that there is not, anybody may hear so.
    async fn may_see_job(&self, identity: &Identity, job_id: i64) -> Result<bool, Status> {
        match answer(self.datacoord().get_restore_job(dc::JobRef { job_id })).await {
            Ok(job) => Ok(identity.sees_job(&job)),
            Err(failure) if failure.code == Code::JobFailed => Ok(true),
            Err(failure) => Err(unknown(&failure)),
        }
    }
}

impl Identity {
    /// Those who could have asked for a restore may look at it.
    pub(crate) fn sees_job(&self, job: &dc::RestoreJob) -> bool {
        let of = |privilege, db: &str, name: &str| self.allows(Privilege::named(privilege), db, Object::Named(name));
        of("RestoreSnapshot", &job.source_db_name, &job.source_collection_name)
            || of("RestoreSnapshot", &job.target_db_name, &job.target_collection_name)
    }
}

fn is_absent(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::CollectionNotFound | Code::DatabaseNotFound | Code::AliasNotFound | Code::ParameterInvalid
    ) || failure.code.is_input()
}

fn unknown(failure: &Failure) -> Status {
    Status::unavailable(format!("what the call is about could not be looked up: {failure}"))
}

/// In the words of Milvus.
fn denied(what: &str, user: &str, db: &str) -> Status {
    Status::permission_denied(format!("{what}: permission deny to {user} in the `{db}` database"))
}

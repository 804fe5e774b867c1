//! The beginning of a restore job: in one transaction the job, the pin on its snapshot, and the hidden target with its
//! definition as of the snapshot. Rows come later.

use super::{MACHINE, job_not_found, locked};
use crate::db::{Tx, add, args, name_was_taken};
use crate::definitions::{NameHolder, database_id, name_conflict, name_holder};
use crate::error::Result;
use crate::history::{Told, tell};
use crate::model::{Created, JobRecord, NewRestore, RestoreOptions};
use crate::reads::{PARTITIONS_AT, version_at};
use crate::rows::{aging, collection_not_found, from_json, to_json, ttl_s};
use crate::{Coordinator, databases, pins};
use elanus_lifecycle::RestoreJob;
use elanus_lifecycle::pin::{Expiry, Pin};
use elanus_lifecycle::restore_job::State;
use elanus_types::schema::{CollectionSchema, DEFAULT_PARTITION};
use elanus_types::{Aging, Code, CollectionId, Failure, JobId, SnapshotId, Timestamp};
use sqlx::Row;

/// The hidden target and where its definition comes from.
struct Target<'o> {
    job: JobId,
    collection: CollectionId,
    source: CollectionId,
    /// Timestamp of the snapshot.
    create_ts: Timestamp,
    /// What its facts carry until they are published.
    hidden_ts: Timestamp,
    options: &'o RestoreOptions,
}

impl Coordinator {
    /// Submits a restore. The same request again, while the first is under way, joins it.
    ///
    /// # Errors
    /// 100 when the source is not live; 2600 when it has no committed snapshot of this name; 200 for a partition that the
    /// snapshot does not have; 800 for an unknown target database; 1100 when the target's name is taken, 1601 by an alias,
    /// or when some partitions of a partition key are asked for.
    pub async fn submit_restore(&self, new: NewRestore) -> Result<Created<JobRecord>> {
        loop {
            match self.submit_restore_once(new.clone()).await {
                Err(error) if name_was_taken(&error) => {}
                result => return result,
            }
        }
    }

    async fn submit_restore_once(&self, mut new: NewRestore) -> Result<Created<JobRecord>> {
        let mut tx = self.write().await?;
        let source = tx
            .optional(
                "SELECT c.name, d.name AS database_name FROM collections c \
                 JOIN databases d ON d.database_id = c.database_id \
                 WHERE c.collection_id = $1 AND c.state = 'live'",
                args![new.source.0],
            )
            .await?
            .ok_or_else(|| collection_not_found(new.source))?;
        let snapshot = pins::committed(&mut tx, new.source, &new.snapshot_name).await?.record;
        let database = database_id(&mut tx, &new.target_database).await?;
        new.options.partitions = known_partitions(&mut tx, &new, snapshot.create_ts).await?;
        if let Some(job) = holder_of_name(&mut tx, database.0, &new, snapshot.id).await? {
            return Ok(Created::Joined(job));
        }
        if let Some(NameHolder::Alias(_)) = name_holder(&mut tx, database, &new.target_name).await? {
            return Err(name_conflict(&new.target_database, &new.target_name).context("the target is an alias").into());
        }
        databases::require_room(&mut tx, database).await?;

        let first = tx.allocate_ids(2).await?;
        let target = Target {
            job: JobId(first),
            collection: CollectionId(first + 1),
            source: new.source,
            create_ts: snapshot.create_ts,
            hidden_ts: snapshot.create_ts.tick(tx.now_ms),
            options: &new.options,
        };
        tx.execute(
            "INSERT INTO collections (collection_id, database_id, name, state, last_ts, created_ts, updated_ts, job_id) \
             VALUES ($1, $2, $3, 'restoring', $4, $4, $4, $5)",
            args![
                target.collection.0,
                database.0,
                new.target_name.clone(),
                target.hidden_ts.0,
                target.job.0
            ],
        )
        .await?;
        copy_definition(&mut tx, &target).await?;
        let pin = Pin { owner: format!("restore job {}", target.job), expiry: Expiry::WithJob(target.job) };
        pins::insert(&mut tx, snapshot.id, &pin).await?;

        let machine = RestoreJob::submit(new.deadline_ms);
        let started_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO restore_jobs (job_id, snapshot_id, snapshot_name, source_collection_id, source_name, \
             source_database, target_collection_id, target_name, target_database, mode, partitions_json, \
             with_indexes, state, started_ms, deadline_ms, traceparent, keeps_ages) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            args![
                target.job.0,
                snapshot.id.0,
                snapshot.name,
                new.source.0,
                source.try_get::<String, _>("name")?,
                source.try_get::<String, _>("database_name")?,
                target.collection.0,
                new.target_name.clone(),
                new.target_database,
                new.options.mode.label().to_owned(),
                to_json(&new.options.partitions),
                i64::from(new.options.with_indexes),
                machine.label().to_owned(),
                started_ms,
                new.deadline_ms,
                elanus_trace::current().map(|step| step.to_string()),
                i64::from(new.options.keeps_ages)
            ],
        )
        .await?;
        let detail = format!(
            "{} snapshot {}, target {} ({})",
            new.options.mode, snapshot.id, target.collection, new.target_name
        );
        let told = Told { machine: MACHINE, id: target.job.0, event: "submit", from: "", to: machine.label(), detail };
        tell(&mut tx, "restore", &told).await?;
        let job = locked(&mut tx, target.job).await?.ok_or_else(|| job_not_found(target.job))?;
        tx.commit().await?;
        Ok(Created::New(job.record))
    }
}

/// The partitions that are asked for, in the order of the snapshot and each once; 200 for one that it does not have.
async fn known_partitions(tx: &mut Tx, new: &NewRestore, create_ts: Timestamp) -> Result<Vec<String>> {
    let wanted = &new.options.partitions;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // Rows find their partition by the number of partitions: without some of them they would be looked for elsewhere.
    let schema: CollectionSchema = from_json(&version_at(tx, new.source, Some(create_ts)).await?.row, "schema_json")?;
    if schema.partition_key.is_some() {
        let text = "a collection with a partition key is restored as a whole: name no partitions";
        return Err(Failure::invalid(text).into());
    }
    let there = partition_names(tx, new.source, create_ts).await?;
    if let Some(unknown) = wanted.iter().find(|name| !there.contains(name)) {
        let text = format!("partition not found[partition={unknown}]: the snapshot has {}", there.join(", "));
        return Err(Failure::new(Code::PartitionNotFound, text).into());
    }
    Ok(there.into_iter().filter(|name| wanted.contains(name)).collect())
}

async fn partition_names(tx: &mut Tx, collection: CollectionId, at: Timestamp) -> Result<Vec<String>> {
    let rows = tx.all(PARTITIONS_AT, args![collection.0, at.0]).await?;
    rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
}

/// The job that holds the target's name, when it is the one that `new` asks for; 1100 when the name is held otherwise.
async fn holder_of_name(
    tx: &mut Tx,
    database_id: i64,
    new: &NewRestore,
    snapshot: SnapshotId,
) -> Result<Option<JobRecord>> {
    let holder = tx
        .optional(
            "SELECT job_id FROM collections WHERE database_id = $1 AND name = $2 AND state <> 'dropped' \
             /*FOR UPDATE*/",
            args![database_id, new.target_name.clone()],
        )
        .await?;
    let Some(holder) = holder else { return Ok(None) };
    if let Some(job) = holder.try_get::<Option<i64>, _>("job_id")?
        && let Some(job) = locked(tx, JobId(job)).await?
        && job.record.snapshot == snapshot
        && job.record.options == new.options
        && matches!(job.machine.state(), State::Pending | State::Copying | State::Publishing)
    {
        return Ok(Some(job.record));
    }
    let text = format!("create duplicate collection with different parameters, collection: {}", new.target_name);
    Err(Failure::invalid(text).into())
}

/// From when the rows of the target age. What is hidden begins to age when it is shown: until then this is when the hidden
/// definition began.
async fn aging_of_target(tx: &mut Tx, target: &Target<'_>) -> Result<Aging> {
    let source = version_at(tx, target.source, Some(target.create_ts)).await?.row;
    let (aging, ttl_s) = (aging(&source)?, ttl_s(&source)?);
    let restarts = ttl_s.is_some() && !target.options.keeps_ages;
    let from_ts = if restarts { target.hidden_ts } else { aging.from_ts };
    Ok(aging.brought_back(ttl_s, target.create_ts, from_ts))
}

/// Schema, properties, and of partitions and indexes what is asked for, as of the snapshot: field ids stay,
/// partitions and indexes get new ids in the old order.
async fn copy_definition(tx: &mut Tx, target: &Target<'_>) -> Result<()> {
    let aging = aging_of_target(tx, target).await?;
    tx.execute_exactly(
        1,
        "the definition of the source",
        "INSERT INTO collection_versions (collection_id, added_ts, removed_ts, schema_json, shards_num, \
         consistency_level, properties_json, ages_from_ts, expired_before_ts) \
         SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), schema_json, shards_num, \
         consistency_level, properties_json, CAST($6 AS BIGINT), CAST($7 AS BIGINT) FROM collection_versions \
         WHERE collection_id = $4 AND added_ts <= $5 AND $5 < removed_ts",
        args![
            target.collection.0,
            target.hidden_ts.0,
            Timestamp::NEVER.0,
            target.source.0,
            target.create_ts.0,
            aging.from_ts.0,
            aging.expired_before_ts.0
        ],
    )
    .await?;

    let mut names = partition_names(tx, target.source, target.create_ts).await?;
    names.retain(|name| name == DEFAULT_PARTITION || target.options.wants(name));
    let first = tx.allocate_ids(u32::try_from(names.len()).unwrap_or(u32::MAX)).await?;
    tx.insert_many(
        "INSERT INTO partitions (partition_id, collection_id, name, added_ts, removed_ts)",
        5,
        (first..).zip(names),
        |arguments, (id, name)| {
            add(arguments, id);
            add(arguments, target.collection.0);
            add(arguments, name);
            add(arguments, target.hidden_ts.0);
            add(arguments, Timestamp::NEVER.0);
        },
    )
    .await?;

    if !target.options.with_indexes {
        return Ok(());
    }
    let indexes = tx
        .all(
            "SELECT field_id, name, params_json FROM indexes \
             WHERE collection_id = $1 AND added_ts <= $2 AND $2 < removed_ts ORDER BY index_id",
            args![target.source.0, target.create_ts.0],
        )
        .await?;
    let indexes: Vec<(i64, String, String)> = indexes
        .iter()
        .map(|row| Ok((row.try_get("field_id")?, row.try_get("name")?, row.try_get("params_json")?)))
        .collect::<Result<_>>()?;
    let first = tx.allocate_ids(u32::try_from(indexes.len()).unwrap_or(u32::MAX)).await?;
    tx.insert_many(
        "INSERT INTO indexes (index_id, collection_id, field_id, name, params_json, added_ts, removed_ts)",
        7,
        (first..).zip(indexes),
        |arguments, (id, (field_id, name, params_json))| {
            add(arguments, id);
            add(arguments, target.collection.0);
            add(arguments, field_id);
            add(arguments, name);
            add(arguments, params_json);
            add(arguments, target.hidden_ts.0);
            add(arguments, Timestamp::NEVER.0);
        },
    )
    .await
}

//! Collections from the snapshots in the bucket alone, when the metadata store is lost.
//!
//! The bucket is listed once, a page at a time: it names the snapshots, and the greatest id (RB-3). Then one collection at a
//! time: its snapshots are read and every checksum compared, the facts planned (`plan`), the objects looked for. A snapshot
//! that is damaged, or that needs an object that is not there, is left out and named; a collection whose snapshots contradict
//! each other is refused and named. The files of both stay in the bucket, unknown to the metadata.

mod plan;

use crate::stored::{self, Stored, Unreadable};
use elanus_meta::Meta;
use elanus_meta::rebuild::RebuiltCollection;
use elanus_objects::{Error as ObjectError, ObjectStore};
use elanus_types::key::KeySpace;
use elanus_types::{CollectionId, Failure, ObjectKey, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plan::Planner;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: usize = 1_000;
const READS_AT_ONCE: usize = 8;
const HEADS_AT_ONCE: usize = 32;

/// What would come back.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of their ids.
    pub collections: Vec<FoundCollection>,
    /// Objects of the cluster in the bucket.
    pub objects: u64,
    /// Every id that a key has is at most this.
    pub greatest_id: i64,
}

/// A collection that has snapshots.
#[derive(Clone, Debug)]
pub struct FoundCollection {
    /// Its id.
    pub id: CollectionId,
    /// Its database.
    pub database: String,
    /// The name that it will have.
    pub name: String,
    /// The name that it had, where another collection has that now.
    pub renamed_from: Option<String>,
    /// Its other names that come back: those that its newest snapshot has and nothing newer.
    pub aliases: Vec<String>,
    /// Other names that something newer has.
    pub aliases_taken: Vec<String>,
    /// Settings of its database, as the newest snapshot in that has them.
    database_properties: BTreeMap<String, String>,
    /// Snapshots that come back, oldest first: their names and times.
    pub snapshots: Vec<(String, Timestamp)>,
    /// Rows of the newest one.
    pub rows: u64,
    /// Objects that the snapshots share.
    pub objects: u64,
    /// Snapshots that do not come back: their metadata objects, and why.
    pub left_out: Vec<(ObjectKey, String)>,
    /// Why nothing of it comes back.
    pub refused: Option<String>,
    /// Metadata objects of the snapshots that come back.
    keys: Vec<ObjectKey>,
}

/// Reads all snapshots of a cluster; writes nothing. `progress` is told what is being done.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn survey(
    objects: &dyn ObjectStore,
    keys: &KeySpace,
    progress: &(dyn Fn(String) + Sync),
) -> Result<Survey, Failure> {
    let namespace = ObjectKey::parse(keys.namespace()).map_err(|error| Failure::internal(error.to_string()))?;
    let mut survey = Survey::default();
    let mut snapshots: BTreeMap<CollectionId, Vec<ObjectKey>> = BTreeMap::new();
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = objects.list_page(&namespace, after.as_ref(), PAGE).await?;
        for info in &page {
            survey.greatest_id = survey.greatest_id.max(keys.greatest_id(&info.key));
            if let Some((collection, _)) = keys.snapshot_of(&info.key) {
                snapshots.entry(collection).or_default().push(info.key.clone());
            }
        }
        survey.objects += page.len() as u64;
        progress(format!("{} objects, {} collections with snapshots", survey.objects, snapshots.len()));
        if page.len() < PAGE {
            break;
        }
        after = page.into_iter().next_back().map(|info| info.key);
    }
    for (n, (collection, found)) in snapshots.iter().enumerate() {
        progress(format!("collection {} of {}: {} snapshots", n + 1, snapshots.len(), found.len()));
        survey.collections.push(look(objects, *collection, found).await?);
    }
    name(&mut survey.collections);
    Ok(survey)
}

/// Writes what a survey found into an empty metadata store; the collections that were written.
///
/// # Errors
/// When the store is not empty, when one of both is away, and when a snapshot changed since the survey.
pub async fn apply(
    objects: &dyn ObjectStore,
    meta: &Meta,
    survey: &Survey,
    progress: &(dyn Fn(String) + Sync),
) -> Result<u64, Failure> {
    meta.begin_rebuild().await?;
    let wanted: Vec<&FoundCollection> = survey.collections.iter().filter(|one| one.refused.is_none()).collect();
    let mut written = 0;
    for (n, found) in wanted.iter().enumerate() {
        progress(format!("writing collection {} of {}: {}", n + 1, wanted.len(), found.name));
        let mut left_out = Vec::new();
        let planner = read(objects, found.id, &found.keys, &mut left_out).await?;
        let planned = planner.and_then(Planner::finish).map_err(Failure::internal)?;
        if let Some((key, why)) = left_out.first() {
            return Err(Failure::internal(format!("the bucket changed meanwhile, run it again: {key}: {why}")));
        }
        let Some(planned) = planned else { continue };
        let renamed = RebuiltCollection {
            name: found.name.clone(),
            aliases: found.aliases.clone(),
            database_properties: found.database_properties.clone(),
            ..planned
        };
        written += u64::from(meta.rebuild_collection(&renamed).await?);
    }
    meta.end_rebuild(survey.greatest_id).await?;
    Ok(written)
}

async fn look(objects: &dyn ObjectStore, id: CollectionId, keys: &[ObjectKey]) -> Result<FoundCollection, Failure> {
    let mut left_out = Vec::new();
    let mut keys = keys.to_vec();
    let refused = |left_out, why| Ok(FoundCollection::refused(id, left_out, why));
    let planner = loop {
        let planner = match read(objects, id, &keys, &mut left_out).await? {
            Ok(planner) => planner,
            Err(why) => return refused(left_out, why),
        };
        keys.retain(|key| left_out.iter().all(|(left, _)| left != key));
        let missing = missing(objects, planner.objects()).await?;
        let needed = planner.need(&missing);
        if needed.is_empty() {
            break planner;
        }
        for (key, snapshot) in planner.keys() {
            if let Some(object) = needed.get(&snapshot) {
                left_out.push((key, format!("it needs {object}, which is not there or has another size")));
            }
        }
        keys.retain(|key| left_out.iter().all(|(left, _)| left != key));
    };
    let objects = planner.objects().len() as u64;
    let keys = planner.keys().into_iter().map(|(key, _)| key).collect();
    Ok(match planner.finish() {
        Err(why) => FoundCollection::refused(id, left_out, why),
        Ok(None) => FoundCollection::refused(id, left_out, "none of its snapshots can be read".to_owned()),
        Ok(Some(plan)) => FoundCollection {
            id,
            database: plan.database,
            name: plan.name,
            renamed_from: None,
            aliases: plan.aliases,
            aliases_taken: Vec::new(),
            database_properties: plan.database_properties,
            rows: plan.snapshots.last().map_or(0, |snapshot| snapshot.totals.rows),
            snapshots: plan.snapshots.into_iter().map(|snapshot| (snapshot.name, snapshot.create_ts)).collect(),
            objects,
            left_out,
            refused: None,
            keys,
        },
    })
}

/// The snapshots of a collection, oldest first; those that cannot be read are left out. The inner error: they contradict
/// each other.
async fn read(
    objects: &dyn ObjectStore,
    id: CollectionId,
    keys: &[ObjectKey],
    left_out: &mut Vec<(ObjectKey, String)>,
) -> Result<Result<Planner, String>, Failure> {
    let metadata: Vec<(ObjectKey, Result<Stored, Unreadable>)> = stream::iter(keys.to_vec())
        .map(|key| async move {
            let read = stored::metadata(objects, &key).await;
            (key, read)
        })
        .buffered(READS_AT_ONCE)
        .collect()
        .await;
    let mut found = Vec::with_capacity(metadata.len());
    for (key, read) in metadata {
        match read {
            Ok(stored) if stored.metadata.snapshot.collection_id == id => found.push(stored),
            Ok(_) => left_out.push((key, "it is of another collection than its key says".to_owned())),
            Err(Unreadable::Wrong(why)) => left_out.push((key, why)),
            Err(Unreadable::Away(failure)) => return Err(failure),
        }
    }
    found.sort_by_key(|stored| stored.metadata.snapshot.create_ts);
    let mut planner = Planner::default();
    for stored in found {
        match stored::entries(objects, &stored).await {
            Ok(entries) => {
                if let Err(why) = planner.add(stored, entries) {
                    return Ok(Err(why));
                }
            }
            Err(Unreadable::Wrong(why)) => left_out.push((stored.key, why)),
            Err(Unreadable::Away(failure)) => return Err(failure),
        }
    }
    Ok(Ok(planner))
}

/// Those that are not there, or not of their size.
async fn missing(objects: &dyn ObjectStore, wanted: Vec<(ObjectKey, u64)>) -> Result<BTreeSet<ObjectKey>, Failure> {
    let found: Vec<Option<ObjectKey>> = stream::iter(wanted)
        .map(|(key, size)| async move {
            match objects.head(&key).await {
                Ok(info) if info.size == size => Ok(None),
                Ok(_) | Err(ObjectError::NotFound { .. }) => Ok(Some(key)),
                Err(error) => Err(Failure::from(error)),
            }
        })
        .buffered(HEADS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Where several collections had a name, as after a drop, the one with the newest snapshot keeps it; a name before an
/// alias. A database has the settings that the newest snapshot in it says.
fn name(collections: &mut [FoundCollection]) {
    let newest = |one: &FoundCollection| one.snapshots.last().map(|(_, create_ts)| *create_ts);
    let mut order: Vec<usize> = (0..collections.len()).filter(|n| collections[*n].refused.is_none()).collect();
    order.sort_by_key(|n| std::cmp::Reverse(newest(&collections[*n])));
    let mut taken = BTreeSet::new();
    let mut settings: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for &n in &order {
        let one = &mut collections[n];
        if !taken.insert((one.database.clone(), one.name.clone())) {
            let renamed = format!("{}_{}", one.name, one.id);
            one.renamed_from = Some(std::mem::replace(&mut one.name, renamed));
            taken.insert((one.database.clone(), one.name.clone()));
        }
        let newest = settings.entry(one.database.clone()).or_insert_with(|| one.database_properties.clone());
        one.database_properties = newest.clone();
    }
    for n in order {
        let one = &mut collections[n];
        let database = one.database.clone();
        (one.aliases, one.aliases_taken) = std::mem::take(&mut one.aliases)
            .into_iter()
            .partition(|alias| taken.insert((database.clone(), alias.clone())));
    }
}

impl FoundCollection {
    fn refused(id: CollectionId, left_out: Vec<(ObjectKey, String)>, why: String) -> Self {
        Self {
            id,
            database: String::new(),
            name: String::new(),
            renamed_from: None,
            aliases: Vec::new(),
            aliases_taken: Vec::new(),
            database_properties: BTreeMap::new(),
            snapshots: Vec::new(),
            rows: 0,
            objects: 0,
            left_out,
            refused: Some(why),
            keys: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: i64, name: &str, newest: i64) -> FoundCollection {
        FoundCollection {
            database: "default".to_owned(),
            name: name.to_owned(),
            snapshots: vec![("s".to_owned(), Timestamp(newest))],
            refused: None,
            ..FoundCollection::refused(CollectionId(id), vec![], String::new())
        }
    }

    #[test]
    fn the_collection_with_the_newest_snapshot_keeps_the_name() {
        let mut collections = vec![found(1, "docs", 10), found(2, "docs", 20), found(3, "other", 5)];
        name(&mut collections);
        let names: Vec<_> = collections.iter().map(|one| (one.name.as_str(), one.renamed_from.as_deref())).collect();
        assert_eq!(names, [("docs_1", Some("docs")), ("docs", None), ("other", None)]);
    }

    #[test]
    fn the_newest_snapshot_says_what_an_alias_and_a_database_are() {
        let limit = |n: &str| BTreeMap::from([("database.max.collections".to_owned(), n.to_owned())]);
        let with = |one: FoundCollection, aliases: &[&str], n: &str| FoundCollection {
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            database_properties: limit(n),
            ..one
        };
        let mut collections = vec![
            with(found(1, "docs", 10), &["a", "b", "other"], "1"),
            with(found(2, "more", 20), &["b", "c"], "2"),
            with(found(3, "other", 5), &[], "3"),
        ];
        name(&mut collections);
        let told: Vec<_> = collections.iter().map(|one| (one.aliases.join(" "), one.aliases_taken.join(" "))).collect();
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(told, [text("a", "b other"), text("b c", ""), text("", "")]);
        assert!(collections.iter().all(|one| one.database_properties == limit("2")), "{collections:?}");
    }
}

//! Databases, aliases and names.

use crate::restoring::{by_name, clone_of, code, content, filled, new_restore, run, submit, submit_new};
use crate::store::{LATER_MS, START_MS, Store, definition, new_collection, refusal, rows_of};
use elanus_meta::Meta;
use elanus_meta::model::{CollectionKey, CollectionRecord, Created, JobState, NewCollection, NewRestore};
use elanus_types::schema::{
    CollectionDefinition, CollectionSchema, ConsistencyLevel, DataType, FieldSchema, PartitionInfo,
};
use elanus_types::{CollectionId, FieldId, PartitionId};
use std::collections::BTreeMap;

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn found(meta: &Meta, database: &str, name: &str) -> Option<CollectionRecord> {
    let key = CollectionKey::Name { database: database.to_owned(), name: name.to_owned() };
    meta.collection(&key).await.unwrap()
}

async fn id_of(meta: &Meta, database: &str, name: &str) -> Option<CollectionId> {
    found(meta, database, name).await.map(|record| record.id)
}

fn in_database(database: &str, name: &str) -> NewCollection {
    NewCollection { database: database.to_owned(), ..new_collection(name) }
}

async fn a_database_is_created_once_altered_and_dropped_when_it_is_empty(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let created = coordinator.create_database("shop", &words(&[("a", "1")])).await.unwrap();
    assert_eq!(
        (created.name.as_str(), created.created_ms, &created.properties),
        ("shop", START_MS, &words(&[("a", "1")]))
    );
    let names: Vec<_> = meta.databases().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["default", "shop"]);
    let expected = (65535, "database already exist: shop".to_owned());
    assert_eq!(refusal(coordinator.create_database("shop", &words(&[("b", "2")])).await), expected);
    assert_eq!(meta.database("shop").await.unwrap(), created, "a refusal changes nothing");

    let altered =
        coordinator.alter_database("shop", words(&[("b", "2"), ("c", "3")]), &["a".to_owned()]).await.unwrap();
    assert_eq!(altered.properties, words(&[("b", "2"), ("c", "3")]));
    assert_eq!(meta.database("shop").await.unwrap(), altered);
    assert_eq!(code(coordinator.alter_database("nowhere", words(&[("b", "2")]), &[]).await), 800);

    let books = coordinator.create_collection(in_database("shop", "books")).await.unwrap();
    let (number, text) = refusal(coordinator.drop_database("shop").await);
    assert!(number == 65535 && text.contains("database:shop not empty, must drop all collections"), "{text}");
    assert_eq!(
        refusal(coordinator.drop_database("default").await),
        (65535, "can not drop default database".to_owned())
    );
    assert_eq!(code(coordinator.drop_database("nowhere").await), 800);
    coordinator.trash_collection(books.id, LATER_MS).await.unwrap();
    coordinator.drop_database("shop").await.unwrap();
    assert_eq!(code(coordinator.drop_database("shop").await), 800);
    assert_eq!(code(meta.database("shop").await), 800);
    assert_eq!(code(meta.collections("shop").await), 800);
    assert_eq!(code(coordinator.create_collection(in_database("shop", "x")).await), 800);
    assert_eq!(code(coordinator.restore_from_trash(books.id, None).await), 800, "there is no place to come back to");

    // The name brings the trash back, and no settings.
    let again = coordinator.create_database("shop", &BTreeMap::new()).await.unwrap();
    assert_eq!(again.properties, BTreeMap::new());
    assert_eq!(meta.trash("shop").await.unwrap()[0].id, books.id);
    assert_eq!(coordinator.restore_from_trash(books.id, None).await.unwrap().database, "shop");
}

async fn there_are_no_more_databases_and_collections_than_there_may_be(store: Store) {
    let coordinator = &store.coordinator;
    for n in 1..64 {
        coordinator.create_database(&format!("d{n}"), &BTreeMap::new()).await.unwrap();
    }
    assert_eq!(code(coordinator.create_database("more", &BTreeMap::new()).await), 801);
    assert_eq!(store.meta.databases().await.unwrap().len(), 64);
    coordinator.drop_database("d7").await.unwrap();
    coordinator.create_database("more", &words(&[("database.max.collections", "1")])).await.unwrap();

    let only = coordinator.create_collection(in_database("more", "one")).await.unwrap();
    assert_eq!(coordinator.create_collection(in_database("more", "one")).await.unwrap(), only, "a repeat is no other");
    let expected = (102, "exceeded the limit number of collections[limit=1]".to_owned());
    assert_eq!(refusal(coordinator.create_collection(in_database("more", "two")).await), expected);
    let (books, _) = filled(&store).await;
    let into = NewRestore { target_database: "more".to_owned(), ..clone_of(books, "two") };
    assert_eq!(code(coordinator.submit_restore(into).await), 102);
    assert_eq!(code(coordinator.rename_collection(books, "more", "two").await), 102);
    assert_eq!(store.meta.collections("more").await.unwrap().len(), 1);
}

async fn collections_of_one_name_in_two_databases_never_meet(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    coordinator.create_database("shop", &BTreeMap::new()).await.unwrap();
    let here = store.collection("books").await;
    let there = coordinator.create_collection(in_database("shop", "books")).await.unwrap();
    assert_ne!(here.id, there.id);
    assert_eq!((here.database.as_str(), there.database.as_str()), ("default", "shop"));
    let (file, _) = store.insert(there.id, there.partitions[0].id).await;
    assert_eq!(store.members(here.id, None).await, [].into());
    coordinator.drop_collection(here.id).await.unwrap();
    assert_eq!((id_of(meta, "default", "books").await, id_of(meta, "shop", "books").await), (None, Some(there.id)));
    assert_eq!(store.members(there.id, None).await, [file].into());
}

async fn a_restore_into_another_database_is_the_same_in_both_modes(store: Store) {
    let (books, snapshot) = filled(&store).await;
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    coordinator.create_database("archive", &BTreeMap::new()).await.unwrap();
    let then = content(meta, books, Some(snapshot.create_ts)).await;
    for (new, target) in [(new_restore(books, "books"), "books"), (clone_of(books, "clone"), "clone")] {
        let new = NewRestore { target_database: "archive".to_owned(), ..new };
        let job = submit_new(coordinator, new.clone()).await;
        assert_eq!((job.source_database.as_str(), job.target_database.as_str()), ("default", "archive"));
        let (number, text) = refusal(coordinator.drop_database("archive").await);
        assert!(number == 65535 && text.contains("not empty"), "a restore under way counts: {text}");
        assert!(
            matches!(coordinator.submit_restore(new).await.unwrap(), Created::Joined(joined) if joined.id == job.id)
        );
        assert_eq!(run(coordinator, job.id).await.state, JobState::Completed);
        let back = found(meta, "archive", target).await.unwrap();
        assert_eq!(content(meta, back.id, None).await, then);
    }
    assert_eq!(by_name(meta, "books").await, Some(books), "the source is where it was");
    let unknown = NewRestore { target_database: "nowhere".to_owned(), ..new_restore(books, "b") };
    assert_eq!(code(coordinator.submit_restore(unknown).await), 800);
    assert_eq!(meta.jobs(Some("archive"), None).await.unwrap().len(), 2);
    assert_eq!(meta.jobs(Some("default"), None).await.unwrap().len(), 0);
}

async fn an_alias_stands_for_a_collection_wherever_one_is_named(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let (old, new) = (store.collection("v1").await.id, store.collection("v2").await.id);
    coordinator.create_alias("default", "live", "v1").await.unwrap();
    coordinator.create_alias("default", "live", "v1").await.unwrap();
    coordinator.create_alias("default", "also", "v1").await.unwrap();
    let record = found(meta, "default", "live").await.unwrap();
    assert_eq!(
        (record.id, record.name.as_str(), &record.aliases[..]),
        (old, "v1", &["also".to_owned(), "live".to_owned()][..])
    );
    assert_eq!(store.record(new).await.unwrap().aliases, [""; 0]);
    assert_eq!(meta.alias("default", "live").await.unwrap(), "v1");
    assert_eq!(meta.aliases("default").await.unwrap(), ["also", "live"]);

    coordinator.alter_alias("default", "live", "v2").await.unwrap();
    coordinator.alter_alias("default", "live", "v2").await.unwrap();
    assert_eq!(id_of(meta, "default", "live").await, Some(new));
    coordinator.drop_alias("default", "live").await.unwrap();
    coordinator.drop_alias("default", "live").await.unwrap();
    assert_eq!(id_of(meta, "default", "live").await, None);
    assert_eq!(
        refusal(meta.alias("default", "live").await),
        (1600, "alias not found[database=default][alias=live]".to_owned())
    );

    coordinator.create_database("shop", &BTreeMap::new()).await.unwrap();
    assert_eq!(id_of(meta, "shop", "also").await, None, "an alias belongs to its database");
    assert_eq!(code(coordinator.create_alias("shop", "x", "v1").await), 100);
    assert_eq!(code(coordinator.create_alias("nowhere", "x", "v1").await), 800);
}

async fn a_name_is_either_a_collections_or_an_aliases(store: Store) {
    let (books, _) = filled(&store).await;
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let other = store.collection("other").await.id;
    coordinator.create_alias("default", "alias", "books").await.unwrap();
    let before = (meta.collections("default").await.unwrap(), meta.aliases("default").await.unwrap());

    let conflict = "alias and collection name conflict[database=default][alias=";
    for (what, result) in [
        ("an alias with a collection's name", coordinator.create_alias("default", "other", "books").await),
        ("the same for an alter", coordinator.alter_alias("default", "other", "books").await),
        ("a collection with an alias's name", coordinator.create_collection(new_collection("alias")).await.map(drop)),
        ("a restore target", coordinator.submit_restore(new_restore(books, "alias")).await.map(drop)),
        ("a new name", coordinator.rename_collection(other, "default", "alias").await.map(drop)),
    ] {
        let (number, text) = refusal(result);
        assert!(number == 1601 && text.contains(conflict), "{what}: {number} {text}");
    }
    let (number, text) = refusal(coordinator.create_alias("default", "alias", "other").await);
    assert!(number == 1602 && text.contains("alias is alias to another collection: books"), "{text}");
    assert_eq!(code(coordinator.create_alias("default", "x", "alias").await), 100, "an alias of an alias");
    assert_eq!(code(coordinator.alter_alias("default", "x", "books").await), 1600);
    let (number, text) = refusal(coordinator.drop_collection(books).await);
    assert!(
        number == 65535
            && text.contains("unable to drop the collection [books] because it has associated aliases [alias]"),
        "{text}"
    );
    assert_eq!((meta.collections("default").await.unwrap(), meta.aliases("default").await.unwrap()), before);

    // A target that is reserved, and what is in the trash.
    submit(coordinator, books, "reserved").await;
    assert_eq!(code(coordinator.create_alias("default", "reserved", "books").await), 1601);
    assert_eq!(code(coordinator.rename_collection(other, "default", "reserved").await), 65535);
    assert_eq!(id_of(meta, "default", "reserved").await, None);
    coordinator.trash_collection(other, LATER_MS).await.unwrap();
    coordinator.create_alias("default", "other", "books").await.unwrap();
    assert_eq!(code(coordinator.restore_from_trash(other, None).await), 1601);
    assert_eq!(coordinator.restore_from_trash(other, Some("free")).await.unwrap().name, "free");
}

async fn a_renamed_collection_is_the_same_under_its_new_name(store: Store) {
    let (books, snapshot) = filled(&store).await;
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let other = store.collection("other").await;
    coordinator.create_database("shop", &BTreeMap::new()).await.unwrap();
    coordinator.create_alias("default", "alias", "books").await.unwrap();
    let (now, then) = (content(meta, books, None).await, content(meta, books, Some(snapshot.create_ts)).await);
    let before = store.record(books).await.unwrap();

    let renamed = coordinator.rename_collection(books, "default", "tomes").await.unwrap();
    assert_eq!((renamed.id, renamed.name.as_str(), &renamed.aliases[..]), (books, "tomes", &["alias".to_owned()][..]));
    assert!(renamed.updated_ts > before.updated_ts, "clients describe it again");
    assert_eq!(id_of(meta, "default", "books").await, None);
    assert_eq!(id_of(meta, "default", "alias").await, Some(books));
    let text = "collection name or database name should be different".to_owned();
    assert_eq!(refusal(coordinator.rename_collection(books, "default", "tomes").await), (1100, text));
    let text = "duplicated new collection name default:other with other collection name or alias".to_owned();
    assert_eq!(refusal(coordinator.rename_collection(books, "default", "other").await), (65535, text));
    assert_eq!(code(coordinator.rename_collection(books, "nowhere", "x").await), 800);
    assert_eq!(code(coordinator.rename_collection(CollectionId(1), "default", "x").await), 100);
    let (number, text) = refusal(coordinator.rename_collection(books, "shop", "tomes").await);
    assert!(number == 65535 && text.contains("associated aliases [alias]"), "{text}");
    assert_eq!(store.record(books).await.unwrap(), renamed, "refusals change nothing");

    coordinator.drop_alias("default", "alias").await.unwrap();
    let moved = coordinator.rename_collection(books, "shop", "tomes").await.unwrap();
    assert_eq!((moved.database.as_str(), moved.name.as_str()), ("shop", "tomes"));
    assert_eq!(
        (content(meta, books, None).await, content(meta, books, Some(snapshot.create_ts)).await),
        (now, then.clone())
    );
    store.insert(books, moved.partitions[0].id).await;
    let job = submit_new(coordinator, clone_of(books, "books")).await;
    assert_eq!((job.source_name.as_str(), job.source_database.as_str()), ("tomes", "shop"));
    run(coordinator, job.id).await;
    assert_eq!(content(meta, job.target, None).await, then);
    assert_eq!(store.record(other.id).await, Some(other));
}

async fn an_altered_definition_leaves_snapshots_what_they_were(store: Store) {
    let (books, snapshot) = filled(&store).await;
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let then = content(meta, books, Some(snapshot.create_ts)).await;
    let before = store.record(books).await.unwrap();

    let altered = coordinator
        .alter_collection(books, |definition| {
            definition.properties = words(&[("mmap.enabled", "true")]);
            definition.consistency_level = ConsistencyLevel::Strong;
            definition.shards_num = 99;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(altered.definition.properties, words(&[("mmap.enabled", "true")]));
    assert_eq!(altered.definition.consistency_level, ConsistencyLevel::Strong);
    assert_eq!(altered.definition.shards_num, before.definition.shards_num, "rows are placed by it");
    assert_eq!(altered.updated_ts, before.updated_ts, "the schema is the same");
    let described = coordinator
        .alter_collection(books, |definition| {
            definition.schema.description = "new".to_owned();
            Ok(())
        })
        .await
        .unwrap();
    assert!(described.updated_ts > altered.updated_ts);
    let same = coordinator.alter_collection(books, |_| Ok(())).await.unwrap();
    assert_eq!(same, described, "no change, no commit");
    let first_new = before.definition.schema.fields.iter().map(|field| field.id.0).max().unwrap() + 1;
    let described = with_field(&store, books, "late").await;
    assert_eq!(field_id(&described, "late"), FieldId(first_new));
    let refused = elanus_types::Failure::invalid("no");
    assert_eq!(code(coordinator.alter_collection(books, |_| Err(refused)).await), 1100);
    assert_eq!(store.record(books).await.unwrap(), described);
    assert_eq!(code(coordinator.alter_collection(CollectionId(1), |_| Ok(())).await), 100);

    assert_eq!(content(meta, books, Some(snapshot.create_ts)).await, then);
    for new in [new_restore(books, "copied"), clone_of(books, "cloned")] {
        let job = submit_new(coordinator, new).await;
        run(coordinator, job.id).await;
        assert_eq!(content(meta, job.target, None).await, then);
    }
    let done = crate::rollback::roll_back(&store, books, "s").await;
    assert_eq!(meta.definition_at(books, done.ts).await.unwrap().properties, before.definition.properties);
    let back = store.record(books).await.unwrap();
    assert_eq!(back.definition.consistency_level, ConsistencyLevel::Bounded);
    assert_eq!(back.definition.schema, before.definition.schema);
    // Not the id of the field that is gone: the safety snapshot has files with a column of that.
    assert_eq!(field_id(&with_field(&store, books, "other").await, "other"), FieldId(first_new + 1));
}

async fn with_field(store: &Store, collection: CollectionId, name: &str) -> CollectionRecord {
    let field = FieldSchema { nullable: true, ..FieldSchema::new(FieldId::NONE, name, DataType::Array) };
    let add = |definition: &mut CollectionDefinition| {
        definition.schema.fields.push(field);
        Ok(())
    };
    store.coordinator.alter_collection(collection, add).await.unwrap()
}

fn field_id(record: &CollectionRecord, name: &str) -> FieldId {
    record.definition.schema.field(name).unwrap().id
}

async fn an_altered_index_is_a_new_definition_under_the_old_name(store: Store) {
    let books = store.collection("books").await.id;
    let coordinator = &store.coordinator;
    let index = coordinator.create_index(books, FieldId(101), "v", words(&[("index_type", "FLAT")])).await.unwrap();
    let at = store.record(books).await.unwrap().last_ts;
    let altered = coordinator.alter_index(books, "v", words(&[("mmap.enabled", "true")]), &[]).await.unwrap();
    assert_ne!(altered.id, index.id);
    assert_eq!(altered.params, words(&[("index_type", "FLAT"), ("mmap.enabled", "true")]));
    assert_eq!(store.record(books).await.unwrap().definition.indexes, std::slice::from_ref(&altered));
    assert_eq!(store.meta.definition_at(books, at).await.unwrap().indexes, std::slice::from_ref(&index));
    let again = coordinator.alter_index(books, "v", words(&[("mmap.enabled", "true")]), &[]).await.unwrap();
    assert_eq!(again, altered);
    let back = coordinator.alter_index(books, "v", BTreeMap::new(), &["mmap.enabled".to_owned()]).await.unwrap();
    assert_eq!(back.params, index.params);
    assert_eq!(code(coordinator.alter_index(books, "w", BTreeMap::new(), &[]).await), 700);
}

async fn a_partition_key_has_its_partitions_from_the_beginning_and_after_a_restore(store: Store) {
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let mut new = new_collection("books");
    new.definition.schema = CollectionSchema { partition_key: Some(FieldId(100)), ..definition().schema };
    let names: Vec<String> = (0..12).map(|n| format!("_default_{n}")).collect();
    new.definition.partitions =
        names.iter().map(|name| PartitionInfo { id: PartitionId(0), name: name.clone() }).collect();
    let created = coordinator.create_collection(new.clone()).await.unwrap();
    let named = |record: &CollectionRecord| record.partitions.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(named(&created), names, "and no other, in their order");
    assert_eq!(coordinator.create_collection(new.clone()).await.unwrap(), created);
    new.definition.partitions.pop();
    assert_eq!(code(coordinator.create_collection(new).await), 1100);

    store.insert(created.id, created.partitions[11].id).await;
    let snapshot = crate::restoring::snapshot(coordinator, created.id, "s").await;
    let then = content(meta, created.id, Some(snapshot.create_ts)).await;
    for new in [new_restore(created.id, "copied"), clone_of(created.id, "cloned")] {
        let mut part = new.clone();
        part.options.partitions = vec!["_default_3".to_owned()];
        let (number, text) = refusal(coordinator.submit_restore(part).await);
        assert!(number == 1100 && text.contains("restored as a whole"), "{text}");
        let job = submit_new(coordinator, new).await;
        run(coordinator, job.id).await;
        let back = store.record(job.target).await.unwrap();
        assert_eq!((named(&back), back.definition.schema.partition_key), (names.clone(), Some(FieldId(100))));
        assert_eq!(content(meta, job.target, None).await, then);
    }
}

async fn segments_are_listed_with_their_rows(store: Store) {
    let books = store.collection("books").await;
    let (id, default) = (books.id, books.partitions[0].id);
    assert_eq!(store.meta.segments(id).await.unwrap(), []);
    store.insert(id, default).await;
    store.insert(id, default).await;
    let listed = store.meta.segments(id).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].partition, listed[0].growing, listed[0].rows), (default, true, 20));
    store.coordinator.seal_segments(id).await.unwrap();
    let files = store.begin(id, &[rows_of(default), crate::store::deletes_of(default)]).await;
    store.commit(id, &files).await.unwrap();
    let listed = store.meta.segments(id).await.unwrap();
    let told: Vec<_> = listed.iter().map(|one| (one.growing, one.rows)).collect();
    assert_eq!(told, [(false, 20), (true, 10)], "deletes are no rows");
    store.coordinator.drop_collection(id).await.unwrap();
    assert_eq!(code(store.meta.segments(id).await), 100);
}

on_every_store!(
    a_database_is_created_once_altered_and_dropped_when_it_is_empty,
    there_are_no_more_databases_and_collections_than_there_may_be,
    collections_of_one_name_in_two_databases_never_meet,
    a_restore_into_another_database_is_the_same_in_both_modes,
    an_alias_stands_for_a_collection_wherever_one_is_named,
    a_name_is_either_a_collections_or_an_aliases,
    a_renamed_collection_is_the_same_under_its_new_name,
    an_altered_definition_leaves_snapshots_what_they_were,
    an_altered_index_is_a_new_definition_under_the_old_name,
    a_partition_key_has_its_partitions_from_the_beginning_and_after_a_restore,
    segments_are_listed_with_their_rows,
);

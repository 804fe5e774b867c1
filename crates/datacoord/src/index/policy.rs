//! Which files of rows get an index, and how far that is. Decisions only.
//!
//! IP-1  A file is indexed once it gets no neighbours by writes: its segment is sealed. One that a compaction is about to
//!       take is not: what comes of that is.
//! IP-2  What is planned is not there, not being built, and did not fail not long ago.
//! IP-3  Rows are pending while they are to be indexed and are not. Rows of small files never are, nor those of open
//!       segments, nor those whose index could not be built: a scan serves them, and nobody waits for it.

use elanus_meta::model::{IndexView, IndexableFile, NewIndexBuild};
use elanus_types::graph::GraphSpec;
use elanus_types::schema::IndexInfo;
use elanus_types::{IndexId, SegmentId, Timestamp};
use std::collections::HashMap;

/// Whether compactions run at all, so that what they are about to take is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compactions {
    Run,
    Wait,
}

/// The builds that are wanted now, oldest files first.
pub(crate) fn plan(view: &IndexView, compactions: Compactions) -> Vec<NewIndexBuild> {
    if view.held {
        return Vec::new();
    }
    let missing = missing(view).filter(|(index, file)| {
        let build = (file.segment, file.file_set, index.id);
        let about_to_go = file.busy && compactions == Compactions::Run;
        !about_to_go && !view.building.contains(&build) && !view.failed.contains(&build)
    });
    missing
        .map(|(index, file)| NewIndexBuild {
            index: index.id,
            field: index.field_id,
            segment: file.segment,
            file_set: file.file_set,
            rows: file.rows,
        })
        .collect()
}

/// Rows of each definition that wait for their index; definitions without are not there.
pub(crate) fn pending_rows(view: &IndexView) -> HashMap<IndexId, u64> {
    let mut pending = HashMap::new();
    for (index, file) in missing(view) {
        if !view.failed.contains(&(file.segment, file.file_set, index.id)) {
            *pending.entry(index.id).or_default() += file.rows;
        }
    }
    pending
}

/// True when only a commit can change what is planned.
pub(crate) fn is_at_rest(view: &IndexView) -> bool {
    let open = view.files.iter().any(|file| !file.sealed || file.busy);
    !view.held && view.building.is_empty() && view.failed.is_empty() && (!open || graphs(view).next().is_none())
}

/// Definitions that a graph serves.
fn graphs(view: &IndexView) -> impl Iterator<Item = &IndexInfo> {
    view.indexes.iter().filter(|index| {
        let field = view.schema.fields.iter().find(|field| field.id == index.field_id);
        field.is_some_and(|field| GraphSpec::of(field, index).is_some())
    })
}

/// Sealed files without the index that they should have.
fn missing(view: &IndexView) -> impl Iterator<Item = (&IndexInfo, &IndexableFile)> {
    // An index names its file by segment and first timestamp: where two files have the same, neither gets one.
    let mut named: HashMap<(SegmentId, Timestamp), usize> = HashMap::new();
    for file in &view.files {
        *named.entry((file.segment, file.base_ts)).or_default() += 1;
    }
    let files: Vec<&IndexableFile> =
        view.files.iter().filter(|file| file.sealed && named[&(file.segment, file.base_ts)] == 1).collect();
    graphs(view).flat_map(move |index| {
        let lacks = |file: &&IndexableFile| !view.built.contains(&(file.segment, file.base_ts, index.field_id));
        files.clone().into_iter().filter(lacks).map(move |file| (index, file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
    use elanus_types::{FieldId, FileSetId};

    const FIELD: FieldId = FieldId(101);
    const INDEX: IndexId = IndexId(9);

    fn file(id: i64) -> IndexableFile {
        let (segment, file_set, base_ts) = (SegmentId(id), FileSetId(id), Timestamp(id));
        IndexableFile { segment, file_set, base_ts, rows: 10_000, sealed: true, busy: false }
    }

    fn view(index_type: &str, files: Vec<IndexableFile>) -> IndexView {
        let fields = vec![
            FieldSchema::new(FieldId(100), "id", DataType::Int64),
            FieldSchema::new(FIELD, "v", DataType::FloatVector),
        ];
        let params = [("index_type", index_type), ("metric_type", "L2")];
        let params = params.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        IndexView {
            ts: Timestamp(1),
            schema: CollectionSchema { fields, ..CollectionSchema::default() },
            indexes: vec![IndexInfo { id: INDEX, name: "v".to_owned(), field_id: FIELD, params }],
            files,
            built: [].into(),
            building: [].into(),
            failed: [].into(),
            held: false,
        }
    }

    fn planned(view: &IndexView) -> Vec<i64> {
        plan(view, Compactions::Run).iter().map(|build| build.file_set.0).collect()
    }

    fn pending(view: &IndexView) -> u64 {
        pending_rows(view).get(&INDEX).copied().unwrap_or(0)
    }

    #[test]
    fn every_sealed_file_is_indexed_once() {
        let mut view = view("HNSW", vec![file(1), file(2), file(3), file(4)]);
        assert_eq!((planned(&view), pending(&view)), (vec![1, 2, 3, 4], 40_000));
        view.built.insert((SegmentId(1), Timestamp(1), FIELD));
        view.building.insert((SegmentId(2), FileSetId(2), INDEX));
        view.failed.insert((SegmentId(3), FileSetId(3), INDEX));
        assert_eq!((planned(&view), pending(&view)), (vec![4], 20_000), "IP-2, IP-3");
        assert!(!is_at_rest(&view));
    }

    #[test]
    fn ip_1_files_of_open_segments_and_inputs_of_compactions_are_not() {
        let open = IndexableFile { sealed: false, ..file(1) };
        let going = IndexableFile { busy: true, ..file(2) };
        let view = view("IVF_FLAT", vec![open, going]);
        assert_eq!((planned(&view), pending(&view)), (vec![], 10_000));
        assert_eq!(plan(&view, Compactions::Wait).len(), 1, "no compaction runs");
        assert!(!is_at_rest(&view), "sealing is no commit");
    }

    #[test]
    fn exact_definitions_get_no_index() {
        let view = view("FLAT", vec![file(1), IndexableFile { sealed: false, ..file(2) }]);
        assert_eq!((planned(&view), pending(&view), is_at_rest(&view)), (vec![], 0, true));
    }

    #[test]
    fn files_that_cannot_be_told_apart_get_none() {
        let twin = IndexableFile { file_set: FileSetId(5), ..file(1) };
        let view = view("AUTOINDEX", vec![file(1), twin, file(2)]);
        assert_eq!((planned(&view), pending(&view)), (vec![2], 10_000));
    }

    #[test]
    fn nothing_is_planned_while_a_collection_is_held() {
        let view = IndexView { held: true, ..view("HNSW", vec![file(1)]) };
        assert_eq!((planned(&view), is_at_rest(&view)), (vec![], false));
    }
}

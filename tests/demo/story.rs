//! The demo itself: load, search, snapshot, lose, restore, prove. Whatever is not as it should be ends it with an error.

use crate::dataset::{Dataset, grouped};
use crate::milvus::Milvus;
use crate::picture::{Picture, Question};
use crate::screen::{Screen, short, side_by_side};
use anyhow::{Context as _, Result, bail, ensure};
use elanus_client::Client;
use elanus_proto::milvus::RestoreSnapshotState;
use elanus_testkit::Server;
use std::ops::Range;
use std::time::{Duration, Instant};

const SNAPSHOT: &str = "before_the_accident";
/// Bytes of vectors in one insert, about, and at most so many rows; small data comes in some batches all the same.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_ROWS_MAX: usize = 10_000;
const BATCHES_MIN: usize = 6;
/// Searches whose rate is measured, how many run side by side, and for how long at most.
const SEARCHES: usize = 400;
const SEARCHERS: usize = 4;
const SEARCH_MAX: Duration = Duration::from_secs(10);
/// Searches that are looked at one by one, and those that are recorded and asked again.
const SAMPLES: usize = 100;
const QUESTIONS: usize = 20;
const NEIGHBOURS: usize = 10;
const RESTORE_MAX: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(10);

/// What the story works with.
struct Story<'a> {
    dataset: &'a Dataset,
    milvus: Milvus,
    client: Client,
    screen: &'a mut Screen,
}

/// Runs the demo against a server that took `start` to be ready.
pub(crate) async fn tell(server: &Server, dataset: &Dataset, start: Duration, screen: &mut Screen) -> Result<()> {
    let milvus = Milvus::connect(&server.url()).await?;
    let client = server.client().await?;
    let mut story = Story { dataset, milvus, client, screen };
    let (collection, restored) = (dataset.collection, format!("{}_restored", dataset.collection));

    story.create().await?;
    let inserted = story.insert().await?;
    story.load(collection).await?;
    story.look().await?;
    let (searches, searched) = story.measure_searches().await?;
    let snapshot = story.snapshot().await?;
    let picture = story.record().await?;
    story.lose_rows().await?;
    let moved = picture.first_row_that_differs(&story.milvus, collection).await?;
    let moved = moved.context("rows were deleted and written, and the collection is as before")?;
    story.screen.detail(&shorten(&format!("the first difference: {moved}")));
    let restore = story.restore(&restored).await?;
    story
        .prove(&picture, &restored, "all rows with all fields, and all hits with their scores, are as recorded")
        .await?;
    story.drop_source(&picture, &restored).await?;
    story.scrub().await?;

    screen.summary(&[
        ("start of the server", short(start)),
        ("rows", grouped(dataset.rows())),
        ("insert", format!("{} rows/s", grouped(rate(dataset.rows(), inserted)))),
        ("search", format!("{} queries/s", grouped(rate(searches, searched)))),
        ("create snapshot", short(snapshot)),
        ("restore snapshot", short(restore)),
    ]);
    Ok(())
}

impl Story<'_> {
    async fn create(&mut self) -> Result<()> {
        let started = Instant::now();
        self.milvus.create(self.dataset).await?;
        let columns = self.dataset.columns.iter().map(|column| match column.dynamic {
            true => ", dynamic fields".to_owned(),
            false => format!(", {}", column.name),
        });
        let Dataset { collection, vector_field, dim, .. } = self.dataset;
        let text = format!("{collection}: id, {vector_field}[{dim}]{}", columns.collect::<String>());
        self.screen.step("create", &shorten(&text), started.elapsed());
        Ok(())
    }

    async fn insert(&mut self) -> Result<Duration> {
        let (rows, dataset) = (self.dataset.rows(), self.dataset);
        let batches: Vec<_> = batches(rows, dataset.dim).collect();
        let started = Instant::now();
        for batch in &batches {
            let taken = self.milvus.insert(dataset, batch.clone(), i64::try_from(batch.start)?).await?;
            ensure!(taken == batch.len(), "{taken} of {} rows were inserted", batch.len());
            self.screen.progress(&format!("{} of {} rows", grouped(batch.end), grouped(rows)));
        }
        let took = started.elapsed();
        let rate = grouped(rate(rows, took));
        self.screen.step(
            "insert",
            &format!(
                "{} rows in {} commits, each durable before the next: {rate} rows/s",
                grouped(rows),
                batches.len()
            ),
            took,
        );
        Ok(took)
    }

    async fn load(&mut self, collection: &str) -> Result<()> {
        let started = Instant::now();
        self.milvus.create_index(collection, &self.dataset.vector_field).await?;
        self.milvus.load(collection).await?;
        let count = self.milvus.count(collection).await?;
        ensure!(count == self.dataset.rows(), "{} rows were inserted, {count} are there", self.dataset.rows());
        self.screen.step(
            "load",
            &format!("index defined, {} rows ready to be searched", grouped(count)),
            started.elapsed(),
        );
        Ok(())
    }

    /// Looks for the neighbours of some rows and says whether they make sense.
    async fn look(&mut self) -> Result<()> {
        let (dataset, started) = (self.dataset, Instant::now());
        let (mut samples, mut same, mut seen, mut first) = (0, 0, 0, None);
        for row in spread(dataset.rows(), SAMPLES).take_while(|_| started.elapsed() < SEARCH_MAX) {
            samples += 1;
            let vector = dataset.vector(row);
            let hits =
                self.milvus.search(dataset.collection, &dataset.vector_field, vector, "", NEIGHBOURS + 1).await?;
            let key = i64::try_from(row)?;
            ensure!(hits.windows(2).all(|pair| pair[0].score <= pair[1].score), "hits do not come nearest first");
            ensure!(
                hits.iter().any(|hit| hit.key == key) || hits.last().is_some_and(|hit| hit.score <= 0.0),
                "row {row} is not among the rows nearest to it"
            );
            let others = hits.iter().filter(|hit| hit.key != key).take(NEIGHBOURS);
            let others: Vec<_> = others.filter_map(|hit| usize::try_from(hit.key).ok()).collect();
            if let Some(labels) = &dataset.labels {
                same += others.iter().filter(|other| labels[**other] == labels[row]).count();
                seen += others.len();
            }
            first.get_or_insert((row, others));
        }
        let text = match &dataset.labels {
            Some(_) => format!("of {} × {NEIGHBOURS} neighbours {same} show the same digit", samples),
            None => format!("{} searches: each row is among the rows nearest to it", samples),
        };
        self.screen.step("search", &text, started.elapsed());
        if let (Some(labels), Some((row, others))) = (&dataset.labels, first) {
            ensure!(same * 10 >= seen * 9, "{same} of {seen} neighbours show the same digit: that is too few");
            let titled = |name: String, row: usize| (name, dataset.vector(row));
            let mut pictures = vec![titled(format!("row {row}: a {}", labels[row]), row)];
            pictures.extend(others.iter().take(2).map(|row| titled(format!("row {row}: a {}", labels[*row]), *row)));
            self.screen.picture(&side_by_side(&pictures));
        }
        Ok(())
    }

    async fn measure_searches(&mut self) -> Result<(usize, Duration)> {
        let (dataset, started) = (self.dataset, Instant::now());
        let queries: Vec<Vec<f32>> =
            spread(dataset.rows(), SEARCHES).cycle().take(SEARCHES).map(|row| dataset.vector(row).to_vec()).collect();
        let searchers = queries.chunks(SEARCHES.div_ceil(SEARCHERS)).map(|queries| {
            let (milvus, queries) = (self.milvus.clone(), queries.to_vec());
            let (collection, field) = (dataset.collection, dataset.vector_field.clone());
            tokio::spawn(async move {
                let mut done = 0;
                for query in queries.iter().take_while(|_| started.elapsed() < SEARCH_MAX) {
                    milvus.search(collection, &field, query, "", NEIGHBOURS).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        });
        let searchers: Vec<_> = searchers.collect();
        let mut done = 0;
        for searcher in searchers {
            done += searcher.await??;
        }
        let took = started.elapsed();
        let rate = grouped(rate(done, took));
        self.screen.step("measure", &format!("{done} searches, {SEARCHERS} at a time: {rate} queries/s (exact)"), took);
        Ok((done, took))
    }

    async fn snapshot(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.milvus.create_snapshot(self.dataset.collection, SNAPSHOT, "taken by the demo").await?;
        let took = started.elapsed();
        let found = self.client.snapshots().describe(self.dataset.collection, SNAPSHOT).await?;
        ensure!(
            usize::try_from(found.rows) == Ok(self.dataset.rows()),
            "the snapshot has {} rows, the collection {}",
            found.rows,
            self.dataset.rows()
        );
        let (files, kib) = (found.files, found.bytes / 1024);
        let text = format!("{SNAPSHOT}: {} rows, {files} files, {kib} KiB", grouped(self.dataset.rows()));
        self.screen.step("snapshot", &text, took);
        Ok(took)
    }

    /// Writes down everything that the collection holds at the snapshot.
    async fn record(&mut self) -> Result<Picture> {
        let (dataset, started) = (self.dataset, Instant::now());
        let questions = spread(dataset.rows(), QUESTIONS).enumerate().map(|(at, row)| Question {
            vector: dataset.vector(row).to_vec(),
            filter: if at % 2 == 0 { "" } else { dataset.filter },
        });
        let keys_end = i64::try_from(dataset.rows())?;
        let picture = Picture::take(&self.milvus, dataset, keys_end, questions.collect()).await?;
        picture.check_vectors(dataset)?;
        let (rows, searches) = (grouped(picture.rows()), picture.searches());
        self.screen.step(
            "record",
            &format!("{rows} rows with every field, and {searches} searches"),
            started.elapsed(),
        );
        Ok(picture)
    }

    /// The accident: rows are deleted, others overwritten, and new ones written.
    async fn lose_rows(&mut self) -> Result<()> {
        let (dataset, rows) = (self.dataset, self.dataset.rows());
        let expected = (0..rows).filter(|row| dataset.is_deleted(*row)).count();
        let started = Instant::now();
        let deleted = self.milvus.delete(dataset.collection, dataset.deleted).await?;
        ensure!(deleted == expected, "{deleted} rows were deleted, {expected} match {}", dataset.deleted);
        self.screen.step("delete", &format!("{} rows where {}", grouped(deleted), dataset.deleted), started.elapsed());

        let started = Instant::now();
        // None of a few rows: the first one must stay deleted.
        let overwritten = rows - (rows / 10).min(100)..rows;
        let strange = dataset.turned(overwritten.clone());
        if strange.rows() > 0 {
            let taken = self.milvus.upsert(&strange, 0..strange.rows(), i64::try_from(overwritten.start)?).await?;
            ensure!(taken == strange.rows(), "{taken} of {} rows were overwritten", strange.rows());
        }
        let more = dataset.turned(0..(rows / 5).clamp(1, 2_000));
        let taken = self.milvus.insert(&more, 0..more.rows(), i64::try_from(rows)?).await?;
        ensure!(taken == more.rows(), "{taken} of {} rows were inserted", more.rows());
        let text = format!("{} rows overwritten, {} new ones, turned by 180°", strange.rows(), grouped(more.rows()));
        self.screen.step("write", &text, started.elapsed());

        let back = overwritten.filter(|row| dataset.is_deleted(*row)).count();
        let wanted = rows - deleted + back + more.rows();
        let count = self.milvus.count(dataset.collection).await?;
        ensure!(count == wanted, "the collection should have {wanted} rows now, it has {count}");
        self.screen.detail(&format!("{} had {} rows and has {}", dataset.collection, grouped(rows), grouped(count)));
        Ok(())
    }

    async fn restore(&mut self, target: &str) -> Result<Duration> {
        let started = Instant::now();
        let job = self.milvus.restore(self.dataset.collection, SNAPSHOT, target).await?;
        let mut highest = 0;
        loop {
            let (state, progress, reason) = self.milvus.restore_state(job).await?;
            ensure!(progress >= highest, "the progress of the restore fell from {highest} % to {progress} %");
            highest = progress;
            self.screen.progress(&format!("restoring: {progress:>3} %"));
            match state {
                RestoreSnapshotState::RestoreSnapshotCompleted => break,
                RestoreSnapshotState::RestoreSnapshotFailed => bail!("the restore failed: {reason}"),
                _ if started.elapsed() > RESTORE_MAX => bail!("the restore is at {progress} % after {RESTORE_MAX:?}"),
                _ => tokio::time::sleep(POLL).await,
            }
        }
        let took = started.elapsed();
        ensure!(highest == 100, "the restore is complete at {highest} %");
        let job = self.client.jobs().describe(job).await?;
        let how = if job.mode == "clone" { "shared, no byte moved" } else { "copied and verified" };
        let text = format!("into {target}: {} files, {} KiB {how}", job.files_done, job.bytes_done / 1024);
        self.screen.step("restore", &text, took);
        Ok(took)
    }

    /// That a collection is what was recorded.
    async fn prove(&mut self, picture: &Picture, collection: &str, text: &str) -> Result<()> {
        let started = Instant::now();
        self.milvus.load(collection).await?;
        let count = self.milvus.count(collection).await?;
        ensure!(count == picture.rows(), "{collection} has {count} rows, the snapshot {}", picture.rows());
        if let Some(difference) = picture.first_row_that_differs(&self.milvus, collection).await? {
            bail!("{collection} is not what the snapshot was: {}", shorten(&difference));
        }
        let field = &self.dataset.vector_field;
        if let Some(difference) = picture.first_search_that_differs(&self.milvus, collection, field).await? {
            bail!("{collection} does not answer as at the snapshot: {}", shorten(&difference));
        }
        self.screen.step("prove", text, started.elapsed());
        Ok(())
    }

    async fn drop_source(&mut self, picture: &Picture, restored: &str) -> Result<()> {
        let (collection, started) = (self.dataset.collection, Instant::now());
        self.milvus.drop_snapshot(collection, SNAPSHOT).await?;
        self.milvus.drop(collection).await?;
        ensure!(!self.milvus.exists(collection).await?, "{collection} is dropped and still there");
        self.screen.step("drop", &format!("the snapshot and {collection}"), started.elapsed());
        self.prove(picture, restored, &format!("{restored} needs neither: the same rows and hits again")).await
    }

    async fn scrub(&mut self) -> Result<()> {
        let started = Instant::now();
        let report = self.client.scrub().checksums(true).send().await?;
        let elanus_client::ScrubReport { missing, damaged, unknown, orphans, .. } = &report;
        for (what, keys) in [("missing", missing), ("damaged", damaged), ("unknown", unknown), ("orphans", orphans)] {
            ensure!(keys.is_empty(), "scrub: {} objects are {what}, the first is {}", keys.len(), keys[0]);
        }
        let text =
            format!("{} objects read again, every checksum is right", grouped(usize::try_from(report.objects_known)?));
        self.screen.step("scrub", &text, started.elapsed());
        Ok(())
    }
}

/// Rows of each insert.
fn batches(rows: usize, dim: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (BATCH_BYTES / (4 * dim)).clamp(1, BATCH_ROWS_MAX);
    let size = rows.div_ceil(BATCHES_MIN).clamp(1, most);
    (0..rows).step_by(size).map(move |start| start..rows.min(start + size))
}

/// Row numbers from all over the data.
fn spread(rows: usize, wanted: usize) -> impl Iterator<Item = usize> + Clone {
    let wanted = wanted.min(rows);
    (0..wanted).map(move |n| n * rows / wanted)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a figure for people"
)]
fn rate(things: usize, time: Duration) -> usize {
    (things as f64 / time.as_secs_f64().max(1e-6)) as usize
}

/// What fits on a line.
fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 110;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_batch() {
        for (rows, dim, count) in [(1, 64, 1), (5, 2, 5), (1_797, 64, 6), (100_000, 128, 10), (1_000, 32_768, 16)] {
            let all: Vec<_> = batches(rows, dim).collect();
            assert_eq!(all.len(), count, "{rows} × {dim}");
            assert_eq!(all.iter().cloned().flatten().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn samples_are_different_rows_of_the_data() {
        assert_eq!(spread(3, 100).collect::<Vec<_>>(), [0, 1, 2]);
        let some: Vec<_> = spread(1_000_000, 100).collect();
        assert_eq!((some.len(), some[0], some[99]), (100, 0, 990_000));
        assert!(some.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"ä".repeat(200)).chars().count(), 112);
    }
}

//! Which worker gets which task next. Decisions only.
//!
//! TU-1  A worker never has more tasks than slots; the one with the most free slots comes first.
//! TU-2  The job with the fewest tasks at work comes first, and of those the one that has waited longest: a job is passed
//!       by each other job once at most, so that none starves, however many there are and whatever they are made of (O-1).
//!       All compactions together are one job in this, and so are all index builds.
//! TU-3  A job never has more tasks at work than it may.

use elanus_meta::model::{TaskOwner, TaskRecord, WorkerRecord};
use elanus_types::{JobId, NodeId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Line {
    Job(JobId),
    Compactions,
    IndexBuilds,
}

impl Line {
    fn of(task: &TaskRecord) -> Self {
        match task.owner {
            TaskOwner::Job(job) => Self::Job(job),
            TaskOwner::Collection(_) => Self::Compactions,
            TaskOwner::Index(_) => Self::IndexBuilds,
        }
    }
}

/// Tasks that may be at work at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of one job.
    pub(super) job: usize,
    /// Of all compactions.
    pub(super) compactions: usize,
    /// Of all index builds.
    pub(super) index_builds: usize,
}

/// Who was served when. Lost with the process: then all jobs have waited equally long.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Number of the last turn of each job that has tasks; a job that is new is put behind those that wait.
    last: BTreeMap<Line, u64>,
    turn: u64,
}

impl Turns {
    /// Pairs pending tasks, each job's in order, with workers that have room for them. `busy`: tasks at work.
    pub(super) fn give<'t>(
        &mut self,
        workers: &[WorkerRecord],
        busy: &[TaskRecord],
        pending: &'t [TaskRecord],
        limits: Limits,
    ) -> Vec<(&'t TaskRecord, NodeId)> {
        let mut free: BTreeMap<&NodeId, usize> = workers.iter().map(|worker| (&worker.node, worker.slots)).collect();
        let mut at_work: HashMap<Line, usize> = HashMap::new();
        for task in busy {
            if let Some(slots) = task.worker.as_ref().and_then(|worker| free.get_mut(worker)) {
                *slots = slots.saturating_sub(1);
            }
            *at_work.entry(Line::of(task)).or_default() += 1;
        }
        let mut waiting: BTreeMap<Line, VecDeque<&TaskRecord>> = BTreeMap::new();
        for task in pending {
            waiting.entry(Line::of(task)).or_default().push_back(task);
        }
        self.know(&waiting, &at_work);

        let mut given = vec![];
        // TU-1: of equals the one whose id comes first.
        while let Some((worker, slots)) =
            free.iter_mut().filter(|(_, slots)| **slots > 0).min_by_key(|(_, slots)| usize::MAX - **slots)
        {
            let rank = |job: &Line| (at_work.get(job).copied().unwrap_or(0), self.last.get(job).copied(), *job);
            let may_have = |job: &&Line| match job {
                Line::Job(_) => rank(job).0 < limits.job, // TU-3
                Line::Compactions => rank(job).0 < limits.compactions,
                Line::IndexBuilds => rank(job).0 < limits.index_builds,
            };
            let Some(job) = waiting.keys().filter(may_have).min_by_key(|job| rank(job)).copied() else { break }; // TU-2
            let Some(task) = waiting.get_mut(&job).and_then(VecDeque::pop_front) else { break };
            if waiting.get(&job).is_some_and(VecDeque::is_empty) {
                waiting.remove(&job);
            }
            *slots -= 1;
            *at_work.entry(job).or_default() += 1;
            self.turn += 1;
            self.last.insert(job, self.turn);
            given.push((task, (*worker).clone()));
        }
        given
    }

    /// Forgets jobs without tasks, puts new ones behind those that wait.
    fn know(&mut self, waiting: &BTreeMap<Line, VecDeque<&TaskRecord>>, at_work: &HashMap<Line, usize>) {
        self.last.retain(|job, _| waiting.contains_key(job) || at_work.contains_key(job));
        for job in waiting.keys() {
            if !self.last.contains_key(job) {
                self.turn += 1;
                self.last.insert(*job, self.turn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::{Generation, TaskId};

    fn worker(name: &str, slots: usize) -> WorkerRecord {
        WorkerRecord { node: NodeId(name.to_owned()), address: String::new(), slots, lease_until_ms: 0 }
    }

    fn task(job: i64, id: i64, worker: Option<&str>) -> TaskRecord {
        TaskRecord {
            id: TaskId(id),
            owner: TaskOwner::Job(JobId(job)),
            state: if worker.is_some() { "in_progress" } else { "pending" },
            attempt: 0,
            generation: Generation(0),
            worker: worker.map(|name| NodeId(name.to_owned())),
            lease_until_ms: None,
            traceparent: None,
        }
    }

    fn at_most(job: usize) -> Limits {
        Limits { job, compactions: 1, index_builds: 1 }
    }

    fn job_of(task: &TaskRecord) -> i64 {
        match task.owner {
            TaskOwner::Job(job) => job.0,
            TaskOwner::Collection(_) | TaskOwner::Index(_) => panic!("{task:?}"),
        }
    }

    /// `tasks` pending tasks of each of these jobs, in turns as the store gives them.
    fn pending(jobs: &[i64], tasks: i64) -> Vec<TaskRecord> {
        (0..tasks).flat_map(|n| jobs.iter().map(move |job| task(*job, job * 1_000 + n, None))).collect()
    }

    fn names(given: &[(&TaskRecord, NodeId)]) -> Vec<(i64, String)> {
        given.iter().map(|(task, worker)| (task.id.0, worker.0.clone())).collect()
    }

    #[test]
    fn tu_1_no_worker_gets_more_than_it_has_slots_and_the_freest_comes_first() {
        let workers = [worker("a", 2), worker("b", 3), worker("c", 0)];
        let busy = [task(9, 1, Some("b")), task(9, 2, Some("gone"))];
        let tasks = pending(&[1], 9);
        let given = Turns::default().give(&workers, &busy, &tasks, at_most(99));
        let expected = [(1_000, "a"), (1_001, "b"), (1_002, "a"), (1_003, "b")];
        assert_eq!(names(&given), expected.map(|(id, name)| (id, name.to_owned())));
        assert_eq!(Turns::default().give(&[], &busy, &tasks, at_most(99)).len(), 0, "nobody is there");
        let overfull = [task(9, 1, Some("a")), task(9, 2, Some("a")), task(9, 3, Some("a"))];
        assert_eq!(Turns::default().give(&workers[..1], &overfull, &tasks, at_most(99)).len(), 0);
    }

    #[test]
    fn tu_2_jobs_share_the_slots_evenly() {
        let tasks = pending(&[1, 2], 9);
        let given = Turns::default().give(&[worker("a", 4)], &[], &tasks, at_most(99));
        assert_eq!(given.iter().map(|(task, _)| job_of(task)).collect::<Vec<_>>(), [1, 2, 1, 2]);
        // What is at work counts: job 2 has had nothing.
        let busy = [task(1, 1, Some("a")), task(1, 2, Some("a"))];
        let given = Turns::default().give(&[worker("a", 4)], &busy, &tasks, at_most(99));
        assert_eq!(given.iter().map(|(task, _)| job_of(task)).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn tu_2_no_job_starves_however_many_come_after_it() {
        // One slot, and a new job before every turn: each job still gets the first turn after all that came before it.
        let mut turns = Turns::default();
        let mut jobs: Vec<i64> = (1..=5).collect();
        let mut served = vec![];
        for newcomer in 6..60 {
            let tasks = pending(&jobs, 2);
            let given = turns.give(&[worker("a", 1)], &[], &tasks, at_most(99));
            assert_eq!(given.len(), 1);
            served.push(job_of(given[0].0));
            jobs.push(newcomer);
        }
        for job in 1..=5 {
            let first = served.iter().position(|one| *one == job).expect("every job is served");
            assert!(first < 5, "job {job} waited for {first} turns");
        }
        for (n, job) in served.iter().enumerate() {
            let again = served[n + 1..].iter().position(|one| one == job).unwrap_or(usize::MAX);
            assert!(again >= 4, "job {job} is not served twice while others wait: {served:?}");
        }
    }

    #[test]
    fn tu_3_a_job_has_no_more_tasks_at_work_than_it_may() {
        let tasks = pending(&[1, 2], 9);
        let busy = [task(1, 1, Some("gone"))];
        let given = Turns::default().give(&[worker("a", 9)], &busy, &tasks, at_most(2));
        let of = |job| given.iter().filter(|(task, _)| job_of(task) == job).count();
        assert_eq!((of(1), of(2)), (1, 2));
        assert!(Turns::default().give(&[worker("a", 9)], &[], &tasks, at_most(0)).is_empty());
    }

    #[test]
    fn tu_2_compactions_are_one_job_however_many_collections_wait() {
        let compaction = |collection, id| TaskRecord {
            owner: TaskOwner::Collection(elanus_types::CollectionId(collection)),
            ..task(0, id, None)
        };
        let mut tasks: Vec<TaskRecord> = (1..=9).map(|n| compaction(n, n)).collect();
        tasks.extend(pending(&[7], 9));
        let limits = Limits { job: 99, compactions: 3, index_builds: 1 };
        let given = Turns::default().give(&[worker("a", 4)], &[], &tasks, limits);
        let compactions = |given: &[(&TaskRecord, NodeId)]| {
            given.iter().filter(|(task, _)| Line::of(task) == Line::Compactions).count()
        };
        assert_eq!((given.len(), compactions(&given)), (4, 2));
        let given = Turns::default().give(&[worker("a", 9)], &[], &tasks[..9], limits);
        assert_eq!(given.iter().map(|(task, _)| task.id.0).collect::<Vec<_>>(), [1, 2, 3], "TU-3");
    }
}

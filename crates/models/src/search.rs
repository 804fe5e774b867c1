//! Visits every state of a model, breadth first, and says what was found.

use stateright::{Checker as _, Expectation, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display, Formatter};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What a search found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// States that differ.
    pub states: usize,
    /// Steps from the first state to the farthest.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Invariants that do not hold, each with the steps that lead there.
    pub broken: Vec<Broken>,
    /// Situations that the model is meant to reach and never does: it would hold for want of trying.
    pub unreached: Vec<&'static str>,
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its number and text.
    pub invariant: &'static str,
    /// What leads there.
    pub steps: Vec<String>,
}

/// A way to build less than the protocol, and what it breaks.
#[derive(Clone, Copy, Debug)]
pub struct Simplification<S> {
    /// Which.
    pub what: S,
    /// Number of the invariant that it breaks: the loss of data, where there is one.
    pub breaks: &'static str,
    /// Steps of the shortest way there.
    pub steps: usize,
}

/// Visits every state.
pub fn exhaust<M>(model: M) -> Outcome
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    search(model, std::thread::available_parallelism().map_or(1, usize::from), HasDiscoveries::All, usize::MAX)
}

/// Looks for the shortest way to break the invariant of this number.
pub fn shortest_failure<M>(model: M, invariant: &str) -> Outcome
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let names = model.properties().into_iter().map(|property| property.name);
    let wanted: BTreeSet<&'static str> = names.filter(|name| number(name) == invariant).collect();
    let mut nearest = search(model.clone(), 1, HasDiscoveries::AllOf(wanted.clone()), usize::MAX);
    // The checker works in blocks and keeps the last failure of a block, not the nearest.
    while let Some(steps) = nearest.steps_to(invariant) {
        let nearer = search(model.clone(), 1, HasDiscoveries::AllOf(wanted.clone()), steps);
        if nearer.steps_to(invariant).is_none() {
            break;
        }
        nearest = nearer;
    }
    nearest
}

fn number(invariant: &str) -> &str {
    invariant.split([' ', ',']).next().unwrap_or_default()
}

impl Outcome {
    /// Steps to where the invariant of this number does not hold.
    #[must_use]
    pub fn steps_to(&self, invariant: &str) -> Option<usize> {
        self.broken.iter().find(|broken| number(broken.invariant) == invariant).map(|broken| broken.steps.len())
    }
}

/// Looks at states that are fewer than `steps` steps away.
fn search<M>(model: M, threads: usize, until: HasDiscoveries, steps: usize) -> Outcome
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let started = Instant::now();
    let properties = model.properties();
    let checker = model.checker().threads(threads).finish_when(until);
    // The checker counts states on the way, and leaves out what is as far as it is told.
    let checker = checker.target_max_depth(steps.saturating_add(1)).spawn_bfs().join();
    let found = checker.discoveries();
    let of = |expectation: Expectation| {
        let all: Vec<&'static str> =
            properties.iter().filter(|p: &&Property<M>| p.expectation == expectation).map(|p| p.name).collect();
        all
    };
    let mut broken: Vec<Broken> = of(Expectation::Always)
        .into_iter()
        .filter_map(|invariant| {
            let steps = found.get(invariant)?.clone().into_actions();
            Some(Broken { invariant, steps: steps.iter().map(|step| format!("{step:?}")).collect() })
        })
        .collect();
    broken.sort_by_key(|broken| broken.steps.len());
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth().saturating_sub(1),
        time: started.elapsed(),
        broken,
        unreached: of(Expectation::Sometimes).into_iter().filter(|name| !found.contains_key(name)).collect(),
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, depth {}, {:.1} s", self.states, self.depth, self.time.as_secs_f32())?;
        for Broken { invariant, steps } in &self.broken {
            write!(f, "\n    broken in {} steps: {invariant}\n        {}", steps.len(), steps.join(", "))?;
        }
        for situation in &self.unreached {
            write!(f, "\n    never reached: {situation}")?;
        }
        Ok(())
    }
}

//! Everything that is searched, and what must be found.

use crate::collector::{self, Collector, Scope};
use crate::ownership::{self, Ownership};
use crate::restored::{self, Restored};
use crate::search::{Outcome, Simplification, exhaust, shortest_failure};
use crate::takeover::{self, Takeover};
use std::fmt::Debug;

/// One search.
pub struct Search {
    /// Which model, and how much can happen in it or what is left out.
    pub name: String,
    /// What must be found.
    pub expected: Expected,
    run: Box<dyn Fn() -> Outcome>,
}

/// What a search must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every invariant holds, and every situation is reached.
    Holds,
    /// This invariant breaks, and the shortest way there has so many steps.
    Breaks(&'static str, usize),
}

impl Search {
    fn holds(name: &str, run: impl Fn() -> Outcome + 'static) -> Self {
        Self { name: name.to_owned(), expected: Expected::Holds, run: Box::new(run) }
    }

    fn breaks<S: Debug>(model: &str, less: Simplification<S>, run: impl Fn(&str) -> Outcome + 'static) -> Self {
        let Simplification { what, breaks, steps } = less;
        let run = Box::new(move || run(breaks));
        Self { name: format!("{model} {what:?}"), expected: Expected::Breaks(breaks, steps), run }
    }

    /// Searches; the outcome, and what is wrong with it.
    #[must_use]
    pub fn run(&self) -> (Outcome, Option<String>) {
        let outcome = (self.run)();
        let wrong = match self.expected {
            Expected::Holds if outcome.broken.is_empty() && outcome.unreached.is_empty() => None,
            Expected::Holds => Some(format!("does not hold: {outcome}")),
            Expected::Breaks(invariant, steps) => match outcome.steps_to(invariant) {
                Some(found) if found == steps => None,
                Some(found) => Some(format!("breaks in {found} steps instead of {steps}: {outcome}")),
                None => Some(format!("does not break {invariant} any more: {outcome}")),
            },
        };
        (outcome, wrong)
    }
}

/// The protocols, small: each in a few seconds.
#[must_use]
pub fn small() -> Vec<Search> {
    vec![
        Search::holds("collector, small", || exhaust(Collector { scope: Scope::SMALL, less: None })),
        Search::holds("takeover, small", || exhaust(Takeover::SMALL)),
        Search::holds("ownership, small", || exhaust(Ownership::SMALL)),
        Search::holds("restored, small", || exhaust(Restored::SMALL)),
    ]
}

/// The protocols, with everything that can happen.
#[must_use]
pub fn full() -> Vec<Search> {
    vec![
        Search::holds("collector, wide", || exhaust(Collector { scope: Scope::WIDE, less: None })),
        Search::holds("collector, long", || exhaust(Collector { scope: Scope::LONG, less: None })),
        Search::holds("takeover, full", || exhaust(Takeover::FULL)),
        Search::holds("ownership, full", || exhaust(Ownership::FULL)),
        Search::holds("restored, full", || exhaust(Restored::FULL)),
    ]
}

/// The simplifications: each must break.
#[must_use]
pub fn simplifications() -> Vec<Search> {
    let collector = collector::SIMPLIFICATIONS.into_iter().map(|less| {
        let model = Collector { scope: Scope::ALL, less: Some(less.what) };
        Search::breaks("collector", less, move |invariant| shortest_failure(model, invariant))
    });
    let takeover = takeover::SIMPLIFICATIONS.into_iter().map(|less| {
        let model = Takeover { less: Some(less.what), ..Takeover::SMALL };
        Search::breaks("takeover", less, move |invariant| shortest_failure(model, invariant))
    });
    let ownership = ownership::SIMPLIFICATIONS.into_iter().map(|less| {
        let model = Ownership::without(less.what);
        Search::breaks("ownership", less, move |invariant| shortest_failure(model, invariant))
    });
    let restored = restored::SIMPLIFICATIONS.into_iter().map(|less| {
        let model = Restored { less: Some(less.what), ..Restored::FULL };
        Search::breaks("restored", less, move |invariant| shortest_failure(model, invariant))
    });
    collector.chain(takeover).chain(ownership).chain(restored).collect()
}

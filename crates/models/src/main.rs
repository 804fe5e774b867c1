//! `elanus-models`: every search with its counts. Started by `cargo xtask model`.

#![expect(clippy::print_stdout, reason = "a command for people")]

use elanus_models::interval;
use elanus_models::suite::{self, Expected, Search};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all_as_expected = true;
    println!("{:<42} {:>10} {:>6} {:>8}", "protocol", "states", "depth", "seconds");
    for search in suite::small().into_iter().chain(suite::full()) {
        all_as_expected &= report(&search);
    }
    println!("\n{:<42} {:>10} {:>6} {:>8}", "simplification, which must break", "states", "depth", "seconds");
    for search in suite::simplifications() {
        all_as_expected &= report(&search);
    }
    println!();
    match interval::compare(interval::HISTORIES_FULL) {
        Ok(()) => println!("interval rule against the oracle: {} histories agree", interval::HISTORIES_FULL),
        Err(difference) => {
            println!("interval rule against the oracle: {difference}");
            all_as_expected = false;
        }
    }
    if all_as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(search: &Search) -> bool {
    let (outcome, wrong) = search.run();
    let found = match (&wrong, search.expected) {
        (Some(wrong), _) => format!("WRONG: {wrong}"),
        (None, Expected::Holds) => "holds".to_owned(),
        (None, Expected::Breaks(invariant, steps)) => format!("breaks {invariant} in {steps} steps"),
    };
    let seconds = outcome.time.as_secs_f32();
    println!("{:<42} {:>10} {:>6} {seconds:>8.1}  {found}", search.name, outcome.states, outcome.depth);
    wrong.is_none()
}

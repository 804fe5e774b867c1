//! Prints the page `docs/state-machines.md`.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

fn main() {
    print!("{}", elanus_lifecycle::table::markdown());
}

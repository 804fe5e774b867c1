//! Prints every machine as a page that people read: diagram, invariants, and the answer to every event in every state.
//!
//! Diagram and invariants are the header of the machine's file, the answers are computed; nothing is written twice.

use crate::drivers::{DRIVERS, Mover};
use crate::samples::{Machine, every_machine};
use crate::{CopyTask, FileSet, Refusal, RestoreJob, Segment, Snapshot, Step};
use std::fmt::Write;

const INTRO: &str = "\
# State machines

This page is printed from the crate `lifecycle` by `cargo xtask docs`; a test compares the two. One file per machine holds
its states, events, effects and one exhaustive `match`.

In the tables a row is an event with its sender, a column is a state:

* **→ state** moves, and what follows after the colon are the effects, stored in the same transaction;
* *stays* changes data of the state only;
* *repeat*: the message came twice or too late to matter, the sender is told success, nothing is written;
* *fenced*: the sender lost what it worked on and stops;
* *refused*: not now, with the reason;
* – is never sent by a correct sender.

Senders hold the present claim and alarms come at their time; what is stamped older is fenced, an alarm that comes early is a
repeat.
";

/// The whole page `docs/state-machines.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRO.to_owned();
    every_machine!(M => page.push_str(&section::<M>(page_name(M::NAME))));
    page.push_str(&heading("pin"));
    page.push_str(&header(include_str!("pin.rs")));
    page.push_str(&drivers());
    page
}

/// The kinds of tasks are one machine.
fn page_name(machine: &'static str) -> &'static str {
    if machine == CopyTask::MACHINE { "task" } else { machine }
}

fn heading(name: &str) -> String {
    let words = name.replace('_', " ");
    let (first, rest) = words.split_at(1);
    format!("\n## {}{rest}\n\n", first.to_uppercase())
}

fn section<M: Machine>(name: &str) -> String {
    let mut text = heading(name) + &header(M::SOURCE) + "\n| event (sender) |";
    let samples = M::samples();
    for (special, machine) in &samples {
        let label = machine.state_label();
        match *special {
            "" => push(&mut text, format_args!(" {label} |")),
            special => push(&mut text, format_args!(" {label}, {special} |")),
        }
    }
    push(&mut text, format_args!("\n|---|{}\n", "---|".repeat(samples.len())));
    for event in M::events() {
        let (name, sender) = M::event_name(&event);
        push(&mut text, format_args!("| `{name}` ({sender}) |"));
        for (_, machine) in &samples {
            push(&mut text, format_args!(" {} |", cell(machine, &event)));
        }
        text.push('\n');
    }
    text
}

fn cell<M: Machine>(machine: &M, event: &M::Event) -> String {
    match machine.answer(event) {
        Step::Move(next, effects) => {
            let mut text = match next.state_label() {
                label if label == machine.state_label() => "*stays*".to_owned(),
                label => format!("**→ {label}**"),
            };
            let effects: Vec<_> = effects.iter().map(M::effect_label).collect();
            if !effects.is_empty() {
                push(&mut text, format_args!(": {}", effects.join(", ")));
            }
            text
        }
        Step::Repeat => "repeat".to_owned(),
        Step::Fenced => "fenced".to_owned(),
        Step::Refuse(Refusal::Bug { .. }) => "–".to_owned(),
        Step::Refuse(why) => format!("refused: {}", why.label()),
    }
}

/// The `//!` header of a source file, its numbered invariants as a list.
fn header(source: &str) -> String {
    let mut text = String::new();
    let mut in_diagram = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.starts_with("```") {
            in_diagram = !in_diagram;
        }
        match line.split_once("  ") {
            Some((number, rule)) if !in_diagram && is_number(number) => {
                push(&mut text, format_args!("* **{number}** {rule}\n"))
            }
            Some(("", more)) if !in_diagram => push(&mut text, format_args!("  {}\n", more.trim_start())),
            _ => push(&mut text, format_args!("{line}\n")),
        }
    }
    text
}

/// `FS-1`
fn is_number(word: &str) -> bool {
    word.split_once('-').is_some_and(|(machine, number)| {
        machine.bytes().all(|b| b.is_ascii_uppercase()) && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn drivers() -> String {
    let mut text = "\n## Drivers\n\nWho moves each state on. Ends are not listed.\n\n".to_owned();
    text.push_str("| machine | state | background task | until when |\n|---|---|---|---|\n");
    for driver in DRIVERS {
        let task = match driver.mover {
            Mover::Task(name) => format!("`{name}`"),
            Mover::Rests => "none, it may rest".to_owned(),
        };
        push(&mut text, format_args!("| {} | {} | {task} | {} |\n", driver.machine, driver.state, driver.deadline));
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machines.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "docs/state-machines.md is not what the code says: run cargo xtask docs");
    }

    #[test]
    fn every_machine_shows_a_diagram_and_invariants() {
        every_machine!(M => {
            let text = section::<M>(M::NAME);
            assert_eq!(text.matches("```").count(), 2, "{}", M::NAME);
            assert!(text.contains("\n* **"), "{}", M::NAME);
        });
    }
}

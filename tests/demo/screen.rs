//! What the demo shows: numbered steps with their time. Colours and a moving line on a terminal only.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

const NAME_WIDTH: usize = 10;
const TEXT_WIDTH: usize = 72;

/// Where the demo writes.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    moving: bool,
    steps: usize,
}

impl Screen {
    pub(crate) fn new(no_color: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { colours: terminal && !no_color, moving: terminal, steps: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn title(&self, text: &str) {
        println!("\n{}\n", self.paint("1", text));
    }

    /// One thing that was done.
    pub(crate) fn step(&mut self, name: &str, text: &str, took: Duration) {
        self.steps += 1;
        let number = self.paint("2", &format!("{:>2}", self.steps));
        let name = self.paint("1", &format!("{name:<NAME_WIDTH$}"));
        let gap = " ".repeat(TEXT_WIDTH.saturating_sub(text.chars().count()));
        println!("{}{number}  {name}  {text}{gap}  {}", self.clear(), self.paint("36", &format!("{:>9}", short(took))));
    }

    /// Something about the step above.
    pub(crate) fn detail(&self, text: &str) {
        println!("{}                {}", self.clear(), self.paint("2", text));
    }

    /// Lines as they are, below the step above.
    pub(crate) fn picture(&self, lines: &[String]) {
        println!();
        for line in lines {
            println!("                {line}");
        }
        println!();
    }

    /// What goes on just now; gone with the next line.
    pub(crate) fn progress(&self, text: &str) {
        if self.moving {
            print!("{}                {text}", self.clear());
            let _ = std::io::stdout().flush();
        }
    }

    fn clear(&self) -> &'static str {
        if self.moving { "\r\x1b[K" } else { "" }
    }

    /// The figures at the end.
    pub(crate) fn summary(&self, rows: &[(&str, String)]) {
        let name = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let value = rows.iter().map(|(_, value)| value.chars().count()).max().unwrap_or_default();
        println!("\n{}", self.paint("1", &"─".repeat(name + value + 3)));
        for (label, figure) in rows {
            println!("{label:<name$}   {figure:>value$}");
        }
        println!("{}\n", self.paint("1", &"─".repeat(name + value + 3)));
    }

    pub(crate) fn done(&self, text: &str) {
        println!("{}", self.paint("1;32", text));
    }

    pub(crate) fn say(&self, text: &str) {
        println!("{}{text}", self.clear());
    }
}

/// A time in the unit that suits it.
pub(crate) fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        _ if ms >= 1_000.0 => format!("{:.2} s", ms / 1e3),
        _ if ms >= 10.0 => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

/// Grey values of 8 × 8 pixels, several pictures side by side, each under its title.
pub(crate) fn side_by_side(pictures: &[(String, &[f32])]) -> Vec<String> {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let title = pictures.iter().map(|(title, _)| format!("{title:<19}")).collect::<String>();
    let mut lines = vec![title.trim_end().to_owned()];
    for row in 0..8 {
        let line = pictures.iter().map(|(_, pixels)| {
            let shade = |grey: &f32| SHADES[((grey / 16.0 * 4.0).round() as usize).min(4)];
            format!("{}   ", pixels.chunks(8).nth(row).unwrap_or_default().iter().map(shade).collect::<String>())
        });
        lines.push(line.collect::<String>().trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let table = [(0.4, "0.4 ms"), (12.3, "12 ms"), (999.0, "999 ms"), (1_234.0, "1.23 s"), (61_000.0, "61.0 s")];
        for (ms, text) in table {
            assert_eq!(short(Duration::from_secs_f64(ms / 1e3)), text);
        }
    }

    #[test]
    fn pictures_stand_side_by_side() {
        let black = [16.0; 64];
        let lines = side_by_side(&[("one".to_owned(), &black), ("two".to_owned(), &black)]);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[0], "one                two");
        assert_eq!(lines[1], format!("{}   {}", "█".repeat(16), "█".repeat(16)));
    }
}

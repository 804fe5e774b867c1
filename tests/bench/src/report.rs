//! Figures, and how they are shown.

use crate::world::Cost;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use std::time::Duration;

/// One measured thing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// Exact count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_requests: Option<u64>,
    /// Exact count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sql_statements: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
}

/// A peer or a limit, in the unit of the figure, of the same run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    pub(crate) what: String,
    pub(crate) value: f64,
    /// The figure divided by this.
    pub(crate) ratio: f64,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, object_requests: None, sql_statements: None, beside: None }
    }

    /// A time with what was asked of the two stores meanwhile.
    pub(crate) fn cost(what: impl Into<String>, cost: &Cost) -> Self {
        Self {
            object_requests: Some(cost.object_requests),
            sql_statements: Some(cost.sql_statements),
            ..Self::new(what, milliseconds(cost.time), "ms")
        }
    }

    /// The same beside something.
    pub(crate) fn beside(mut self, what: impl Into<String>, value: f64) -> Self {
        self.beside = Some(Beside { what: what.into(), value, ratio: self.value / value });
        self
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// All figures of a run, with what they depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    commit: String,
    machine: String,
    cpus: usize,
    quick: bool,
    /// Processes that were ready to run, on average over a minute, when the measurement ended: above the number of CPUs,
    /// others took part of the machine.
    load: String,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn of_this_machine(quick: bool, figures: Vec<Figure>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            commit: option_env!("ELANUS_COMMIT").unwrap_or("unknown").to_owned(),
            machine: format!("{}, {memory}", field(&cpuinfo, "model name")),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            quick,
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            figures,
        }
    }

    #[expect(clippy::print_stdout, reason = "a command for people")]
    pub(crate) fn print_table(&self) {
        let Self { commit, machine, cpus, load, .. } = self;
        println!("commit {commit} · {cpus} × {machine} · load {load}");
        if self.quick {
            println!("quick: sizes are too small to mean anything");
        }
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        table.set_header(["", "figure", "", "object requests", "SQL statements", "beside", "", "ratio"]);
        for figure in &self.figures {
            let count = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
            let (beside, value, ratio) = figure.beside.as_ref().map_or_else(Default::default, |beside| {
                (beside.what.clone(), number(beside.value), format!("{:.2}", beside.ratio))
            });
            let requests = count(figure.object_requests);
            let statements = count(figure.sql_statements);
            let unit = figure.unit.to_owned();
            table.add_row([
                figure.what.clone(),
                number(figure.value),
                unit,
                requests,
                statements,
                beside,
                value,
                ratio,
            ]);
        }
        for column in [1, 3, 4, 6, 7] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{table}");
    }

    #[expect(clippy::print_stdout, reason = "a command for programs")]
    pub(crate) fn print_json(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string_pretty(self)?);
        Ok(())
    }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

//! `elanus config`, and the layers of configuration: a file, the environment, flags. Later layers win.
//!
//! CF-1  A setting is one flag, one environment variable and one key of the file; all three are checked by the flag's own
//!       parser and explained by the flag's own help.
//! CF-2  A file with one mistake configures nothing: unknown keys and bad values are reported, all of them, with their
//!       lines, before anything is touched.
//! CF-3  Values that may hold secrets are never printed.

mod command;
mod file;
mod layers;
mod settings;

pub(crate) use command::{ConfigArgs, run};
pub(crate) use layers::{Layers, parse};

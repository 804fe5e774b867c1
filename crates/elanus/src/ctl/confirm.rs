//! Asking before something that cannot simply be taken back.

use super::Stop;
use elanus_client::{ClientError, ErrorKind};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Goes on with `yes`, or when the person at the terminal types `word`. Where nobody can be asked, that is a wrong command
/// line.
pub(super) fn confirm(yes: bool, what: &str, word: &str) -> Result<(), Stop> {
    if yes {
        return Ok(());
    }
    let stop = |kind, message: &str| Stop::Client(ClientError { kind, code: None, message: message.to_owned() });
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(stop(ErrorKind::Invalid, "nobody can be asked here; give --yes to go on"));
    }
    eprint!("{}\ntype {} to go on: ", super::output::clean(what), super::output::clean(word));
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(_) if line.trim() == word => Ok(()),
        _ => Err(stop(ErrorKind::Other, "not confirmed, nothing was done")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_is_enough() {
        assert!(confirm(true, "", "").is_ok());
    }
}

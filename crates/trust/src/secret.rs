//! Tokens: secrets that the services of a cluster share, and show each other with every call.

use crate::files::{Source, TrustError};
use crate::watched::{Found, Watch, Watched};
use http::HeaderValue;
use std::{fmt, sync::Arc};
use subtle::{Choice, ConstantTimeEq as _};

/// Shorter ones could be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;
/// A token travels in a header with every call.
const TOKEN_BYTES_MAX: usize = 512;
/// Two are enough to change them; more are a mistake.
const TOKENS_MAX: usize = 8;

/// One token at least. The first is shown to others, all are accepted: so they can be changed without a break. Clones are
/// the same.
#[derive(Clone)]
pub struct Tokens(Arc<Kind>);

enum Kind {
    Given(Vec<HeaderValue>),
    InFile(Watched<Vec<HeaderValue>>),
}

impl Tokens {
    /// From text, separated by commas.
    ///
    /// # Errors
    /// When one is too short, too long, or has characters that no header can have.
    pub fn given(flag: &'static str, text: &str) -> Result<Self, TrustError> {
        let tokens = parse(text.split(',')).map_err(|why| TrustError { flag, why })?;
        Ok(Self(Arc::new(Kind::Given(tokens))))
    }

    /// From a file, one a line; it is read again when it changes. Empty lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// When it cannot be read, or as [`Tokens::given`].
    pub fn in_file(source: Source) -> Result<Self, TrustError> {
        let of = source.clone();
        let make = move |contents: &[Vec<u8>], _| {
            let text = contents.first().map(|bytes| std::str::from_utf8(bytes));
            let text = text.and_then(Result::ok).ok_or_else(|| of.wrong("is not text"))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            parse(lines).map_err(|why| of.wrong(why))
        };
        Ok(Self(Arc::new(Kind::InFile(Watched::open(vec![source], 0, make)?))))
    }

    /// What this process shows to others, as the value of a header that is not logged.
    #[must_use]
    pub fn shown(&self) -> Option<HeaderValue> {
        self.with(|tokens| tokens.first().cloned())
    }

    /// Is this one of them? Takes as long for every wrong one of the same length.
    #[must_use]
    pub fn accept(&self, given: &[u8]) -> bool {
        let any = self
            .with(|tokens| tokens.iter().fold(Choice::from(0), |found, token| found | token.as_bytes().ct_eq(given)));
        any.into()
    }

    /// What has to be looked at again, where it is in a file.
    #[must_use]
    pub fn watch(&self) -> Option<Arc<dyn Watch>> {
        matches!(*self.0, Kind::InFile(_)).then(|| Arc::clone(&self.0) as Arc<dyn Watch>)
    }

    fn with<R>(&self, ask: impl FnOnce(&[HeaderValue]) -> R) -> R {
        match &*self.0 {
            Kind::Given(tokens) => ask(tokens),
            Kind::InFile(watched) => ask(&watched.current()),
        }
    }
}

impl Watch for Kind {
    fn look(&self, now_s: i64) -> Found {
        match self {
            Self::Given(_) => Found::Same,
            Self::InFile(watched) => watched.look(now_s),
        }
    }

    fn not_after_s(&self) -> Option<i64> {
        None
    }
}

/// TR-3
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

fn parse<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<HeaderValue>, String> {
    let tokens = texts.map(str::trim).map(token).collect::<Result<Vec<_>, _>>()?;
    match tokens.len() {
        0 => Err("has no token; openssl rand -hex 32 makes one".to_owned()),
        1..=TOKENS_MAX => Ok(tokens),
        many => Err(format!("has {many} tokens; give {TOKENS_MAX} at most")),
    }
}

fn token(text: &str) -> Result<HeaderValue, String> {
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
        return Err(format!(
            "a token has {} characters; give {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX}: openssl rand -hex 32 makes one",
            text.len()
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token has characters that no token can have; openssl rand -hex 32 makes one".to_owned());
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| "a token cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-token-old-token";
    const NEW: &str = "new-token-new-token";

    #[test]
    fn all_are_accepted_and_the_first_is_shown() {
        let tokens = Tokens::given("--x", &format!("{NEW}, {OLD}")).unwrap();
        assert_eq!(tokens.shown().unwrap(), NEW);
        assert!(tokens.shown().unwrap().is_sensitive());
        assert!(tokens.accept(NEW.as_bytes()) && tokens.accept(OLD.as_bytes()));
        for wrong in ["", "new-token-new-tokem", "new-token-new-toke", "new-token-new-token2"] {
            assert!(!tokens.accept(wrong.as_bytes()), "{wrong}");
        }
        assert!(tokens.watch().is_none());
    }

    #[test]
    fn what_can_be_guessed_or_not_sent_is_refused_and_never_repeated() {
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        let many = [OLD; TOKENS_MAX + 1].join(",");
        for bad in
            ["", "sécret-sécret-sécret", "short-secret", "secret secret secret", &long, &many, "a-good-secret-one,"]
        {
            let error = Tokens::given("--services-token", bad).unwrap_err().to_string();
            assert!(error.starts_with("--services-token: "), "{error}");
            assert!(!error.contains("cret") && !error.contains("xxx"), "{error}");
        }
        let tokens = Tokens::given("--x", OLD).unwrap();
        assert!(!format!("{tokens:?} {:?}", tokens.shown()).contains("old"));
    }

    #[test]
    fn a_file_is_read_again_and_one_that_became_bad_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        write(&format!("# two of them\n\n{OLD}\n"));
        let tokens = Tokens::in_file(Source::new("--x", file.path())).unwrap();
        let watch = tokens.watch().unwrap();
        assert_eq!(watch.look(0), Found::Same);
        write(&format!("{NEW}\n{OLD}\n"));
        assert_eq!(watch.look(0), Found::Changed);
        assert_eq!(tokens.shown().unwrap(), NEW);
        write("short");
        assert_eq!(watch.look(0), Found::Unsettled);
        let Found::Bad(error) = watch.look(0) else { panic!("a short token was taken") };
        assert!(error.to_string().contains("has 5 characters"), "{error}");
        assert!(tokens.accept(OLD.as_bytes()) && !tokens.accept(b"short"));
        assert!(Tokens::in_file(Source::new("--x", "/no/such")).unwrap_err().why.contains("/no/such"));
    }
}

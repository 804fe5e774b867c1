//! Who was let in a moment ago, so that a password is compared once and not with every call.
//!
//! An entry is of one hash: it ends with the password, however it was changed. Passwords are not kept, only what a key of
//! this process makes of them.

use super::passwords::Secret;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq as _;

/// An entry is used so long.
const LIFE: Duration = Duration::from_secs(300);

/// By user: there are a hundred at most.
pub(super) struct Verified {
    key: [u8; 32],
    entries: HashMap<String, Entry>,
}

struct Entry {
    hash: String,
    seal: [u8; 32],
    until: Instant,
}

impl Default for Verified {
    fn default() -> Self {
        Self { key: rand::random(), entries: HashMap::new() }
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Verified {
    /// Was this password compared with this hash, and was right?
    pub(super) fn has(&self, user: &str, hash: &str, password: &Secret, now: Instant) -> bool {
        let Some(entry) = self.entries.get(user) else { return false };
        let same: bool = entry.seal.ct_eq(&self.seal(password)).into();
        same && entry.hash == hash && now < entry.until
    }

    /// It was.
    pub(super) fn add(&mut self, user: &str, hash: &str, password: &Secret, now: Instant) {
        let seal = self.seal(password);
        self.entries.retain(|_, entry| now < entry.until);
        self.entries.insert(user.to_owned(), Entry { hash: hash.to_owned(), seal, until: now + LIFE });
    }

    fn seal(&self, password: &Secret) -> [u8; 32] {
        // The key is never shown, so nobody can lengthen what it seals.
        Sha256::new().chain_update(self.key).chain_update(password.0.as_bytes()).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_of_one_password_one_hash_and_a_few_minutes() {
        let (mut verified, now) = (Verified::default(), Instant::now());
        let secret = |text: &str| Secret(text.to_owned());
        verified.add("ann", "$hash", &secret("good"), now);
        assert!(verified.has("ann", "$hash", &secret("good"), now));
        assert!(!verified.has("ann", "$hash", &secret("bad"), now));
        assert!(!verified.has("ann", "$other", &secret("good"), now), "the password was changed");
        assert!(!verified.has("bob", "$hash", &secret("good"), now));
        assert!(!verified.has("ann", "$hash", &secret("good"), now + LIFE));
        verified.add("bob", "$b", &secret("x"), now + LIFE);
        assert_eq!(verified.entries.len(), 1, "what is over is forgotten");
        assert!(!format!("{verified:?}").contains("hash"));
    }
}

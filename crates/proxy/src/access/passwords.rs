//! Passwords and their hashes.
//!
//! Computing one costs 19 MiB and tens of milliseconds on purpose, so it runs beside the calls, few at a time: whoever
//! sends many guesses waits for himself.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use elanus_types::Failure;
use std::{fmt, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hashes that are computed at the same time.
const AT_ONCE: usize = 2;

/// Compared with where there is no such user, so that an answer takes as long. Of no password that can be sent.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5Lm5vYm9keS4u$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A text that is not shown.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Computes hashes. Clones share the limit.
#[derive(Clone, Debug)]
pub(crate) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// The right to compute one hash now.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Passwords {
    /// Waits until a hash may be computed.
    pub(crate) async fn turn(&self) -> Result<Turn, Failure> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        permit.map(|_permit| Turn { _permit }).map_err(|_| Failure::internal("no passwords are compared any more"))
    }

    /// The hash of a password, as text with a salt of its own.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, Failure> {
        let turn = self.turn().await?;
        aside(turn, move || {
            let salt: [u8; 16] = rand::random();
            let hash = Argon2::default().hash_password_with_salt(password.0.as_bytes(), &salt);
            hash.map(|hash| hash.to_string())
                .map_err(|error| Failure::internal(format!("the password could not be hashed: {error}")))
        })
        .await?
    }

    /// Is it the password of this hash? `None`: there is no such user, and it takes as long.
    pub(crate) async fn verify(&self, turn: Turn, password: Secret, hash: Option<String>) -> Result<bool, Failure> {
        aside(turn, move || {
            let exists = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let hash = PasswordHash::new(&hash)
                .map_err(|error| Failure::internal(format!("the hash of a password is damaged: {error}")))?;
            Ok(Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok() && exists)
        })
        .await?
    }
}

async fn aside<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let worked = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(turn);
        result
    });
    worked.await.map_err(|error| Failure::internal(format!("a password could not be compared: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As migration 0018 has it.
    const OF_ROOT: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$ZWxhbnVzLnJvb3Quc2FsdA$Krz8QULXL80W5+4F3gI/FSZLOIBw5980FWKslXw+0zI";

    #[tokio::test]
    async fn a_hash_is_of_one_password_and_never_the_same_twice() {
        let passwords = Passwords::default();
        let secret = |text: &str| Secret(text.to_owned());
        let verify = async |text: &str, hash: &str| {
            let turn = passwords.turn().await.unwrap();
            passwords.verify(turn, secret(text), Some(hash.to_owned())).await
        };
        let (one, two) =
            (passwords.hash(secret("pass:wörd")).await.unwrap(), passwords.hash(secret("pass:wörd")).await.unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && one != two && !one.contains("pass"));
        assert!(verify("pass:wörd", &one).await.unwrap() && verify("pass:wörd", &two).await.unwrap());
        for wrong in ["pass:word", "pass:wörd ", "", "pass:wörd\0"] {
            assert!(!verify(wrong, &one).await.unwrap(), "{wrong:?}");
        }
        assert!(verify("Milvus", OF_ROOT).await.unwrap() && !verify("milvus", OF_ROOT).await.unwrap());
        assert!(verify("x", "not a hash").await.is_err());
        let turn = passwords.turn().await.unwrap();
        assert!(!passwords.verify(turn, secret("x"), None).await.unwrap());
        assert!(PasswordHash::new(NOBODY).is_ok(), "or unknown users would be answered at once");
        assert_eq!(format!("{:?}", secret("pass")), "(hidden)");
    }
}

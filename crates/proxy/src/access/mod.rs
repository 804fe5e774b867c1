//! Who is let in, and what he may do.
//!
//! AC-1  A call is let in by its header alone, before its message is read: a stranger costs neither memory nor decoding.
//! AC-2  A call that is not allowed does not reach the function that answers it. `table` says of every call what it needs;
//!       there is no call without a line.
//! AC-3  What a call is about is what the function will take it to be: the database of the message before that of the
//!       metadata, an id before a name, and what an alias stands for.
//! AC-4  A password lives as long as it is the user's: what is remembered of it is tied to its hash.
//! AC-5  Nothing of a password or a token is logged, traced, or told to anybody.
//! AC-6  A refusal is the gRPC status that clients of Milvus do not repeat.

mod demand;
mod door;
mod limit;
mod passwords;
mod state;
mod table;
mod token;
mod verified;

pub(crate) use demand::{Demand, Target};
pub use door::Guarded;
pub(crate) use passwords::{Passwords, Secret};
pub(crate) use state::{Known, Object, State};
pub(crate) use table::Needs;

use elanus_types::{Failure, privilege::Privilege};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// What is remembered of those who were let in and of those who were not.
#[derive(Debug, Default)]
pub(crate) struct Door {
    verified: Mutex<verified::Verified>,
    limiter: Mutex<limit::Limiter>,
}

impl Door {
    fn verified(&self) -> MutexGuard<'_, verified::Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limiter(&self) -> MutexGuard<'_, limit::Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a password for somebody who was let in already; he may guess as often as those who were not.
    ///
    /// # Errors
    /// 1400 when he guessed too often; when it cannot be compared.
    pub(crate) async fn compare(
        &self,
        passwords: &Passwords,
        who: &Identity,
        user: &str,
        password: Secret,
        hash: Option<String>,
    ) -> Result<bool, Failure> {
        let turn = passwords.turn().await?;
        let name = hash.is_some().then_some(user);
        let attempt = self.limiter().take(who.peer, name, Instant::now()).map_err(Failure::from)?;
        let is_right = passwords.verify(turn, password, hash).await?;
        if is_right {
            self.limiter().give_back(attempt, Instant::now());
        }
        Ok(is_right)
    }
}

/// Who calls. Only [`Guarded`] says so, in the extensions of a request, which nobody can send.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) user: Arc<str>,
    peer: IpAddr,
    /// What was in force when the call came.
    pub(crate) state: Arc<State>,
}

impl Identity {
    pub(crate) fn allows(&self, privilege: Privilege, db: &str, object: Object<'_>) -> bool {
        self.state.allows(&self.user, privilege, db, object)
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.state.is_admin(&self.user)
    }
}

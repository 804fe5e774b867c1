//! How often somebody may guess.
//!
//! Three budgets, all of which must have something left: of a user from one peer, of everything that one peer tries, and
//! of a user from anywhere. Only failures use them up. Whoever has been let in within the last minutes is not asked again
//! and meets no limit: guessing somebody's password does not lock out who knows it and is at work.

use elanus_types::{Code, Failure};
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Failures at once, and in every minute afterwards.
const OF_PAIR: f64 = 10.0;
const OF_PEER: f64 = 60.0;
const OF_USER: f64 = 100.0;
/// Budgets that are kept. What comes when there are more has one budget together.
const BUDGETS_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Pair(IpAddr, String),
    Peer(IpAddr),
    User(String),
    Crowd,
}

impl Whose {
    fn size(&self) -> f64 {
        match self {
            Self::Pair(..) => OF_PAIR,
            Self::Peer(_) | Self::Crowd => OF_PEER,
            Self::User(_) => OF_USER,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn left(self, size: f64, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / 60.0;
        (self.left + minutes * size).min(size)
    }
}

/// What has been tried.
#[derive(Debug, Default)]
pub(super) struct Limiter(HashMap<Whose, Budget>);

/// One attempt, which counts until it is given back.
#[derive(Debug)]
pub(super) struct Attempt(Vec<Whose>);

/// Too many failures: try again after so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted(pub(super) Duration);

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auth check failure, too many failed attempts, try again in {} s", self.0.as_secs() + 1)
    }
}

/// Not the code that says so: clients repeat that one.
impl From<Exhausted> for Failure {
    fn from(exhausted: Exhausted) -> Self {
        Self::new(Code::NotAuthenticated, exhausted.to_string())
    }
}

impl Limiter {
    /// May there be another attempt? `user`: one that exists.
    pub(super) fn look(&mut self, peer: IpAddr, user: Option<&str>, now: Instant) -> Result<(), Exhausted> {
        self.budgets(peer, user, now).map(drop)
    }

    /// Takes one attempt from all budgets.
    pub(super) fn take(&mut self, peer: IpAddr, user: Option<&str>, now: Instant) -> Result<Attempt, Exhausted> {
        let budgets = self.budgets(peer, user, now)?;
        for whose in &budgets {
            let left = self.left(whose, now) - 1.0;
            self.0.insert(whose.clone(), Budget { left, at: now });
        }
        Ok(Attempt(budgets))
    }

    /// It was no failure.
    pub(super) fn give_back(&mut self, attempt: Attempt, now: Instant) {
        for whose in attempt.0 {
            let left = self.left(&whose, now) + 1.0;
            if left >= whose.size() {
                self.0.remove(&whose);
            } else {
                self.0.insert(whose, Budget { left, at: now });
            }
        }
    }

    fn left(&self, whose: &Whose, now: Instant) -> f64 {
        self.0.get(whose).map_or(whose.size(), |budget| budget.left(whose.size(), now))
    }

    fn budgets(&mut self, peer: IpAddr, user: Option<&str>, now: Instant) -> Result<Vec<Whose>, Exhausted> {
        let peer = network(peer);
        let mut budgets = vec![Whose::Peer(peer)];
        if let Some(user) = user {
            budgets.push(Whose::Pair(peer, user.to_owned()));
            budgets.push(Whose::User(user.to_owned()));
        }
        if self.0.len() + budgets.len() > BUDGETS_MAX {
            self.0.retain(|whose, budget| budget.left(whose.size(), now) < whose.size());
        }
        if self.0.len() + budgets.len() > BUDGETS_MAX {
            budgets =
                budgets.into_iter().map(|one| if self.0.contains_key(&one) { one } else { Whose::Crowd }).collect();
            budgets.dedup();
        }
        let wait = |whose: &Whose| {
            let missing = 1.0 - self.left(whose, now);
            (missing > 0.0).then(|| Duration::from_secs_f64(missing * 60.0 / whose.size()))
        };
        match budgets.iter().filter_map(wait).max() {
            None => Ok(budgets),
            Some(wait) => Err(Exhausted(wait)),
        }
    }
}

/// Of IPv6 the network: one machine has as many addresses in it as it likes.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn failures_until_refused(limiter: &mut Limiter, peer: IpAddr, user: Option<&str>, now: Instant) -> u32 {
        (0..1_000).find(|_| limiter.take(peer, user, now).is_err()).expect("it ends")
    }

    #[test]
    fn a_user_has_ten_guesses_from_a_peer_and_one_every_six_seconds() {
        let (mut limiter, begin) = (Limiter::default(), Instant::now());
        assert_eq!(failures_until_refused(&mut limiter, peer(1), Some("ann"), begin), 10);
        assert_eq!(limiter.look(peer(1), Some("ann"), begin), Err(Exhausted(Duration::from_secs(6))));
        assert!(limiter.look(peer(2), Some("ann"), begin).is_ok(), "from elsewhere");
        assert!(limiter.look(peer(1), Some("bob"), begin).is_ok(), "somebody else");
        let later = begin + Duration::from_secs(7);
        assert_eq!(failures_until_refused(&mut limiter, peer(1), Some("ann"), later), 1);
        let much_later = begin + Duration::from_secs(3_600);
        assert_eq!(failures_until_refused(&mut limiter, peer(1), Some("ann"), much_later), 10);
    }

    #[test]
    fn a_peer_that_tries_many_names_and_a_user_that_many_peers_try_are_limited() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(failures_until_refused(&mut limiter, peer(1), None, now), 60);
        assert!(limiter.take(peer(1), Some("ann"), now).is_err(), "also under the name of one that there is");
        let many = (2..1_000).take_while(|n| limiter.take(peer(*n), Some("ann"), now).is_ok()).count();
        assert_eq!(many, 100);
        let (one, other) = ("2001:db8::1".parse().unwrap(), "2001:db8::ffff".parse().unwrap());
        assert_eq!(failures_until_refused(&mut limiter, one, None, now), 60);
        assert!(limiter.take(other, None, now).is_err(), "of the same network");
        assert!(limiter.take("::ffff:0.0.0.1".parse().unwrap(), None, now).is_err(), "an IPv4 address in other words");
    }

    #[test]
    fn what_was_no_failure_costs_nothing() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..1_000 {
            let attempt = limiter.take(peer(1), Some("ann"), now).unwrap();
            limiter.give_back(attempt, now);
        }
        assert!(limiter.0.is_empty());
    }

    #[test]
    fn it_stays_small_whoever_comes() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let mut refused = 0;
        for n in 0..50_000 {
            refused += u32::from(limiter.take(peer(n), None, now).is_err());
        }
        assert!(limiter.0.len() <= BUDGETS_MAX + 1, "{}", limiter.0.len());
        assert!(refused > 0, "the crowd has one budget");
        let later = now + Duration::from_secs(120);
        assert!(limiter.take(peer(60_000), None, later).is_ok());
        assert!(limiter.0.len() < 10, "what is full again is forgotten");
    }
}

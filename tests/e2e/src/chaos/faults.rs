//! What can go wrong, and in which order it does: in turn first, so that a long run has had all of it, then at random.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::time::Duration;

/// A connection of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From those who call it.
    Inbound,
    /// To the metadata.
    Postgres,
    /// To the objects.
    S3,
    /// To the events.
    Nats,
}

/// How PostgreSQL is stopped. It is started again after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As an operator does.
    Fast,
    /// As if it had crashed.
    Immediate,
    /// SIGKILL.
    Kill,
}

/// One fault. Services by their number in the stack; times are how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to a service, which is started again after that time.
    Kill(usize, Duration),
    /// SIGKILL to the coordinator that is active.
    KillActive(Duration),
    /// SIGKILL to all services of a kind.
    KillKind(&'static str, Duration),
    /// SIGTERM to a service, which is started again.
    Terminate(usize),
    /// A service is stopped for that time.
    Pause(usize, Duration),
    /// The active coordinator is stopped until another one has taken over.
    PauseActive,
    /// PostgreSQL ends and comes back.
    Postgres(Stop, Duration),
    /// SIGKILL to the S3 store.
    KillS3(Duration),
    /// SIGKILL to NATS.
    KillNats(Duration),
    /// Connections end once.
    Cut(usize, Side),
    /// Connections are refused.
    Refuse(usize, Side, Duration),
    /// Nothing arrives.
    Stall(usize, Side, Duration),
    /// Everything is late, by the second time.
    Late(usize, Side, Duration, Duration),
    /// S3 answers 503 to everybody.
    Busy(Duration),
    /// The disk of the S3 store is full.
    Full(Duration),
}

/// The services there are, by number, and their kinds.
#[derive(Clone, Debug)]
pub struct Places {
    /// Kind of each service.
    pub kinds: Vec<&'static str>,
    /// False when the disk of the store cannot be filled here.
    pub can_be_full: bool,
}

impl Fault {
    /// Its kind, as the report counts it.
    #[must_use]
    pub fn kind(&self, places: &Places) -> String {
        let side = |side: &Side, service: &usize| match side {
            Side::Inbound => format!("callers → {}", places.kinds[*service]),
            Side::Postgres => format!("{} → postgres", places.kinds[*service]),
            Side::S3 => format!("{} → s3", places.kinds[*service]),
            Side::Nats => format!("{} → nats", places.kinds[*service]),
        };
        match self {
            Self::Kill(service, _) => format!("kill -9 {}", places.kinds[*service]),
            Self::KillActive(_) => "kill -9 active datacoord".to_owned(),
            Self::KillKind(kind, _) => format!("kill -9 every {kind}"),
            Self::Terminate(service) => format!("SIGTERM {}", places.kinds[*service]),
            Self::Pause(service, _) => format!("SIGSTOP {}", places.kinds[*service]),
            Self::PauseActive => "SIGSTOP active datacoord until taken over".to_owned(),
            Self::Postgres(Stop::Fast, _) => "postgres stopped (fast)".to_owned(),
            Self::Postgres(Stop::Immediate, _) => "postgres stopped (immediate)".to_owned(),
            Self::Postgres(Stop::Kill, _) => "kill -9 postgres".to_owned(),
            Self::KillS3(_) => "kill -9 s3".to_owned(),
            Self::KillNats(_) => "kill -9 nats".to_owned(),
            Self::Cut(service, of) => format!("cut: {}", side(of, service)),
            Self::Refuse(service, of, _) => format!("refused: {}", side(of, service)),
            Self::Stall(service, of, _) => format!("stalled: {}", side(of, service)),
            Self::Late(service, of, ..) => format!("late: {}", side(of, service)),
            Self::Busy(_) => "s3 answers 503".to_owned(),
            Self::Full(_) => "disk of s3 full".to_owned(),
        }
    }
}

/// So many faults whose kind has this text, from a seed; none when no kind has it.
#[must_use]
pub fn plan(count: usize, only: &str, places: &Places, rng: &mut StdRng) -> Vec<Fault> {
    // There are a few dozen kinds: one that is not met among so many is not there.
    const LOOKS_MAX: usize = 1_000;
    let wanted = |fault: &Fault| fault.kind(places).contains(only);
    let mut faults = first(places, rng);
    faults.retain(wanted);
    faults.truncate(count);
    while faults.len() < count {
        let Some(fault) = (0..LOOKS_MAX).map(|_| any(places, rng)).find(wanted) else { break };
        faults.push(fault);
    }
    faults
}

fn between(rng: &mut StdRng, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(ms))
}

fn one_of(places: &Places, rng: &mut StdRng, kind: &str) -> usize {
    let of: Vec<usize> = (0..places.kinds.len()).filter(|&at| places.kinds[at] == kind).collect();
    *of.choose(rng).expect("there is one of each")
}

/// One of every sort: what a short run is made of, the most telling first.
fn first(places: &Places, rng: &mut StdRng) -> Vec<Fault> {
    let down = between(rng, 200..1_500);
    let [coordinator, writer, reader, proxy] =
        ["datacoord", "datanode", "querynode", "proxy"].map(|kind| one_of(places, rng, kind));
    let mut faults = vec![
        Fault::KillActive(down),
        Fault::Kill(writer, down),
        Fault::Postgres(Stop::Immediate, down),
        Fault::KillS3(down),
        Fault::KillNats(down),
        Fault::Stall(writer, Side::Postgres, Duration::from_secs(2)),
        Fault::Busy(Duration::from_secs(2)),
        Fault::Kill(proxy, down),
        Fault::Cut(writer, Side::Inbound),
        Fault::Kill(reader, down),
        Fault::Full(Duration::from_secs(2)),
        Fault::Postgres(Stop::Fast, down),
        Fault::PauseActive,
        Fault::Late(writer, Side::S3, Duration::from_secs(2), Duration::from_millis(50)),
        Fault::Refuse(coordinator, Side::Inbound, Duration::from_secs(2)),
        Fault::Postgres(Stop::Kill, down),
        Fault::Terminate(writer),
        Fault::Terminate(coordinator),
        Fault::Pause(writer, Duration::from_secs(3)),
        Fault::KillKind("datanode", down),
        Fault::KillKind("datacoord", down),
        Fault::KillKind("querynode", down),
        Fault::KillKind("proxy", down),
    ];
    faults.retain(|fault| places.can_be_full || !matches!(fault, Fault::Full(_)));
    faults
}

fn any(places: &Places, rng: &mut StdRng) -> Fault {
    let service = rng.random_range(0..places.kinds.len());
    let kind = places.kinds[service];
    // A proxy and a query node do not need both.
    let sides: &[Side] = match kind {
        "proxy" => &[Side::Inbound, Side::Postgres, Side::Nats],
        _ => &[Side::Inbound, Side::Postgres, Side::S3, Side::Nats],
    };
    let side = *sides.choose(rng).expect("not empty");
    match rng.random_range(0..100) {
        0..18 => Fault::Kill(service, between(rng, 0..3_000)),
        18..24 => Fault::KillActive(between(rng, 0..8_000)),
        24..28 => Fault::KillKind(kind, between(rng, 0..3_000)),
        28..33 => Fault::Terminate(service),
        33..38 => Fault::Pause(service, between(rng, 100..8_000)),
        38..41 => Fault::PauseActive,
        41..52 => {
            let stops = [Stop::Fast, Stop::Immediate, Stop::Kill];
            Fault::Postgres(*stops.choose(rng).expect("not empty"), between(rng, 0..4_000))
        }
        52..57 => Fault::KillS3(between(rng, 0..4_000)),
        57..61 => Fault::KillNats(between(rng, 0..4_000)),
        61..70 => Fault::Cut(service, side),
        70..77 => Fault::Refuse(service, side, between(rng, 100..6_000)),
        77..84 => Fault::Stall(service, side, between(rng, 100..9_000)),
        84..91 => Fault::Late(service, side, between(rng, 500..4_000), between(rng, 5..150)),
        91..96 => Fault::Busy(between(rng, 200..5_000)),
        _ if places.can_be_full => Fault::Full(between(rng, 500..4_000)),
        _ => Fault::Kill(service, between(rng, 0..3_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use std::collections::BTreeSet;

    fn places(can_be_full: bool) -> Places {
        Places { kinds: vec!["datacoord", "datacoord", "datanode", "datanode", "querynode", "proxy"], can_be_full }
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_a_long_run_has_every_sort() {
        let of = |seed, count| plan(count, "", &places(true), &mut StdRng::seed_from_u64(seed));
        assert_eq!(of(7, 200), of(7, 200));
        assert_ne!(of(7, 200), of(8, 200));
        assert_eq!(of(7, 13).len(), 13);
        let sort = |fault: &Fault| std::mem::discriminant(fault);
        let sorts: Vec<_> = of(7, 23).iter().map(sort).collect();
        assert!(of(7, 200).iter().all(|fault| sorts.contains(&sort(fault))));
        let kinds: BTreeSet<String> = of(7, 200).iter().map(|fault| fault.kind(&places(true))).collect();
        assert!(kinds.len() > 30, "{kinds:?}");
        let without = plan(300, "", &places(false), &mut StdRng::seed_from_u64(7));
        assert!(!without.iter().any(|fault| matches!(fault, Fault::Full(_))));
        let only = |text| plan(50, text, &places(true), &mut StdRng::seed_from_u64(7));
        assert!(only("kill -9 s3").iter().all(|fault| matches!(fault, Fault::KillS3(_))) && only("kill").len() == 50);
        assert_eq!(only("no such fault"), []);
    }
}

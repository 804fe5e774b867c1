//! Iterators of clients: many requests that read one state, page after page. Nothing is kept for them between requests.
//!
//! Every page is read as of the timestamp that the first answer named, which the client sends back. Iterators of the
//! first protocol page by key or by distance on their own. Those of the second (`search_iter_v2`) send back the
//! `last_bound` of the page before: here it is the number of hits that were answered, because a distance alone would
//! lose hits with the same one, or repeat them.

use super::{options::Options, source::Source};
use elanus_proto::schema::SearchIteratorV2Results;
use elanus_types::Failure;

/// What the answer calls the iteration; there is nothing to look up by it.
const TOKEN: &str = "by-position";
/// Beyond it a 32-bit float does not hold every whole number.
const POSITION_MAX: i64 = 1 << 24;
/// What clients send for "eventually" and "bounded" in place of a timestamp.
const GUARANTEES_MAX: u64 = 2;

/// Where a search iterator of the second protocol stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    token: String,
    /// Hits that were answered before.
    pub(super) hits: i64,
    /// Hits of a page.
    pub(super) batch: i64,
}

impl Position {
    /// What a request says, if it is of such an iterator.
    ///
    /// # Errors
    /// 1100 for what no iterator sends.
    pub(super) fn of(options: &Options, batch_max: i64) -> Result<Option<Self>, Failure> {
        if !options.is_set("search_iter_v2") {
            return Ok(None);
        }
        if !options.is_set("iterator") {
            return Err(Failure::invalid("search_iter_v2 needs the option iterator"));
        }
        let batch = options.number("search_iter_batch_size")?;
        let batch: i64 = batch.ok_or_else(|| Failure::invalid("batch size is required for search iterator v2"))?;
        if !(1..=batch_max).contains(&batch) {
            return Err(Failure::invalid(format!(
                "batch size [{batch}] is invalid, it should be in range [1, {batch_max}], but got {batch}"
            )));
        }
        let bound: f64 = options.number("search_iter_last_bound")?.unwrap_or(0.0);
        if bound.fract() != 0.0 || !(0.0..=POSITION_MAX as f64).contains(&bound) {
            return Err(Failure::invalid(format!("search_iter_last_bound [{bound}] is none that an answer named")));
        }
        let token = options.text("search_iter_id").unwrap_or(TOKEN).to_owned();
        Ok(Some(Self { token, hits: bound as i64, batch }))
    }

    /// What the client must send for the next page.
    ///
    /// # Errors
    /// 1100 when there are more hits than an iterator can count.
    pub(super) fn next(&self, hits: i64) -> Result<SearchIteratorV2Results, Failure> {
        let hits = self.hits.saturating_add(hits);
        if hits > POSITION_MAX {
            return Err(Failure::invalid(format!("an iterator ends after {POSITION_MAX} hits: use a filter")));
        }
        Ok(SearchIteratorV2Results { token: self.token.clone(), last_bound: hits as f32 })
    }
}

/// The timestamp to read at; 0 is now. Only iterators ask for a past one.
pub(super) fn read_ts(source: &Source, options: &Options, guarantee_timestamp: u64) -> u64 {
    if source.is_snapshot() || !options.has("iterator") || guarantee_timestamp <= GUARANTEES_MAX {
        return source.read_ts();
    }
    guarantee_timestamp
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::common::KeyValuePair;

    fn position(pairs: &[(&str, &str)]) -> Result<Option<Position>, Failure> {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| KeyValuePair { key: (*k).into(), value: (*v).into() }).collect();
        Position::of(&Options::read(&pairs).unwrap(), 100)
    }

    #[test]
    fn pages_follow_each_other_by_position() {
        let both = [("iterator", "True"), ("search_iter_v2", "True"), ("search_iter_batch_size", "10")];
        let first = position(&both).unwrap().unwrap();
        assert_eq!((first.hits, first.batch), (0, 10));
        let next = first.next(10).unwrap();
        assert_eq!((next.token.as_str(), next.last_bound), (TOKEN, 10.0));
        let second = [&both[..], &[("search_iter_last_bound", "10.0"), ("search_iter_id", "x")]].concat();
        let second = position(&second).unwrap().unwrap();
        assert_eq!((second.hits, second.next(3).unwrap().last_bound), (10, 13.0));
        assert_eq!(second.next(0).unwrap().token, "x");
        assert!(second.next(POSITION_MAX).is_err());
        assert_eq!(position(&[("iterator", "True")]).unwrap(), None);
    }

    #[test]
    fn what_no_iterator_sends_is_refused() {
        let on = ("search_iter_v2", "True");
        for (pairs, fragment) in [
            (&[on][..], "needs the option iterator"),
            (&[on, ("iterator", "True")], "batch size is required"),
            (&[on, ("iterator", "True"), ("search_iter_batch_size", "0")], "batch size [0] is invalid"),
            (&[on, ("iterator", "True"), ("search_iter_batch_size", "101")], "range [1, 100], but got 101"),
            (
                &[on, ("iterator", "True"), ("search_iter_batch_size", "1"), ("search_iter_last_bound", "0.5")],
                "search_iter_last_bound [0.5] is none",
            ),
        ] {
            let failure = position(pairs).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
        }
    }
}

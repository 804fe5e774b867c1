//! The protocols hold, small; and every simplification still breaks. In full: `cargo xtask model`.

use elanus_models::interval;
use elanus_models::suite::{self, Search};

fn all_as_expected(searches: Vec<Search>) {
    let wrong = |search: &Search| search.run().1.map(|wrong| format!("{}: {wrong}", search.name));
    let wrong: Vec<String> = searches.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn i_1_to_i_11_l_1_l_2_o_1_hold_in_every_state_of_the_small_models() {
    all_as_expected(suite::small());
}

#[test]
fn every_simplification_breaks_as_soon_as_it_is_known_to() {
    all_as_expected(suite::simplifications());
}

#[test]
fn iv_1_to_iv_3_releases_by_interval_are_what_an_oracle_says() {
    assert_eq!(interval::compare(interval::HISTORIES_FEW), Ok(()));
}

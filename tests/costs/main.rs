//! What things cost, in instructions: nobody makes Haggle slow unseen.
//!
//! The steps in `steps.rs` run under valgrind's callgrind, which counts what the processor is told to do: the same on a
//! busy machine as on an idle one. Two kinds of rules are kept.
//!
//! *Growth*: a thing that is done in a larger place, or in a larger batch, costs as much as before; these hold with any
//! compiler. *Limits*: a thing costs at most so many instructions, a quarter more than when it was last looked at; they
//! are for this profile (`dev`, unoptimised), and a new compiler or C library moves them by a few percent. A change
//! that needs more, and is worth it, raises its limit here.
//!
//! What this cannot see: waiting, the kernel's share, and what only the optimiser does. `benches/` measures those.

#![expect(clippy::print_stdout, reason = "what is counted is printed, and read by the process that counts")]

#[path = "../../benches/support/batches.rs"]
mod batches;
#[path = "../../benches/support/town.rs"]
#[allow(dead_code, reason = "the benchmarks use more of it")]
mod town;

mod callgrind;
#[path = "../it/harness/skip.rs"]
mod skip;
mod steps;

use std::collections::BTreeMap;

/// What tokens are signed with.
const SECRET: &str = "the counting of costs signs with this";

/// The most instructions that each of these may take.
const LIMITS: [(&str, f64); 8] = [
    ("token", 210_000.0),
    ("decide", 22_500.0),
    ("encode", 313_000.0),
    ("deliver to 100", 8_650.0),
    ("send, 10 in a batch", 805_000.0),
    ("send, 1,000 in a batch", 285_000.0),
    ("list 50 rooms of a small town", 61_900_000.0),
    ("newest 50 messages of a short room", 16_700_000.0),
];

/// How many times as much the second may cost as the first.
///
/// Plant: encode in `Hub::frame_for` for each stream; search `messages` in `Ledger::record_message`; drop the index
/// `rooms_of_company`; have `Turn::settle` look at all of `unsettled`.
const GROWTH: [(&str, &str, f64); 7] = [
    ("deliver to 100", "deliver to 1,000", 1.0),
    ("encode", "deliver to 1,000", 0.1),
    ("send, 10 in a batch", "send, 1,000 in a batch", 0.5),
    ("a further send, 100 to 500 in a batch", "a further send, 500 to 1,000 in a batch", 1.08),
    ("list 50 rooms of a small town", "list 50 rooms of a large town", 1.1),
    ("newest 50 messages of a short room", "newest 50 messages of a long room", 1.1),
    ("tick, 100 have left", "tick, 1,000 have left", 1.2),
];

#[test]
fn nothing_costs_more_than_it_should() {
    if !callgrind::is_here() {
        return;
    }
    let places = steps::Places::new();
    let mut costs: BTreeMap<String, f64> = callgrind::count("steps::run_them", &places.variables());
    add_further_sends(&mut costs);
    for (what, cost) in &costs {
        println!("{cost:>12.0} instructions: {what}");
    }
    let cost = |what: &str| *costs.get(what).unwrap_or_else(|| panic!("{what} was not counted"));
    let dear = LIMITS.iter().filter(|(what, limit)| cost(what) > *limit);
    let mut broken: Vec<String> =
        dear.map(|(what, limit)| format!("{what}: {:.0} instructions, at most {limit:.0}", cost(what))).collect();
    broken.extend(GROWTH.iter().filter(|(small, large, most)| cost(large) > cost(small) * most).map(
        |(small, large, most)| format!("{large}: {:.2} times {small}, at most {most}", cost(large) / cost(small)),
    ));
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Adds what a larger batch costs for each send more: the part that would grow if a batch were searched for each.
fn add_further_sends(costs: &mut BTreeMap<String, f64>) {
    let sizes = [("100", 100.0), ("500", 500.0), ("1,000", 1_000.0)];
    let batch = |(name, sends): (&str, f64)| costs[&format!("send, {name} in a batch")] * sends;
    let further = |[less, more]: [(&str, f64); 2]| {
        let name = format!("a further send, {} to {} in a batch", less.0, more.0);
        (name, (batch(more) - batch(less)) / (more.1 - less.1))
    };
    let all = [further([sizes[0], sizes[1]]), further([sizes[1], sizes[2]])];
    costs.extend(all);
}

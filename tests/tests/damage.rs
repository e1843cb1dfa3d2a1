//! A few damages of each kind; `cargo run --release -p outlive-tests --bin damage 7500` makes many.

use outlive_tests::damage::campaign::Campaign;

/// As many as there is time for.
const DAMAGES: u64 = 60;
/// Few tasks, so that a damage hits something.
const TASKS: usize = 45;

#[test]
fn damage_is_never_served_and_never_a_panic() {
    let seed = std::env::var("OUTLIVE_SEED").map_or(20_261, |seed| seed.parse().unwrap_or(20_261));
    let counts = Campaign::new(TASKS).run(DAMAGES, seed);
    println!("seed {seed}: {counts}");
    let told = &counts.examples;
    assert_eq!(counts.wrong, 0, "seed {seed}: {told:#?}");
    assert_eq!(counts.panics + counts.hung, 0, "seed {seed}: {told:#?}");
    assert_eq!(counts.unverified, 0, "seed {seed}: {told:#?}");
    assert_eq!(counts.salvaged_wrong, 0, "seed {seed}: {told:#?}");
}

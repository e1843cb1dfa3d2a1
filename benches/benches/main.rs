//! What each part costs: a file for each question, which is its first line.
//!
//! `cargo bench -p outlive-benches --bench parts -- start` asks one of them; with `-- --test` each is only run once, to
//! see that it works.
#![allow(missing_docs, unreachable_pub)] // The macro of criterion makes public functions.

mod commit;
mod complete;
mod emit;
mod list;
mod machine;
mod recover;
mod replay;
mod sealed;
mod start;
mod steer;
mod step;
mod task;

criterion::criterion_main!(
    commit::benches,
    complete::benches,
    emit::benches,
    list::benches,
    machine::benches,
    recover::benches,
    replay::benches,
    sealed::benches,
    start::benches,
    steer::benches,
    step::benches,
    task::benches,
);

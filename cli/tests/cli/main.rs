//! The program, run as people and scripts run it.

mod hostile;
mod kept;
mod locked;
mod looks;
mod orders;
mod program;
mod sealed;
mod starts;
mod usage;
mod watched;
mod world;

//! The endpoints, by what they are about.

pub(crate) mod answer;
pub(crate) mod asks;
pub(crate) mod events;
pub(crate) mod inputs;
pub(crate) mod look;
pub(crate) mod metrics;
pub(crate) mod orders;
pub(crate) mod probes;
pub(crate) mod result;
pub(crate) mod resume;
pub(crate) mod start;
pub(crate) mod steps;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod tasks;
